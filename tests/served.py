"""Servers for tests: applications without a network, whose jobs wait; processes that serve."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from fastapi.testclient import TestClient

from impasto.cluster.executors import JobExecutor, TaskFuture
from impasto.jobs.task import TaskOutcome
from impasto.studio.access import Access, list_hosts
from impasto.studio.server import make_app
from impasto.studio.services import Services

API = "/api/v1"
HOST = "127.0.0.1:8765"


class HeldFuture(TaskFuture):
    """A task that stops when it is asked to."""

    def stop(self, word):
        super().stop(word)
        if not self.done():
            self.set_result(TaskOutcome(False, 0.0))


class HeldExecutor(JobExecutor):
    """Begins tasks and leaves it to the test to end them; ``slots`` 0 begins none."""

    def __init__(self, slots: int = 0) -> None:
        self.slots = slots
        self.tasks: list[tuple[object, object, TaskFuture]] = []

    def submit_task(self, function, task, on_message):
        future = HeldFuture(on_message)
        future.set_running_or_notify_cancel()
        self.tasks.append((function, task, future))
        return future

    def shutdown(self, wait=True, *, cancel_futures=False):  # noqa: ARG002
        for _, _, future in self.tasks:
            if not future.done():
                future.set_exception(RuntimeError("the test is over"))


class Studio:
    """An application, its services, and clients of it."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.access = Access(b"s" * 32, 8765, list_hosts(8765, ()))
        self.app = make_app(services, self.access)

    def client(self, **headers: str) -> TestClient:
        """A program with the token, or with whatever else is said."""
        sent = headers or {"Authorization": f"Bearer {self.access.token}"}
        return TestClient(self.app, base_url=f"http://{HOST}", headers=sent)


def send_file(api: TestClient, path: Path) -> str:
    """Upload a file; return its id."""
    headers = {"Content-Type": "application/octet-stream"}
    answer = api.put(
        f"{API}/uploads", params={"name": path.name}, content=path.read_bytes(), headers=headers
    )
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def make_body(api: TestClient, photo: Path, picture: Path, **options: object) -> dict[str, object]:
    """The job of painting a photograph after a picture."""
    return {
        "operation": "paint",
        "inputs": {
            "content": [{"upload": send_file(api, photo)}],
            "style": [{"upload": send_file(api, picture)}],
        },
        "options": {"size": 48, "steps": 4, **options},
    }


def write_snapshot(schema: dict[str, object]) -> str:
    """A schema as the checked-in file has it."""
    return json.dumps(schema, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


# --- processes ----------------------------------------------------------------------------------


def find_port() -> int:
    """A port that is free at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class ServerProcess:
    """``impasto serve`` in a process of its own, which may be killed and started again."""

    def __init__(self, folder: Path, *flags: str, scheme: str = "http") -> None:
        self.folder, self.flags, self.port = folder, flags, find_port()
        self.base = f"{scheme}://127.0.0.1:{self.port}"
        self.token_file = folder.with_name(f"{folder.name} token")
        self.lines: list[str] = []
        self.context: ssl.SSLContext | None = None
        self.start()

    def start(self) -> None:
        """Start it, and wait until it says where it is."""
        command = [sys.executable, "-m", "impasto", "serve", "--folder", str(self.folder)]
        command += ["--port", str(self.port), "--token-file", str(self.token_file), *self.flags]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.lines = [self.process.stdout.readline().strip() for _ in range(2)]
        assert self.lines[0].startswith("open "), self.lines + self.process.stdout.readlines()

    def call(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> tuple[int, bytes]:
        """Send a request; return its status and body."""
        raw = isinstance(body, bytes)
        data = body if raw or body is None else json.dumps(body).encode()
        kind = "application/octet-stream" if raw else "application/json"
        sent = {"Authorization": f"Bearer {self.token_file.read_text().strip()}"}
        sent |= {"Content-Type": kind, **headers}
        request = Request(f"{self.base}{API}{path}", data, sent, method=method)
        try:
            with urlopen(request, timeout=60, context=self.context) as answer:
                return answer.status, answer.read()
        except HTTPError as error:
            with error:
                return error.code, error.read()

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        """Send a request that is answered as it should be; return what its JSON says."""
        status, answer = self.call(method, path, body, **headers)
        assert status < 300, (status, answer)
        return json.loads(answer)

    def wait(self, job: str, *states: str, seconds: float = 120) -> Any:
        """Wait until a job is in one of the states."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = self.ask("GET", f"/jobs/{job}")
            if found["state"] in states:
                return found
            time.sleep(0.05)
        raise AssertionError(found)

    def list_children(self) -> list[int]:
        """The processes that it started, and that spawned from it to work."""
        found = []
        for each in Path("/proc").iterdir():
            if not each.name.isdigit():
                continue
            try:
                parent = (each / "stat").read_text().rpartition(")")[2].split()[1]
                if (
                    parent == str(self.process.pid)
                    and b"spawn_main" in (each / "cmdline").read_bytes()
                ):
                    found.append(int(each.name))
            except OSError:
                continue
        return found

    def count_memory(self) -> int:
        """The bytes that it holds, without its children."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def count_descriptors(self) -> int:
        """The files and sockets that it has open."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def kill(self) -> None:
        """End it as a power cut does."""
        self.process.kill()
        self.close()

    def stop(self) -> int:
        """Ask it to stop; return its exit code."""
        self.process.terminate()
        return self.close()

    def close(self) -> int:
        """Wait for its end."""
        self.rest = self.process.stdout.read()
        self.process.stdout.close()
        return self.process.wait(60)
