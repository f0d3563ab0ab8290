"""Files by the digest of their bytes: each is kept once, is whole, and lies nowhere else."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from impasto.errors import ImpastoError, StorageFullError, describe_reason

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PIECE = 1 << 20


@contextmanager
def telling_full() -> Iterator[None]:
    """Turn what the system says of a full disk into a ``StorageFullError``."""
    try:
        yield
    except ImpastoError:
        raise
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise StorageFullError(f"cannot keep it: {describe_reason(error)}") from error


class IncomingFile:
    """A file that is being received: its bytes so far, their number and their digest."""

    def __init__(self, path: Path) -> None:
        self.path, self.size = path, 0
        self._hash = hashlib.sha256()
        self._file = path.open("xb", buffering=0)

    def write(self, piece: bytes) -> None:
        """Take some bytes more."""
        with telling_full():
            view = memoryview(piece)
            while view:
                view = view[self._file.write(view) :]
        self._hash.update(piece)
        self.size += len(piece)

    def finish(self) -> str:
        """Put the bytes on the disk, and return their digest."""
        with telling_full():
            os.fsync(self._file.fileno())
        self._file.close()
        return self._hash.hexdigest()

    def discard(self) -> None:
        """Take away what was received, unless it has its place already."""
        self._file.close()
        self.path.unlink(missing_ok=True)


class FileStore:
    """A folder of files by digest, of one for each job, and of those that are being received."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files, self._parts = folder / "files", folder / "parts"
        self._thumbnails, self._work = folder / "thumbnails", folder / "work"
        self._named = folder / "named"
        # Held while a file is kept and then told to the store, and while one is deleted.
        self.turn = threading.RLock()
        for each in (self._files, self._parts, self._thumbnails, self._work, self._named):
            each.mkdir(parents=True, exist_ok=True, mode=0o700)

    # --- files

    def path(self, digest: str) -> Path:
        """Return where the file with a digest lies."""
        return locate_file(self.folder, digest)

    def has(self, digest: str) -> bool:
        """Return whether there is such a file."""
        return self.path(digest).is_file()

    @contextmanager
    def receive(self) -> Iterator[IncomingFile]:
        """Yield a file to write to; what was not kept by ``keep`` at the end is taken away."""
        with telling_full():
            incoming = IncomingFile(self._parts / secrets.token_hex(8))
        try:
            yield incoming
        finally:
            incoming.discard()

    def keep(self, incoming: IncomingFile) -> str:
        """Give a received file its place, and return its digest."""
        digest = incoming.finish()
        self._place(incoming.path, digest)
        return digest

    def keep_bytes(self, content: bytes) -> str:
        """Keep some bytes, and return their digest."""
        digest = hashlib.sha256(content).hexdigest()
        if not self.has(digest):
            with self.receive() as incoming:
                incoming.write(content)
                self.keep(incoming)
        return digest

    def keep_file(self, path: Path) -> str:
        """Keep a copy of a file, and return its digest."""
        with path.open("rb") as source, self.receive() as incoming:
            while piece := source.read(_PIECE):
                incoming.write(piece)
            return self.keep(incoming)

    def _place(self, path: Path, digest: str) -> None:
        target = self.path(digest)
        with telling_full():
            target.parent.mkdir(exist_ok=True, mode=0o700)
            path.chmod(0o400)
            path.replace(target)
            _sync_folder(target.parent)

    def remove(self, digests: Iterable[str]) -> None:
        """Delete files, and what was made of them to look at."""
        for digest in digests:
            self.path(digest).unlink(missing_ok=True)
            self.thumbnail(digest).unlink(missing_ok=True)
            shutil.rmtree(self._named / digest, ignore_errors=True)

    def sweep(self, known: Collection[str]) -> int:
        """Delete what a process that was killed has left: all but the known; return how many."""
        for folder in (self._parts, self._named):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700)
        found = [path.name for path in self._files.glob("*/*")]
        found += [path.stem for path in self._thumbnails.iterdir()]
        lost = {name for name in found if name not in known}
        self.remove(lost)
        return len(lost)

    # --- beside them

    def thumbnail(self, digest: str) -> Path:
        """Return where the small version of a picture lies, if it was made."""
        return self._thumbnails / f"{digest}.webp"

    def work_folder(self, job: str) -> Path:
        """Return the folder that a job is worked on in."""
        return self._work / job

    def remove_work(self, job: str) -> None:
        """Delete what is half done of a job."""
        shutil.rmtree(self.work_folder(job), ignore_errors=True)

    def list_work(self) -> list[str]:
        """Return the jobs of which something half done lies here."""
        return [path.name for path in self._work.iterdir()]

    def lend(self, digest: str, path: Path) -> None:
        """Put a kept file at a path: as another name of it, or where that fails as a copy."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with telling_full(), suppress(FileExistsError):
            try:
                path.hardlink_to(self.path(digest))
            except FileExistsError:
                raise
            except OSError:
                shutil.copyfile(self.path(digest), path)

    def name(self, digest: str, name: str) -> Path:
        """Return a path of a kept file that ends in the name that its user knows."""
        path = self._named / digest / name
        self.lend(digest, path)
        return path

    def free_bytes(self) -> int:
        """Return the bytes that are free on the disk."""
        return shutil.disk_usage(self.folder).free


def locate_file(folder: Path, digest: str) -> Path:
    """Return where a store's folder has the file with a digest."""
    return folder / "files" / digest[:2] / digest


def _sync_folder(folder: Path) -> None:
    """Put a folder's names on the disk, where the system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
