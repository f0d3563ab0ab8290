"""Slow, obvious reference versions, written from the formulas and not from the code."""

from __future__ import annotations

import numpy as np
import scipy.linalg
import scipy.optimize


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


# --- style losses: features are (C, H, W), lists of features (n, C) -----------------------------


def weighted_correlations_by_loops(
    left: np.ndarray, right: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """sum_p w_p l_p r_p^T; a smaller ``right`` was pooled by twos, rounding up."""
    total = np.zeros((left.shape[0], right.shape[0]))
    factor = 1
    while (left.shape[1] + factor - 1) // factor != right.shape[1]:
        factor *= 2
    for y in range(left.shape[1]):
        for x in range(left.shape[2]):
            there = right[:, y // factor, x // factor]
            total += weights[y, x] * np.outer(left[:, y, x], there)
    return total


def gaussian_distance_by_sqrtm(ours: np.ndarray, theirs: np.ndarray) -> float:
    """|m - m'|^2 + tr(S + S' - 2 (S'^1/2 S S'^1/2)^1/2) of the rows."""
    root = scipy.linalg.sqrtm(np.cov(theirs.T, bias=True))
    cross = scipy.linalg.sqrtm(root @ np.cov(ours.T, bias=True) @ root)
    spread = np.cov(ours.T, bias=True) + np.cov(theirs.T, bias=True) - 2 * cross.real
    return float(((ours.mean(0) - theirs.mean(0)) ** 2).sum() + np.trace(spread))


def transport_cost(cost: np.ndarray) -> float:
    """Mean cost of the best one-to-one assignment: the earth mover's distance of equal lists."""
    return float(cost[scipy.optimize.linear_sum_assignment(cost)].mean())


def cosine_table(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    table = np.zeros((len(ours), len(theirs)))
    for i, a in enumerate(ours):
        for j, b in enumerate(theirs):
            table[i, j] = 1 - a @ b / (np.sqrt(a @ a) * np.sqrt(b @ b))
    return table


def euclidean_table(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    return np.array([[np.sqrt(((a - b) ** 2).sum()) for b in theirs] for a in ours])


def relaxed_cost(table: np.ndarray) -> float:
    return max(
        sum(min(row) for row in table) / len(table),
        sum(min(column) for column in table.T) / len(table.T),
    )


def strotss_by_loops(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Relaxed distance and moments, each with weight one."""
    d = ours.shape[1]
    means = np.abs(ours.mean(0) - theirs.mean(0)).sum() / d
    spreads = np.abs(np.cov(ours.T, bias=True) - np.cov(theirs.T, bias=True)).sum() / d**2
    return relaxed_cost(cosine_table(ours, theirs)) + means + spreads


def neighbours_by_loops(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Nearest by cosine of what is centred, then the cosine distance of what is not."""
    nearest = cosine_table(ours - ours.mean(0), theirs - theirs.mean(0)).argmin(1)
    table = cosine_table(ours, theirs)
    return float(np.mean([table[i, j] for i, j in enumerate(nearest)]))


# --- content and image losses -------------------------------------------------------------------


def interpolate_by_hand(layer: np.ndarray, y: float, x: float) -> np.ndarray:
    """The mean of the four cells around a place of (C, H, W), by how near their centres are."""
    height, width = layer.shape[1:]
    y, x = min(max(y * height - 0.5, 0), height - 1), min(max(x * width - 0.5, 0), width - 1)
    total = np.zeros(layer.shape[0])
    for row in range(height):
        for column in range(width):
            near = max(0.0, 1 - abs(row - y)) * max(0.0, 1 - abs(column - x))
            total += near * layer[:, row, column]
    return total


def self_similarity_by_loops(ours: np.ndarray, theirs: np.ndarray) -> float:
    """1/n sum_ij |D_ij / sum_i D_ij - D'_ij / sum_i D'_ij| of rows (n, C)."""
    first, second = cosine_table(ours, ours), cosine_table(theirs, theirs)
    total = 0.0
    for j in range(len(ours)):
        for i in range(len(ours)):
            total += abs(first[i, j] / first[:, j].sum() - second[i, j] / second[:, j].sum())
    return total / len(ours)


def laplacian_by_loops(pixels: np.ndarray, pool: int) -> np.ndarray:
    """Of the means of blocks (C, H, W); the last blocks have what there is."""
    height, width = -(-pixels.shape[1] // pool), -(-pixels.shape[2] // pool)
    small = np.zeros((pixels.shape[0], height, width))
    for y in range(height):
        for x in range(width):
            block = pixels[:, y * pool : (y + 1) * pool, x * pool : (x + 1) * pool]
            small[:, y, x] = block.mean((1, 2))
    out = np.zeros_like(small)
    for y in range(height):
        for x in range(width):
            for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if 0 <= v < height and 0 <= u < width:
                    out[:, y, x] += small[:, y, x] - small[:, v, u]
    return out


def powered_variation_by_loops(pixels: np.ndarray, power: float) -> float:
    """Sum of (across^2 + down^2)^(power/2), pixels (C, H, W)."""
    total = 0.0
    for c in range(pixels.shape[0]):
        for y in range(pixels.shape[1]):
            for x in range(pixels.shape[2]):
                here, squares = pixels[c, y, x], 0.0
                if x + 1 < pixels.shape[2]:
                    squares += (pixels[c, y, x + 1] - here) ** 2
                if y + 1 < pixels.shape[1]:
                    squares += (pixels[c, y + 1, x] - here) ** 2
                total += squares ** (power / 2)
    return total


def matting_laplacian(photo: np.ndarray, edge: float) -> np.ndarray:
    """Levin et al. 2006, eq. 12, of a photograph (H, W, 3), as a dense matrix."""
    height, width, _ = photo.shape
    colors = photo.reshape(-1, 3)
    matrix = np.zeros((height * width, height * width))
    for y in range(height - 2):
        for x in range(width - 2):
            window = [(y + i) * width + x + j for i in range(3) for j in range(3)]
            centred = colors[window] - colors[window].mean(0)
            covariance = centred.T @ centred / 9 + edge / 9 * np.eye(3)
            for a, i in enumerate(window):
                for b, j in enumerate(window):
                    alike = 1 + centred[a] @ np.linalg.inv(covariance) @ centred[b]
                    matrix[i, j] += (i == j) - alike / 9
    return matrix
