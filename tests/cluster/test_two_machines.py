"""A cluster on another machine, which sees none of the driver's files: the same bytes."""

from __future__ import annotations

import shutil
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
OWN = Path("/dev/shm")  # which is another one there
PYTHON = [sys.executable, "-m"]
EXACT = ["--size", "48", "--steps", "2", "--precision", "float32", "--layout", "planes"]
COMMANDS = {
    "paint": ["paint", "my photos/k", "-s", "a style.png", "--mask", "a mask.png", *EXACT],
    "sweep": ["sweep", "my photos/k/0 a.png", "a style.png", "--vary", "style_weight=1,9", *EXACT],
    "augment": [
        "augment",
        "my photos",
        "OUT",
        "--styles",
        "a style.png",
        "--styliser",
        "statistics",
    ],
}


@pytest.fixture(scope="module")
def shared() -> Iterator[Path]:
    """A folder that both see, as their programs: for certificates and logs."""
    folder = Path(tempfile.mkdtemp(prefix="impasto-both-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def machines(tmp_path_factory) -> Iterator[tuple[TestMachine, TestMachine]]:
    if hindrance := find_hindrance():
        pytest.skip(hindrance)
    ray = Path(tempfile.gettempdir(), "ray")
    ray.mkdir(exist_ok=True)
    own = OWN, ray, tmp_path_factory.getbasetemp()
    with run_two_machines(*own) as machines:
        yield machines


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "my photos" / "k").mkdir(parents=True)
    for i in range(3):
        picture = Image.fromarray(draw_picture(48, 40, i))
        picture.save(tmp_path / "my photos" / "k" / f"{i} a.png")
    Image.fromarray(draw_picture(48, 48, 8)).save(tmp_path / "a style.png")
    Image.fromarray(draw_picture(48, 40, 9)).save(tmp_path / "a mask.png")
    return tmp_path


def wait_for_line(log: Path, text: bytes, process: subprocess.Popen) -> None:
    end = time.monotonic() + 120
    while text not in log.read_bytes():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.1)


def read_made(folder: Path) -> dict[str, bytes]:
    """What was made, without the times that it took."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in (".png", ".toml")
    }


def compare(here: TestMachine, folder: Path, on: str, environment: dict[str, str]) -> None:
    """Compare what is made in a process of this machine with what is made there."""
    for command in COMMANDS.values():
        made = []
        for place, out in (([], "here"), (["--on", on], "there")):
            words = [out if word == "OUT" else word for word in command]
            words += [] if "OUT" in command else ["-o", out]
            log = folder / "said.txt"
            process = here.begin([*PYTHON, "impasto", *words, *place], log, environment, folder)
            assert process.wait(timeout=240) == 0, log.read_text()
            made.append(read_made(folder / out))
            shutil.rmtree(folder / out)
        assert made[0]
        assert made[0] == made[1]


def make_certificate(folder: Path) -> dict[str, str]:
    """Make one for all, and return Dask's configuration that names it."""
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    certificate, key = folder / "cert.pem", folder / "key.pem"
    names = ["-subj", "/CN=test", "-addext", "subjectAltName=IP:10.213.7.2"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*words.split(), *names, *files], check=True, capture_output=True)
    told = {"CA_FILE": certificate}
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        told |= {f"{role}__CERT": certificate, f"{role}__KEY": key}
    return {f"DASK_DISTRIBUTED__COMM__TLS__{name}": str(path) for name, path in told.items()}


def test_a_dask_cluster_elsewhere_by_tls(machines, shared, folder):
    pytest.importorskip("distributed")
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes a certificate, is not installed")
    here, there = machines
    secured = make_certificate(shared)
    at = f"tls://{there.address}:8786"
    log = shared / "scheduler.txt"
    head = ["distributed.cli.dask_scheduler", "--protocol", "tls", "--host", at, "--no-dashboard"]
    process = there.begin([*PYTHON, *head], log, secured | {"TMPDIR": str(OWN)}, OWN)
    wait_for_line(log, b"Scheduler at:", process)
    log = shared / "worker.txt"
    hand = ["distributed.cli.dask_worker", at, "--protocol", "tls", "--host", there.address]
    hand += ["--nworkers", "1", "--nthreads", "1", "--no-dashboard"]
    process = there.begin([*PYTHON, *hand], log, secured | {"TMPDIR": str(OWN)}, OWN)
    wait_for_line(log, b"Registered to:", process)
    compare(here, folder, f"dask:{at}", secured)


def test_the_driver_s_files_are_not_there(machines, shared, folder):
    _, there = machines
    log = shared / "listed.txt"
    process = there.begin(["find", folder.parent], log, {}, OWN)
    assert process.wait(timeout=60) == 0
    assert log.read_text() == f"{folder.parent}\n"


def test_a_ray_cluster_whose_workers_are_elsewhere(machines, shared, folder):
    """A Ray driver is on a node of its cluster: one without workers, here."""
    pytest.importorskip("ray")
    here, there = machines
    secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}
    start = [*PYTHON, "ray.scripts.scripts", "start", "--block"]
    start += ["--object-store-memory", 100 << 20, "--node-ip-address"]
    at = f"{here.address}:6379"
    log = shared / "head.txt"
    head = [here.address, "--head", "--port", 6379, "--include-dashboard", "false"]
    process = here.begin([*start, *head, "--num-cpus", 0], log, secret, folder)
    wait_for_line(log, b"--block", process)
    log = shared / "node.txt"
    node = [there.address, "--address", at, "--num-cpus", 1]
    process = there.begin([*start, *node], log, secret, OWN)
    wait_for_line(log, b"--block", process)
    compare(here, folder, f"ray:{at}", secret)
