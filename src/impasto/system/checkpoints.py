"""The state of a broken-off run in one file: tensors by name, and what is no tensor beside them.

A safetensors file, whole or absent, that only the run with the same fingerprint takes up again.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from impasto.errors import OptionError, describe_reason
from impasto.system.files import check_place, hash_file, replacing, resolve_path

SHARE = 0.05  # of the time, at most, goes into saving: the file is large
FIRST_COST = 0.25  # seconds that a save is taken to last before one was measured


def fingerprint(
    facts: object, tensors: Iterable[Tensor | None] = (), files: Iterable[Path] = ()
) -> str:
    """Return a digest of all that a result depends on.

    ``facts`` is plain data (strings, numbers, lists, mappings, dataclasses of them); of tensors
    type, shape and values count, and of files their bytes and not their names.
    """
    digest = hashlib.sha256(repr(facts).encode())
    for tensor in tensors:
        kind = None if tensor is None else (tensor.dtype, tuple(tensor.shape))
        digest.update(repr(kind).encode())
        if tensor is not None:
            flat = tensor.detach().cpu().contiguous().flatten()
            digest.update(flat.view(torch.uint8).numpy().data)
    for path in files:
        digest.update(hash_file(path).encode())
    return digest.hexdigest()


class Checkpoint:
    """The file that a run saves its state to, and how often."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = resolve_path(check_place(path, "a checkpoint"))
        self.facts: dict[str, Any] = {}  # what the file says beside its tensors, if it is there
        self.run = self._read_metadata()
        self._saved, self._cost = time.perf_counter(), FIRST_COST

    def _read_metadata(self) -> str | None:
        """Read the digest of the run that the file is of; None if there is no file yet."""
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, "pt") as file:
                metadata = file.metadata() or {}
            self.facts = json.loads(metadata["facts"])
            return str(metadata["run"])
        except (SafetensorError, OSError, KeyError, ValueError):
            raise OptionError(
                f"{self.path.name!r} is no checkpoint of Impasto, or is damaged; "
                "name another file, or remove it"
            ) from None

    def load(self, run: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Read what the run that has this digest saved; None if nothing was yet."""
        if self.run is None:
            return None
        if self.run != run:
            raise OptionError(
                f"checkpoint {self.path.name!r} is of another painting: other pictures, options or "
                "version; name another file, or remove it"
            )
        with safe_open(self.path, "pt") as file:
            # Copied: sums come out otherwise where numbers lie otherwise in memory.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        return tensors, self.facts

    def is_due(self) -> bool:
        """Return whether saving again would keep to its share of the time."""
        return (time.perf_counter() - self._saved) * SHARE > self._cost

    def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], run: str) -> None:
        """Write the state of the run that has this digest, whole or not at all."""
        began = time.perf_counter()
        kept = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
        try:
            with replacing(self.path, self._beside()) as beside:
                save_file(kept, beside, {"run": run, "facts": json.dumps(facts)})
        except (SafetensorError, OSError) as error:
            reason = describe_reason(error)
            raise OptionError(f"cannot write checkpoint {self.path.name!r}: {reason}") from error
        self._saved = time.perf_counter()
        self._cost = max(0.05, self._saved - began)

    def remove(self) -> None:
        """Take the file away, as the work is done."""
        for path in (self.path, self._beside()):
            with suppress(FileNotFoundError):
                path.unlink()

    def _beside(self) -> Path:
        """Return a name that is always the same: what a killed process left is written over."""
        return self.path.with_name(f".{self.path.name}.part")
