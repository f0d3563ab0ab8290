"""The base of all options, and the types of fields that several operations share.

The command line, recipe files, and the recipe that a picture carries are all made from these
models. A value comes from the first of: what the user said, the recipe, the default.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from impasto.errors import OptionError, shorten, suggest


def parse_weights(entries: Iterable[str]) -> dict[str, float]:
    """Read ``["relu1_1", "relu4_1=0.5"]`` as {name: weight}."""
    weights: dict[str, float] = {}
    for entry in entries:
        name, _, number = entry.partition("=")
        weight = parse_weight(number or "1")
        if weight is None or not name.strip():
            raise ValueError("give NAME or NAME=WEIGHT with a weight of at least 0")
        weights[name.strip()] = weight
    if not any(weights.values()):
        raise ValueError("at least one needs a weight above 0")
    return weights


def parse_weight(text: str) -> float | None:
    """Return a finite number of at least 0; None for anything else."""
    with suppress(ValueError):
        weight = float(text)
        return weight if 0 <= weight < math.inf else None
    return None


def _check_weights(entries: tuple[str, ...]) -> tuple[str, ...]:
    parse_weights(entries)
    return entries


def parse_memory(text: str) -> int:
    """Read ``4G``, ``4.5GiB``, ``800M`` or a plain number as bytes."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) *([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if found is None:
        raise ValueError("give a number of bytes, or of K, M, G or T as in 4G")
    return int(float(found[1]) * 1024 ** " KMGT".index(found[2].upper() or " "))


def format_memory(count: float) -> str:
    """Return bytes as people say them: ``800 MiB``, ``4.5 GiB``."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def _check_memory(text: str) -> str:
    parse_memory(text)
    return text


@dataclass(frozen=True)
class File:
    """Marks an option that names a file: what to upload, to hide in recipes, or to resolve."""

    kind: Literal["picture", "model"] = "picture"
    names: tuple[str, ...] = ()  # values that are names and no files


Memory = Annotated[str, AfterValidator(_check_memory)]
Weighted = Annotated[tuple[str, ...], AfterValidator(_check_weights)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Scale = Annotated[float, Field(gt=0, le=100)]
Side = Annotated[int, Field(ge=16, le=65536)]


class Options(BaseModel):
    """What every operation's options have in common."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def parse(cls, options: Options | Mapping[str, Any] | None) -> Self:
        """Return checked options from what a Python caller gave."""
        if isinstance(options, cls):
            return options
        if options is not None and not isinstance(options, Mapping):
            kind = type(options).__name__
            raise OptionError(f"options are a mapping or {cls.__name__}, not a {kind}")
        return cls.read(options or {})

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """Return checked options; what is wrong is one line that names the option."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise OptionError(describe_error(error, list(cls.model_fields))) from None

    @classmethod
    def again(cls, name: str, default: Any, description: str | None = None) -> Any:
        """Return a field of this model with another default, for a model made from it."""
        field = copy.copy(cls.model_fields[name])
        field.default = default
        field.description = description or field.description
        return field

    @classmethod
    def file_marks(cls) -> dict[str, File]:
        """Return the mark of every option that names files."""
        return {
            name: mark
            for name, field in cls.model_fields.items()
            for mark in field.metadata
            if isinstance(mark, File)
        }

    @property
    def suffix(self) -> str | None:
        """What the name of the output ends in, where that depends on the options."""
        return None

    def files(self) -> dict[str, tuple[str, ...]]:
        """Return the files that these options name, by option."""
        found = {}
        for name, mark in self.file_marks().items():
            value = getattr(self, name)
            values = value if isinstance(value, tuple) else (value,)
            if files := tuple(each for each in values if each and each not in mark.names):
                found[name] = files
        return found

    def list_files(self) -> list[str]:
        """Return every file that work with these options may read."""
        return [name for names in self.files().values() for name in names]

    def with_files(self, change: Callable[[str], str]) -> Self:
        """Return these options with the path of each file changed."""
        changes: dict[str, Any] = {}
        for name, files in self.files().items():
            changed = tuple(map(change, files))
            changes[name] = changed if isinstance(getattr(self, name), tuple) else changed[0]
        return self.model_copy(update=changes)

    def changed(self) -> dict[str, Any]:
        """Return the options that differ from their defaults."""
        return self.model_dump(mode="json", exclude_defaults=True, by_alias=True)


class DeviceOptions(Options):
    """The machine that work is done on."""

    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1 or mps.")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto",
        description="The network's number format; auto takes bfloat16 where it is faster.",
    )
    memory: Memory | None = Field(
        default=None,
        description="Memory that all of the work may take, as 4G or 800M; four fifths of what is "
        "free if not given. A picture that needs more is seen in tiles, which changes nothing "
        "but the time.",
    )
    max_megapixels: Annotated[float, Field(gt=0)] = Field(
        default=100.0, description="The largest picture that is opened."
    )


class MachineOptions(DeviceOptions):
    """The network that looks at pictures, and the machine that it runs on."""

    backbone: Literal["compact", "vgg19", "vgg16"] = Field(
        default="compact", description="The network that looks at the pictures."
    )
    weights: str | None = Field(
        default=None, description="Its weight file, by name (see 'impasto weights list')."
    )
    pooling: Literal["max", "avg"] = Field(
        default="max", description="How the network shrinks its maps."
    )
    layout: Literal["auto", "channels_last", "planes"] = Field(
        default="auto",
        description="How features lie in memory; auto takes what is faster here.",
    )


def describe_error(error: ValidationError, names: list[str]) -> str:
    """Return what is wrong first: ``style_weight: -1 is wrong: input should be greater ...``."""
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else "options"
    if first["type"] == "extra_forbidden":
        return f"unknown option {shorten(name)!r}{suggest(name, names)}"
    what = first["msg"].removeprefix("Value error, ")
    return f"{name}: {quote_value(first['input'])} is wrong: {what[:1].lower()}{what[1:]}"


def quote_value(value: Any) -> str:
    """Return a value as code has it, of bounded length; whole numbers may have too many digits."""
    try:
        return shorten(repr(value))
    except ValueError:
        return "a number of thousands of digits"
