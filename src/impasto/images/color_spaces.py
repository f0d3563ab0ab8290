"""Colour spaces: CIELAB, and luma with chroma. Pictures are (1, 3, H, W) in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# Linear sRGB to XYZ under D65, from the primaries of IEC 61966-2-1; white is (1, 1, 1).
_XYZ = (
    (0.4123907992659595, 0.35758433938387796, 0.1804807884018343),
    (0.21263900587151036, 0.7151686787677559, 0.07219231536073371),
    (0.01933081871559185, 0.11919477979462599, 0.9505321522496606),
)
_DELTA = 6 / 29  # where CIELAB's cube root turns into a straight line
COLOR_BLOCK = 1 << 16  # measured or converted together: small enough for the cache
LUMA = (0.299, 0.587, 0.114)  # BT.601
_U_SCALE, _V_SCALE = 0.436 / (1 - LUMA[2]), 0.615 / (1 - LUMA[0])


def convert_colors(pixels: Tensor, convert: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply ``convert``, of colours (3, n), to a picture in pieces that fit the cache."""
    colors = pixels.flatten(2)[0]  # (3, H*W)
    converted = torch.empty_like(colors)
    for start in range(0, colors.shape[1], COLOR_BLOCK):
        converted[:, start : start + COLOR_BLOCK] = convert(colors[:, start : start + COLOR_BLOCK])
    return converted.view_as(pixels)


def fast_power(base: Tensor, power: float) -> Tensor:
    """Raise what is not negative to a power, to about 1e-6; pow is slower."""
    return base.clamp_min(1e-12).log_().mul_(power).exp_()


def relative_xyz() -> Tensor:
    """Return the matrix (3, 3) from linear sRGB to XYZ / white: white becomes (1, 1, 1)."""
    matrix = torch.tensor(_XYZ, dtype=torch.float64)
    return matrix / matrix.sum(1, keepdim=True)


def rgb_to_lab(pixels: Tensor) -> Tensor:
    """Convert sRGB (1, 3, H, W) to CIELAB under D65: L in [0, 100], a and b about 128."""
    matrix = relative_xyz().to(pixels)

    def convert(colors: Tensor) -> Tensor:
        curve = fast_power((colors + 0.055) / 1.055, 2.4)
        xyz = matrix @ torch.where(colors <= 0.04045, colors / 12.92, curve)
        straight = xyz / (3 * _DELTA**2) + 4 / 29
        x, y, z = torch.where(xyz > _DELTA**3, fast_power(xyz, 1 / 3), straight)
        return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)])

    return convert_colors(pixels, convert)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """Convert CIELAB (1, 3, H, W) to sRGB; what no screen can show is clamped to [0, 1]."""
    matrix = torch.linalg.inv(relative_xyz()).to(lab)

    def convert(colors: Tensor) -> Tensor:
        light, a, b = colors
        y = (light + 16) / 116
        curved = torch.stack([y + a / 500, y, y - b / 200])
        straight = 3 * _DELTA**2 * (curved - 4 / 29)
        xyz = torch.where(curved > _DELTA, curved * curved * curved, straight)
        linear = (matrix @ xyz).clamp_(0, 1)
        curve = 1.055 * fast_power(linear, 1 / 2.4) - 0.055
        return torch.where(linear <= 0.0031308, linear * 12.92, curve).clamp_(0, 1)

    return convert_colors(lab, convert)


def split_luma(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Return luma (N, 1, H, W) in [0, 1] and chroma (N, 2, H, W), BT.601's Y and U, V.

    Gatys et al. 2016 take YIQ, whose I and Q are U and V turned: kept whole, they are the same.
    """
    red, green, blue = pixels.chunk(3, 1)
    luma = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    return luma, torch.cat([_U_SCALE * (blue - luma), _V_SCALE * (red - luma)], 1)


def join_luma(luma: Tensor, chroma: Tensor) -> Tensor:
    """Return the picture of a luma and a chroma, clamped to [0, 1].

    Where both together are no colour of sRGB, the clamp changes luma and chroma.
    """
    u, v = chroma.chunk(2, 1)
    red, blue = luma + v / _V_SCALE, luma + u / _U_SCALE
    green = (luma - LUMA[0] * red - LUMA[2] * blue) / LUMA[1]
    return torch.cat([red, green, blue], 1).clamp_(0, 1)
