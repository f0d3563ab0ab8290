"""Tasks shared out: one suite for processes of this machine, Dask and Ray."""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
import time
from pathlib import Path

import pytest
from cluster_tasks import MAKE, run_dask

from impasto.cluster.crew import Crew, hire_crew
from impasto.cluster.dask_executor import end_unwanted
from impasto.cluster.places import WorkPlace, parse_place
from impasto.cluster.worker import WorkerSpec
from impasto.errors import DeviceError, ImageError, ImpastoError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills processes")
NEEDED = {"local:2": "multiprocessing", "dask": "distributed", "ray": "ray"}


@pytest.fixture(scope="module", autouse=True)
def findable():
    """Workers find the tests' tasks by the environment that they inherit."""
    with pytest.MonkeyPatch.context() as patch:
        paths = [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        yield


@pytest.fixture(
    scope="module", params=["local:2", "dask", pytest.param("ray", marks=pytest.mark.slow)]
)
def place(request, tmp_path_factory) -> WorkPlace:
    if importlib.util.find_spec(NEEDED[request.param]) is None:
        pytest.skip(f"{NEEDED[request.param]} is not installed")
    if request.param == "dask":
        with run_dask(tmp_path_factory.mktemp("dask")) as on:
            yield parse_place(on)
    else:
        yield parse_place(request.param)


@pytest.fixture(scope="module")
def crew(place) -> Crew:
    with hire_crew(place, 2) as crew:
        yield crew


def share(crew, tasks, files=(), **more):
    spec = WorkerSpec(MAKE, "given", tuple(files))
    outcomes = crew.share_out(spec, tasks, **more)
    return [(task, report.outcome) for task, report in outcomes if report is not None]


def test_every_task_is_done_once_and_elsewhere(crew):
    outcomes = share(crew, [("square", i) for i in range(7)])
    assert sorted(outcome[2] for _, outcome in outcomes) == [i * i for i in range(7)]
    assert all(outcome[2] == task[1] ** 2 for task, outcome in outcomes)
    processes = {outcome[0] for _, outcome in outcomes}
    assert os.getpid() not in processes
    counts = {p: max(o[1] for _, o in outcomes if o[0] == p) for p in processes}
    assert sum(counts.values()) == 7  # each process made what does them once


def test_files_travel_by_their_bytes(crew, tmp_path):
    style, photos = tmp_path / "a style.png", [tmp_path / f"{i}.png" for i in range(3)]
    style.write_bytes(b"style")
    for i, photo in enumerate(photos):
        photo.write_bytes(bytes([i]) * 1000)
    tasks = [("read", str(style), str(photo)) for photo in photos]
    outcomes = share(crew, tasks, [str(style)], list_files=lambda task: [task[2]])
    assert len(outcomes) == 3
    for task, (paths, contents) in outcomes:
        assert contents == [b"style", Path(task[2]).read_bytes()]
        assert [Path(path).name for path in paths] == ["a style.png", Path(task[2]).name]
        assert (paths == list(task[1:])) is not crew.executor.is_remote


def test_large_files_go_both_ways_at_the_same_time(crew, tmp_path):
    """More than a pipe holds: whoever sends must go on reading."""
    photos = [tmp_path / f"{i}.bin" for i in range(12)]
    for i, photo in enumerate(photos):
        photo.write_bytes(bytes([i]) * (1 << 20))
    tasks = [("read", str(photo), str(photo)) for photo in photos]
    outcomes = share(crew, tasks, list_files=lambda task: [task[2]])
    assert len(outcomes) == 12
    for task, (_, contents) in outcomes:
        assert contents[1] == Path(task[2]).read_bytes()


def test_a_folder_travels_with_what_is_in_it(crew, tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for name in ("1.png", "2.png"):
        (folder / name).write_bytes(name.encode())
    ((_, outcome),) = share(crew, [("list", str(folder))], list_files=lambda task: [task[1]])
    assert outcome == ("frames", ["1.png", "2.png"])


def test_what_goes_wrong_is_told_in_one_line(crew):
    with pytest.raises(ImageError, match=r"^a bad picture$"):
        share(crew, [("bad",), ("square", 1)])
    with pytest.raises(ImpastoError, match=r"^KeyError: 'bug'$"):
        share(crew, [("bug",)])


def test_the_task_of_a_worker_that_dies_is_done_by_another(crew, place, tmp_path):
    before = crew.redone
    tasks = [("square", 1), ("die", "once", str(tmp_path / "died")), ("square", 2)]
    outcomes = share(crew, tasks)
    assert sorted(task[0] for task, _ in outcomes) == ["die", "square", "square"]
    assert dict(outcomes)[tasks[1]] == "given"
    if place.kind != "dask":  # whose scheduler does that by itself
        assert crew.redone > before
        assert any("begun again: a worker was lost" in note for note in crew.notes)


def test_a_task_that_kills_each_worker_is_given_up(crew):
    lost = []
    outcomes = share(
        crew, [("die", "always"), ("square", 3)], lose=lambda *loss: lost.append(loss) or "lost"
    )
    assert dict(outcomes)[("die", "always")] == "lost"
    assert [task for task, _ in lost] == [("die", "always")]
    with pytest.raises(DeviceError, match="the same command goes on"):
        share(crew, [("die", "always")])


def test_work_that_is_left_ends_what_it_began(crew, place, tmp_path):
    """The last of a crew: it ends here."""
    begun = tmp_path / "begun"
    outcomes = crew.share_out(WorkerSpec(MAKE, "given"), [("wait", str(begun))] * 2)
    for _, report in outcomes:
        assert report is None  # signs of life
        if begun.exists() and (said := begun.read_text()):
            break
    worker = Path(f"/proc/{said.split()[0]}")
    outcomes.close()
    crew.executor.end()
    end = time.monotonic() + 20
    while has_ticked(begun):
        assert time.monotonic() < end, "a task is left"
    while place.kind != "dask" and worker.exists():  # Dask's workers are not ours to end
        assert time.monotonic() < end, "a worker is left"
        time.sleep(0.05)
    assert worker.exists() == (place.kind == "dask")


def has_ticked(path: Path) -> bool:
    """Whether a task that waits still writes what it is at."""
    before = path.read_text()
    time.sleep(1)
    return path.read_text() != before


def test_a_call_that_is_not_wanted_ends_itself():
    began, wanted, lost = threading.Event(), threading.Event(), []
    wanted.set()

    def work() -> bytes:
        began.set()
        for _ in range(1200):
            try:
                time.sleep(0.05)
            except BaseException as error:
                if lost:
                    raise
                lost.append(error)  # as one is that comes while an object is deleted
        return b"done"

    threading.Thread(target=lambda: (began.wait(), wanted.clear())).start()
    assert end_unwanted(wanted.is_set, work) == b""
    assert lost
    assert end_unwanted(lambda: True, lambda: b"done") == b"done"
    with pytest.raises(KeyError):
        end_unwanted(lambda: True, lambda: {}["none"])
