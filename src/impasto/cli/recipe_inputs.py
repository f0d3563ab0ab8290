"""Recipes on the command line: their options, and the pictures that they name."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from impasto.cli.outputs import check_named
from impasto.errors import MissingFileError, OptionError
from impasto.operations import DEFAULT_OPERATION, OPERATIONS
from impasto.options import Options
from impasto.recipes import list_recipes, parse_recipe, read_recipe_file

Given = TypeVar("Given", bound=Options)


# --- recipes ------------------------------------------------------------------------------------


def apply_recipe(recipe: str | None, given: Given, operation: str) -> Given:
    """Default, then recipe, then what the user said."""
    if recipe is None:
        return given
    painted = read_painting_recipe(recipe)
    made_by = (painted or {}).get("operation", DEFAULT_OPERATION)
    if painted is not None and made_by != operation:
        raise OptionError(f"{recipe!r} was made by 'impasto {made_by}', not {operation}")
    values = read_recipe_file(recipe) if painted is None else painted["options"]
    check_options_of(values, recipe, type(given))
    said = {name: getattr(given, name) for name in given.model_fields_set}
    fields = type(given).model_fields
    known = {fields[name].alias or name for name in said}
    values = {name: value for name, value in values.items() if name not in known}
    base = type(given).read(values)
    if recipe not in list_recipes():
        base = find_files_of(base, Path(recipe).parent)
    values = {name: getattr(base, name) for name in base.model_fields_set}
    return type(given).parse(values | said)


def check_options_of(values: Iterable[str], recipe: str, options: type[Options]) -> None:
    """An error for what is an option, but of another operation; what is none at all is told by the
    options themselves."""
    here = list_options(options)
    for value in values:
        others = [name for name, o in OPERATIONS.items() if value in list_options(o.options)]
        if others and value not in here:
            raise OptionError(
                f"recipe {recipe!r} is for 'impasto {others[0]}': there is no {value} here"
            )


def list_options(options: type[Options]) -> list[str]:
    """As recipes have them."""
    return [field.alias or name for name, field in options.model_fields.items()]


def read_painting_recipe(recipe: str) -> dict[str, Any] | None:
    """What a picture was made from and how; None if this is a recipe's name or file."""
    if Path(recipe).suffix.lower() in (".toml", ".json", "") or recipe in list_recipes():
        return None
    from impasto.images.reading import read_recipe

    text = read_recipe(recipe)
    if text is None:
        raise OptionError(f"{recipe!r} carries no recipe")
    options = parse_recipe(text, recipe)
    content = json.loads(text) if text.lstrip().startswith("{") else {}
    return {**content, "options": options}


def find_input(given: str | None, recipe: str | None, kind: str, lack: str) -> str:
    """The picture that is named, or that the one with the recipe was made from; ``kind`` is
    "content" or "style", and ``lack`` what is said where there is none."""
    if given is not None:
        check_named(given)
        return given
    made_from = read_painting_recipe(recipe) if recipe is not None else None
    names = (made_from or {}).get(kind) or []
    names = [names] if isinstance(names, str) else names
    if not names:
        raise OptionError(lack)
    return find_beside(str(names[0]), Path(str(recipe)).parent)


def find_beside(name: str, folder: Path) -> str:
    """A file that a recipe knows by its name: here, or beside the recipe."""
    for path in (Path(name), folder / name):
        if path.exists():
            return str(path)
    raise MissingFileError(
        f"the recipe was made with {name!r}, which is neither here nor beside it"
    )


def find_files_of(options: Given, folder: Path) -> Given:
    """Find the files of a recipe's options: masks, a network, a picture to start from."""
    return options.with_files(lambda name: find_beside(name, folder))


def name_inputs(
    content: Sequence[str],
    style: Sequence[str] | None,
    recipe: str | None,
    *,
    by_name: bool = False,
    command: str = DEFAULT_OPERATION,
) -> tuple[list[str], list[str]]:
    """Return the photographs and styles that are named, or those that a painting was made from.

    Styles ``by_name`` are no files, and need not be named.
    """
    check_named(*content, *(style or ()))
    if content and (style or (by_name and recipe is None)):
        return list(content), list(style or ())
    made_from = read_painting_recipe(recipe) if recipe is not None else None
    if made_from is None:
        if by_name and content:
            return list(content), []
        what = "a photograph" if not content else "a picture: --style PICTURE"
        raise OptionError(f"{command} needs {what}")
    styles = made_from.get("style") or []
    styles = [styles] if isinstance(styles, str) else styles
    if not (made_from.get("content") and styles):
        raise OptionError(f"recipe {recipe!r} does not say what it was painted from")
    folder = Path(str(recipe)).parent
    sources = list(content) or [find_beside(str(made_from["content"]), folder)]
    if style or by_name:
        return sources, list(style or styles)
    return sources, [find_beside(str(name), folder) for name in styles]
