"""Dask, as the courier uses it: calls go to a scheduler's executor, and bytes to its workers.

A scheduler runs any code that reaches it. So it is reached by TLS, or on this machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from impasto.cluster.courier import ClusterFacts, run_call
from impasto.cluster.places import WorkPlace, check_address
from impasto.errors import ClusterError
from impasto.system.optional import require

_CONNECTING = "20s"


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
        future: Future[bytes] = self.executor.submit(run_call, call, *contents)
        return future

    def cancel(self, future: Future[bytes]) -> None:
        """End a task that has not begun; Dask lets one that runs go to its end."""
        future.cancel()

    def end(self) -> None:
        """Leave the cluster."""
        self.client.close(timeout=3)
