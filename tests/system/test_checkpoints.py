"""Runs that are broken off and taken up again: the same bytes as if nothing had happened."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from conftest import draw_picture
from PIL import Image
from safetensors.torch import save_file

from impasto.cli.app import run
from impasto.errors import ImageError, MissingFileError, OptionError
from impasto.images.reading import read_image
from impasto.painting import memory_plan as plan
from impasto.painting import style_work
from impasto.painting.optimizers import BoundedLBFGS
from impasto.painting.options import PaintOptions
from impasto.painting.painter import Painter
from impasto.system import checkpoints
from impasto.system.checkpoints import Checkpoint, fingerprint

STEPS = 5  # shared out over two sizes, 3 and 2
LAYOUT = ["--layout", "planes"]  # on a busy machine, two processes may find another one faster
KINDS = {
    "lbfgs": {},
    "adam, averaged": {"optimizer": "adam", "average": 0.7},
    "rmsprop": {"optimizer": "rmsprop"},
    "sgd": {"optimizer": "sgd", "learning_rate": 0.001},
    "lbfgs, from noise, blurred": {"init": "noise", "blur": 1.0},
    "sampled losses": {"style_loss": ("sliced",), "content_loss": ("self-similarity",)},
    "pyramid": {"canvas": "pyramid", "init": "statistics"},
    "fourier": {"canvas": "fourier", "optimizer": "adam"},
}


def read_options(**more: object) -> PaintOptions:
    quick = {"steps": STEPS, "size": 96, "start_size": 48, "precision": "float32"}
    return PaintOptions.read({**quick, **more})


def finish(painter: Painter) -> bytes:
    for _ in painter.steps():
        pass
    painting = painter.result()
    assert len(painting.history) == painter.options.steps
    return painting.pixels.numpy().tobytes()


def break_off(painter: Painter, after: int) -> None:
    """As Ctrl-C does it: after so many steps, with what there is then kept."""
    steps = painter.steps()
    for _ in range(after):
        next(steps)
    painter.save_progress()


@pytest.mark.parametrize("kind", KINDS)
def test_broken_off_at_any_step_it_comes_to_the_same_bytes(kind, photo, picture, tmp_path):
    options, file = read_options(**KINDS[kind]), tmp_path / "state"
    unbroken = Painter(photo, picture, options)
    whole = finish(unbroken)
    assert len({step.size for step in unbroken.run.history}) == 2
    for after in range(1, STEPS + 1):
        break_off(Painter(photo, picture, options, checkpoint=file), after)
        taken_up = Painter(photo, picture, options, checkpoint=file)
        assert f"taken up at step {after + 1}" in taken_up.notes
        assert finish(taken_up) == whole, f"broken off after step {after}"
        file.unlink()


def test_broken_off_at_every_step_again_and_again(photo, picture, tmp_path):
    options, file = read_options(), tmp_path / "state"
    for _ in range(STEPS):
        break_off(Painter(photo, picture, options, checkpoint=file), 1)
    assert finish(Painter(photo, picture, options, checkpoint=file)) == finish(
        Painter(photo, picture, options)
    )


def test_a_run_that_settled_is_taken_up_where_it_was(photo, picture, tmp_path):
    """What decides that a size is done is remembered too."""
    options = read_options(steps=96, size=64, start_size=64, plateau=0.9)
    whole = Painter(photo, picture, options)
    for _ in whole.steps():
        pass
    history = whole.result().history
    assert len(history) < 96
    break_off(Painter(photo, picture, options, checkpoint=tmp_path / "state"), 30)
    taken_up = Painter(photo, picture, options, checkpoint=tmp_path / "state")
    for _ in taken_up.steps():
        pass
    assert len(taken_up.result().history) == len(history)
    assert torch.equal(taken_up.result().pixels, whole.result().pixels)


def test_what_is_half_done_is_not_kept(photo, picture, tmp_path, monkeypatch):
    """Stopped inside a step (Ctrl-C twice, no memory), the state as it was last saved stands."""
    options, file = read_options(), tmp_path / "state"
    monkeypatch.setattr(checkpoints, "SHARE", math.inf)
    with monkeypatch.context() as patch:
        patch.setattr(BoundedLBFGS, "step", stop_inside(BoundedLBFGS.step, after=3))
        painter = Painter(photo, picture, options, checkpoint=file)
        with pytest.raises(KeyboardInterrupt):
            finish(painter)
    before = file.read_bytes()
    painter.save_progress()
    assert file.read_bytes() == before
    taken_up = Painter(photo, picture, options, checkpoint=file)
    assert "taken up at step 4" in taken_up.notes
    assert finish(taken_up) == finish(Painter(photo, picture, options))


def stop_inside(step: Callable[..., Any], after: int) -> Callable[..., Any]:
    left = [after]

    def stopped(*arguments: Any) -> Any:
        loss = step(*arguments)
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt  # the canvas is changed, and nothing else knows it
        return loss

    return stopped


def test_saving_takes_a_twentieth_of_the_time_at_most(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(checkpoints.time, "perf_counter", lambda: clock[0])

    def write(_tensors: object, path: Path, _metadata: object) -> None:
        path.write_bytes(b"")
        clock[0] += 2

    monkeypatch.setattr(checkpoints, "save_file", write)
    checkpoint = Checkpoint(tmp_path / "state")
    due = []
    for _ in range(100):
        clock[0] += 1
        if checkpoint.is_due():
            due.append(clock[0])
            checkpoint.save({}, {}, "")
    assert due == [6, 49, 92]


# --- which file it is -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"seed": 1}, "checkpoint 'state' is of another painting: other pictures, options or"),
        ({"steps": STEPS + 1}, "is of another painting"),
        ({"picture": 9}, "is of another painting"),
        ({"bytes": b"not a checkpoint"}, "'state' is no checkpoint of Impasto, or is damaged"),
        ({"bytes": b""}, "'state' is no checkpoint of Impasto, or is damaged"),
        ({"cut": 1000}, "'state' is no checkpoint of Impasto, or is damaged"),
        ({"foreign": True}, "'state' is no checkpoint of Impasto, or is damaged"),
    ],
)
def test_another_file_is_refused_and_left_as_it_is(change, text, photo, picture, tmp_path):
    file = tmp_path / "state"
    break_off(Painter(photo, picture, read_options(), checkpoint=file), 2)
    match change:
        case {"picture": seed}:
            Image.fromarray(draw_picture(56, 72, seed)).save(picture)
        case {"bytes": content}:
            file.write_bytes(content)
        case {"cut": length}:
            file.write_bytes(file.read_bytes()[:-length])
        case {"foreign": _}:
            save_file({"a": torch.zeros(3)}, file)
    more = {name: value for name, value in change.items() if name in PaintOptions.model_fields}
    before = file.read_bytes()
    with pytest.raises(OptionError, match=text):
        Painter(photo, picture, read_options(**more), checkpoint=file)
    assert file.read_bytes() == before


def test_where_no_checkpoint_can_be(photo, picture, tmp_path):
    with pytest.raises(MissingFileError, match=r"no such folder: '.*nowhere' \(to write 'x' in"):
        Painter(photo, picture, checkpoint=tmp_path / "nowhere" / "x")
    with pytest.raises(OptionError, match="it is a folder"):
        Painter(photo, picture, checkpoint=tmp_path)


def test_a_disk_that_is_full_is_told_in_one_line(tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", fail)
    with pytest.raises(OptionError, match="cannot write checkpoint 'x': no space left on device"):
        Checkpoint(tmp_path / "x").save({}, {}, "")


def test_the_memory_that_it_was_begun_with_is_kept(photo, picture, tmp_path, monkeypatch):
    """Free memory is never the same again; the size and the tiles must be."""
    options = read_options(size=None, style_layer=("relu1_1",), content_layer=("relu1_2",))
    for name, value in (("PROCESS", 0), ("SLACK", 0), ("LEAST_WINDOW", 100)):
        monkeypatch.setattr(plan, name, value)
    room = [10**12]
    monkeypatch.setattr(style_work, "grant_memory", lambda _, asked: int(asked or room[-1]))
    most = Painter(photo, picture, options).plan.needed
    kinds: dict[tuple[bool, bool], int] = {}  # the whole size, and tight: with this grant
    for first in range(0, most + 1, most // 40):
        room.append(first)
        with contextlib.suppress(ImageError):
            tried = Painter(photo, picture, options)
            kinds[tried.size == (64, 48), tried.plan.is_tight] = first
    assert set(kinds) >= {(False, True), (True, True)}
    for first in (*kinds.values(), most):
        room.append(first)
        file = tmp_path / f"state {first}"
        small = Painter(photo, picture, options, checkpoint=file)
        break_off(small, 3)
        for other in (most // 2, 10**12):
            room.append(other)
            again = Painter(photo, picture, options, checkpoint=file)
            assert again.plan.levels == small.plan.levels
        taken_up = finish(Painter(photo, picture, options, checkpoint=file))
        room.append(first)
        assert taken_up == finish(Painter(photo, picture, options))


# --- from the command line, and killed for real -----------------------------------------------

KILLED = """
import os, signal, sys
from impasto.system import checkpoints
from impasto.cli import app as cli
from impasto.painting import painter

die_at, die_saving = int(os.environ["DIE_AT"]), int(os.environ.get("DIE_SAVING", 0))
checkpoints.SHARE = float("inf")  # saved at each step
steps, save, saves = painter.Painter.steps, checkpoints.save_file, []

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def steps_killed(self):
    for step in steps(self):
        if step.number == die_at:
            die()
        yield step

def save_killed(tensors, path, metadata):
    save(tensors, path, metadata)
    saves.append(path)
    if len(saves) == die_saving:
        with open(path, "rb+") as file:
            file.truncate(100)
        die()

painter.Painter.steps, checkpoints.save_file = steps_killed, save_killed
cli.main()
"""


def paint_killed(flags: list[str], **when: int) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DIE_AT": "0", **{n: str(value) for n, value in when.items()}}
    return subprocess.run(
        [sys.executable, "-c", KILLED, "paint", *flags],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize(
    ("extra", "deaths"),
    [
        # At the end of the coarse size, and while a checkpoint is written.
        ([], [{"DIE_AT": 8}, {"DIE_SAVING": 2}]),
        pytest.param(
            ["--optimizer", "adam", "--average", "0.8", "--precision", "float32"],
            [{"DIE_SAVING": 9}],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_killed_it_goes_on_to_the_same_bytes(extra, deaths, photo, picture, tmp_path, capsys):
    flags = [str(photo), "--style", str(picture), "--size", "96", "--start-size", "48"]
    flags += ["--steps", "12", "--init", "noise", "--style-loss", "sliced", *LAYOUT, *extra]
    assert run(["paint", *flags, "-o", str(tmp_path / "whole.png")]) == 0
    file, output = tmp_path / "a state", tmp_path / "killed.png"
    flags += ["-o", str(output), "--checkpoint", str(file)]
    for when in deaths:
        assert paint_killed(flags, **when).returncode == -signal.SIGKILL
        assert not output.exists()
        assert file.exists()
    assert run(["paint", *flags]) == 0
    assert "note: taken up at step 9" in capsys.readouterr().err
    assert output.read_bytes() == (tmp_path / "whole.png").read_bytes()
    assert not [path for path in tmp_path.iterdir() if "state" in path.name]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_killed_at_any_moment(photo, picture, tmp_path):
    flags = [str(photo), "--style", str(picture), "--size", "96", "--start-size", "48"]
    flags += ["--steps", "60", "--canvas", "fourier", *LAYOUT]
    assert run(["paint", *flags, "-o", str(tmp_path / "whole.png")]) == 0
    file, output = tmp_path / "state", tmp_path / "killed.png"
    flags += ["-o", str(output), "--checkpoint", str(file)]
    program = [sys.executable, "-c", KILLED, "paint", *flags]
    random = Random(3)
    for _ in range(2):
        before = file.stat().st_mtime_ns if file.exists() else 0
        process = subprocess.Popen(
            program, env={**os.environ, "DIE_AT": "0"}, stderr=subprocess.DEVNULL
        )
        while process.poll() is None:
            time.sleep(0.01)
            if file.exists() and file.stat().st_mtime_ns != before:  # it paints
                time.sleep(random.uniform(0, 0.4))
                process.kill()
                break
        process.wait()
    assert run(["paint", *flags]) == 0
    assert output.read_bytes() == (tmp_path / "whole.png").read_bytes()
    assert not file.exists()


def test_what_was_done_already_is_only_written(photo, picture, tmp_path, capsys):
    """Killed after the last step, before the picture was written."""
    options, file = read_options(), tmp_path / "state"
    finish(Painter(photo, picture, options, checkpoint=file))
    flags = ["--steps", str(STEPS), "--size", "96", "--start-size", "48", "--precision", "float32"]
    flags += ["-o", str(tmp_path / "x.png"), "--film", str(tmp_path / "x.gif")]
    flags += ["--history", str(tmp_path / "x.csv")]
    assert run(["paint", str(photo), "-s", str(picture), *flags, "--checkpoint", str(file)]) == 0
    said = capsys.readouterr().err
    assert f"taken up at step {STEPS + 1}" in said
    assert f"note: the film begins at step {STEPS + 1}" in said
    assert not file.exists()
    assert len((tmp_path / "x.csv").read_text().splitlines()) == STEPS + 1
    assert read_image(tmp_path / "x.png").size == (96, 72)


def test_from_the_last_painting_it_goes_on_though_that_is_written_over(photo, picture, tmp_path):
    """Ctrl-C writes the best so far to OUTPUT, which the run had started from."""
    flags = ["paint", str(photo), "-s", str(picture), "--start-size", "64", "--precision"]
    flags += ["float32", "--steps", "6", *LAYOUT]
    for name in ("whole.png", "broken.png"):
        Image.fromarray(draw_picture(64, 48, 7)).save(tmp_path / name)
    flags += ["--init", "last", "--no-metadata", "-q"]
    assert run([*flags, "-o", str(tmp_path / "whole.png")]) == 0
    file, output = tmp_path / "state", tmp_path / "broken.png"
    flags += ["-o", str(output), "--checkpoint", str(file)]
    done = subprocess.run([sys.executable, "-c", INTERRUPTED, *flags], check=False)
    assert done.returncode == 130
    assert file.exists()
    assert run(flags) == 0
    assert output.read_bytes() == (tmp_path / "whole.png").read_bytes()
    assert not file.exists()


INTERRUPTED = """
import os, signal
from impasto.cli import app as cli
from impasto.painting import optimizers
step, count = optimizers.BoundedLBFGS.step, []

def step_interrupted(*arguments):
    count.append(1)
    if len(count) == 3:
        os.kill(os.getpid(), signal.SIGINT)
    return step(*arguments)

optimizers.BoundedLBFGS.step = step_interrupted
cli.main()
"""


# --- fingerprints -------------------------------------------------------------------------------


def test_equal_things_have_one_fingerprint():
    tensor = torch.arange(6.0).view(2, 3)
    key = fingerprint(["gram", 3], (tensor, None))
    assert fingerprint(["gram", 3], (tensor.clone(), None)) == key
    lying_otherwise = tensor.T.contiguous().T
    assert fingerprint(["gram", 3], (lying_otherwise, None)) == key
    assert len(key) == 64
    assert not set(key) - set("0123456789abcdef")


def test_whatever_differs_has_another_fingerprint():
    numbers = torch.arange(6.0)
    changed = numbers.clone()
    changed[5] = torch.nextafter(changed[5], torch.tensor(9.0))
    mask = torch.ones(2)
    asked = [
        (["gram"], (numbers.view(2, 3),)),
        (["gram"], (numbers.view(3, 2),)),
        (["gram"], (numbers,)),
        (["gram"], (changed.view(2, 3),)),
        (["gram"], (numbers.view(2, 3), mask)),
        (["gram"], (numbers.view(2, 3), mask * 0.5)),
        (["emd"], (numbers.view(2, 3),)),
        (["gram", 0], (numbers.view(2, 3),)),
        (["gram", "0"], (numbers.view(2, 3),)),
        (["gram"], (numbers[:3], numbers[3:])),
        (["gram"], (numbers[:2], numbers[2:])),
        (["gram"], ()),
    ]
    keys = [fingerprint(*each) for each in asked]
    assert len(set(keys)) == len(asked)


def test_files_count_by_their_bytes(tmp_path):
    for name, content in (("a", b"x"), ("b", b"x"), ("c", b"y")):
        (tmp_path / name).write_bytes(content)
    a, b, c = (fingerprint([], files=[tmp_path / name]) for name in "abc")
    assert a == b != c
    assert a != fingerprint([])


def test_every_type_of_number_has_a_fingerprint():
    kinds = (torch.float32, torch.bfloat16, torch.int64, torch.bool)
    tensors = [torch.zeros(shape, dtype=kind) for kind in kinds for shape in ((), (0,), (3,))]
    assert len({fingerprint([], [tensor]) for tensor in tensors}) == len(tensors)
