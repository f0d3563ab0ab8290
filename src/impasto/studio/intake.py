"""Jobs that are sent at the same time, accepted together.

Each has to be on the disk before it is answered. A thread and a commit for each would take longer
than all the rest, so what comes while one lot is accepted makes up the next.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from impasto.errors import ImpastoError
from impasto.jobs.job import Job
from impasto.jobs.queue import JobQueue, Submission
from impasto.studio.messages import JobRequest
from impasto.studio.sources import SourceFinder

_Accepted = tuple[Job, bool]


@dataclass(frozen=True)
class _Arrival:
    """A request whose answer is waited for."""

    asked: JobRequest
    client: str
    key: str | None
    answer: asyncio.Future[_Accepted]


class Intake:
    """Takes jobs in, all that have come at once."""

    def __init__(
        self, queue: JobQueue, sources: SourceFinder, check_room: Callable[[], None]
    ) -> None:
        """Take jobs in for a queue; ``check_room`` raises an error where there is no room."""
        self.queue, self.sources, self.check_room = queue, sources, check_room
        self._arrived: list[_Arrival] = []
        self._lock, self._is_busy = threading.Lock(), False
        self._thread = ThreadPoolExecutor(1, "intake")

    async def submit(self, asked: JobRequest, client: str, key: str | None) -> _Accepted:
        """Accept a job; return it, and whether it is new, once it is on the disk."""
        answer: asyncio.Future[_Accepted] = asyncio.get_running_loop().create_future()
        arrival = _Arrival(asked, client, key, answer)
        with self._lock:
            self._arrived.append(arrival)
            was_busy, self._is_busy = self._is_busy, True
        if not was_busy:
            self._thread.submit(self._accept)
        return await answer

    def close(self) -> None:
        """Accept what has come, and end."""
        self._thread.shutdown()

    def _accept(self) -> None:
        while True:
            with self._lock:
                lot, self._arrived = self._arrived, []
                self._is_busy = bool(lot)
            if not lot:
                return
            try:
                outcomes = self._accept_lot(lot)
            except Exception as error:  # whatever it is, each of them is answered
                outcomes = [error] * len(lot)
            _answer(lot, outcomes)

    def _accept_lot(self, lot: Sequence[_Arrival]) -> list[_Accepted | Exception]:
        self.check_room()
        outcomes = [self._prepare(each) for each in lot]
        good = [each for each in outcomes if isinstance(each, Submission)]
        accepted = iter(self.queue.submit_all(good))
        return [next(accepted) if isinstance(each, Submission) else each for each in outcomes]

    def _prepare(self, arrival: _Arrival) -> Submission | Exception:
        """Return what is asked for as the queue takes it, or what is wrong with it."""
        asked = arrival.asked
        try:
            order = self.sources.make_order(asked)
        except (ImpastoError, OSError) as error:
            return error
        return Submission(order, arrival.client, arrival.key, asked.label)


def _answer(lot: Sequence[_Arrival], outcomes: Sequence[_Accepted | Exception]) -> None:
    """Answer all of a lot; each loop is woken once, however many wait in it."""
    pairs = list(zip(lot, outcomes, strict=True))
    for loop in {each.answer.get_loop() for each in lot}:
        own = [pair for pair in pairs if pair[0].answer.get_loop() is loop]
        with suppress(RuntimeError):  # it is closed: nobody waits there
            loop.call_soon_threadsafe(_settle, own)


def _settle(pairs: Sequence[tuple[_Arrival, _Accepted | Exception]]) -> None:
    for each, outcome in pairs:
        if each.answer.done():  # who asked is gone
            continue
        if isinstance(outcome, Exception):
            each.answer.set_exception(outcome)
        else:
            each.answer.set_result(outcome)
