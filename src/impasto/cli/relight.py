"""The command that relights photographs: one or several pictures to be like, or a table, in."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from impasto.cli.console import INTERRUPTED, say, show_panels, unwrapped
from impasto.cli.flags import BatchFlags, Extras, Habits, LikeFlag, OutputFlag
from impasto.cli.outputs import NAME_ANOTHER, check_outputs, list_read, refuse_overwriting
from impasto.cli.paint import PaintingBatch, paint_elsewhere, tell_idle
from impasto.cli.recipe_inputs import apply_recipe, find_input, find_likes
from impasto.cli.running import Notes, drive
from impasto.errors import OptionError
from impasto.images.folders import is_many
from impasto.jobs.batch import plan_batch
from impasto.operations import find_operation
from impasto.photoreal.options import RelightOptions
from impasto.system.files import check_place, resolve_path
from impasto.work import Request

if TYPE_CHECKING:
    from impasto.photoreal.relight import Relight

show_relight_help = show_panels(
    {
        "--like": "Pictures",
        "--lut": "Tables of colour, and regions shown",
        "--pairs": "Several photographs",
        "--metadata": "The rest",
        "--strength": "The light, and where it goes",
    }
)


@unwrapped
def relight_command(
    *content: str,
    like: LikeFlag = None,
    output: OutputFlag = None,
    recipe: str | None = None,
    lut: Path | None = None,
    show_regions: Path | None = None,
    batch: Annotated[BatchFlags, Parameter(name="*")] = BatchFlags(),  # noqa: B008
    habits: Annotated[Habits, Parameter(name="*")] = Habits(),  # noqa: B008
    options: Annotated[RelightOptions, Parameter(name="*")] = RelightOptions(),  # noqa: B008
) -> int:
    """Give a photograph the light and the colours of another one, region by region.

    Parameters
    ----------
    content
        The photograph; or several, a folder or a quoted pattern, to relight them all.
    like
        The picture whose light it takes; repeated, several are blended. A folder or a quoted
        pattern: a photograph for each.
    output
        Where it goes; its name ends in .png, .jpg, .webp or .tif. CONTENT-LIKE.png here if not
        given. A photograph of 16 bits stays one in .png and .tif. A folder, where there are
        several photographs.
    recipe
        Options to begin with: a .toml file, or a photograph that was relit so.
    lut
        With --like, a .cube file that is written: what happened to colours, for other programs.
        Without, a .cube file whose colours the photograph takes.
    show_regions
        Write the regions that were found, with their numbers, to this picture.
    """
    options = apply_recipe(recipe, options, "relight")
    lack = "relight needs a photograph"
    photos = [find_input(each, recipe, "content", lack, habits.tell) for each in content or (None,)]
    likes = [] if lut and not like and recipe is None else find_likes(like, recipe, habits.tell)
    if not likes and lut is None:
        raise OptionError("relight needs a picture to be like: --like PICTURE, or --lut TABLE")
    takes, given = ("like", likes) if likes else ("lut", [str(lut)])
    if len(photos) > 1 or any(map(is_many, (*photos, *likes))):
        refuse_for_several(likes, lut, show_regions)
        sources = output or Path("relit"), batch.pairs, batch.suffix
        tasks = plan_batch(photos, given, *sources, by_name=not likes, takes=takes)
        return PaintingBatch("relight", tasks, options, batch, habits).paint()
    stems = "-".join(Path(path).stem for path in (*photos, *given))
    output = output or Path(f"{stems}{batch.suffix}")
    request = Request({"content": tuple(photos), takes: tuple(given)}, options)
    check_relight_outputs(request, output, lut if likes else None, show_regions)
    if batch.place.is_cluster:
        refuse_for_several(likes, lut, show_regions, batch.place.kind)
        return paint_elsewhere("relight", request, output, batch, habits)
    tell_idle(batch, habits)
    return relight_one(request, output, lut if likes else None, show_regions, habits)


def relight_one(
    request: Request, output: Path, lut: Path | None, show_regions: Path | None, habits: Habits
) -> int:
    """Relight a photograph, and write all that was asked for; return the exit code."""
    began = time.perf_counter()
    work: Relight = find_operation("relight").start(request)  # type: ignore[assignment]
    notes = Notes(habits.tell)
    notes(work.notes)
    if not drive(work, quiet=habits.quiet):
        say("stopped; nothing was written")
        return INTERRUPTED
    result = work.result()
    notes([*work.notes, *result.save(output, metadata=habits.metadata)])
    if show_regions is not None:
        write_regions(work, show_regions)
    if lut is not None:
        notes(write_table(work, lut))
    width, height = work.content.size
    seconds = time.perf_counter() - began
    habits.tell(f"relit {output} ({width} x {height}) in {seconds:.1f} s")
    return 0


def refuse_for_several(
    likes: Sequence[str], lut: Path | None, show_regions: Path | None, on: str = ""
) -> None:
    """Raise an error where something is to be written that goes with one photograph alone.

    ``on`` is the cluster that it is sent to.
    """
    one, other = ("work on this machine", f"--on {on}") if on else ("one photograph", "several")
    if show_regions is not None:
        raise OptionError(f"--show-regions goes with {one}, not with {other}")
    if likes and lut is not None:
        raise OptionError(f"--lut with --like goes with {one}, not with {other}")


def check_relight_outputs(
    request: Request, output: Path, lut: Path | None, show_regions: Path | None
) -> None:
    """Raise an error, before the work, where something cannot be written."""
    from impasto.images.writing import check_writable
    from impasto.photoreal.lut import LUT_SUFFIX

    read = list_read(request)
    check_outputs(output, read, Extras())
    read_files = {resolve_path(path) for path in read} | {resolve_path(output)}
    if lut is not None:
        check_place(lut, "a table of colours", (LUT_SUFFIX,), OptionError)
        refuse_overwriting("--lut", lut, read_files, NAME_ANOTHER)
    if show_regions is not None:
        if "lut" in request.inputs:
            raise OptionError("--show-regions goes with --like: a table has no regions")
        check_writable(show_regions)
        refuse_overwriting("--show-regions", show_regions, read_files, NAME_ANOTHER)


def write_regions(work: Relight, path: Path) -> None:
    """Write the regions of all pictures, with their numbers."""
    from impasto.images.writing import write_image
    from impasto.photoreal.region_figure import draw_regions

    write_image(path, draw_regions(work.get_fit()))


def write_table(work: Relight, path: Path) -> list[str]:
    """Write what happened to colours as a .cube file; return notes."""
    from impasto.photoreal.lut import write_lut

    table, note = work.make_table()
    write_lut(path, table, f"impasto relight {work.content.name}")
    return [note] if note else []
