"""What happens, told to pages: one log, which each reader goes through at its own pace.

Nothing is kept for a reader but its place in the log. Who comes back says what it heard last; who
was away for longer than the log reaches is told to look at everything anew.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

_MOST_BYTES = 4 << 20  # that the log holds
_MOST_AT_ONCE = 64 << 10  # bytes that a reader is sent at once
_QUIET = 15.0  # seconds after which a reader is told that there is nothing new
_GATHER = 0.05  # seconds in which events are gathered


class EventLog:
    """The last events, numbered."""

    def __init__(self) -> None:
        self.epoch = secrets.token_hex(4)  # numbers of another process mean nothing here
        self.readers = 0
        self._lock = threading.Lock()
        self._events: deque[bytes] = deque()
        self._first, self._bytes = 1, 0  # the number of the oldest event, and the size of all
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news = asyncio.Event()
        self._is_closed = False

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Say which loop the readers are in."""
        self._loop = loop

    def close(self) -> None:
        """Let all readers come to their end."""
        self._is_closed = True
        self._tell()

    @property
    def last_id(self) -> str:
        """The id of the last event."""
        with self._lock:
            return f"{self.epoch}-{self._first + len(self._events) - 1}"

    def publish(self, kind: str, facts: Mapping[str, Any]) -> None:
        """Tell all readers; any thread may."""
        text = json.dumps(facts, ensure_ascii=False, separators=(",", ":"))
        with self._lock:
            number = self._first + len(self._events)
            event = f"id: {self.epoch}-{number}\nevent: {kind}\ndata: {text}\n\n".encode()
            self._events.append(event)
            self._bytes += len(event)
            while self._bytes > _MOST_BYTES:
                self._bytes -= len(self._events.popleft())
                self._first += 1
        self._tell()

    def _tell(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._news.set)

    def find_place(self, last_id: str | None) -> int | None:
        """Return the number after an id; None where the log does not reach so far back."""
        if last_id is None:
            with self._lock:
                return self._first + len(self._events)
        epoch, _, number = last_id.partition("-")
        if epoch != self.epoch or not (number.isascii() and number.isdigit() and len(number) < 16):
            return None
        with self._lock:
            place = int(number) + 1
            return place if self._first <= place <= self._first + len(self._events) else None

    def _read(self, place: int) -> tuple[int | None, bytes]:
        """Return the place after some events, and them; None where they are gone."""
        with self._lock:
            if place < self._first:
                return None, b""
            pieces, size = [], 0
            while place < self._first + len(self._events) and size < _MOST_AT_ONCE:
                pieces.append(self._events[place - self._first])
                size += len(pieces[-1])
                place += 1
        return place, b"".join(pieces)

    async def follow(
        self, last_id: str | None, greet: Callable[[], Mapping[str, Any]]
    ) -> AsyncIterator[bytes]:
        """Yield events after an id, as server-sent events, until the log is closed.

        ``greet`` gives the facts of the event ``reset``, after which a reader looks at everything.
        """
        self.readers += 1
        try:
            place = self.find_place(last_id)
            yield b"retry: 1000\n\n"
            while not self._is_closed:
                if place is None:
                    place = self.find_place(None) or 1
                    text = json.dumps(greet())
                    yield f"id: {self.epoch}-{place - 1}\nevent: reset\ndata: {text}\n\n".encode()
                place, events = self._read(place)
                if events:
                    yield events
                elif place is not None and not await self._wait():
                    yield b": nothing new\n\n"
        finally:
            self.readers -= 1

    async def _wait(self) -> bool:
        """Wait for news; return whether there is any."""
        try:
            await asyncio.wait_for(self._news.wait(), _QUIET)
        except TimeoutError:
            return False
        await asyncio.sleep(_GATHER)
        self._news.clear()
        return True
