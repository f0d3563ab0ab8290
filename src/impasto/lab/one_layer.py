"""What inversions and dreams share: work on whole pictures with one layer of a network."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from impasto.errors import ImageError
from impasto.images.picture import InputPictures, Picture
from impasto.images.resizing import fit_size, resize_pixels
from impasto.networks.vgg import Backbone
from impasto.painting.loop import PictureWork
from impasto.painting.loss_plan import plan_layers
from impasto.painting.memory_plan import Costs, Level, grant_memory
from impasto.painting.options import LoopOptions
from impasto.painting.result import Painting
from impasto.system.checkpoints import Checkpoint
from impasto.system.devices import Machine, seeded

_NOISE = 0.05  # standard deviation of the noise that a picture starts from


class Exploration(PictureWork):
    """Work on whole pictures with one layer of a network, without styles."""

    def __init__(
        self,
        options: LoopOptions,
        backbone: Backbone,
        machine: Machine,
        layer: str,
        sizes: Sequence[tuple[int, int]],
        *,
        photo: Picture | None,
        checkpoint: str | os.PathLike[str] | None,
    ) -> None:
        """Begin, or take up what the checkpoint holds; sizes go from coarse to fine."""
        self.layer, self.photo = layer, photo
        for size in sizes:
            backbone.check_size(*size, layer)
        check_room(Costs(backbone, machine, plan_layers(backbone, [layer]), options), sizes[-1])
        chosen = {"precision": machine.describe_precision(), "layout": machine.layout}
        super().__init__(
            # With more memory the same bytes come out.
            options.model_copy(update={**chosen, "memory": None}),
            backbone,
            machine,
            share_levels(sizes, options.steps),
            notes=[] if photo is None else [f"{photo.name}: {note}" for note in photo.notes],
            checkpoint=None if checkpoint is None else Checkpoint(checkpoint),
        )

    def list_pictures(self) -> InputPictures:
        """Return the photograph, if there is one."""
        return {} if self.photo is None else {"content": self.photo}

    def list_inputs(self) -> Iterable[Tensor | None]:
        """Return the photograph's pixels, if there is one."""
        return [None if self.photo is None else self.photo.pixels]

    def result(self) -> Painting:
        """Return the best picture so far, at its full size."""
        best = self.run.best
        pixels = self.show_nothing() if best is None else best.detach().float().cpu().clamp(0, 1)
        return self.make_painting(resize_pixels(pixels, *self.size))

    def show_nothing(self) -> Tensor:
        """Return what there is to show before the first step."""
        return torch.full((1, 3, self.size[1], self.size[0]), 0.5)

    def start_from_noise(self, size: tuple[int, int]) -> Tensor:
        """Return weak noise around grey."""
        noise = torch.randn(1, 3, size[1], size[0], generator=seeded(self.options.seed))
        return (0.5 + _NOISE * noise).to(self.machine.device)


def check_room(costs: Costs, size: tuple[int, int]) -> None:
    """Raise where there is no memory for a picture of that size."""
    grant = grant_memory(costs.machine.device, costs.options.memory)

    def fits(size: tuple[int, int]) -> bool:
        planned = costs.plan_level(size, costs.options.steps, size, grant)
        return planned is not None and planned[0].tiles == 1

    if fits(size):
        return
    side = max(size)
    while side >= 16 and not fits(fit_size(*size, side)):
        side = side * 9 // 10
    mend = f"--size {side} would fit" if side >= 16 else "and so does any other size"
    raise ImageError(
        f"{size[0]} x {size[1]} needs more memory than there is, and only paintings are seen in "
        f"tiles; {mend}"
    )


def share_levels(sizes: Sequence[tuple[int, int]], steps: int) -> list[Level]:
    """Return sizes that share the steps equally, each seen whole."""
    ends = [round(steps * i / len(sizes)) for i in range(len(sizes) + 1)]
    shares = [end - begin for begin, end in pairwise(ends)]
    return [Level(size, share, math.inf, 1) for size, share in zip(sizes, shares, strict=True)]
