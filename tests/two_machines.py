"""Two network namespaces, with names and mounts of their own, joined by a cable: two machines."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class TestMachine:
    """One of them; ``hidden`` are folders that are empty there, and its own."""

    __test__ = False

    name: str
    address: str
    hosts: Path  # the names of both
    hidden: Sequence[Path] = ()
    processes: list[subprocess.Popen] = field(default_factory=list)

    def begin(
        self, command: Sequence[object], log: Path, environment: Mapping[str, str], folder: Path
    ) -> subprocess.Popen:
        """Start a command there, in a folder."""
        mounts = f"mount --bind '{self.hosts}' /etc/hosts && "
        mounts += "".join(f"mount -t tmpfs tmpfs '{each}' && " for each in self.hidden)
        mounts += f"hostname {self.name} && cd '{folder}' && "
        inside = ["ip", "netns", "exec", self.name, "unshare", "--mount", "--uts"]
        inside += ["sh", "-c", f'mount --make-rprivate / && {mounts}exec "$@"', "sh"]
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [*inside, *map(str, command)],
                stdout=stream,
                stderr=stream,
                env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def end(self) -> None:
        """End all that runs there."""
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for left in _call("ip", "netns", "pids", self.name).split():
            with suppress(ProcessLookupError):
                os.kill(int(left), signal.SIGKILL)
        _call("ip", "netns", "del", self.name)


def find_hindrance() -> str:
    """Return why there can be no such machines here; nothing if they can be."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "network namespaces are made by root, on Linux"
    for program in ("ip", "unshare", "mount", "hostname"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    tried = subprocess.run(
        ["unshare", "--net", "--mount", "--uts", "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
        capture_output=True,
        text=True,
    )
    return f"no namespaces here: {tried.stderr.strip()}" if tried.returncode else ""


@contextmanager
def run_two_machines(*hidden: Path) -> Iterator[tuple[TestMachine, TestMachine]]:
    """Yield this one and another, to whom the folders of this one are hidden."""
    mark = os.getpid()
    hosts = Path(tempfile.mkdtemp(), "hosts")
    here = TestMachine(f"here-{mark}", "10.213.7.1", hosts)
    there = TestMachine(f"there-{mark}", "10.213.7.2", hosts, hidden)
    names = [f"{each.address} {each.name}\n" for each in (here, there)]
    hosts.write_text("".join(["127.0.0.1 localhost\n", *names]))
    try:
        for each in (here, there):
            _call("ip", "netns", "add", each.name)
            _call("ip", "-n", each.name, "link", "set", "lo", "up")
        ends = ["cable", "netns", here.name, "type", "veth", "peer", "name", "cable"]
        _call("ip", "link", "add", *ends, "netns", there.name)
        for each in (here, there):
            _call("ip", "-n", each.name, "addr", "add", f"{each.address}/24", "dev", "cable")
            _call("ip", "-n", each.name, "link", "set", "cable", "up")
        yield here, there
    finally:
        for each in (here, there):
            with suppress(subprocess.CalledProcessError):
                each.end()
        shutil.rmtree(hosts.parent)


def _call(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
