"""What inversions and dreams share: work on whole pictures with one layer of a network."""

from __future__ import annotations

import math
import os
from collections.abc import Callable

import torch
from torch import Tensor

from impasto.errors import ImageError
from impasto.images.picture import Picture
from impasto.images.resizing import fit_size, resize_pixels
from impasto.networks.autotune import choose_numbers
from impasto.networks.weights import load_backbone
from impasto.painting.loop import Work
from impasto.painting.memory_plan import Level, grant_memory, make_plan
from impasto.painting.options import LoopOptions, PaintOptions
from impasto.painting.result import Painting
from impasto.system.checkpoints import Checkpoint
from impasto.system.devices import choose_machine, seeded
from impasto.work import Step

Place = str | os.PathLike[str]
NOISE = 0.05  # deviation of what nothing is started from


# --- what inversions and dreams share -----------------------------------------------------------


class Exploration(Work):
    """Work on whole pictures with one layer of a network, and nothing to paint after."""

    def __init__(self, options: LoopOptions, checkpoint: Place | None) -> None:
        self.options, self.notes = options, []
        self.checkpoint = None if checkpoint is None else Checkpoint(checkpoint)
        self.machine = choose_machine(options.device)
        self.backbone = load_backbone(
            options.backbone, weights=options.weights, pooling=options.pooling
        )
        self.machine = choose_numbers(
            self.backbone, self.machine, options.precision, options.layout
        )
        self.backbone.place(self.machine)
        chosen = {"precision": self.machine.describe_numbers(), "layout": self.machine.layout}
        self.options = options.model_copy(update=chosen)

    def _plan(self, sizes: list[tuple[int, int]], layer: str) -> None:
        """The sizes that are gone through, if there is memory for the last."""
        options = self.options
        self.size = sizes[-1]
        for size in sizes:
            self.backbone.check_size(*size, layer)
        shared = {name: getattr(options, name) for name in LoopOptions.model_fields}
        painting = PaintOptions(
            **shared, style_weight=0.0, content_layer=(layer,), start_size=65536
        )
        grant = grant_memory(self.machine.device, options.memory)

        def fits(size: tuple[int, int]) -> bool:
            blank = Picture(torch.zeros(1, 1, 1, 1).expand(1, 3, size[1], size[0]))
            plan = make_plan(self.backbone, self.machine, painting, blank, (), size, grant)
            return plan is not None and not plan.is_tight

        if not fits(self.size):
            side = max(self.size)
            while side >= 16 and not fits(fit_size(*self.size, side)):
                side = side * 9 // 10
            mend = f"--size {side} would fit" if side >= 16 else "and so does any other size"
            raise ImageError(
                f"{self.size[0]} x {self.size[1]} needs more memory than there is, and only "
                f"paintings are seen in tiles; {mend}"
            )
        ends = [round(options.steps * (i + 1) / len(sizes)) for i in range(len(sizes))]
        steps = [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
        self.levels = [Level(s, n, math.inf, 1) for s, n in zip(sizes, steps, strict=True)]
        self.options = options.model_copy(update={"memory": None})  # with more, the same bytes
        self.progress = self.take_up()

    def result(self) -> Painting:
        best = self.progress.best
        pixels = self.show_nothing() if best is None else best.detach().float().cpu().clamp(0, 1)
        pixels = resize_pixels(pixels, *self.size)
        history = list(self.progress.history)
        return Painting(pixels, None, history, self.recipe(), list(self.notes))

    def show_nothing(self) -> Tensor:
        """What there is to show before the first step."""
        return torch.full((1, 3, self.size[1], self.size[0]), 0.5)

    def start_from_noise(self, size: tuple[int, int]) -> Tensor:
        draw = seeded(self.options.seed)
        noise = torch.randn(1, 3, size[1], size[0], generator=draw)
        return (0.5 + NOISE * noise).to(self.machine.device)


def finish(work: Work, on_step: Callable[[Step], None] | None) -> Painting:
    for step in work.steps():
        if on_step is not None:
            on_step(step)
    return work.result()
