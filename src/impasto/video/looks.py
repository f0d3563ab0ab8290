"""What is held over frames of a film, and what every painter of frames is.

Colours, a network's normalisations, or maps and regions are measured over a window or a scene of
the film (a ``Look``) and held: in each frame by itself they would change, and with them all that is
painted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from torch import Tensor

from impasto.images.picture import Picture
from impasto.video.temporal_loss import PriorFrame

Look = Mapping[str, Tensor]  # what is held, by name
Steadied = Literal["strokes", "frames before", "what is held"]  # how frames are kept alike


@dataclass(frozen=True)
class Moment:
    """After which style a frame is painted, and how strongly: what may change over a film."""

    style: int = 0  # of those that follow each other
    values: tuple[tuple[str, float], ...] = ()  # of options that are varied

    def find(self, name: str, usual: float | None) -> float | None:
        """Return the value of an option that may be varied."""
        return dict(self.values).get(name, usual)


class ClipPainter(Protocol):
    """Paints the frames of a film."""

    notes: list[str]
    pictures: list[Picture]  # of the styles, or those to be like
    varied: tuple[str, ...]  # the options that may change from frame to frame
    steadied: Steadied
    by_scenes: bool  # whether a look is that of a scene, or of a window

    def look(self, frames: Sequence[Tensor], moment: Moment) -> Look:
        """Measure some frames of a window or scene, (1, 3, H, W) each."""

    def paint(
        self, frame: Tensor, look: Look, moment: Moment, prior: PriorFrame | None
    ) -> tuple[Tensor, Tensor]:
        """Return a frame in the style's colours, and painted."""

    def color(self, frame: Tensor, look: Look, moment: Moment) -> Tensor:
        """Return a frame in the style's colours, and not painted."""

    def check(self, values: Sequence[float | None]) -> list[str]:
        """Return notes on style weights; raise an error where they do not go."""

    def describe_inputs(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the names of what it was made from, and their digests, as recipes have them."""

    def describe(self) -> str:
        """Return with what it paints, and on what."""


def mix_looks(looks: Sequence[tuple[Look, float]]) -> Look:
    """Return what is held between windows; shares are to sum to 1."""
    if len(looks) == 1:
        return looks[0][0]
    return {name: sum(share * look[name] for look, share in looks) for name in looks[0][0]}  # type: ignore[misc]
