"""What learns, a net with its styles' numbers or the numbers alone; and who teaches it together."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, distributed, nn

from impasto.devices import Machine, choose_machine, settle_precision
from impasto.instant_options import TrainOptions
from impasto.networks import PaintingNet

FASTER = 10.0  # times the rate is that of numbers: a third less loss after 200 steps
KEPT = 0.99  # of the running averages in a step, at most


class Team:
    """The processes that learn together: this one, or all that ``torchrun`` started."""

    def __init__(self, device: torch.device) -> None:
        self.rank, self.size, self.began = 0, count_processes(), False
        if self.size > 1:
            if not distributed.is_initialized():
                distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
                self.began = True
            self.rank = distributed.get_rank()

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Each becomes the sum of all processes', the same in all of them to the last bit."""
        if self.size > 1:
            flat = torch.cat([each.flatten() for each in tensors])
            distributed.all_reduce(flat)
            parts = torch.split(flat, [each.numel() for each in tensors])
            for each, part in zip(tensors, parts, strict=True):
                each.copy_(part.view(each.shape))

    def leave(self) -> None:
        if self.began and distributed.is_initialized():
            distributed.destroy_process_group()


def count_processes() -> int:
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def choose_own_machine(options: TrainOptions) -> Machine:
    """The machine asked for, and of several processes' graphics cards each its own."""
    name = options.device
    if count_processes() > 1 and name in ("auto", "cuda") and torch.cuda.is_available():
        name = f"cuda:{int(os.environ['LOCAL_RANK']) % torch.cuda.device_count()}"
    machine = choose_machine(name)
    if machine.device.type == "cuda":
        torch.cuda.set_device(machine.device)
    return settle_precision(machine, options.precision)


# --- what learns --------------------------------------------------------------------------------


class Pupil:
    """A net and its styles' numbers, or the numbers alone, while they learn; the running average
    is what is kept of them."""

    def __init__(self, net: PaintingNet, numbers: Tensor, *, only_numbers: bool) -> None:
        self.net, self.numbers = net.requires_grad_(not only_numbers), nn.Parameter(numbers)
        for name, each in net.named_parameters():
            if name.endswith("bias") and not name.startswith("exit"):
                each.requires_grad_(False)  # the normalisation that follows undoes it
        named = net.named_parameters()
        convs = {f"net.{name}": each for name, each in named if each.requires_grad}
        self.weights = {**convs, "numbers": self.numbers}
        self.average = {name: each.detach().clone() for name, each in self.weights.items()}
        groups = [{"params": [*convs.values()]}, {"params": [self.numbers]}]
        self.optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99))

    def learn(self, rate: float, number: int) -> None:
        """One step down the gradients."""
        for group, times in zip(self.optimizer.param_groups, (1, FASTER), strict=True):
            group["lr"] = rate * times
        self.optimizer.step()
        kept = min(KEPT, number / (number + 10))
        for name, each in self.weights.items():
            self.average[name].lerp_(each.detach(), 1 - kept)

    def pack(self) -> dict[str, Tensor]:
        tensors = {f"average.{name}": each for name, each in self.average.items()}
        for name, each in self.weights.items():
            tensors[f"weights.{name}"] = each.detach()
            state = self.optimizer.state.get(each, {})
            tensors |= {f"adam.{kind}.{name}": value for kind, value in state.items()}
        return tensors

    @torch.no_grad()
    def unpack(self, tensors: Mapping[str, Tensor]) -> None:
        """As it was packed. All lies in memory as it did: sums come out otherwise elsewhere."""
        for name, each in self.weights.items():
            self.average[name].copy_(tensors[f"average.{name}"])
            each.copy_(tensors[f"weights.{name}"])
            if f"adam.step.{name}" in tensors:
                state = {"step": tensors[f"adam.step.{name}"]}
                for kind in ("exp_avg", "exp_avg_sq"):
                    state[kind] = torch.empty_like(each).copy_(tensors[f"adam.{kind}.{name}"])
                self.optimizer.state[each] = state

    def averaged(self) -> tuple[PaintingNet, Tensor]:
        """The net and the numbers that are kept, on the processor."""
        net = copy.deepcopy(self.net).cpu().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        own = {name.removeprefix("net."): each.cpu() for name, each in self.average.items()}
        numbers = own.pop("numbers").clone()
        net.load_state_dict({**net.state_dict(), **own})
        net.renew_grain()
        return net.requires_grad_(False).eval(), numbers
