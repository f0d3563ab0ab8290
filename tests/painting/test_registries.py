"""Tables of canvases, optimisers, losses and starts: adding one is adding an entry."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from conftest import draw_picture

from impasto.errors import OptionError
from impasto.images.color_transfer import COLORS, RECOLORS
from impasto.losses.content import CONTENT_LOSSES, FeatureLoss
from impasto.losses.style import STYLE_LOSSES, GramLoss
from impasto.painting.canvas import CANVASES, PixelCanvas
from impasto.painting.optimizers import OPTIMIZERS, OptimizerEntry
from impasto.painting.options import (
    START_NAMES,
    CanvasName,
    ColorName,
    OptimizerName,
    PaintOptions,
    RecolorName,
)
from impasto.painting.painter import Painter
from impasto.painting.result import Painting
from impasto.painting.starts import STARTS
from impasto.work import finish

QUICK = {"steps": 3, "size": 48, "start_size": 48, "precision": "float32", "layout": "planes"}
PHOTO, STYLE = draw_picture(48, 40, 1), draw_picture(40, 40, 2)


def make(**values: object) -> Painter:
    """A painter with options that may be newer than their types."""
    return Painter(PHOTO, STYLE, PaintOptions.read(QUICK).model_copy(update=values))


def paint(**values: object) -> Painting:
    return finish(make(**values))


def test_options_know_the_names_in_the_tables():
    assert get_args(CanvasName) == tuple(CANVASES)
    assert get_args(OptimizerName) == tuple(OPTIMIZERS)
    assert get_args(ColorName) == tuple(COLORS)
    assert get_args(RecolorName) == (*RECOLORS, "none")
    assert tuple(STARTS) == START_NAMES


def test_a_canvas_is_an_entry(monkeypatch):
    class Mirror(PixelCanvas):
        """Costs twice as much as the pixels, and has ends."""

        share, copies, sees_edges = 2.0, 1.0, True

        def analyse(self, pixels):
            return pixels.flip(3)

        def draw(self, values):
            return values.flip(3)

    monkeypatch.setitem(CANVASES, "mirror", Mirror)
    torch.testing.assert_close(paint(canvas="mirror").pixels, paint().pixels, rtol=0, atol=1e-3)
    assert make(canvas="mirror").plan.needed > make().plan.needed
    with pytest.raises(OptionError, match="tileable does not go with canvas mirror"):
        make(canvas="mirror", tileable=True)


def test_an_optimiser_is_an_entry(monkeypatch):
    entry = OptimizerEntry(
        lambda canvas, rate: torch.optim.SGD([canvas.values], lr=rate or 0.5),
        lambda _values, _steps: 50,
    )
    monkeypatch.setitem(OPTIMIZERS, "plain", entry)
    history = paint(optimizer="plain").history
    assert history[-1].total < history[0].total
    assert make(optimizer="plain").plan.needed > make(optimizer="adam").plan.needed


def test_a_start_is_an_entry(monkeypatch):
    monkeypatch.setitem(STARTS, "black", lambda content, _style, _seed: torch.zeros_like(content))
    work = make(init="black")
    _, start = work.begin(work.levels[0])
    assert not start.any()


def test_losses_are_entries(monkeypatch):
    class Ends(FeatureLoss):
        sees_edges = True

    class Copied(GramLoss):
        copies = True

    monkeypatch.setitem(CONTENT_LOSSES, "ends", Ends())
    monkeypatch.setitem(STYLE_LOSSES, "copied", Copied())
    values = {"content_loss": ("ends",), "style_loss": ("copied",)}
    plain = paint(style_loss=("gram",))
    assert torch.equal(paint(**values).pixels, plain.pixels)
    with pytest.raises(OptionError, match="tileable does not go with content_loss ends"):
        make(**values, tileable=True)
    short = {"precision": "bfloat16"}
    assert make(**values, **short).plan.needed > make(style_loss=("gram",), **short).plan.needed
