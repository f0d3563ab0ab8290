"""Dask, as the courier uses it: calls go to a scheduler's executor, and bytes to its workers.

A scheduler runs any code that reaches it. So it is reached by TLS, or on this machine. Dask lets a
task that runs go to its end, wanted or not; so each looks whether it is still wanted.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from impasto.cluster.courier import ClusterFacts, run_call
from impasto.cluster.places import WorkPlace, check_address
from impasto.errors import ClusterError
from impasto.system.optional import require

_CONNECTING = "20s"
_LOOK = 0.5  # seconds between two looks at whether a task is still wanted


class DaskBackend:
    """A Dask cluster."""

    def begin(self, place: WorkPlace, needs: Any) -> ClusterFacts:  # noqa: ARG002
        """Join the cluster."""
        address = check_address(place.address)
        distributed = require("distributed", "a Dask cluster needs distributed", extra="dask")
        self.lost = (distributed.KilledWorker, distributed.CancelledError)
        try:
            self.client: Any = distributed.Client(
                address, timeout=_CONNECTING, set_as_default=False
            )
        except (OSError, TypeError, ValueError) as error:
            first = next(iter(str(error).strip().splitlines()), type(error).__name__)
            if "ssl_context" in first:
                first = "Dask's configuration names no certificates (docs/cluster.md)"
            raise ClusterError(f"no Dask scheduler at {address!r}: {first}") from None
        self.executor = self.client.get_executor(retries=0, pure=False)
        workers = self._list_workers()
        if not workers:
            self.client.close()
            raise ClusterError(f"the Dask scheduler at {address!r} has no workers yet")
        hosts: dict[str, int] = {}
        for worker in workers:
            hosts[worker["host"]] = hosts.get(worker["host"], 0) + 1
        # The scheduler itself begins a task again whose worker dies, three times, and gives up
        # with it what else waited on those workers.
        return ClusterFacts(len(workers), max(hosts.values()), tries=2)

    def _list_workers(self) -> list[dict[str, Any]]:
        return list(self.client.scheduler_info(n_workers=-1)["workers"].values())

    def count_slots(self) -> int:
        """Return how many tasks it does at the same time now: one in each process."""
        return max(1, len(self._list_workers()))

    def put(self, content: bytes) -> Any:
        """Have a worker hold bytes, from which others fetch them.

        As a task's result, they can be had again where that worker is lost.
        """
        return self.client.submit(bytes, content, pure=False)

    def submit(self, call: bytes, contents: Sequence[Any]) -> Future[bytes]:
        """Have a call made somewhere."""
        future: Future[bytes] = self.executor.submit(run_wanted_call, call, *contents)
        return future

    def cancel(self, future: Future[bytes]) -> None:
        """End a task: one that has not begun is forgotten, one that runs ends itself."""
        future.cancel()

    def end(self) -> None:
        """Leave the cluster."""
        self.client.close(timeout=3)


# --- on a worker --------------------------------------------------------------------------------


class _UnwantedError(BaseException):
    """Ends a task that nobody waits for; no handler of errors takes it for one."""


def run_wanted_call(call: bytes, *contents: Any) -> bytes:
    """Run a call as ``run_call`` does; end it where its command was stopped, or is gone."""
    import torch  # noqa: F401  # first: half imported, it could not be imported again
    from distributed import get_worker

    worker: Any = get_worker()
    key = worker.get_current_task()

    def is_wanted() -> bool:
        known = worker.state.tasks.get(key)
        return known is not None and known.state != "cancelled"

    return end_unwanted(is_wanted, lambda: run_call(call, *contents))


def end_unwanted(is_wanted: Callable[[], bool], run: Callable[[], bytes]) -> bytes:
    """Run a function in this thread; raise an exception within it once it is not wanted."""
    thread, lock, over = threading.get_ident(), threading.Lock(), threading.Event()

    def look() -> None:
        while not over.wait(_LOOK):
            with lock:
                # More than once: what comes while an object is deleted, for example, is lost.
                if not over.is_set() and not is_wanted():
                    raise_in_thread(thread, _UnwantedError)

    try:
        threading.Thread(target=look, name="wanted", daemon=True).start()
        try:
            return run()
        finally:
            with lock:
                over.set()
    except _UnwantedError:
        return b""


def raise_in_thread(thread: int, error: type[BaseException]) -> None:
    """Have a thread raise an exception at its next step in Python."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))
