"""Content losses: how far features (1, C, H, W) are from those of the photograph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from impasto.images.tiles import Cells
from impasto.losses.nearest import find_directions, least_norm
from impasto.losses.sampling import FeatureGroup, sample_columns
from impasto.losses.statistics import widen
from impasto.losses.style_loss import Statistics


def self_similarity_loss(ours: Tensor, theirs: Tensor) -> Tensor:
    """Return how differently the places of a picture resemble each other than the target's do.

    STROTSS (Kolkin et al. 2019): cosine distances of features (n, C) at n positions, each column
    over its sum, and 1/n^2 sum |D - D'|. That shrinks as 1/n, since columns sum to one: here it is
    times n, as in the authors' code, the mean over columns of what has moved (between 0 and 2).
    """
    return (similarity_columns(ours) - similarity_columns(theirs)).abs().sum(0).mean()


def similarity_columns(sampled: Tensor) -> Tensor:
    """Return cosine distances (n, n) of features (n, C), each column over its sum."""
    directions = find_directions(sampled, least_norm(sampled.detach()))
    halves = directions.square().sum(1) / 2
    distances = (halves[:, None] + halves - directions @ directions.T).clamp_min(0)
    # Where all is alike, distances are rounding errors: they are not blown up to sum to one.
    return distances / distances.sum(0).clamp_min(1e-5 * len(sampled))


def laplacian(pixels: Tensor) -> Tensor:
    """Return four times each pixel less its neighbours (1, C, H, W); the edge is repeated."""
    p = F.pad(pixels, (1, 1, 1, 1), mode="replicate")
    beside = p[..., 1:-1, :-2] + p[..., 1:-1, 2:] + p[..., :-2, 1:-1] + p[..., 2:, 1:-1]
    return 4 * pixels - beside


class ContentLoss(ABC):
    """A way to compare features place by place; it keeps nothing between calls."""

    samples: int = 0  # how many positions it looks at; 0: all
    sees_edges: bool = False  # of the picture, as ends: it does not go with tileable pictures

    def groups(self, layers: Sequence[str]) -> list[tuple[str, ...]]:
        """Return the layers that are looked at together."""
        return [(layer,) for layer in layers]

    @abstractmethod
    def hold(self, target: FeatureGroup) -> Statistics:
        """Return what is needed of the whole target to compare with it."""

    @abstractmethod
    def gather(
        self,
        features: FeatureGroup,
        target: FeatureGroup,
        positions: Tensor,
        cells: Sequence[Cells] | None = None,
    ) -> Statistics:
        """Return how features differ, or those of a tile's ``cells``: what tiles give adds up."""

    @abstractmethod
    def finish(self, sums: Statistics, held: Statistics, normalization: str) -> Tensor:
        """Return the loss, a scalar, of what was gathered."""

    def compare(
        self,
        features: FeatureGroup,
        target: FeatureGroup,
        positions: Tensor,
        normalization: str = "relative",
    ) -> Tensor:
        """Return how far one group's features are from the target's: a scalar."""
        sums = self.gather(features, target, positions)
        return self.finish(sums, self.hold(target), normalization)


class FeatureLoss(ContentLoss):
    """The features themselves: half the sum of squares, or their mean in target variances.

    The first is eq. 1 of Gatys, Ecker and Bethge (2015).
    """

    def hold(self, target: FeatureGroup) -> Statistics:
        whole = widen(target[0])
        # A flat target has no variance: there, a thousandth of its features' size counts as one.
        least = 1e-6 * whole.square().mean() + 1e-12
        return (whole.var(correction=0).maximum(least) * whole.numel(),)

    def gather(
        self,
        features: FeatureGroup,
        target: FeatureGroup,
        positions: Tensor,  # noqa: ARG002
        cells: Sequence[Cells] | None = None,  # noqa: ARG002
    ) -> Statistics:
        return ((widen(features[0]) - widen(target[0])).square().sum(),)

    def finish(self, sums: Statistics, held: Statistics, normalization: str) -> Tensor:
        return sums[0] / 2 if normalization == "paper" else sums[0] / held[0]


class SelfSimilarityLoss(ContentLoss):
    """How the places of a picture resemble each other, by columns of all layers."""

    samples = 512

    def groups(self, layers: Sequence[str]) -> list[tuple[str, ...]]:
        return [tuple(layers)]

    def hold(self, target: FeatureGroup) -> Statistics:  # noqa: ARG002
        return ()

    def gather(
        self,
        features: FeatureGroup,
        target: FeatureGroup,
        positions: Tensor,
        cells: Sequence[Cells] | None = None,
    ) -> Statistics:
        ours, theirs = (sample_columns(each, positions, cells) for each in (features, target))
        return ours, theirs

    def finish(self, sums: Statistics, held: Statistics, normalization: str) -> Tensor:  # noqa: ARG002
        loss = self_similarity_loss(*sums)
        return loss / len(sums[0]) if normalization == "paper" else loss


class LaplacianLoss(ContentLoss):
    """The edges of the pooled picture, so that they stay where they are (Lapstyle, Li et al. 2017).

    The paper sums over pixels; of the channels, each is compared by itself. Relative: over the
    target's own, or a thousandth of its pixels where it is flatter than that.
    """

    pool = 4
    sees_edges = True

    def groups(self, layers: Sequence[str]) -> list[tuple[str, ...]]:  # noqa: ARG002
        return [("pixels",)]

    def hold(self, target: FeatureGroup) -> Statistics:
        small = self.shrink(target[0])
        least = 1e-6 * small.square().mean() + 1e-12
        return (laplacian(small).square().mean().maximum(least) * small.numel(),)

    def gather(
        self,
        features: FeatureGroup,
        target: FeatureGroup,
        positions: Tensor,  # noqa: ARG002
        cells: Sequence[Cells] | None = None,  # noqa: ARG002  (of pixels it is always given all)
    ) -> Statistics:
        ours, theirs = (laplacian(self.shrink(group[0])) for group in (features, target))
        return ((ours - theirs).square().sum(),)

    def finish(self, sums: Statistics, held: Statistics, normalization: str) -> Tensor:
        return sums[0] if normalization == "paper" else sums[0] / held[0]

    def shrink(self, pixels: Tensor) -> Tensor:
        return F.avg_pool2d(pixels, self.pool, ceil_mode=True)


CONTENT_LOSSES: dict[str, ContentLoss] = {
    "features": FeatureLoss(),
    "self-similarity": SelfSimilarityLoss(),
    "laplacian": LaplacianLoss(),
}
