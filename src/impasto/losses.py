"""What is minimised: style, content and image losses.

Each is a plain function of features and a target, and a thin module that keeps the target. Features
are (1, C, H, W); losses are scalars. Two normalisations: ``relative`` divides by the target's own
size, so that a weight means the same for every layer, network and picture size; ``paper`` is what
Gatys, Ecker and Bethge (2015) print.
"""

from __future__ import annotations

from torch import Tensor, nn


def gram_matrix(features: Tensor) -> Tensor:
    """Correlations of channels (N, C, C), averaged over positions."""
    flat = features.flatten(2)  # (N, C, H*W)
    return flat @ flat.transpose(1, 2) / flat.shape[2]


def gram_loss(gram: Tensor, target: Tensor, normalization: str = "relative") -> Tensor:
    """Squared distance of two Gram matrices.

    The paper (eq. 4) writes 1/(4 N^2 M^2) sum (G - A)^2 with sums over positions in G and A; it
    leaves open what M is when the two pictures differ in size. Here each Gram is divided by its own
    picture's M, which is the same where they are equal.
    """
    squares = (gram - target).square().sum()
    if normalization == "paper":
        return squares / (4 * target.shape[-1] ** 2)
    return squares / target.square().sum().clamp_min(1e-12)


class GramLoss(nn.Module):
    """The distance of the features' Gram matrix from that of ``target`` features."""

    target: Tensor

    def __init__(self, target: Tensor, normalization: str = "relative") -> None:
        super().__init__()
        self.register_buffer("target", gram_matrix(target).detach())
        self.normalization = normalization

    def forward(self, features: Tensor) -> Tensor:
        return gram_loss(gram_matrix(features), self.target, self.normalization)


def content_loss(features: Tensor, target: Tensor, normalization: str = "relative") -> Tensor:
    """Squared distance of features: half their sum (eq. 1), or in target variances."""
    squares = (features - target).square()
    if normalization == "paper":
        return squares.sum() / 2
    # A flat target has no variance: there, a thousandth of its features' size counts as one.
    least = 1e-6 * target.square().mean() + 1e-12
    return squares.mean() / target.var(correction=0).maximum(least)


class ContentLoss(nn.Module):
    """The distance of the features from ``target`` features."""

    target: Tensor

    def __init__(self, target: Tensor, normalization: str = "relative") -> None:
        super().__init__()
        self.register_buffer("target", target.detach())
        self.normalization = normalization

    def forward(self, features: Tensor) -> Tensor:
        return content_loss(features, self.target, self.normalization)


def total_variation(pixels: Tensor, normalization: str = "relative") -> Tensor:
    """Squared differences of neighbouring pixels: their sum, or per pixel of the picture."""
    across = (pixels[..., :, 1:] - pixels[..., :, :-1]).square().sum()
    down = (pixels[..., 1:, :] - pixels[..., :-1, :]).square().sum()
    total = across + down
    return total if normalization == "paper" else total / pixels.numel()


class TotalVariation(nn.Module):
    """How rough a picture is."""

    def __init__(self, normalization: str = "relative") -> None:
        super().__init__()
        self.normalization = normalization

    def forward(self, pixels: Tensor) -> Tensor:
        return total_variation(pixels, self.normalization)


def range_penalty(pixels: Tensor, normalization: str = "relative") -> Tensor:
    """How far pixels lie outside [0, 1], squared: their sum, or per value of the picture.

    Softer than clamping at each step, which L-BFGS' history does not survive.
    """
    total = (pixels - pixels.clamp(0, 1)).square().sum()
    return total if normalization == "paper" else total / pixels.numel()


LOSSES: dict[str, type[nn.Module]] = {
    "gram": GramLoss,
    "content": ContentLoss,
    "tv": TotalVariation,
}
