"""Stages of a film's work, each in a thread, with short queues between them: memory stays flat."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable
from typing import Generic, TypeVar

_Item = TypeVar("_Item")

_DEPTH = 3  # items that wait between two stages
_CHECK = 0.1  # seconds after which a waiting thread asks whether it is still wanted


class _End:
    """The last thing in a queue: an error, if there was one."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def run_ahead(items: Iterable[_Item], depth: int = _DEPTH) -> Generator[_Item, None, None]:
    """Yield items that a thread fetches ahead; its error is raised here, and closing ends it."""
    waiting: queue.Queue[_Item | _End] = queue.Queue(depth)
    stopped = threading.Event()

    def put(item: _Item | _End) -> bool:
        while not stopped.is_set():
            try:
                waiting.put(item, timeout=_CHECK)
            except queue.Full:
                continue
            return True
        return False

    def fetch() -> None:
        end = _End()
        source = iter(items)
        try:
            for item in source:
                if not put(item):
                    break
        except BaseException as error:
            end = _End(error)
        finally:
            close = getattr(source, "close", None)
            if close is not None:
                close()
        put(end)

    thread = threading.Thread(target=fetch, daemon=True)
    thread.start()
    try:
        while True:
            item = waiting.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        stopped.set()
        thread.join()


class RunBehind(Generic[_Item]):
    """Hands items to a thread that works on one after the other; its error is raised here."""

    def __init__(self, work: Callable[[_Item], None], depth: int = _DEPTH) -> None:
        self.work = work
        self.waiting: queue.Queue[_Item | _End] = queue.Queue(depth)
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def put(self, item: _Item) -> None:
        """Hand an item over, once there is room."""
        if self.error is not None:
            raise self.error
        self.waiting.put(item)

    def end(self) -> None:
        """Wait until all is done."""
        self.stop()
        if self.error is not None:
            raise self.error

    def stop(self) -> None:
        """Wait for the thread's end, whatever came of it."""
        self.waiting.put(_End())
        self.thread.join()

    def _serve(self) -> None:
        while True:
            item = self.waiting.get()
            if isinstance(item, _End):
                return
            if self.error is None:  # after one, the rest is taken and thrown away
                try:
                    self.work(item)
                except BaseException as error:
                    self.error = error
