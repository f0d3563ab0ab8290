"""What a painting starts from: a table of pictures made of the photograph and the style."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from impasto.errors import OptionError, suggest
from impasto.images.reading import read_image
from impasto.images.resizing import resize_pixels
from impasto.painting.canvas import resize_bilinear
from impasto.system.devices import seeded


def start_from_content(content: Tensor, _style: Tensor, _seed: int) -> Tensor:
    """Return the photograph itself."""
    return content


def start_from_details(content: Tensor, style: Tensor, _seed: int) -> Tensor:
    """Return the photograph's finest details on the style's mean colour (STROTSS)."""
    return (find_details(content) + style.mean((2, 3), keepdim=True)).clamp(0, 1)


def find_details(pixels: Tensor) -> Tensor:
    """Return what a picture of half the size lacks."""
    height, width = pixels.shape[-2:]
    half = resize_bilinear(pixels, (math.ceil(height / 2), math.ceil(width / 2)))
    return pixels - resize_bilinear(half, (height, width))


def start_from_style(content: Tensor, style: Tensor, _seed: int) -> Tensor:
    """Return the style, cut (not squeezed) to the content's shape."""
    height, width = content.shape[-2:]
    scale = max(height / style.shape[-2], width / style.shape[-1])
    tall, wide = (math.ceil(side * scale) for side in style.shape[-2:])
    grown = resize_pixels(style, wide, tall)
    top, left = (tall - height) // 2, (wide - width) // 2
    return grown[..., top : top + height, left : left + width]


def start_from_noise(content: Tensor, _style: Tensor, seed: int) -> Tensor:
    """Return uniform noise around grey, half as wide as the range."""
    noise = torch.rand(content.shape, generator=seeded(seed))
    return (0.5 + (noise - 0.5) * 0.5).to(content.device)


def start_from_faint_noise(content: Tensor, style: Tensor, seed: int) -> Tensor:
    """Return noise as faint as that of Gatys' own code (DeepTextures): a deviation of 1/255.

    Theirs is normal and around ImageNet's mean colour, ours uniform and around grey.
    """
    noise = start_from_noise(content, style, seed)  # deviation 1/2 / sqrt(12)
    return 0.5 + (noise - 0.5) * (2 * math.sqrt(12) / 255)


def start_from_grey(content: Tensor, _style: Tensor, _seed: int) -> Tensor:
    """Return plain grey."""
    return torch.full_like(content, 0.5)


def start_from_statistics(content: Tensor, style: Tensor, seed: int) -> Tensor:
    """Return the style's spectrum with random phases, the same for its three colours.

    It is noise with the style's means, covariances and autocorrelation (Galerne et al. 2011).
    """
    picture = make_periodic(start_from_style(content, style, seed))
    noise = torch.randn(picture.shape[-2:], generator=seeded(seed)).to(picture)
    phases = torch.fft.rfft2(noise)
    phases = phases / phases.abs().clamp_min(1e-12)
    phases[0, 0] = 1  # keeps the mean
    spectrum = torch.fft.rfft2(picture) * phases
    mixed: Tensor = torch.fft.irfft2(spectrum, s=picture.shape[-2:])
    return mixed.clamp(0, 1)


def make_periodic(picture: Tensor) -> Tensor:
    """Return the picture less a smooth one that has the differences of its opposite edges.

    The jump from edge to edge would leave horizontal and vertical lines in whatever is made of its
    spectrum (Moisan 2011, "Periodic plus Smooth Image Decomposition").
    """
    height, width = picture.shape[-2:]
    jumps = torch.zeros_like(picture)
    for dim, size in ((-2, height), (-1, width)):
        jump = picture.select(dim, size - 1) - picture.select(dim, 0)
        jumps.select(dim, 0).add_(jump)
        jumps.select(dim, size - 1).sub_(jump)
    down, across = torch.fft.fftfreq(height), torch.fft.rfftfreq(width)
    laplacian = 2 * torch.cos(2 * math.pi * down)[:, None] + 2 * torch.cos(2 * math.pi * across) - 4
    laplacian[0, 0] = 1  # the jumps have a mean of zero
    smooth = torch.fft.rfft2(jumps) / laplacian.to(picture)
    periodic: Tensor = picture - torch.fft.irfft2(smooth, s=picture.shape[-2:])
    return periodic


STARTS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "content": start_from_content,
    "details": start_from_details,
    "style": start_from_style,
    "noise": start_from_noise,
    "faint-noise": start_from_faint_noise,
    "grey": start_from_grey,
    "statistics": start_from_statistics,
}


def start_picture(
    init: str, content: Tensor, style: Tensor, *, seed: int = 0, max_megapixels: float = 100.0
) -> Tensor:
    """Return the picture that the coarsest size starts from: by a start's name, or from a file."""
    if start := STARTS.get(init):
        return start(content, style, seed)
    pixels = _read_start(init, max_megapixels)
    return resize_pixels(pixels, content.shape[-1], content.shape[-2]).to(content.device)


def check_start(init: str, *, max_megapixels: float = 100.0) -> None:
    """Raise where ``init`` names neither a start nor a picture that can be read."""
    if init not in STARTS:
        _read_start(init, max_megapixels)


def _read_start(init: str, max_megapixels: float) -> Tensor:
    """Return the pixels of a picture to start from."""
    try:
        return read_image(init, max_megapixels=max_megapixels).pixels
    except FileNotFoundError:
        if "." in init or "/" in init:
            raise
        hint = suggest(init, STARTS)
        if hint.endswith("?"):
            hint += " Or give a picture's path"
        else:
            hint += ", or give a picture's path"
        raise OptionError(f"unknown init {init!r}{hint}") from None
