"""What is changed while painting: ways to write a picture (1, 3, H, W) as one tensor of values.

All are linear and exact: a canvas begins as the picture it is given, and a change of its values
twice as large changes the picture twice as much. What differs is which pictures are near. Values
are scaled so that a random change of unit size (root mean square) changes the pixels by about as
much: what is a sensible learning rate for pixels is one for every canvas.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional

_COARSEST = 8  # pixels: the pyramid ends with a long side of this or nearly twice this
_FINE_CHROMA = 0.1  # of the unit of lightness, in the finest level of a pyramid
# A square root of the covariance of ImageNet's colours, as lucid has it: the columns are
# light against dark, red against blue and green against purple, the rows red, green and blue.
_COLOR_ROOT = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))


class Canvas(ABC):
    """A picture made of ``values``, the one leaf tensor that an optimiser changes.

    What others must know of a kind of canvas stands in the class: its cost, and whether it sees
    the picture's edges as ends, so that it does not go with tileable pictures.
    """

    values: Tensor
    share = 1.0  # values for each of the picture's
    copies = 0.0  # of the picture, that are kept while it is drawn from the values
    sees_edges = False

    def __init__(self, pixels: Tensor) -> None:
        values = self.analyse(pixels.detach())
        self.values = values.clone(memory_format=torch.contiguous_format).requires_grad_()

    def pixels(self) -> Tensor:
        """Return the picture (1, 3, H, W), differentiable by the values and not clamped."""
        return self.draw(self.values)

    @abstractmethod
    def draw(self, values: Tensor) -> Tensor:
        """Return the picture that some values make."""

    def measure_change(self, before: Tensor) -> Tensor:
        """Return the root mean square difference from the picture of other values."""
        return self.draw(self.values - before).square().mean().sqrt()

    @abstractmethod
    def analyse(self, pixels: Tensor) -> Tensor:
        """Return the values that make a picture, and keep its size, which ``draw`` needs."""

    def replace(self, pixels: Tensor) -> None:
        """Take another picture of the same size; ``values`` stays the same tensor."""
        with torch.no_grad():
            self.values.copy_(self.analyse(pixels.detach()))


class PixelCanvas(Canvas):
    """The values are the pixels (1, 3, H, W)."""

    def analyse(self, pixels: Tensor) -> Tensor:
        return pixels

    def draw(self, values: Tensor) -> Tensor:
        return values.clone()  # the next step changes the values where they are

    def measure_change(self, before: Tensor) -> Tensor:
        # Row by row: a picture may be large.
        rows = zip(torch.split(self.values, 256, 2), torch.split(before, 256, 2), strict=True)
        squares = [(ours - theirs).square().sum() for ours, theirs in rows]
        return (torch.stack(squares).sum() / before.numel()).sqrt()


class PyramidCanvas(Canvas):
    """A Laplacian pyramid, fine to coarse, all levels in one flat tensor.

    As in STROTSS (Kolkin, Salavon and Shakhnarovich 2019), whose code stops after five levels;
    here they go on until one is small, so that the broadest strokes are as near at any size. The
    finest level's chroma has a small unit, so that steps of one length change it less than its
    lightness: eyes see colour coarsely, and what networks ask of it there are fringes.
    """

    share, copies, sees_edges = 1.34, 3.0, True

    def analyse(self, pixels: Tensor) -> Tensor:
        self.sizes = halve_sizes(pixels.shape[-2], pixels.shape[-1])
        self.scale = 1 / math.sqrt(len(self.sizes))  # a change of unit size is shared by the levels
        levels = []
        for size in self.sizes[1:]:
            smaller = resize_bilinear(pixels, size)
            levels.append(pixels - resize_bilinear(smaller, pixels.shape[-2:]))
            pixels = smaller
        if levels:
            levels[0] = scale_chroma(levels[0], 1 / _FINE_CHROMA)
        return torch.cat([level.flatten() for level in (*levels, pixels)]) / self.scale

    def draw(self, values: Tensor) -> Tensor:
        parts = torch.split(values, [3 * height * width for height, width in self.sizes])
        levels = [part.view(1, 3, *size) for part, size in zip(parts, self.sizes, strict=True)]
        picture = levels.pop()
        if levels:
            levels[0] = scale_chroma(levels[0], _FINE_CHROMA)
        while levels:
            finer = levels.pop()
            picture = finer + resize_bilinear(picture, finer.shape[-2:])
        return picture * self.scale


class FourierCanvas(Canvas):
    """Spectra (1, 3, H, W//2+1, 2) of three decorrelated colours, each frequency over itself.

    As in Feature Visualization (Olah, Mordvintsev and Schubert 2017) and lucid, but that no
    sigmoid follows, which would be neither linear nor exact (the loss penalises what leaves the
    range), and that the whole is scaled by its own root mean square, not by a quarter.
    """

    share, copies = 1.1, 5.0

    def analyse(self, pixels: Tensor) -> Tensor:
        self.size = pixels.shape[-2:]
        scale = scale_frequencies(*self.size)[..., None]  # (H, W//2+1, 1)
        root = torch.tensor(_COLOR_ROOT, dtype=torch.float64)
        root /= root.square().sum(1).mean().sqrt()  # of three random values, a colour of unit size
        # Numbers first and device then: not every device has float64.
        self.scale, self.colors, inverse = (
            tensor.to(pixels.dtype).to(pixels.device) for tensor in (scale, root, root.inverse())
        )
        spectra = torch.fft.rfft2(mix_colors(inverse, pixels), norm="ortho")
        return torch.view_as_real(spectra) / self.scale

    def draw(self, values: Tensor) -> Tensor:
        spectra = torch.view_as_complex(values * self.scale)
        return mix_colors(self.colors, torch.fft.irfft2(spectra, s=self.size, norm="ortho"))


def scale_chroma(pixels: Tensor, by: float) -> Tensor:
    """Multiply how far each colour (1, 3, H, W) is from the grey of its own mean."""
    return torch.lerp(pixels.mean(1, keepdim=True), pixels, by)


def halve_sizes(height: int, width: int) -> list[tuple[int, int]]:
    """Return (height, width) of a pyramid's levels, fine to coarse, halves rounded up."""
    sizes = [(height, width)]
    while max(sizes[-1]) >= 2 * _COARSEST:
        height, width = (math.ceil(side / 2) for side in sizes[-1])
        sizes.append((height, width))
    return sizes


def resize_bilinear(pixels: Tensor, size: tuple[int, ...]) -> Tensor:
    """Resize bilinearly to about half or twice the size; half of it is the mean of four."""
    resized: Tensor = functional.interpolate(
        pixels, size=size, mode="bilinear", align_corners=False
    )
    return resized


def scale_frequencies(height: int, width: int) -> Tensor:
    """Return the factors of a half spectrum (H, W//2+1): 1/f, the lowest frequency as the next.

    The first column, and the last of an even width, hold each frequency twice, as itself and as
    its mirror image, of which only the mean is seen. Times the root of 2, random values are as
    loud there as elsewhere, where one value stands for both.
    """
    down = torch.fft.fftfreq(height, dtype=torch.float64)[:, None]
    across = torch.fft.fftfreq(width, dtype=torch.float64)
    whole = 1 / torch.hypot(down, across).clamp_min(1 / max(height, width))  # (H, W)
    whole /= (2 * whole.square()).mean().sqrt()  # 2: values have a real and an imaginary part
    half = whole[:, : width // 2 + 1].clone()
    half[:, [0, -1] if width % 2 == 0 else [0]] *= math.sqrt(2)
    return half


def mix_colors(matrix: Tensor, pixels: Tensor) -> Tensor:
    """Multiply every colour of (1, 3, H, W) by a matrix (3, 3)."""
    return torch.einsum("ij,njhw->nihw", matrix, pixels)


CANVASES: dict[str, type[Canvas]] = {
    "pixels": PixelCanvas,
    "pyramid": PyramidCanvas,
    "fourier": FourierCanvas,
}
