"""A Ray cluster of several nodes on this machine, each in processes of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from served import find_port

from impasto.cluster.places import WorkPlace, parse_place


class RayNodes:
    """Nodes of a cluster, each in processes of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, find_port()
        self.nodes: list[subprocess.Popen[bytes]] = []

    @property
    def place(self) -> WorkPlace:
        return parse_place(f"ray:127.0.0.1:{self.port}")

    def start(self) -> None:
        """Start a node of one processor; the first is the head."""
        where = ["--address", f"127.0.0.1:{self.port}"]
        if not self.nodes:
            where = ["--head", "--port", str(self.port), "--include-dashboard", "false"]
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", *where, "--num-cpus", "1"]
        command += ["--node-ip-address", "127.0.0.1", "--object-store-memory", str(100 << 20)]
        log = (self.folder / f"{len(self.nodes)}.log").open("wb")
        with log:
            node = subprocess.Popen(
                [*command, "--block"], stdout=log, stderr=log, start_new_session=True
            )
        self.nodes.append(node)
        for _ in range(600):
            if b"--block" in (self.folder / f"{len(self.nodes) - 1}.log").read_bytes():
                return
            time.sleep(0.2)
        raise AssertionError("a node did not start")

    def kill(self, number: int) -> None:
        """Kill all of a node at once."""
        os.killpg(self.nodes[number].pid, signal.SIGKILL)
        self.nodes[number].wait()


@contextmanager
def run_ray_nodes(folder: Path) -> Iterator[RayNodes]:
    """Yield a cluster without nodes yet, which asks for a token that this process has."""
    nodes = RayNodes(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", "0123456789abcdef" * 4)
        patch.setenv("RAY_worker_niceness", "0")
        try:
            yield nodes
        finally:
            for number, node in enumerate(nodes.nodes):
                if node.poll() is None:
                    nodes.kill(number)
