"""Files that are whole or absent: written beside their place, synced, renamed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
