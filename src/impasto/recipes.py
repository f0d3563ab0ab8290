"""Recipes: option values in files, by name, and inside pictures."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from impasto.errors import MissingFileError, OptionError, suggest
from impasto.options import Options

Given = TypeVar("Given", bound=Options)


def list_recipes() -> dict[str, str]:
    """The recipes that travel with the package: name -> what it is for."""
    folder = resources.files("impasto") / "data" / "recipes"
    recipes = {}
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".toml"):
            content = tomllib.loads(file.read_text(encoding="utf-8"))
            recipes[file.name.removesuffix(".toml")] = str(content.get("about", ""))
    return recipes


def read_recipe_file(source: str | Path) -> dict[str, Any]:
    """Option values from a recipe: the name of a bundled one, or a .toml or .json file."""
    name = str(source)
    if name in list_recipes():
        text = (resources.files("impasto") / "data" / "recipes" / f"{name}.toml").read_text("utf-8")
        return parse_recipe(text, name)
    path = Path(source)
    if not path.is_file():
        if path.suffix:
            raise MissingFileError(f"there is no recipe file {name!r}")
        raise OptionError(f"unknown recipe {name!r}{suggest(name, list_recipes())}")
    return parse_recipe(path.read_text(encoding="utf-8", errors="replace"), name)


def parse_recipe(text: str, name: str) -> dict[str, Any]:
    """Option values from a recipe's text: TOML, or the JSON that a picture carries."""
    try:
        content = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except (json.JSONDecodeError, tomllib.TOMLDecodeError) as error:
        raise OptionError(f"recipe {name!r} cannot be read: {error}") from None
    content.pop("about", None)
    options = content.get("options", content)
    if not isinstance(options, dict):
        raise OptionError(f"recipe {name!r} has no options")
    return options


def write_recipe(
    operation: str, inputs: Mapping[str, str | Sequence[str]], options: Options
) -> dict[str, Any]:
    """Return what a picture carries: what made it, of what, and how; folders are private."""
    return {
        "impasto": version("impasto"),
        "operation": operation,
        **inputs,
        "options": hide_folders(options).model_dump(mode="json", by_alias=True),
    }


def hide_folders(options: Given) -> Given:
    """Return options as others may read them: files by their names, without folders."""
    return options.with_files(lambda path: Path(path).name)
