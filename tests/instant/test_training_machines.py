"""Two machines that train one net together, a process of one of which is killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import draw_picture
from PIL import Image
from two_machines import TestMachine, find_hindrance, run_two_machines

pytestmark = pytest.mark.slow


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that both machines see: photographs, and what is learnt."""
    folder = Path(tempfile.mkdtemp(prefix="impasto-both-"))
    (folder / "photos").mkdir()
    for i in range(6):
        Image.fromarray(draw_picture(96, 80, i)).save(folder / "photos" / f"{i}.png")
    Image.fromarray(draw_picture(96, 96, 9)).save(folder / "a style.png")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def machines(tmp_path_factory) -> Iterator[tuple[TestMachine, TestMachine]]:
    if hindrance := find_hindrance():
        pytest.skip(hindrance)
    with run_two_machines(tmp_path_factory.getbasetemp()) as machines:
        yield machines


def launch(machines: tuple[TestMachine, ...], folder: Path, name: str) -> list[subprocess.Popen]:
    """Start ``torchrun`` on both, as docs/cluster.md has it."""
    told = ["--style", "a style.png", "--photos", "photos", "-o", f"{name}.safetensors"]
    told += ["--net", "slim", "--steps", "40", "--batch", "2", "--crop", "64", "--style-size", "96"]
    told += ["--precision", "float32", "--preview-every", "4"]
    environment = {
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        "TORCH_CPP_LOG_LEVEL": "ERROR",
    }
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2"]
    launcher += ["--rdzv-backend", "c10d", "--rdzv-id", name, "--max-restarts", "2"]
    launcher += ["--rdzv-endpoint", f"{machines[0].name}:29500"]
    return [
        each.begin(
            [*launcher, "-m", "impasto", "train", *told],
            folder / f"{name}-{each.name}.txt",
            environment,
            folder,
        )
        for each in machines
    ]


def wait_for_all(running: list[subprocess.Popen], folder: Path) -> None:
    for each in running:
        assert each.wait(timeout=300) == 0, [f.read_text() for f in folder.glob("*.txt")]


def test_a_process_of_one_machine_is_killed_and_both_go_on_to_the_same_weights(machines, folder):
    wait_for_all(launch(machines, folder, "whole"), folder)
    running = launch(machines, folder, "broken")
    checkpoint, end = folder / "broken.safetensors.checkpoint", time.monotonic() + 120
    while not checkpoint.exists():
        assert time.monotonic() < end, [f.read_text() for f in folder.glob("*.txt")]
        time.sleep(0.05)
    children = f"/proc/{running[1].pid}/task/{running[1].pid}/children"
    os.kill(int(Path(children).read_text().split()[-1]), signal.SIGKILL)
    wait_for_all(running, folder)
    broken, whole = folder / "broken.safetensors", folder / "whole.safetensors"
    assert broken.read_bytes() == whole.read_bytes()
    assert "taken up at step" in (folder / f"broken-{machines[0].name}.txt").read_text()
