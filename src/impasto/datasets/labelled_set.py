"""Labelled sets of pictures: a folder with one for each class, or a CSV of paths and labels."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from impasto.errors import MissingFileError, OptionError
from impasto.images.folders import find_pictures, is_picture, walk_files

_PATH_NAMES = ("path", "file", "image")
_LABEL_NAMES = ("label", "class")


@dataclass(frozen=True)
class Entry:
    """A picture and its label; the path is relative to the set's folder, with slashes."""

    path: str
    label: str
    row: tuple[str, ...] = ()  # all that a CSV says of it


@dataclass(frozen=True)
class LabelledSet:
    """Pictures in the order of their paths, or of their CSV's rows."""

    folder: Path
    entries: tuple[Entry, ...]
    columns: tuple[str, ...] = ()  # of the CSV; none of a folder
    notes: tuple[str, ...] = ()

    def digest(self) -> str:
        """Return what tells one list from another: paths, labels, and the size of each file."""
        digest = hashlib.sha256(repr(self.columns).encode())
        for entry in self.entries:
            try:
                size = (self.folder / entry.path).stat().st_size
            except OSError:
                size = -1
            digest.update(repr((entry.path, entry.label, entry.row, size)).encode())
        return digest.hexdigest()

    def name_row(self, entry: Entry, path: str) -> tuple[str, ...]:
        """Return the entry's row of the CSV, for another file."""
        place = find_column(self.columns, _PATH_NAMES)
        return tuple(path if i == place else cell for i, cell in enumerate(entry.row))


def read_labelled(source: str | os.PathLike[str]) -> LabelledSet:
    """Return the pictures and labels of a folder or of a CSV."""
    path = Path(source)
    if path.is_dir():
        return read_folder(path)
    if not path.exists():
        raise MissingFileError(f"no such folder or CSV: {str(path)!r}")
    if path.suffix.lower() != ".csv":
        raise OptionError(
            f"{path.name!r} is no folder and no .csv; labelled pictures are in either"
        )
    return read_csv(path)


def read_folder(folder: Path) -> LabelledSet:
    """Return every picture in a sub-folder, at any depth; the first folder is its class."""
    entries, loose, others = [], 0, 0
    for path in sorted(path.as_posix() for path in walk_files(folder)):
        label, _, rest = path.partition("/")
        if not is_picture(Path(path)):
            others += 1
        elif not rest:
            loose += 1
        else:
            entries.append(Entry(path, label))
    if not entries:
        found = f"; {loose} lie in it, in no class" if loose else ""
        raise MissingFileError(f"no pictures in folders of their class in {str(folder)!r}{found}")
    notes = []
    if loose:
        notes.append(f"left out: {loose} pictures in no class's folder")
    if others:
        notes.append(f"left out: {others} files that are no pictures")
    return LabelledSet(folder, tuple(entries), notes=tuple(notes))


def read_csv(path: Path) -> LabelledSet:
    """Return paths and labels by the names of their columns; paths are relative to the CSV."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"{path.name!r} cannot be read as UTF-8: {error}") from None
    columns, *rows = list(csv.reader(io.StringIO(text, newline=""))) or [[]]
    place, label = find_column(columns, _PATH_NAMES), find_column(columns, _LABEL_NAMES)
    for found, names in ((place, _PATH_NAMES), (label, _LABEL_NAMES)):
        if found is None:
            wanted = ", ".join(names[:-1]) + f" or {names[-1]}"
            raise OptionError(
                f"{path.name!r} has no column named {wanted}; it has {', '.join(columns) or 'none'}"
            )
    assert place is not None
    assert label is not None
    entries: dict[str, Entry] = {}
    for number, row in enumerate(rows, 2):
        if not row:
            continue
        if len(row) != len(columns):
            raise OptionError(
                f"{path.name!r}, row {number}: {len(row)} cells under {len(columns)} columns"
            )
        name = Path(os.path.normpath(row[place])).as_posix()
        if name.startswith("../") or Path(name).is_absolute():
            raise OptionError(
                f"{path.name!r}, row {number}: {row[place]!r} is not in the CSV's own folder"
            )
        if name in entries:
            raise OptionError(f"{path.name!r}, row {number}: {row[place]!r} is there twice")
        entries[name] = Entry(name, row[label], tuple(row))
    if not entries:
        raise OptionError(f"{path.name!r} names no pictures")
    return LabelledSet(path.parent, tuple(entries.values()), tuple(columns))


def find_column(columns: Sequence[str], names: Sequence[str]) -> int | None:
    """Return the place of the first column that has one of the names."""
    known = [column.strip().lower() for column in columns]
    return next((known.index(name) for name in names if name in known), None)


def find_styles(source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[Path]:
    """Return the pictures that a folder, a pattern, a file or a list of such names."""
    if not isinstance(source, str | os.PathLike):
        return [path for each in source for path in find_styles(each)]
    return find_pictures(source)
