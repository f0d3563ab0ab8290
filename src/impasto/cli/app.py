"""The app: all commands, and how one of them is run.

Modules of commands, and the options that their flags are made from, are imported when a command is
called: a list of commands needs none of them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from cyclopts import App, CycloptsError, Parameter
from pydantic import ValidationError

from impasto.cli.console import (
    INTERRUPTED,
    describe_default,
    print_line,
    print_table,
    say,
    unwrapped,
)
from impasto.cli.urls import standing_in
from impasto.errors import ImpastoError, OptionError, describe_reason


class Command(NamedTuple):
    """A command ``NAME_command`` of a module of this folder."""

    module: str
    usage: str
    about: str  # the first line of its docstring
    panels: str | None = None  # the function that shows its flags in panels


COMMANDS = {
    "texture": Command(
        "explore",
        "STYLE [--output PICTURE]",
        "Make more of a texture than there is, at any size, and seamless if asked.",
        "show_explore_help",
    ),
    "invert": Command(
        "explore",
        "PHOTO [--layer LAYER] [--output PICTURE]",
        "Find a picture from nothing but a photograph's features: what a layer still knows of it.",
        "show_explore_help",
    ),
    "dream": Command(
        "explore",
        "[PHOTO] --class CLASS | --layer LAYER",
        "Make a picture that excites a class, a channel, or whatever a layer sees in a photograph.",
        "show_explore_help",
    ),
    "features": Command(
        "explore",
        "PHOTO [--layer LAYER]",
        "Show what layers of a network give for a picture: maps, Gram matrices, numbers.",
        "show_explore_help",
    ),
    "classes": Command("explore", "[WORDS]", "List the classes that dream --class knows by name."),
    "study": Command(
        "lab",
        "SUBJECT CONTENT STYLE [--output FOLDER]",
        "Make one of the papers' figures of your own pictures.",
        "show_lab_help",
    ),
    "sweep": Command(
        "lab",
        "CONTENT STYLE --vary OPTION=VALUES",
        "Paint a photograph with options crossed, measure every picture, and name the best.",
        "show_lab_help",
    ),
    "tune": Command(
        "lab",
        "CONTENT STYLE [--trials NUMBER]",
        "Search for settings that come near to both, the style and the photograph.",
        "show_lab_help",
    ),
    "augment": Command(
        "lab",
        "SOURCE OUT --styles FOLDER",
        "Write painted and disturbed copies of a labelled set of pictures, with the same labels.",
    ),
    "report": Command(
        "lab", "FOLDER", "Tell a study, sweep or search in one HTML page that needs nothing else."
    ),
    "train": Command(
        "train",
        "--style PICTURE --photos FOLDER [--output MODEL]",
        "Teach a network to paint in one pass, after one style or many; then: impasto instant "
        "--model.",
        "show_train_help",
    ),
    "export": Command(
        "instant",
        "--style PICTURE | --model MODEL [--output NETWORK]",
        "Write a network as ONNX, for other programs: photograph in, painting out, at any size.",
    ),
    "instant": Command(
        "instant",
        "PHOTOGRAPH --style PICTURE",
        "Paint a photograph in one pass, after any picture or with a network that was taught "
        "styles.",
        "show_instant_help",
    ),
    "relight": Command(
        "relight",
        "PHOTOGRAPH --like PICTURE [--output PICTURE]",
        "Give a photograph the light and the colours of another one, region by region.",
        "show_relight_help",
    ),
    "animate": Command(
        "video",
        "FILM --style PICTURE [--output FILM]",
        "Paint a film in the manner of a picture, or relight it: steady, sharp, with its sound.",
        "show_video_help",
    ),
    "live": Command(
        "video",
        "[CAMERA] --style PICTURE [--to window|pipe|DEVICE]",
        "Paint what a camera sees, as it comes; what comes too fast is left out, never queued.",
        "show_video_help",
    ),
    "serve": Command(
        "serve",
        "[--folder FOLDER] [--port PORT]",
        "Serve the studio and the HTTP API; jobs survive whatever is killed.",
    ),
    "paint": Command(
        "paint",
        "PHOTOGRAPH --style PICTURE [--output PAINTING]",
        "Paint a photograph in the manner of a picture, or of several.",
        "show_paint_help",
    ),
}

app = App(
    name="impasto",
    help="Paint photographs in the manner of a picture.",
    default_parameter=Parameter(negative_iterable=(), show_default=describe_default),
    help_format="plaintext",  # others load a parser for each help page
    version=lambda: __import__("impasto").__version__,
    suppress_keyboard_interrupt=False,  # told in run()
)


def import_later(module: str, name: str) -> Callable[..., Any]:
    """Return a function that stands for one of this folder, which is imported when it is called."""
    return lambda *given: getattr(import_module(f"impasto.cli.{module}"), name)(*given)


for name, command in COMMANDS.items():
    app.command(
        f"impasto.cli.{command.module}:{name}_command",
        name=name,
        help=command.about,
        help_formatter=import_later(command.module, command.panels) if command.panels else None,
        usage=f"Usage: impasto {name} {command.usage} [OPTIONS]",
    )
app.command(
    "impasto.cli.jobs:jobs", help="The queue of 'impasto serve': list, show, cancel, run-again."
)
app.command("impasto.cli.weights:weights", help="Weight files: list, fetch, import, verify, path.")

# --- what there is ------------------------------------------------------------------------------


@app.command
def recipes() -> None:
    """List the recipes that --recipe knows by name."""
    from impasto.recipes import list_recipes

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
    from impasto.cli.recipe_inputs import find_maker, read_painting_recipe
    from impasto.operations import OPERATIONS
    from impasto.recipes import read_recipe_file

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
    """Write pictures to begin with: four photographs and five style pictures.

    Parameters
    ----------
    folder
        Where they go; made if it is not there.
    size
        Side of the style pictures in pixels, at most 640.
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
    given = sys.argv[1:] if arguments is None else arguments
    try:
        with standing_in(given) as words:
            code = app(words, exit_on_error=False, print_error=False, result_action="return_value")
    except ImpastoError as error:
        say(f"impasto: {error}")
        return error.exit_code
    except ValidationError as error:
        say(f"impasto: {describe_wrong_value(error)}")
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


def describe_wrong_value(error: ValidationError) -> str:
    """Describe a value that is not allowed, and where a name is unknown, one that is near."""
    from impasto.options import describe_error
    from impasto.painting.options import PaintOptions

    return describe_error(error, list(PaintOptions.model_fields))


def report_usage(error: CycloptsError) -> int:
    """Say what is wrong with the flags in one line; pydantic's errors are told in our words."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ValidationError):
        cause = cause.__cause__ or cause.__context__
    text = describe_wrong_value(cause) if cause else str(error)
    say(f"impasto: {' '.join(text.split())}")
    return OptionError.exit_code


def main() -> None:
    """Run the command in ``sys.argv`` and exit with its code."""
    sys.exit(run())
