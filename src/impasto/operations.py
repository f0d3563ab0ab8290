"""What Impasto can do: name -> its options, and the class that does it.

The only dispatch: the command line, and whatever else takes orders, goes through it. Work is made
from its inputs and options, yields a step at a time from ``steps()``, and has a ``result()`` at any
moment after that, so that work broken off still has something to show.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from pydantic import BaseModel

from impasto.options import PaintOptions


class Work(Protocol):
    """A running operation."""

    notes: list[str]

    def steps(self) -> Iterator[Any]: ...

    def result(self) -> Any: ...


@dataclass(frozen=True)
class Operation:
    """The options of an operation and, as ``room:name``, the class that does it: imported when
    work begins, so that listing operations costs nothing."""

    options: type[BaseModel]
    work: str

    def start(self, *inputs: Any, options: BaseModel, **more: Any) -> Any:
        room, _, name = self.work.partition(":")
        return getattr(import_module(f"impasto.{room}"), name)(*inputs, options, **more)


OPERATIONS = {
    "paint": Operation(PaintOptions, "painter:Painter"),
}
