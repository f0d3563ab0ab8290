"""What workers of tests do, wherever they are; and a Dask cluster of two processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from impasto.errors import ImageError

MAKE = "cluster_tasks:make_doer"


def make_doer(given, find):
    """What does a task, and counts what it has done: it is made once in each process."""
    done = []

    def do(task, find_own):
        what, *more = task
        if what == "square":
            done.append(more[0])
            return os.getpid(), len(done), more[0] ** 2
        if what == "read":
            paths = [find(more[0]), find_own(more[1])]
            return paths, [Path(path).read_bytes() for path in paths]
        if what == "list":
            folder = Path(find_own(more[0]))
            return folder.name, sorted(path.name for path in folder.iterdir())
        if what == "bad":
            raise ImageError("a bad picture")
        if what == "bug":
            raise KeyError("bug")
        if what == "wait":
            for tick in range(1200):
                Path(more[0]).write_text(f"{os.getpid()} {tick}")
                time.sleep(0.05)
        if what == "die" and (len(more) < 2 or not Path(more[1]).exists()):
            if len(more) > 1:
                Path(more[1]).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return given

    return do


@contextmanager
def run_dask(folder: Path, workers: int = 2, kill_head: list | None = None) -> Iterator[str]:
    """A scheduler and its workers in processes of their own; yield where it is.

    Into ``kill_head`` goes what kills the scheduler.
    """
    facts = folder / "scheduler.json"
    tests = str(Path(__file__).parent)
    path = os.pathsep.join([tests, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    environment["DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES"] = "1"  # not 3: each takes seconds
    said = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
    dask = [sys.executable, "-m", "distributed.cli.dask_"]
    shared = ["--scheduler-file", str(facts), "--no-dashboard"]
    head = [*dask[:-1], f"{dask[-1]}scheduler", "--host", "127.0.0.1", "--port", "0", *shared]
    many = ["--nworkers", str(workers), "--nthreads", "1", "--local-directory", str(folder)]
    hands = [*dask[:-1], f"{dask[-1]}worker", *shared, *many, "--host", "127.0.0.1"]
    processes = [subprocess.Popen(each, start_new_session=True, **said) for each in (head, hands)]
    if kill_head is not None:
        kill_head.append(processes[0].kill)
    try:
        for _ in range(600):
            if facts.exists() and facts.read_text():
                break
            time.sleep(0.1)
        address = json.loads(facts.read_text())["address"]
        wait_for_workers(address, workers)
        yield f"dask:{address}"
    finally:
        for process in processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for_workers(address: str, workers: int) -> None:
    """Wait in another process until all workers are there: nothing of Dask is loaded here."""
    program = (
        "import sys; from distributed import Client; client = Client(sys.argv[1], timeout=60); "
        f"client.wait_for_workers({workers}, timeout=60)"
    )
    subprocess.run([sys.executable, "-c", program, address], check=True, capture_output=True)
