"""Many pictures: which are painted, into which files, and what is left when one goes wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import draw_picture
from PIL import Image

from impasto.cli.app import run
from impasto.cluster import worker
from impasto.cluster.worker import TaskShare
from impasto.errors import MissingFileError, OptionError
from impasto.images.folders import is_many
from impasto.jobs import batch
from impasto.jobs.batch import BatchOrder, find_unpainted, plan_batch, run_batch
from impasto.painting import painter
from impasto.painting.extractor import Extractor
from impasto.painting.options import PaintOptions

QUICK = ["--steps", "2", "--start-size", "64", "--precision", "float32"]
QUICK += ["--layout", "channels_last"]  # what a trial finds may differ with the number of threads
OPTIONS = PaintOptions(steps=2, start_size=64, precision="float32")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with three photographs and two styles."""
    monkeypatch.chdir(tmp_path)
    for i, name in enumerate(("my photos/a.jpg", "my photos/b c.png", "my photos/d.png")):
        draw(tmp_path / name, 48, 40, i)
    for i, name in enumerate(("styles/x.png", "styles/y z.png")):
        draw(tmp_path / name, 40, 48, 10 + i)
    return tmp_path


def draw(path: Path, width: int = 48, height: int = 40, seed: int = 0) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(draw_picture(width, height, seed)).save(path)
    return path


def plan(
    contents: list[str], styles: list[str], pairs: batch.Pairs = "every", folder: str = "out"
) -> list[tuple[str, str, str]]:
    tasks = plan_batch(contents, styles, Path(folder), pairs, ".png")
    return [
        (t.content.as_posix(), "+".join(s.name for s in t.styles), t.output.as_posix())
        for t in tasks
    ]


def names(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


# --- the plan -----------------------------------------------------------------------------------


def test_what_is_many(here):
    assert is_many("my photos")
    assert is_many("my photos/*.png")
    assert not is_many("my photos/a.jpg")
    assert not is_many("nowhere.png")
    draw(here / "a [1].png")
    assert not is_many("a [1].png")


def test_pictures_of_a_folder_and_of_a_pattern(here):
    (here / "my photos" / "notes.txt").write_text("no picture")
    draw(here / "my photos" / ".hidden.png")
    (here / "my photos" / "deeper").mkdir()
    out = Path("out")
    assert [p.name for p in find_unpainted("my photos", out)] == ["a.jpg", "b c.png", "d.png"]
    assert [p.name for p in find_unpainted("my photos/*.png", out)] == ["b c.png", "d.png"]
    assert [p.name for p in find_unpainted("**/[xd].png", out)] == ["d.png", "x.png"]
    assert find_unpainted("nowhere.png", out) == [Path("nowhere.png")]  # told when it is its turn
    for nothing in ("my photos/*.webp", "my photos/deeper"):
        with pytest.raises(MissingFileError, match=r"^no pictures in 'my photos/"):
            find_unpainted(nothing, out)


@pytest.mark.usefixtures("here")
def test_every_photograph_with_every_style():
    assert plan(["my photos"], ["styles"]) == [
        ("my photos/a.jpg", "x.png", "out/a-x.png"),
        ("my photos/b c.png", "x.png", "out/b c-x.png"),
        ("my photos/d.png", "x.png", "out/d-x.png"),
        ("my photos/a.jpg", "y z.png", "out/a-y z.png"),
        ("my photos/b c.png", "y z.png", "out/b c-y z.png"),
        ("my photos/d.png", "y z.png", "out/d-y z.png"),
    ]


@pytest.mark.usefixtures("here")
def test_in_step():
    expected = [
        ("my photos/b c.png", "x.png", "out/b c-x.png"),
        ("my photos/d.png", "y z.png", "out/d-y z.png"),
    ]
    assert plan(["my photos/*.png"], ["styles"], "step") == expected
    two = ["my photos/b c.png", "my photos/d.png"], ["styles/x.png", "styles/y z.png"]
    assert plan(*two, "step") == expected
    assert [row[1] for row in plan(["my photos"], ["styles/x.png"], "step")] == ["x.png"] * 3
    with pytest.raises(OptionError, match="--pairs step: 3 photographs and 2 styles"):
        plan(["my photos"], ["styles"], "step")


@pytest.mark.usefixtures("here")
def test_styles_that_are_files_are_blended_in_each():
    rows = plan(["my photos"], ["styles/x.png", "styles/y z.png"])
    assert [row[1] for row in rows] == ["x.png+y z.png"] * 3
    assert rows[0][2] == "out/a-x-y z.png"
    with pytest.raises(OptionError, match="a folder or pattern of styles stands alone"):
        plan(["my photos"], ["styles", "styles/x.png"])


def test_two_that_would_have_one_name_have_their_whole_names(here):
    draw(here / "my photos" / "A.png")
    outputs = [row[2] for row in plan(["my photos"], ["styles/x.png"])]
    assert outputs == ["out/A.png-x.png.png", "out/a.jpg-x.png.png", "out/b c-x.png", "out/d-x.png"]
    draw(here / "others" / "d.png")
    with pytest.raises(OptionError, match=r"two of these would both be 'd.png-x.png'; rename"):
        plan(["my photos", "others"], ["styles/x.png"])


def test_a_style_among_the_photographs_is_not_painted_after_itself(here):
    rows = plan(["my photos"], [str(here / "my photos" / "d.png")])
    assert [row[0] for row in rows] == ["my photos/a.jpg", "my photos/b c.png"]
    with pytest.raises(OptionError, match="no photograph that is not the style itself"):
        plan(["styles/x*"], ["styles/x.png"])


# --- doing it -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("here")
def test_a_folder_is_painted_and_a_second_time_left_alone(capsys):
    command = ["paint", "my photos", "--style", "styles", "-o", "new/out put", *QUICK]
    assert run(command) == 0
    assert "painted 6 of 6" in capsys.readouterr().err
    written = {path: path.stat().st_mtime_ns for path in Path("new/out put").iterdir()}
    assert len(written) == 6
    Path("new/out put/d-x.png").unlink()
    assert run(command) == 0
    said = capsys.readouterr().err
    assert "5 of 6 are there already (--overwrite: again)" in said
    assert "painted 1 of 1" in said
    same = [path for path, when in written.items() if path.stat().st_mtime_ns == when]
    assert len(same) == 5
    assert run(["paint", "my photos/a.jpg", "-s", "styles/x.png", "-o", "one.png", *QUICK]) == 0
    assert Path("one.png").read_bytes() == Path("new/out put/a-x.png").read_bytes()


@pytest.mark.usefixtures("here")
def test_a_bad_file_is_told_at_the_end_and_the_rest_is_done(capsys):
    Path("my photos/bad.jpg").write_bytes(b"not a picture")
    assert run(["paint", "my photos", "gone.png", "-s", "styles/x.png", *QUICK]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-3].startswith("impasto: bad.jpg after x.png: 'bad.jpg' is damaged or no picture")
    assert said[-2].startswith("impasto: gone.png after x.png: ")
    assert said[-1] == "painted 3 of 5, 2 failed"
    assert names("painted") == ["a-x.png", "b c-x.png", "d-x.png"]


@pytest.mark.usefixtures("here")
def test_what_goes_wrong_with_all_is_told_once(capsys):
    assert run(["paint", "my photos", "-s", "styles/x.png", "--style-layer", "relu42", "-q"]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert said[0].startswith("impasto: a.jpg after x.png (and 2 more): unknown layer 'relu42'")


def test_no_memory_for_one_is_told_and_the_rest_is_done(here, monkeypatch):
    steps = painter.Painter.steps

    def fail(self):
        if self.content.name == "a.jpg":
            raise RuntimeError("no memory\nleft")
        return steps(self)

    monkeypatch.setattr(painter.Painter, "steps", fail)
    tasks = plan_batch(["my photos"], ["styles/x.png"], here, "every", ".png")
    assert [outcome.error for outcome in run_batch(tasks, OPTIONS)] == [
        "RuntimeError: no memory left",
        None,
        None,
    ]


def test_a_style_is_measured_once(here, monkeypatch):
    measured = []
    look = Extractor.look
    monkeypatch.setattr(
        Extractor,
        "look",
        lambda self, *args: (measured.append(args[0].shape), look(self, *args))[1],
    )
    tasks = plan_batch(["my photos"], ["styles/x.png"], here, "every", ".png")
    options = OPTIONS.model_copy(update={"recolor": "none"})
    assert not [outcome.error for outcome in run_batch(tasks, options) if outcome.error]
    # The size at which a style is seen: 48 high where the photographs are 48 wide.
    assert len([shape for shape in measured if shape[-2] > shape[-1]]) == 1


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("how", [[], ["--no-metadata"]])
def test_results_among_the_photographs_are_no_photographs(how, capsys):
    command = ["paint", "my photos", "-s", "styles/x.png", "-o", "my photos", *QUICK, *how]
    assert run(command) == 0
    first = names("my photos")
    assert len(first) == 6
    code = run(command)
    said = capsys.readouterr().err
    assert names("my photos") == first
    if how:  # it cannot be told what they are; nothing is done to them
        assert code == 2
        assert "is one of the pictures that are read, and would be written over" in said
    else:
        assert code == 0
        assert "3 of 3 are there already" in said


def test_here_and_below(here):
    """``impasto paint .`` with the results in ./painted, and a pattern that finds those too."""
    draw(here / "e.png")
    for _ in range(2):
        assert run(["paint", ".", "-s", "styles/x.png", *QUICK]) == 0
        assert names("painted") == ["e-x.png"]
    assert run(["paint", "**/*.png", "-s", "styles/x.png", *QUICK]) == 0
    assert names("painted") == ["b c-x.png", "d-x.png", "e-x.png", "y z-x.png"]


def test_overwrite_spares_what_is_read(here, capsys):
    draw(here / "my photos" / "a-x.png")
    before = Path("my photos/a-x.png").read_bytes()
    flags = ["-s", "styles/x.png", "-o", "my photos", "--overwrite", *QUICK]
    assert run(["paint", "my photos", *flags]) == 2
    assert "'my photos/a-x.png' is one of the pictures that are read" in capsys.readouterr().err
    assert Path("my photos/a-x.png").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["my photos/*.webp", "-s", "styles/x.png"], "no pictures in 'my photos/*.webp'"),
        (["my photos", "-s", "styles/*.jpg"], "no pictures in 'styles/*.jpg'"),
        (["my photos"], "paint needs a picture: --style PICTURE"),
        (
            ["my photos", "-s", "styles", "--jobs", "0"],
            "jobs: '0' is wrong: input should be greater",
        ),
        (["my photos", "-s", "styles", "--on", "rai"], "on 'rai': give local:N, ray, ray:ADDR"),
        (["my photos", "-s", "styles", "--jobs", "2", "--on", "ray"], "give one of them"),
        (["my photos", "-s", "styles", "--on", "dask:tcp://a:1"], "a Dask scheduler to be trusted"),
        (["my photos", "-s", "styles", "--history", "x.csv"], "--history goes with one painting"),
        (["my photos", "-s", "styles", "--film", "x.gif"], "--film goes with one painting, not"),
        (["my photos", "-s", "styles", "--checkpoint", "x"], "--checkpoint goes with one painting"),
        (["my photos", "-s", "styles", "--every", "2"], "--every goes with one painting"),
        (["my photos", "-s", "styles", "--init", "last"], "--init last goes with one painting"),
        (["my photos", "-s", "styles", "-o", "x.png"], "several paintings go to a folder; 'x.png'"),
        (["my photos", "-s", "styles", "-o", "a file"], "cannot make the folder 'a file': file"),
        (["my photos", "-s", "styles", "-o", "a file/x"], "cannot make the folder 'a file/x': not"),
        (["my photos", ""], "a picture has an empty name"),
    ],
)
def test_mistakes_are_one_line_and_code_2(arguments, text, here, capsys):
    Path("a file").write_text("")
    before = sorted(here.rglob("*"))
    assert run(["paint", *arguments]) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("impasto: ")
    assert text in said
    assert len(said.splitlines()) == 1
    assert sorted(here.rglob("*")) == before


# --- in processes -------------------------------------------------------------------------------


PROGRAM = """
import os, signal
from dataclasses import replace
from pathlib import Path
from impasto.cli import app as cli
from impasto.painting import painter

steps = painter.Painter.steps

def steps_of_its_own(self):
    name = self.content.name
    Path(name + ".begun").touch()
    if name == os.environ.get("KILLED"):
        os.kill(os.getpid(), signal.SIGKILL)
    if name != os.environ.get("QUICK", name):
        self.options = self.options.model_copy(update={"plateau": 0})
        self.levels = [replace(level, steps=10**6) for level in self.levels]
    return steps(self)

painter.Painter.steps = steps_of_its_own
if __name__ == "__main__":  # workers take it in too
    cli.main()
"""


def start_batch(*flags: str, **environment: str) -> subprocess.Popen[str]:
    """The command line with photographs that end their worker, or take for ever."""
    Path("program.py").write_text(PROGRAM)
    command = [sys.executable, "program.py", "paint", "my photos", "-s", "styles/x.png"]
    return subprocess.Popen(
        [*command, "-o", "out", *QUICK, *flags],
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a group of its own, as a shell gives it
    )


def list_workers(process: int) -> list[int]:
    tasks = Path(f"/proc/{process}/task").iterdir()  # any thread may have begun one
    text = " ".join((task / "children").read_text() for task in tasks)
    lines = {int(child): Path(f"/proc/{child}/cmdline") for child in text.split()}
    return [child for child, line in lines.items() if b"spawn_main" in line.read_bytes()]


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(true: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_processes_share_cores_and_memory(monkeypatch):
    granted = []
    monkeypatch.setattr(
        batch, "make_runner", lambda order: granted.append(int(order.options.memory))
    )
    monkeypatch.setattr(worker, "_count_cores", lambda: 5)
    threads = torch.get_num_threads()
    try:
        options = OPTIONS.model_copy(update={"memory": "3 GB"})
        for jobs, share in {1: 5, 2: 2, 9: 1}.items():
            batch.share_machine(BatchOrder("paint", options, True, TaskShare(jobs)), str)
            assert torch.get_num_threads() == share
    finally:
        torch.set_num_threads(threads)
    assert granted == [granted[0], granted[0] // 2, granted[0] // 9]


linux = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")


@pytest.mark.usefixtures("here")
@linux
def test_in_two_processes_it_comes_to_the_same_but_for_what_was_killed():
    Path("my photos/bad.jpg").write_bytes(b"not a picture")
    process = start_batch("--jobs", "2", KILLED="a.jpg")
    said = process.communicate()[1].strip().splitlines()
    assert process.returncode == 2
    assert sorted(said[-3:-1]) == [
        "impasto: a.jpg after x.png: its process was killed by signal 9 (out of memory?)",
        next(
            line for line in said if line.startswith("impasto: bad.jpg after x.png: 'bad.jpg' is")
        ),
    ]
    assert said[-1] == "painted 2 of 4, 2 failed"
    assert names("out") == ["b c-x.png", "d-x.png"]
    assert run(["paint", "my photos/*.png", "-s", "styles/x.png", "-o", "one", *QUICK]) == 0
    for name in names("one"):
        assert Path("out", name).read_bytes() == Path("one", name).read_bytes()


@pytest.mark.usefixtures("here")
@linux
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_ends_all_of_them_and_leaves_what_is_whole(jobs):
    process = start_batch("--jobs", jobs, QUICK="a.jpg")
    wait_until(lambda: Path("out/a-x.png").exists() and Path("b c.png.begun").exists())
    wait_until(lambda: jobs == "1" or Path("d.png.begun").exists())
    workers = list_workers(process.pid)
    assert len(workers) == (2 if jobs == "2" else 0)
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does: to all of them
    said = process.communicate()[1].strip().splitlines()
    assert process.returncode == 130
    assert said[-1] == "stopped; painted 1 of 3"
    assert not [line for line in said if "Traceback" in line or "impasto:" in line]
    assert not any(map(is_alive, workers))
    assert names("out") == ["a-x.png"]


@pytest.mark.usefixtures("here")
@linux
def test_ctrl_c_while_workers_start():
    process = start_batch("--jobs", "2")
    wait_until(lambda: list_workers(process.pid))
    workers = list_workers(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate()[1].strip().splitlines()
    assert process.returncode == 130
    assert said[-1] == "stopped; painted 0 of 3"
    assert not [line for line in said if "Traceback" in line]
    wait_until(lambda: not any(map(is_alive, workers)), 5)


@pytest.mark.usefixtures("here")
@linux
def test_workers_end_with_their_parent():
    process = start_batch("--jobs", "2", QUICK="nothing")
    wait_until(lambda: Path("a.jpg.begun").exists() and Path("b c.png.begun").exists())
    workers = list_workers(process.pid)
    process.kill()
    process.communicate()
    wait_until(lambda: not any(map(is_alive, workers)), 10)
    assert names("out") == []
