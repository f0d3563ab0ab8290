"""Files that are whole or absent, and locks.

Places are checked before the work; files are written beside their place, synced, renamed. Locks are
for where one process at a time is to write.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

from impasto.errors import ImageError, MissingFileError, OptionError, describe_reason

if sys.platform != "win32":
    import fcntl

LOCK = ".impasto.lock"  # in a folder that is worked in

# No link is followed to a lock: its target would be emptied, or waited for if it is a pipe.
_LOCK_FLAGS = os.O_CREAT | os.O_RDWR | getattr(os, "O_NOFOLLOW", 0)


def resolve_path(path: str | os.PathLike[str]) -> Path:
    """Return the absolute path without links; of links in a circle, as far as they lead."""
    return Path(os.path.realpath(path))  # Path.resolve raises a RuntimeError on a circle


def check_place(
    path: str | os.PathLike[str],
    what: str,
    suffixes: Iterable[str] = (),
    error: type[ImageError | OptionError] = OptionError,
) -> Path:
    """Check all that can be said of a file to be written; asked before hours of work.

    ``what`` is "a film", and ``suffixes`` what its name may end in.
    """
    path, choices = Path(path), list(suffixes)
    target = find_target(path, what, error)
    if choices and path.suffix.lower() not in choices:
        found = f"suffix {path.suffix!r}" if path.suffix else "no suffix"
        raise error(
            f"cannot write {what} {path.name!r} with {found}; choose from {', '.join(choices)}"
        )
    folder = target.parent if path.is_symlink() else path.parent
    if not folder.is_dir():
        raise MissingFileError(f"no such folder: {str(folder)!r} (to write {path.name!r} in)")
    if target.exists() and not os.access(target, os.W_OK):
        raise error(f"cannot write {path.name!r}: no permission to write over it")
    try:
        _try_to_write_in(folder)
    except PermissionError:
        raise error(
            f"cannot write {path.name!r}: no permission to write in {str(folder)!r}"
        ) from None
    except OSError as refusal:
        reason = describe_reason(refusal)
        raise error(f"cannot write {path.name!r} in {str(folder)!r}: {reason}") from None
    return path


def _try_to_write_in(folder: Path) -> None:
    """Make a file and remove it: only that tells of quotas, and of what a root user may not."""
    trial = _name_part(folder)
    trial.touch(exist_ok=False)
    trial.unlink()


def _name_part(folder: Path, suffix: str = "") -> Path:
    """Return a new name for a file that is not whole yet."""
    return folder / f".impasto-{secrets.token_hex(8)}.part{suffix}"


def find_target(
    path: Path, what: str = "a file", error: type[ImageError | OptionError] = OptionError
) -> Path:
    """Return the file that a path leads to through links; refuse what is neither file nor absent.

    Renaming would put a file in the place of a device, a pipe or a link.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return resolve_path(path)
    except (OSError, ValueError) as refusal:  # links in a circle, a name that is too long
        reason = describe_reason(refusal)
        raise error(f"cannot write {what} to {str(path)!r}: {reason}") from None
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a device or a pipe, and no file"
        raise error(f"cannot write {what} to {str(path)!r}: it is {kind}")
    return resolve_path(path)


@contextmanager
def replacing(path: Path, beside: Path | None = None) -> Iterator[Path]:
    """Yield a path to write to; it takes the place of ``path`` if all went well.

    It lies beside the file that ``path`` leads to. Its name is new each time, unless that of
    ``beside`` is to be taken: under a lock, what a killed process left of a large file is then
    written over.
    """
    target = find_target(path)
    part = target.with_name(beside.name) if beside else _name_part(target.parent, path.suffix)
    try:
        part.touch()
        mode = part.stat().st_mode  # as its user has it; some libraries make theirs private
        yield part
        part.chmod(mode)
        with part.open("rb+") as written:
            os.fsync(written.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make a folder, with those above it, if they are not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = describe_reason(error)
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
    """Let one process in at a time; without waiting, raise a ``BlockingIOError`` for any other.

    The lock is a file while it is held. The system unlocks it for a process that was killed: what
    that one leaves is in nobody's way. Windows, which lacks flock, locks nothing.
    """
    if sys.platform == "win32":
        yield
        return
    while True:
        with open(os.open(path, _LOCK_FLAGS, 0o666), "r+") as lock:  # noqa: PTH123
            _take(lock, wait)
            if not _is_at(path, lock):
                continue  # who held it took it away
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _take(lock: TextIO, wait: bool) -> None:
    """Lock an open file, as far as its file system can."""
    if sys.platform != "win32":
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise
        except OSError:  # some file systems of networks lock as little as Windows does
            return


def _is_at(path: Path, lock: TextIO) -> bool:
    """Return whether an open file still lies at a path."""
    try:
        return os.path.samestat(os.fstat(lock.fileno()), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Keep others out of the folder; raise an error at once if one works in it already."""
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder / LOCK, wait=False))
        except BlockingIOError:
            raise OptionError(
                f"{str(folder)!r} is being worked on by another process; wait for it, or name "
                "another folder"
            ) from None
        except OSError as error:
            reason = describe_reason(error)
            raise OptionError(f"cannot write to {str(folder)!r}: {reason}") from None
        yield


def read_first_line(path: str) -> str:
    """Return a system file's first line; nothing where there is no such file."""
    return next(iter(read_lines(path)), "")


def read_lines(path: str) -> list[str]:
    """Return a system file's lines; none where there is no such file."""
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
