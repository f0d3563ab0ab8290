"""Ray, as the courier uses it: calls become Ray's tasks, and bytes objects of its store.

A cluster is started or joined only when that is asked for, and only one that wants a token: who
reaches one without may run any code there (CVE-2023-48022).
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from impasto.cluster.courier import ClusterFacts, run_call
from impasto.cluster.crew import TaskNeeds
from impasto.cluster.places import WorkPlace, check_token_mode
from impasto.errors import ClusterError
from impasto.system.optional import require

_STORE = 512 << 20  # bytes of the object store of a Ray that is started here, at most
_PATIENCE = "15"  # seconds without the head, after which the cluster counts as gone
_PROBING = 30  # seconds that a cluster has to refuse one who comes without a token
# Ends with 0 if the cluster answers one who has no token.
_PROBE = (
    "import sys; from ray._raylet import GcsClient; "
    "GcsClient(address=sys.argv[1]).get_all_node_info(timeout=5)"
)


class RayBackend:
    """A Ray cluster."""

    def begin(self, place: WorkPlace, needs: TaskNeeds) -> ClusterFacts:
        """Start or join the cluster."""
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", _PATIENCE)
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        if place.address:
            check_token(place.address)
        else:
            os.environ["RAY_AUTH_MODE"] = "token"
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
            os.environ.setdefault("RAY_worker_niceness", "0")  # as processes of a local pool
        self.ray: Any = require("ray", "a Ray cluster needs ray", extra="ray")
        self.lost = (self.ray.exceptions.RayError,)
        self._begin(place)
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        cores = max(int(node.get("CPU", 0)) for node in nodes)
        wanted: dict[str, Any] = {"num_cpus": 1, "max_retries": 0}
        if needs.memory:
            wanted["memory"] = int(min(needs.memory, *(n.get("memory", 0) for n in nodes), 2**62))
        self.with_gpu = needs.gpu and any(node.get("GPU", 0) for node in nodes)
        if self.with_gpu:
            wanted["num_gpus"] = 1
        self.run = self.ray.remote(**wanted)(run_call)
        return ClusterFacts(self.count_slots(), max(1, cores), self._describe(place))

    def _begin(self, place: WorkPlace) -> None:
        quiet = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
        try:
            if place.address:
                self.ray.init(address=place.address, **quiet)
            else:
                self.ray.init(
                    address="local", include_dashboard=False, object_store_memory=_STORE, **quiet
                )
        except (ConnectionError, RuntimeError, ValueError) as error:
            first = next(iter(str(error).strip().splitlines()), "")
            at = f" at {place.address!r}" if place.address else ""
            raise ClusterError(f"no Ray cluster{at}: {first}") from None

    def _describe(self, place: WorkPlace) -> tuple[str, ...]:
        if place.address:
            return ()
        address = self.ray.get_runtime_context().gcs_address
        return (
            f"Ray was started here for this work alone; it listens on {address} and on ports for "
            "its processes, and answers only who has its token",
        )

    def count_slots(self) -> int:
        """Return how many tasks it does at the same time now."""
        return max(1, int(self.ray.cluster_resources().get("GPU" if self.with_gpu else "CPU", 1)))

    def put(self, content: bytes) -> Any:
        """Put bytes into the object store, from which processes of a machine read them as one."""
        import numpy as np

        return self.ray.put(np.frombuffer(content, np.uint8))

    def submit(self, call: bytes, contents: Sequence[Any]) -> Future[bytes]:
        """Have a call made somewhere."""
        reference = self.run.remote(call, *contents)
        future: Future[bytes] = reference.future()
        future.reference = reference  # type: ignore[attr-defined]
        return future

    def cancel(self, future: Future[bytes]) -> None:
        """End a task, running or not."""
        self.ray.cancel(future.reference, force=True)  # type: ignore[attr-defined]

    def end(self) -> None:
        """Leave the cluster; one that was started here ends."""
        self.ray.shutdown()


def check_token(address: str) -> None:
    """Refuse a cluster that would run anyone's code."""
    check_token_mode(address)
    if address == "auto":
        return
    require("ray", "a Ray cluster needs ray", extra="ray")
    stranger = {k: v for k, v in os.environ.items() if not k.startswith("RAY_AUTH")}
    stranger |= {"RAY_AUTH_MODE": "disabled"}
    command = [sys.executable, "-c", _PROBE, address]
    try:
        done = subprocess.run(command, env=stranger, capture_output=True, timeout=_PROBING)
    except subprocess.TimeoutExpired:
        return
    if done.returncode == 0:
        raise ClusterError(
            f"the Ray cluster at {address!r} answers without a token, and runs anyone's code; "
            "start it with RAY_AUTH_MODE=token (docs/cluster.md)"
        )
