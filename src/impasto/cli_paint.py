"""The command that paints: flags, recipes and files in; one painting or many out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from impasto.batch import Outcome, Pairs, Task, is_many, plan_batch, run_batch
from impasto.console import make_progress, say
from impasto.errors import MissingFileError, OptionError
from impasto.operations import OPERATIONS
from impasto.options import PaintOptions, list_recipes, parse_recipe, read_recipe_file

if TYPE_CHECKING:
    from impasto.painter import Painting, Step

INTERRUPTED = 130


def paint(
    *content: str,
    style: Annotated[list[str] | None, Parameter(alias="-s")] = None,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    recipe: str | None = None,
    history: Path | None = None,
    plot: Path | None = None,
    every: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    film: Path | None = None,
    checkpoint: Path | None = None,
    pairs: Pairs = "every",
    format: Literal["png", "jpg", "webp", "tif"] = "png",
    jobs: Annotated[int, Parameter(validator=Number(gte=1))] = 1,
    overwrite: Annotated[bool, Parameter(negative=())] = False,
    metadata: bool = True,
    quiet: Annotated[bool, Parameter(alias="-q", negative=())] = False,
    options: Annotated[PaintOptions, Parameter(name="*")] = PaintOptions(),  # noqa: B008
) -> int:
    """Paint a photograph in the manner of a picture, or of several.

    Parameters
    ----------
    content
        The photograph; or several, a folder or a quoted pattern, to paint them all. None with
        --recipe PAINTING: the one that it was made from.
    style
        The picture in whose manner it is painted; repeated, several are blended. A folder or a
        quoted pattern: a painting for each.
    output
        Where the painting goes; its name ends in .png, .jpg, .webp or .tif. CONTENT-STYLE.png here
        if not given. A folder, where there are several paintings.
    recipe
        Options to begin with: a name from 'impasto recipes', a .toml file, or a picture that
        Impasto painted.
    history
        Write the losses of every step to this .csv file.
    plot
        Draw the losses to this .png, .svg or .pdf file.
    every
        Write the picture as it stands every so many steps, as OUTPUT-0010.png and so on.
    film
        Show it grow in this .gif, .webp or .mp4 file.
    checkpoint
        Keep the state of the work in this file: after a crash or a kill, the same command goes on
        from there, to the same bytes. It is removed at the end.
    pairs
        Of several photographs and styles: every one with every one, or the first with the first,
        the second with the second.
    format
        Of several paintings.
    jobs
        Of several paintings, how many are painted at the same time, each in its own process.
    overwrite
        Of several paintings, paint also those that are there already.
    metadata
        Keep the recipe inside the painting.
    quiet
        Say nothing but errors.
    """
    options = apply_recipe(recipe, options)
    sources, styles = name_inputs(content, style, recipe)
    if len(sources) > 1 or any(map(is_many, (*sources, *styles))):
        single = {"history": history, "plot": plot, "every": every, "film": film}
        refuse_for_many(single | {"checkpoint": checkpoint})
        tasks = plan_batch(sources, styles, output or Path("painted"), pairs, f".{format}")
        return paint_many(tasks, options, jobs, overwrite=overwrite, metadata=metadata, quiet=quiet)
    stems = "-".join(Path(path).stem for path in (*sources, *styles))
    output = output or Path(f"{stems}.png")
    check_outputs(output, film, history, plot, checkpoint)
    if options.init == "last":
        if not output.exists():
            raise MissingFileError(f"init last: there is no {output.name!r} to start from yet")
        options = options.model_copy(update={"init": str(output)})
    work = OPERATIONS["paint"].start(sources[0], styles, options=options, checkpoint=checkpoint)
    if not quiet:
        for note in work.notes:
            say(f"note: {note}")
        width, height = work.size
        say(f"painting {width} x {height} with {options.backbone} on {work.machine.describe()}")
    watchers = [KeepEvery(work, output, every)] if every else []
    growing = FilmGrowth(work, film, options.steps) if film else None
    finished = run_steps(
        work.steps(), options.steps, [*watchers, *([growing] if growing else [])], quiet=quiet
    )
    result = work.result()
    if not result.history and not (finished and options.only_color):
        say("stopped before the first step; nothing was written")
        return INTERRUPTED
    for note in result.save(output, metadata=metadata):
        say(f"note: {note}")
    if growing:
        growing.write()
    if history is not None:
        from impasto.painter import write_history

        write_history(result, history)
    if plot is not None:
        from impasto.plots import plot_losses, save_figure

        save_figure(plot_losses(result.history), plot)
    if checkpoint is not None:
        if finished:
            checkpoint.unlink(missing_ok=True)
        else:
            work.save_progress()
    if not quiet:
        say(describe_result(result, output, finished=finished))
    return 0 if finished else INTERRUPTED


def name_inputs(
    content: Sequence[str], style: Sequence[str] | None, recipe: str | None
) -> tuple[list[str], list[str]]:
    """The photographs and styles that are named, or those that a painting was made from."""
    if content and style:
        return list(content), list(style)
    made_from = read_painting_recipe(recipe) if recipe is not None else None
    if made_from is None:
        what = "a photograph" if not content else "a picture: --style PICTURE"
        raise OptionError(f"paint needs {what}")
    styles = made_from.get("style", [])
    styles = [styles] if isinstance(styles, str) else styles
    folder = Path(str(recipe)).parent
    return (
        list(content) or [find_beside(str(made_from.get("content")), folder)],
        list(style or []) or [find_beside(str(name), folder) for name in styles],
    )


def find_beside(name: str, folder: Path) -> str:
    """A file that a recipe knows by its name: here, or beside the recipe."""
    for path in (Path(name), folder / name):
        if path.exists():
            return str(path)
    raise MissingFileError(
        f"the recipe was made with {name!r}, which is neither here nor beside it"
    )


def refuse_for_many(single: dict[str, Any]) -> None:
    for name, value in single.items():
        if value is not None:
            raise OptionError(f"--{name} goes with one painting, not with several")


def paint_many(
    tasks: Sequence[Task],
    options: PaintOptions,
    jobs: int,
    *,
    overwrite: bool,
    metadata: bool,
    quiet: bool,
) -> int:
    """Paint a batch behind a progress bar; what went wrong is told at the end."""
    for folder in {task.output.parent for task in tasks}:
        folder.mkdir(parents=True, exist_ok=True)
    left = [task for task in tasks if overwrite or not task.output.exists()]
    if len(left) < len(tasks) and not quiet:
        say(f"{len(tasks) - len(left)} of {len(tasks)} are there already (--overwrite: again)")
    failed: list[Outcome] = []
    done, finished = 0, True
    with make_progress(quiet) as progress:
        bar = progress.add_task("", total=len(left), losses="")
        try:
            for outcome in run_batch(left, options, jobs=jobs, metadata=metadata):
                done += 1
                if outcome.error:
                    failed.append(outcome)
                progress.update(bar, completed=done, losses=outcome.task.output.name)
        except KeyboardInterrupt:
            finished = False
    for outcome in failed:
        styles = ", ".join(path.name for path in outcome.task.styles)
        say(f"impasto: {outcome.task.content.name} after {styles}: {outcome.error}")
    if not quiet:
        what = "painted" if finished else "stopped; painted"
        missing = f", {len(failed)} failed" if failed else ""
        say(f"{what} {done - len(failed)} of {len(left)}{missing}")
    if not finished:
        return INTERRUPTED
    return OptionError.exit_code if failed else 0


class KeepEvery:
    """Writes the picture as it stands every so many steps."""

    def __init__(self, work: Any, output: Path, every: int) -> None:
        self.work, self.output, self.every = work, output, every

    def __call__(self, step: Step) -> None:
        if step.number % self.every == 0:
            name = f"{self.output.stem}-{step.number:04}{self.output.suffix}"
            self.work.result().save(self.output.with_name(name))


class FilmGrowth:
    """Shows the picture grow."""

    def __init__(self, work: Any, path: Path, steps: int) -> None:
        from impasto.clips import Film

        self.work, self.film, self.every = work, Film(path), max(1, steps // 100)

    def __call__(self, step: Step) -> None:
        if (step.number - 1) % self.every == 0:
            self.film.add(self.work.result().pixels)

    def write(self) -> None:
        self.film.add(self.work.result().pixels)
        self.film.write()


def apply_recipe(recipe: str | None, given: PaintOptions) -> PaintOptions:
    """Default, then recipe, then what the user said."""
    if recipe is None:
        return given
    painted = read_painting_recipe(recipe)
    if painted is None:
        values = read_recipe_file(recipe)
    else:
        values = find_masks(painted["options"], Path(recipe).parent)
    said = {name: getattr(given, name) for name in given.model_fields_set}
    return PaintOptions.read({**values, **said})


def read_painting_recipe(recipe: str) -> dict[str, Any] | None:
    """What a painting was made from and how; None if this is a recipe's name or file."""
    if Path(recipe).suffix.lower() in (".toml", ".json", "") or recipe in list_recipes():
        return None
    from impasto.images import read_recipe

    text = read_recipe(recipe)
    if text is None:
        raise OptionError(f"{recipe!r} carries no recipe")
    parse_recipe(text, recipe)
    content: dict[str, Any] = json.loads(text)
    return content


def find_masks(options: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A painting knows its masks by their names."""
    found = dict(options)
    for name in ("mask", "style_mask", "teach_mask", "labels"):
        value = found.get(name)
        if isinstance(value, str):
            found[name] = find_beside(value, folder)
        elif value:
            found[name] = [find_beside(each, folder) for each in value]
    return found


def check_outputs(picture: Path, film: Path | None, *others: Path | None) -> None:
    """What cannot be written is said before the work, not after it."""
    from impasto.images import check_writable

    check_writable(picture)
    if film is not None:
        from impasto.clips import check_film

        check_film(film)
    for path in others:
        if path is not None and not path.parent.is_dir():
            raise MissingFileError(
                f"there is no folder {str(path.parent)!r} to write {path.name} to"
            )


def run_steps(
    steps: Iterable[Step],
    count: int,
    watchers: Sequence[Callable[[Step], None]] = (),
    *,
    quiet: bool,
) -> bool:
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
                for watcher in watchers:
                    watcher(step)
        except KeyboardInterrupt:
            return False
    return True


def describe_result(result: Painting, output: Path, *, finished: bool) -> str:
    width, height = result.pixels.shape[-1], result.pixels.shape[-2]
    what = "painted" if finished else "stopped; the best so far is"
    if not result.history:
        return f"{what} {output} ({width} x {height}), colours alone"
    last = result.history[-1]
    return f"{what} {output} ({width} x {height}) in {last.number} steps, {last.seconds:.1f} s"
