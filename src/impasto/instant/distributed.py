"""Processes that train one net together."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import Tensor, distributed

from impasto.instant.options import TrainOptions
from impasto.system.devices import Machine, choose_machine, settle_precision


class Team:
    """The processes that learn together: this one, or all that ``torchrun`` started."""

    def __init__(self, device: torch.device) -> None:
        self.rank, self.size, self.began = 0, count_processes(), False
        if self.size > 1:
            if not distributed.is_initialized():
                store, rank, size = next(distributed.rendezvous("env://"))  # type: ignore[attr-defined]
                # torchrun keeps one store for all its tries, and what an earlier one left there
                # says where processes were that are no more.
                store = distributed.PrefixStore(f"try {count_tries()}", store)  # type: ignore[attr-defined]
                backend = "nccl" if device.type == "cuda" else "gloo"
                distributed.init_process_group(backend, store=store, rank=rank, world_size=size)
                self.began = True
            self.rank = distributed.get_rank()

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Make each the sum of all processes', the same in all of them to the last bit."""
        if self.size > 1:
            flat = torch.cat([each.flatten() for each in tensors])
            distributed.all_reduce(flat)
            parts = torch.split(flat, [each.numel() for each in tensors])
            for each, part in zip(tensors, parts, strict=True):
                each.copy_(part.view(each.shape))

    def leave(self) -> None:
        """End the group, if it was begun here."""
        if self.began and distributed.is_initialized():
            distributed.destroy_process_group()


def count_processes() -> int:
    """Return how many processes ``torchrun`` started."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def count_tries() -> int:
    """Return how many times ``torchrun`` has begun anew on its one machine.

    Machines that work together count for themselves, and need not agree.
    """
    alone = os.environ.get("GROUP_WORLD_SIZE", "1") == "1"
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) if alone else 0


def choose_own_machine(options: TrainOptions) -> Machine:
    """Return the machine asked for; of several processes each has a graphics card of its own."""
    name = options.device
    if count_processes() > 1 and name in ("auto", "cuda") and torch.cuda.is_available():
        name = f"cuda:{int(os.environ['LOCAL_RANK']) % torch.cuda.device_count()}"
    machine = choose_machine(name)
    if machine.device.type == "cuda":
        torch.cuda.set_device(machine.device)
    return settle_precision(machine, options.precision)
