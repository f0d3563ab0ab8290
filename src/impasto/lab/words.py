"""How the report spells names, numbers and values."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

_LISTED = 12  # values of an option


def is_numeric(text: str) -> bool:
    """Return whether a text is a finite number."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def round_number(text: str) -> str:
    """Return four digits of a number, and anything else as it is."""
    if is_numeric(text) and not text.strip().lstrip("+-").isdigit():
        number = float(text)
        return f"{number:.0f}" if 1e4 <= abs(number) < 1e7 else f"{number:.4g}"
    return text


def list_words(names: Iterable[str]) -> str:
    """Return ``a, b and c``."""
    *first, last = [*names] or ["nothing"]
    return f"{', '.join(first)} and {last}" if first else last


def list_values(values: list[str]) -> str:
    """Return all of a few values, the range of many."""
    if len(values) <= _LISTED:
        return ", ".join(map(round_number, values))
    ordered = sorted(values, key=float) if all(map(is_numeric, values)) else values
    return f"{round_number(ordered[0])} … {round_number(ordered[-1])} ({len(values)} values)"


def spell_name(name: str) -> str:
    """Return a name as words."""
    return name.replace("_", " ")


def spell_value(value: Any) -> str:
    """Return a value of an option as words."""
    if isinstance(value, list):
        return ", ".join(map(spell_value, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)
