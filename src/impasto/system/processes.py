"""Processes of this machine that are talked with."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from impasto.errors import LostProcessError
from impasto.system.files import read_first_line

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

PATIENCE = 2.0  # seconds that processes have to end when they are told to


class TalkingProcess:
    """A process that runs ``serve(pipe, *given)``, which takes messages and sends others.

    The first that it sends says that it is ready. It ends with this one, however that dies. What
    goes wrong in ``serve`` ends it.
    """

    def __init__(
        self,
        serve: Callable[..., None],
        *given: Any,
        most_data: int | None = None,
        nice: int = 0,
        with_children: bool = False,
    ) -> None:
        """Start it.

        ``most_data`` are the bytes that it may take, where the system can see to that;
        ``with_children``: processes that it starts end with it where it is killed.
        """
        from multiprocessing import get_context

        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        context = get_context("spawn")
        self.leads_group = with_children and hasattr(os, "killpg")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(
            target=_talk,
            args=(theirs, serve, given, most_data, nice, self.leads_group),
            name="impasto",
            daemon=True,
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
        if self.leads_group and self.process.pid:
            with suppress(OSError):  # all have ended
                os.killpg(self.process.pid, signal.SIGKILL)
        if self.process.is_alive():
            self.process.kill()
        self.process.join()


class AnsweringProcess:
    """A process that answers one question after the other; begun when it is needed."""

    def __init__(self, serve: Callable[..., None], *given: Any, **limits: Any) -> None:
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
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # when it starts, it lets them through
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _talk(
    pipe: Connection,
    serve: Callable[..., None],
    given: Any,
    most_data: int | None,
    nice: int,
    leads_group: bool,
) -> None:
    """Serve until the other end is closed: the life of a process that is talked with."""
    from multiprocessing import parent_process

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent: Any = parent_process()
    if leads_group:
        os.setpgid(0, 0)

    def follow_parent() -> None:
        parent.join()
        if leads_group:
            os.killpg(0, signal.SIGKILL)
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


def _describe_death(code: int | None) -> str:
    """Return how a process ended, in words."""
    if code is not None and code < 0:
        return f"was killed by signal {-code} (out of memory?)"
    return f"ended with code {code}"
