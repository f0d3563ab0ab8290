"""Texture synthesis: more of a texture than there is, at any size."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Self

from impasto.errors import OptionError
from impasto.images.opening import check_megapixels
from impasto.images.picture import ImageSource, InputPictures
from impasto.images.reading import read_image
from impasto.images.resizing import resize_pixels, resize_tileable
from impasto.lab.options import TextureOptions, parse_size
from impasto.networks.autotune import load_tuned_backbone
from impasto.painting.inputs import SceneOptions
from impasto.painting.loss_plan import plan_texture_losses
from impasto.painting.memory_plan import Costs
from impasto.painting.result import Painting
from impasto.painting.scene import Scene
from impasto.painting.style_cache import Targets, keep_targets
from impasto.painting.style_work import (
    StyleWork,
    check_size,
    check_tileable,
    choose_grant,
    plan_within,
)
from impasto.system.checkpoints import Checkpoint
from impasto.work import Request, Step, finish

_LARGEST = 65536  # pixels of an exemplar's long side, as it is seen
_STYLE_WEIGHT = 15.0  # that of paintings: the loss is in the same units


class Texture(StyleWork):
    """More of a texture than there is: found from a style, with no photograph.

    Gatys, Ecker and Bethge, *Texture Synthesis Using Convolutional Neural Networks* (2015), at any
    size and with any style loss. Copies of a tileable one fit side by side: the network sees them.
    """

    operation = "texture"
    doing = "making"
    options: TextureOptions

    def __init__(
        self,
        style: ImageSource,
        options: TextureOptions | None = None,
        *,
        checkpoint: str | os.PathLike[str] | None = None,
        targets: Targets | None = None,
    ) -> None:
        options = options or TextureOptions()
        kept = None if checkpoint is None else Checkpoint(checkpoint)
        self.exemplar = read_image(style, max_megapixels=options.max_megapixels)
        self.asked = parse_size(options.size)
        check_megapixels(*self.asked, "texture", options.max_megapixels)
        notes = [f"{self.exemplar.name}: {note}" for note in self.exemplar.notes]
        side = choose_side(max(self.exemplar.size), options.style_scale)
        asked = SceneOptions(style_size=(side,), tileable=options.tileable)
        backbone, machine = load_tuned_backbone(options)
        if machine.is_slow():
            notes.append("this processor has no bfloat16 of its own: float32 is faster")
        losses = plan_texture_losses(backbone, options, _STYLE_WEIGHT)
        check_tileable(options, losses)
        costs = Costs(backbone, machine, losses, options, asked, styles=[self.exemplar])
        plan, shrunk = plan_within(
            costs, self.asked, options.start_size, choose_grant(costs, kept), may_shrink=True
        )
        size = plan.levels[-1].size
        check_size(backbone, losses, size)
        super().__init__(
            costs,
            plan,
            Scene(None, [self.exemplar], asked, size),
            init=options.init,
            notes=[*notes, *shrunk],
            checkpoint=kept,
            targets=targets,
        )

    @classmethod
    def from_request(cls, request: Request) -> Self:
        """Make the work that a request asks for."""
        return cls(
            request.one("style"),
            TextureOptions.parse(request.options),
            checkpoint=request.checkpoint,
            targets=keep_targets(),
        )

    def list_pictures(self) -> InputPictures:
        """Return the exemplar."""
        return {"style": [self.exemplar]}

    def result(self) -> Painting:
        """Return the best picture so far, at its full size."""
        best, pixels = self.run.best, self.scene.photo
        if best is not None:
            pixels = self.scene.finish(best.detach().float().cpu().clamp(0, 1))
        resize = resize_tileable if self.options.tileable else resize_pixels
        return self.make_painting(resize(pixels, *self.asked))


def choose_side(own: int, scale: float) -> int:
    """Return the long side at which the exemplar is seen."""
    side = round(own * scale)
    if side > _LARGEST:
        raise OptionError(
            f"style_scale: {scale:g} makes the texture {side} pixels large; at most {_LARGEST}"
        )
    return max(side, 16)


def texture(
    style: ImageSource,
    options: TextureOptions | Mapping[str, Any] | None = None,
    *,
    on_step: Callable[[Step], None] | None = None,
) -> Painting:
    """Make more of the texture ``style``, at any size."""
    return finish(Texture(style, TextureOptions.parse(options)), on_step)
