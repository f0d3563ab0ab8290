"""Who waits for a picture: turns, and requests that are given up."""

from __future__ import annotations

import threading

import pytest

from impasto.studio.instant_painter import InstantPainter, InstantTask, PainterMemory
from impasto.studio.limits import RefusalError, StudioLimits

TASK = InstantTask("a.png", (), {})


def test_a_line_that_is_full_and_a_request_that_is_given_up_are_refused(monkeypatch):
    painter = InstantPainter(StudioLimits(instant_line=2))
    begun, go_on, done = threading.Event(), threading.Event(), []

    def hold(task):
        begun.set()
        go_on.wait(60)
        done.append(task)
        return task

    monkeypatch.setattr(painter, "_paint", hold)
    refusals = []

    def give_up():
        try:
            painter.paint(TASK, lambda: False)
        except RefusalError as error:
            refusals.append(error.status)

    first = threading.Thread(target=painter.paint, args=(TASK,))
    first.start()
    begun.wait(60)
    second = threading.Thread(target=give_up)
    second.start()
    while painter._waiting < 2:
        threading.Event().wait(0.01)
    with pytest.raises(RefusalError, match="too many pictures are waited for") as refusal:
        painter.paint(TASK)
    assert (refusal.value.status, refusal.value.retry) == (429, 1)
    go_on.set()
    first.join()
    second.join()
    assert (done, refusals) == ([TASK], [409])


def test_styles_and_photographs_are_remembered_and_strength_and_size_need_no_style(photo, picture):
    memory = PainterMemory()

    def paint(**options):
        return memory.paint(InstantTask(str(photo), (str(picture),), options, "png"))

    first = paint()
    assert (first.width, first.height) == (64, 48)
    painter = next(iter(memory.painters.values()))
    assert paint(strength=0.5).content != first.content
    assert paint(size=48).width == 48
    assert paint().content == first.content
    assert list(memory.painters.values()) == [painter]
    paint(style_scale=0.5)
    assert len(memory.painters) == 2
    assert len(memory.photographs) == 1
