"""Texture synthesis: more of a texture than there is, at any size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from impasto.errors import OptionError
from impasto.images.picture import ImageSource, InputPictures, Picture
from impasto.images.reading import read_image
from impasto.lab.one_layer import Place, finish
from impasto.lab.options import TextureOptions, parse_size
from impasto.painting.options import PaintOptions
from impasto.painting.painter import Painter
from impasto.painting.result import Painting
from impasto.painting.style_cache import Targets
from impasto.work import Step

LARGEST = 65536  # pixels of an exemplar's long side, as it is seen

# --- textures -----------------------------------------------------------------------------------


class Texture(Painter):
    """More of a texture than there is: a painting that holds on to no photograph.

    Gatys, Ecker and Bethge, *Texture Synthesis Using Convolutional Neural Networks* (2015), at any
    size and with any style loss. Copies of a tileable one fit side by side: the network sees them.
    """

    operation = "texture"

    def __init__(
        self,
        style: ImageSource,
        options: TextureOptions | None = None,
        *,
        checkpoint: Place | None = None,
        targets: Targets | None = None,
    ) -> None:
        self.asked = options or TextureOptions()
        exemplar = read_image(style, max_megapixels=self.asked.max_megapixels)
        width, height = parse_size(self.asked.size)
        size = Picture(torch.full((1, 1, 1, 1), 0.5).expand(1, 3, height, width), name="texture")
        painting = self._as_painting(exemplar)
        super().__init__(size, exemplar, painting, checkpoint=checkpoint, targets=targets)

    def _as_painting(self, exemplar: Picture) -> PaintOptions:
        """Its options in a painter's words: the exemplar is seen at its own size."""
        own = self.asked.model_dump()
        scale = own.pop("style_scale")
        seen = round(max(exemplar.size) * scale)
        if seen > LARGEST:
            raise OptionError(
                f"style_scale: {scale:g} makes the texture {seen} pixels large; at most {LARGEST}"
            )
        own |= {"size": None, "style_size": (max(seen, 16),), "content_weight": 0.0}
        return PaintOptions.read({**own, "recolor": False})

    def list_pictures(self) -> InputPictures:
        return {"style": self.styles}

    def recipe(self) -> dict[str, Any]:
        recipe = super().recipe()
        known = TextureOptions.model_fields
        chosen = {name: value for name, value in recipe["options"].items() if name in known}
        own = {"size": self.asked.size, "style_scale": self.asked.style_scale}
        return recipe | {"options": chosen | own}


# --- in one call --------------------------------------------------------------------------------


def texture(
    style: ImageSource,
    options: TextureOptions | Mapping[str, Any] | None = None,
    *,
    on_step: Callable[[Step], None] | None = None,
) -> Painting:
    """More of the texture ``style``, at any size."""
    if options is not None and not isinstance(options, TextureOptions):
        options = TextureOptions.read(options)
    return finish(Texture(style, options), on_step)
