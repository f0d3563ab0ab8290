"""The command that paints: flags, recipes and files in; one painting or many out."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from impasto.batch import Outcome, Pairs, Task, is_many, keep_targets, plan_batch, run_batch
from impasto.console import catch_interrupt, make_progress, say, split_panel, unwrapped
from impasto.errors import ImageError, MissingFileError, OptionError
from impasto.files import check_place
from impasto.operations import OPERATIONS
from impasto.options import PICTURES, PaintOptions, list_recipes, parse_recipe, read_recipe_file

if TYPE_CHECKING:
    from impasto.paintings import Painting, Step

INTERRUPTED = 130
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
    "--backbone": "The network and the machine",
}


@dataclass(frozen=True)
class Extras:
    """What is written beside one painting."""

    history: Path | None = None
    plot: Path | None = None
    every: int | None = None
    film: Path | None = None
    checkpoint: Path | None = None


@unwrapped
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
    history
        Write the losses of every step to this .csv file.
    plot
        Draw the losses to this .png, .svg or .pdf file.
    every
        Write the picture as it stands every so many steps, as OUTPUT-0010.png and so on.
    film
        Show it grow in this .gif, .webp or .mp4 file; after a kill, from the step that a
        checkpoint was taken up at.
    checkpoint
        Keep the state of the work in this file: after a crash or a kill, the same command goes on
        from there, to the same bytes. It is removed at the end.
    pairs
        Of several photographs and styles: every one with every one, or in step, the first with
        the first, the second with the second.
    format
        Of several paintings, and of one whose OUTPUT is not given.
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
    extras = Extras(history, plot, every, film, checkpoint)
    if len(sources) > 1 or any(map(is_many, (*sources, *styles))):
        refuse_for_many(extras, options)
        tasks = plan_batch(sources, styles, output or Path("painted"), pairs, f".{format}")
        return paint_many(tasks, options, jobs, overwrite=overwrite, metadata=metadata, quiet=quiet)
    stems = "-".join(Path(path).stem for path in (*sources, *styles))
    task = Task(Path(sources[0]), tuple(map(Path, styles)), output or Path(f"{stems}.{format}"))
    return paint_one(task, options, extras, metadata=metadata, quiet=quiet)


def show_help(console: Any, how: Any, panel: Any) -> None:
    """The many flags in panels of their own."""
    from cyclopts.help import DefaultFormatter

    for part in split_panel(panel, PANELS):
        DefaultFormatter()(console, how, part)


# --- what is named, and where it is -------------------------------------------------------------


def name_inputs(
    content: Sequence[str], style: Sequence[str] | None, recipe: str | None
) -> tuple[list[str], list[str]]:
    """The photographs and styles that are named, or those that a painting was made from."""
    if not all((*content, *(style or ()))):
        raise OptionError("a picture has an empty name")
    if content and style:
        return list(content), list(style)
    made_from = read_painting_recipe(recipe) if recipe is not None else None
    if made_from is None:
        what = "a photograph" if not content else "a picture: --style PICTURE"
        raise OptionError(f"paint needs {what}")
    styles = made_from.get("style") or []
    styles = [styles] if isinstance(styles, str) else styles
    if not (made_from.get("content") and styles):
        raise OptionError(f"recipe {recipe!r} does not say what it was painted from")
    folder = Path(str(recipe)).parent
    return (
        list(content) or [find_beside(str(made_from["content"]), folder)],
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


def apply_recipe(recipe: str | None, given: PaintOptions) -> PaintOptions:
    """Default, then recipe, then what the user said."""
    if recipe is None:
        return given
    painted = read_painting_recipe(recipe)
    values = read_recipe_file(recipe) if painted is None else painted["options"]
    said = {name: getattr(given, name) for name in given.model_fields_set}
    values = {name: value for name, value in values.items() if name not in said}
    if recipe not in list_recipes():
        values = find_pictures_of(values, Path(recipe).parent)
    return PaintOptions.read({**values, **said})


def read_painting_recipe(recipe: str) -> dict[str, Any] | None:
    """What a painting was made from and how; None if this is a recipe's name or file."""
    if Path(recipe).suffix.lower() in (".toml", ".json", "") or recipe in list_recipes():
        return None
    from impasto.images import read_recipe

    text = read_recipe(recipe)
    if text is None:
        raise OptionError(f"{recipe!r} carries no recipe")
    options = parse_recipe(text, recipe)
    content = json.loads(text) if text.lstrip().startswith("{") else {}
    return {**content, "options": options}


def find_pictures_of(options: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A recipe knows its masks, and the picture it starts from, by their names."""
    found = dict(options)
    for name in (*PICTURES, "init"):
        value = found.get(name)
        if isinstance(value, list):
            found[name] = [find_beside(str(each), folder) for each in value]
        elif isinstance(value, str) and (name != "init" or set("./") & set(value)):
            found[name] = find_beside(value, folder)
    return found


def list_read(task: Task, options: PaintOptions) -> list[Path]:
    """Every picture that a painting is made from."""
    named: list[str] = [options.mask or "", options.init, *options.style_mask]
    named += [*options.teach_mask, *(options.labels or ())]
    return [task.content, *task.styles, *(Path(name) for name in named if name)]


# --- what must not be -----------------------------------------------------------------------------


def refuse_for_many(extras: Extras, options: PaintOptions) -> None:
    for name, value in asdict(extras).items():
        if value is not None:
            raise OptionError(f"--{name} goes with one painting, not with several")
    if options.init == "last":
        raise OptionError("--init last goes with one painting, not with several")


def check_outputs(task: Task, options: PaintOptions, extras: Extras) -> None:
    """What cannot be written is said before the work, not after it."""
    from impasto.images import check_writable

    check_writable(task.output)
    if extras.film is not None:
        from impasto.clips import check_film

        check_film(extras.film)
    if extras.plot is not None:
        from impasto.plots import check_figure

        check_figure(extras.plot)
    if extras.history is not None:
        check_place(extras.history, "losses")
    check_apart(task, list_read(task, options), extras)


def check_apart(task: Task, read: Sequence[Path], extras: Extras) -> None:
    """Nothing that is read may be written over, and no file written twice."""
    read_files = {path.resolve(): path for path in read}
    written: dict[Path, str] = {}
    files = {"output": task.output, **asdict(extras)}
    for name, path in files.items():
        if not isinstance(path, Path):
            continue
        if path.resolve() in read_files:
            raise OptionError(
                f"--{name} {str(path)!r} is one of the pictures that are read, and would be "
                "written over; name another (to start from what OUTPUT holds: --init last)"
            )
        if other := written.get(path.resolve()):
            raise OptionError(f"--{name} and --{other} are the same file, {str(path)!r}")
        written[path.resolve()] = name
    if extras.every:
        output = task.output.resolve()
        growth = re.compile(rf"{re.escape(output.stem)}-\d{{4,}}{re.escape(output.suffix)}")
        for path in (*read_files, *written):
            if path.parent == output.parent and growth.fullmatch(path.name):
                raise OptionError(f"--every could write over {str(path.name)!r}; rename it")


# --- one painting -------------------------------------------------------------------------------


def paint_one(
    task: Task, options: PaintOptions, extras: Extras, *, metadata: bool, quiet: bool
) -> int:
    """Paint, show how it goes, and write all that was asked for."""
    output, tell = task.output, (lambda _: None) if quiet else say
    if options.init == "last" and not output.exists():
        raise MissingFileError(f"init last: there is no {output.name!r} to start from yet")
    check_outputs(task, options, extras)
    if options.init == "last":
        options = options.model_copy(update={"init": str(output)})
    styles = list(map(str, task.styles))
    work = OPERATIONS["paint"].start(
        str(task.content),
        styles,
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
    told = len(work.notes)
    watchers: list[Callable[[Step], None]] = []
    if extras.every:
        watchers.append(KeepEvery(work, output, extras.every, metadata=metadata))
    growing = FilmGrowth(work, extras.film, options.steps) if extras.film else None
    if growing:
        watchers.append(growing)
        if work.progress.history:
            tell(f"note: the film begins at step {len(work.progress.history) + 1}")
    bare = quiet or options.only_color  # no steps to count
    finished = run_steps(work.steps(), options.steps, watchers, quiet=bare)
    for note in work.notes[told:]:
        tell(f"note: {note}")
    result = work.result()
    if not result.history and not (finished and options.only_color):
        say("stopped before the first step; nothing was written")
        return INTERRUPTED
    if not finished:
        work.save_progress()  # before the picture, from which the run may have started
    for note in (*result.save(output, metadata=metadata), *(growing.write() if growing else ())):
        tell(f"note: {note}")
    write_losses(result, extras)
    if finished and work.checkpoint:
        work.checkpoint.remove()
    tell(describe_result(result, output, finished=finished))
    if not finished and work.checkpoint:
        tell(f"the same command goes on from there, by {extras.checkpoint}")
    return 0 if finished else INTERRUPTED


def write_losses(result: Painting, extras: Extras) -> None:
    if extras.history is not None:
        from impasto.paintings import write_history

        write_history(result, extras.history)
    if extras.plot is not None:
        from impasto.plots import plot_losses, save_figure

        save_figure(plot_losses(result.history), extras.plot)


def run_steps(
    steps: Iterable[Step],
    count: int,
    watchers: Sequence[Callable[[Step], None]] = (),
    *,
    quiet: bool,
) -> bool:
    """Do the work behind a progress bar; whether it came to its end."""
    with make_progress(quiet) as progress, catch_interrupt() as asked:
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
                if asked.is_set():
                    return False
        except KeyboardInterrupt:
            return False
    return True


class KeepEvery:
    """Writes the picture as it stands every so many steps."""

    def __init__(self, work: Any, output: Path, every: int, *, metadata: bool) -> None:
        self.work, self.output, self.every, self.metadata = work, output, every, metadata

    def __call__(self, step: Step) -> None:
        if step.number % self.every == 0:
            digits = max(4, len(str(step.steps)))
            name = f"{self.output.stem}-{step.number:0{digits}}{self.output.suffix}"
            self.work.result().save(self.output.with_name(name), metadata=self.metadata)


class FilmGrowth:
    """Shows the picture grow."""

    def __init__(self, work: Any, path: Path, steps: int) -> None:
        from impasto.clips import Film

        self.work, self.film, self.every = work, Film(path), max(1, steps // 100)

    def __call__(self, step: Step) -> None:
        if (step.number - 1) % self.every == 0:
            self.film.add(self.work.result().pixels)

    def write(self) -> tuple[str, ...]:
        self.film.add(self.work.result().pixels)
        return self.film.write()


def describe_result(result: Painting, output: Path, *, finished: bool) -> str:
    width, height = result.pixels.shape[-1], result.pixels.shape[-2]
    what = "painted" if finished else "stopped; the best so far is"
    if not result.history:
        return f"{what} {output} ({width} x {height}), colours alone"
    last = result.history[-1]
    return f"{what} {output} ({width} x {height}) in {last.number} steps, {last.seconds:.1f} s"


# --- several ------------------------------------------------------------------------------------


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
    make_folder(tasks[0].output.parent)
    read = {path.resolve() for task in tasks for path in list_read(task, options)}
    for task in tasks:
        if task.output.resolve() in read:
            raise OptionError(
                f"{str(task.output)!r} is one of the pictures that are read, and would be written "
                "over; name another folder with --output"
            )
    left = [task for task in tasks if overwrite or not task.output.exists()]
    tell = (lambda _: None) if quiet else say
    if len(left) < len(tasks):
        tell(f"{len(tasks) - len(left)} of {len(tasks)} are there already (--overwrite: again)")
    failed: list[Outcome] = []
    done, finished = 0, True
    with make_progress(quiet) as progress:
        bar = progress.add_task("", total=len(left), losses="")
        try:
            with closing(run_batch(left, options, jobs=jobs, metadata=metadata)) as outcomes:
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
        say(f"impasto: {outcome.task.content.name} after {styles}{more}: {outcome.error}")


def make_folder(folder: Path) -> None:
    from impasto.images import WRITABLE

    if folder.suffix.lower() in WRITABLE and not folder.is_dir():
        raise OptionError(f"several paintings go to a folder; {folder.name!r} names a picture")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = str(error.strerror or error).lower()
        raise ImageError(f"cannot make the folder {str(folder)!r}: {reason}") from None
