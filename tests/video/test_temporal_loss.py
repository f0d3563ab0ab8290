"""The temporal loss of Ruder et al., by hand."""

from __future__ import annotations

import pytest
import torch
from conftest import draw_picture

from impasto.images.picture import Picture
from impasto.painting.options import PaintOptions
from impasto.video.painted_before import BLOCK, PaintedFrame, Passes
from impasto.video.temporal_loss import (
    FrameWork,
    PriorFrame,
    WarpedPainting,
    fit_prior,
    share_explained,
    temporal_loss,
)


def test_the_loss_is_the_mean_of_known_squares():
    pixels = torch.zeros(1, 3, 1, 2)
    warped = torch.tensor([[[[0.5, 0.1]], [[0.5, 0.1]], [[0.5, 0.1]]]])
    known = torch.tensor([[[[1.0, 0.0]]]])
    loss = temporal_loss(pixels, PriorFrame((WarpedPainting(warped, known),)))
    assert float(loss) == pytest.approx(3 * 0.25 / 6)
    two = PriorFrame((WarpedPainting(warped, known), WarpedPainting(warped, 1 - known)))
    assert float(temporal_loss(pixels, two)) == pytest.approx(3 * (0.25 + 0.01) / 6)


def test_what_a_nearer_frame_explains_is_taken_out_of_farther_ones():
    near, middle, far = (torch.tensor(values) for values in ([1.0, 0, 0], [1.0, 1, 0], [1.0, 1, 1]))
    shares = share_explained([near, middle, far])
    assert [share.tolist() for share in shares] == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_a_frame_starts_where_the_last_one_came_to():
    content, warped = torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2)
    known = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]])
    start = PriorFrame((WarpedPainting(warped, known),)).start(content)
    assert start[0, 0].tolist() == [[1, 0], [0, 1]]


def test_a_later_pass_starts_half_from_its_neighbour():
    content, warped, own = (torch.full((1, 3, 1, 2), value) for value in (0.9, 1.0, 0.2))
    known = torch.tensor([[[[1.0, 0.0]]]])
    start = PriorFrame((WarpedPainting(warped, known),), own).start(content)
    assert start[0, 0, 0].tolist() == pytest.approx([0.6, 0.2])


def run_passes(count: int, frames: int, cuts=(0,)) -> tuple[list[int], list[PaintedFrame]]:
    """Paint a still picture, each painting as bright as there were paintings before it."""
    calls: list[int] = []
    priors: list[PriorFrame | None] = []
    pixels = torch.from_numpy(draw_picture(32, 24, 1)).permute(2, 0, 1)[None] / 255

    def paint(number, frame, prior):
        calls.append(number)
        priors.append(prior)
        return frame, torch.full_like(frame, len(calls) / 100)

    passes = Passes(24, 32, paint, count)
    done = list(passes((n, pixels, n in cuts) for n in range(frames)))
    # Whatever is there before a frame: the last that was painted of it.
    for prior in filter(None, priors):
        assert all(0 < float(p.pixels.mean()) < len(calls) / 100 for p in prior.paintings)
    return calls, done


def test_frames_are_gone_through_forward_and_back():
    calls, done = run_passes(2, BLOCK + 2)
    back = range(BLOCK - 2, -1, -1)
    assert calls == [*range(BLOCK), *back, BLOCK, BLOCK + 1, BLOCK]
    assert [frame.number for frame in done] == list(range(BLOCK + 2))
    # The last of a block is not painted again, and the next block begins from it.
    assert float(done[BLOCK - 1].painted.mean()) == pytest.approx(BLOCK / 100)
    assert float(done[0].painted.mean()) == pytest.approx((2 * BLOCK - 1) / 100)
    prior = done[BLOCK].prior
    assert float(prior.paintings[0].pixels.mean()) == pytest.approx(BLOCK / 100)


def test_passes_do_not_cross_a_cut():
    calls, done = run_passes(3, 5, cuts=(0, 3))
    assert calls == [0, 1, 2, 1, 0, 1, 2, 3, 4, 3, 4]
    assert done[3].prior is None


def test_one_pass_waits_for_nothing():
    calls: list[int] = []
    pixels = torch.zeros(1, 3, 24, 32)
    passes = Passes(24, 32, lambda n, frame, _: (calls.append(n), frame)[1:] * 2, 1)
    frames = passes((n, pixels, n == 0) for n in range(9))
    assert next(frames).number == 0
    assert calls == [0]


def test_a_prior_is_fitted_to_a_size():
    prior = PriorFrame((WarpedPainting(torch.rand(1, 3, 20, 30), torch.ones(1, 1, 20, 30)),))
    fitted = fit_prior(prior, torch.zeros(1, 3, 10, 15)).paintings[0]
    assert fitted.pixels.shape == (1, 3, 10, 15)
    assert fitted.known.shape == (1, 1, 10, 15)


def test_a_frame_stays_nearer_to_the_last_with_the_loss_than_without():
    content = torch.from_numpy(draw_picture(48, 40, 1)).permute(2, 0, 1)[None] / 255
    style = Picture(torch.from_numpy(draw_picture(48, 48, 2)).permute(2, 0, 1)[None] / 255)
    options = PaintOptions.read({"steps": 8, "recolor": "none", "precision": "float32"})
    warped = content.flip(3)
    prior = PriorFrame((WarpedPainting(warped, torch.ones(1, 1, 40, 48)),))
    apart = []
    for each in (prior, None):
        work = FrameWork(Picture(content), [style], options, each)
        steps = list(work.steps())
        apart.append(float((work.result().pixels - warped).square().mean()))
    assert "temporal" not in steps[-1].measured
    assert apart[0] < 0.2 * apart[1]
