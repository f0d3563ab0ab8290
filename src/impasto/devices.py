"""The device, precision and threads that work runs on: chosen, checked and named; memory left."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from impasto.errors import DeviceError, suggest

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Machine:
    """Where work runs and with which numbers."""

    device: torch.device
    precision: torch.dtype

    def is_slow(self) -> bool:
        """Whether these numbers are emulated here."""
        return self.precision == torch.bfloat16 and not has_fast_bfloat16(self.device)

    def autocast(self) -> AbstractContextManager[object]:
        """The network's numbers inside; what is summed over pixels stays float32 outside."""
        if self.precision == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.precision)

    def place(self, network: Network) -> Network:
        """The network on the device, with its weights in the layout that convolutions like."""
        return network.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def describe(self) -> str:
        threads = f", {torch.get_num_threads()} threads" if self.device.type == "cpu" else ""
        return f"{self.device}, {str(self.precision).removeprefix('torch.')}{threads}"


def choose_machine(device: str = "auto", precision: str = "auto") -> Machine:
    """The device and number format asked for, or the best there is."""
    chosen = choose_device(device)
    if chosen.type == "cpu":
        torch.set_num_threads(granted_cores())
        # Denormals are a hundred times slower than other numbers and change no picture.
        torch.set_flush_denormal(True)
    if precision == "auto":
        dtype = torch.bfloat16 if has_fast_bfloat16(chosen) else torch.float32
    else:
        dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    return Machine(chosen, dtype)


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
