"""The loop without a network: known minima, what is kept, and what a checkpoint depends on."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from impasto.errors import DivergedError, OptionError
from impasto.painting.canvas import PixelCanvas
from impasto.painting.loop import Goal, PictureWork, RunState, keep_tensors, optimise, prepare
from impasto.painting.memory_plan import Level
from impasto.painting.options import LoopOptions, PaintOptions
from impasto.painting.result import Painting
from impasto.recipes import hide_folders
from impasto.system.checkpoints import Checkpoint
from impasto.system.devices import Machine
from impasto.work import Step

pytestmark = pytest.mark.arithmetic

SIZES = ((4, 2), (8, 4), (16, 8))


class Distance:
    """How far a picture is from one colour, squared and summed; and how it was asked."""

    def __init__(self, color: float) -> None:
        self.color = color
        self.remarks = [f"of {color:g}"]
        self.asked: list[int] = []

    def show(self, pixels: Tensor) -> Tensor:
        return 2 * pixels

    def __call__(self, pixels: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        self.asked.append(step)
        apart = (pixels - self.color).square().sum()
        return apart, {"content": apart, "odd": apart * 0 + 7}


class Named:
    """All that a checkpoint asks of a network."""

    def fingerprint(self) -> str:
        return "a network"


class Colouring(PictureWork):
    """A picture of one colour, found at three sizes."""

    operation = "color"

    def __init__(
        self,
        options: LoopOptions,
        steps: Iterable[int] = (2, 0, 3),
        checkpoint: Path | None = None,
        input: Tensor | None = None,
    ) -> None:
        self.input = input
        self.begun: list[tuple[int, int]] = []
        self.goals: list[Distance] = []
        super().__init__(
            options,
            Named(),  # type: ignore[arg-type]
            Machine(torch.device("cpu")),
            [Level(s, n, math.inf, 1) for s, n in zip(SIZES, steps, strict=True)],
            checkpoint=None if checkpoint is None else Checkpoint(checkpoint),
        )

    def begin(self, level: Level) -> tuple[Goal, Tensor]:
        self.begun.append(level.size)
        self.goals.append(Distance(0.5 * len(self.begun)))
        return self.goals[-1], torch.zeros(1, 3, level.size[1], level.size[0])

    def result(self) -> Painting:
        assert self.run.best is not None
        return self.make_painting(self.run.best)

    def list_pictures(self) -> dict[str, Any]:
        return {}

    def list_inputs(self) -> Iterable[Tensor | None]:
        return (None, self.input)


def read_options(**values: Any) -> LoopOptions:
    return LoopOptions.read({"plateau": 0, **values})


def go(goal: Distance, count: int = 30, **values: Any) -> tuple[RunState, list[float]]:
    options, run = read_options(**values), RunState()
    canvas, optimizer = prepare(torch.zeros(1, 3, 2, 2), options, {})
    losses = []
    for total, _ in optimise(goal, canvas, optimizer, count, run, options):
        losses.append(total)
        run.history.append(Step(len(losses), count, measured={"total": total}))
    return run, losses


# --- steps at one size --------------------------------------------------------------------------


def test_a_known_minimum_is_found():
    run, losses = go(Distance(0.6), 20)
    assert losses[0] == pytest.approx(12 * 0.6**2, rel=1e-5)
    assert run.best is not None
    # What is shown is twice the picture.
    torch.testing.assert_close(run.best, torch.full((1, 3, 2, 2), 0.3), rtol=0, atol=1e-3)
    assert run.least == min(losses)
    assert run.done == len(losses) == 20


def test_gradient_descent_by_hand():
    run, losses = go(Distance(1.0), 3, optimizer="sgd", learning_rate=0.125)
    # The slope is 4 (2 x - 1): -4, then 0, and nine tenths of the first are left of momentum.
    assert losses == pytest.approx([12 * (1 - 2 * x) ** 2 for x in (0, 0.5, 0.95)], rel=1e-5)
    assert run.best is not None
    torch.testing.assert_close(run.best, torch.full((1, 3, 2, 2), 0.5))


@pytest.mark.parametrize("final_rate", [0, 0.5, 1])
def test_a_falling_rate_by_hand(final_rate):
    goal = Distance(1.0)
    _, losses = go(goal, 3, optimizer="sgd", learning_rate=0.0625, final_rate=final_rate)
    # Gradients 4 (2 x - 1) are -4, then -2, to which nine tenths of the one before are added: the
    # second step goes 5.6 times the rate that is left of 0.0625, two thirds or five sixths.
    second = 0.25 + 5.6 * 0.0625 * (1 - (1 - final_rate) / 3)
    assert losses == pytest.approx([12 * (1 - 2 * x) ** 2 for x in (0, 0.25, second)], rel=1e-5)


def test_each_step_is_numbered_from_the_history():
    goal = Distance(1.0)
    go(goal, 3, optimizer="adam")
    assert goal.asked == [0, 1, 2]


def test_a_loss_that_is_no_number_says_at_which_step():
    with pytest.raises(DivergedError, match="no longer a number at step 1; lower"):
        go(Distance(math.inf))


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam", "sgd", "rmsprop"])
def test_a_state_that_was_kept_goes_on_as_if_it_had_not_been(optimizer):
    options = read_options(optimizer=optimizer, learning_rate=0.01, final_rate=0.2)
    goal = Distance(0.8)
    start = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    whole, run = prepare(start, options, {}), RunState()
    list(optimise(goal, *whole, 6, run, options))
    canvas, optimizer_ = prepare(start, options, {})
    first = RunState()
    list(islice(optimise(goal, canvas, optimizer_, 6, first, options), 3))
    state = {
        name: tensor.clone() for name, tensor in keep_tensors(canvas, optimizer_, None).items()
    }
    again, second = prepare(torch.zeros_like(start), options, state), RunState(done=3)
    list(optimise(goal, *again, 6, second, options))
    assert torch.equal(again[0].values, whole[0].values)


def test_progress_is_packed_and_unpacked():
    step = Step(
        1, 2, size=(8, 4), measured={"total": 3.5, "style": 1.0, "score": 4.0}, seconds=0.25
    )
    tensors = {"values": torch.ones(2), "optimizer.step": torch.tensor(3.0)}
    run = RunState(torch.zeros(1, 3, 2, 2), [step], 1, 2, 3.5, tensors)
    packed, facts = run.pack()
    again = RunState.unpack(packed, json.loads(json.dumps(facts)))
    assert again.history == [step]
    assert (again.level, again.done, again.least) == (1, 2, 3.5)
    assert again.best is not None
    assert torch.equal(again.best, torch.zeros(1, 3, 2, 2))
    assert again.tensors.keys() == tensors.keys()
    assert all(torch.equal(again.tensors[name], tensors[name]) for name in tensors)
    fresh = RunState.unpack(*RunState().pack())
    assert fresh == RunState()


# --- sizes from coarse to fine ------------------------------------------------------------------


def test_sizes_with_steps_are_gone_through_in_their_order():
    work = Colouring(read_options(steps=5))
    steps = list(work.steps())
    assert work.begun == [(4, 2), (16, 8)]  # none at the second
    assert [step.size for step in steps] == [(4, 2), (4, 2), (16, 8), (16, 8), (16, 8)]
    assert [step.number for step in steps] == [1, 2, 3, 4, 5]
    assert {step.steps for step in steps} == {5}
    assert [goal.asked[0] for goal in work.goals] == [0, 2]
    assert work.result().pixels.shape == (1, 3, 8, 16)
    # What is least is of the last size alone: the first step of the first cost less.
    assert work.run.least == min(step.total for step in steps[2:])


def test_what_a_goal_measures_beside_the_known_is_kept_by_name():
    work = Colouring(read_options(steps=5))
    for step in work.steps():
        assert step.more == {"odd": 7.0}
        assert step.content == pytest.approx(step.total)
        assert step.style == step.tv == 0


def test_remarks_become_notes_once():
    work = Colouring(read_options(steps=5))
    list(work.steps())
    assert work.notes == ["of 0.5", "of 1"]


@pytest.mark.parametrize("after", [1, 2, 3, 4, 5])
def test_work_broken_off_goes_on_where_it_was(tmp_path, after):
    options, file = read_options(steps=5, optimizer="adam"), tmp_path / "state"
    whole = Colouring(options)
    list(whole.steps())
    first = Colouring(options, checkpoint=file)
    steps = first.steps()
    for _ in range(after):
        next(steps)
    first.save_progress()
    second = Colouring(options, checkpoint=file)
    second.begun = [(0, 0)] * (len(first.begun) - 1)  # colours are counted from the first size on
    assert second.notes[0] == f"taken up at step {after + 1}"
    more = list(second.steps())
    assert [step.number for step in more] == list(range(after + 1, 6))
    assert torch.equal(second.result().pixels, whole.result().pixels)
    told = [[step.total for step in work.run.history] for work in (second, whole)]
    assert told[0] == told[1]


def test_a_checkpoint_is_of_its_inputs_and_options(tmp_path):
    file, one = tmp_path / "state", torch.zeros(3)
    work = Colouring(read_options(steps=5), checkpoint=file, input=one)
    list(work.steps())
    assert Colouring(read_options(steps=5), checkpoint=file, input=one.clone()).run.history
    for options, tensor in (
        (read_options(steps=5), torch.ones(3)),
        (read_options(steps=5), None),
        (read_options(steps=5, seed=1), one),
    ):
        with pytest.raises(OptionError, match="'state' is of another painting"):
            Colouring(options, checkpoint=file, input=tensor)


def test_recipes_have_no_folders():
    files = {"init": "/home/me/start.png", "mask": "/a/b.png", "style_mask": ["c/d.png", "e"]}
    options = PaintOptions.read({**files, "seed": 3})
    shown = hide_folders(options)
    assert shown.init == "start.png"
    assert shown.mask == "b.png"
    assert shown.style_mask == ("d.png", "e")
    assert shown.changed() == {**options.changed(), "init": "start.png", "mask": "b.png"} | {
        "style_mask": ["d.png", "e"]
    }
    plain = PaintOptions.read({"init": "noise", "steps": 3})
    assert hide_folders(plain) == plain


def test_a_canvas_begins_as_its_start():
    start = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    canvas, _ = prepare(start, read_options(), {})
    assert isinstance(canvas, PixelCanvas)
    assert torch.equal(canvas.pixels(), start)
