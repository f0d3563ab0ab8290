"""Libraries that may be missing: what needs one says so in a line, with what installs it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

from impasto.errors import DependencyError


def require(library: str, need: str, *, extra: str, instead: str = "") -> ModuleType:
    """Return an optional library, imported.

    Where it is missing the error says what it is for, as in ``need`` "an .mp4 needs PyAV", which of
    the package's extras brings it, and what would do ``instead``.
    """
    try:
        return importlib.import_module(library)
    except ImportError:
        raise describe_missing(need, extra=extra, instead=instead) from None


def describe_missing(need: str, *, extra: str, instead: str = "") -> DependencyError:
    """Return the error for a library that is missing."""
    return DependencyError(
        f"{need}, which is not installed; pip install 'impasto[{extra}]'{instead}"
    )


def find_library(library: str) -> Path | None:
    """Return the folder of a library without importing it; None if it is not installed."""
    found = importlib.util.find_spec(library)
    folders = found.submodule_search_locations if found else None
    return Path(folders[0]) if folders else None
