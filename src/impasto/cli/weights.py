"""The commands for weight files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from impasto.cli.console import make_progress, print_line, unwrapped

weights = App(name="weights", help="Weight files: list, fetch, import, verify, path.")


# --- weights ------------------------------------------------------------------------------------


@weights.command(name="list")
def list_weights() -> None:
    """List the weight files that Impasto knows, and which of them are here."""
    from impasto.networks.weights import WEIGHTS, is_stored

    for name, file in WEIGHTS.items():
        size = f", {file.size / 1e6:.0f} MB" if file.size else ""
        print_line(f"{name:18} {'here' if is_stored(name) else 'not here'}{size}: {file.note}")
        print_line(f"{'':18} {file.licence}{f'; {file.url}' if file.url else ''}")


@weights.command
@unwrapped
def fetch(name: str, /, *, offline: Annotated[bool, Parameter(negative=())] = False) -> None:
    """Download a weight file and keep it.

    Parameters
    ----------
    name
        A name from 'impasto weights list'.
    offline
        Touch no network: fail if it is not here already. IMPASTO_OFFLINE=1 does the same.
    """
    from impasto.networks.weights import fetch_weights, find_entry

    find_entry(name)  # an unknown name is told before there is a progress bar
    with make_progress(quiet=False) as progress:
        task = progress.add_task("", total=None, losses=name)

        def show(done: int, size: int | None) -> None:
            progress.update(task, completed=done, total=size)

        path = fetch_weights(name, offline=offline, on_progress=show)
    print_line(path)


@weights.command(name="import")
@unwrapped
def import_file(
    file: Path,
    /,
    *,
    name: str | None = None,
    any_hash: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Take in a weight file that you have, in its publisher's layout.

    Parameters
    ----------
    file
        A .pth, .h5 or .safetensors file.
    name
        Which file of 'impasto weights list' it is, where that cannot be told from the file.
    any_hash
        Take it although it is not, byte for byte, what its publisher gives out.
    """
    from impasto.networks.weights import import_weights

    stored, path = import_weights(file, name=name, any_hash=any_hash)
    print_line(f"{stored}: {path}")


@weights.command
def verify(*names: str) -> None:
    """Check stored weight files against the hashes recorded for them.

    Parameters
    ----------
    names
        Which; all that are here if none is named.
    """
    from impasto.networks.weights import WEIGHTS, is_stored, verify_weights

    for name in names or [name for name in WEIGHTS if is_stored(name)]:
        print_line(f"{name}: {verify_weights(name)}")


@weights.command
def path(name: str | None = None, /) -> None:
    """Where weight files are kept, or where one of them is.

    Parameters
    ----------
    name
        A name from 'impasto weights list'.
    """
    from impasto.networks.weights import cache_folder, stored_path

    print_line(cache_folder() if name is None else stored_path(name))
