"""What a worker does, on whatever machine: takes tasks as plain data, and returns their outcomes.

What does the tasks is named by module and function and made once in each process. Files that tasks
read lie in a folder of this machine, each once, by the digest of its bytes. Nothing is written
anywhere else: outcomes go back to the driver, which writes.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import platform
import shutil
import socket
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from impasto.errors import DeviceError, ImpastoError
from impasto.system.files import read_lines, replace_file

Find = Callable[[str], str]  # where a file of the driver's lies here
DoTask = Callable[[Any, Find], Any]

_KEPT_DAYS = 3.0  # that files lie on a machine after they were last used
_LOCK = threading.Lock()  # a process does one task at a time, however many threads ask it to
_MADE: dict[str, DoTask] = {}  # what did the last task, by the digest of its description


@dataclass(frozen=True)
class WorkerMachine:
    """The machine that did a task, and what its numbers depend on."""

    host: str
    processor: str
    numbers: str

    def is_like(self, other: WorkerMachine) -> bool:
        """Return whether the same work comes to the same bytes there."""
        return (self.processor, self.numbers) == (other.processor, other.numbers)

    def __str__(self) -> str:
        return f"{self.host} ({self.processor}, {self.numbers})"


@dataclass(frozen=True)
class TaskReport:
    """What came of a task, where, and how long it took there."""

    outcome: Any
    machine: WorkerMachine
    seconds: float


@dataclass(frozen=True)
class WorkerSpec:
    """What does tasks: a function that makes it, by name, and plain data that it is made of."""

    make: str  # ``package.module:function``; called with ``given`` and a ``Find``
    given: Any
    files: tuple[str, ...] = ()  # that ``make`` reads


@dataclass(frozen=True)
class SentFile:
    """A file that travels: what the driver calls it, and where it lies below a machine's folder."""

    path: str  # the driver's, of the file or of the folder that it belongs to
    tree: str  # a digest of the file, or of all the folder
    place: str  # below that tree
    root: str  # of ``place``, what stands for ``path``


@dataclass(frozen=True)
class TaskShare:
    """What a task may take of its machine: one part of ``count``."""

    count: int = 1
    threads: int = 0  # of torch; 0: a part of the machine's

    def set_threads(self) -> None:
        """Give torch its part of the processor."""
        import torch

        torch.set_num_threads(self.threads or max(1, _count_cores() // self.count))


@cache
def _count_cores() -> int:
    """Return how many cores there were before any was shared out."""
    from impasto.system.devices import granted_cores

    return granted_cores()


def do_task(spec: bytes, task: Any, sent: Sequence[SentFile], *contents: Any) -> TaskReport:
    """Do a task: ``spec`` is packed, and ``contents`` are the bytes of the files that were sent."""
    began = time.perf_counter()
    with _LOCK:
        find = _place_files(sent, contents)
        key = hashlib.sha256(spec).hexdigest()
        if key not in _MADE:
            _MADE.clear()
            _MADE[key] = _make_worker(spec, find)
        outcome = _MADE[key](task, find)
    return TaskReport(outcome, describe_worker(), time.perf_counter() - began)


def pack_spec(spec: WorkerSpec) -> bytes:
    """Return a description as bytes, with the version that it is for."""
    return pickle.dumps((version("impasto"), spec))


def _make_worker(packed: bytes, find: Find) -> DoTask:
    asked, spec = pickle.loads(packed)
    if asked != version("impasto"):
        raise DeviceError(
            f"{socket.gethostname()} has impasto {version('impasto')}, and the work is of {asked}; "
            "install the same on all machines"
        )
    return _find_maker(spec)(spec.given, find)


def _find_maker(spec: WorkerSpec) -> Callable[[Any, Find], DoTask]:
    """Import the function that a description names."""
    module, _, name = spec.make.partition(":")
    made: Callable[[Any, Find], DoTask] = getattr(import_module(module), name)
    return made


# --- files --------------------------------------------------------------------------------------


def _place_files(sent: Sequence[SentFile], contents: Sequence[Any]) -> Find:
    """Put files into the machine's folder, unless they are there; return where each lies."""
    places: dict[str, str] = {}
    for file, content in zip(sent, contents, strict=True):
        tree = open_node_folder() / file.tree
        path = tree / file.place
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, bytes(content))
        with suppress(OSError):
            os.utime(tree)
        places[file.path] = str(tree / file.root)
    return find_in(places)


def find_in(places: Mapping[str, str]) -> Find:
    """Return what finds files; those that were not sent are names, or the machine's own."""
    return lambda path: places.get(path, path)


@cache
def open_node_folder() -> Path:
    """Return the folder of this user for what is sent to this machine, without what is old."""
    user = os.getuid() if hasattr(os, "getuid") else os.getlogin()
    folder = Path(tempfile.gettempdir()) / f"impasto-cluster-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if hasattr(os, "getuid") and (
        not stat.S_ISDIR(found.st_mode) or found.st_uid != user or found.st_mode & 0o077
    ):
        raise ImpastoError(f"{str(folder)!r} is not this user's alone; remove it")
    for tree in folder.iterdir():
        with suppress(OSError):
            if time.time() - tree.stat().st_mtime > _KEPT_DAYS * 86400:
                shutil.rmtree(tree, ignore_errors=True)
    return folder


@contextmanager
def make_scratch() -> Iterator[Path]:
    """Yield a folder to work in, which is removed; that of a killed process, after some days."""
    with tempfile.TemporaryDirectory(dir=open_node_folder(), prefix="work-") as folder:
        yield Path(folder)


# --- the machine --------------------------------------------------------------------------------


@cache
def describe_worker() -> WorkerMachine:
    """Return this machine as others know it."""
    import torch

    from impasto.system.devices import choose_device, has_fast_bfloat16

    device = choose_device("auto")
    if device.type == "cuda":
        processor = torch.cuda.get_device_name(device)
    else:
        names = [line for line in read_lines("/proc/cpuinfo") if line.startswith("model name")]
        processor = names[0].partition(":")[2].strip() if names else platform.machine()
    numbers = "bfloat16" if has_fast_bfloat16(device) else "float32"
    return WorkerMachine(socket.gethostname(), processor, f"torch {torch.__version__}, {numbers}")
