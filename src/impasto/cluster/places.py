"""Where work is done: in this process, in others of this machine, or on a cluster."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from typing import Literal, get_args
from urllib.parse import urlsplit

from impasto.errors import ClusterError, OptionError, plural, suggest

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

    @property
    def is_cluster(self) -> bool:
        """Whether a cluster does the work."""
        return self.kind != "local"

    def __str__(self) -> str:
        return f"{self.kind}:{self.address}" if self.address else self.kind

    def describe_idle(self, most: int) -> list[str]:
        """Return what is to be said where there are fewer parts of work than processes."""
        if self.is_cluster or self.count <= max(1, most):
            return []
        does = "one process does it" if most < 2 else f"{most} processes do it"
        return [f"the work has {plural(most, 'part')}: {does}, and not {self.count}"]


HERE = WorkPlace()


def parse_place(text: str) -> WorkPlace:
    """Read ``local:4``, ``ray``, ``ray:10.0.0.1:6379`` or ``dask:tls://10.0.0.1:8786``."""
    kind, colon, rest = text.strip().partition(":")
    if kind not in get_args(PlaceKind):
        hint = suggest(kind, get_args(PlaceKind))
        raise OptionError(f"on {text!r}: give {PLACE_FORM}{hint}")
    if kind == "local":
        return WorkPlace(count=_read_count(text, rest, is_said=bool(colon)))
    if kind == "dask":
        if not rest:
            raise OptionError(f"on {text!r}: name its scheduler, as in dask:tls://10.0.0.1:8786")
        return WorkPlace("dask", address=rest)
    if colon and not rest:
        raise OptionError(
            f"on {text!r}: name its head, as in ray:10.0.0.1:6379; ray alone starts one here"
        )
    if rest not in ("", "auto"):
        split_address(rest)
    return WorkPlace("ray", address=rest)


def _read_count(text: str, count: str, *, is_said: bool) -> int:
    """Return how many processes are asked for: as many as there are cores, if it is not said."""
    if not is_said:
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


def split_address(address: str) -> tuple[str, str, int]:
    """Return scheme, host and port of an address such as ``tls://10.0.0.1:8786``."""
    try:
        parts = urlsplit(address if "://" in address else f"tcp://{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port:
        raise OptionError(f"{address!r} is no address: give HOST:PORT, as in 10.0.0.1:6379")
    return parts.scheme, host, port


# --- whom to trust ------------------------------------------------------------------------------


def check_address(address: str) -> str:
    """Return the whole address of a Dask scheduler; refuse one on a network without TLS."""
    scheme, host, _ = split_address(address)
    address = address if "://" in address else f"tcp://{address}"
    if scheme == "tls":
        return address
    try:
        is_near = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_near = False
    if scheme != "tcp" or not is_near:
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
