"""Work in the terminal: its progress, what is written beside it, and Ctrl-C."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from cyclopts import Parameter
from pydantic import Field

from impasto.console import catch_interrupt, make_progress, say
from impasto.errors import MissingFileError, OptionError
from impasto.files import check_place
from impasto.operations import OPERATIONS
from impasto.options import PICTURES, Options, list_recipes, parse_recipe, read_recipe_file

if TYPE_CHECKING:
    from impasto.paintings import Painting, Step

INTERRUPTED = 130
START_FROM_LAST = "name another (to start from what OUTPUT holds: --init last)"
Given = TypeVar("Given", bound=Options)


class Habits(Options):
    """What goes with all that makes pictures."""

    metadata: bool = Field(default=True, description="Keep the recipe inside the picture.")
    quiet: Annotated[bool, Parameter(alias="-q", negative=())] = Field(
        default=False, description="Say nothing but errors."
    )

    @property
    def tell(self) -> Callable[[str], None]:
        return (lambda _: None) if self.quiet else say


class Extras(Habits):
    """What is written beside one picture."""

    history: Path | None = Field(
        default=None, description="Write the losses of every step to this .csv file."
    )
    plot: Path | None = Field(
        default=None, description="Draw the losses to this .png, .svg or .pdf file."
    )
    every: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="Write the picture as it stands every so many steps, as OUTPUT-0010.png and so "
        "on.",
    )
    film: Path | None = Field(
        default=None,
        description="Show it grow in this .gif, .webp or .mp4 file; after a kill, from the step "
        "that a checkpoint was taken up at.",
    )
    checkpoint: Path | None = Field(
        default=None,
        description="Keep the state of the work in this file: after a crash or a kill, the same "
        "command goes on from there, to the same bytes. It is removed at the end.",
    )

    def refuse_for_many(self, one: str) -> None:
        """An error where something is asked for that goes with one picture alone."""
        for name in ("history", "plot", "every", "film", "checkpoint"):
            if getattr(self, name) is not None:
                raise OptionError(f"--{name} goes with {one}, not with several")

    def files(self) -> dict[str, Path]:
        """What is written, by the names of its flags."""
        named = {name: getattr(self, name) for name in ("history", "plot", "film", "checkpoint")}
        return {name: path for name, path in named.items() if path is not None}


# --- what must not be -----------------------------------------------------------------------------


def check_outputs(
    output: Path, read: Iterable[Path], extras: Extras, *, mend: str = START_FROM_LAST
) -> None:
    """What cannot be written is said before the work, not after it; ``mend`` is what else might be
    done where a picture that is read would be written over."""
    from impasto.images import check_writable

    check_writable(output)
    if extras.film is not None:
        from impasto.clips import check_film

        check_film(extras.film)
    if extras.plot is not None:
        from impasto.plots import check_figure

        check_figure(extras.plot)
    if extras.history is not None:
        check_place(extras.history, "losses")
    check_apart(output, read, extras, mend)


def check_apart(output: Path, read: Iterable[Path], extras: Extras, mend: str) -> None:
    """Nothing that is read may be written over, and no file written twice."""
    read_files = {path.resolve(): path for path in read}
    written: dict[Path, str] = {}
    for name, path in {"output": output, **extras.files()}.items():
        if path.resolve() in read_files:
            raise OptionError(
                f"--{name} {str(path)!r} is one of the pictures that are read, and would be "
                f"written over; {mend}"
            )
        if other := written.get(path.resolve()):
            raise OptionError(f"--{name} and --{other} are the same file, {str(path)!r}")
        written[path.resolve()] = name
    if extras.every:
        output = output.resolve()
        growth = re.compile(rf"{re.escape(output.stem)}-\d{{4,}}{re.escape(output.suffix)}")
        for path in (*read_files, *written):
            if path.parent == output.parent and growth.fullmatch(path.name):
                raise OptionError(f"--every could write over {str(path.name)!r}; rename it")


def check_folder(folder: Path, what: str) -> None:
    """An error where ``what``, "several layers", would go to what is named like a picture, or lie
    about among other files."""
    from impasto.images import WRITABLE

    if folder == Path():  # also by an empty name
        raise OptionError(f"{what} go to a folder of their own; name one")
    if folder.suffix.lower() in WRITABLE and not folder.is_dir():
        raise OptionError(f"{what} go to a folder; {folder.name!r} names a picture")


def check_named(*pictures: str) -> None:
    """An empty name would be that of the folder one is in."""
    if not all(pictures):
        raise OptionError("a picture has an empty name")


# --- one picture --------------------------------------------------------------------------------


def follow(work: Any, output: Path, extras: Extras, *, bare: bool = False) -> int:
    """Do one picture's work, show how it goes, and write all that was asked for; ``bare`` work has
    no steps to count."""
    tell, told, count = extras.tell, len(work.notes), work.options.steps
    watchers: list[Callable[[Step], None]] = []
    if extras.every:
        watchers.append(KeepEvery(work, output, extras.every, metadata=extras.metadata))
    growing = FilmGrowth(work, extras.film, count) if extras.film else None
    if growing:
        watchers.append(growing)
        if work.progress.history:
            tell(f"note: the film begins at step {len(work.progress.history) + 1}")
    finished = run_steps(work.steps(), count, watchers, quiet=bare or extras.quiet)
    for note in work.notes[told:]:
        tell(f"note: {note}")
    result = work.result()
    if not result.history and not (finished and bare):
        say("stopped before the first step; nothing was written")
        return INTERRUPTED
    if not finished:
        work.save_progress()  # before the picture, from which the run may have started
    notes = result.save(output, metadata=extras.metadata)
    for note in (*notes, *(growing.write() if growing else ())):
        tell(f"note: {note}")
    write_losses(result, extras)
    if finished and work.checkpoint:
        work.checkpoint.remove()
    tell(describe_result(result, output, finished=finished))
    if not finished and work.checkpoint and work.checkpoint.path.exists():
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
                progress.update(task, completed=step.number, losses=describe_step(step))
                for watcher in watchers:
                    watcher(step)
                if asked.is_set():
                    return False
        except KeyboardInterrupt:
            return False
    return True


def describe_step(step: Step) -> str:
    """``512 x 341  style 0.03  content 0.4``: what is measured of it."""
    parts = {"style": step.style, "content": step.content, "score": step.more.get("score", 0.0)}
    shown = [f"{name} {value:.3g}" for name, value in parts.items() if value]
    return "  ".join([f"{step.size[0]} x {step.size[1]}", *shown])


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
    done = "painted" if result.recipe.get("operation", "paint") == "paint" else "made"
    what = done if finished else "stopped; the best so far is"
    if not result.history:
        return f"{what} {output} ({width} x {height}), colours alone"
    last = result.history[-1]
    return f"{what} {output} ({width} x {height}) in {last.number} steps, {last.seconds:.1f} s"


# --- many pictures ------------------------------------------------------------------------------


def follow_moments(work: Any, *, quiet: bool) -> bool:
    """Do the work of many pictures behind a progress bar, its notes after it; whether it came to
    its end."""
    told = set()
    for note in work.notes:
        told.add(note)
        if not quiet:
            say(f"note: {note}")
    finished = True
    with make_progress(quiet) as progress, catch_interrupt() as asked:
        bar = progress.add_task("", total=None, losses="")
        try:
            with closing(work.steps()) as moments:
                for moment in moments:
                    progress.update(
                        bar, completed=moment.done, total=moment.total, losses=moment.text
                    )
                    if asked.is_set():
                        finished = False
                        break
        except KeyboardInterrupt:
            finished = False
    for note in work.notes:
        if note not in told and not quiet:
            say(f"note: {note}")
    return finished


# --- recipes ------------------------------------------------------------------------------------


def apply_recipe(recipe: str | None, given: Given, operation: str) -> Given:
    """Default, then recipe, then what the user said."""
    if recipe is None:
        return given
    painted = read_painting_recipe(recipe)
    made_by = "paint" if painted is None else painted.get("operation", "paint")
    if painted is not None and made_by != operation:
        raise OptionError(f"{recipe!r} was made by 'impasto {made_by}', not {operation}")
    values = read_recipe_file(recipe) if painted is None else painted["options"]
    check_options_of(values, recipe, type(given))
    said = {name: getattr(given, name) for name in given.model_fields_set}
    fields = type(given).model_fields
    known = {fields[name].alias or name for name in said}
    values = {name: value for name, value in values.items() if name not in known}
    if recipe not in list_recipes():
        values = find_pictures_of(values, Path(recipe).parent)
    return type(given).read({**values, **{fields[n].alias or n: v for n, v in said.items()}})


def check_options_of(values: Iterable[str], recipe: str, options: type[Options]) -> None:
    """An error for what is an option, but of another operation; what is none at all is told by the
    options themselves."""
    here = list_options(options)
    for value in values:
        others = [name for name, o in OPERATIONS.items() if value in list_options(o.options)]
        if others and value not in here:
            raise OptionError(
                f"recipe {recipe!r} is for 'impasto {others[0]}': there is no {value} here"
            )


def list_options(options: type[Options]) -> list[str]:
    """As recipes have them."""
    return [field.alias or name for name, field in options.model_fields.items()]


def read_painting_recipe(recipe: str) -> dict[str, Any] | None:
    """What a picture was made from and how; None if this is a recipe's name or file."""
    if Path(recipe).suffix.lower() in (".toml", ".json", "") or recipe in list_recipes():
        return None
    from impasto.images import read_recipe

    text = read_recipe(recipe)
    if text is None:
        raise OptionError(f"{recipe!r} carries no recipe")
    options = parse_recipe(text, recipe)
    content = json.loads(text) if text.lstrip().startswith("{") else {}
    return {**content, "options": options}


def find_input(given: str | None, recipe: str | None, kind: str, lack: str) -> str:
    """The picture that is named, or that the one with the recipe was made from; ``kind`` is
    "content" or "style", and ``lack`` what is said where there is none."""
    if given is not None:
        check_named(given)
        return given
    made_from = read_painting_recipe(recipe) if recipe is not None else None
    names = (made_from or {}).get(kind) or []
    names = [names] if isinstance(names, str) else names
    if not names:
        raise OptionError(lack)
    return find_beside(str(names[0]), Path(str(recipe)).parent)


def find_beside(name: str, folder: Path) -> str:
    """A file that a recipe knows by its name: here, or beside the recipe."""
    for path in (Path(name), folder / name):
        if path.exists():
            return str(path)
    raise MissingFileError(
        f"the recipe was made with {name!r}, which is neither here nor beside it"
    )


def find_pictures_of(options: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A recipe knows its masks, its network, and the picture it starts from, by their names."""
    found = dict(options)
    for name in (*PICTURES, "init", "model"):
        value = found.get(name)
        if isinstance(value, list):
            found[name] = [find_beside(str(each), folder) for each in value]
        elif isinstance(value, str) and (name in PICTURES or set("./") & set(value)):
            found[name] = find_beside(value, folder)
    return found
