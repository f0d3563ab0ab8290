"""Landscapes that the tests draw: a smooth sky over rough ground."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch


@pytest.fixture(scope="session")
def draw_scene() -> Callable[..., torch.Tensor]:
    """Return what draws a scene (1, 3, H, W) whose ground begins at a share of the height."""

    def draw(horizon: float, seed: int = 0, width: int = 96, height: int = 72) -> torch.Tensor:
        rng = np.random.default_rng(seed)
        rows = np.linspace(0, 1, height)[:, None, None]
        sky = np.array([0.45, 0.6, 0.85]) + 0.12 * rows * np.ones((1, width, 3))
        ground = np.array([0.35, 0.4, 0.2]) + 0.2 * (rng.random((height, width, 1)) - 0.5)
        scene = np.where(rows < horizon, sky, ground * np.ones((1, 1, 3)))
        return torch.from_numpy(scene.clip(0, 1)).permute(2, 0, 1)[None].float().contiguous()

    return draw
