"""Optimisers of a canvas: a table, and L-BFGS with a longest step.

What an optimiser remembers are tensors in ``state[canvas.values]``, so that a checkpoint can keep
them by name whatever they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from impasto.canvas import Canvas

LONGEST_STEP = 0.1  # root mean square change of a pixel in one step of L-BFGS
HISTORY = 10


class BoundedLBFGS(torch.optim.Optimizer):
    """L-BFGS with one evaluation a step, no line search, and a longest step.

    Where the loss bends little (white noise, the first steps) it would leap a thousand times the
    range of a pixel. What it remembers of a step is how far the canvas really went, so the canvas
    may also be changed between steps.
    """

    def __init__(self, canvas: Canvas, rate: float) -> None:
        super().__init__([canvas.values], {"lr": rate})
        self.canvas = canvas
        self.rate = rate

    @torch.no_grad()
    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        with torch.enable_grad():
            loss = closure()
        values = self.canvas.values
        gradient, position = values.grad.flatten(), values.flatten()  # type: ignore[union-attr]
        direction = self.choose_direction(gradient, position).view_as(values)
        start, before = values.clone(), self.canvas.pixels()
        values.add_(direction)
        change = (self.canvas.pixels() - before).square().mean().sqrt()
        share = (LONGEST_STEP / (change + 1e-12)).clamp(max=1)
        values.copy_(start + share * direction)  # canvases are linear
        return loss

    def choose_direction(self, gradient: Tensor, position: Tensor) -> Tensor:
        """Where to go: Nocedal and Wright, algorithm 7.4, with the newest pair's scale."""
        state = self.state[self.canvas.values]
        if not state:
            state["moves"] = gradient.new_zeros(HISTORY, gradient.numel())
            state["turns"] = torch.zeros_like(state["moves"])
            state["curvatures"] = gradient.new_zeros(HISTORY)
            state["scale"] = gradient.new_ones(())
            state["steps"] = torch.zeros((), dtype=torch.int64)
            scale = (1 / gradient.abs().sum()).clamp(max=1)
        else:
            self.remember(gradient - state["gradient"], position - state["position"])
            state["steps"] += 1
            scale = state["scale"]
        state["gradient"], state["position"] = gradient.clone(), position.clone()
        newest = int(state["steps"])
        pairs = [i % HISTORY for i in range(newest - 1, max(newest - HISTORY, 0) - 1, -1)]
        direction, shares = -gradient, {}
        for i in pairs:
            shares[i] = state["curvatures"][i] * state["moves"][i].dot(direction)
            direction = direction - shares[i] * state["turns"][i]
        direction = direction * scale
        for i in reversed(pairs):
            back = state["curvatures"][i] * state["turns"][i].dot(direction)
            direction = direction + (shares[i] - back) * state["moves"][i]
        step: Tensor = direction * self.rate
        return step

    def remember(self, turn: Tensor, move: Tensor) -> None:
        """A pair that bends the wrong way (noise, the longest step) counts for nothing."""
        state = self.state[self.canvas.values]
        slot = int(state["steps"]) % HISTORY
        bend, length = turn.dot(move), turn.dot(turn)
        good = bend > 1e-8 * (length * move.dot(move)).sqrt()
        state["moves"][slot], state["turns"][slot] = move, turn
        state["curvatures"][slot] = torch.where(good, 1 / bend, torch.zeros_like(bend))
        state["scale"] = torch.where(good, bend / length, state["scale"])


OPTIMIZERS: dict[str, Callable[[Canvas, float | None], torch.optim.Optimizer]] = {
    "lbfgs": lambda canvas, rate: BoundedLBFGS(canvas, rate or 1.0),
    "adam": lambda canvas, rate: torch.optim.Adam(
        [canvas.values], lr=rate or 0.02, betas=(0.9, 0.99)
    ),
    "sgd": lambda canvas, rate: torch.optim.SGD([canvas.values], lr=rate or 0.02, momentum=0.9),
    "rmsprop": lambda canvas, rate: torch.optim.RMSprop([canvas.values], lr=rate or 0.005),
}
