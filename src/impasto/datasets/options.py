"""The options of painting copies of a labelled data set, declared once."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from impasto.errors import suggest
from impasto.options import MachineOptions, Options
from impasto.painting.options import LoopOptions

NOISE_NAMES = ("gaussian", "blur", "spots")


def parse_range(text: str) -> tuple[float, float]:
    """Return (least, most) of ``0.3:0.9``, or of ``0.5``, which is both."""
    least, _, most = text.partition(":")
    try:
        low, high = float(least), float(most or least)
    except ValueError:
        low, high = -1.0, -1.0
    if not 0 <= low <= high <= 1:
        raise ValueError("give LEAST:MOST, both from 0 to 1, as 0.3:0.9")
    return low, high


def split_noises(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return ``("gaussian,blur",)`` as two names."""
    split = tuple(name.strip() for each in names for name in each.split(","))
    for name in split:
        if name not in NOISE_NAMES:
            raise ValueError(f"unknown noise {name!r}{suggest(name, NOISE_NAMES)}")
    return split


def _check_range(text: str) -> str:
    parse_range(text)
    return text


Noises = Annotated[tuple[str, ...], AfterValidator(split_noises)]
Range = Annotated[str, AfterValidator(_check_range)]


class AugmentOptions(Options):
    """Copies of a labelled set of pictures, painted over and disturbed."""

    styliser: Literal["color", "instant", "statistics"] = Field(
        default="statistics",
        description="How a style is laid on: its colours alone, by the network for any style, or "
        "by steps towards the means and deviations of a network's features.",
    )
    noise: Noises = Field(
        default=(),
        description="Disturbances, one of which, drawn by chance, is added to each copy: gaussian, "
        "blur, spots.",
    )
    per_image: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=3, description="Copies of each picture."
    )
    strength: Range = Field(
        default="0.3:0.9", description="How much of the style, drawn between these for each copy."
    )
    originals: bool = Field(default=True, description="Also copy the pictures as they are.")
    format: Literal["same", "png", "jpg", "webp"] = Field(
        default="same", description="Of the copies; the same as their pictures', if it can be."
    )
    seed: int = LoopOptions.again("seed", 0)
    max_megapixels: float = MachineOptions.again("max_megapixels", 100.0)
