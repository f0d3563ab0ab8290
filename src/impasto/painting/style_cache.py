"""Measured statistics of styles, kept for other photographs and, in a folder, for other runs."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from impasto.errors import OptionError
from impasto.losses.style_loss import Statistics
from impasto.networks.weights import cache_folder
from impasto.system.files import replacing

Measured = list[Statistics]


def keep_targets() -> Targets:
    """Return the measurements in the user's cache folder, kept for the next time."""
    return Targets(cache_folder() / "targets")


class Targets:
    """Measurements by a fingerprint of all that they depend on; the oldest go first.

    Without a folder they live as long as this object. A folder is shared by processes: files are
    whole or absent, and one that cannot be read or written is done without.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        most: int = 32,
        most_bytes: int = 2**28,
    ) -> None:
        self.folder = None if folder is None else Path(folder)
        self.most, self.most_bytes = most, most_bytes
        self.known: dict[str, Measured] = {}

    def get(self, key: str) -> Measured | None:
        """Return a measurement, if it is known here or in the folder."""
        if key not in self.known and self.folder is not None:
            path = self._path(key)
            with suppress(OSError, SafetensorError, ValueError):
                if measured := unpack(load_file(path)):
                    self._hold(key, measured)
                os.utime(path)  # used: the last to go
        return self.known.get(key)

    def put(self, key: str, measured: Measured) -> None:
        """Keep a measurement, here and in the folder."""
        self._hold(key, measured)
        if self.folder is None:
            return
        path = self._path(key)
        with suppress(OSError, SafetensorError, OptionError):
            self.folder.mkdir(parents=True, exist_ok=True)
            with replacing(path) as beside:
                save_file(pack(measured), beside)
            self._make_room()

    def _hold(self, key: str, measured: Measured) -> None:
        self.known[key] = measured
        while len(self.known) > 1 and self.is_full():
            del self.known[next(iter(self.known))]

    def is_full(self) -> bool:
        """Return whether there is more than may be kept."""
        tensors = (t for each in self.known.values() for kept in each for t in kept)
        return len(self.known) > self.most or sum(t.nbytes for t in tensors) > self.most_bytes

    def _path(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{key}.safetensors"

    def _make_room(self) -> None:
        """Remove the oldest files, until no more bytes are left than are allowed in memory."""
        assert self.folder is not None
        files = [(path.stat(), path) for path in self.folder.glob("*.safetensors")]
        files.sort(key=lambda pair: pair[0].st_mtime)
        total = sum(facts.st_size for facts, _ in files)
        for facts, path in files[:-1]:
            if total <= self.most_bytes:
                return
            path.unlink(missing_ok=True)
            total -= facts.st_size


def pack(measured: Measured) -> dict[str, Tensor]:
    """Return a measurement as tensors by name."""
    return {
        f"{i}.{j}": tensor.detach().cpu().contiguous().clone()  # the file's tensors share nothing
        for i, statistics in enumerate(measured)
        for j, tensor in enumerate(statistics)
    }


def unpack(tensors: dict[str, Tensor]) -> Measured:
    """Return the measurement that was packed."""
    measured: dict[int, dict[int, Tensor]] = {}
    for name, tensor in tensors.items():
        loss, place = map(int, name.split("."))
        # Copied: sums come out otherwise where numbers lie otherwise in memory.
        measured.setdefault(loss, {})[place] = tensor.clone()
    return [
        tuple(measured[loss][place] for place in sorted(measured[loss]))
        for loss in sorted(measured)
    ]
