"""What every operation is: work that is done in steps, and the event that each step yields."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Moment:
    """How far many-picture work has come: steps done of all, and what it is at."""

    done: int
    total: int
    text: str


@dataclass(frozen=True)
class Step:
    """What one step measured, before it changed the picture."""

    number: int
    steps: int
    size: tuple[int, int]
    total: float
    style: float
    content: float
    tv: float
    seconds: float
    more: dict[str, float] = field(default_factory=dict)  # what else was measured, by name
