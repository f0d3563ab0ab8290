"""Servers for tests: applications without a network, whose jobs wait; processes that serve."""

from __future__ import annotations

import json
from pathlib import Path

from fastapi.testclient import TestClient

from impasto.jobs.executors import JobExecutor, TaskFuture
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
