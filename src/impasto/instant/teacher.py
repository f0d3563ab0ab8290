"""One step of teaching: what is measured of a batch's paintings, and what is learnt."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from impasto.errors import DivergedError
from impasto.instant.distributed import Team
from impasto.instant.learner import KEPT, Learner
from impasto.instant.options import TrainOptions
from impasto.instant.training_losses import (
    LEAST_TOTAL,
    PERIODS,
    disturb,
    measure_content,
    measure_lattice,
    measure_paintings,
    measure_roughness,
    measure_unrest,
)
from impasto.losses.statistics import Gaussian
from impasto.networks.vgg import Backbone
from impasto.system.devices import Machine

MOST_LOST = 50  # steps in a row that changed nothing
_DISTURBED = 4  # every so many photographs are painted again, with noise
_OUTSIDE_WEIGHT = 100.0  # of pixels outside [0, 1]
_LONGEST_GRADIENT = 5.0  # its norm, at most
_WARM_UP, _COOLING, _COLDEST = 100, 0.4, 0.02  # first steps; share of the last; the last rate
_LOSSES = ("total", "style", "content", "tv")


@dataclass
class TrainingState:
    """How far a run has come; its checkpoint keeps this beside the weights."""

    number: int = 0  # steps done
    lost: int = 0  # of these the last, in a row, that changed nothing
    losses: dict[str, float] = field(default_factory=dict)  # their running averages
    seconds: float = 0.0


class Teacher:
    """Teaches a learner batch by batch, by the distances of its paintings to their styles."""

    def __init__(
        self,
        learner: Learner,
        backbone: Backbone,
        targets: Mapping[str, Gaussian],
        options: TrainOptions,
        *,
        steps: int,
        machine: Machine,
        team: Team,
    ) -> None:
        self.learner, self.backbone, self.targets = learner, backbone, targets
        self.options, self.steps, self.machine, self.team = options, steps, machine, team
        self.state = TrainingState()
        self.is_resting = True  # no step is half done
        total = options.style_weight, options.content_weight, options.tv_weight, _OUTSIDE_WEIGHT
        self.total_weights = torch.tensor(total, device=machine.device)
        # Of the parts that are measured, what is minimised: the logarithm of the total, lest
        # photographs that are far from a style outweigh all others; and what it does not see.
        self.weights = [0.0, 0.0, 0.0, 0.0, 1.0, options.steady_weight, options.lattice_weight]

    def teach(self, photos: Tensor, styles: Sequence[int]) -> dict[str, float]:
        """Do one step; return what it measured, before it changed the net.

        A step whose loss or gradient is not finite changes nothing.
        """
        options, learner, state = self.options, self.learner, self.state
        parts = self.measure(photos, styles)
        learner.optimizer.zero_grad(set_to_none=True)
        (parts @ parts.new_tensor(self.weights)).backward()  # type: ignore[no-untyped-call]
        measured = parts.detach().clone()
        gradients = [each.grad for each in learner.weights.values() if each.grad is not None]
        self.team.add_up([*gradients, measured])
        norm = nn.utils.clip_grad_norm_(learner.weights.values(), _LONGEST_GRADIENT)
        values = measured.tolist()
        total = sum(
            w * value for w, value in zip(self.total_weights.tolist(), values, strict=False)
        )
        losses = dict(zip(_LOSSES, (total, *values[:3]), strict=True))
        self.is_resting = False  # stopped before here, or after, a step is not half done
        state.number += 1
        is_sound = math.isfinite(total) and bool(norm.isfinite())
        state.lost = 0 if is_sound else state.lost + 1
        if state.lost >= MOST_LOST:
            raise DivergedError(
                f"step {state.number}: the loss is no longer a number; lower --learning-rate"
            )
        if is_sound:
            rate = options.learning_rate * rate_at(state.number, self.steps)
            learner.learn(rate, state.number)
            for name, value in losses.items():
                state.losses[name] = KEPT * state.losses.get(name, value) + (1 - KEPT) * value
        self.is_resting = True
        return losses

    def measure(self, photos: Tensor, styles: Sequence[int]) -> Tensor:
        """Return style, content, variation, what is out of range, and what is minimised.

        This is the logarithm of their total, unrest and lattice. Each is this process's part of the
        mean over the whole batch.
        """
        device, short = self.machine.device, self.machine.precision == torch.bfloat16
        photos = photos.to(device).contiguous(memory_format=torch.channels_last)
        rows = torch.tensor(styles, device=device)
        # A product, since its gradient is always added up in the same order.
        known = self.learner.numbers
        numbers = nn.functional.one_hot(rows, len(known)).float() @ known
        targets = {layer: each.take(rows) for layer, each in self.targets.items()}
        content = measure_content(self.backbone, photos)
        self.learner.net.renew_grain(self.state.number + 1)
        with torch.autocast(device.type, torch.bfloat16, enabled=short):
            painted = self.learner.net(photos, numbers).float()
        style, away = measure_paintings(self.backbone, painted, targets, content)
        outside = (painted - painted.clamp(0, 1)).square().mean((1, 2, 3))
        each = torch.stack([style, away, measure_roughness(painted), outside])  # (4, N)
        total = (self.total_weights @ each + LEAST_TOTAL).log()
        unrest = self._measure_unrest(photos, numbers, painted)
        lattice = measure_lattice(painted, PERIODS[self.state.number % len(PERIODS)])
        parts = [*each.sum(1), total.sum(), unrest, lattice.sum()]
        return torch.stack(parts) / self.options.batch

    def _measure_unrest(self, photos: Tensor, numbers: Tensor, painted: Tensor) -> Tensor:
        """Measure it on every fourth photograph of the batch, in place of all."""
        batch, team, short = self.options.batch, self.team, self.machine.precision == torch.bfloat16
        mine = range(team.rank, batch, team.size)
        some = [i for i, row in enumerate(mine) if row % _DISTURBED == 0]
        if not (some and self.options.steady_weight):
            return painted.new_zeros(())
        first = self.state.number * batch
        noisy = [disturb(photos[i : i + 1], first + mine[i]) for i in some]
        again = torch.cat(noisy).contiguous(memory_format=torch.channels_last)
        with torch.autocast(photos.device.type, torch.bfloat16, enabled=short):
            again = self.learner.net(again, numbers[some]).float()
        return measure_unrest(painted[some], again).sum() * batch / len(range(0, batch, _DISTURBED))


def rate_at(number: int, steps: int) -> float:
    """Return the share of the learning rate: warmed up, then constant, and falling at last."""
    warm = number / max(1.0, min(_WARM_UP, steps / 10))
    late = max(0.0, number / steps - (1 - _COOLING)) / _COOLING
    return min(1.0, warm) * (1 - (1 - _COLDEST) * late)
