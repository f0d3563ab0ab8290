"""The state of a broken-off run in one file: tensors by name, and what is no tensor beside them.

A safetensors file, whole or absent, that only the run it was made by takes up again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from impasto.errors import MissingFileError, OptionError
from impasto.files import replacing


def save_checkpoint(
    path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], run: str
) -> None:
    """Write the state of the run that has this digest."""
    metadata = {"run": run, "facts": json.dumps(facts)}
    with replacing(path) as beside:
        save_file({name: t.detach().contiguous() for name, t in tensors.items()}, beside, metadata)


def load_checkpoint(path: Path, run: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """What was saved; None if there is no such file yet."""
    if not path.exists():
        if not path.parent.is_dir():
            raise MissingFileError(f"no such folder: {str(path.parent)!r} (for {path.name!r})")
        return None
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise OptionError(f"{path.name!r} is no checkpoint of Impasto: {error}") from None
    if "run" not in metadata or "facts" not in metadata:
        raise OptionError(f"{path.name!r} is no checkpoint of Impasto")
    if metadata["run"] != run:
        raise OptionError(
            f"checkpoint {path.name!r} is of another painting: other pictures, options or version; "
            "name another file, or remove it"
        )
    return tensors, json.loads(metadata["facts"])
