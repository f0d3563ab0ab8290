"""Files that are whole or absent: checked before the work, written beside their place, synced,
renamed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from impasto.errors import ImageError, MissingFileError, OptionError


def check_place(
    path: str | os.PathLike[str],
    what: str,
    suffixes: Iterable[str] = (),
    error: type[ImageError | OptionError] = OptionError,
) -> Path:
    """All that can be said of a file to be written without writing it; asked before hours of
    work. ``what`` is "a film", and ``suffixes`` what its name may end in."""
    path, choices = Path(path), list(suffixes)
    if path.is_dir():
        raise error(f"cannot write {what} to {str(path)!r}: it is a folder")
    if choices and path.suffix.lower() not in choices:
        found = f"suffix {path.suffix!r}" if path.suffix else "no suffix"
        raise error(
            f"cannot write {what} {path.name!r} with {found}; choose from {', '.join(choices)}"
        )
    folder = path.parent
    if not folder.is_dir():
        raise MissingFileError(f"no such folder: {str(folder)!r} (to write {path.name!r} in)")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise error(f"cannot write {path.name!r}: no permission to write in {str(folder)!r}")
    return path


@contextmanager
def replacing(path: Path, beside: Path | None = None) -> Iterator[Path]:
    """A path beside ``path`` to write to; it takes the place of ``path`` if all went well.

    Its name is new each time, unless ``beside`` says it: under a lock, what a killed process left
    of a large file is then written over.
    """
    beside = beside or path.with_name(f".impasto-{secrets.token_hex(8)}.part{path.suffix}")
    try:
        yield beside
        with beside.open("rb+") as written:
            os.fsync(written.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def replace_file(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path`` in one step."""
    with replacing(path) as beside:
        beside.write_bytes(content)
