"""The device, precision and threads that work runs on: chosen, checked and named."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import torch

from impasto.errors import DeviceError, suggest
from impasto.system.files import read_first_line

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
    """Return whether the hardware multiplies bfloat16; elsewhere it is up to 100 times slower."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        questions = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(getattr(torch.cpu, name, lambda: False)() for name in questions)
    return False


def settle_precision(machine: Machine, asked: str = "auto") -> Machine:
    """Return the machine with a precision; "auto" is bfloat16 where the hardware multiplies it."""
    if asked == "auto":
        asked = "bfloat16" if has_fast_bfloat16(machine.device) else "float32"
    return replace(machine, precision=getattr(torch, asked))


def granted_cores() -> int:
    """Return the cores this process may really use, by its affinity and its cgroup's quota."""
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
