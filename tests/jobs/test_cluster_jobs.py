"""Jobs on a cluster: slices, and what is left of them wherever they are done."""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from cluster_tasks import run_dask
from conftest import draw_picture
from PIL import Image

from impasto.cluster.courier import ClusterFacts, run_call
from impasto.cluster.executors import TaskLimits
from impasto.cluster.places import HERE, WorkPlace, parse_place
from impasto.cluster.worker import find_in
from impasto.errors import (
    ClusterError,
    ImpastoError,
    JobStateError,
    LimitError,
    LostProcessError,
)
from impasto.jobs import cluster_jobs
from impasto.jobs.cluster_jobs import JobSlice, do_slice, list_folder, make_job_executor
from impasto.jobs.file_store import FileStore
from impasto.jobs.job import JobInput, JobOrder
from impasto.jobs.leases import Leases
from impasto.jobs.queue import JobQueue
from impasto.jobs.runner import JobRunner
from impasto.jobs.store import JobStore
from impasto.jobs.task import JobTask, run_task_in_folder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills processes")
PLAIN = {"size": 64, "layout": "planes", "precision": "float32", "plateau": 0}


@pytest.fixture
def task(tmp_path, monkeypatch) -> JobTask:
    """A painting of 30 steps in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "a job"
    for i, name in enumerate(("inputs/content/0/a b.png", "inputs/style/0/s.png")):
        (folder / name).parent.mkdir(parents=True)
        Image.fromarray(draw_picture(64, 48, i)).save(folder / name)
    inputs = {"content": ("inputs/content/0/a b.png",), "style": ("inputs/style/0/s.png",)}
    return JobTask(str(folder), "paint", inputs, {**PLAIN, "steps": 30})


def do_whole(task: JobTask, tmp_path: Path) -> bytes:
    """The same job in one go, in another folder."""
    folder = tmp_path / "whole"
    for name in list_folder(Path(task.folder)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((Path(task.folder) / name).read_bytes())
    here = Path.cwd()
    try:
        outcome = run_task_in_folder(replace(task, folder=str(folder)), lambda _: None, str)
    finally:
        os.chdir(here)
    assert outcome.is_done
    return (folder / "output/output.png").read_bytes()


def test_slices_in_one_folder_after_the_other_come_to_the_bytes_of_the_whole(task, tmp_path):
    expected = do_whole(task, tmp_path)
    numbers, slices, here = [], 0, Path.cwd()
    while True:
        names = tuple(list_folder(Path(task.folder)))
        done = do_slice(JobSlice(task, names, 1e-9 if slices < 3 else None), find_in({}))
        assert Path.cwd() == here
        cluster_jobs._write_folder(Path(task.folder), done)
        numbers += [step["number"] for told in done.told for step in told.steps]
        slices += 1
        if done.outcome.is_done:
            break
        assert "checkpoint" in done.files
        assert not done.gone
    assert slices == 4
    assert numbers == list(range(1, 31))  # three slices of a step, and the rest
    assert (Path(task.folder) / "output/output.png").read_bytes() == expected
    assert sum(told.preview is not None for told in done.told) <= 1


def test_work_whose_state_cannot_be_kept_is_one_slice(task):
    look = Path(task.folder) / "inputs/lut/0/l.cube"
    look.parent.mkdir(parents=True)
    rows = [f"{r} {g} {b}" for b in (0, 1) for g in (0, 1) for r in (1, 0)]
    look.write_text("\n".join(["LUT_3D_SIZE 2", *rows]))
    inputs = {"content": task.inputs["content"], "lut": ("inputs/lut/0/l.cube",)}
    task = JobTask(task.folder, "relight", inputs, {})
    done = do_slice(JobSlice(task, tuple(list_folder(Path(task.folder))), 1e-9), find_in({}))
    assert done.outcome.is_done
    assert list(done.files) == ["output/output.png"]


def test_what_a_worker_names_lies_in_the_folder(task):
    done = do_slice(JobSlice(task, tuple(list_folder(Path(task.folder))), 1e-9), find_in({}))
    bad = replace(done, files={"../x.png": b"a trap"})
    with pytest.raises(ClusterError, match=r"names a file outside of its folder: '../x.png'"):
        cluster_jobs._write_folder(Path(task.folder), bad)
    assert not (Path(task.folder).parent / "x.png").exists()


def test_what_is_half_done_does_not_travel(tmp_path):
    for name in ("checkpoint", ".checkpoint.part", ".impasto.lock", "output/.kept", "output/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert list_folder(tmp_path) == ["checkpoint", "output/.kept", "output/a.png"]


def test_a_place_of_this_machine_is_a_pool():
    executor = make_job_executor(HERE, TaskLimits())
    assert not hasattr(executor, "notes")
    executor.shutdown()


# --- the driver, with a cluster that is a thread of this process ----------------------------------


class Thread:
    """Stands for a cluster: a thread makes the calls, packed and unpacked as a cluster's are."""

    slots, tries, is_remote = 2, 3, True
    facts = ClusterFacts(2, 1, ("it listens",))

    def __init__(self, *_: object) -> None:
        self.is_gone = False
        self.losses = 0  # of the next calls, those that are lost
        self.hold = threading.Event()
        self.hold.set()
        self.calls = 0
        self.pool = ThreadPoolExecutor(1)

    def put(self, content: bytes) -> bytes:
        return content

    def submit(self, function, *args):
        return self.pool.submit(self._call, pickle.dumps((function, args, {}, [])))

    def _call(self, call: bytes):
        self.calls += 1
        self.hold.wait(60)
        if self.losses:
            self.losses -= 1
            raise LostProcessError("was lost")
        good, answer = pickle.loads(run_call(call))
        if not good:
            raise answer
        return answer

    def shutdown(self, wait: bool = True) -> None:
        self.pool.shutdown(wait)

    end = shutdown


@pytest.fixture
def executor(monkeypatch):
    monkeypatch.setattr(cluster_jobs, "RemoteExecutor", Thread)
    limits = TaskLimits(stopping=0.1)
    executor = make_job_executor(WorkPlace("ray"), limits, slice_seconds=1e-9)
    yield executor
    executor._remote.hold.set()
    executor.shutdown(cancel_futures=True)


def test_a_job_tells_its_steps_slice_by_slice_and_a_lost_worker_costs_one(executor, task):
    told = []
    short = replace(task, options={**task.options, "steps": 4})
    executor._remote.losses = 2
    assert executor.notes == ("it listens",)
    outcome = executor.submit_task(run_task_in_folder, short, told.append).result(120)
    assert outcome.is_done
    assert [made.name for made in outcome.files] == ["output.png"]
    assert [step["number"] for each in told for step in each.steps] == [1, 2, 3, 4]
    assert executor._remote.calls == 2 + 4
    assert not [note for each in (outcome, *told) for note in each.notes if "taken up" in note]
    assert (Path(task.folder) / "output/output.png").exists()


def test_a_job_that_loses_every_worker_is_lost_and_a_mistake_is_told(executor, task):
    executor._remote.losses = 3
    with pytest.raises(LostProcessError, match="was lost"):
        executor.submit_task(run_task_in_folder, task, print).result(60)
    wrong = replace(task, options={**task.options, "style_layer": ["relu42"]})
    with pytest.raises(ImpastoError, match="unknown layer 'relu42'"):
        executor.submit_task(run_task_in_folder, wrong, print).result(60)


@pytest.mark.parametrize("word", ["cancel", "pause"])
def test_a_slice_that_does_not_end_is_left_when_something_else_is_wished(word, executor, task):
    executor._remote.hold.clear()
    future = executor.submit_task(run_task_in_folder, task, print)
    wait_until(lambda: executor._remote.calls)
    future.stop(word)
    assert not future.result(60).is_done
    assert not (Path(task.folder) / "checkpoint").exists()


def test_a_job_that_takes_too_long_or_is_killed_is_ended(executor, task):
    executor._remote.hold.clear()
    executor.limits, kept = TaskLimits(seconds=0.1), executor.limits
    with pytest.raises(LimitError, match=r"took more than the 0\.1 seconds that a job may"):
        executor.submit_task(run_task_in_folder, task, print).result(60)
    executor.limits = kept
    future = executor.submit_task(run_task_in_folder, task, print)
    future.kill()
    with pytest.raises(LostProcessError, match="was ended as it was told to"):
        future.result(60)


def test_jobs_wait_for_a_cluster_that_is_gone_until_it_is_back(executor):
    gone = executor._remote
    assert executor.slots == 2
    gone.is_gone = True
    assert executor.slots == 0
    wait_until(lambda: executor.slots == 2)
    assert executor._remote is not gone


# --- a cluster ----------------------------------------------------------------------------------


class Queued:
    """A store whose jobs are done at a place."""

    def __init__(self, folder: Path, on: str) -> None:
        folder.mkdir()
        self.files, self.store = FileStore(folder), JobStore(folder)
        self.queue, self.seen = JobQueue(self.store), []
        executor = make_job_executor(parse_place(on), TaskLimits(stopping=2), slice_seconds=2.0)
        self.runner = JobRunner(
            Leases(self.queue),
            self.files,
            executor,
            listener=lambda kind, active: self.seen.append((kind, active.job.id)),
        )
        self.runner.begin()

    def submit(self, task: JobTask, **options: object) -> str:
        named = {
            name: (
                JobInput(Path(p).name, self.files.keep_bytes((Path(task.folder) / p).read_bytes())),
            )
            for name, (p,) in task.inputs.items()
        }
        job, _ = self.queue.submit(JobOrder("paint", named, {**task.options, **options}))
        self.runner.wake()
        return job.id

    def wait(self, job: str, *states: str):
        wait_until(lambda: self.queue.get(job).state in states)
        return self.queue.get(job)

    def ask(self, job: str, wish) -> None:
        self.queue.ask(job, wish)
        self.runner.wake()

    def close(self) -> None:
        self.runner.close()
        self.store.close()


def wait_until(true, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture(params=["dask", pytest.param("ray", marks=pytest.mark.slow)])
def queued(request, tmp_path, tmp_path_factory):
    """A store whose jobs are done on a cluster of two workers."""
    pytest.importorskip({"dask": "distributed"}.get(request.param, request.param))
    if request.param == "ray":
        found = Queued(tmp_path / "store", "ray")
        yield found
        found.close()
        return
    with run_dask(tmp_path_factory.mktemp("dask")) as on:
        found = Queued(tmp_path / "store", on)
        yield found
        found.close()


@pytest.mark.slow
def test_jobs_on_a_cluster_come_to_the_same_bytes_through_pauses(queued, task, tmp_path):
    expected = do_whole(task, tmp_path)
    job = queued.submit(task)
    wait_until(lambda: ("progress", job) in queued.seen)
    with contextlib.suppress(JobStateError):  # it may be done already
        queued.ask(job, "pause")
    queued.wait(job, "paused", "done")
    if queued.queue.get(job).state == "paused":
        queued.queue.resume(job)
        queued.runner.wake()
    done = queued.wait(job, "done", "failed")
    assert done.error is None
    assert queued.files.path(done.results[0].digest).read_bytes() == expected
    assert [s["number"] for s in queued.queue.list_steps(job)][-1] == 30
    endless = queued.submit(task, steps=100_000)
    wait_until(lambda: ("progress", endless) in queued.seen)
    queued.ask(endless, "cancel")
    assert queued.wait(endless, "cancelled", "failed").error is None
    wrong = queued.submit(task, style_layer=["relu42"])
    assert "unknown layer 'relu42'" in queued.wait(wrong, "failed", "done").error
