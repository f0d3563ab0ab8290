"""Recipes on the command line: their options, and the pictures that they name."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from impasto.cli.console import say
from impasto.cli.outputs import check_named
from impasto.errors import MissingFileError, OptionError, suggest
from impasto.operations import DEFAULT_OPERATION, OPERATIONS
from impasto.options import Options
from impasto.recipes import (
    PictureRecipe,
    list_recipes,
    parse_picture_recipe,
    read_recipe_file,
)

FILMS = (".mp4", ".mov", ".mkv", ".webm", ".gif")  # suffixes of films that carry a recipe

_Given = TypeVar("_Given", bound=Options)


# --- options ------------------------------------------------------------------------------------


def apply_recipe(recipe: str | None, given: _Given, operation: str) -> _Given:
    """Return the options: what the user said, else what the recipe says, else the default."""
    if recipe is None:
        return given
    painted = read_painting_recipe(recipe)
    if painted is not None and find_maker(painted) != operation:
        raise OptionError(
            f"{recipe!r} was made by 'impasto {find_maker(painted)}', not {operation}"
        )
    values = read_recipe_file(recipe) if painted is None else painted.options
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
    """Raise an error for what is an option of another operation.

    What is an option of none is told by the options themselves.
    """
    here = list_options(options)
    for value in values:
        others = [name for name, o in OPERATIONS.items() if value in list_options(o.options)]
        if others and value not in here:
            raise OptionError(
                f"recipe {recipe!r} is for 'impasto {others[0]}': there is no {value} here"
            )


def list_options(options: type[Options]) -> list[str]:
    """Return the names of options as recipes have them."""
    return [field.alias or name for name, field in options.model_fields.items()]


def find_files_of(options: _Given, folder: Path) -> _Given:
    """Find the files of a recipe's options: masks, a network, a picture to start from."""
    for option, names in options.files().items():
        for name in names:
            find_beside(name, folder, f"--{option.replace('_', '-')} {shlex.quote(f'PATH/{name}')}")
    return options.with_files(lambda name: find_beside(name, folder))


# --- recipes in pictures --------------------------------------------------------------------------


def read_painting_recipe(recipe: str) -> PictureRecipe | None:
    """Read what a picture was made from and how; None if this is a recipe's name or file."""
    if Path(recipe).suffix.lower() in (".toml", ".json", "") or recipe in list_recipes():
        return None
    text = read_carried_recipe(Path(recipe))
    if text is None:
        raise OptionError(f"{recipe!r} carries no recipe")
    painted = parse_picture_recipe(text, recipe)
    maker = find_maker(painted)
    if maker not in OPERATIONS:
        raise OptionError(
            f"recipe {recipe!r} is of an unknown operation {maker!r}{suggest(maker, OPERATIONS)}"
        )
    return painted


def read_carried_recipe(path: Path) -> str | None:
    """Return the recipe inside a picture or a film, as text."""
    if path.suffix.lower() in FILMS:
        from impasto.video.joining import read_film_recipe

        return read_film_recipe(path)
    from impasto.images.opening import read_recipe

    return read_recipe(path)


def find_maker(painted: PictureRecipe | None) -> str:
    """Return the operation that a recipe is for; old ones, and files, do not say."""
    return (painted.operation if painted else None) or DEFAULT_OPERATION


def find_input(
    given: str | None,
    recipe: str | None,
    kind: str,
    lack: str,
    tell: Callable[[str], None] = say,
) -> str:
    """Return the picture that is named, or that the one with the recipe was made from.

    ``kind`` is "content" or "style", and ``lack`` what is said where there is none.
    """
    painted = read_painting_recipe(recipe) if recipe is not None else None
    if given is not None:
        check_named(given)
        compare_named([given], painted, kind, recipe, tell)
        return given
    if painted is None or kind not in painted.inputs:
        raise OptionError(lack)
    return find_recipe_pictures(painted, kind, str(recipe))[0]


def find_likes(
    given: Sequence[str] | None, recipe: str | None, tell: Callable[[str], None] = say
) -> list[str]:
    """Return the pictures to be like that are named, or those that a recipe's picture was."""
    check_named(*(given or ()))
    painted = read_painting_recipe(recipe) if recipe is not None else None
    compare_named(given or (), painted, "like", recipe, tell)
    if given or painted is None or not painted.inputs.get("like"):
        return list(given or ())
    return find_recipe_pictures(painted, "like", str(recipe))


def name_inputs(
    content: Sequence[str],
    style: Sequence[str] | None,
    recipe: str | None,
    *,
    by_name: bool = False,
    command: str = DEFAULT_OPERATION,
    tell: Callable[[str], None] = say,
) -> tuple[list[str], list[str]]:
    """Return the photographs and styles that are named, or those that a painting was made from.

    Styles ``by_name`` are no files, and need not be named.
    """
    check_named(*content, *(style or ()))
    painted = read_painting_recipe(recipe) if recipe is not None else None
    compare_named(content, painted, "content", recipe, tell)
    compare_named(() if by_name else style or (), painted, "style", recipe, tell)
    if content and (style or (by_name and painted is None)):
        return list(content), list(style or ())
    if painted is None:
        what = "a photograph" if not content else "a picture: --style PICTURE"
        raise OptionError(f"{command} needs {what}")
    if not ("content" in painted.inputs and "style" in painted.inputs):
        raise OptionError(f"recipe {recipe!r} does not say what it was painted from")
    sources = list(content) or find_recipe_pictures(painted, "content", str(recipe))
    if style or by_name:
        return sources, list(style or painted.inputs["style"])
    return sources, find_recipe_pictures(painted, "style", str(recipe))


# --- the pictures that recipes name ---------------------------------------------------------------


def find_recipe_pictures(painted: PictureRecipe, kind: str, recipe: str) -> list[str]:
    """Find what a picture was made from, here or beside it; refuse others of the same name."""

    command, found = write_command(painted, recipe), []
    for number, name in enumerate(painted.inputs[kind]):
        path = find_beside(name, Path(recipe).parent, command)
        digest = painted.find_digest(kind, number)
        if digest and not is_same_input(path, digest):
            raise OptionError(
                f"{path!r} is not the picture that {recipe!r} was made from: its contents differ; "
                f"to paint it all the same, name it: {command}"
            )
        found.append(path)
    return found


def is_same_input(path: str | Path, digest: str) -> bool:
    """Return whether a picture, a film or a folder is the one that has this digest."""
    if Path(path).is_dir():
        from impasto.video.decoding import open_film

        return open_film(path).digest() == digest
    from impasto.images.reading import is_same_picture

    return is_same_picture(path, digest)


def compare_named(
    given: Sequence[str],
    painted: PictureRecipe | None,
    kind: str,
    recipe: str | None,
    tell: Callable[[str], None],
) -> None:
    """Tell of pictures that are named as a recipe's are, and are others."""
    names = painted.inputs.get(kind, ()) if painted else ()
    for path in map(Path, given):
        if painted is None or path.name not in names or not path.exists():
            continue
        digest = painted.find_digest(kind, names.index(path.name))
        if digest and not is_same_input(path, digest):
            tell(
                f"note: {str(path)!r} is not the picture that {recipe!r} was made from: "
                "its contents differ"
            )


def find_beside(name: str, folder: Path, mend: str = "") -> str:
    """Find a file that a recipe knows by its name: here, or beside the recipe.

    ``mend`` are the words of the command line that would name it.
    """
    for path in (Path(name), folder / name):
        if path.exists():
            return str(path)
    raise MissingFileError(
        f"the recipe was made with {name!r}, which is neither here nor beside it; put it there, "
        f"or name it: {mend}"
    )


def write_command(painted: PictureRecipe, recipe: str) -> str:
    """Return the command that makes a picture again from pictures that lie elsewhere."""
    words = ["impasto", find_maker(painted)]
    for kind, names in painted.inputs.items():
        for name in names:
            flag = [f"--{kind}"] if kind != "content" and "content" in painted.inputs else []
            words += [*flag, f"PATH/{Path(name).name}"]
    return shlex.join([*words, "--recipe", recipe])
