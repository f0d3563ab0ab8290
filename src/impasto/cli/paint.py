"""The command that paints: flags, recipes and files in; one painting or many out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from pydantic import Field

from impasto.cli.console import make_progress, say, show_panels, unwrapped
from impasto.cli.outputs import Extras, Habits, check_outputs
from impasto.cli.recipe_inputs import apply_recipe, find_beside, read_painting_recipe
from impasto.cli.running import INTERRUPTED, follow
from impasto.errors import MissingFileError, OptionError
from impasto.images.folders import is_many
from impasto.jobs.batch import BatchOptions, Outcome, Pairs, Task, plan_batch, run_batch
from impasto.operations import OPERATIONS
from impasto.options import Options
from impasto.painting.options import PaintOptions
from impasto.system.files import make_folder

PANELS = {  # the first flag of each panel of help
    "--style": "Pictures",
    "--history": "What else is written",
    "--pairs": "Several paintings",
    "--metadata": "The rest",
    "--size": "Size",
    "--steps": "How it is found",
    "--start-size": "What of the style counts",
    "--style-weight": "What is minimised",
    "--style-blend": "The styles, and where they go",
    "--color": "Colour",
    "--init": "What it starts from",
    "--device": "The network and the machine",
}
show_help = show_panels(PANELS)


class Several(Options):
    """How several paintings are made."""

    pairs: Pairs = Field(
        default="every",
        description="Of several photographs and styles: every one with every one, or in step, the "
        "first with the first, the second with the second.",
    )
    format: Literal["png", "jpg", "webp", "tif"] = Field(
        default="png", description="Of several paintings, and of one whose OUTPUT is not given."
    )
    jobs: Annotated[int, Field(ge=1)] = Field(
        default=1,
        description="Of several paintings, how many are painted at the same time, each in its own "
        "process.",
    )
    overwrite: Annotated[bool, Parameter(negative=())] = Field(
        default=False, description="Of several paintings, paint also those that are there already."
    )

    @property
    def suffix(self) -> str:
        return f".{self.format}"


@unwrapped
def paint(
    *content: str,
    style: Annotated[list[str] | None, Parameter(alias="-s")] = None,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    recipe: str | None = None,
    several: Annotated[Several, Parameter(name="*")] = Several(),  # noqa: B008
    extras: Annotated[Extras, Parameter(name="*")] = Extras(),  # noqa: B008
    options: Annotated[PaintOptions, Parameter(name="*")] = PaintOptions(),  # noqa: B008
) -> int:
    """Paint a photograph in the manner of a picture, or of several.

    Parameters
    ----------
    content
        The photograph; or several, a folder or a quoted pattern, to paint them all, but not a
        style that lies among them. None with --recipe PAINTING: the one that it was made from.
    style
        The picture in whose manner it is painted; repeated, several are blended. A folder or a
        quoted pattern: a painting for each.
    output
        Where the painting goes; its name ends in .png, .jpg, .webp or .tif. CONTENT-STYLE.png here
        if not given. A folder, where there are several paintings.
    recipe
        Options to begin with: a name from 'impasto recipes', a .toml file, or a picture that
        Impasto painted; it is painted again if no other is named.
    """
    options = apply_recipe(recipe, options, "paint")
    sources, styles = name_inputs(content, style, recipe)
    if len(sources) > 1 or any(map(is_many, (*sources, *styles))):
        refuse_for_many(extras, options)
        folder = output or Path("painted")
        tasks = plan_batch(sources, styles, folder, several.pairs, several.suffix)
        return paint_many(tasks, options, several, extras)
    stems = "-".join(Path(path).stem for path in (*sources, *styles))
    output = output or Path(f"{stems}{several.suffix}")
    return paint_one(Task(Path(sources[0]), tuple(map(Path, styles)), output), options, extras)


# --- what is named, and where it is -------------------------------------------------------------


def name_inputs(
    content: Sequence[str],
    style: Sequence[str] | None,
    recipe: str | None,
    *,
    by_name: bool = False,
    command: str = "paint",
) -> tuple[list[str], list[str]]:
    """The photographs and styles that are named, or those that a painting was made from; styles
    ``by_name`` are no files, and need not be named."""
    if not all((*content, *(style or ()))):
        raise OptionError("a picture has an empty name")
    if content and (style or (by_name and recipe is None)):
        return list(content), list(style or ())
    made_from = read_painting_recipe(recipe) if recipe is not None else None
    if made_from is None:
        if by_name and content:
            return list(content), []
        what = "a photograph" if not content else "a picture: --style PICTURE"
        raise OptionError(f"{command} needs {what}")
    styles = made_from.get("style") or []
    styles = [styles] if isinstance(styles, str) else styles
    if not (made_from.get("content") and styles):
        raise OptionError(f"recipe {recipe!r} does not say what it was painted from")
    folder = Path(str(recipe)).parent
    sources = list(content) or [find_beside(str(made_from["content"]), folder)]
    if style or by_name:
        return sources, list(style or styles)
    return sources, [find_beside(str(name), folder) for name in styles]


def list_read(task: Task, options: BatchOptions) -> list[Path]:
    """Every picture that a painting is made from."""
    named = [name for names in options.files().values() for name in names]
    return [task.content, *task.styles, *map(Path, named)]


# --- what must not be -----------------------------------------------------------------------------


def refuse_for_many(extras: Extras, options: PaintOptions) -> None:
    extras.refuse_for_many("one painting")
    if options.init == "last":
        raise OptionError("--init last goes with one painting, not with several")


# --- one painting -------------------------------------------------------------------------------


def paint_one(task: Task, options: PaintOptions, extras: Extras) -> int:
    """Paint, show how it goes, and write all that was asked for."""
    output, tell = task.output, extras.tell
    if options.init == "last" and not output.exists():
        raise MissingFileError(f"init last: there is no {output.name!r} to start from yet")
    check_outputs(output, list_read(task, options), extras)
    if options.init == "last":
        options = options.model_copy(update={"init": str(output)})
    from impasto.painting.style_cache import keep_targets

    work = OPERATIONS["paint"].start(
        str(task.content),
        list(map(str, task.styles)),
        options=options,
        checkpoint=extras.checkpoint,
        targets=keep_targets(),
    )
    for note in work.notes:
        tell(f"note: {note}")
    width, height = work.size
    tell(f"painting {width} x {height} with {options.backbone} on {work.machine.describe()}")
    if not options.only_color:
        tell(f"memory: {work.plan.describe()}")
    return follow(work, output, extras, bare=options.only_color)


# --- several ------------------------------------------------------------------------------------


def paint_many(
    tasks: Sequence[Task],
    options: BatchOptions,
    several: Several,
    extras: Habits,
    *,
    operation: str = "paint",
) -> int:
    """Paint a batch behind a progress bar; what went wrong is told at the end."""
    begin_folder(tasks[0].output.parent)
    read = {path.resolve() for task in tasks for path in list_read(task, options)}
    for task in tasks:
        if task.output.resolve() in read:
            raise OptionError(
                f"{str(task.output)!r} is one of the pictures that are read, and would be written "
                "over; name another folder with --output"
            )
    left = [task for task in tasks if several.overwrite or not task.output.exists()]
    tell = extras.tell
    if len(left) < len(tasks):
        tell(f"{len(tasks) - len(left)} of {len(tasks)} are there already (--overwrite: again)")
    failed: list[Outcome] = []
    done, finished = 0, True
    with make_progress(extras.quiet) as progress:
        bar = progress.add_task("", total=len(left), losses="")
        try:
            outcomes = run_batch(
                left, options, operation=operation, jobs=several.jobs, metadata=extras.metadata
            )
            with closing(outcomes):
                for outcome in outcomes:
                    done += 1
                    if outcome.error:
                        failed.append(outcome)
                    progress.update(bar, completed=done, losses=outcome.task.output.name)
        except KeyboardInterrupt:
            finished = False
    tell_failures(failed)
    what = "painted" if finished else "stopped; painted"
    missing = f", {len(failed)} failed" if failed else ""
    tell(f"{what} {done - len(failed)} of {len(left)}{missing}")
    if not finished:
        return INTERRUPTED
    return OptionError.exit_code if failed else 0


def tell_failures(failed: Sequence[Outcome]) -> None:
    """A line for each, or one for all that went wrong in the same way."""
    counts = Counter(outcome.error for outcome in failed)
    for outcome in failed:
        styles = ", ".join(path.name for path in outcome.task.styles)
        others = counts.pop(outcome.error, 0) - 1
        if others < 0:
            continue  # told
        more = f" (and {others} more)" if others else ""
        after = f" after {styles}" if styles else ""
        say(f"impasto: {outcome.task.content.name}{after}{more}: {outcome.error}")


def begin_folder(folder: Path) -> None:
    from impasto.images.writing import WRITABLE

    if folder.suffix.lower() in WRITABLE and not folder.is_dir():
        raise OptionError(f"several paintings go to a folder; {folder.name!r} names a picture")
    make_folder(folder)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OptionError(f"no permission to write in {str(folder)!r}")
