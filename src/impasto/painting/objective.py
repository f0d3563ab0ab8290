"""The total loss of a picture at one size: what the loop minimises for paintings and textures."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from impasto.images.tiles import Tile, wrap
from impasto.networks.vgg import Backbone
from impasto.painting.criterion import Criterion, Parts
from impasto.painting.extractor import Extractor
from impasto.painting.loss_plan import LossPlan
from impasto.painting.scene import View
from impasto.painting.style_cache import Targets
from impasto.painting.terms import (
    ContentTerm,
    StyleMeter,
    StyleTerm,
    guide_terms,
    hold_content,
    make_content_terms,
)
from impasto.painting.tiled_gradient import TiledTotal
from impasto.system.devices import Machine, seeded
from impasto.system.memory import is_out_of_memory

_Found = TypeVar("_Found")


class Objective:
    """The total loss of a picture at one size, seen at most ``window`` pixels at once."""

    def __init__(
        self,
        backbone: Backbone,
        machine: Machine,
        view: View,
        plan: LossPlan,
        targets: Targets | None = None,
        window: float = math.inf,
    ) -> None:
        self.remarks: list[str] = []  # what was done in the user's stead
        self._plan, self._device = plan, machine.device
        self._photo, self._mask = view.photo, view.mask
        self._size = (view.content.shape[-2], view.content.shape[-1])  # (height, width)
        self._extractor = extractor = Extractor(backbone, plan, machine.device)
        self._window, self.tiles = window, self._cut(window)
        meter = StyleMeter(extractor, machine, targets or Targets())
        with torch.no_grad():
            kept = self._with_room(lambda: hold_content(extractor, view.content, self.tiles))
            style = self._with_room(
                lambda: meter.make_terms(view.regions, self._size, self._window)
            )
        painted = 1.0 if view.mask is None else float(view.mask.mean())
        terms: list[StyleTerm | ContentTerm]
        terms = [*guide_terms(extractor, style, kept), *make_content_terms(extractor, kept)]
        photo = view.photo if plan.photoreal else None
        self.criterion = Criterion(extractor, terms, self._size, painted, photo)

    def show(self, pixels: Tensor) -> Tensor:
        """Return what the losses see of a picture.

        That is the photograph where it is kept and, where copies are to fit side by side, the
        picture with copies of itself around.
        """
        if self._mask is not None:
            pixels = self._photo + self._mask * (pixels - self._photo)
        margin = self.tiles[0].margin
        return wrap(pixels, margin) if margin else pixels

    def __call__(self, pixels: Tensor, step: int) -> tuple[Tensor, Parts]:
        """Return the total, to be differentiated, and its parts before their weights.

        What is random is drawn from the seed and the step.
        """
        return self._with_room(lambda: self._evaluate(pixels, step))

    def _cut(self, window: float) -> list[Tile]:
        """Return tiles of at most ``window`` pixels."""
        return self._extractor.cut(self._size, window, tileable=self._plan.tileable)

    def _evaluate(self, pixels: Tensor, step: int) -> tuple[Tensor, Parts]:
        generator = seeded((self._plan.seed + 7919 * step) % 2**63)
        where = self.criterion.draw(generator)
        if len(self.tiles) > 1:
            return TiledTotal(self.criterion, self.tiles, where).evaluate(pixels, generator)
        gathered = self.criterion.gather(pixels, self.tiles[0], where)
        return self.criterion.weigh(gathered, generator)

    def _with_room(self, work: Callable[[], _Found]) -> _Found:
        """Do work again with smaller tiles where the device has no memory left for it."""
        while True:
            try:
                return work()
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
            # Here the error is gone, and with it all tensors that its frames held.
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
            self._window = max(tile.window.area for tile in self.tiles) / 2
            self.tiles = self._cut(self._window)
            self.remarks.append(f"out of memory: on with {len(self.tiles)} smaller tiles")
