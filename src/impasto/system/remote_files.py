"""Files and folders at URLs, as s3://bucket/folder: copied here, and back as they are made.

Below a copy's folder everything has the path that it has there, so that one place is one file.
"""

from __future__ import annotations

import glob
import re
import threading
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.request import url2pathname

from impasto.errors import ImpastoError, OptionError, describe_reason
from impasto.system.optional import describe_missing, require

_URL = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
_PAGES = ("http", "https")
_STAYS = ".checkpoint"  # suffix of what is of no use elsewhere


class RemoteFileError(ImpastoError, OSError):
    """A URL that cannot be read or written."""


def find_scheme(text: str) -> str:
    """Return ``s3`` of ``s3://bucket/folder``; nothing of what is no URL."""
    found = _URL.match(text)
    return found[1].lower() if found else ""


def find_local(url: str) -> str:
    """Return the path of a ``file://`` URL."""
    rest = url.partition("://")[2]
    host, slash, path = rest.partition("/")
    if host not in ("", "localhost") or not slash:
        raise OptionError(f"{url!r} names no file of this machine; give file:///PATH")
    return url2pathname(f"/{path}")


def open_store(url: str) -> Any:
    """Return what reads and writes files of a URL's kind."""
    scheme = find_scheme(url)
    if scheme in _PAGES:
        raise OptionError(f"{url!r} is a page: fetch it first; stores of files are read, as s3://")
    fsspec = require("fsspec", "a URL needs fsspec", extra="cloud")
    try:
        return fsspec.url_to_fs(url)[0]
    except ImportError:
        raise describe_missing(f"{scheme}:// needs a library of its own", extra="cloud") from None
    except ValueError:
        raise OptionError(f"{url!r} is no URL that is known: there is no {scheme}://") from None
    except Exception as error:
        raise _explain("open", url, error) from None


def _explain(what: str, url: str, error: Exception) -> RemoteFileError:
    reason = " ".join(describe_reason(error).split()) or type(error).__name__.lower()
    return RemoteFileError(f"cannot {what} {url!r}: {reason}")


class RemoteCopy:
    """A folder of this machine that stands for a store of files."""

    def __init__(self, store: Any, scheme: str, folder: Path) -> None:
        self.store, self.scheme, self.folder = store, scheme, folder
        self._known: dict[str, tuple[int, int]] = {}  # files as both have them, by their paths
        self._sent: set[str] = set()
        self._lock = threading.Lock()

    # --- from there

    def fetch(self, url: str) -> str:
        """Copy what a URL names, if it is there; return its path here, which may be a pattern."""
        root = self.store._strip_protocol(url).strip("/")
        try:
            for name in self._list(self.store.root_marker + root):
                self._fetch_file(name)
        except ImpastoError:
            raise
        except Exception as error:
            raise _explain("read", url, error) from None
        path = self._place(root)
        path.parent.mkdir(parents=True, exist_ok=True)
        return str(path)

    def _list(self, root: str) -> list[str]:
        """Return the files that a path names: itself, those below it, or those of a pattern."""
        if self.store.isfile(root):
            return [root]
        if self.store.isdir(root):
            self._place(root).mkdir(parents=True, exist_ok=True)
            return list(self.store.find(root))
        if glob.has_magic(root):
            return [path for path in self.store.glob(root) if self.store.isfile(path)]
        return []

    def _fetch_file(self, path: str) -> None:
        place, name = self._place(path), path.strip("/")
        if name in self._known or is_hidden(PurePosixPath(name)):
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        self.store.get_file(path, str(place))
        self._known[name] = _look_at(place)

    def _place(self, path: str) -> Path:
        """Return where a path of the store lies here, which is below the folder."""
        parts = PurePosixPath(path.strip("/")).parts
        if any(part in ("..", ".") or "\0" in part for part in parts):
            raise RemoteFileError(f"{self.scheme}://{path} has a name that no file here can have")
        return self.folder.joinpath(*parts)

    # --- to there

    def send(self) -> None:
        """Write what is new or changed there, and remove what was written and is gone."""
        with self._lock:
            here = set()
            for path in sorted(self.folder.rglob("*")):
                name = path.relative_to(self.folder).as_posix()
                if path.suffix == _STAYS or is_hidden(PurePosixPath(name)) or not path.is_file():
                    continue
                here.add(name)
                self._send_file(name, path)
            for name in sorted(self._sent - here):
                self._do("remove", name, self.store.rm_file)
                self._sent.discard(name)
                self._known.pop(name, None)

    def _send_file(self, name: str, path: Path) -> None:
        try:
            state = _look_at(path)
        except FileNotFoundError:  # it was taken away meanwhile
            return
        if self._known.get(name) == state:
            return
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return
        self._do("write", name, lambda place: self._write(place, content))
        self._known[name] = state
        self._sent.add(name)

    def _write(self, place: str, content: bytes) -> None:
        """Write a file in one step."""
        self.store.makedirs(self.store._parent(place), exist_ok=True)
        self.store.pipe_file(place, content)

    def _do(self, what: str, name: str, act: Callable[[str], object]) -> None:
        try:
            act(self.store.root_marker + name)
        except Exception as error:
            raise _explain(what, f"{self.scheme}://{name}", error) from None


def is_hidden(path: PurePosixPath) -> bool:
    """Return whether a file is not for its user, as one that is not whole yet."""
    return any(part.startswith(".") for part in path.parts)


def _look_at(path: Path) -> tuple[int, int]:
    """Return what changes when a file does."""
    found = path.stat()
    return found.st_mtime_ns, found.st_size
