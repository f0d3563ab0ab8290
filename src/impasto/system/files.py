"""Files that are whole or absent: checked before the work, written beside their place, synced,
renamed; and locks, where one process at a time is to write."""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

from impasto.errors import ImageError, MissingFileError, OptionError

if sys.platform != "win32":
    import fcntl

LOCK = ".impasto.lock"  # in a folder that is worked in


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
        beside.touch()
        mode = beside.stat().st_mode  # as its user has it; some libraries make theirs private
        yield beside
        beside.chmod(mode)
        with beside.open("rb+") as written:
            os.fsync(written.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """With those above it, if they are not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = str(error.strerror or error).lower()
        raise ImageError(f"cannot make the folder {str(folder)!r}: {reason}") from None


def replace_file(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path`` in one step."""
    with replacing(path) as beside:
        beside.write_bytes(content)


def hash_file(path: Path, algorithm: str = "sha256") -> str:
    """Return the digest of a file's bytes in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """One process at a time; without waiting, a ``BlockingIOError`` for any other.

    The lock is a file while it is held. The system unlocks it for a process that was killed: what
    that one leaves is in nobody's way. Windows, which lacks flock, locks nothing.
    """
    if sys.platform == "win32":
        yield
        return
    while True:
        with path.open("w") as lock:
            _take(lock, wait)
            if not _is_at(path, lock):
                continue  # who held it took it away
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _take(lock: TextIO, wait: bool) -> None:
    if sys.platform != "win32":
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise
        except OSError:  # some file systems of networks lock as little as Windows does
            return


def _is_at(path: Path, lock: TextIO) -> bool:
    try:
        return os.path.samestat(os.fstat(lock.fileno()), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """An error at once if another process works in the folder."""
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder / LOCK, wait=False))
        except BlockingIOError:
            raise OptionError(
                f"{str(folder)!r} is being worked on by another process; wait for it, or name "
                "another folder"
            ) from None
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise OptionError(f"cannot write to {str(folder)!r}: {why}") from None
        yield


def read_first_line(path: str) -> str:
    return next(iter(read_lines(path)), "")


def read_lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
