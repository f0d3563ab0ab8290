"""Recipes: option values in files, by name, and inside pictures.

A picture's recipe also says what made it and of what: the names of its inputs, and a digest of
each. Recipes come from strangers too: whatever they hold, reading them ends in one line.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from impasto.errors import MissingFileError, OptionError, describe_reason, shorten, suggest
from impasto.options import Options

OptionsT = TypeVar("OptionsT", bound=Options)

_INPUTS = ("content", "film", "style", "like", "lut")  # what recipes name their inputs
_LARGEST = {"{": 2**20, "": 2**14}  # characters of JSON and of TOML, whose parser is quadratic
_DEEPEST = 8  # levels of lists and tables


@dataclass(frozen=True)
class PictureRecipe:
    """What a picture was made from, by what, and how."""

    options: dict[str, Any]
    operation: str | None = None  # None: it does not say
    inputs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # names of files, by kind
    digests: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # one for each name
    version: str = ""  # of Impasto

    def find_digest(self, kind: str, number: int) -> str | None:
        """Return the digest of an input; None if the recipe does not say it, as old ones."""
        digests = self.digests.get(kind, ())
        return digests[number] if number < len(digests) else None


def list_recipes() -> dict[str, str]:
    """Return the recipes that travel with the package: name -> what it is for."""
    folder = resources.files("impasto") / "data" / "recipes"
    recipes = {}
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".toml"):
            content = tomllib.loads(file.read_text(encoding="utf-8"))
            recipes[file.name.removesuffix(".toml")] = str(content.get("about", ""))
    return recipes


def read_recipe_file(source: str | Path) -> dict[str, Any]:
    """Read option values: the name of a bundled recipe, or a .toml or .json file."""
    name = str(source)
    if name in list_recipes():
        text = (resources.files("impasto") / "data" / "recipes" / f"{name}.toml").read_text("utf-8")
        return parse_recipe(text, name)
    path = Path(source)
    if not path.is_file():
        if path.suffix:
            raise MissingFileError(f"there is no recipe file {name!r}")
        raise OptionError(f"unknown recipe {name!r}{suggest(name, list_recipes())}")
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return parse_recipe(file.read(max(_LARGEST.values()) + 1), name)
    except OSError as error:
        raise OptionError(f"cannot read recipe {name!r}: {describe_reason(error)}") from None


def parse_recipe(text: str, name: str) -> dict[str, Any]:
    """Return the option values in a recipe's text: TOML, or the JSON that a picture carries."""
    return parse_picture_recipe(text, name).options


def parse_picture_recipe(text: str, name: str) -> PictureRecipe:
    """Return all that a recipe's text says; of one that has nothing but options, these."""
    content = _parse_text(text, name)
    content.pop("about", None)
    options = content.get("options", content)
    if not isinstance(options, dict):
        raise OptionError(f"recipe {name!r} has no options")
    if options is content:
        return PictureRecipe(options)
    operation, digests = content.get("operation"), content.get("digests", {})
    if not isinstance(operation, str | None):
        raise OptionError(f"recipe {name!r}: operation is no text")
    if not isinstance(digests, dict):
        raise OptionError(f"recipe {name!r}: digests is no table")
    return PictureRecipe(
        options,
        operation,
        {kind: names for kind in _INPUTS if (names := _read_names(content, kind, name))},
        {kind: _read_names(digests, kind, name) for kind in _INPUTS},
        shorten(str(content.get("impasto", ""))),
    )


def _parse_text(text: str, name: str) -> dict[str, Any]:
    """Return the table in a text of bounded length and depth."""
    start = text.lstrip()[:1]
    largest = _LARGEST.get(start, _LARGEST[""])
    if len(text) > largest:
        raise OptionError(f"recipe {name!r} is longer than {largest} characters")
    too_deep = OptionError(f"recipe {name!r} is nested deeper than {_DEEPEST} levels")
    try:
        content: dict[str, Any] = json.loads(text) if start == "{" else tomllib.loads(text)
    except RecursionError:
        raise too_deep from None
    except ValueError as error:  # both parsers', and Python's for numbers of thousands of digits
        reason = str(error).partition(";")[0]
        raise OptionError(f"recipe {name!r} cannot be read: {reason}") from None
    if _is_deep(content):
        raise too_deep
    return content


def _is_deep(content: dict[str, Any]) -> bool:
    level: list[Any] = [content]
    for _ in range(_DEEPEST):
        tables = [each.values() if isinstance(each, dict) else each for each in level]
        level = [each for table in tables for each in table if isinstance(each, dict | list)]
    return bool(level)


def _read_names(content: Mapping[str, Any], kind: str, name: str) -> tuple[str, ...]:
    """Return the names under a key, which old recipes have as one text."""
    names = content.get(kind) or ()
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list | tuple) or not all(isinstance(each, str) for each in names):
        raise OptionError(f"recipe {name!r}: {kind} is neither a name nor a list of names")
    return tuple(names)


def write_recipe(
    operation: str,
    inputs: Mapping[str, str | Sequence[str]],
    digests: Mapping[str, str | Sequence[str]],
    options: Options,
) -> dict[str, Any]:
    """Return what a picture carries: what made it, of what, and how; folders are private.

    ``inputs`` are names, and ``digests`` what their pictures are known by: names are not enough.
    """
    return {
        "impasto": version("impasto"),
        "operation": operation,
        **inputs,
        **({"digests": digests} if any(digests.values()) else {}),
        "options": hide_folders(options).model_dump(mode="json", by_alias=True),
    }


def hide_folders(options: OptionsT) -> OptionsT:
    """Return options as others may read them: files by their names, without folders."""
    return options.with_files(lambda path: Path(path).name)
