"""Content losses and what is asked of the picture itself; style is in ``style_losses``.

A content loss compares features (1, C, H, W) at the same places of two pictures of one size; the
layer ``pixels`` is the picture itself. Losses are scalars. Two normalisations: ``relative`` divides
by the target's own size, so that a weight means the same for every layer, network and picture size;
``paper`` is what the papers print.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from impasto.style_losses import Features, find_directions, least_norm, sample_features

# --- content ------------------------------------------------------------------------------------


def content_loss(features: Tensor, target: Tensor, normalization: str = "relative") -> Tensor:
    """Squared distance of features: half their sum, or in target variances.

    The first is eq. 1 of Gatys, Ecker and Bethge (2015).
    """
    squares = (features - target).square()
    if normalization == "paper":
        return squares.sum() / 2
    # A flat target has no variance: there, a thousandth of its features' size counts as one.
    least = 1e-6 * target.square().mean() + 1e-12
    return squares.mean() / target.var(correction=0).maximum(least)


def self_similarity_loss(features: Tensor, target: Tensor, positions: Tensor) -> Tensor:
    """How otherwise the places of a picture resemble each other than those of the target.

    STROTSS (Kolkin et al. 2019): cosine distances of features at n positions, each column
    over its sum, and 1/n^2 sum |D - D'|. That shrinks as 1/n, since columns sum to one: here it is
    times n, as in the authors' code, the mean over columns of what has moved (between 0 and 2).
    """
    ours, theirs = (similarity_columns(f, positions) for f in (features, target))
    return (ours - theirs).abs().sum(0).mean()


def similarity_columns(features: Tensor, positions: Tensor) -> Tensor:
    """Cosine distances (n, n) of features at positions, each column over its sum."""
    sampled = sample_features((features,), positions)  # (n, C)
    directions = find_directions(sampled, least_norm(sampled.detach()))
    halves = directions.square().sum(1) / 2
    distances = (halves[:, None] + halves - directions @ directions.T).clamp_min(0)
    # Where all is alike, distances are rounding errors: they are not blown up to sum to one.
    return distances / distances.sum(0).clamp_min(1e-5 * len(sampled))


def laplacian_loss(
    pixels: Tensor, target: Tensor, normalization: str = "relative", pool: int = 4
) -> Tensor:
    """Squared distance of the pooled pictures' Laplacians, so that edges stay where they are.

    Lapstyle (Li et al. 2017) sums over pixels; of the channels, each is compared by itself.
    Relative: over the target's own, or a thousandth of its pixels where it is flatter than that.
    """
    small, wanted = (F.avg_pool2d(p, pool, ceil_mode=True) for p in (pixels, target))
    ours, theirs = laplacian(small), laplacian(wanted)
    squares = (ours - theirs).square()
    if normalization == "paper":
        return squares.sum()
    least = 1e-6 * wanted.square().mean() + 1e-12
    return squares.mean() / theirs.square().mean().maximum(least)


def laplacian(pixels: Tensor) -> Tensor:
    """Four times each pixel less its neighbours (1, C, H, W); beyond the edge lies the edge."""
    p = F.pad(pixels, (1, 1, 1, 1), mode="replicate")
    beside = p[..., 1:-1, :-2] + p[..., 1:-1, 2:] + p[..., :-2, 1:-1] + p[..., 2:, 1:-1]
    return 4 * pixels - beside


class ContentLoss(ABC):
    """A way to compare features place by place; it keeps nothing between calls."""

    samples: int = 0  # how many positions it looks at; 0: all

    def groups(self, layers: Sequence[str]) -> list[tuple[str, ...]]:
        """Layers that are looked at together."""
        return [(layer,) for layer in layers]

    @abstractmethod
    def compare(
        self,
        features: Features,
        target: Features,
        positions: Tensor,
        normalization: str = "relative",
    ) -> Tensor:
        """How far one group's features are from the target's: a scalar."""


class FeatureLoss(ContentLoss):
    """The features themselves."""

    def compare(
        self,
        features: Features,
        target: Features,
        positions: Tensor,  # noqa: ARG002
        normalization: str = "relative",
    ) -> Tensor:
        return content_loss(features[0], target[0], normalization)


class SelfSimilarityLoss(ContentLoss):
    """How the places of a picture resemble each other; of each layer by itself."""

    samples = 1024

    def compare(
        self,
        features: Features,
        target: Features,
        positions: Tensor,
        normalization: str = "relative",
    ) -> Tensor:
        loss = self_similarity_loss(features[0], target[0], positions)
        return loss / len(positions) if normalization == "paper" else loss


class LaplacianLoss(ContentLoss):
    """The edges of the picture itself."""

    def groups(self, layers: Sequence[str]) -> list[tuple[str, ...]]:  # noqa: ARG002
        return [("pixels",)]

    def compare(
        self,
        features: Features,
        target: Features,
        positions: Tensor,  # noqa: ARG002
        normalization: str = "relative",
    ) -> Tensor:
        return laplacian_loss(features[0], target[0], normalization)


CONTENT_LOSSES: dict[str, ContentLoss] = {
    "features": FeatureLoss(),
    "self-similarity": SelfSimilarityLoss(),
    "laplacian": LaplacianLoss(),
}


# --- the picture itself -------------------------------------------------------------------------


def total_variation(pixels: Tensor, normalization: str = "relative", power: float = 2.0) -> Tensor:
    """Differences of neighbouring pixels, (across^2 + down^2)^(power/2): summed, or per value.

    A power of 2 is the usual sum of squares, 1 the total variation of Rudin et al., which keeps
    edges, and 2.5 that of Keras' example (which leaves out the last row and column). Beyond the
    last row and column lies nothing to differ from.
    """
    across = F.pad(pixels[..., :, 1:] - pixels[..., :, :-1], (0, 1))
    down = F.pad(pixels[..., 1:, :] - pixels[..., :-1, :], (0, 0, 0, 1))
    squares = across.square() + down.square()  # (1, C, H, W)
    if power == 2:
        total = squares.sum()
    else:
        # Roots are infinitely steep at zero: rounded off there, and flat pictures still count 0.
        smooth = 1e-8 if power < 2 else 0.0
        total = ((squares + smooth) ** (power / 2) - smooth ** (power / 2)).sum()
    return total if normalization == "paper" else total / pixels.numel()


def range_penalty(pixels: Tensor, normalization: str = "relative") -> Tensor:
    """How far pixels lie outside [0, 1], squared: their sum, or per value of the picture.

    Softer than clamping at each step, which L-BFGS' history does not survive.
    """
    total = (pixels - pixels.clamp(0, 1)).square().sum()
    return total if normalization == "paper" else total / pixels.numel()
