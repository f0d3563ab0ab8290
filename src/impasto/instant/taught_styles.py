"""The styles that a net is taught: how they look, their colours, and statistics of features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image

from impasto.images.color_transfer import color_statistics
from impasto.images.picture import ImageSource, Picture
from impasto.images.reading import read_image
from impasto.images.resizing import resize_pixels
from impasto.images.transparency import make_opaque
from impasto.images.writing import to_pil
from impasto.instant.net import LEAST_STYLE
from impasto.instant.palette import Palette
from impasto.instant.training_losses import measure_styles
from impasto.losses.statistics import Gaussian
from impasto.networks.vgg import Backbone
from impasto.painting.inputs import check_mask, fit_style

SHOWN_STYLES = 4  # of a preview
_LONGEST = 4  # times the size at which styles are seen, however narrow one is


class TaughtStyles:
    """Styles, measured once; their parameters are what the learner learns."""

    @torch.no_grad()
    def __init__(
        self,
        pictures: Sequence[Picture],
        names: tuple[str, ...],
        backbone: Backbone,
        side: int,
        device: torch.device,
    ) -> None:
        colors, measured = [], []
        self.icons: list[Image.Image] = []  # of the first few
        for picture in pictures:
            width, height = fit_style(*picture.size, side, LEAST_STYLE)
            size = min(width, _LONGEST * side), min(height, _LONGEST * side)
            seen = resize_pixels(picture.pixels, *size)
            colors.append(color_statistics(seen))
            measured.append(measure_styles(backbone, seen.to(device)))
            if len(self.icons) < SHOWN_STYLES:
                self.icons.append(to_pil(seen))
        means, covariances = (torch.stack(each) for each in zip(*colors, strict=True))
        self.palette = Palette(names, torch.empty(0), means, covariances)
        self.targets = {n: Gaussian.join([each[n] for each in measured]) for n in measured[0]}


def read_taught(source: ImageSource, max_megapixels: float) -> Picture:
    """Return a picture to learn; raise an error where nothing of it is visible."""
    picture = read_image(source, max_megapixels=max_megapixels)
    check_mask(picture.alpha, picture.name)
    return make_opaque(picture)
