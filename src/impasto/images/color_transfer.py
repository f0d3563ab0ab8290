"""The ways to keep or carry over colour. Pictures are (1, 3, H, W) in [0, 1].

A carrier, ``carry(pixels, source, weights, source_weights)``, gives ``pixels`` the colours of
``source``. The weights (1, 1, H, W), a soft mask or an alpha channel, say how much each pixel
counts when colours are measured; what was measured is then done to every pixel, so that a caller
blends regions as it likes. Results are clamped to [0, 1]. Statistics are float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from impasto.errors import ImageError
from impasto.images.color_spaces import (
    COLOR_BLOCK,
    join_luma,
    lab_to_rgb,
    rgb_to_lab,
    split_luma,
)

Carrier = Callable[[Tensor, Tensor, Tensor | None, Tensor | None], Tensor]

# A picture of few colours has directions without spread, which no map should fill with its noise.
RIDGE = 1e-6


def flatten_colors(pixels: Tensor) -> Tensor:
    """Return colours (C, H*W), on the processor where the device has no float64 (MPS)."""
    colors = pixels.flatten(2)[0]
    return colors.cpu() if colors.device.type == "mps" else colors


def flatten_weights(pixels: Tensor, weights: Tensor | None) -> Tensor | None:
    """Check weights against their picture and return them as (H*W,)."""
    if weights is None:
        return None
    if weights.shape != (1, 1, *pixels.shape[2:]):
        found, wanted = tuple(weights.shape), (1, 1, *pixels.shape[2:])
        raise ImageError(f"weights of shape {found} for a picture that needs {wanted}")
    if not weights.any():
        raise ImageError("no colours to measure: the weights are zero everywhere")
    return flatten_colors(weights)[0]


def color_statistics(pixels: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return mean (C,) and covariance (C, C) of a picture's colours, in float64."""
    flat = flatten_weights(pixels, weights)
    colors = flatten_colors(pixels)
    channels, count = colors.shape
    total = colors.new_zeros((), dtype=torch.float64)
    first = colors.new_zeros(channels, dtype=torch.float64)
    second = colors.new_zeros(channels, channels, dtype=torch.float64)
    for start in range(0, count, COLOR_BLOCK):
        some = colors[:, start : start + COLOR_BLOCK].double()
        # Weighed before they are multiplied, so that what hides under alpha 0 adds exact zeros.
        share = (
            torch.ones_like(some[0]) if flat is None else flat[start : start + COLOR_BLOCK].double()
        )
        weighed = some * share
        total += share.sum()
        first += weighed.sum(1)
        second += weighed @ some.T
    mean = first / total
    return mean, second / total - torch.outer(mean, mean)


def matrix_power(matrix: Tensor, power: float) -> Tensor:
    """Return a power of a symmetric matrix with no negative eigenvalues."""
    values, vectors = torch.linalg.eigh(matrix)
    powered: Tensor = (vectors * values.clamp_min(1e-12).pow(power)) @ vectors.T
    return powered


def optimal_map(covariance: Tensor, target: Tensor) -> Tensor:
    """Return the map between two Gaussians that moves colours least, Gatys' symmetric form.

    A = C^-1/2 (C^1/2 T C^1/2)^1/2 C^-1/2.
    """
    root, inverse = matrix_power(covariance, 0.5), matrix_power(covariance, -0.5)
    return inverse @ matrix_power(root @ target @ root, 0.5) @ inverse


def pca_map(covariance: Tensor, target: Tensor) -> Tensor:
    """Return A = T^1/2 C^-1/2 (Gatys et al. 2016, "Preserving Color", image analogies' form)."""
    return matrix_power(target, 0.5) @ matrix_power(covariance, -0.5)


def cholesky_map(covariance: Tensor, target: Tensor) -> Tensor:
    """Return A = L_T L_C^-1 with C = L_C L_C^T (Gatys et al. 2016, "Preserving Color")."""
    # A flat target has no factor; a millionth of a level in each direction gives it one.
    tiny = 1e-12 * torch.eye(len(target), dtype=target.dtype, device=target.device)
    lower: Tensor = torch.linalg.cholesky(covariance)
    target_lower: Tensor = torch.linalg.cholesky(target + tiny)
    linear: Tensor = torch.linalg.solve_triangular(lower, target_lower, upper=False, left=False)
    return linear


def match_moments(
    pixels: Tensor,
    source: Tensor,
    weights: Tensor | None,
    source_weights: Tensor | None,
    find_map: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """Give ``pixels`` the source's mean and covariance, not clamped."""
    wanted = color_statistics(source, source_weights)
    return carry_moments(pixels, *wanted, weights, find_map)


def carry_moments(
    pixels: Tensor,
    mean: Tensor,
    covariance: Tensor,
    weights: Tensor | None = None,
    find_map: Callable[[Tensor, Tensor], Tensor] = optimal_map,
) -> Tensor:
    """Give ``pixels`` that mean and covariance, not clamped."""
    own_mean, own = color_statistics(pixels, weights)
    ridge = RIDGE * torch.eye(len(own_mean), dtype=own.dtype, device=own.device)
    linear = find_map(own + ridge, covariance).to(pixels)
    centred = pixels.flatten(2)[0] - own_mean[:, None].to(pixels)  # (C, H*W)
    return torch.addmm(mean[:, None].to(pixels), linear, centred).view_as(pixels)


def match_color(
    pixels: Tensor,
    source: Tensor,
    weights: Tensor | None = None,
    source_weights: Tensor | None = None,
) -> Tensor:
    """Give ``pixels`` the source's mean and covariance, by optimal transport of Gaussians."""
    return match_moments(pixels, source, weights, source_weights, optimal_map).clamp_(0, 1)


def match_pca(
    pixels: Tensor,
    source: Tensor,
    weights: Tensor | None = None,
    source_weights: Tensor | None = None,
) -> Tensor:
    """Give ``pixels`` the source's mean and covariance, along their principal axes."""
    return match_moments(pixels, source, weights, source_weights, pca_map).clamp_(0, 1)


def match_cholesky(
    pixels: Tensor,
    source: Tensor,
    weights: Tensor | None = None,
    source_weights: Tensor | None = None,
) -> Tensor:
    """Give ``pixels`` the source's mean and covariance, red first, then green, then blue."""
    return match_moments(pixels, source, weights, source_weights, cholesky_map).clamp_(0, 1)


def match_histogram(
    pixels: Tensor,
    source: Tensor,
    weights: Tensor | None = None,
    source_weights: Tensor | None = None,
) -> Tensor:
    """Give ``pixels`` the source's histogram in each channel, exactly: no bins."""
    flat, source_flat = flatten_weights(pixels, weights), flatten_weights(source, source_weights)
    moved = [
        match_quantiles(channel, source_channel, flat, source_flat)
        for channel, source_channel in zip(
            flatten_colors(pixels), flatten_colors(source), strict=True
        )
    ]
    return torch.stack(moved).clamp_(0, 1).to(pixels.device).view_as(pixels)


def match_quantiles(
    values: Tensor, source: Tensor, weights: Tensor | None, source_weights: Tensor | None
) -> Tensor:
    """Map values (N,) to the source's quantiles of the same rank: monotone, ties stay ties."""
    ordered, order = sort_levels(values)
    levels, cumulative, run = measure_levels(ordered, order, weights)
    source_levels, source_cumulative, _ = measure_levels(*sort_levels(source), source_weights)
    if source_weights is not None:
        source_weighed = find_steps(source_cumulative)
        source_levels = source_levels[source_weighed]
        source_cumulative = source_cumulative[source_weighed]
    if weights is None:
        mapped = average_quantiles(cumulative, source_levels.double(), source_cumulative)
    else:
        weighed = find_steps(cumulative)
        mapped = average_quantiles(cumulative[weighed], source_levels.double(), source_cumulative)
        mapped = fill_between(levels.double(), weighed, mapped)
    return torch.empty_like(values).scatter_(0, order, mapped.to(values.dtype)[run])


def sort_levels(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return values that are not negative in rising order, and where each came from."""
    # Their bits are integers in the same order, and integers are sorted several times faster.
    integers = {2: torch.int16, 4: torch.int32, 8: torch.int64}[values.element_size()]
    ordered, order = values.clamp_min(0).add_(0.0).view(integers).sort()  # no -0 left
    return ordered.view(values.dtype), order


def measure_levels(
    ordered: Tensor, order: Tensor, weights: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the distinct values (K,), their cumulative weight, and the level of each value."""
    changed = ordered.diff() != 0
    run = torch.cat([changed.new_zeros(1), changed]).cumsum(0)
    ends = torch.cat([changed, changed.new_ones(1)]).nonzero().flatten()
    levels = ordered[ends]
    if weights is None:
        return levels, (ends + 1).double(), run
    return levels, weights[order].double().cumsum(0)[ends], run


def find_steps(cumulative: Tensor) -> Tensor:
    """Return which levels have any weight."""
    return cumulative.diff(prepend=cumulative.new_zeros(1)) > 0


def average_quantiles(cumulative: Tensor, levels: Tensor, level_cumulative: Tensor) -> Tensor:
    """Average the levels' quantile function between the ranks that ``cumulative`` bounds.

    A mean, and not the middle quantile, so that ties keep the mean of the whole as well.
    """
    zero = cumulative.new_zeros(1)
    starts = torch.cat([zero, level_cumulative])
    integrals = torch.cat([zero, (starts.diff() * levels).cumsum(0)])
    bounds = torch.cat([zero, cumulative * (level_cumulative[-1] / cumulative[-1])])
    place = torch.searchsorted(level_cumulative, bounds).clamp_(max=len(levels) - 1)
    quantiles = levels[place]
    sums = (integrals[place] + (bounds - starts[place]) * quantiles).diff()
    means = sums / bounds.diff().clamp_min(1e-300)  # a faint weight can be lost to rounding
    # Between the quantiles at its ends each mean lies in truth; rounding must not undo the order.
    return torch.minimum(torch.maximum(means, quantiles[:-1]), quantiles[1:])


def fill_between(levels: Tensor, weighed: Tensor, mapped: Tensor) -> Tensor:
    """Interpolate what levels without weight, which have no rank, map to."""
    known = levels[weighed]
    left = weighed.cumsum(0) - 1
    right = torch.where(weighed, left, left + 1).clamp_(max=len(known) - 1)
    left.clamp_(min=0)
    width = known[right] - known[left]
    share = torch.where(width > 0, (levels - known[left]) / width, 0.0)
    return torch.lerp(mapped[left], mapped[right], share)


def match_lab(
    pixels: Tensor,
    source: Tensor,
    weights: Tensor | None = None,
    source_weights: Tensor | None = None,
) -> Tensor:
    """Give ``pixels`` the source's mean and standard deviation in each channel of CIELAB.

    Reinhard et al. 2001, eqs. 10 and 11, but in CIELAB where they take Ruderman's l-alpha-beta.
    """
    lab, source_lab = rgb_to_lab(pixels), rgb_to_lab(source)
    matched = match_deviation(lab, source_lab, weights, source_weights, ridge=RIDGE * 100**2)
    return lab_to_rgb(matched)


def match_deviation(
    pixels: Tensor,
    source: Tensor,
    weights: Tensor | None,
    source_weights: Tensor | None,
    *,
    ridge: float = RIDGE,
) -> Tensor:
    """Give ``pixels`` the source's mean and standard deviation by channel, not clamped."""
    mean, covariance = color_statistics(pixels, weights)
    source_mean, source_covariance = color_statistics(source, source_weights)
    variance, source_variance = covariance.diagonal(), source_covariance.diagonal()
    scale = (source_variance.clamp_min(0) / (variance.clamp_min(0) + ridge)).sqrt()
    mean, source_mean, scale = (
        each.to(pixels).view(1, -1, 1, 1) for each in (mean, source_mean, scale)
    )
    return (pixels - mean).mul_(scale).add_(source_mean)


def show_luma(pixels: Tensor) -> Tensor:
    """Return luma as three equal channels."""
    return split_luma(pixels)[0].expand(-1, 3, -1, -1).contiguous()


def match_luma(
    pixels: Tensor,
    source: Tensor,
    weights: Tensor | None = None,
    source_weights: Tensor | None = None,
) -> Tensor:
    """Return the luma of ``pixels`` with the mean and standard deviation of the source's."""
    luma, source_luma = split_luma(pixels)[0], split_luma(source)[0]
    matched = match_deviation(luma, source_luma, weights, source_weights).clamp_(0, 1)
    return matched.expand(-1, 3, -1, -1).contiguous()


def keep_chroma(painted: Tensor, content: Tensor) -> Tensor:
    """Return the painting's luma with the content's chroma."""
    return join_luma(split_luma(painted)[0], split_luma(content)[1])


def keep_pixels(pixels: Tensor) -> Tensor:
    """Return pixels as they are."""
    return pixels


def keep_style(
    style: Tensor,
    content: Tensor,  # noqa: ARG001
    style_weights: Tensor | None = None,  # noqa: ARG001
    content_weights: Tensor | None = None,  # noqa: ARG001
) -> Tensor:
    """Return the style picture as it is."""
    return style


def keep_painting(painted: Tensor, content: Tensor) -> Tensor:  # noqa: ARG001
    """Return the painting as it is."""
    return painted


@dataclass(frozen=True)
class ColorMode:
    """Whose colours a painting has, and what is done for it before and after."""

    about: str
    # (style, content, style weights, content weights): what the style is before the painting
    before: Carrier = keep_style
    # what content, style and start are seen as while painting; before or after `before`, alike
    look: Callable[[Tensor], Tensor] = keep_pixels
    # (painted, content): what is done to the finished painting
    after: Callable[[Tensor, Tensor], Tensor] = keep_painting
    # (content, style, content weights, style weights): the photograph in the style's colours
    carry: Carrier | None = None


COLORS: dict[str, ColorMode] = {
    "style": ColorMode("the style's colours", carry=match_color),
    "content": ColorMode("the photograph's chroma under the painting's luma", after=keep_chroma),
    "luminance": ColorMode(
        "only luma is painted, the photograph's chroma comes back (Gatys 2016)",
        before=match_luma,
        look=show_luma,
        after=keep_chroma,
    ),
    "histogram": ColorMode(
        "the style first takes the photograph's histogram in each channel",
        before=match_histogram,
        carry=match_histogram,
    ),
    "cholesky": ColorMode(
        "the style first takes the photograph's mean and covariance, by Cholesky factors",
        before=match_cholesky,
        carry=match_cholesky,
    ),
    "pca": ColorMode(
        "the style first takes the photograph's mean and covariance, by principal axes",
        before=match_pca,
        carry=match_pca,
    ),
    "symmetric": ColorMode(
        "the style first takes the photograph's mean and covariance, moving colours least",
        before=match_color,
        carry=match_color,
    ),
    "lab": ColorMode(
        "the style first takes the photograph's mean and deviation in CIELAB (Reinhard 2001)",
        before=match_lab,
        carry=match_lab,
    ),
}

RECOLORS: dict[str, Carrier] = {"moments": match_color, "histogram": match_histogram}
