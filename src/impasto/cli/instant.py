"""The commands of painting in one pass: paint, and export a network."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from impasto.cli.console import say, show_panels, unwrapped
from impasto.cli.outputs import Extras, Habits, check_outputs
from impasto.cli.paint import Several, list_read, name_inputs, paint_many
from impasto.cli.recipe_inputs import apply_recipe
from impasto.errors import OptionError
from impasto.images.folders import is_many
from impasto.instant.options import InstantOptions
from impasto.jobs.batch import Task, plan_batch
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
    from impasto.instant.engines import choose_engine
    from impasto.instant.painter import Instant

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
    from impasto.instant.onnx_export import export_onnx
    from impasto.instant.painter import open_net, read_palette
    from impasto.system.files import check_place

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
