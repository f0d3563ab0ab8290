"""Jobs are done once, to the same bytes, whatever is killed."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path
from shutil import copytree

import pytest

from impasto.cluster.executors import ProcessExecutor
from impasto.jobs.file_store import FileStore
from impasto.jobs.job import JobInput, JobOrder
from impasto.jobs.leases import Leases
from impasto.jobs.queue import JobQueue
from impasto.jobs.runner import JobRunner, place_task
from impasto.jobs.store import JobStore
from impasto.jobs.task import run_task_in_folder

# Two processes may find another precision or layout faster on a busy machine.
PLAIN = {"layout": "planes", "precision": "float32"}


class Served:
    """A store with its runner, which may be left as a kill leaves it."""

    def __init__(self, folder):
        folder.mkdir(exist_ok=True)
        self.files, self.store = FileStore(folder), JobStore(folder)
        self.queue = JobQueue(self.store)
        self.executor = ProcessExecutor(nice=0)
        self.seen = []
        self.runner = JobRunner(
            Leases(self.queue), self.files, self.executor, listener=self._hear, threads=1
        )
        self.runner.begin()

    def _hear(self, kind, active):
        self.seen.append((kind, active.job.id, active.progress.get("number", 0)))

    def order(self, photo, picture, **options):
        named = {
            name: (JobInput(path.name, self.files.keep_bytes(path.read_bytes())),)
            for name, path in (("content", photo), ("style", picture))
        }
        return JobOrder("paint", named, {"size": 64, "steps": 30, **PLAIN, **options})

    def submit(self, order):
        job, _ = self.queue.submit(order)
        self.runner.wake()
        return job.id

    def wait(self, job, *states):
        return wait_for(lambda: (j := self.queue.get(job)).state in states and j)

    def worker(self):
        """The process that works, once it has come to some step."""
        known = len(self.seen)
        wait_for(lambda: [s for s in self.seen[known:] if s[0] == "progress"])
        return self.find_process()

    def find_process(self):
        return max(process.pid for process in active_children())

    def close(self):
        self.runner.close()
        self.store.close()


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not come to that")


@pytest.fixture
def served(tmp_path):
    found = Served(tmp_path / "store")
    yield found
    found.close()


def test_jobs_that_are_killed_paused_and_taken_up_come_to_the_same_bytes(served, photo, picture):
    order = served.order(photo, picture)
    whole = served.submit(order)
    expected = served.wait(whole, "done", "failed")
    assert expected.error is None
    assert [r.name for r in expected.results] == ["output.png"]
    again = served.submit(order)
    os.kill(served.worker(), signal.SIGKILL)
    done = served.wait(again, "done", "failed")
    assert done.error is None
    assert done.results[0].digest == expected.results[0].digest
    paused = served.submit(order)
    served.worker()
    served.queue.ask(paused, "pause")
    served.runner.wake()
    served.wait(paused, "paused", "done")
    served.queue.resume(paused)
    served.runner.wake()
    done = served.wait(paused, "done", "failed")
    assert done.results[0].digest == expected.results[0].digest
    assert served.queue.list_steps(paused)[-1]["number"] == expected.progress["number"]
    wait_for(lambda: not list((served.files.folder / "work").iterdir()))


def test_a_job_that_kills_its_process_three_times_has_failed_and_the_next_begins(
    served, photo, picture
):
    order = served.order(photo, picture)
    deadly = JobOrder(order.operation, order.inputs, {**order.options, "steps": 100_000})
    job = served.submit(deadly)
    next_job = served.submit(order)

    def kill_before_it_comes_far():
        served.wait(job, "running")
        wait_for(lambda: served.runner.find(job) or served.queue.get(job).error)
        if served.queue.get(job).state == "running":
            try:
                os.kill(served.find_process(), signal.SIGKILL)
            except (ValueError, ProcessLookupError):
                time.sleep(0.1)
        return served.queue.get(job).state == "failed"

    wait_for(lambda: served.queue.get(job).state == "failed" or kill_before_it_comes_far())
    failed = served.queue.get(job)
    assert failed.error == (
        "given up after 3 attempts: its process was killed by signal 9 (out of memory?)"
    )
    assert served.wait(next_job, "done", "failed").error is None


def test_a_runner_that_closes_leaves_its_job_to_the_next(tmp_path, photo, picture):
    first = Served(tmp_path / "store")
    order = first.order(photo, picture, steps=400, plateau=0.0)
    job = first.submit(order)
    first.worker()
    began = time.monotonic()
    first.close()
    assert time.monotonic() - began < 30
    second = Served(tmp_path / "store")
    found = second.queue.get(job)
    assert found.state in ("queued", "running")
    assert found.attempts <= 1
    second.queue.ask(job, "cancel")
    second.runner.wake()
    second.wait(job, "cancelled")
    wait_for(lambda: not second.files.work_folder(job).exists())
    second.close()


def test_what_is_wrong_with_a_job_is_its_error(served, photo, picture):
    job = served.submit(served.order(photo, picture, device="cuda:99"))
    assert "CUDA device" in served.wait(job, "failed", "done").error
    tiny = served.submit(served.order(photo, picture, size=16))
    assert "too small" in served.wait(tiny, "failed", "done").error


def test_folders_and_words_go_in_and_folders_come_out(served, photo, picture):
    order = served.order(photo, picture, layer=["relu1_1"])
    features = JobOrder("features", {"content": order.inputs["content"]}, {"layer": ["relu1_1"]})
    job = served.submit(features)
    done = served.wait(job, "done", "failed")
    assert done.error is None
    assert all(result.size for result in done.results)
    assert any(result.name.endswith(".png") for result in done.results)
    digest = order.inputs["content"][0].digest
    folder = JobInput("folder", members=(("a/1.png", digest), ("b/1.png", digest)))
    inputs = {"source": (folder,), "styles": order.inputs["style"]}
    augment = JobOrder("augment", inputs, {"styliser": "color"})
    found = served.wait(served.submit(augment), "done", "failed")
    assert found.error is None
    names = {result.name for result in found.results}
    assert "manifest.csv" in names
    assert {name.partition("/")[0] for name in names if "/" in name} == {"a", "b"}


def test_a_task_s_folder_can_be_carried_elsewhere(tmp_path, photo, picture, monkeypatch):
    """Executors of other machines take it along: all paths in a task lie below it."""
    served = Served(tmp_path / "store")
    served.runner.close()
    job, _ = served.queue.submit(served.order(photo, picture, steps=2))
    task = place_task(job, served.files, threads=1)
    paths = [path for values in task.inputs.values() for path in values]
    assert paths == ["inputs/content/0/a photo.png", "inputs/style/0/a picture.png"]
    copytree(task.folder, tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    told = []
    moved = replace(task, folder=str(tmp_path / "elsewhere"))
    outcome = run_task_in_folder(moved, told.append, lambda: "")
    assert outcome.is_done
    assert [made.name for made in outcome.files] == ["output.png"]
    assert Path("output/output.png").is_file()
    assert told[-1].steps or told
    served.store.close()
