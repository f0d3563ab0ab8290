"""The device, precision and threads that work runs on: chosen, checked and described."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

from impasto.errors import DeviceError, suggest
from impasto.system.files import read_first_line

MEMORY_LAYOUTS = {"channels_last": torch.channels_last, "planes": torch.contiguous_format}


@dataclass(frozen=True)
class Machine:
    """Where work runs, in which precision, and how features lie in memory."""

    device: torch.device
    precision: torch.dtype = torch.float32
    layout: str = "channels_last"

    def is_slow(self) -> bool:
        """Return whether this precision is emulated here."""
        return self.precision == torch.bfloat16 and not has_fast_bfloat16(self.device)

    def describe(self) -> str:
        """Return ``cpu, float32, 2 threads``."""
        count = granted_cores()
        threads = f", {count} thread{'s' * (count > 1)}" if self.device.type == "cpu" else ""
        return f"{self.device}, {self.describe_precision()}{threads}"

    def describe_precision(self) -> str:
        """Return ``float32`` or ``bfloat16``."""
        return str(self.precision).removeprefix("torch.")


def choose_machine(device: str = "auto") -> Machine:
    """Return the device asked for, or the best there is."""
    return Machine(choose_device(device))


@contextmanager
def working_on(device: torch.device, threads: int | None = None) -> Iterator[None]:
    """Set torch up for fast work on the device, and put its settings back afterwards.

    On a processor: so many threads, or as many as this process was granted, and denormals flushed
    to zero. They are a hundred times slower than other numbers and change no picture.
    """
    if device.type != "cpu":
        yield
        return
    before, flushed = torch.get_num_threads(), flushes_denormals()
    torch.set_num_threads(threads or granted_cores())
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.set_flush_denormal(flushed)


def flushes_denormals() -> bool:
    """Return whether this thread takes denormals for zero, of which torch keeps no record."""
    smallest_normal = torch.full((), torch.finfo(torch.float32).tiny)
    return not bool(smallest_normal / 2)


def choose_device(name: str) -> torch.device:
    """Return the device of that name; of "auto", CUDA, MPS or the processor."""
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
    """Return whether the hardware multiplies bfloat16; emulated, it is up to 100 times slower."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        questions = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(getattr(torch.cpu, name, lambda: False)() for name in questions)
    return False


def settle_precision(machine: Machine, asked: str = "auto") -> Machine:
    """Return the machine in the precision asked for; "auto" is bfloat16 where that is fast."""
    if asked == "auto":
        asked = "bfloat16" if has_fast_bfloat16(machine.device) else "float32"
    return replace(machine, precision=getattr(torch, asked))


def granted_cores() -> int:
    """Return the number of cores that this process may use, by affinity and cgroup quota."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have none
        cores = os.cpu_count() or 1
    quota = read_first_line("/sys/fs/cgroup/cpu.max").split()
    if len(quota) == 2 and quota[0].isdigit():
        cores = min(cores, max(1, int(quota[0]) // int(quota[1])))
    # torch leaves out SMT siblings, which share one multiplier, and keeps what its user set.
    return max(1, min(cores, torch.get_num_threads()))


def seeded(seed: int) -> torch.Generator:
    """Return a generator on the processor, so that every device draws the same numbers."""
    return torch.Generator().manual_seed(seed)
