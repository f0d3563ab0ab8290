"""The options of relighting photographs, declared once."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from impasto.options import File, Options, Weight

MOST_REGIONS = 16


def parse_pair(entry: str) -> tuple[int, int]:
    """Read ``2=5`` as (2, 5)."""
    found = re.fullmatch(r" *(\d{1,2}) *= *(\d{1,2}) *", entry)
    if found is None:
        raise ValueError("give two numbers of regions, as in 2=5")
    return int(found[1]), int(found[2])


def _check_pairs(entries: tuple[str, ...]) -> tuple[str, ...]:
    ours = [parse_pair(entry)[0] for entry in entries]
    if len(set(ours)) < len(ours):
        raise ValueError("a region of the photograph is paired twice")
    return entries


class RelightOptions(Options):
    """How a photograph takes the light and the colours of others."""

    strength: Annotated[float, Field(ge=0, le=1)] = Field(
        default=1.0, description="How far colours move: 0 leaves the photograph as it is."
    )
    regions: Annotated[int, Field(ge=1, le=MOST_REGIONS)] = Field(
        default=8,
        description="How many regions are looked for; each has a map of colours of its own. "
        "1: one map for all.",
    )
    pair: Annotated[tuple[str, ...], AfterValidator(_check_pairs)] = Field(
        default=(),
        description="Give a region of the photograph the light of another one of LIKE, by their "
        "numbers in --show-regions, as 2=5; may be repeated.",
    )
    labels: Annotated[tuple[str, str] | None, File()] = Field(
        default=None,
        description="Two maps, of the photograph and of LIKE, in place of regions that are looked "
        "for: what has one colour in both has one light.",
    )
    like_blend: tuple[Weight, ...] = Field(
        default=(), description="Weight of each LIKE, in their order; all the same if not given."
    )
    mask: Annotated[str | None, File()] = Field(
        default=None,
        description="Picture of what is relit: white is relit, black stays the photograph.",
    )
    feather: Annotated[float, Field(ge=0, le=1000)] = Field(
        default=0.0, description="Soften the mask's edges by this many pixels."
    )
    max_megapixels: Annotated[float, Field(gt=0)] = Field(
        default=100.0, description="The largest picture that is opened."
    )
