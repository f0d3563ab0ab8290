"""What a command writes: flags for it, and what is refused before the work."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from pydantic import Field

from impasto.cli.console import say
from impasto.errors import OptionError
from impasto.options import Options
from impasto.system.files import check_place, resolve_path

if TYPE_CHECKING:
    from impasto.painting.result import Painting
START_FROM_LAST = "name another (to start from what OUTPUT holds: --init last)"


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

    def list_written(self) -> dict[str, Path]:
        """What is written, by the names of its flags."""
        named = {name: getattr(self, name) for name in ("history", "plot", "film", "checkpoint")}
        return {name: path for name, path in named.items() if path is not None}


# --- what must not be -----------------------------------------------------------------------------


def check_outputs(
    output: Path, read: Iterable[Path], extras: Extras, *, mend: str = START_FROM_LAST
) -> None:
    """What cannot be written is said before the work, not after it; ``mend`` is what else might be
    done where a picture that is read would be written over."""
    from impasto.images.writing import check_writable

    check_writable(output)
    if extras.film is not None:
        from impasto.video.film import check_film

        check_film(extras.film)
    if extras.plot is not None:
        from impasto.figures.plots import check_figure

        check_figure(extras.plot)
    if extras.history is not None:
        check_place(extras.history, "losses")
    check_apart(output, read, extras, mend)


def check_apart(output: Path, read: Iterable[Path], extras: Extras, mend: str) -> None:
    """Nothing that is read may be written over, and no file written twice."""
    read_files = {resolve_path(path): path for path in read}
    written: dict[Path, str] = {}
    for name, path in {"output": output, **extras.list_written()}.items():
        if resolve_path(path) in read_files:
            raise OptionError(
                f"--{name} {str(path)!r} is one of the pictures that are read, and would be "
                f"written over; {mend}"
            )
        if other := written.get(resolve_path(path)):
            raise OptionError(f"--{name} and --{other} are the same file, {str(path)!r}")
        written[resolve_path(path)] = name
    if extras.every:
        output = resolve_path(output)
        growth = re.compile(rf"{re.escape(output.stem)}-\d{{4,}}{re.escape(output.suffix)}")
        for path in (*read_files, *written):
            if path.parent == output.parent and growth.fullmatch(path.name):
                raise OptionError(f"--every could write over {str(path.name)!r}; rename it")


def check_folder(folder: Path, what: str) -> None:
    """An error where ``what``, "several layers", would go to what is named like a picture, or lie
    about among other files."""
    from impasto.images.writing import WRITABLE

    if folder == Path():  # also by an empty name
        raise OptionError(f"{what} go to a folder of their own; name one")
    if folder.suffix.lower() in WRITABLE and not folder.is_dir():
        raise OptionError(f"{what} go to a folder; {folder.name!r} names a picture")


def check_named(*pictures: str) -> None:
    """An empty name would be that of the folder one is in."""
    if not all(pictures):
        raise OptionError("a picture has an empty name")


def write_losses(result: Painting, extras: Extras) -> None:
    if extras.history is not None:
        from impasto.painting.result import write_history

        write_history(result, extras.history)
    if extras.plot is not None:
        from impasto.figures.plots import plot_losses, save_figure

        save_figure(plot_losses(result.history), extras.plot)


def describe_result(result: Painting, output: Path, *, finished: bool) -> str:
    width, height = result.pixels.shape[-1], result.pixels.shape[-2]
    done = "painted" if result.recipe.get("operation", "paint") == "paint" else "made"
    what = done if finished else "stopped; the best so far is"
    if not result.history:
        return f"{what} {output} ({width} x {height}), colours alone"
    last = result.history[-1]
    return f"{what} {output} ({width} x {height}) in {last.number} steps, {last.seconds:.1f} s"
