"""The commands of painting in one pass: paint, teach a network, hand one to other programs."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from impasto.batch import Task, is_many, plan_batch
from impasto.cli_paint import Several, list_read, name_inputs, paint_many
from impasto.cli_run import INTERRUPTED, Extras, Habits, apply_recipe, check_outputs
from impasto.console import catch_interrupt, make_progress, say, show_panels, unwrapped
from impasto.errors import ImpastoError, OptionError
from impasto.instant_options import InstantOptions, TrainOptions
from impasto.operations import OPERATIONS

show_help = show_panels(
    {
        "--style": "Pictures",
        "--pairs": "Several paintings",
        "--metadata": "The rest",
        "--size": "Size and strength",
        "--model": "The styles, and where they go",
        "--color": "Colour",
        "--engine": "What runs the network",
        "--device": "The machine",
    }
)
show_train_help = show_panels(
    {
        "--style": "What goes in and comes out",
        "--net": "How it is taught",
        "--style-weight": "What is minimised",
        "--learning-rate": "The rest",
        "--device": "The machine",
    }
)
Styles = Annotated[list[str] | None, Parameter(alias="-s")]


@unwrapped
def instant(
    *content: str,
    style: Styles = None,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    recipe: str | None = None,
    several: Annotated[Several, Parameter(name="*")] = Several(),  # noqa: B008
    habits: Annotated[Habits, Parameter(name="*")] = Habits(),  # noqa: B008
    options: Annotated[InstantOptions, Parameter(name="*")] = InstantOptions(),  # noqa: B008
) -> int:
    """Paint a photograph in one pass, after any picture or with a network that was taught styles.

    Parameters
    ----------
    content
        The photograph; or several, a folder or a quoted pattern.
    style
        The picture in whose manner it is painted; repeated, several are blended. A folder or a
        quoted pattern: a painting for each. With --model, the name of one of its styles.
    output
        Where the painting goes; its name ends in .png, .jpg, .webp or .tif. CONTENT-STYLE.png here
        if not given. A folder, where there are several paintings.
    recipe
        Options to begin with: a .toml file, or a picture that was painted so.
    """
    options = apply_recipe(recipe, options, "instant")
    by_name = options.model is not None
    sources, styles = name_inputs(content, style, recipe, by_name=by_name, command="instant")
    if by_name and several.pairs == "step":
        raise OptionError("--pairs step goes with pictures of styles, not with a model's own")
    if len(sources) > 1 or any(map(is_many, sources if by_name else (*sources, *styles))):
        folder = output or Path("painted")
        tasks = plan_batch(sources, styles, folder, several.pairs, several.suffix, by_name=by_name)
        options = settle_for_many(styles if by_name else list(map(str, tasks[0].styles)), options)
        return paint_many(tasks, options, several, habits, operation="instant")
    stems = "-".join(Path(path).stem for path in (*sources, *(styles or [options.model or ""])))
    output = output or Path(f"{stems}{several.suffix}")
    return paint_one(Task(Path(sources[0]), tuple(map(Path, styles)), output), options, habits)


def settle_for_many(styles: list[str], options: InstantOptions) -> InstantOptions:
    """What is wrong from the start is said once; and an engine is chosen once for all."""
    from impasto.engines import choose_engine
    from impasto.instant import Instant

    if options.model is None and options.engine == "torch":
        return options  # a style that cannot be read is told with its paintings
    painter = Instant(styles, options)
    if options.engine != "auto":
        return options
    engine, note = choose_engine("auto", painter.net, painter.machine, (512, 512))
    if note:
        say(f"note: {note}")
    return options.model_copy(update={"engine": engine.name})


def paint_one(task: Task, options: InstantOptions, habits: Habits) -> int:
    began = time.perf_counter()
    read = list_read(task, options)
    if options.model is not None:
        read = [path for path in read if path not in task.styles] + [Path(options.model)]
    check_outputs(task.output, read, Extras(), mend="name another")
    styles = list(map(str, task.styles))
    work = OPERATIONS["instant"].start(str(task.content), styles, options=options)
    for _ in work.steps():
        pass
    result = work.result()
    notes = result.save(task.output, metadata=habits.metadata)
    for note in (*result.notes, *notes):
        habits.tell(f"note: {note}")
    height, width = result.pixels.shape[2:]
    seconds = time.perf_counter() - began
    habits.tell(f"painted {task.output} ({width} x {height}) in {seconds:.1f} s")
    return 0


@unwrapped
def export(
    *,
    style: Styles = None,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    quiet: Annotated[bool, Parameter(alias="-q", negative=())] = False,
    model: str | None = None,
    style_size: Annotated[int | None, Parameter(validator=Number(gte=16))] = None,
) -> int:
    """Write a network as ONNX, for other programs: photograph in, painting out, at any size.

    Parameters
    ----------
    style
        Picture that the network for any style is to paint after; repeated, there is a weight for
        each to blend them by. With --model, the name of one of its styles; all, if not given.
    output
        Where it goes; its name ends in .onnx. STYLE.onnx or MODEL.onnx here if not given.
    quiet
        Say nothing but errors.
    model
        A network that 'impasto train' made, or painters, the one that travels with the package.
    style_size
        Long side at which pictures of styles are seen; 512 if not given.
    """
    from impasto.files import check_place
    from impasto.graphs import export_onnx
    from impasto.instant import open_net, read_palette

    named = [model] if model is not None else list(style or [])
    if not (named and all(named)):
        raise OptionError("export needs a style or a model: --style PICTURE or --model MODEL")
    if model is not None and style_size is not None:
        raise OptionError("a model has learnt its styles at one size: no --style-size")
    output = output or Path("-".join(Path(name).stem for name in named) + ".onnx")
    check_place(output, "a network", [".onnx"])
    palette = read_palette(style or [], model, style_size or 512)
    export_onnx(output, open_net(model or "any").net, palette)
    if not quiet:
        megabytes = output.stat().st_size / 1e6
        say(f"wrote {output} ({megabytes:.1f} MB): {', '.join(palette.names)}")
    return 0


@unwrapped
def train(
    *,
    style: Styles = None,
    photos: Path | None = None,
    output: Annotated[Path, Parameter(alias="-o")] = Path("model.safetensors"),
    start: str | None = None,
    quiet: Annotated[bool, Parameter(alias="-q", negative=())] = False,
    options: Annotated[TrainOptions, Parameter(name="*")] = TrainOptions(),  # noqa: B008
) -> int:
    """Teach a network to paint in one pass, after one style or many; then: impasto instant --model.

    Parameters
    ----------
    style
        A picture to learn; repeated, the network learns them all, each by its file's name.
    photos
        The folder of photographs to learn from: some hundreds, of any kind and size.
    output
        Where the network goes; its name ends in .safetensors. A sheet of what it paints so far lies
        beside it, and what a killed run goes on from.
    start
        A network made before, or painters, the one that travels with the package, which is to
        learn these styles besides its own: all that it paints already stays as it is.
    quiet
        Say nothing but errors.
    """
    if not style or not all(style):
        raise OptionError("train needs a picture to learn: --style PICTURE")
    if photos is None:
        raise OptionError("train needs photographs to learn from: --photos FOLDER")
    preview = output.with_name(f"{output.stem}-preview.png") if options.preview_every else None
    check_teaching(style, photos, output, preview, start)
    work = OPERATIONS["train"].start(style, photos, options=options, output=output, start=start)
    quiet = quiet or not work.is_first  # of several processes
    tell, told = (lambda _: None) if quiet else say, work.notes
    for note in told:
        tell(f"note: {note}")
    tell(f"teaching {len(style)} style{'s' * (len(style) > 1)} on {work.machine.describe()}")
    with work.alone():
        finished = follow_lessons(work, preview, quiet=quiet)
        if not finished:
            work.save_progress()
            done = describe_stop(work)
        elif work.is_first:
            done = save_taught(work, output, preview)
    for note in work.notes:
        if note not in told:
            tell(f"note: {note}")
    if work.is_first:
        tell(done)
    return 0 if finished else INTERRUPTED


def check_teaching(
    styles: list[str], photos: Path, output: Path, preview: Path | None, start: str | None
) -> None:
    """Nothing that is read, and no model that is done, may be written over."""
    from impasto.crops import list_photographs
    from impasto.files import check_place
    from impasto.palettes import find_net

    check_place(output, "a model", [".safetensors"])
    for style in styles:
        if Path(style).is_dir():
            raise OptionError(f"{style!r} is a folder; name each picture with its own --style")
    read = {path.resolve() for path in (*map(Path, styles), *list_photographs(photos))}
    for what, path in (("--output", output), ("the preview", preview)):
        if path is not None and path.resolve() in read:
            raise OptionError(
                f"{what} {str(path)!r} is one of the pictures that are read, and would be written "
                "over; name another output"
            )
    if start is not None and find_net(start).resolve() == output.resolve():
        raise OptionError(
            f"--output {str(output)!r} is the model to start from, and would be written over; "
            "name another output"
        )
    if preview is not None and preview.resolve().is_relative_to(photos.resolve()):
        raise OptionError(
            f"the preview {str(preview)!r} would lie among the photographs; name another output, "
            "or no preview: --preview-every 0"
        )
    if output.exists() and not output.with_name(f"{output.name}.checkpoint").exists():
        raise OptionError(f"{str(output)!r} is there already; name another output, or remove it")


def describe_stop(work: Any) -> str:
    """Where it stands, and what the same command does."""
    stopped = f"stopped at step {work.number} of {work.options.steps}"
    if work.kept is None or not work.checkpoint.path.exists():
        return f"{stopped}; nothing was saved: the same command begins anew"
    return f"{stopped}; the same command goes on from step {work.kept + 1}"


def save_taught(work: Any, output: Path, preview: Path | None) -> str:
    """Write the model first, as a sheet can be made again; what there is now."""
    sheet = work.preview() if preview is not None else None
    taught = work.result()
    taught.save(output)
    done = f"{output} paints {', '.join(taught.palette.names)}"
    return f"{done}; how: {preview}" if show_progress(work, sheet, preview) else done


def show_progress(work: Any, sheet: Any, preview: Path | None) -> bool:
    """Write a preview; where it cannot be written that is noted, and stops nothing."""
    from impasto.sheets import save_sheet

    if sheet is None or preview is None:
        return False
    try:
        save_sheet(sheet, preview)
    except ImpastoError as error:
        work.add_note(f"no preview: {error}")
    except OSError as error:
        work.add_note(f"no preview: {str(error.strerror or error).lower()}")
    else:
        return True
    return False


def follow_lessons(work: Any, preview: Path | None, *, quiet: bool) -> bool:
    """Teach behind a progress bar; whether it came to its end."""
    every = work.options.preview_every
    with make_progress(quiet) as progress, catch_interrupt() as asked:
        bar = progress.add_task("", total=work.options.steps, losses="")
        try:
            with closing(work.steps()) as lessons:
                for lesson in lessons:
                    losses = f"style {lesson.style:.3g}  content {lesson.content:.3g}"
                    progress.update(bar, completed=lesson.number, losses=losses)
                    if every and lesson.number % every == 0 and work.is_first:
                        show_progress(work, work.preview(), preview)
                    if asked.is_set() and lesson.number < lesson.steps:
                        return False
        except KeyboardInterrupt:
            return False
    return True
