"""The command line: flags -> operation. Only this room prints."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, CycloptsError, Parameter
from pydantic import ValidationError

from impasto.errors import ImpastoError, MissingFileError, OptionError
from impasto.operations import OPERATIONS
from impasto.options import PaintOptions, describe_error, list_recipes, read_recipe_file

if TYPE_CHECKING:
    from rich.progress import Progress

    from impasto.painter import Painting, Step

INTERRUPTED = 130

app = App(
    name="impasto",
    help="Paint photographs in the manner of a picture.",
    default_parameter=Parameter(negative_iterable=()),
    help_format="plaintext",  # others load a parser for each help page
    version=lambda: __import__("impasto").__version__,
)
weights = App(name="weights", help="Weight files: list, fetch, import, verify, path.")
app.command(weights)


def say(text: str) -> None:
    """To the user, beside the output that a program might read."""
    print(text, file=sys.stderr)


# --- paint --------------------------------------------------------------------------------------


@app.command
def paint(
    content: str,
    /,
    *,
    style: Annotated[str, Parameter(alias="-s")],
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    recipe: str | None = None,
    history: Path | None = None,
    plot: Path | None = None,
    metadata: bool = True,
    quiet: Annotated[bool, Parameter(alias="-q", negative=())] = False,
    options: Annotated[PaintOptions, Parameter(name="*")] = PaintOptions(),  # noqa: B008
) -> int:
    """Paint a photograph in the manner of a picture.

    Parameters
    ----------
    content
        The photograph.
    style
        The picture in whose manner it is painted.
    output
        Where the painting goes; its name ends in .png, .jpg, .webp or .tif. CONTENT-STYLE.png here
        if not given.
    recipe
        Options to begin with: a name from 'impasto recipes', a .toml file, or a picture that
        Impasto painted.
    history
        Write the losses of every step to this .csv file.
    plot
        Draw the losses to this .png, .svg or .pdf file.
    metadata
        Keep the recipe inside the painting.
    quiet
        Say nothing but errors.
    """
    output = output or Path(f"{Path(content).stem}-{Path(style).stem}.png")
    options = apply_recipe(recipe, options)
    check_outputs(output, history, plot)
    work = OPERATIONS["paint"].start(content, style, options=options)
    if not quiet:
        for note in work.notes:
            say(f"note: {note}")
        width, height = work.size
        say(f"painting {width} x {height} with {options.backbone} on {work.machine.describe()}")
    finished = run_steps(work.steps(), options.steps, quiet=quiet)
    result = work.result()
    if not result.history:
        say("stopped before the first step; nothing was written")
        return INTERRUPTED
    for note in result.save(output, metadata=metadata):
        say(f"note: {note}")
    if history is not None:
        from impasto.painter import write_history

        write_history(result, history)
    if plot is not None:
        from impasto.plots import plot_losses, save_figure

        save_figure(plot_losses(result.history), plot)
    if not quiet:
        say(describe_result(result, output, finished=finished))
    return 0 if finished else INTERRUPTED


def apply_recipe(recipe: str | None, given: PaintOptions) -> PaintOptions:
    """Default, then recipe, then what the user said."""
    if recipe is None:
        return given
    if Path(recipe).suffix.lower() in (".toml", ".json", "") or recipe in list_recipes():
        values = read_recipe_file(recipe)
    else:
        values = read_picture_recipe(recipe)
    said = {name: getattr(given, name) for name in given.model_fields_set}
    return PaintOptions.read({**values, **said})


def read_picture_recipe(path: str) -> dict[str, Any]:
    from impasto.images import read_recipe
    from impasto.options import parse_recipe

    text = read_recipe(path)
    if text is None:
        raise OptionError(f"{path!r} carries no recipe")
    return parse_recipe(text, path)


def check_outputs(picture: Path, *others: Path | None) -> None:
    """What cannot be written is said before the work, not after it."""
    from impasto.images import check_writable

    check_writable(picture)
    for path in others:
        if path is not None and not path.parent.is_dir():
            raise MissingFileError(
                f"there is no folder {str(path.parent)!r} to write {path.name} to"
            )


def run_steps(steps: Iterable[Step], count: int, *, quiet: bool) -> bool:
    """Do the work behind a progress bar; whether it came to its end."""
    with make_progress(quiet) as progress:
        task = progress.add_task("", total=count, losses="")
        try:
            for step in steps:
                losses = (
                    f"{step.size[0]} x {step.size[1]}  "
                    f"style {step.style:.3g}  content {step.content:.3g}"
                )
                progress.update(task, completed=step.number, losses=losses)
        except KeyboardInterrupt:
            return False
    return True


def make_progress(quiet: bool) -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        BarColumn(bar_width=24),
        TextColumn("{task.completed}/{task.total}  {task.fields[losses]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True, quiet=quiet),
    )


def describe_result(result: Painting, output: Path, *, finished: bool) -> str:
    last = result.history[-1]
    width, height = result.pixels.shape[-1], result.pixels.shape[-2]
    what = "painted" if finished else "stopped; the best so far is"
    return f"{what} {output} ({width} x {height}) in {last.number} steps, {last.seconds:.1f} s"


# --- what there is ------------------------------------------------------------------------------


@app.command
def recipes() -> None:
    """The recipes that --recipe knows by name."""
    from rich.table import Table

    table = Table("recipe", "what it is", box=None)
    for name, about in list_recipes().items():
        table.add_row(name, about)
    print_table(table)


@app.command
def samples(folder: Path, /, *, size: int = 512) -> None:
    """Write pictures to begin with: photographs, and style pictures that Impasto draws itself.

    Parameters
    ----------
    folder
        Where they go; made if it is not there.
    size
        Side of the style pictures in pixels.
    """
    from impasto.samples import write_samples

    for path in write_samples(folder, size=size):
        print(path)


@app.command
def doctor() -> None:
    """What this machine has (device, libraries, weights, memory), and what that means."""
    from rich.table import Table

    from impasto.doctor import examine

    table = Table("what", "found", box=None, show_header=False)
    for what, found in examine():
        table.add_row(what, found)
    print_table(table)


def print_table(table: Any) -> None:
    from rich.console import Console

    Console(soft_wrap=not sys.stdout.isatty(), highlight=False).print(table)


# --- weights ------------------------------------------------------------------------------------


@weights.command(name="list")
def list_weights() -> None:
    """The weight files that Impasto knows, and which of them are here."""
    from impasto.weights import WEIGHTS, is_stored

    for name, file in WEIGHTS.items():
        size = f", {file.size / 1e6:.0f} MB" if file.size else ""
        print(f"{name:18} {'here' if is_stored(name) else 'not here'}{size}: {file.note}")
        print(f"{'':18} {file.licence}{f'; {file.url}' if file.url else ''}")


@weights.command
def fetch(name: str, /, *, offline: Annotated[bool, Parameter(negative=())] = False) -> None:
    """Download a weight file and keep it.

    Parameters
    ----------
    name
        A name from 'impasto weights list'.
    offline
        Touch no network: fail if it is not here already. IMPASTO_OFFLINE=1 does the same.
    """
    from impasto.weights import fetch_weights

    with make_progress(quiet=False) as progress:
        task = progress.add_task("", total=None, losses=name)

        def show(done: int, size: int | None) -> None:
            progress.update(task, completed=done, total=size)

        path = fetch_weights(name, offline=offline, on_progress=show)
    print(path)


@weights.command(name="import")
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
    from impasto.weights import import_weights

    stored, path = import_weights(file, name=name, any_hash=any_hash)
    print(f"{stored}: {path}")


@weights.command
def verify(*names: str) -> None:
    """Check stored weight files against the hashes recorded for them.

    Parameters
    ----------
    names
        Which; all that are here if none is named.
    """
    from impasto.weights import WEIGHTS, is_stored, verify_weights

    for name in names or [name for name in WEIGHTS if is_stored(name)]:
        print(f"{name}: {verify_weights(name)}")


@weights.command
def path(name: str | None = None, /) -> None:
    """Where weight files are kept, or where one of them is.

    Parameters
    ----------
    name
        A name from 'impasto weights list'.
    """
    from impasto.weights import cache_folder, stored_path

    print(cache_folder() if name is None else stored_path(name))


# --- running ------------------------------------------------------------------------------------


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code. Errors are one line on standard error."""
    try:
        code = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except ImpastoError as error:
        say(f"impasto: {error}")
        return error.exit_code
    except ValidationError as error:
        say(f"impasto: {describe_error(error, list(PaintOptions.model_fields))}")
        return OptionError.exit_code
    except CycloptsError as error:
        return report_usage(error)
    except KeyboardInterrupt:
        say("stopped")
        return INTERRUPTED
    return code if isinstance(code, int) else 0


def report_usage(error: CycloptsError) -> int:
    """A mistake in the flags, in one line; pydantic's is told in our words."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ValidationError):
        cause = cause.__cause__ or cause.__context__
    text = describe_error(cause, list(PaintOptions.model_fields)) if cause else str(error)
    say(f"impasto: {' '.join(text.split())}")
    return OptionError.exit_code


def main() -> None:
    sys.exit(run())
