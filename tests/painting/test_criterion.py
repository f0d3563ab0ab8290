"""The matting Laplacian among the terms of a painting."""

from __future__ import annotations

import pytest
import torch
from conftest import draw_picture

import impasto
from impasto.images.reading import read_image
from impasto.losses.matting import matting_energy
from impasto.networks.weights import load_backbone
from impasto.painting.inputs import SceneOptions
from impasto.painting.loss_plan import plan_painting_losses
from impasto.painting.objective import Objective
from impasto.painting.options import PaintOptions
from impasto.painting.scene import Scene
from impasto.system.devices import Machine


def test_photoreal_holds_a_painting_to_affine_changes_of_colour():
    content, style = draw_picture(48, 40, 1), draw_picture(48, 40, 2)
    photo = read_image(content).pixels
    energies = []
    for weight in (0, 1e4):
        options = {"steps": 12, "start_size": 64, "photoreal": weight, "precision": "float32"}
        painting = impasto.paint(content, style, options)
        energies.append(float(matting_energy(painting.pixels, photo)))
        assert ("matting" in painting.history[-1].more) == bool(weight)
    assert energies[1] < 0.1 * energies[0]


def test_photoreal_is_the_same_in_tiles():
    photo, style = (read_image(draw_picture(70, 60, seed)) for seed in (1, 2))
    options = PaintOptions(photoreal=1e3, style_layer=("relu2_1",), content_layer=("relu2_1",))
    backbone, machine = load_backbone("compact"), Machine(torch.device("cpu"))
    plan = plan_painting_losses(backbone, options)
    scene = Scene(photo, [style], SceneOptions.of(options), photo.size)
    view = scene.at(photo.size, plan.least, machine.device)
    found = []
    for window in (float("inf"), 30 * 30):
        objective = Objective(backbone, machine, view, plan, window=window)
        pixels = style.pixels.clone().requires_grad_()
        total, parts = objective(pixels, 1)
        total.backward()
        found.append((total.item(), parts["matting"].item(), pixels.grad))
    assert len(objective.tiles) > 1
    assert found[0][:2] == pytest.approx(found[1][:2], rel=1e-4)
    assert torch.allclose(found[0][2], found[1][2], atol=1e-4 * float(found[0][2].abs().max()))
