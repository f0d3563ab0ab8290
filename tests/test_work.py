"""Work is driven by one function, whatever it is."""

from __future__ import annotations

import pytest

from impasto.options import Options
from impasto.work import Request, Step, finish, watch


class Counting:
    """Counts to three, and says when it is closed."""

    def __init__(self):
        self.notes, self.count, self.closed = [], 0, False

    def steps(self):
        try:
            for number in (1, 2, 3):
                self.count = number
                yield Step(number, 3)
        finally:
            self.closed = True

    def result(self):
        return self.count


def test_work_is_watched_to_its_end():
    work, seen = Counting(), []
    assert watch(work, seen.append)
    assert [(step.number, step.steps) for step in seen] == [(1, 3), (2, 3), (3, 3)]
    assert work.closed


@pytest.mark.parametrize("after", [1, 2])
def test_work_that_is_stopped_is_closed_at_once(after):
    work = Counting()
    assert not watch(work, is_stopped=lambda: work.count == after)
    assert work.closed
    assert work.result() == after


def test_what_is_asked_to_stop_at_its_last_step_comes_to_its_end():
    work = Counting()
    assert watch(work, is_stopped=lambda: work.count == 3)


def test_an_error_of_a_watcher_closes_the_work():
    def fail(_):
        raise KeyboardInterrupt

    work = Counting()
    with pytest.raises(KeyboardInterrupt):
        watch(work, fail)
    assert work.closed


def test_finished_work_gives_its_result():
    assert finish(Counting()) == 3


def test_steps_that_are_no_generator_are_watched_too():
    work = Counting()
    work.steps = lambda: iter([Step(1, 1)])
    assert watch(work)


def test_a_step_tells_losses_and_what_else_was_measured():
    step = Step(2, 5, measured={"total": 6.0, "style": 3.0, "score": 0.5}, seconds=1.5)
    assert (step.total, step.style, step.content, step.tv) == (6.0, 3.0, 0.0, 0.0)
    assert step.more == {"score": 0.5}
    assert Step(**step.pack()) == step


def test_requests_name_their_inputs():
    request = Request({"content": ("a.png",), "style": ("b.png", "c.png"), "start": ()}, Options())
    assert request.one("content") == "a.png"
    assert request.many("style") == ["b.png", "c.png"]
    assert request.some("start") is None
    assert request.some("mask") is None
    with pytest.raises(ValueError, match="too many"):
        request.one("style")
