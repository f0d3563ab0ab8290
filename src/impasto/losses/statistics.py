"""Statistics of features over their positions: sums, moments, Gaussians and the distance of two.

Features are (N, C, H, W), in whichever precision a network gave; what is summed is float32. What
losses sum by weights is of one picture, (1, C, H, W): weights are (1, 1, H, W), or one number that
all positions share. ``WeightedSums`` keeps no second copy of the features: it takes some rows at a
time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Weights = Tensor | float
_SHORT = (torch.bfloat16, torch.float16)
_BLOCK = 2**18  # numbers that are converted at once: what a core's own cache holds


def widen(tensor: Tensor) -> Tensor:
    """Return the tensor in float32 if it is of a shorter type."""
    return tensor.float() if tensor.dtype in _SHORT else tensor


def split_rows(
    features: Tensor, weights: Weights, *, full: bool = True
) -> Iterator[tuple[slice, Tensor, Weights]]:
    """Yield blocks of rows: (rows, features (C, n), their weights (n,) or the number).

    Features come in float32 at least if ``full``; in one block where nothing need be copied.
    """
    _, channels, height, width = features.shape
    dense = features.is_contiguous() or features.is_contiguous(memory_format=torch.channels_last)
    plain = not (full and features.dtype in _SHORT) and not isinstance(weights, Tensor)
    step = max(1, _BLOCK * (64 if features.is_cuda else 1) // (channels * width))
    if dense and plain:
        step = height
    for start in range(0, height, step):
        rows = slice(start, start + step)
        some = features[0, :, rows]
        some = (widen(some) if full else some).flatten(1)
        yield rows, some, weights[0, 0, rows].flatten() if isinstance(weights, Tensor) else weights


class WeightedSums(torch.autograd.Function):
    """sum_p w_p f_p (C,) and sum_p w_p f_p f_p^T (C, C)."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weights: Weights) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(features, weights if isinstance(weights, Tensor) else None)
        ctx.share = None if isinstance(weights, Tensor) else weights
        channels = features.shape[1]
        kind = features.new_zeros((), dtype=torch.promote_types(features.dtype, torch.float32))
        mean, square = kind.new_zeros(channels), kind.new_zeros(channels, channels)
        for _, some, w in split_rows(features, weights):
            if isinstance(w, Tensor):
                mean.addmv_(some, w)
                square.addmm_(some * w, some.T)
            else:
                mean.addmv_(some, some.new_ones(some.shape[1]))
                square.addmm_(some, some.T)
        if isinstance(weights, Tensor):
            return mean, square
        return mean.mul_(weights), square.mul_(weights)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, mean_gradient: Tensor, square_gradient: Tensor) -> tuple[Tensor, None]:
        """Multiply by both of the matrix's halves at once, in one product for each block."""
        features, weights = ctx.saved_tensors
        weights = ctx.share if weights is None else weights
        both = square_gradient + square_gradient.T  # (C, C), symmetric
        if not isinstance(weights, Tensor):
            mean_gradient, both = mean_gradient * weights, both * weights
        # In the features' own precision, as every other gradient of the network's.
        mean_gradient, both = mean_gradient.to(features.dtype), both.to(features.dtype)
        gradient = torch.empty_like(features)
        for rows, some, w in split_rows(features, weights, full=False):
            place = gradient[0, :, rows].permute(1, 2, 0)  # (h, W, C)
            if place.is_contiguous():
                part = torch.addmm(mean_gradient, some.T, both, out=place.view(-1, len(both)))
            else:
                part = torch.addmm(mean_gradient, some.T, both)  # (n, C)
            if isinstance(w, Tensor):
                part *= w[:, None]
            if part.data_ptr() != place.data_ptr():
                place.copy_(part.view(place.shape))
        return gradient, None


def sum_squares(features: Tensor, weights: Weights) -> tuple[Tensor, Tensor]:
    """Return sum_p w_p f_p (C,) and sum_p w_p f_p^2 (C,)."""
    flat = widen(features)[0].flatten(1)  # (C, H*W)
    if isinstance(weights, Tensor):
        return flat @ weights.flatten(), flat.square() @ weights.flatten()
    return flat.sum(1) * weights, flat.square().sum(1) * weights


def gram_matrix(features: Tensor) -> Tensor:
    """Return the correlations of channels (N, C, C), averaged over positions."""
    return _correlate(features.flatten(2))


def _correlate(flat: Tensor) -> Tensor:
    """Return the mean of outer products (N, C, C) of columns (N, C, n)."""
    return flat @ flat.transpose(1, 2) / flat.shape[2]


# --- means and standard deviations of channels --------------------------------------------------


def find_deviation(mean: Tensor, square: Tensor, least: Tensor | float = 0.0) -> Tensor:
    """Return the standard deviation from means of values and of their squares.

    ``least`` is added to the variance where its root is to have a finite gradient.
    """
    return ((square - mean.square()).clamp_min(0) + least).sqrt()


class Moments(torch.autograd.Function):
    """Mean and standard deviation of each channel, and their gradient in one pass."""

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> tuple[Tensor, Tensor]:
        flat = widen(features).flatten(2)  # (N, C, H*W)
        mean = flat.mean(2)
        deviation = find_deviation(mean, flat.square().mean(2), 1e-8)
        ctx.save_for_backward(features, mean, deviation)
        return mean, deviation

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, mean_gradient: Tensor, deviation_gradient: Tensor) -> Tensor:
        features, mean, deviation = ctx.saved_tensors
        share = deviation_gradient / deviation
        count = features[0, 0].numel()
        times = (share / count)[..., None, None].to(features.dtype)
        plus = ((mean_gradient - share * mean) / count)[..., None, None].to(features.dtype)
        return torch.addcmul(plus, features, times)


def measure_moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and standard deviation of each channel over its positions, (N, C) both."""
    return Moments.apply(features)  # type: ignore[no-any-return,no-untyped-call]


def weigh_moments(features: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the same, of positions by weights (1, 1, H, W) of any sum."""
    features = widen(features)
    weighed = features * (weights / weights.sum())
    mean = weighed.sum((2, 3))
    return mean, find_deviation(mean, (weighed * features).sum((2, 3)))


# --- Gaussians ----------------------------------------------------------------------------------


def find_covariance(mean: Tensor, square: Tensor) -> Tensor:
    """Return the covariance (..., C, C) from a mean and the mean of outer products."""
    return square - mean[..., :, None] * mean[..., None, :]


@dataclass(frozen=True)
class Gaussian:
    """The Gaussian that fits features best, or several of them in a batch."""

    mean: Tensor  # (..., C)
    covariance: Tensor  # (..., C, C)
    root: Tensor  # the covariance's square root, in float32 or float64

    @classmethod
    def of(cls, features: Tensor) -> Self:
        """Return the Gaussian of each picture of a batch of features."""
        mean, covariance = measure_gaussian(features)
        return cls(mean, covariance, square_root(covariance))

    @classmethod
    def join(cls, batches: Sequence[Gaussian]) -> Self:
        """Return one batch of several."""
        parts = [(each.mean, each.covariance, each.root) for each in batches]
        return cls(*(torch.cat(part) for part in zip(*parts, strict=True)))

    def take(self, rows: Tensor) -> Gaussian:
        """Return a batch of those of these numbers."""
        return Gaussian(self.mean[rows], self.covariance[rows], self.root[rows])

    def distance(self, mean: Tensor, covariance: Tensor) -> Tensor:
        """Return the squared 2-Wasserstein distance of another Gaussian.

        |m - m'|^2 + tr(S + S' - 2 (S'^1/2 S S'^1/2)^1/2) of means and covariances.
        """
        spread = _trace(covariance) + _trace(self.covariance)
        spread = spread - 2 * trace_of_root(covariance, self.root)
        return (mean - self.mean).square().sum(-1) + spread.clamp_min(0)

    def size(self) -> Tensor:
        """Return the mean square of what it is of."""
        return self.mean.square().sum(-1) + _trace(self.covariance)


def measure_gaussian(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return means (N, C) and covariances (N, C, C)."""
    flat = widen(features).flatten(2)
    mean = flat.mean(2)
    return mean, find_covariance(mean, _correlate(flat))


def square_root(matrices: Tensor) -> Tensor:
    """Return the square roots of covariances (..., C, C)."""
    values, vectors = _decompose(matrices)
    return (vectors * values.clamp_min(0).sqrt()[..., None, :]) @ vectors.mT


def trace_of_root(covariance: Tensor, root: Tensor) -> Tensor:
    """Return tr((R S R)^1/2) of a covariance S and the root R of another, both (..., C, C).

    Its gradient in S is R (R S R)^-1/2 R / 2, which needs none of eigenvectors: that of SVD is
    infinite where eigenvalues are equal. The inverse is bounded at what rounding of S leaves of the
    smallest eigenvalues. A root in float64 is more exact: roots make noise of 1e-7 into 3e-4.
    """
    constant = covariance.detach()
    if not bool(constant.isfinite().all()):  # eigh would raise; the caller says what to do
        return covariance.sum((-2, -1))
    values, vectors = _decompose(root @ constant.to(root) @ root)
    values = values.clamp_min(0)
    usual = root.square().sum((-2, -1)) / root.shape[-1]  # mean eigenvalue of the other covariance
    share, least = (1e-6, 1e-20)
    if root.dtype == torch.float64:
        share, least = torch.finfo(covariance.dtype).eps, 1e-30
    bounded = values + (share * usual.square() + least)[..., None]
    turned = root @ vectors
    gradient: Tensor = (turned / bounded.sqrt()[..., None, :]) @ turned.mT / 2
    value: Tensor = values.sqrt().sum(-1).to(constant)
    # The value, with that gradient and no other.
    return value + (gradient.to(constant) * (covariance - constant)).sum((-2, -1))


def _decompose(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Return eigenvalues and vectors, by way of float64 where float32 is too coarse for it."""
    with suppress(RuntimeError):  # torch.linalg.LinAlgError, of a flat picture's covariances;
        values, vectors = torch.linalg.eigh(matrices)
        if bool(vectors.isfinite().all()):  # on some processors they come out as NaN instead
            return values, vectors
    least = 1e-9 * torch.eye(matrices.shape[-1], dtype=torch.float64, device=matrices.device)
    values, vectors = torch.linalg.eigh(matrices.double() + least)
    return values.to(matrices), vectors.to(matrices)


def _trace(matrices: Tensor) -> Tensor:
    """Return the traces of matrices (..., C, C)."""
    return matrices.trace() if matrices.ndim == 2 else matrices.diagonal(dim1=-2, dim2=-1).sum(-1)


# --- roots by products alone --------------------------------------------------------------------

# Odd polynomials a x + b x^3 + c x^5, one after the other: of those that bring all of [2e-6, 1]
# towards 1 each is the best for what the ones before have left, and a little more (as Amsel et al.
# 2025, "The Polar Express", by linear programming on a grid). The last is the limit of all others.
_QUINTICS = (
    (8.34727385725, -23.8232484699, 16.9980188772),
    (4.17354552069, -2.97786000385, 0.53118697812),
    (4.17314006807, -2.977597891, 0.531160265403),
    (4.17149925702, -2.97653654777, 0.531052016163),
    (4.16487547937, -2.97225360715, 0.53061567513),
    (4.1383294061, -2.95506914296, 0.528865352269),
    (4.03509643604, -2.88795695033, 0.52203880955),
    (3.67746487969, -2.6515558684, 0.498134577224),
    (2.83303650406, -2.05963660282, 0.44001784427),
    (2.04003492739, -1.41427953372, 0.385747171559),
    (1.88674011667, -1.26996882212, 0.383206218298),
    (1.875, -1.25, 0.375),
)


def iterate_roots(matrices: Tensor, begin: int = 0) -> tuple[Tensor, Tensor]:
    """Return the square roots of positive definite matrices (N, C, C), and their inverses.

    It is products alone, which graphics cards do in batches without being waited for. Eigenvalues
    of less than 1e-11 of the trace come out too small; of less than 2e-7, if three steps are left
    out by ``begin``. They should be in float64.
    """
    trace = _trace(matrices).clamp_min(1e-300)[:, None, None]
    root = matrices / trace
    eye = torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device)
    inverse = eye.expand_as(root)
    for a, b, c in _QUINTICS[begin:]:
        product = inverse @ root
        step = torch.baddbmm(a * eye + b * product, product, product, alpha=c)
        root, inverse = root @ step, step @ inverse
    length = trace.sqrt()
    return root * length, inverse / length


def find_roots(matrices: Tensor, begin: int = 0) -> tuple[Tensor, Tensor]:
    """Return the same, by the way that is faster on the device: on a processor, eigenvectors."""
    if matrices.is_cuda:
        return iterate_roots(matrices, begin)
    values, vectors = _decompose(matrices)
    least = 1e-13 * _trace(matrices)[:, None] + 1e-300
    lengths = values.maximum(least).sqrt()[:, None]
    return (vectors * lengths) @ vectors.mT, (vectors / lengths) @ vectors.mT


class RootTrace(torch.autograd.Function):
    """tr((L^T S L)^1/2) of covariances S and factors L, and its gradient L (L^T S L)^-1/2 L^T / 2.

    It is ``trace_of_root`` of S and L L^T.
    """

    @staticmethod
    def forward(ctx: Any, covariances: Tensor, factors: Tensor) -> Tensor:
        inside = factors.mT @ covariances.double() @ factors
        root, inverse = find_roots((inside + inside.mT) / 2)
        gradient = factors @ inverse @ factors.mT / 2
        ctx.save_for_backward(gradient.to(covariances))
        return _trace(root).to(covariances)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return given[:, None, None] * gradient, None
