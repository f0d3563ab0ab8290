"""A job as data: what is to be done, of which files, and how far it has come."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal, Self, get_args

JobState = Literal["queued", "running", "paused", "done", "failed", "cancelled"]
JOB_STATES: tuple[JobState, ...] = get_args(JobState)
EndedState = Literal["done", "failed", "cancelled"]
ENDED_STATES: tuple[EndedState, ...] = get_args(EndedState)
Wish = Literal["cancel", "pause"]  # what is asked of a job that is running


@dataclass(frozen=True)
class JobInput:
    """One value of an input: a word, a file by its digest, or a folder of some."""

    name: str  # the word itself, or what the file or the folder is called
    digest: str | None = None
    members: tuple[tuple[str, str], ...] = ()  # (path, digest) of a folder's files

    @property
    def is_word(self) -> bool:
        """Whether there is no file behind it."""
        return self.digest is None and not self.members

    def list_digests(self) -> list[str]:
        """Return the digests of all its files."""
        own = [self.digest] if self.digest else []
        return [*own, *(digest for _, digest in self.members)]

    @classmethod
    def unpack(cls, packed: Mapping[str, Any]) -> Self:
        """Return what ``asdict`` made plain and JSON has carried."""
        members = tuple((path, digest) for path, digest in packed["members"])
        return cls(packed["name"], packed["digest"], members)


JobInputs = Mapping[str, tuple[JobInput, ...]]


@dataclass(frozen=True)
class JobOrder:
    """What is asked for: the same order is the same work."""

    operation: str
    inputs: JobInputs
    options: Mapping[str, Any]  # as JSON has them; None or [] for those that name files
    files: JobInputs = field(default_factory=dict)  # of such an option, one or a list of them
    picture: str = ".png"  # what a picture's name ends in

    def list_digests(self) -> set[str]:
        """Return the digests of all files that the work reads."""
        every = (*self.inputs.values(), *self.files.values())
        return {digest for values in every for each in values for digest in each.list_digests()}

    @cached_property
    def packed(self) -> str:
        """The order as a line of JSON, the same for the same order."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)

    @classmethod
    def unpack(cls, packed: str) -> Self:
        """Return the order that was packed."""
        facts = json.loads(packed)
        for name in ("inputs", "files"):
            facts[name] = {
                key: tuple(map(JobInput.unpack, values)) for key, values in facts[name].items()
            }
        return cls(**facts)

    def digest(self) -> str:
        """Return what two orders are compared by."""
        return hashlib.sha256(self.packed.encode()).hexdigest()


@dataclass(frozen=True)
class JobResult:
    """A file that a job made."""

    name: str  # its path below the job's output, with slashes
    digest: str
    size: int  # bytes
    width: int = 0
    height: int = 0


@dataclass(frozen=True)
class Job:
    """A row of the queue."""

    id: str
    order: JobOrder
    state: JobState
    client: str
    label: str
    version: int  # grows with every change of any job
    place: int  # in its client's queue
    attempts: int  # begun since it last came further
    created: float  # seconds since 1970, as all times here
    lease: str | None = None  # who works on it, known by a word of chance
    lease_until: float | None = None
    wish: Wish | None = None
    started: float | None = None
    ended: float | None = None
    seconds: float = 0.0  # of work, in all attempts
    progress: Mapping[str, Any] = field(default_factory=dict)  # its last step, as packed
    notes: tuple[str, ...] = ()
    error: str | None = None
    results: tuple[JobResult, ...] = ()
    is_favourite: bool = False


@dataclass(frozen=True)
class Upload:
    """A file that a client sent, under the name that it had."""

    id: str
    name: str
    digest: str
    size: int
    kind: str  # as inputs of operations have kinds
    facts: Mapping[str, Any]  # width, height, format ... of a picture
    created: float
