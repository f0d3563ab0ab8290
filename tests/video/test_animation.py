"""Films painted: whole, in time, with their sound, the same in shards and after a kill."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import draw_picture
from film_clips import SIZE, draw_pan, hash_sound, read_clip, write_clip
from PIL import Image

from impasto.errors import ImageError, MissingFileError, OptionError
from impasto.video.animation import Animation, animate, close_times
from impasto.video.encoding import PieceWriter
from impasto.video.joining import Joining
from impasto.video.options import AnimateOptions
from impasto.work import watch

FLOAT = {"precision": "float32"}


@pytest.fixture
def film(tmp_path) -> Path:
    return write_clip(tmp_path / "a film.mp4", draw_pan(12), sound="aac")


SHARD = 16


def is_clean(folder: Path) -> bool:
    return not [path for path in folder.iterdir() if path.name.startswith(".")]


def paint(film, style, output, **options):
    return animate(film, style, output, {**FLOAT, **options})


# --- what comes out -------------------------------------------------------------------------------


def test_frames_times_and_sound_are_those_of_the_film(film, picture, tmp_path):
    result = paint(film, picture, tmp_path / "out.mp4")
    assert result.finished
    assert (result.frames, result.size) == (12, SIZE)
    frames, times = read_clip(tmp_path / "out.mp4")
    _, own = read_clip(film)
    assert times == own
    assert hash_sound(tmp_path / "out.mp4") == hash_sound(film)
    assert is_clean(tmp_path)
    assert np.abs(frames[0].astype(int) - draw_pan(12)[0]).mean() > 10  # it was painted


@pytest.mark.parametrize("suffix", [".mkv", ".mov", ".webm"])
def test_other_containers(film, picture, tmp_path, suffix):
    result = paint(film, picture, tmp_path / f"out{suffix}", preview=0.2)
    frames, times = read_clip(tmp_path / f"out{suffix}")
    assert len(frames) == 5
    # Matroska has no times below 0, at which sound begins: it moves both.
    moved = [float(t - times[0]) for t in times]
    assert moved == pytest.approx([n / 25 for n in range(5)], abs=1e-3)
    assert times[0] < 0.03
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        assert len(container.streams.audio) == 1
    assert any("encoded as libopus" in note for note in result.notes) == (suffix == ".webm")


def test_uneven_times_and_rates_are_kept(picture, tmp_path):
    times = [0, 40, 90, 100, 300, 310, 400]
    film = write_clip(tmp_path / "a.mp4", draw_pan(7), times=times, time_base=Fraction(1, 1000))
    paint(film, picture, tmp_path / "b.mp4")
    assert read_clip(tmp_path / "b.mp4")[1] == read_clip(film)[1]
    ntsc = write_clip(tmp_path / "c.mp4", draw_pan(6), rate=Fraction(30000, 1001))
    paint(ntsc, picture, tmp_path / "d.mp4")
    with av.open(str(tmp_path / "d.mp4")) as container:
        assert container.streams.video[0].average_rate == Fraction(30000, 1001)


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_animated_pictures(film, picture, tmp_path, suffix):
    paint(film, picture, tmp_path / f"out{suffix}")
    with Image.open(tmp_path / f"out{suffix}") as image:
        assert image.n_frames == 12
        assert image.size == SIZE
        image.seek(1)
        image.load()
        assert image.info["duration"] == 40


def test_a_folder_in_and_out(picture, tmp_path):
    folder = tmp_path / "my frames"
    folder.mkdir()
    for number, frame in enumerate(draw_pan(3)):
        Image.fromarray(frame).save(folder / f"{number}.png")
    paint(folder, picture, tmp_path / "painted")
    names = sorted(path.name for path in (tmp_path / "painted").iterdir())
    assert names == ["000001.png", "000002.png", "000003.png"]
    with Image.open(tmp_path / "painted" / "000002.png") as image:
        assert image.size == SIZE
        assert "impasto" in image.info


def test_a_still_is_a_film_of_itself(photo, picture, tmp_path):
    result = paint(photo, picture, tmp_path / "out.mp4", seconds=0.4)
    frames, _ = read_clip(tmp_path / "out.mp4")
    assert result.frames == len(frames) == 10
    assert np.abs(frames[0].astype(int) - frames[-1]).mean() < 3


def test_odd_sides_are_made_even_and_told(picture, tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    Image.fromarray(draw_picture(51, 33)).save(folder / "1.png")
    result = paint(folder, picture, tmp_path / "out.mp4")
    assert result.size == (50, 32)
    assert any("51 x 33 becomes 50 x 32" in note for note in result.notes)
    assert paint(folder, picture, tmp_path / "out.gif").size == (51, 33)


def test_side_by_side_and_sizes(film, picture, tmp_path):
    result = paint(film, picture, tmp_path / "out.mp4", side_by_side=True, size=32, preview=0.1)
    assert result.size == (64, 24)
    frames, _ = read_clip(tmp_path / "out.mp4")
    own = np.asarray(Image.fromarray(draw_pan(12)[0]).resize((32, 24), Image.Resampling.BOX))
    assert np.abs(frames[0][:, :32].astype(int) - own).mean() < 20


def test_a_part_of_a_film_has_its_part_of_the_sound(film, picture, tmp_path):
    paint(film, picture, tmp_path / "out.mp4", from_=0.2, to=0.4)
    frames, times = read_clip(tmp_path / "out.mp4")
    assert len(frames) == 5
    assert times[0] == 0
    _, all_packets = hash_sound(film)
    _, packets = hash_sound(tmp_path / "out.mp4")
    assert 0 < packets < all_packets
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert abs(container.duration / 1e6 - 0.2) < 0.06


def test_sound_is_left_out_where_that_is_asked_for(film, picture, tmp_path):
    paint(film, picture, tmp_path / "out.mp4", sound=False, preview=0.1)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert not container.streams.audio


def test_sound_that_is_longer_than_the_picture_is_kept(picture, tmp_path):
    film = write_clip(tmp_path / "a.mp4", draw_pan(4), sound="aac", sound_seconds=1.5)
    paint(film, picture, tmp_path / "b.mp4")
    assert hash_sound(tmp_path / "b.mp4") == hash_sound(film)


# --- what changes over a film ---------------------------------------------------------------------


def test_a_gap_between_frames_is_told_and_kept(picture, tmp_path):
    times = [*range(8), *range(28, 36)]
    path = write_clip(tmp_path / "film.mkv", draw_pan(16), times=times, time_base=Fraction(1, 25))
    result = paint(path, picture, tmp_path / "out.mkv")
    assert "no frames from 0.28 to 1.12 s: the one before is shown" in result.notes
    assert read_clip(tmp_path / "out.mkv")[1] == read_clip(path)[1]


def test_a_film_whose_clock_begins_anew_is_whole_in_shards_too(picture, tmp_path):
    content = b""
    for seed in (0, 1):
        part = write_clip(tmp_path / "part.ts", draw_pan(20, seed=seed))
        content += part.read_bytes()
    (tmp_path / "film.ts").write_bytes(content)
    paint(tmp_path / "film.ts", picture, tmp_path / "one.mkv")
    paint(tmp_path / "film.ts", picture, tmp_path / "two.mkv", shard=8, renew=2)
    one, two = (read_clip(tmp_path / name) for name in ("one.mkv", "two.mkv"))
    assert one[1] == two[1]
    assert len(one[1]) == 40


def test_styles_follow_each_other(picture, photo, tmp_path):
    film = write_clip(tmp_path / "a.mp4", [draw_picture(*SIZE, 4)] * 10)
    options = {"style_times": (0.0, 0.2), "crf": 4}
    result = animate(film, [picture, photo], tmp_path / "b.mp4", FLOAT | options)
    assert result.frames == 10
    frames = [frame.astype(int) for frame in read_clip(tmp_path / "b.mp4")[0]]
    within = max(np.abs(a - b).mean() for a, b in ((frames[0], frames[4]), (frames[5], frames[9])))
    assert np.abs(frames[4] - frames[5]).mean() > 3 * within + 3


def test_an_option_changes_over_a_film(film, picture, tmp_path):
    paint(film, picture, tmp_path / "b.mp4", vary=("strength=0:1",), crf=4)
    frames, own = read_clip(tmp_path / "b.mp4")[0], read_clip(film)[0]
    apart = [np.abs(a.astype(int) - b).mean() for a, b in zip(frames, own, strict=True)]
    assert apart[0] < 6
    assert apart[-1] > apart[5] > apart[0] + 3


# --- the same again -------------------------------------------------------------------------------


def test_the_same_recipe_gives_the_same_bytes(film, picture, tmp_path):
    paint(film, picture, tmp_path / "b.mp4", preview=0.2)
    paint(film, picture, tmp_path / "c.mp4", preview=0.2)
    assert (tmp_path / "b.mp4").read_bytes() == (tmp_path / "c.mp4").read_bytes()


def test_a_film_in_shards_by_processes_is_the_same(picture, tmp_path):
    """More than one shard, without a cut: the second begins some frames before itself."""
    film = write_clip(tmp_path / "a.mp4", draw_pan(SHARD + 14, size=(32, 32)))
    options = FLOAT | {"renew": 4, "every": 2, "shard": SHARD}
    animate(film, picture, tmp_path / "b.mp4", options)
    animate(film, picture, tmp_path / "c.mp4", options, jobs=2)
    one, two = read_clip(tmp_path / "b.mp4"), read_clip(tmp_path / "c.mp4")
    assert len(one[0]) == SHARD + 14
    assert one[1] == two[1]
    assert all(np.array_equal(a, b) for a, b in zip(one[0], two[0], strict=True))


def test_a_shard_goes_on_as_the_one_before_it_would(picture, tmp_path):
    """Of a film that stands still, no seam is to be seen between shards."""
    frame = draw_picture(96, 96, 3)
    film = write_clip(tmp_path / "a.mp4", [frame] * (SHARD + 14))
    options = FLOAT | {"renew": 4, "crf": 1, "shard": SHARD}
    animate(film, picture, tmp_path / "b.mp4", options)
    frames = [f.astype(int) for f in read_clip(tmp_path / "b.mp4")[0]]
    steps = [np.abs(b - a).mean() for a, b in pairwise(frames)]
    assert max(steps) < 1


def test_ctrl_c_leaves_a_film_of_what_is_done_and_it_goes_on(film, picture, tmp_path):
    options = AnimateOptions.read(FLOAT | {"crf": 4})
    work = Animation(film, [picture], options, tmp_path / "b.mp4")
    assert not watch(work, is_stopped=lambda: work.frames_done == 5)
    result = work.result()
    assert (result.frames, result.finished) == (5, False)
    some = read_clip(tmp_path / "b.mp4")[0]
    assert len(some) == 5
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert container.streams.audio
    whole = paint(film, picture, tmp_path / "b.mp4", crf=4)
    assert whole.finished
    assert len(read_clip(tmp_path / "b.mp4")[0]) == 12
    assert is_clean(tmp_path)


def test_a_full_disk_costs_one_shard(picture, tmp_path, monkeypatch):
    film = write_clip(tmp_path / "film.mp4", draw_pan(24))
    add, room = PieceWriter.add, 12

    def fill(writer, *frame):
        nonlocal room
        room -= 1
        if room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        add(writer, *frame)

    monkeypatch.setattr(PieceWriter, "add", fill)
    message = (
        "cannot write 'out.mp4': no space left on device; what is done is kept, and the same "
        "command goes on"
    )
    with pytest.raises(ImageError, match=f"^{message}$"):
        paint(film, picture, tmp_path / "out.mp4", shard=8, renew=2)
    assert not (tmp_path / "out.mp4").exists()
    (hidden,) = (path for path in tmp_path.iterdir() if path.is_dir())
    pieces = [path.name for path in hidden.iterdir() if path.suffix == ".nut"]
    assert pieces == ["piece-00000.nut"]
    room = 100
    result = paint(film, picture, tmp_path / "out.mp4", shard=8, renew=2)
    assert "8 of 24 frames are there already" in result.notes
    paint(film, picture, tmp_path / "whole.mp4", shard=8, renew=2)
    assert (tmp_path / "out.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()


def test_a_disk_that_is_full_at_the_end_costs_nothing(film, picture, tmp_path, monkeypatch):
    def fill(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "hidden")

    with monkeypatch.context() as patch:
        patch.setattr(Joining, "write", fill)
        with pytest.raises(ImageError, match=r"^cannot write 'out.mp4': no space left on device;"):
            paint(film, picture, tmp_path / "out.mp4")
    result = paint(film, picture, tmp_path / "out.mp4")
    assert "12 of 12 frames are there already" in result.notes
    assert is_clean(tmp_path)


def test_other_options_begin_anew(film, picture, tmp_path):
    options = AnimateOptions.read(FLOAT)
    work = Animation(film, [picture], options, tmp_path / "b.mp4")
    watch(work, is_stopped=lambda: work.frames_done == 3)
    result = paint(film, picture, tmp_path / "b.mp4", strength=0.5)
    assert any("given up" in note for note in result.notes)
    assert result.frames == 12


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_after_a_kill_the_same_command_goes_on(picture, tmp_path):
    film = write_clip(tmp_path / "a.mp4", draw_pan(SHARD + 14, size=(32, 32)))
    arguments = [
        film,
        "--style",
        picture,
        "--shard",
        SHARD,
        "--renew",
        "4",
        "--precision",
        "float32",
    ]
    command = [sys.executable, "-m", "impasto", "animate", *map(str, arguments), "-o"]
    folder = tmp_path / ".b.mp4.impasto"
    process = subprocess.Popen([*command, str(tmp_path / "b.mp4")], stderr=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while not (folder / "piece-00000.nut").exists() and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "b.mp4").exists()
    done = subprocess.run([*command, str(tmp_path / "b.mp4")], capture_output=True, check=True)
    assert f"{SHARD} of {SHARD + 14} frames are there already" in done.stderr.decode()
    subprocess.run([*command, str(tmp_path / "c.mp4")], capture_output=True, check=True)
    assert (tmp_path / "b.mp4").read_bytes() == (tmp_path / "c.mp4").read_bytes()


# --- by optimisation ------------------------------------------------------------------------------


def test_with_paint_frames_follow_each_other(picture, tmp_path):
    film = write_clip(tmp_path / "a.mp4", draw_pan(3, size=(48, 48)))
    options = {"with_": "paint", "setting": ("steps=4",), "vary": ("style_weight=5:50",)}
    result = paint(film, picture, tmp_path / "b.mp4", **options)
    assert result.frames == 3
    frames, _ = read_clip(tmp_path / "b.mp4")
    assert np.abs(frames[0].astype(int) - draw_pan(1, size=(48, 48))[0]).mean() > 5


def test_another_pass_goes_back_from_the_last_frame(picture, tmp_path):
    film = write_clip(tmp_path / "a.mp4", draw_pan(3, size=(48, 48)))
    found = []
    for name, passes in (("once", 1), ("twice", 2)):
        folder = tmp_path / name
        paint(film, picture, folder, with_="paint", setting=("steps=4",), passes=passes)
        found.append(
            [np.asarray(Image.open(path)).astype(int) for path in sorted(folder.iterdir())]
        )
    apart = [np.abs(a - b).mean() for a, b in zip(*found, strict=True)]
    assert apart[2] == 0 < min(apart[:2])


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vary": ("style_size=1:2",)}, "vary: 'style_size' does not change over a film"),
        ({"vary": ("strength=0:2",)}, "out of its range"),
        ({"vary": ("strength",)}, "give OPTION=FIRST:LAST"),
        ({"style_times": (0.0, 1.0)}, "style_times: 2 given for 1 styles"),
        ({"codec": "prores"}, "codec 'prores' does not go into .mp4"),
        ({"to": 1.0, "from_": 2.0}, "to: 1 is not after from, 2"),
        ({"from_": 9.0}, "no frame lies between these times"),
        ({"setting": ("steps=3",)}, "--setting goes with --with paint"),
        ({"with_": "paint", "setting": ("stepz=3",)}, "did you mean 'steps'"),
        ({"passes": 2}, "--passes goes with --with paint"),
        ({"with_": "paint", "model": "painters"}, "--model goes with --with instant"),
    ],
)
def test_what_does_not_go_is_one_line(film, picture, tmp_path, options, message):
    with pytest.raises((OptionError, ImageError), match=message):
        paint(film, picture, tmp_path / "b.mp4", **options)
    assert not (tmp_path / "b.mp4").exists()


def test_outputs_are_refused_before_the_work(film, picture, tmp_path):
    with pytest.raises(ImageError, match=r"choose from .mp4, .mov, .mkv, .webm, .gif, .webp"):
        paint(film, picture, tmp_path / "b.avi")
    with pytest.raises(MissingFileError, match="no such folder"):
        paint(film, picture, tmp_path / "none" / "b.mp4")


def test_the_last_frame_has_an_end():
    assert close_times([0, 10, 20, 50], 4) == [0, 10, 20, 50, 60]
    assert close_times([0, 10, 20, 50], 2) == [0, 10, 20]
    assert close_times([5], 1) == [5, 6]
