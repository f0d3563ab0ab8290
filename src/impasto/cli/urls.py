"""URLs on the command line: copies of this machine stand in for them while a command works.

What it makes is sent where the URL leads as it is made, file by file; only this process does that.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from impasto.cli.console import showing_as
from impasto.errors import ImpastoError, OptionError

if TYPE_CHECKING:
    from impasto.system.remote_files import RemoteCopy

_OFTEN = 1.0  # seconds between two looks at what is new
_ARGUMENT = re.compile(r"(--[a-z-]+=)?(.*)", re.DOTALL)  # --output=s3://bucket/folder


@contextmanager
def standing_in(arguments: Sequence[str]) -> Iterator[list[str]]:
    """Yield a command's arguments with paths in place of URLs, and send what it makes.

    Where that fails, what was made is left here, and the error says where.
    """
    if not _may_name_files(arguments):
        yield list(arguments)
        return
    from impasto.cluster.worker import open_node_folder

    folder = Path(tempfile.mkdtemp(dir=open_node_folder(), prefix="urls-"))
    copies: dict[str, RemoteCopy] = {}
    left: list[str] = []
    names: dict[str, str] = {}
    try:
        given = [_replace_url(each, folder, copies) for each in arguments]
        names |= {f"{copy.folder}/": f"{copy.scheme}://" for copy in copies.values()}
        with showing_as(names), _sending(list(copies.values()), left):
            yield given
    except ImpastoError as error:
        kept = [f"what was made is in {str(folder)!r}"] if left else []
        error.args = ("; ".join([_name_urls(str(error), names), *kept]),)
        raise
    finally:
        if not left:
            shutil.rmtree(folder, ignore_errors=True)


def _may_name_files(arguments: Sequence[str]) -> bool:
    """Return whether URLs among the arguments are of files that a command reads or writes."""
    if not any("://" in each for each in arguments):
        return False
    from impasto.operations import OPERATIONS

    return arguments[0] in (*OPERATIONS, "recipe")


def _replace_url(argument: str, folder: Path, copies: dict[str, RemoteCopy]) -> str:
    """Return an argument with a path in place of its URL, if it is or ends in one."""
    from impasto.system.remote_files import RemoteCopy, find_local, find_scheme, open_store

    found = _ARGUMENT.fullmatch(argument)
    flag, url = (found[1] or "", found[2]) if found else ("", argument)
    scheme = find_scheme(url)
    if not scheme:
        return argument
    if scheme == "file":
        return flag + find_local(url)
    if scheme != "memory":
        _refuse_offline(url)
    if scheme not in copies:
        copies[scheme] = RemoteCopy(open_store(url), scheme, folder / scheme)
    elif open_store(url) is not copies[scheme].store:
        raise OptionError(
            f"{url!r} is on another server than an earlier {scheme}://; copy one first"
        )
    return flag + copies[scheme].fetch(url)


def _refuse_offline(url: str) -> None:
    from impasto.networks.weights import is_offline

    if is_offline():
        raise OptionError(f"{url!r} is not read: IMPASTO_OFFLINE says to touch no network")


def _name_urls(text: str, names: Mapping[str, str]) -> str:
    for path, url in names.items():
        text = text.replace(path, url)
    return text


@contextmanager
def _sending(copies: Sequence[RemoteCopy], left: list[str]) -> Iterator[None]:
    """Send what is new while a command works, and the rest at its end, however that comes.

    ``left`` has an entry as long as something may not be there.
    """
    ended = threading.Event()

    def keep_sending() -> None:
        while not ended.wait(_OFTEN):
            with suppress(ImpastoError):  # tried again, and told at the end
                for copy in copies:
                    copy.send()

    thread = threading.Thread(target=keep_sending, name="sending", daemon=True)
    thread.start()
    left.append("what is new")
    try:
        yield
    finally:
        ended.set()
        thread.join()
        for copy in copies:
            copy.send()
        left.clear()
