"""What every operation is: work that is done in steps, and the one event that each step yields.

The command line, batches, the Python functions and whatever else takes orders drive all work
through ``watch``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from impasto.cluster.places import HERE, WorkPlace

if TYPE_CHECKING:
    from PIL import Image

    from impasto.options import Options

Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)
PACKED = ("number", "steps", "text", "size", "seconds")
LOSSES = ("total", "style", "content", "tv")  # what paintings measure; all else is ``Step.more``


class Viewable(Protocol):
    """What can be looked at."""

    def to_pil(self) -> Image.Image: ...


@dataclass(frozen=True)
class Step:
    """How far work has come after one of its steps."""

    number: int  # steps done
    steps: int  # of so many; 0 where that is not known
    text: str = ""  # what the work is at, in a few words
    size: tuple[int, int] = (0, 0)  # (width, height) of the picture that is worked on
    measured: Mapping[str, float] = field(default_factory=dict)  # by name, before the picture moved
    seconds: float = 0.0  # since the work began
    look: Callable[[], Viewable] | None = field(default=None, compare=False, repr=False)

    def pack(self) -> dict[str, Any]:
        """Return what JSON can hold of the step."""
        return {name: getattr(self, name) for name in PACKED} | {"measured": dict(self.measured)}

    @property
    def total(self) -> float:
        """The total loss."""
        return self.measured.get("total", 0.0)

    @property
    def style(self) -> float:
        """The style loss, before its weight."""
        return self.measured.get("style", 0.0)

    @property
    def content(self) -> float:
        """The content loss, before its weight."""
        return self.measured.get("content", 0.0)

    @property
    def tv(self) -> float:
        """The total variation, before its weight."""
        return self.measured.get("tv", 0.0)

    @property
    def more(self) -> dict[str, float]:
        """What else was measured."""
        return {name: value for name, value in self.measured.items() if name not in LOSSES}


class Work(Protocol[Result_co]):
    """A running operation; ``result()`` returns what there is at any moment after its steps began.

    Its class has ``from_request``, which makes it from plain data.
    """

    @property
    def notes(self) -> list[str]:
        """What was done in the user's stead, so far."""

    def steps(self) -> Iterator[Step]:
        """Do the work, yielding after each step; closed early, it leaves nothing half done."""

    def result(self) -> Result_co:
        """Return what the work has come to so far."""


@runtime_checkable
class Described(Protocol):
    """Work that says what it is about to do."""

    def describe(self) -> list[str]:
        """Return lines such as ``painting 512 x 341 with compact on cpu``."""


@runtime_checkable
class Planned(Protocol):
    """Work that knows what memory it takes before it begins."""

    @property
    def memory_needed(self) -> int | None:
        """The bytes that it takes at most; None if that is not known."""


@runtime_checkable
class Resumable(Protocol):
    """Work whose state can be kept in a file, from which the same work goes on."""

    @property
    def steps_done(self) -> int:
        """How many steps are done, those before it was broken off among them."""

    @property
    def checkpoint_path(self) -> Path | None:
        """Where its state is kept, if it is."""

    def save_progress(self) -> None:
        """Write the state, if there is a place for it and no step is half done."""

    def discard_checkpoint(self) -> None:
        """Remove the file: the work is done."""


@dataclass(frozen=True)
class Request:
    """All that work is made from, as plain data: a command, an HTTP call or a job in a queue."""

    inputs: Mapping[str, tuple[str, ...]]  # paths or names, by the input's name
    options: Options
    output: Path | None = None  # where the work itself writes: a folder, a model
    checkpoint: Path | None = None  # the file that keeps the state of work that is broken off
    place: WorkPlace = HERE  # where the work is done
    film: Path | None = None  # where a film of all pictures goes

    def one(self, name: str) -> str:
        """Return the input of that name, of which there is one."""
        (value,) = self.inputs[name]
        return value

    def some(self, name: str) -> str | None:
        """Return the input of that name, or None if it was not given."""
        return next(iter(self.inputs.get(name, ())), None)

    def many(self, name: str) -> list[str]:
        """Return all inputs of that name."""
        return list(self.inputs.get(name, ()))


def watch(
    work: Work[object],
    on_step: Callable[[Step], None] | None = None,
    *,
    is_stopped: Callable[[], bool] = lambda: False,
) -> bool:
    """Do the work, showing every step to ``on_step``; return whether it came to its end."""
    with closing(_go_through(work)) as steps:
        for step in steps:
            if on_step is not None:
                on_step(step)
            if is_stopped() and step.number != step.steps:
                return False
    return True


def _go_through(work: Work[object]) -> Generator[Step, None, None]:
    """Yield the work's steps from a generator, which can be closed whatever they are."""
    yield from work.steps()


def finish(work: Work[Result], on_step: Callable[[Step], None] | None = None) -> Result:
    """Do the work to its end and return its result."""
    watch(work, on_step)
    return work.result()
