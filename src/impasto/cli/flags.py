"""Flags that several commands have in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from pydantic import Field

from impasto.cli.console import choose_tell
from impasto.cluster.places import WorkPlace, choose_place
from impasto.errors import OptionError
from impasto.jobs.batch import Pairs
from impasto.options import Options

StyleFlag = Annotated[list[str] | None, Parameter(alias="-s")]
LikeFlag = Annotated[list[str] | None, Parameter(alias="-l")]
OutputFlag = Annotated[Path | None, Parameter(alias="-o")]
QuietFlag = Annotated[bool, Parameter(alias="-q", negative=())]


class Habits(Options):
    """What goes with all that makes pictures."""

    metadata: bool = Field(default=True, description="Keep the recipe inside the picture.")
    quiet: QuietFlag = Field(default=False, description="Say nothing but errors.")

    @property
    def tell(self) -> Callable[[str], None]:
        """Return what prints a line, unless that is not wanted."""
        return choose_tell(self.quiet)


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

    def refuse_for_many(self, one: str, other: str = "several") -> None:
        """Raise an error where something is asked for that goes with one picture alone."""
        for name in ("history", "plot", "every", "film", "checkpoint"):
            if getattr(self, name) is not None:
                raise OptionError(f"--{name} goes with {one}, not with {other}")

    def list_written(self) -> dict[str, Path]:
        """Return what is written, by the names of its flags."""
        named = {name: getattr(self, name) for name in ("history", "plot", "film", "checkpoint")}
        return {name: path for name, path in named.items() if path is not None}


_ON = (
    "Where the work is shared out: local:N, in so many processes of this machine; ray, or "
    "ray:ADDRESS of a Ray cluster; dask:ADDRESS of a Dask scheduler (docs/cluster.md)."
)
OnField: Any = Field(default=None, description=_ON)
JobsField: Any = Field(
    default=1, description="How many processes share the work; short for --on local:N."
)


class PlaceFlags(Options):
    """Where work that has many parts is done."""

    jobs: Annotated[int, Field(ge=1)] = JobsField
    on: str | None = OnField

    @property
    def place(self) -> WorkPlace:
        """Return where the work is done."""
        return choose_place(self.on, self.jobs)


class BatchFlags(Options):
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
        "process; short for --on local:N.",
    )
    on: str | None = OnField
    overwrite: Annotated[bool, Parameter(negative=())] = Field(
        default=False, description="Of several paintings, paint also those that are there already."
    )

    @property
    def place(self) -> WorkPlace:
        """Return where they are painted."""
        return choose_place(self.on, self.jobs)

    @property
    def suffix(self) -> str:
        """Return what the names of paintings end in."""
        return f".{self.format}"


class FolderFlags(PlaceFlags):
    """What studies, sweeps and searches share."""

    style: Annotated[tuple[str, ...], Parameter(alias="-s")] = Field(
        default=(),
        description="The picture in whose manner it is painted; repeated, several are blended.",
    )
    recipe: str | None = Field(
        default=None,
        description="Options to begin with: a name from 'impasto recipes', a .toml file or a "
        "painting.",
    )
    quiet: QuietFlag = Field(default=False, description="Say nothing but errors.")
