"""Memory: how much is free, how freed memory is kept for later, and when it has run out."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from impasto.system.files import read_first_line, read_lines

# As glibc's malloc.h has them.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4
_M_MMAP_MAX_USUAL = 65536
_LARGEST_KEPT = 2**25  # bytes; it takes no larger number


def free_memory(device: torch.device) -> int | None:
    """Return the bytes that are free on the device; None where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free: list[int] = []
    for line in read_lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            free.append(int(line.split()[1]) * 1024)
    limit = read_first_line("/sys/fs/cgroup/memory.max")
    used = read_first_line("/sys/fs/cgroup/memory.current")
    if limit.isdigit() and used.isdigit():
        free.append(int(limit) - int(used))
    return min(free) if free else None


def resident_memory() -> int | None:
    """Return the bytes that this process holds; None where the system does not say."""
    pages = read_first_line("/proc/self/statm").split()
    return int(pages[1]) * os.sysconf("SC_PAGE_SIZE") if len(pages) > 1 else None


@contextmanager
def keeping_memory(*, all_of_it: bool = False) -> Iterator[None]:
    """Keep memory that is freed inside for the next step, and give it back at the end.

    The C library of Linux gives large blocks back at once, and to get them again, filled with
    zeros, takes a fifth of a step. Where there is memory to spare, all of it is kept; where there
    is not, only smaller blocks, which leave no large holes: larger ones come in huge pages, which
    are quick to get (see ``impasto/__init__.py``).
    """
    mallopt = getattr(_c_library(), "mallopt", None)
    if mallopt is None:
        yield
        return
    mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
    mallopt(_M_MMAP_MAX, 0 if all_of_it else _M_MMAP_MAX_USUAL)
    mallopt(_M_TRIM_THRESHOLD, -1)
    try:
        yield
    finally:
        # Where the library itself ends up once it has seen a large block come and go.
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
        mallopt(_M_MMAP_MAX, _M_MMAP_MAX_USUAL)
        mallopt(_M_TRIM_THRESHOLD, 2 * _LARGEST_KEPT)
        give_memory_back()


def give_memory_back() -> None:
    """Give what was freed back to the system."""
    trim = getattr(_c_library(), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _c_library() -> object:
    return ctypes.CDLL(None) if sys.platform == "linux" else None


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error says that memory has run out: for a CPU's torch has no class."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)
