"""Colour carried from one picture to another. Pictures are (1, 3, H, W) in [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor


def color_statistics(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (3,) and covariance (3, 3) of a picture's colours, in float64."""
    colors = pixels.double().flatten(2)[0]  # (3, H*W)
    mean = colors.mean(1)
    centred = colors - mean[:, None]
    return mean, centred @ centred.T / colors.shape[1]


def match_color(pixels: Tensor, source: Tensor) -> Tensor:
    """``pixels`` with the mean and covariance of the colours of ``source``.

    The linear map is the optimal transport between the two Gaussians, the one that moves colours
    least: A = C^-1/2 (C^1/2 S C^1/2)^1/2 C^-1/2.
    """
    mean, covariance = color_statistics(pixels)
    source_mean, source_covariance = color_statistics(source)
    # A picture of few colours has directions without spread, which no linear map can fill.
    covariance = covariance + 1e-6 * torch.eye(3, dtype=covariance.dtype, device=covariance.device)
    root = matrix_power(covariance, 0.5)
    inverse = matrix_power(covariance, -0.5)
    transport = inverse @ matrix_power(root @ source_covariance @ root, 0.5) @ inverse
    colors = pixels.double().flatten(2)[0]
    moved = transport @ (colors - mean[:, None]) + source_mean[:, None]
    return moved.clamp(0, 1).to(pixels.dtype).view_as(pixels)


def matrix_power(matrix: Tensor, power: float) -> Tensor:
    """A power of a symmetric matrix with no negative eigenvalues."""
    values, vectors = torch.linalg.eigh(matrix)
    powered: Tensor = (vectors * values.clamp_min(1e-12).pow(power)) @ vectors.T
    return powered
