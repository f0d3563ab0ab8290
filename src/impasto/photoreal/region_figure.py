"""The regions of a photograph and of those it is to be like: tinted, outlined and numbered."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from impasto.figures.text import Font, load_font
from impasto.images.resizing import fit_size, resize_pixels
from impasto.images.writing import to_pil
from impasto.photoreal.relight import Fit, Sighted, enlarge_shares
from impasto.photoreal.smoothing import average_box

_LONG_SIDE = 640  # of each picture
_GAP = 8
_TINT = 0.45
_SMALLEST = 0.004  # of a picture: regions with less get no number
# Hues that are told apart next to each other, and by most who see fewer colours.
_HUES = (
    (0.90, 0.62, 0.00),
    (0.34, 0.71, 0.91),
    (0.00, 0.62, 0.45),
    (0.94, 0.89, 0.26),
    (0.00, 0.45, 0.70),
    (0.84, 0.37, 0.00),
    (0.80, 0.47, 0.65),
    (0.60, 0.60, 0.60),
)


def draw_regions(fit: Fit) -> Tensor:
    """Return a picture (1, 3, H, W) of the photograph and the others side by side, by regions.

    Each number stands where its region is widest; the photograph is the first.
    """
    panels = [_draw_panel(each) for each in (fit.photo, *fit.likes)]
    height = max(panel.height for panel in panels)
    width = sum(panel.width for panel in panels) + _GAP * (len(panels) - 1)
    sheet, left = Image.new("RGB", (width, height), "white"), 0
    for panel in panels:
        sheet.paste(panel, (left, 0))
        left += panel.width + _GAP
    return torch.from_numpy(np.array(sheet)).permute(2, 0, 1)[None].float() / 255


def list_region_maps(fit: Fit, long_side: int) -> list[Tensor]:
    """Return the region's number of each pixel (H, W), from 1: the photograph's map comes first."""
    maps = []
    for picture in (fit.photo, *fit.likes):
        height, width = picture.pixels.shape[2:]
        size = fit_size(width, height, min(long_side, max(width, height)))
        maps.append(enlarge_shares(picture.masks, size)[0].argmax(0) + 1)
    return maps


def _draw_panel(picture: Sighted) -> Image.Image:
    height, width = picture.pixels.shape[2:]
    size = fit_size(width, height, _LONG_SIDE)
    pixels = resize_pixels(picture.pixels, *size)
    masks = enlarge_shares(picture.masks, size)
    region = masks[0].argmax(0)  # (H, W)
    hues = torch.tensor(_HUES)[region % len(_HUES)].permute(2, 0, 1)[None]
    grey = pixels.mean(1, keepdim=True)
    tinted = torch.lerp(grey.expand_as(pixels), hues, _TINT)
    edge = torch.zeros_like(region, dtype=torch.bool)
    edge[:, 1:] |= region.diff(dim=1) != 0
    edge[1:] |= region.diff(dim=0) != 0
    image = to_pil(torch.where(edge, 1.0, tinted))
    draw, font = ImageDraw.Draw(image), load_font(max(14, size[1] // 14))
    for number in range(masks.shape[1]):
        inside = (region == number).float()
        if float(inside.mean()) >= _SMALLEST:
            _write_number(draw, _find_widest(inside), number + 1, font)
    return image


def _write_number(
    draw: ImageDraw.ImageDraw, place: tuple[int, int], number: int, font: Font
) -> None:
    text = str(number)
    draw.text(place, text, "black", font, "mm", stroke_width=3, stroke_fill="white")


def _find_widest(inside: Tensor) -> tuple[int, int]:
    """Return the place (x, y) around which most of a large window lies inside."""
    height, width = inside.shape
    radius = max(1, min(height, width) // 8)
    around = average_box(inside[None, None], radius)[0, 0] * inside
    y, x = divmod(int(around.argmax()), width)
    room = min(height, width) // 16  # that a number takes to each side
    return min(max(x, room), width - room), min(max(y, room), height - room)
