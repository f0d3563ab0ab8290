"""Where work is done: in this process, in others of this machine, or on a cluster."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from typing import Literal, get_args
from urllib.parse import urlsplit

from impasto.errors import ClusterError, OptionError, suggest

PlaceKind = Literal["local", "ray", "dask"]
PLACE_FORM = "local:N, ray, ray:ADDRESS or dask:ADDRESS"


@dataclass(frozen=True)
class WorkPlace:
    """Where tasks are done."""

    kind: PlaceKind = "local"
    count: int = 1  # processes of this machine; 1: this very process
    address: str = ""  # of a cluster; none: Ray is started here, for as long as the work takes

    @property
    def is_here(self) -> bool:
        """Whether this very process does the work."""
        return self.kind == "local" and self.count == 1


HERE = WorkPlace()


def parse_place(text: str) -> WorkPlace:
    """Read ``local:4``, ``ray``, ``ray:10.0.0.1:6379`` or ``dask:tls://10.0.0.1:8786``."""
    kind, _, rest = text.strip().partition(":")
    if kind not in get_args(PlaceKind):
        hint = suggest(kind, get_args(PlaceKind))
        raise OptionError(f"on {text!r}: give {PLACE_FORM}{hint}")
    if kind == "local":
        return WorkPlace(count=_read_count(text, rest))
    if kind == "dask":
        if not rest:
            raise OptionError("on 'dask': name its scheduler, as in dask:tls://10.0.0.1:8786")
        return WorkPlace("dask", address=rest)
    return WorkPlace("ray", address=rest)


def _read_count(text: str, count: str) -> int:
    """Return how many processes are asked for: as many as there are cores, if it is not said."""
    if not count:
        from impasto.system.devices import granted_cores

        return granted_cores()
    if not count.isdecimal() or not 1 <= int(count) <= 10_000:
        raise OptionError(f"on {text!r}: {count!r} is no number of processes; give {PLACE_FORM}")
    return int(count)


def choose_place(on: str | WorkPlace | None, jobs: int = 1) -> WorkPlace:
    """Return the place that is named by ``on``, or by a number of processes alone."""
    if jobs < 1:
        raise OptionError(f"jobs must be at least 1, not {jobs}")
    if on is None or isinstance(on, WorkPlace):
        return on or WorkPlace(count=jobs)
    if jobs > 1:
        raise OptionError("jobs and on both say where the work is done; give one of them")
    place = parse_place(on)
    if place.kind == "dask":
        check_address(place.address)
    if place.kind == "ray" and place.address:
        check_token_mode(place.address)
    return place


# --- whom to trust ------------------------------------------------------------------------------


def check_address(address: str) -> str:
    """Return the whole address of a Dask scheduler; refuse one on a network without TLS."""
    address = address if "://" in address else f"tcp://{address}"
    parts = urlsplit(address)
    if parts.scheme == "tls":
        return address
    host = parts.hostname or ""
    try:
        is_near = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_near = False
    if parts.scheme != "tcp" or not is_near:
        raise ClusterError(
            f"{address!r} is no address of a Dask scheduler to be trusted: whoever reaches it "
            "runs any code there; give tls://HOST:PORT, or tcp:// on this machine (docs/cluster.md)"
        )
    return address


def check_token_mode(address: str) -> None:
    """Refuse to join a Ray cluster without its token."""
    if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        raise ClusterError(
            f"the Ray cluster at {address!r} is to ask for a token, or it runs anyone's code; "
            "start it with RAY_AUTH_MODE=token, and set it here too (docs/cluster.md)"
        )
