"""What a command writes: refused before the work where it cannot be, and said after it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from impasto.cli.flags import Extras
from impasto.errors import OptionError
from impasto.operations import DEFAULT_OPERATION, find_operation
from impasto.system.files import check_place, resolve_path
from impasto.work import Request

if TYPE_CHECKING:
    from impasto.painting.result import Painting

NAME_ANOTHER = "name another"


def list_read(request: Request) -> list[Path]:
    """Return every file that a request may read: its inputs, and what its options name."""
    inputs = [value for values in request.inputs.values() for value in values]
    named = [name for names in request.options.files().values() for name in names]
    return [Path(name) for name in (*inputs, *named)]


def check_outputs(
    output: Path, read: Iterable[Path], extras: Extras, *, mend: str = NAME_ANOTHER
) -> None:
    """Raise an error, before the work, where something cannot be written.

    ``mend`` is what else might be done where a picture that is read would be written over.
    """
    from impasto.images.writing import check_writable

    check_writable(output)
    if extras.film is not None:
        from impasto.video.film import check_film

        check_film(extras.film)
    if extras.plot is not None:
        from impasto.figures.plots import check_figure

        check_figure(extras.plot)
    if extras.history is not None:
        check_place(extras.history, "losses")
    check_apart(output, read, extras, mend)


def check_apart(output: Path, read: Iterable[Path], extras: Extras, mend: str) -> None:
    """Raise an error where a file that is read would be written over, or one is written twice."""
    read_files = {resolve_path(path) for path in read}
    written: dict[Path, str] = {}
    for name, path in {"output": output, **extras.list_written()}.items():
        refuse_overwriting(f"--{name}", path, read_files, mend)
        if other := written.get(resolve_path(path)):
            raise OptionError(f"--{name} and --{other} are the same file, {str(path)!r}")
        written[resolve_path(path)] = name
    if extras.every:
        output = resolve_path(output)
        growth = re.compile(rf"{re.escape(output.stem)}-\d{{4,}}{re.escape(output.suffix)}")
        for path in (*read_files, *written):
            if path.parent == output.parent and growth.fullmatch(path.name):
                raise OptionError(f"--every could write over {str(path.name)!r}; rename it")


def refuse_overwriting(what: str, path: Path, read: Iterable[Path], mend: str) -> None:
    """Raise an error where ``path`` is one of the files, resolved, that are read."""
    if resolve_path(path) in read:
        raise OptionError(
            f"{what} {str(path)!r} is one of the pictures that are read, and would be written "
            f"over; {mend}"
        )


def check_folder(folder: Path, what: str) -> None:
    """Raise an error where a folder's name is a picture's, or the folder one is in.

    ``what`` goes there: "several layers".
    """
    from impasto.images.writing import WRITABLE

    if folder == Path():  # also by an empty name
        raise OptionError(f"{what} go to a folder of their own; name one")
    if folder.suffix.lower() in WRITABLE and not folder.is_dir():
        raise OptionError(f"{what} go to a folder; {folder.name!r} names a picture")


def check_named(*pictures: str) -> None:
    """Raise an error where a name is empty: it would be that of the folder one is in."""
    if not all(pictures):
        raise OptionError("a picture has an empty name")


def write_losses(result: Painting, extras: Extras) -> None:
    """Write the losses as CSV and as a plot, if that was asked for."""
    if extras.history is not None:
        from impasto.painting.result import write_history

        write_history(result, extras.history)
    if extras.plot is not None:
        from impasto.figures.plots import plot_losses, save_figure

        save_figure(plot_losses(result.history), extras.plot)


def describe_result(result: Painting, output: Path, *, finished: bool, seconds: float) -> str:
    """Return the line that says what was written, in which time."""
    width, height = result.pixels.shape[-1], result.pixels.shape[-2]
    done = find_operation(result.recipe.get("operation", DEFAULT_OPERATION)).done
    what = f"{done if finished else 'stopped; the best so far is'} {output} ({width} x {height})"
    if result.recipe["options"].get("only_color"):
        return f"{what}, colours alone"
    if not result.history:
        return f"{what} in {seconds:.1f} s"
    last = result.history[-1]
    return f"{what} in {last.number} steps, {last.seconds:.1f} s"
