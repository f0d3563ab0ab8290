"""Frames painted as they come: steady, each once, and none queued."""

from __future__ import annotations

import io
import subprocess
import sys
import threading

import av
import cv2
import numpy as np
import pytest
from conftest import draw_picture
from film_clips import SIZE, draw_pan, write_clip

from impasto.errors import MissingFileError, OptionError
from impasto.video.live import FramePainter, Latest, LiveShow, watch_source
from impasto.video.options import LiveOptions

FLOAT = {"precision": "float32"}


def test_frames_of_a_program_s_own_are_painted(picture):
    frames = draw_pan(6)
    paint = FramePainter(str(picture), FLOAT)
    painted = list(paint.stream(frames))
    assert [each.shape for each in painted] == [(48, 64, 3)] * 6
    assert all(each.dtype == np.uint8 for each in painted)
    assert np.abs(painted[0].astype(int) - frames[0]).mean() > 10


def test_what_stands_still_stays_as_it_was(picture):
    frame = draw_pan(1)[0]
    paint = FramePainter(str(picture), FLOAT)
    first, *others = (paint(frame).astype(int) for _ in range(20))
    assert max(np.abs(each - first).mean() for each in others) < 1


def test_there_and_back_ends_where_it_began(picture):
    frames = draw_pan(14, size=(96, 64))
    paint = FramePainter(str(picture), FLOAT | {"renew": 12})
    painted = [paint(frame).astype(np.float32) for frame in (*frames, *frames[::-1])]
    apart = cv2.GaussianBlur(painted[-1] - painted[0], (0, 0), 12)
    assert np.abs(apart).mean() < 5  # of drawn noise after a drawn style; of films, docs/film.md


def test_frames_between_paintings_are_not_painted(picture, monkeypatch):
    paint = FramePainter(str(picture), FLOAT | {"every": 3})
    calls = []
    own = paint.painter.paint
    monkeypatch.setattr(paint.painter, "paint", lambda *given: calls.append(1) or own(*given))
    list(paint.stream(draw_pan(7)))
    assert len(calls) == 3


def test_another_size_begins_anew(picture):
    paint = FramePainter(str(picture), FLOAT)
    paint(draw_pan(1)[0])
    assert paint(draw_picture(32, 40)).shape == (40, 32, 3)


def test_the_dial_turns_strength_where_there_is_no_other(picture):
    frame = draw_pan(1)[0]
    paint = FramePainter(str(picture), FLOAT)
    usual = paint(frame).astype(int)
    paint.turn(up=False)
    values = dict(paint.moment.values)
    assert values in ({"strength": 0.9}, {"style_weight": 12.0})
    paint.forget()
    assert np.abs(paint(frame) - usual).mean() > 0.5


def test_frames_that_come_are_painted_in_one_pass(picture):
    with pytest.raises(OptionError, match="in one pass"):
        FramePainter(str(picture), {"with_": "paint"})


def test_only_the_latest_is_taken():
    taken, gate = [], threading.Event()

    def fetch():
        yield 1
        gate.wait(5)
        yield from (2, 3, 4)

    latest = Latest(fetch())
    items = iter(latest)
    taken.append(next(items))
    gate.set()
    latest._thread.join()
    assert [*taken, *items] == [1, 4]
    assert latest.dropped == 2


def test_an_error_of_the_source_is_raised():
    def fetch():
        yield 1
        raise MissingFileError("the camera was pulled out")

    latest = Latest(fetch())
    latest._thread.join()
    items = iter(latest)
    assert next(items) == 1
    with pytest.raises(MissingFileError, match="pulled out"):
        next(items)


def test_a_film_is_a_camera_in_its_own_time(tmp_path):
    path = write_clip(tmp_path / "film.mp4", draw_pan(5))
    size, frames = watch_source(str(path), 32)
    assert size == (32, 24)
    assert [frame.shape for frame in frames] == [(24, 32, 3)] * 5
    with pytest.raises(MissingFileError, match="there is no film and no camera"):
        watch_source(str(tmp_path / "none"), 32)


class Recorder:
    def __init__(self, most: int) -> None:
        self.most, self.frames, self.is_closed = most, [], False

    def show(self, frame: np.ndarray, title: str) -> bool:
        assert "a second" in title
        self.frames.append(frame)
        return len(self.frames) < self.most

    def close(self) -> None:
        self.is_closed = True


def test_a_show_ends_with_its_screen_and_hears_keys(picture, photo, tmp_path, monkeypatch):
    path = write_clip(tmp_path / "film.mp4", draw_pan(30))
    recorder = Recorder(1)
    monkeypatch.setattr("impasto.video.live.open_screen", lambda *_: recorder)
    options = LiveOptions.read(FLOAT)
    show = LiveShow(str(path), [str(picture), str(photo)], options, "window")
    show.hear("n")
    assert show.current == 1
    show.hear("n")
    assert show.current == 0
    said = show.run()
    assert len(recorder.frames) == 1
    assert recorder.is_closed
    assert said.startswith("1 frame, ")


def test_a_pipe_is_read_by_players(picture, tmp_path):
    path = write_clip(tmp_path / "film.mp4", draw_pan(8))
    command = [sys.executable, "-m", "impasto", "live", str(path), "--style", str(picture)]
    done = subprocess.run([*command, "--to", "pipe"], capture_output=True, check=True)
    with av.open(io.BytesIO(done.stdout), format="yuv4mpegpipe") as container:
        frames = list(container.decode(video=0))
    assert (frames[0].width, frames[0].height) == SIZE
    assert f"{len(frames)} frame" in done.stderr.decode()
    assert f"{8 - len(frames)} left out" in done.stderr.decode()
