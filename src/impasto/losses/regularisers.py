"""What is asked of the picture itself, (1, 3, H, W): smoothness, and values in range."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def total_variation(
    pixels: Tensor, power: float = 2.0, core: tuple[int, int] | None = None
) -> Tensor:
    """Sum differences of neighbouring pixels, (across^2 + down^2)^(power/2).

    A power of 2 is the usual sum of squares, 1 the total variation of Rudin et al., which keeps
    edges, and 2.5 that of Keras' example (which leaves out the last row and column). Beyond the
    last row and column lies nothing to differ from. Of a tile, whose pixels are its ``core``
    (height, width) with the next row and column if there are any: what the core's differ by.
    """
    height, width = core or pixels.shape[-2:]
    across = pixels[..., :height, 1:] - pixels[..., :height, :-1]
    down = pixels[..., 1:, :width] - pixels[..., :-1, :width]
    if power == 2:
        return across.square().sum() + down.square().sum()
    across = F.pad(across, (0, width - across.shape[-1]))
    down = F.pad(down, (0, 0, 0, height - down.shape[-2]))
    squares = across.square() + down.square()  # (1, C, H, W)
    # A root's gradient is infinite at zero: rounded off there, and flat pictures still count 0.
    smooth = 1e-8 if power < 2 else 0.0
    powered: Tensor = (squares + smooth) ** (power / 2) - smooth ** (power / 2)
    return powered.sum()


def range_penalty(pixels: Tensor) -> Tensor:
    """Return how far pixels lie outside [0, 1], squared and summed.

    Softer than clamping at each step, which L-BFGS' history does not survive.
    """
    return (pixels - pixels.clamp(0, 1)).square().sum()
