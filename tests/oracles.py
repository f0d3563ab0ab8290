"""Slow, obvious reference versions, written from the formulas and not from the code."""

from __future__ import annotations

import numpy as np


def gram_by_loops(features: np.ndarray) -> np.ndarray:
    """sum_k F_ik F_jk / M for features (C, H, W)."""
    channels, height, width = features.shape
    gram = np.zeros((channels, channels))
    for i in range(channels):
        for j in range(channels):
            for y in range(height):
                for x in range(width):
                    gram[i, j] += features[i, y, x] * features[j, y, x]
    return gram / (height * width)


def paper_style_by_loops(features: np.ndarray, target: np.ndarray) -> float:
    """1/(4 N^2 M^2) sum_ij (G_ij - A_ij)^2 with the paper's sums, for pictures of one size."""
    n, m = features.shape[0], features.shape[1] * features.shape[2]
    g, a = gram_by_loops(features) * m, gram_by_loops(target) * m
    return sum((g[i, j] - a[i, j]) ** 2 for i in range(n) for j in range(n)) / (4 * n**2 * m**2)


def total_variation_by_loops(pixels: np.ndarray) -> float:
    """Sum of squared differences to the right and downwards, pixels (C, H, W)."""
    total = 0.0
    for c in range(pixels.shape[0]):
        for y in range(pixels.shape[1]):
            for x in range(pixels.shape[2]):
                if x + 1 < pixels.shape[2]:
                    total += (pixels[c, y, x + 1] - pixels[c, y, x]) ** 2
                if y + 1 < pixels.shape[1]:
                    total += (pixels[c, y + 1, x] - pixels[c, y, x]) ** 2
    return total


def convolve_by_loops(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, pad: str) -> np.ndarray:
    """3x3 cross-correlation of (C, H, W) with a border of one pixel."""
    mode = {"zeros": "constant", "reflect": "reflect", "replicate": "edge"}[pad]
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)), mode=mode)
    out = np.zeros((weight.shape[0], *x.shape[1:]))
    for o in range(weight.shape[0]):
        for y in range(x.shape[1]):
            for z in range(x.shape[2]):
                out[o, y, z] = (padded[:, y : y + 3, z : z + 3] * weight[o]).sum() + bias[o]
    return out


def pool_by_loops(x: np.ndarray, how: str) -> np.ndarray:
    """2x2 pooling; at a last odd row or column, of what there is."""
    reduce = {"max": np.max, "avg": np.mean}[how]
    height, width = (x.shape[1] + 1) // 2, (x.shape[2] + 1) // 2
    out = np.zeros((x.shape[0], height, width))
    for c in range(x.shape[0]):
        for y in range(height):
            for z in range(width):
                out[c, y, z] = reduce(x[c, 2 * y : 2 * y + 2, 2 * z : 2 * z + 2])
    return out
