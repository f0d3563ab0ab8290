"""Optimisers of a canvas: a table, and L-BFGS with a longest step.

What an optimiser remembers are tensors in ``state[canvas.values]``, so that a checkpoint can keep
them by name whatever they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from impasto.painting.canvas import Canvas

LONGEST_STEP = 0.1  # root mean square change of a pixel in one step of L-BFGS
HISTORY = 10
# Of larger canvases fewer steps are remembered, in bfloat16: there are few steps at such a size,
# and what is remembered of each takes twice the memory of the picture itself.
LARGE_CANVAS = 3 * 2**20  # values
HISTORY_OF_LARGE = 5
BLOCK_VALUES = 2**17  # values of each remembered step that are worked on at once


class Optimizer(Protocol):
    """What the loop needs of an optimiser; torch's have it too."""

    state: Any  # {tensor: {name: what is remembered}}
    param_groups: list[dict[str, Any]]  # one, with its learning rate "lr"

    def zero_grad(self, set_to_none: bool = True) -> None: ...

    def step(self, closure: Callable[[], Any]) -> Any: ...


class BoundedLBFGS:
    """L-BFGS with one evaluation a step, no line search, and a longest step.

    Where the loss has little curvature (white noise, the first steps) it would step a thousand
    times the range of a pixel. What it remembers of a step is how far the canvas really went, so
    the canvas may also be changed between steps.

    Nocedal and Wright, algorithm 7.4, with the newest pair's scale. Its vectors are all sums of the
    remembered ones, so its recursion is done on their coefficients and products (Chen, Wang and
    Zhou 2014, "vector-free L-BFGS"): tensors as large as the canvas are read twice, in blocks.
    """

    def __init__(self, canvas: Canvas, rate: float) -> None:
        # Not a torch.optim.Optimizer: the first of those takes a second to import a compiler.
        self.canvas, self.param_groups = canvas, [{"lr": rate}]
        self.state: dict[Tensor, dict[str, Tensor]] = {canvas.values: {}}
        large = canvas.values.numel() > LARGE_CANVAS
        self.history = HISTORY_OF_LARGE if large else HISTORY
        self.kind = torch.bfloat16 if large else canvas.values.dtype

    def zero_grad(self, set_to_none: bool = True) -> None:  # noqa: ARG002  (as torch has it)
        self.canvas.values.grad = None

    def step(self, closure: Callable[[], Any]) -> Any:
        loss = closure()
        with torch.no_grad():
            self.move()
        return loss

    def move(self) -> None:
        """Take one step, from the gradient of the canvas."""
        values = self.canvas.values
        gradient, flat = values.grad.flatten(), values.view(-1)  # type: ignore[union-attr]
        known = self.remember(gradient, flat)
        moves, turns, straight = self.choose_direction(known)
        state = self.state[values]
        for block in split_blocks(flat):
            part = gradient[block] * straight
            for name, shares in (("moves", moves), ("turns", turns)):
                if known:
                    rows = state[name][:known, block].to(flat.dtype)
                    part.addmv_(rows.T, shares)
            flat[block] += part
        position = state["position"].view_as(values)
        change = self.canvas.measure_change(position)
        share = (LONGEST_STEP / (change + 1e-12)).clamp(max=1)
        torch.lerp(position, values, share.to(values), out=values)  # canvases are linear

    def remember(self, gradient: Tensor, position: Tensor) -> int:
        """Remember how far the canvas and its gradient went, and update all products.

        Returns how many steps are remembered.
        """
        state, m = self.state[self.canvas.values], self.history
        if not state:
            kind = torch.float32 if gradient.is_mps else torch.float64
            # Of moves, turns and the gradient.
            state["products"] = gradient.new_zeros(2 * m + 1, 2 * m + 1, dtype=kind)
            state["products"][-1, -1] = gradient.abs().sum()  # which scales the first step
            state["steps"] = torch.zeros((), dtype=torch.int64)
            state["gradient"], state["position"] = gradient.clone(), position.clone()
            return 0
        if "moves" not in state:
            for name in ("moves", "turns"):
                state[name] = gradient.new_zeros(m, gradient.numel(), dtype=self.kind)
        newest = int(state["steps"]) % m
        state["steps"] += 1
        known = min(int(state["steps"]), m)
        sums = state["products"].new_zeros(2 * m + 1, 3)
        for block in split_blocks(gradient):
            for name, gone, now in (
                ("position", "moves", position),
                ("gradient", "turns", gradient),
            ):
                state[gone][newest, block] = now[block] - state[name][block]
                state[name][block] = now[block]
            moves, turns = (
                state[name][:known, block].to(gradient.dtype) for name in ("moves", "turns")
            )
            for column, vector in enumerate((moves[newest], turns[newest], gradient[block])):
                sums[:known, column] += moves @ vector  # one by one: slim products are slow
                sums[m : m + known, column] += turns @ vector
                sums[-1, column] += gradient[block] @ vector
        for column, place in enumerate((newest, m + newest, 2 * m)):
            state["products"][:, place] = state["products"][place] = sums[:, column]
        return known

    def choose_direction(self, known: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the direction as coefficients of moves, gradient changes and the gradient."""
        state, m = self.state[self.canvas.values], self.history
        products = state["products"]
        own = products.new_zeros(2 * m + 1)
        own[-1] = -1
        if not known:
            own = own * (1 / products[-1, -1]).clamp(max=1)
        else:
            newest = int(state["steps"]) - 1
            order = [i % m for i in range(newest, newest - known, -1)]
            bends, lengths = products.diagonal(m)[:m], products.diagonal()
            # A pair of negative curvature (noise, the longest step) counts for nothing.
            good = bends > 1e-8 * (lengths[:m] * lengths[m : 2 * m]).sqrt()
            curvatures = torch.where(good, 1 / bends, torch.zeros_like(bends))
            shares = {}
            for i in order:
                shares[i] = curvatures[i] * (products[i] @ own)
                own[m + i] -= shares[i]
            own = own * self.find_scale(good, bends, lengths[m : 2 * m], order)
            for i in reversed(order):
                own[i] += shares[i] - curvatures[i] * (products[m + i] @ own)
        own = (own * self.param_groups[0]["lr"]).to(self.canvas.values)
        return own[:known], own[m : m + known], own[-1]

    @staticmethod
    def find_scale(good: Tensor, bends: Tensor, lengths: Tensor, order: list[int]) -> Tensor:
        """Return the scale of the newest good pair; where there is none, 1."""
        scale = bends.new_ones(())
        for i in reversed(order):
            scale = torch.where(good[i], bends[i] / lengths[i], scale)
        return scale


def split_blocks(flat: Tensor) -> Iterator[slice]:
    """Yield the slices that cover a flat tensor block by block."""
    for start in range(0, len(flat), BLOCK_VALUES):
        yield slice(start, start + BLOCK_VALUES)


def count_lbfgs_vectors(values: float, steps: int) -> float:
    """Return how many tensors of so many values L-BFGS keeps after so many steps."""
    large = values > LARGE_CANVAS
    history = min(HISTORY_OF_LARGE if large else HISTORY, max(steps - 1, 0))
    return 2 + 2 * history * (0.5 if large else 1)


@dataclass(frozen=True)
class OptimizerEntry:
    """How an optimiser is made for a canvas and a learning rate, and the memory that it takes."""

    make: Callable[[Canvas, float | None], Optimizer]
    # Tensors as large as the canvas that it keeps, of so many values and after so many steps.
    count_vectors: Callable[[float, int], float]


OPTIMIZERS: dict[str, OptimizerEntry] = {
    "lbfgs": OptimizerEntry(
        lambda canvas, rate: BoundedLBFGS(canvas, rate or 1.0), count_lbfgs_vectors
    ),
    "adam": OptimizerEntry(
        lambda canvas, rate: torch.optim.Adam([canvas.values], lr=rate or 0.02, betas=(0.9, 0.99)),
        lambda _values, _steps: 4,
    ),
    "sgd": OptimizerEntry(
        lambda canvas, rate: torch.optim.SGD([canvas.values], lr=rate or 0.02, momentum=0.9),
        lambda _values, _steps: 1,
    ),
    "rmsprop": OptimizerEntry(
        lambda canvas, rate: torch.optim.RMSprop([canvas.values], lr=rate or 0.005),
        lambda _values, _steps: 3,
    ),
}
