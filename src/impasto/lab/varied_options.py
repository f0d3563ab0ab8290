"""What is varied: an option and its values, read from one line, shown in one word, crossed.

An axis is a list of points, and a point the options that it sets: mostly one, {option: value}.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from impasto.errors import OptionError, suggest
from impasto.painting.options import PaintOptions
from impasto.video.options import mix_ends

Point = Mapping[str, Any]
Axis = Sequence[Point]

MOST_VALUES = 1_000  # of one option
USUAL_VALUES = 5  # of a range whose values are not counted
MOST_RUNS = 10_000  # of one sweep


# --- values -------------------------------------------------------------------------------------


def show_value(name: str, value: Any) -> str:
    """Return a value of an option as one word: 0.1, relu1_1+relu2_1, mask.png."""
    if isinstance(value, tuple | list):
        return "+".join(show_value(name, each) for each in value)
    if isinstance(value, str) and name in PaintOptions.file_marks():
        return Path(value).name
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def describe_values(values: Mapping[str, Any]) -> str:
    """Return options and their values in a line: ``style_weight=1 seed=0``."""
    return " ".join(f"{name}={show_value(name, value)}" for name, value in values.items())


def kinds_of(annotation: Any) -> set[type]:
    """Return the types that an option's values may have: float; int and None; tuple."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return kinds_of(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return set().union(*map(kinds_of, get_args(annotation)))
    if origin is Literal:
        return {str}
    return {origin or annotation}


def split_setting(text: str, example: str) -> tuple[str, str]:
    """Split ``style_weight=1,0.1`` into the option and what is said of it."""
    name, _, said = text.partition("=")
    name = name.strip().replace("-", "_")
    if not (name and said.strip()):
        raise OptionError(f"{text!r} names no values of an option; give it as {example}")
    if name not in PaintOptions.model_fields:
        raise OptionError(f"unknown option {name!r}{suggest(name, PaintOptions.model_fields)}")
    return name, said.strip()


def is_number(name: str) -> bool:
    """Return whether an option's values can be numbers."""
    return bool(kinds_of(PaintOptions.model_fields[name].annotation) & {int, float})


def is_whole(name: str) -> bool:
    """Return whether an option takes no fractions."""
    return float not in kinds_of(PaintOptions.model_fields[name].annotation)


def read_value(name: str, word: Any) -> Any:
    """Read and check a value of an option; what is a tuple is joined by a plus."""
    many = tuple in kinds_of(PaintOptions.model_fields[name].annotation)
    value = word.strip().split("+") if many and isinstance(word, str) else word
    return getattr(PaintOptions.read({name: value}), name)


def parse_vary(text: str) -> tuple[str, list[Any]]:
    """Read the option and its values of ``style_weight=1,0.1`` or ``style_weight=1:100:5``.

    A range without a count is what 'impasto animate' takes too.
    """
    name, said = split_setting(text, "style_weight=1,0.1,0.01")
    found = re.fullmatch(r"([^:,]+):([^:,]+)(?::(\d+))?", said)
    words: Sequence[Any] = said.split(",")
    if found and is_number(name):
        low, high = (read_value(name, end) for end in found.groups()[:2])
        # A number of more digits is not even read: to do that takes long.
        digits = found[3] or str(USUAL_VALUES)
        count = int(digits) if len(digits) <= len(str(MOST_VALUES)) else MOST_VALUES + 1
        check_count(name, count)
        words = spread_numbers(low, high, count, whole=is_whole(name))
    check_count(name, len(words))
    values = [read_value(name, word) for word in words]
    for number, value in enumerate(values):
        if value in values[:number]:
            raise OptionError(f"{name}: {show_value(name, value)} is given twice")
    return name, values


def check_count(name: str, count: int) -> None:
    """Refuse more values of an option than anyone can look at."""
    if count > MOST_VALUES:
        raise OptionError(f"{name}: too many values; give at most {MOST_VALUES}")


def spread_numbers(low: float, high: float, count: int, *, whole: bool) -> list[float]:
    """Return numbers from one end to the other: by ratio if both are above 0, else evenly.

    Four digits are enough; whole numbers come once each.
    """
    if count < 2:
        raise OptionError(f"a range has at least 2 values, not {count}; give FIRST:LAST:COUNT")
    shares = [i / (count - 1) for i in range(count)]
    numbers = [mix_ends(low, high, share) for share in shares]
    numbers = [low, *(float(f"{number:.4g}") for number in numbers[1:-1]), high]
    return list(dict.fromkeys(map(round, numbers))) if whole else list(dict.fromkeys(numbers))


def read_axis(given: str | Axis) -> Axis:
    """Return the axis that a line such as ``style_weight=1,0.1`` describes."""
    if not isinstance(given, str):
        return given
    name, values = parse_vary(given)
    return [{name: value} for value in values]


def names_in(axis: Axis) -> set[str]:
    """Return the options that an axis sets."""
    return {name for point in axis for name in point}


def cross_axes(axes: Sequence[Axis]) -> list[dict[str, Any]]:
    """Return every combination of the axes' points; the last axis turns fastest."""
    if (count := math.prod(map(len, axes))) > MOST_RUNS:
        raise OptionError(
            f"{count} pictures are too many: at most {MOST_RUNS} in one sweep; vary fewer values"
        )
    return [
        {name: value for point in points for name, value in point.items()}
        for points in itertools.product(*axes)
    ]
