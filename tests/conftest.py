"""Pictures and networks that the tests make for themselves."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from impasto.networks.layers import BACKBONES
from impasto.networks.vgg import Backbone
from impasto.networks.weights import load_backbone

# Readline, which pytest imports, tells pytest-xdist's workers the size of a terminal.
for name in ("COLUMNS", "LINES"):
    os.environ.pop(name, None)

# What a shell starts in the background ignores Ctrl-C, and so would all that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's cache, or touches the network."""
    monkeypatch.setenv("IMPASTO_CACHE", str(tmp_path / "cache of its own"))


def draw_picture(width: int, height: int, seed: int = 0) -> np.ndarray:
    """A smooth picture with edges and all colours, uint8 (H, W, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    planes = []
    for _ in range(3):
        a, b, c, d = rng.uniform(2, 14, 4)
        planes.append(0.5 + 0.3 * np.sin(a * x + b * y + c) + 0.2 * np.sign(np.sin(d * (x - y))))
    return (np.stack(planes, -1).clip(0, 1) * 255).round().astype(np.uint8)


def measure_seam(pixels: torch.Tensor) -> list[float]:
    """How much more opposite edges differ than neighbours inside do, across and down."""
    ratios = []
    for dim in (-1, -2):
        lines = pixels.movedim(dim, 0)
        inside = (lines[1:] - lines[:-1]).abs().mean()
        ratios.append(float((lines[0] - lines[-1]).abs().mean() / inside))
    return ratios


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "a photo.png"
    Image.fromarray(draw_picture(64, 48, 1)).save(path)
    return path


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a picture.png"
    Image.fromarray(draw_picture(56, 72, 2)).save(path)
    return path


@pytest.fixture(scope="session")
def compact() -> Backbone:
    return load_backbone("compact")


def random_tensors(name: str, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights of an architecture, scaled so that features neither vanish nor explode."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        "preprocess.weight": torch.eye(3)[:, :, None, None] * 4,
        "preprocess.bias": torch.full((3,), -2.0),
    }
    for conv, shape in BACKBONES[name].shapes().items():
        deviation = (2 / (shape[1] * 9)) ** 0.5
        tensors[f"{conv}.weight"] = torch.randn(shape, generator=generator) * deviation
        tensors[f"{conv}.bias"] = torch.randn(shape[0], generator=generator) * 0.05
    return tensors
