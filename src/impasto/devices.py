"""The device, precision and threads that work runs on: chosen, checked and named; memory left."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from impasto.errors import DeviceError, suggest

# As glibc's malloc.h has them.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
M_MMAP_MAX_USUAL = 65536
LARGEST_KEPT = 2**25  # bytes; it takes no larger number


LAYOUTS = {"channels_last": torch.channels_last, "planes": torch.contiguous_format}


@dataclass(frozen=True)
class Machine:
    """Where work runs, with which numbers, and how features lie in memory."""

    device: torch.device
    precision: torch.dtype = torch.float32
    layout: str = "channels_last"

    def is_slow(self) -> bool:
        """Whether these numbers are emulated here."""
        return self.precision == torch.bfloat16 and not has_fast_bfloat16(self.device)

    def describe(self) -> str:
        count = torch.get_num_threads()
        threads = f", {count} thread{'s' * (count > 1)}" if self.device.type == "cpu" else ""
        return f"{self.device}, {self.describe_numbers()}{threads}"

    def describe_numbers(self) -> str:
        return str(self.precision).removeprefix("torch.")


def choose_machine(device: str = "auto") -> Machine:
    """The device asked for, or the best there is, made ready."""
    chosen = choose_device(device)
    if chosen.type == "cpu":
        torch.set_num_threads(granted_cores())
        # Denormals are a hundred times slower than other numbers and change no picture.
        torch.set_flush_denormal(True)
    return Machine(chosen)


def choose_device(name: str) -> torch.device:
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (index and not index.isdigit()):
        hint = suggest(kind, ("auto", "cpu", "cuda", "mps"))
        raise DeviceError(f"unknown device {name!r}{hint}")
    if kind == "cuda" and not torch.cuda.is_available():
        raise DeviceError(
            "this machine (or this build of torch) has no CUDA device; use --device cpu"
        )
    if kind == "cuda" and index and int(index) >= torch.cuda.device_count():
        raise DeviceError(
            f"there is no {name}; this machine has {torch.cuda.device_count()} of them"
        )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("this machine has no MPS device; use --device cpu")
    return torch.device(name)


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16 itself; elsewhere it is up to 100 times slower."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        questions = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(getattr(torch.cpu, name, lambda: False)() for name in questions)
    return False


def settle_precision(machine: Machine, asked: str = "auto") -> Machine:
    """The machine with the precision asked for; with "auto" bfloat16 where it is the processor's
    own."""
    if asked == "auto":
        asked = "bfloat16" if has_fast_bfloat16(machine.device) else "float32"
    return replace(machine, precision=getattr(torch, asked))


def granted_cores() -> int:
    """The cores this process may really use: its affinity, and its cgroup's quota."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have none
        cores = os.cpu_count() or 1
    quota = _read_first_line("/sys/fs/cgroup/cpu.max").split()
    if len(quota) == 2 and quota[0].isdigit():
        cores = min(cores, max(1, int(quota[0]) // int(quota[1])))
    # torch leaves out SMT siblings, which share one multiplier, and keeps what its user set.
    return max(1, min(cores, torch.get_num_threads()))


def free_memory(device: torch.device) -> int | None:
    """Bytes that can still be taken on the device; None where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free: list[int] = []
    for line in _read_lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            free.append(int(line.split()[1]) * 1024)
    limit = _read_first_line("/sys/fs/cgroup/memory.max")
    used = _read_first_line("/sys/fs/cgroup/memory.current")
    if limit.isdigit() and used.isdigit():
        free.append(int(limit) - int(used))
    return min(free) if free else None


def resident_memory() -> int | None:
    """Bytes that this process holds; None where the system does not say."""
    pages = _read_first_line("/proc/self/statm").split()
    return int(pages[1]) * os.sysconf("SC_PAGE_SIZE") if len(pages) > 1 else None


@contextmanager
def keeping_memory(*, all_of_it: bool = False) -> Iterator[None]:
    """What is freed inside stays with this process for the next step, and goes back at the end.

    The C library of Linux gives large blocks back at once, and to get them again, filled with
    zeros, takes a fifth of a step. Where there is memory to spare, all of it is kept; where there
    is not, only smaller blocks, which leave no large holes: larger ones come in huge pages, which
    are quick to get (see ``impasto/__init__.py``).
    """
    mallopt = getattr(_c_library(), "mallopt", None)
    if mallopt is None:
        yield
        return
    mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)
    mallopt(M_MMAP_MAX, 0 if all_of_it else M_MMAP_MAX_USUAL)
    mallopt(M_TRIM_THRESHOLD, -1)
    try:
        yield
    finally:
        # Where the library itself ends up once it has seen a large block come and go.
        mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)
        mallopt(M_MMAP_MAX, M_MMAP_MAX_USUAL)
        mallopt(M_TRIM_THRESHOLD, 2 * LARGEST_KEPT)
        give_memory_back()


def give_memory_back() -> None:
    """What was freed goes back to the system."""
    trim = getattr(_c_library(), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _c_library() -> object:
    return ctypes.CDLL(None) if sys.platform == "linux" else None


def is_out_of_memory(error: Exception) -> bool:
    """Whether it says that the device has no memory left; torch has no class of its own for the
    processor's."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)


def seeded(seed: int) -> torch.Generator:
    """A generator of its own, on the processor, so that every device draws the same numbers."""
    return torch.Generator().manual_seed(seed)


def _read_first_line(path: str) -> str:
    return next(iter(_read_lines(path)), "")


def _read_lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
