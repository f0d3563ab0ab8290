"""The part of a net that is trained: all of it with its styles' parameters, or these alone."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from impasto.instant.net import PaintingNet

_FASTER = 10.0  # times the rate is that of numbers: a third less loss after 200 steps
KEPT = 0.99  # of the running averages in a step, at most


class Learner:
    """A net and its styles' parameters ("numbers") while they learn, or the parameters alone.

    Their running average is what is kept.
    """

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
        """Do one step of Adam."""
        for group, times in zip(self.optimizer.param_groups, (1, _FASTER), strict=True):
            group["lr"] = rate * times
        self.optimizer.step()
        kept = min(KEPT, number / (number + 10))
        for name, each in self.weights.items():
            self.average[name].lerp_(each.detach(), 1 - kept)

    def pack(self) -> dict[str, Tensor]:
        """Return all that learning goes on from, by name."""
        tensors = {f"average.{name}": each for name, each in self.average.items()}
        for name, each in self.weights.items():
            tensors[f"weights.{name}"] = each.detach()
            state = self.optimizer.state.get(each, {})
            tensors |= {f"adam.{kind}.{name}": value for kind, value in state.items()}
        return tensors

    @torch.no_grad()
    def unpack(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up what was packed, laid out in memory as it was: sums are rounded by it."""
        for name, each in self.weights.items():
            self.average[name].copy_(tensors[f"average.{name}"])
            each.copy_(tensors[f"weights.{name}"])
            if f"adam.step.{name}" in tensors:
                state = {"step": tensors[f"adam.step.{name}"]}
                for kind in ("exp_avg", "exp_avg_sq"):
                    state[kind] = torch.empty_like(each).copy_(tensors[f"adam.{kind}.{name}"])
                self.optimizer.state[each] = state

    def averaged(self) -> tuple[PaintingNet, Tensor]:
        """Return the net and the parameters that are kept, on the processor."""
        net = copy.deepcopy(self.net).cpu().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        own = {name.removeprefix("net."): each.cpu() for name, each in self.average.items()}
        numbers = own.pop("numbers").clone()
        net.load_state_dict({**net.state_dict(), **own})
        net.renew_grain()
        return net.requires_grad_(False).eval(), numbers
