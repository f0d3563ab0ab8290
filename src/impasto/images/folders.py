"""Files of pictures: those of a folder, those that a pattern fits, or the one that is named."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path

from impasto.errors import MissingFileError


def is_many(source: str | os.PathLike[str]) -> bool:
    """Return whether this names a folder or a pattern, and not one file."""
    path = Path(source)
    return path.is_dir() or (not path.exists() and glob.has_magic(os.fspath(source)))


def find_pictures(source: str | os.PathLike[str]) -> list[Path]:
    """Return the pictures in a folder, those that a pattern fits, or the one file as it is named.

    Hidden files are left out, and so are links that lead nowhere.
    """
    path = Path(source)
    if not is_many(source):
        return [path]
    pattern = os.fspath(source)
    found = path.iterdir() if path.is_dir() else map(Path, glob.glob(pattern, recursive=True))  # noqa: PTH207
    pictures = sorted(each for each in found if is_picture(each) and each.is_file())
    if not pictures:
        raise MissingFileError(f"no pictures in {pattern!r}")
    return pictures


def is_picture(path: Path) -> bool:
    """Return whether a file's name is that of a picture which can be read, and not hidden."""
    # Imported here: what lists commands and their flags does without it.
    from impasto.images.opening import list_suffixes

    return path.suffix.lower() in list_suffixes() and not path.name.startswith(".")


def walk_files(folder: Path) -> Iterator[Path]:
    """Yield every file below a folder, relative to it; no hidden ones, and no links in a circle."""
    return (Path(path).relative_to(folder) for path in _walk(os.fspath(folder), frozenset()))


def _walk(folder: str, above: frozenset[str]) -> Iterator[str]:
    """Yield the files below a folder, which lies in those whose real paths are ``above``."""
    here = os.path.realpath(folder)
    if here in above:
        return
    try:
        entries = [each for each in os.scandir(folder) if not each.name.startswith(".")]
    except OSError:  # no permission to look into it
        return
    for entry in entries:
        try:
            is_folder = entry.is_dir()
        except OSError:  # a link that leads to itself
            continue
        if is_folder:
            yield from _walk(entry.path, above | {here})
        else:
            yield entry.path
