"""Work in other processes: tasks shared out among several, and one that is talked with."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from impasto.errors import DeviceError, ImpastoError, LostProcessError
from impasto.system.files import read_first_line

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")

IDLE = 0.5  # seconds without an outcome, after which it is said that there is none
PATIENCE = 2.0  # seconds that processes have to end when they are told to


@dataclass
class Hand:
    """A process that does one task after the other, and what it is at."""

    process: BaseProcess
    pipe: Connection
    task: Any


def give_up(_: Any, how: str) -> NoReturn:
    """End the work with one process that died: what is lost with it would be missing."""
    raise DeviceError(
        f"a process {how}; the same command goes on, with fewer --jobs if memory is short"
    )


def work_in_processes(
    make_worker: Callable[[], Callable[[Task], Outcome]],
    tasks: Sequence[Task],
    jobs: int,
    lose: Callable[[Task, str], Outcome] = give_up,
    *,
    idle: Callable[[], Outcome] | None = None,
) -> Iterator[Outcome]:
    """Yield outcomes as they come, and raise a worker's error here.

    A process that dies takes one task with it, and another takes its place; ``lose`` is asked with
    the task, and with how the process died, for the outcome. While none comes, ``idle`` is asked
    for one now and then: who is given that may close this, which ends the processes.
    """
    # Imported here: what lists commands and their flags does without it.
    from multiprocessing.connection import wait

    left = list(reversed(tasks))
    hands: list[Hand] = []
    try:
        while left or hands:
            while left and len(hands) < jobs:
                with hold_interrupts():
                    hands.append(_hire(make_worker, left.pop()))
            ready = wait([hand.pipe for hand in hands], None if idle is None else IDLE)
            if idle is not None and not ready:
                yield idle()
            for hand in [hand for hand in hands if hand.pipe in ready]:
                try:
                    outcome = hand.pipe.recv()
                except (EOFError, OSError):
                    _dismiss(hand, hands)
                    yield lose(hand.task, _describe_death(hand.process.exitcode))
                    continue
                if isinstance(outcome, ImpastoError):
                    raise outcome
                if left:
                    _hand_over(hand, left.pop())
                else:
                    _dismiss(hand, hands)
                yield outcome
    finally:
        _end(hands)


class TalkingProcess:
    """A process that runs ``serve(pipe, *given)``, which takes messages and sends others.

    The first that it sends says that it is ready. It ends with this one, however that dies. What
    goes wrong in ``serve`` ends it.
    """

    def __init__(
        self, serve: Callable[..., None], *given: Any, most_data: int | None = None, nice: int = 0
    ) -> None:
        """``most_data`` are the bytes that it may take, where the system can see to that."""
        from multiprocessing import get_context

        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(
            target=_talk, args=(theirs, serve, given, most_data, nice), name="impasto", daemon=True
        )
        with _blocking_interrupts():
            self.process.start()
        theirs.close()

    def wait_until_ready(self, seconds: float = 60.0) -> None:
        """Wait until it has started, which on a busy machine takes longer than what follows."""
        try:
            self.receive(seconds)
        except EOFError:
            how = self.describe_end()
            self.close()
            raise LostProcessError(how) from None

    def send(self, message: object) -> None:
        """Send a message; a process that is dead gets none."""
        with suppress(OSError):
            self.pipe.send(message)

    def receive(self, seconds: float | None = None) -> Any:
        """Return its next message; None if none came in time. If it is dead, raise an EOFError."""
        if not self.pipe.poll(seconds):
            return None
        try:
            return self.pipe.recv()
        except OSError:
            raise EOFError from None

    def count_memory(self) -> int:
        """Return the bytes that it holds; 0 where the system does not say."""
        pages = read_first_line(f"/proc/{self.process.pid}/statm").split()
        return int(pages[1]) * os.sysconf("SC_PAGE_SIZE") if len(pages) > 1 else 0

    def describe_end(self) -> str:
        """Return how it died, in words."""
        self.process.join(PATIENCE)
        return _describe_death(self.process.exitcode)

    def close(self, seconds: float = 0.0) -> None:
        """End it, with so much time to do that by itself."""
        self.pipe.close()
        if seconds:
            self.process.join(seconds)
        if self.process.is_alive():
            self.process.kill()
        self.process.join()


class AnsweringProcess:
    """A process that answers one question after the other; begun when it is needed."""

    def __init__(self, serve: Callable[..., None], *given: Any, **limits: int) -> None:
        """Take what a ``TalkingProcess`` does; ``serve`` sends one answer for each message."""
        self._begin = partial(TalkingProcess, serve, *given, **limits)
        self._process: TalkingProcess | None = None

    def ask(self, message: object, seconds: float) -> Any:
        """Return the answer; None if none came in time; an EOFError says how it died.

        In both cases the next question has a new process.
        """
        if self._process is None:
            begun = self._begin()
            begun.wait_until_ready()
            self._process = begun
        self._process.send(message)
        try:
            answer = self._process.receive(seconds)
        except EOFError:
            how = self._process.describe_end()
            self.end()
            raise EOFError(how) from None
        if answer is None:
            self.end()
        return answer

    def end(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            self._process.close()
        self._process = None


@contextmanager
def _blocking_interrupts() -> Iterator[None]:
    """Keep Ctrl-C from children that this thread starts; it may be any thread."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _talk(
    pipe: Connection, serve: Callable[..., None], given: Any, most_data: int | None, nice: int
) -> None:
    """Serve until the other end is closed: the life of a process that is talked with."""
    from multiprocessing import parent_process

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent: Any = parent_process()

    def follow_parent() -> None:
        parent.join()
        os._exit(1)  # at once, whatever it is at: files are whole or absent

    threading.Thread(target=follow_parent, daemon=True).start()
    if sys.platform != "win32":
        os.nice(nice)
        if most_data is not None:
            import resource

            resource.setrlimit(resource.RLIMIT_DATA, (most_data, most_data))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(EOFError, OSError):  # the other end was closed
        serve(pipe, *given)


def _hire(make_worker: Callable[[], Any], task: Any) -> Hand:
    """Start a process with its first task."""
    from multiprocessing import get_context

    # Threads of several processes that wait by spinning take each other's cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=_serve, args=(theirs, make_worker), name="impasto", daemon=True
    )
    process.start()
    theirs.close()  # it has its own: if it dies, ours is at its end
    hand = Hand(process, ours, task)
    _hand_over(hand, task)
    return hand


def _hand_over(hand: Hand, task: Any) -> None:
    """Send a process its next task."""
    hand.task = task
    with suppress(OSError):  # it is dead; the next wait tells
        hand.pipe.send(task)


def _dismiss(hand: Hand, hands: list[Hand]) -> None:
    """Close a process's pipe, by which it ends if it has not yet, and wait for it."""
    hands.remove(hand)
    hand.pipe.close()
    hand.process.join()


@contextmanager
def hold_interrupts() -> Iterator[None]:
    """Put Ctrl-C off, for this process until the end, for a child that is started here for ever.

    It would reach children too; their parent ends them.
    """
    if not hasattr(signal, "pthread_sigmask") or not is_main_thread():  # Windows
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # when it starts, it lets them through
    held: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _: held.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # inherited
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
        if held:
            signal.raise_signal(signal.SIGINT)


def is_main_thread() -> bool:
    """Return whether this thread may say what a signal does, and hears Ctrl-C: no other may."""
    return threading.current_thread() is threading.main_thread()


def _end(hands: Sequence[Hand]) -> None:
    """End processes promptly, with time to take away what is half written."""
    for hand in hands:
        hand.process.terminate()
    end = time.monotonic() + PATIENCE
    for hand in hands:
        hand.process.join(max(0.0, end - time.monotonic()))
        if hand.process.is_alive():
            hand.process.kill()
            hand.process.join()


def _describe_death(code: int | None) -> str:
    """Return how a process ended, in words."""
    if code is not None and code < 0:
        return f"was killed by signal {-code} (out of memory?)"
    return f"ended with code {code}"


def _serve(pipe: Connection, make_worker: Callable[[], Callable[[Any], Any]]) -> None:
    """Take tasks and give outcomes until there are no more: the life of a process."""
    from multiprocessing import parent_process

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    parent: Any = parent_process()

    def follow_parent() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=follow_parent, daemon=True).start()
    try:
        with suppress(EOFError, OSError):  # the parent closed its end
            worker = None
            while True:
                task = pipe.recv()
                try:
                    worker = worker or make_worker()
                    outcome = worker(task)
                except ImpastoError as error:
                    outcome = error
                except Exception as error:  # told where there is someone to tell
                    outcome = ImpastoError(" ".join(f"{type(error).__name__}: {error}".split()))
                pipe.send(outcome)
    finally:
        # Nothing is half written any more; raised while Python ends, an exit would be a traceback.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
