"""Commands on clusters and schedulers that are stopped or killed: nothing is lost, none left."""

from __future__ import annotations

import importlib.util
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cluster_tasks import run_dask
from conftest import draw_picture
from PIL import Image
from ray_nodes import run_ray_nodes

from impasto.cluster.crew import hash_bytes
from impasto.cluster.worker import open_node_folder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc"),
]
MARK = "IMPASTO_TEST_RUN"


def list_marked(mark: str) -> list[int]:
    """Processes that began with this mark in their environment, and are still there."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"{MARK}={mark}".encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:  # it has ended, or is another user's
            continue
    return found


def wait_until(true, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


class Batch:
    """A command that paints six photographs on a cluster."""

    def __init__(self, folder: Path, on: str) -> None:
        self.folder, self.on, self.out = folder, on, folder / "out put"
        self.started: list[subprocess.Popen[str]] = []
        (folder / "my photos").mkdir()
        for i in range(6):
            Image.fromarray(draw_picture(64, 48, i)).save(folder / "my photos" / f"{i}.png")
        Image.fromarray(draw_picture(64, 64, 9)).save(folder / "style.png")

    def start(self, *flags: str, steps: int = 20) -> tuple[subprocess.Popen[str], str]:
        mark = secrets.token_hex(8)
        command = [sys.executable, "-m", "impasto", "paint", "my photos", "-s", "style.png"]
        command += ["-o", self.out.name, "--size", "64", "--steps", str(steps), "--plateau", "0"]
        command += ["--precision", "float32", "--layout", "planes", "--on", self.on, *flags]
        self.began = time.time()
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env={**os.environ, MARK: mark},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a group of its own, as a shell gives it
        )
        self.started.append(process)
        return process, mark

    def close(self) -> None:
        """End what a test that failed has left."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def has_begun(self) -> bool:
        """Whether a worker has put one of the photographs into its machine's folder."""
        photos = (self.folder / "my photos").glob("*.png")
        trees = [open_node_folder() / hash_bytes(photo.read_bytes()) for photo in photos]
        return any(tree.exists() and tree.stat().st_mtime >= self.began for tree in trees)

    def list_made(self) -> dict[Path, int]:
        # What was being written when the command was killed has a name that begins with a point.
        return {path: path.stat().st_mtime_ns for path in self.out.glob("[!.]*.png")}


@pytest.fixture(params=["dask", "ray", "ray:ADDRESS"])
def on(request, tmp_path_factory) -> Iterator[str]:
    """A cluster of one worker: where it is still at a task that is not wanted, the next waits."""
    library = {"dask": "distributed"}.get(request.param, "ray")
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    folder = tmp_path_factory.mktemp("cluster")
    if request.param == "dask":
        with run_dask(folder, workers=1) as on:
            yield on
    elif request.param == "ray":
        yield "ray"
    else:
        with run_ray_nodes(folder) as nodes:
            nodes.start()
            yield str(nodes.place)


def go_on(batch: Batch) -> None:
    """Check that the same command, with fewer steps, paints what is missing and no more."""
    first = batch.list_made()
    process, mark = batch.start()
    said = process.communicate(timeout=180)[1]
    assert process.returncode == 0, said
    assert not first or f"{len(first)} of 6 are there already" in said
    made = batch.list_made()
    assert len(made) == 6
    assert {path: made[path] for path in first} == first
    wait_until(lambda: not list_marked(mark), 20)


def test_ctrl_c_ends_all_and_the_same_command_goes_on(tmp_path, on):
    with closing(Batch(tmp_path, on)) as batch:
        process, mark = batch.start(steps=50_000)  # minutes, for which nobody waits
        wait_until(lambda: batch.has_begun() or process.poll() is not None)
        os.killpg(process.pid, signal.SIGINT)  # as the terminal does: to all of them
        said = process.communicate(timeout=60)[1].strip().splitlines()
        assert process.returncode == 130
        assert said[-1] == "stopped; painted 0 of 6"
        assert not [line for line in said if "Traceback" in line]
        wait_until(lambda: not list_marked(mark), 20)
        go_on(batch)


def test_a_killed_command_ends_all_and_the_same_goes_on(tmp_path, on):
    with closing(Batch(tmp_path, on)) as batch:
        process, mark = batch.start(steps=200)
        wait_until(lambda: batch.list_made() or process.poll() is not None)
        process.kill()
        process.communicate()
        wait_until(lambda: not list_marked(mark), 30)
        assert 0 < len(batch.list_made()) < 6
        go_on(batch)


def test_a_killed_scheduler_is_one_line_and_what_is_left_can_be_done(tmp_path, tmp_path_factory):
    pytest.importorskip("distributed")
    folder = tmp_path_factory.mktemp("dask")
    with run_dask(folder, kill_head=(kill := [])) as on, closing(Batch(tmp_path, on)) as batch:
        process, mark = batch.start(steps=60)
        wait_until(lambda: batch.list_made() or process.poll() is not None)
        kill[0]()
        said = process.communicate(timeout=180)[1].strip().splitlines()
    assert process.returncode == 2
    assert said[-1].startswith("impasto: the dask cluster is gone, or its head; what is finished")
    assert not [line for line in said if "Traceback" in line]
    first = batch.list_made()
    assert 0 < len(first) < 6
    wait_until(lambda: not list_marked(mark), 20)
    batch.on = "local:2"
    process, _ = batch.start()
    said = process.communicate()[1]
    assert process.returncode == 0, said
    assert f"{len(first)} of 6 are there already" in said
    assert len(batch.list_made()) == 6
