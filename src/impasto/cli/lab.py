"""The commands that make many pictures: studies, sweeps, searches, data sets, and their report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from impasto.cli.console import INTERRUPTED, choose_tell, print_line, say, show_panels, unwrapped
from impasto.cli.flags import FolderFlags, OutputFlag, PlaceFlags, QuietFlag, StyleFlag
from impasto.cli.outputs import check_folder, check_named
from impasto.cli.paint import PAINT_PANELS
from impasto.cli.recipe_inputs import apply_recipe
from impasto.cli.running import Notes, drive, make_folder_of_pictures
from impasto.datasets.options import AugmentOptions
from impasto.errors import OptionError
from impasto.lab.options import ReportOptions, SweepOptions, TuneOptions
from impasto.operations import DEFAULT_OPERATION, find_operation
from impasto.painting.options import PaintOptions
from impasto.work import Request, finish

show_lab_help = show_panels(
    {
        "--output": "Pictures",
        "--style": "Pictures",
        "--vary": "What is varied",
        "--trials": "What is searched",
    }
    | PAINT_PANELS
)


@unwrapped
def sweep_command(
    content: str,
    /,
    *more: str,
    output: Annotated[Path, Parameter(alias="-o")] = Path("sweep"),
    film: Path | None = None,
    flags: Annotated[FolderFlags, Parameter(name="*")] = FolderFlags(),  # noqa: B008
    options: Annotated[SweepOptions, Parameter(name="*")] = SweepOptions(),  # noqa: B008
) -> int:
    """Paint a photograph with options crossed, measure every picture, and name the best.

    Parameters
    ----------
    content
        The photograph.
    more
        The style, where --style is not used.
    output
        The folder for the pictures, sheet, tables and plots. After a kill the same command goes on.
    film
        Show the pictures one after the other in this .gif, .webp, .mp4, .mov, .mkv or .webm file.
    """
    inputs = name_pictures(content, more, flags)
    return paint_all("sweep", inputs, options, output, flags, film=film)


@unwrapped
def study_command(
    subject: Literal["layers", "weights", "starts", "steps", "depth"],
    content: str,
    /,
    *more: str,
    output: OutputFlag = None,
    flags: Annotated[FolderFlags, Parameter(name="*")] = FolderFlags(),  # noqa: B008
    options: Annotated[SweepOptions, Parameter(name="*")] = SweepOptions(),  # noqa: B008
) -> int:
    """Make one of the papers' figures of your own pictures.

    Parameters
    ----------
    subject
        layers: the layer that keeps the content, by the style's weight. weights: the style's
        weight. starts: what the picture starts from. steps: how it grows, with the time it takes.
        depth: how many layers carry the style.
    content
        The photograph.
    more
        The style, where --style is not used.
    output
        The folder for the pictures, sheet, tables and plots; study-SUBJECT if not given. After a
        kill the same command goes on.
    """
    inputs = {"subject": (subject,), **name_pictures(content, more, flags)}
    return paint_all("study", inputs, options, output or Path(f"study-{subject}"), flags)


@unwrapped
def tune_command(
    content: str,
    /,
    *more: str,
    output: Annotated[Path, Parameter(alias="-o")] = Path("tuned"),
    flags: Annotated[FolderFlags, Parameter(name="*")] = FolderFlags(),  # noqa: B008
    options: Annotated[TuneOptions, Parameter(name="*")] = TuneOptions(),  # noqa: B008
) -> int:
    """Search for settings that come near to both, the style and the photograph.

    Parameters
    ----------
    content
        The photograph.
    more
        The style, where --style is not used.
    output
        The folder for the pictures, the front, and knee.toml, the recipe of the best bargain. After
        a kill the same command goes on; with more --trials it goes further.
    """
    return paint_all("tune", name_pictures(content, more, flags), options, output, flags)


def paint_all(
    operation: str,
    inputs: dict[str, tuple[str, ...]],
    options: PaintOptions,
    output: Path,
    flags: FolderFlags,
    *,
    film: Path | None = None,
) -> int:
    """Do what paints many pictures into a folder."""
    options = apply_recipe(flags.recipe, options, DEFAULT_OPERATION)
    check_folder(output, "many pictures")
    request = Request(inputs, options, output=output, film=film, place=flags.place)
    return make_folder_of_pictures(operation, request, quiet=flags.quiet)


def name_pictures(
    content: str, more: Sequence[str], flags: FolderFlags
) -> dict[str, tuple[str, ...]]:
    """Return photograph and styles, whether these stand after it or after --style."""
    styles = (*more, *flags.style)
    check_named(content, *styles)
    if not styles:
        raise OptionError("a picture is needed to paint after: CONTENT STYLE, or --style PICTURE")
    return {"content": (content,), "style": styles}


@unwrapped
def augment_command(
    source: Path,
    out: Path,
    /,
    *,
    styles: StyleFlag = None,
    quiet: QuietFlag = False,
    places: Annotated[PlaceFlags, Parameter(name="*")] = PlaceFlags(),  # noqa: B008
    options: Annotated[AugmentOptions, Parameter(name="*")] = AugmentOptions(),  # noqa: B008
) -> int:
    """Write painted and disturbed copies of a labelled set of pictures, with the same labels.

    Parameters
    ----------
    source
        A folder with a sub-folder for each class, or a .csv file with the columns path and label.
    out
        The folder that the copies go to, in the same order, with manifest.csv that says what was
        done to each. After a kill the same command goes on, to the same files.
    styles
        Pictures to paint after, one drawn by chance for each copy: a folder, a quoted pattern or a
        file; may be repeated.
    quiet
        Say nothing but errors.
    """
    check_named(*(styles or ()))
    check_folder(out, "copies")
    inputs = {"source": (str(source),), "styles": tuple(styles or ())}
    return write_copies(Request(inputs, options, output=out, place=places.place), quiet=quiet)


def write_copies(request: Request, *, quiet: bool) -> int:
    """Write the copies of a data set, and say how it went."""
    from impasto.datasets.augmentation import Augmented

    work = find_operation("augment").start(request)
    notes = Notes(choose_tell(quiet))
    notes(work.notes)
    finished = drive(work, quiet=quiet, notes=notes)
    notes(work.notes)
    done = work.result()
    assert isinstance(done, Augmented)
    for path, why in done.failed:
        say(f"impasto: {path}: {why}")
    if not quiet:
        what = "wrote" if finished else "stopped; wrote"
        kept = f", {done.kept} were there already" if done.kept else ""
        failed = f", {len(done.failed)} failed" if done.failed else ""
        speed = f" ({done.written / done.seconds:.0f} a second)" if done.written else ""
        say(f"{what} {done.written} pictures in {done.seconds:.1f} s{speed}{kept}{failed}")
        if not finished:
            say("the same command goes on from there")
    if not finished:
        return INTERRUPTED
    return OptionError.exit_code if done.failed else 0


@unwrapped
def report_command(folder: Path, /) -> None:
    """Tell a study, sweep or search in one HTML page that needs nothing else.

    Parameters
    ----------
    folder
        What 'impasto study', 'sweep' or 'tune' made; the page is FOLDER/report.html.
    """
    request = Request({"folder": (str(folder),)}, ReportOptions())
    print_line(finish(find_operation("report").start(request)))
