"""Optimisers: L-BFGS against torch's own, its longest step, and what all of them remember."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from impasto.painting import optimizers
from impasto.painting.canvas import CANVASES, Canvas
from impasto.painting.optimizers import HISTORY, LONGEST_STEP, OPTIMIZERS, BoundedLBFGS

pytestmark = pytest.mark.arithmetic

every_canvas = pytest.mark.parametrize("canvas_name", CANVASES)
every_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)


def noise(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape or (1, 3, 8, 8), generator=generator, dtype=torch.float64)


def closure_of(
    optimizer: torch.optim.Optimizer, canvas: Canvas, loss_of: Callable[[Tensor], Tensor]
) -> Callable[[], Tensor]:
    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(canvas.pixels())
        loss.backward()
        return loss.detach()

    return closure


def bowl(seed: int) -> Callable[[Tensor], Tensor]:
    """A quadratic that bends from 1 to 30 times, its least a little way off."""
    bends = 1 + 29 * torch.rand(192, generator=torch.Generator().manual_seed(seed)).double()
    least = 0.5 + 0.02 * noise(seed + 1, 192)
    return lambda pixels: (bends * (pixels.flatten() - least).square()).sum() / 2


def test_lbfgs_goes_where_torch_s_goes():
    start = torch.full((1, 3, 8, 8), 0.5, dtype=torch.float64)
    canvas, loss_of = CANVASES["pixels"](start), bowl(1)
    ours = BoundedLBFGS(canvas, 1.0)
    theirs = start.clone().requires_grad_()
    oracle = torch.optim.LBFGS(
        [theirs], max_iter=1, history_size=HISTORY, tolerance_grad=0, tolerance_change=0
    )

    def their_closure() -> Tensor:
        oracle.zero_grad()
        loss = loss_of(theirs)
        loss.backward()
        return loss

    closure = closure_of(ours, canvas, loss_of)
    first = float(loss_of(start))
    for _ in range(22):  # twice round the history
        before = canvas.pixels().detach()
        loss, wanted = ours.step(closure), oracle.step(their_closure)
        torch.testing.assert_close(loss, wanted.detach(), rtol=1e-6, atol=1e-12)
        torch.testing.assert_close(canvas.values, theirs, rtol=0, atol=1e-12)
        change = (canvas.pixels().detach() - before).square().mean().sqrt()
        assert float(change) < LONGEST_STEP  # so that the two should agree
    assert float(loss) < 1e-4 * first


def rosenbrock(pixels: Tensor) -> Tensor:
    x = pixels.flatten()
    return (100 * (x[1:] - x[:-1].square()).square() + (1 - x[:-1]).square()).sum()


def test_lbfgs_follows_a_curved_valley():
    canvas = CANVASES["pixels"](torch.full((1, 3, 1, 2), 0.2, dtype=torch.float64))
    optimizer = BoundedLBFGS(canvas, 1.0)
    closure = closure_of(optimizer, canvas, rosenbrock)
    losses = [float(optimizer.step(closure)) for _ in range(300)]
    assert losses[-1] < 1e-8 * losses[0]
    torch.testing.assert_close(canvas.values, torch.ones_like(canvas.values), rtol=0, atol=1e-3)


@every_canvas
def test_lbfgs_takes_no_step_longer_than_its_longest(canvas_name):
    canvas = CANVASES[canvas_name](torch.full((1, 3, 8, 8), 0.5))
    optimizer = OPTIMIZERS["lbfgs"](canvas, None)
    slope = noise(3).float()
    # Hardly any curvature: Newton's step is half a million long.
    closure = closure_of(optimizer, canvas, lambda p: 1e-6 * p.square().sum() - (slope * p).sum())
    for _ in range(5):
        before = canvas.pixels().detach()
        optimizer.step(closure)
        change = (canvas.pixels().detach() - before).square().mean().sqrt()
        assert float(change) <= LONGEST_STEP * 1.001
    assert float(change) == pytest.approx(LONGEST_STEP, rel=1e-3)


def test_lbfgs_forgets_what_bends_the_wrong_way():
    canvas = CANVASES["pixels"](0.5 + 0.01 * noise(5))
    optimizer = BoundedLBFGS(canvas, 1.0)
    closure = closure_of(optimizer, canvas, lambda p: -(p - 0.5).square().sum())
    losses = [float(optimizer.step(closure)) for _ in range(6)]
    state = optimizer.state[canvas.values]
    assert state["moves"][:5].any(1).all()
    moves, turns, straight = optimizer.choose_direction(5)
    assert not moves.any()  # straight down the gradient
    assert not turns.any()
    assert straight == -1
    assert losses == sorted(losses, reverse=True)  # it goes down all the same
    assert losses[-1] < losses[0]


def test_lbfgs_rests_where_there_is_no_slope():
    start = torch.full((1, 3, 4, 4), 0.5)
    canvas = CANVASES["pixels"](start)
    optimizer = BoundedLBFGS(canvas, 1.0)
    closure = closure_of(optimizer, canvas, lambda p: (p - 0.5).square().sum())
    for _ in range(3):
        optimizer.step(closure)
    assert torch.equal(canvas.values.detach(), start)


def test_lbfgs_measures_how_far_it_was_moved_by_others():
    """A canvas changed between steps (blur) must not spoil the curvature that is remembered."""
    canvas = CANVASES["pixels"](0.5 + 0.05 * noise(6))
    optimizer = BoundedLBFGS(canvas, 1.0)
    closure = closure_of(optimizer, canvas, lambda p: 2 * (p - 0.5).square().sum())
    optimizer.step(closure)
    canvas.replace(canvas.pixels() + 0.01 * noise(7))
    optimizer.step(closure)
    state = optimizer.state[canvas.values]
    torch.testing.assert_close(state["turns"][0], 4 * state["moves"][0])  # its second slope is 4
    torch.testing.assert_close(canvas.values, torch.full_like(canvas.values, 0.5))


def test_lbfgs_of_a_large_canvas_remembers_less_and_finds_its_way(monkeypatch):
    """In bfloat16, and fewer steps; blocks that do not end with the canvas."""
    monkeypatch.setattr(optimizers, "LARGE", 100)
    monkeypatch.setattr(optimizers, "BLOCK", 77)
    start = 0.5 + 0.1 * noise(8).float()
    scales = torch.linspace(1, 30, start.numel()).view(start.shape)
    canvas = CANVASES["pixels"](start)
    optimizer = BoundedLBFGS(canvas, 1.0)
    closure = closure_of(optimizer, canvas, lambda p: (scales * (p - 0.4).square()).sum())
    losses = [float(optimizer.step(closure)) for _ in range(40)]
    assert losses[-1] < 1e-6 * losses[0]
    state = optimizer.state[canvas.values]
    assert (state["moves"].dtype, state["moves"].shape[0]) == (torch.bfloat16, 5)


@pytest.mark.parametrize("size", [1, 76, 77, 1000])
def test_blocks_change_nothing(monkeypatch, size):
    paths = []
    for block in (size, 10**9):
        monkeypatch.setattr(optimizers, "BLOCK", block)
        canvas = CANVASES["pixels"](0.5 + 0.1 * noise(8))
        optimizer, loss_of = BoundedLBFGS(canvas, 1.0), bowl(2)
        closure = closure_of(optimizer, canvas, loss_of)
        for _ in range(15):
            optimizer.step(closure)
        paths.append(canvas.values.detach())
    torch.testing.assert_close(*paths, rtol=0, atol=1e-9)


@every_optimizer
@every_canvas
def test_what_is_remembered_is_tensors_and_enough_to_go_on(name, canvas_name):
    start, loss_of = 0.5 + 0.1 * noise(8).float(), bowl(2)
    canvas = CANVASES[canvas_name](start)
    optimizer = OPTIMIZERS[name](canvas, None)
    closure = closure_of(optimizer, canvas, lambda p: loss_of(p) / 100)
    for _ in range(13):  # once round the history of L-BFGS
        optimizer.step(closure)
    state = optimizer.state[canvas.values]
    assert state
    assert all(isinstance(each, Tensor) for each in state.values())
    assert list(optimizer.state) == [canvas.values]

    again = CANVASES[canvas_name](start)
    with torch.no_grad():
        again.values.copy_(canvas.values)
    resumed = OPTIMIZERS[name](again, None)
    resumed.state[again.values] = {key: tensor.clone() for key, tensor in state.items()}
    again_closure = closure_of(resumed, again, lambda p: loss_of(p) / 100)
    for _ in range(3):
        assert torch.equal(optimizer.step(closure), resumed.step(again_closure))
        assert torch.equal(canvas.values, again.values)


@every_optimizer
@every_canvas
def test_every_optimizer_finds_its_way_down(name, canvas_name):
    canvas = CANVASES[canvas_name](torch.full((1, 3, 8, 8), 0.4))
    optimizer = OPTIMIZERS[name](canvas, None)
    least = 0.5 + 0.02 * noise(9).float()
    closure = closure_of(optimizer, canvas, lambda p: (p - least).square().sum())
    losses = [float(optimizer.step(closure)) for _ in range(200)]
    assert losses[-1] < 0.25 * losses[0]


@pytest.mark.parametrize(("name", "rate"), [("adam", 0.02), ("sgd", 0.02), ("rmsprop", 0.005)])
def test_a_rate_is_the_one_given_or_its_own(name, rate):
    canvas = CANVASES["pixels"](torch.zeros(1, 3, 2, 2))
    assert OPTIMIZERS[name](canvas, None).param_groups[0]["lr"] == rate
    assert OPTIMIZERS[name](canvas, 0.7).param_groups[0]["lr"] == 0.7


def test_half_the_rate_of_lbfgs_is_half_its_step():
    moves = []
    for rate in (1.0, 0.5):
        canvas = CANVASES["pixels"](torch.full((1, 3, 4, 4), 0.5))
        optimizer = OPTIMIZERS["lbfgs"](canvas, rate)
        optimizer.step(closure_of(optimizer, canvas, lambda p: p.square().sum()))
        moves.append(canvas.values.detach() - 0.5)
    torch.testing.assert_close(moves[1], 0.5 * moves[0])
