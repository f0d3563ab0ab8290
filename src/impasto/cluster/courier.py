"""Executors of clusters: a process of its own holds the connection, and the driver talks with it.

So whatever a cluster's library does to its process (threads, signals, logs, an end without a word
when the cluster is gone) is done to that one, and the driver tells it in a line.
"""

from __future__ import annotations

import itertools
import os
import pickle
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from importlib import import_module
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol
from weakref import finalize

from impasto.cluster.executors import JobExecutor, TalkingTask, TaskFuture, Tell
from impasto.cluster.places import WorkPlace, split_address
from impasto.errors import ClusterError, ImpastoError, LostProcessError, describe_reason
from impasto.system.processes import TalkingProcess

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

_KNOCKING = 5.0  # seconds until something must listen at a cluster's address
_STARTING = 180.0  # seconds until a cluster must have answered
_ENDING = 10.0  # seconds that it has to take leave in
_LOOK = 2.0  # seconds between two looks at how large the cluster is
_BACKENDS = {"ray": "ray_executor:RayBackend", "dask": "dask_executor:DaskBackend"}


@dataclass(frozen=True)
class ClusterFacts:
    """What is known of a cluster once it has answered."""

    slots: int  # tasks at the same time
    cores: int  # of the machine that has most
    notes: tuple[str, ...] = ()
    tries: int = 4  # times that a task is begun whose worker is lost


class Backend(Protocol):
    """A cluster's library, as the courier uses it."""

    lost: tuple[type[Exception], ...]  # what says that a worker was lost

    def begin(self, place: WorkPlace, needs: Any) -> ClusterFacts:
        """Start or join the cluster."""

    def put(self, content: bytes) -> Any:
        """Return what stands for bytes that are held by the cluster."""

    def submit(self, call: bytes, contents: Sequence[Any]) -> Future[bytes]:
        """Have ``run_call`` called somewhere; its future's ``cancel`` ends it."""

    def cancel(self, future: Future[bytes]) -> None:
        """End a task, running or not."""

    def count_slots(self) -> int:
        """Return how many tasks it does at the same time now."""

    def end(self) -> None:
        """Leave the cluster; end one that was started here."""


# --- the driver's end ---------------------------------------------------------------------------


class _Handle:
    """Stands for bytes that the cluster holds as long as this lives."""

    def __init__(self, number: int, drop: Callable[[int], None]) -> None:
        self.number = number
        finalize(self, drop, number).atexit = False


class RemoteExecutor(JobExecutor):
    """Executes tasks on a cluster."""

    is_remote = True

    def __init__(self, place: WorkPlace, needs: Any = None) -> None:
        self.kind = place.kind
        self._numbers = itertools.count()
        self._futures: dict[int, TaskFuture] = {}
        self._lock = threading.RLock()  # of the futures; never held while something is sent
        self._sending = threading.Lock()
        self._dropped: SimpleQueue[int] = SimpleQueue()
        self._end_word = ""
        self._process = TalkingProcess(serve_cluster, place, needs, with_children=True)
        try:
            facts = self._process.receive(_STARTING)
        except EOFError:
            facts = ClusterError(f"{self.kind} {self._process.describe_end()} as it started")
        if not isinstance(facts, ClusterFacts):
            self._process.close()
            raise facts or ClusterError(f"no {self.kind} cluster answers at {place.address!r}")
        self.facts, self.slots, self.tries = facts, facts.slots, facts.tries
        self._thread = threading.Thread(target=self._listen, name="cluster", daemon=True)
        self._thread.start()

    @property
    def is_gone(self) -> bool:
        """Whether the cluster was lost."""
        return bool(self._end_word)

    def put(self, content: bytes) -> _Handle:
        """Have the cluster hold bytes."""
        number = next(self._numbers)
        self._send(("put", number, content))
        return _Handle(number, self._drop)

    def _drop(self, number: int) -> None:
        """Note what is needed no more: this may come in the middle of anything, sending too."""
        self._dropped.put(number)

    def _send(self, message: object) -> None:
        # Answers are taken meanwhile: else both ends might wait for each other to read.
        with self._sending:
            while not self._dropped.empty():
                self._process.send(("drop", self._dropped.get()))
            self._process.send(message)

    def submit_task(self, function: TalkingTask, task: object, on_message: Tell) -> TaskFuture:
        """Refuse tasks that are talked with: what is told would not reach the driver."""
        raise NotImplementedError("a cluster's tasks are plain calls")

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Execute a function of a module; handles among its arguments become bytes."""
        future = TaskFuture(lambda _: None)
        number = next(self._numbers)
        handles = [arg.number for arg in args if isinstance(arg, _Handle)]
        places = [i for i, arg in enumerate(args) if isinstance(arg, _Handle)]
        plain = [None if isinstance(arg, _Handle) else arg for arg in args]
        call = pickle.dumps((function, plain, kwargs, places))
        with self._lock:
            if self._end_word:
                raise ClusterError(self._end_word)
            self._futures[number] = future
        future.add_done_callback(lambda done: self._forget(number, done))
        self._send(("submit", number, call, handles))
        return future

    def _forget(self, number: int, future: Future[Any]) -> None:
        with self._lock:
            known = self._futures.pop(number, None)
        if known is not None and future.cancelled():
            self._send(("cancel", number))

    def _listen(self) -> None:
        """Take what comes: the life of a thread."""
        while True:
            try:
                kind, *content = self._process.receive(None)
            except (EOFError, OSError, TypeError):
                self._lose_all()
                return
            if kind == "slots":
                self.slots = content[0]
            elif kind == "done":
                self._settle(*content)

    def _settle(self, number: int, answer: bytes | Exception) -> None:
        with self._lock:
            future = self._futures.get(number)
        if future is None or not future.set_running_or_notify_cancel():
            return
        outcome: Any = answer
        if isinstance(answer, bytes):
            good, outcome = pickle.loads(answer)
            if good:
                future.set_result(outcome)
                return
        future.set_exception(outcome)

    def _lose_all(self) -> None:
        """Tell every task that the cluster is gone."""
        with self._lock:
            self._end_word = (
                f"the {self.kind} cluster is gone, or its head; what is finished is kept, and the "
                "same command goes on"
            )
            futures = list(self._futures.values())
        for future in futures:
            if future.set_running_or_notify_cancel():
                future.set_exception(ClusterError(self._end_word))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leave the cluster once its tasks are done."""
        with self._lock:
            futures = list(self._futures.values())
        for future in futures:
            if cancel_futures:
                future.cancel()
            elif wait:
                future.exception()
        self._send(("end",))
        self._process.process.join(_ENDING)
        self._process.close()
        self._thread.join()

    def end(self) -> None:
        """End all tasks now, and leave the cluster."""
        self.shutdown(cancel_futures=True)


# --- the process --------------------------------------------------------------------------------


def run_call(call: bytes, *contents: Any) -> bytes:
    """Call a function on a worker; return its result or its error, packed."""
    try:
        function, args, kwargs, places = pickle.loads(call)
        for place, content in zip(places, contents, strict=True):
            args[place] = bytes(content)
        answer: tuple[bool, Any] = (True, function(*args, **kwargs))
    except ImpastoError as error:
        answer = (False, error)
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        answer = (False, ImpastoError(text))
    return pickle.dumps(answer)


def serve_cluster(pipe: Connection, place: WorkPlace, needs: Any) -> None:
    """Hold the connection to a cluster: the life of the courier."""
    silence_output()
    try:
        check_answers(place)
        module, _, name = _BACKENDS[place.kind].partition(":")
        backend: Backend = getattr(import_module(f"impasto.cluster.{module}"), name)()
        facts = backend.begin(place, needs)
    except ImpastoError as error:
        pipe.send(error)
        return
    except Exception as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        pipe.send(ClusterError(f"{place.kind}: {first}"))
        return
    pipe.send(facts)
    _Courier(pipe, backend, facts.slots).serve()


def check_answers(place: WorkPlace) -> None:
    """Refuse an address where nothing listens; the libraries take long to say so."""
    if place.address in ("", "auto"):
        return
    _, host, port = split_address(place.address)
    try:
        socket.create_connection((host, port), timeout=_KNOCKING).close()
    except OSError as error:
        reason = describe_reason(error)
        raise ClusterError(
            f"no {place.kind} cluster answers at {place.address!r}: {reason}"
        ) from None


def silence_output() -> None:
    """Let nothing that libraries print reach the terminal: what matters is told as errors."""
    sys.stdout.flush()
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    os.close(nothing)


class _Courier:
    """Carries calls to a cluster, and answers back."""

    def __init__(self, pipe: Connection, backend: Backend, slots: int) -> None:
        self.pipe, self.backend, self.slots = pipe, backend, slots
        self.lost: tuple[type[BaseException], ...] = (*backend.lost, CancelledError)
        self.lock = threading.Lock()
        self.held: dict[int, Any] = {}
        self.futures: dict[int, Future[bytes]] = {}

    def serve(self) -> None:
        try:
            while True:
                if not self.pipe.poll(_LOOK):
                    self._look()
                    continue
                kind, *content = self.pipe.recv()
                if kind == "end":
                    return
                getattr(self, f"_{kind}")(*content)
        finally:
            self.backend.end()

    def _look(self) -> None:
        slots = self.backend.count_slots()
        if slots != self.slots:
            self.slots = slots
            self._tell("slots", slots)

    def _tell(self, *message: object) -> None:
        with self.lock:
            self.pipe.send(message)

    def _put(self, number: int, content: bytes) -> None:
        self.held[number] = self.backend.put(content)

    def _drop(self, number: int) -> None:
        self.held.pop(number, None)

    def _submit(self, number: int, call: bytes, handles: Sequence[int]) -> None:
        future = self.backend.submit(call, [self.held[each] for each in handles])
        self.futures[number] = future
        future.add_done_callback(lambda done: self._answer(number, done))

    def _cancel(self, number: int) -> None:
        if (future := self.futures.pop(number, None)) is not None:
            self.backend.cancel(future)

    def _answer(self, number: int, future: Future[bytes]) -> None:
        """Send what came of a task; what a lost worker left is a loss."""
        self.futures.pop(number, None)
        answer: bytes | Exception
        try:
            answer = future.result()
        except self.lost as error:
            first = next(iter(str(error).strip().splitlines()), type(error).__name__)
            answer = LostProcessError(f"was lost ({first})")
        except Exception as error:
            answer = ClusterError(" ".join(f"{type(error).__name__}: {error}".split()))
        self._tell("done", number, answer)
