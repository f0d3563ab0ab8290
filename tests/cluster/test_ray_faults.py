"""A Ray cluster of several nodes on this machine, and what is killed of it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from conftest import draw_picture
from PIL import Image
from ray_nodes import RayNodes, run_ray_nodes

from impasto.errors import ClusterError
from impasto.jobs.batch import PaintingTask, plan_batch, run_batch
from impasto.painting.options import PaintOptions

pytest.importorskip("ray")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="ends processes by their groups"),
]
OPTIONS = PaintOptions(steps=20, size=64, precision="float32", layout="channels_last", plateau=0)


@pytest.fixture
def nodes(tmp_path) -> Iterator[RayNodes]:
    with run_ray_nodes(tmp_path) as nodes:
        yield nodes


@pytest.fixture
def tasks(tmp_path) -> list[PaintingTask]:
    for i in range(6):
        path = tmp_path / "my photos" / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(draw_picture(64, 48, i)).save(path)
    style = tmp_path / "style.png"
    Image.fromarray(draw_picture(64, 64, 9)).save(style)
    (tmp_path / "out").mkdir()
    photos = str(tmp_path / "my photos")
    return plan_batch([photos], [str(style)], tmp_path / "out", "every", ".png")


def test_what_a_killed_node_had_in_hand_is_done_elsewhere(nodes, tasks):
    nodes.start()
    nodes.start()
    outcomes = []
    for outcome in run_batch(tasks, OPTIONS, place=nodes.place):
        outcomes.append(outcome)
        if len(outcomes) == 1:
            nodes.kill(1)
    assert [outcome.error for outcome in outcomes] == [None] * 6
    assert len({outcome.task.output for outcome in outcomes}) == 6
    assert all(task.output.exists() for task in tasks)


def test_a_killed_head_is_one_line_and_the_rest_can_be_done(nodes, tasks):
    nodes.start()
    done = []

    def paint_until_the_head_is_gone() -> None:
        for outcome in run_batch(tasks, OPTIONS, place=nodes.place):
            done.append(outcome)
            nodes.kill(0)

    with pytest.raises(ClusterError, match=r"^the ray cluster is gone, or its head; what is fin"):
        paint_until_the_head_is_gone()
    assert all(outcome.task.output.exists() for outcome in done)
    left = [task for task in tasks if not task.output.exists()]
    assert 0 < len(left) < 6
    assert [outcome.error for outcome in run_batch(left, OPTIONS)] == [None] * len(left)


def test_after_a_killed_command_the_same_one_goes_on(nodes, tasks, tmp_path):
    nodes.start()
    out = tmp_path / "out"
    flags = ["--steps", "20", "--size", "64", "--on", f"ray:127.0.0.1:{nodes.port}"]
    command = [sys.executable, "-m", "impasto", "paint", "my photos", "-s", "style.png"]
    command += ["-o", "out", "--precision", "float32", *flags]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
    while not list(out.glob("*.png")):
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    first = {path: path.stat().st_mtime_ns for path in out.glob("*.png")}
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert f"{len(first)} of 6 are there already" in said.stderr
    assert len(list(out.glob("*.png"))) == len(tasks)
    assert all(path.stat().st_mtime_ns == when for path, when in first.items())


def test_a_cluster_that_asks_for_no_token_is_refused(nodes, tasks, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        nodes.start()
    with pytest.raises(ClusterError, match="answers without a token, and runs anyone's code"):
        list(run_batch(tasks, OPTIONS, place=nodes.place))
