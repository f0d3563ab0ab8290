"""Where work is done: in this process, in others of this machine, or on a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from impasto.errors import OptionError, suggest

PlaceKind = Literal["local", "ray", "dask"]
PLACE_FORM = "local:N, ray, ray:ADDRESS or dask:ADDRESS"


@dataclass(frozen=True)
class Place:
    """Where tasks are done."""

    kind: PlaceKind = "local"
    count: int = 1  # processes of this machine; 1: this very process
    address: str = ""  # of a cluster; none: Ray is started here, for as long as the work takes

    @property
    def is_here(self) -> bool:
        """Whether this very process does the work."""
        return self.kind == "local" and self.count == 1


HERE = Place()


def parse_place(text: str) -> Place:
    """Read ``local:4``, ``ray``, ``ray:10.0.0.1:6379`` or ``dask:tls://10.0.0.1:8786``."""
    kind, _, rest = text.strip().partition(":")
    if kind not in get_args(PlaceKind):
        hint = suggest(kind, get_args(PlaceKind))
        raise OptionError(f"on {text!r}: give {PLACE_FORM}{hint}")
    if kind == "local":
        return Place(count=_read_count(text, rest))
    if kind == "dask":
        if not rest:
            raise OptionError("on 'dask': name its scheduler, as in dask:tls://10.0.0.1:8786")
        return Place("dask", address=rest)
    return Place("ray", address=rest)


def _read_count(text: str, count: str) -> int:
    """Return how many processes are asked for: as many as there are cores, if it is not said."""
    if not count:
        from impasto.system.devices import granted_cores

        return granted_cores()
    if not count.isdecimal() or not 1 <= int(count) <= 10_000:
        raise OptionError(f"on {text!r}: {count!r} is no number of processes; give {PLACE_FORM}")
    return int(count)


def choose_place(on: str | Place | None, jobs: int = 1) -> Place:
    """Return the place that is named by ``on``, or by a number of processes alone."""
    if jobs < 1:
        raise OptionError(f"jobs must be at least 1, not {jobs}")
    if on is None or isinstance(on, Place):
        return on or Place(count=jobs)
    if jobs > 1:
        raise OptionError("jobs and on both say where the work is done; give one of them")
    return parse_place(on)
