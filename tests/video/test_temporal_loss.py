"""The temporal loss of Ruder et al., by hand."""

from __future__ import annotations

import pytest
import torch
from conftest import draw_picture

from impasto.images.picture import Picture
from impasto.painting.options import PaintOptions
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


def test_a_prior_is_fitted_to_a_size():
    prior = PriorFrame((WarpedPainting(torch.rand(1, 3, 20, 30), torch.ones(1, 1, 20, 30)),))
    fitted = fit_prior(prior, torch.zeros(1, 3, 10, 15)).paintings[0]
    assert fitted.pixels.shape == (1, 3, 10, 15)
    assert fitted.known.shape == (1, 1, 10, 15)


def test_a_frame_stays_nearer_to_the_last_with_the_loss_than_without():
    content = torch.from_numpy(draw_picture(48, 40, 1)).permute(2, 0, 1)[None] / 255
    style = Picture(torch.from_numpy(draw_picture(48, 48, 2)).permute(2, 0, 1)[None] / 255)
    options = PaintOptions.read({"steps": 8, "recolor": False, "precision": "float32"})
    warped = content.flip(3)
    prior = PriorFrame((WarpedPainting(warped, torch.ones(1, 1, 40, 48)),))
    apart = []
    for each in (prior, None):
        work = FrameWork(Picture(content), [style], options, each)
        steps = list(work.steps())
        apart.append(float((work.result().pixels - warped).square().mean()))
    assert "temporal" not in steps[-1].measured
    assert apart[0] < 0.2 * apart[1]
