"""The commands of painting in one pass: paint, and export a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from impasto.cli.console import say, show_panels, unwrapped
from impasto.cli.flags import BatchFlags, Extras, Habits, OutputFlag, QuietFlag, StyleFlag
from impasto.cli.outputs import check_outputs, list_read
from impasto.cli.paint import PaintingBatch, paint_elsewhere, tell_idle
from impasto.cli.recipe_inputs import apply_recipe, name_inputs
from impasto.cli.running import make_picture
from impasto.errors import OptionError
from impasto.images.folders import is_many
from impasto.instant.options import ExportOptions, InstantOptions
from impasto.jobs.batch import plan_batch
from impasto.operations import find_operation
from impasto.work import Request, finish

show_instant_help = show_panels(
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


@unwrapped
def instant_command(
    *content: str,
    style: StyleFlag = None,
    output: OutputFlag = None,
    recipe: str | None = None,
    batch: Annotated[BatchFlags, Parameter(name="*")] = BatchFlags(),  # noqa: B008
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
    sources, styles = name_inputs(
        content, style, recipe, by_name=by_name, command="instant", tell=habits.tell
    )
    if by_name and batch.pairs == "step":
        raise OptionError("--pairs step goes with pictures of styles, not with a model's own")
    if len(sources) > 1 or any(map(is_many, sources if by_name else (*sources, *styles))):
        folder = output or Path("painted")
        tasks = plan_batch(sources, styles, folder, batch.pairs, batch.suffix, by_name=by_name)
        return PaintingBatch("instant", tasks, options, batch, habits).paint()
    stems = "-".join(Path(path).stem for path in (*sources, *(styles or [options.model or ""])))
    output = output or Path(f"{stems}{batch.suffix}")
    request = Request({"content": tuple(sources), "style": tuple(styles)}, options)
    extras = Extras(metadata=habits.metadata, quiet=habits.quiet)
    if batch.place.is_cluster:
        check_outputs(output, list_read(request), extras)
        return paint_elsewhere("instant", request, output, batch, habits)
    tell_idle(batch, habits)
    return make_picture("instant", request, output, extras)


@unwrapped
def export_command(
    *,
    style: StyleFlag = None,
    output: OutputFlag = None,
    quiet: QuietFlag = False,
    options: Annotated[ExportOptions, Parameter(name="*")] = ExportOptions(),  # noqa: B008
) -> int:
    """Write a network as ONNX, for other programs: photograph in, painting out, at any size.

    With --for web it is the network for any style, in a folder: its painter, what reads a style's
    picture, and a manifest, for a page that needs no server.

    Parameters
    ----------
    style
        Picture that the network for any style is to paint after; repeated, there is a weight for
        each to blend them by. With --model, the name of one of its styles; all, if not given.
    output
        Where it goes; its name ends in .onnx. STYLE.onnx or MODEL.onnx here if not given; with
        --for web a folder, impasto-web if not given.
    quiet
        Say nothing but errors.
    """
    named = [options.model] if options.model is not None else list(style or [])
    if options.for_ == "web":
        output = output or Path("impasto-web")
    elif not (named and all(named)):
        raise OptionError("export needs a style or a model: --style PICTURE or --model MODEL")
    output = output or Path("-".join(Path(name).stem for name in named) + ".onnx")
    request = Request({"style": tuple(style or ())}, options, output=output)
    done = finish(find_operation("export").start(request))
    if not quiet:
        say(str(done))
    return 0
