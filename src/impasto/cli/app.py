"""The app: all commands, and how one of them is run."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter
from pydantic import ValidationError

from impasto.cli import explore, instant, lab, paint, train
from impasto.cli.console import describe_default, print_line, print_table, say, unwrapped
from impasto.cli.recipe_inputs import find_maker, read_painting_recipe
from impasto.cli.running import INTERRUPTED
from impasto.cli.weights import weights
from impasto.errors import ImpastoError, OptionError, describe_reason
from impasto.operations import OPERATIONS
from impasto.options import describe_error
from impasto.painting.options import PaintOptions
from impasto.recipes import list_recipes, read_recipe_file

app = App(
    name="impasto",
    help="Paint photographs in the manner of a picture.",
    default_parameter=Parameter(negative_iterable=(), show_default=describe_default),
    help_format="plaintext",  # others load a parser for each help page
    version=lambda: __import__("impasto").__version__,
    suppress_keyboard_interrupt=False,  # told in run()
)
COMMANDS = (
    (explore.texture_command, explore.show_explore_help, "STYLE [--output PICTURE]"),
    (explore.invert_command, explore.show_explore_help, "PHOTO [--layer LAYER] [--output PICTURE]"),
    (explore.dream_command, explore.show_explore_help, "[PHOTO] --class CLASS | --layer LAYER"),
    (explore.features_command, explore.show_explore_help, "PHOTO [--layer LAYER]"),
    (explore.classes_command, None, "[WORDS]"),
    (lab.study_command, lab.show_lab_help, "SUBJECT CONTENT STYLE [--output FOLDER]"),
    (lab.sweep_command, lab.show_lab_help, "CONTENT STYLE --vary OPTION=VALUES"),
    (lab.tune_command, lab.show_lab_help, "CONTENT STYLE [--trials NUMBER]"),
    (lab.augment_command, None, "SOURCE OUT --styles FOLDER"),
    (lab.report_command, None, "FOLDER"),
    (
        train.train_command,
        train.show_train_help,
        "--style PICTURE --photos FOLDER [--output MODEL]",
    ),
    (instant.export_command, None, "--style PICTURE | --model MODEL [--output NETWORK]"),
    (instant.instant_command, instant.show_instant_help, "PHOTOGRAPH --style PICTURE"),
    (paint.paint_command, paint.show_paint_help, "PHOTOGRAPH --style PICTURE [--output PAINTING]"),
)
for command, show, usage in COMMANDS:
    name = command.__name__.removesuffix("_command")
    app.command(
        command,
        name=name,
        help_formatter=show,
        usage=f"Usage: impasto {name} {usage} [OPTIONS]",
    )
app.command(weights)

# --- what there is ------------------------------------------------------------------------------


@app.command
def recipes() -> None:
    """List the recipes that --recipe knows by name."""
    print_table(list_recipes().items(), ("recipe", "what it is"))


@app.command
@unwrapped
def recipe(
    painting: str, /, *, all_options: Annotated[bool, Parameter(name="--all", negative=())] = False
) -> None:
    """Show the recipe that a painting carries, or a recipe by its name, as a .toml file.

    Parameters
    ----------
    painting
        A picture that Impasto painted, a name from 'impasto recipes', or a recipe file.
    all_options
        Also the options that are as they are by default.
    """
    painted = read_painting_recipe(painting)
    values = read_recipe_file(painting) if painted is None else painted.options
    made_by = find_maker(painted)
    options = OPERATIONS[made_by].options.read(values)
    if painted is not None:
        of = " after ".join(map(", ".join, painted.inputs.values()))
        print_line(f"# impasto {painted.version}, {made_by}{f': {of}' if of else ''}")
    shown = options.model_dump(mode="json", by_alias=True) if all_options else options.changed()
    for name, value in shown.items():
        if value is not None:
            print_line(f"{name} = {json.dumps(value, ensure_ascii=False)}")


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
    from impasto.samples.photographs import write_samples

    for path in write_samples(folder, size=size):
        print_line(path)


@app.command
def doctor() -> None:
    """Say what this machine has (device, libraries, weights, memory), and what that means."""
    from impasto.cli.doctor import examine

    print_table(examine())


# --- running ------------------------------------------------------------------------------------


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; errors are one line on standard error."""
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
    except OSError as error:  # a full disk, a folder that was taken away
        where = f" {Path(str(error.filename)).name!r}" if error.filename else ""
        say(f"impasto:{where} {describe_reason(error)}")
        return ImpastoError.exit_code
    except KeyboardInterrupt:
        say("stopped")
        return INTERRUPTED
    return code if isinstance(code, int) else 0


def report_usage(error: CycloptsError) -> int:
    """Say what is wrong with the flags in one line; pydantic's errors are told in our words."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ValidationError):
        cause = cause.__cause__ or cause.__context__
    text = describe_error(cause, list(PaintOptions.model_fields)) if cause else str(error)
    say(f"impasto: {' '.join(text.split())}")
    return OptionError.exit_code


def main() -> None:
    """Run the command in ``sys.argv`` and exit with its code."""
    sys.exit(run())
