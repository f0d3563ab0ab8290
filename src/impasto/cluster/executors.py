"""Who does jobs: executors as ``concurrent.futures`` has them, whose tasks can also be talked with.

A task is a function and plain data. While it runs it tells messages, and asks what is wished of it;
what it returns comes back as the future's result. It may run anywhere: only the driver, which
submits it, changes the store.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from abc import abstractmethod
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakSet

from impasto.errors import ImpastoError, LimitError, LostProcessError
from impasto.options import format_memory
from impasto.system.processes import TalkingProcess

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

BEAT = 2.0  # seconds between the signs of life that a task's process gives
SILENCE = 60.0  # seconds without one, after which it counts as dead
LOOK = 0.2  # seconds between two looks at limits
MOST_TASKS = 100  # that a process does, before a new one takes its place
STOPPING = 8.0  # seconds that a task has to stop in when it is asked to

Tell = Callable[[object], None]
Asked = Callable[[], str]  # what is wished of the task: nothing, or a word


class TalkingTask(Protocol):
    """A function that is executed: with its data, what tells the driver, and what asks it."""

    def __call__(self, task: Any, tell: Tell, asked: Asked) -> object: ...


class TaskFuture(Future[Any]):
    """The outcome of a task that may not have begun."""

    def __init__(self, on_message: Tell) -> None:
        super().__init__()
        self.on_message = on_message
        self.word = ""  # what is wished of it
        self.wished: float | None = None  # since when
        self.is_killed = False

    def stop(self, word: str) -> None:
        """Ask the task to stop where nothing is half done; after some seconds, it is ended."""
        self.word = self.word or word
        self.wished = self.wished or time.monotonic()

    def kill(self) -> None:
        """End the task's process now."""
        self.is_killed = True


class JobExecutor(Executor):
    """What executes tasks; a cluster's has the same methods."""

    slots: int  # tasks at the same time
    tries = 2  # times that a task is begun whose process dies
    is_remote = False  # whether files have to travel

    def put(self, content: bytes) -> Any:
        """Return what stands for bytes among the arguments of calls, which are given the bytes."""
        return content

    def end(self) -> None:
        """End all tasks now, and what does them."""
        self.shutdown(wait=True, cancel_futures=True)

    @abstractmethod
    def submit_task(self, function: TalkingTask, task: object, on_message: Tell) -> TaskFuture:
        """Execute a task; ``on_message`` is called with each of its messages, from any thread."""

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Execute a plain function, as every executor does."""
        return self.submit_task(_PlainCall(), (function, args, kwargs), lambda _: None)


class _PlainCall:
    """Calls a function that neither tells nor asks."""

    def __call__(self, task: Any, tell: Tell, asked: Asked) -> object:  # noqa: ARG002
        function, args, kwargs = task
        return function(*args, **kwargs)


@dataclass(frozen=True)
class TaskLimits:
    """What a task may take."""

    memory: int | None = None  # bytes of its process
    seconds: float | None = None
    silence: float = SILENCE
    stopping: float = STOPPING


@dataclass
class _Slot:
    """A process that does tasks, one after the other, and how many it did."""

    process: TalkingProcess | None = None
    done: int = 0
    began: float = 0.0
    heard: float = field(default_factory=time.monotonic)


class ProcessExecutor(JobExecutor):
    """Executes tasks in processes of this machine, which are kept for the next and can be ended."""

    def __init__(self, slots: int = 1, limits: TaskLimits | None = None, *, nice: int = 10) -> None:
        self.slots, self.limits, self.nice = slots, limits or TaskLimits(), nice
        self._line: queue.SimpleQueue[tuple[TaskFuture, Any] | None] = queue.SimpleQueue()
        self._futures: WeakSet[TaskFuture] = WeakSet()
        self._threads = [
            threading.Thread(target=self._serve, name=f"executor-{number}", daemon=True)
            for number in range(slots)
        ]
        for thread in self._threads:
            thread.start()

    def submit_task(self, function: TalkingTask, task: object, on_message: Tell) -> TaskFuture:
        """Execute a task in the next process that is free."""
        future = TaskFuture(on_message)
        self._futures.add(future)
        self._line.put((future, (function, task)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes once their tasks are done."""
        while cancel_futures and not self._line.empty():
            if entry := self._line.get():
                entry[0].cancel()
        for _ in self._threads:
            self._line.put(None)
        for thread in self._threads if wait else ():
            thread.join()

    def end(self) -> None:
        """End all tasks now, and their processes."""
        for future in list(self._futures):
            future.kill()
        self.shutdown(wait=False, cancel_futures=True)
        for thread in self._threads:
            thread.join(STOPPING)  # not for ever: Ctrl-C may have left a future locked

    def _serve(self) -> None:
        """Do tasks until there are no more: the life of a slot's thread."""
        slot = _Slot()
        while entry := self._line.get():
            future, call = entry
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(self._execute(slot, future, call))
            except Exception as error:  # the driver's to tell
                future.set_exception(error)
            if slot.done >= MOST_TASKS:
                self._end(slot)
        self._end(slot, seconds=1.0)

    def _execute(self, slot: _Slot, future: TaskFuture, call: Any) -> object:
        """Do one task, passing on its messages; a process that breaks a limit is ended."""
        process = slot.process
        try:
            if process is None:
                process = slot.process = TalkingProcess(serve_tasks, nice=self.nice)
                process.wait_until_ready()
            slot.began = slot.heard = time.monotonic()
            process.send(call)
            return self._listen(slot, process, future)
        except EOFError:
            how = "was ended" if process is None else process.describe_end()
            self._end(slot)
            raise LostProcessError(how) from None
        except (LimitError, LostProcessError):
            self._end(slot)
            raise

    def _listen(self, slot: _Slot, process: TalkingProcess, future: TaskFuture) -> object:
        asked = False
        while True:
            message = process.receive(LOOK)
            if future.word and not asked:
                process.send(future.word)
                asked = True
            self._check(slot, process, future)
            if message is None:
                continue
            slot.heard = time.monotonic()
            kind, content = message
            if kind == "message":
                future.on_message(content)
            elif kind != "beat":
                slot.done += 1
                if kind == "error":
                    raise content
                return content

    def _check(self, slot: _Slot, process: TalkingProcess, future: TaskFuture) -> None:
        """Raise where a task is to be ended, or breaks a limit."""
        now, limits = time.monotonic(), self.limits
        if future.is_killed or (future.wished and now - future.wished > limits.stopping):
            raise LostProcessError("was ended as it was told to")
        if limits.seconds is not None and now - slot.began > limits.seconds:
            raise LimitError(f"took more than the {limits.seconds:g} seconds that a job may")
        if limits.memory is not None and process.count_memory() > limits.memory:
            raise LimitError(f"took more than the {format_memory(limits.memory)} that a job may")
        if now - slot.heard > limits.silence:
            raise LostProcessError(f"gave no sign of life for {limits.silence:g} seconds")

    def _end(self, slot: _Slot, seconds: float = 0.0) -> None:
        if slot.process is not None:
            slot.process.close(seconds)
        slot.process, slot.done = None, 0


# --- in the process -----------------------------------------------------------------------------


def serve_tasks(pipe: Connection) -> None:
    """Do tasks as they come: the life of an executor's process."""
    line = _Line(pipe)
    signal.signal(signal.SIGTERM, lambda *_: line.ask("halt"))  # a system that shuts down
    threading.Thread(target=line.listen, daemon=True).start()
    threading.Thread(target=line.beat, daemon=True).start()
    line.send(("beat", None))
    while True:
        function, task = line.calls.get()
        line.word = ""
        try:
            answer: tuple[str, object] = ("result", function(task, line.tell, lambda: line.word))
        except ImpastoError as error:
            answer = ("error", error)
        except Exception as error:
            text = " ".join(f"{type(error).__name__}: {error}".split())
            answer = ("error", ImpastoError(text))
        line.send(answer)


class _Line:
    """The process's end of the pipe, which several of its threads use."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe, self.lock, self.word = pipe, threading.Lock(), ""
        self.calls: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def send(self, message: tuple[str, object]) -> None:
        with self.lock:
            self.pipe.send(message)

    def tell(self, content: object) -> None:
        """Pass a message on to the driver."""
        self.send(("message", content))

    def ask(self, word: str) -> None:
        self.word = word

    def listen(self) -> None:
        """Take tasks, and words that are wished of the one that runs."""
        try:
            while True:
                message = self.pipe.recv()
                if isinstance(message, str):
                    self.word = message
                else:
                    self.calls.put(message)
        except (EOFError, OSError):
            os._exit(0)  # the driver is gone, or needs no more

    def beat(self) -> None:
        """Give signs of life."""
        while True:
            time.sleep(BEAT)
            try:
                self.send(("beat", None))
            except OSError:
                os._exit(0)
