"""The commands that make many pictures: studies, sweeps, searches, data sets, and their report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number
from pydantic import Field

from impasto.cli.console import print_line, say, show_panels, unwrapped
from impasto.cli.explore import follow_folder
from impasto.cli.outputs import Extras, check_folder, check_named
from impasto.cli.paint import PANELS as PAINT_PANELS
from impasto.cli.recipe_inputs import apply_recipe
from impasto.cli.running import INTERRUPTED, follow_moments
from impasto.datasets.options import AugmentOptions
from impasto.errors import OptionError
from impasto.lab.options import SweepOptions, TuneOptions
from impasto.operations import OPERATIONS
from impasto.options import Options
from impasto.painting.options import PaintOptions

show_help = show_panels(
    {
        "--output": "Pictures",
        "--style": "Pictures",
        "--vary": "What is varied",
        "--trials": "What is searched",
    }
    | PAINT_PANELS
)
Quiet = Annotated[bool, Parameter(alias="-q", negative=())]
Styles = Annotated[list[str] | None, Parameter(alias="-s")]


class Manner(Options):
    """What studies, sweeps and searches share."""

    style: Annotated[tuple[str, ...], Parameter(alias="-s")] = Field(
        default=(),
        description="The picture in whose manner it is painted; repeated, several are blended.",
    )
    recipe: str | None = Field(
        default=None,
        description="Options to begin with: a name from 'impasto recipes', a .toml file or a "
        "painting.",
    )
    quiet: Quiet = Field(default=False, description="Say nothing but errors.")


@unwrapped
def sweep(
    content: str,
    /,
    *more: str,
    output: Annotated[Path, Parameter(alias="-o")] = Path("sweep"),
    film: Path | None = None,
    manner: Annotated[Manner, Parameter(name="*")] = Manner(),  # noqa: B008
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
        Show the pictures one after the other in this .gif, .webp or .mp4 file.
    """
    styles = name_styles(content, more, manner)
    return paint_all("sweep", (content, styles), options, output, manner, film=film)


@unwrapped
def study(
    subject: Literal["layers", "weights", "starts", "steps", "depth"],
    content: str,
    /,
    *more: str,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    manner: Annotated[Manner, Parameter(name="*")] = Manner(),  # noqa: B008
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
    inputs = (subject, content, name_styles(content, more, manner))
    return paint_all("study", inputs, options, output or Path(f"study-{subject}"), manner)


@unwrapped
def tune(
    content: str,
    /,
    *more: str,
    output: Annotated[Path, Parameter(alias="-o")] = Path("tuned"),
    manner: Annotated[Manner, Parameter(name="*")] = Manner(),  # noqa: B008
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
    styles = name_styles(content, more, manner)
    return paint_all("tune", (content, styles), options, output, manner)


def paint_all(
    operation: str,
    inputs: tuple[Any, ...],
    options: PaintOptions,
    output: Path,
    manner: Manner,
    **more: Any,
) -> int:
    """Do what paints many pictures into a folder."""
    options = apply_recipe(manner.recipe, options, "paint")
    check_folder(output, "many pictures")
    work = OPERATIONS[operation].start(*inputs, options=options, folder=output, **more)
    return follow_folder(work, output, Extras(quiet=manner.quiet))


@unwrapped
def augment(
    source: Path,
    out: Path,
    /,
    *,
    styles: Styles = None,
    jobs: Annotated[int, Parameter(validator=Number(gte=1))] = 1,
    quiet: Quiet = False,
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
    jobs
        How many processes work at the same time; the files are the same.
    quiet
        Say nothing but errors.
    """
    check_named(*(styles or ()))
    check_folder(out, "copies")
    work = OPERATIONS["augment"].start(source, out, styles or (), options=options, jobs=jobs)
    finished = follow_moments(work, quiet=quiet)
    done = work.result()
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
def report(folder: Path, /) -> None:
    """Tell a study, sweep or search in one HTML page that needs nothing else.

    Parameters
    ----------
    folder
        What 'impasto study', 'sweep' or 'tune' made; the page is FOLDER/report.html.
    """
    from impasto.lab.report import write_report

    print_line(write_report(folder))


def name_styles(content: str, more: Sequence[str], manner: Manner) -> list[str]:
    """The styles, whether they stand after the photograph or after --style."""
    styles = [*more, *manner.style]
    check_named(content, *styles)
    if not styles:
        raise OptionError("a picture is needed to paint after: CONTENT STYLE, or --style PICTURE")
    return styles
