"""Inversions of several layers in one folder: what is written, and going on after a kill."""

from __future__ import annotations

import csv
import json
import math

import numpy as np
import pytest
import torch
from conftest import draw_picture
from PIL import Image

from impasto.errors import ImageError, OptionError
from impasto.images.opening import read_recipe
from impasto.images.reading import read_image
from impasto.lab.layer_inversions import Inversions, invert_layers, measure_psnr
from impasto.lab.options import InvertOptions
from impasto.system.files import working_in

pytestmark = pytest.mark.arithmetic

STEPS = 30
LAYERS = ("relu1_1", "relu2_1")
QUICK = InvertOptions(layer=LAYERS, steps=STEPS, size=48, precision="float32", layout="planes")


def read_files(folder):
    """All that lies in a folder, by its place in it."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A photograph, and its inversions from beginning to end."""
    folder = tmp_path_factory.mktemp("inversions")
    photo = folder / "a photo.png"
    Image.fromarray(draw_picture(64, 48, 1)).save(photo)
    found = invert_layers(photo, folder / "whole", QUICK)
    return photo, folder / "whole", found


def test_psnr_by_hand():
    black = torch.zeros(1, 3, 2, 2)
    assert measure_psnr(black + 0.1, black) == pytest.approx(20, abs=1e-4)
    assert measure_psnr(black + 1, black) == 0
    assert measure_psnr(black, black) == pytest.approx(100)  # no further


def test_a_picture_for_each_layer_a_table_and_a_sheet(whole):
    photo, folder, found = whole
    assert sorted(read_files(folder)) == [
        "record.json",
        "results.csv",
        "runs/relu1_1.png",
        "runs/relu2_1.png",
        "sheet.png",
    ]
    with (folder / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["layer"] for row in rows] == list(LAYERS)
    target = np.asarray(Image.open(photo).resize((48, 36), Image.Resampling.LANCZOS)) / 255
    for row in rows:
        picture = folder / "runs" / f"{row['layer']}.png"
        pixels = read_image(picture).pixels[0].permute(1, 2, 0).numpy()
        psnr = -10 * math.log10(np.square(pixels - target).mean())
        assert float(row["psnr_db"]) == pytest.approx(psnr, abs=0.5)  # by another's resizing
        assert float(row["psnr_db"]) == found[row["layer"]]
        recipe = json.loads(read_recipe(picture))
        assert (recipe["operation"], recipe["content"]) == ("invert", "a photo.png")
        assert recipe["options"]["layer"] == [row["layer"]]
    assert found["relu1_1"] > found["relu2_1"] > 10  # what lies deeper knows less
    with Image.open(folder / "sheet.png") as sheet:
        assert sheet.width >= 3 * 48  # the photograph and two more, in a row
        assert sheet.height >= 36


def test_a_picture_that_was_removed_is_found_again_to_the_same_bytes(whole):
    photo, folder, found = whole
    before = read_files(folder)
    (folder / "runs" / "relu1_1.png").unlink()
    (folder / "sheet.png").unlink()
    moments = []
    assert invert_layers(photo, folder, QUICK, on_step=moments.append) == found
    assert read_files(folder) == before
    assert moments[-1].number == moments[-1].steps == 2 * STEPS
    assert len(moments) == STEPS + 1 + 1  # the other layer's picture was left as it was


def test_work_that_is_broken_off_goes_on_to_the_same_bytes(whole, tmp_path):
    photo, folder, _ = whole
    work = Inversions(photo, QUICK, folder=tmp_path / "out")
    steps = work.steps()
    for moment in steps:
        if moment.number == STEPS + 3:
            break
    steps.close()
    held = read_files(tmp_path / "out")
    assert "runs/relu1_1.png" in held  # and what is told of it
    assert "runs/relu2_1.ckpt" in held
    assert held["results.csv"].count(b"\n") == 2
    again = Inversions(photo, QUICK, folder=tmp_path / "out")
    moments = list(again.steps())
    assert again.notes == ["relu2_1: taken up at step 4"]
    assert moments[1].number == STEPS + 4
    assert read_files(tmp_path / "out") == read_files(folder)


def test_other_work_in_the_folder_is_left_alone(whole):
    photo, folder, _ = whole
    before = read_files(folder)
    with pytest.raises(OptionError, match="'whole' holds other work"):
        Inversions(photo, QUICK.model_copy(update={"steps": STEPS + 1}), folder=folder)
    other = torch.from_numpy(draw_picture(64, 48, 9)).permute(2, 0, 1)[None] / 255
    with pytest.raises(OptionError, match="'whole' holds other work"):
        Inversions(other, QUICK, folder=folder)
    assert read_files(folder) == before


def test_one_process_at_a_time(whole):
    photo, folder, _ = whole
    work = Inversions(photo, QUICK, folder=folder)
    with (
        working_in(folder),
        pytest.raises(OptionError, match="is being worked on by another process"),
    ):
        next(work.steps())


def test_layers_by_other_names_are_found_once(photo, tmp_path):
    options = QUICK.model_copy(update={"layer": ("relu1_1", "block1_conv1", "r1_1"), "steps": 1})
    assert list(invert_layers(photo, tmp_path / "out", options)) == ["relu1_1"]


def test_all_is_the_first_relu_of_every_block(photo, tmp_path):
    options = QUICK.model_copy(update={"layer": ("all", "relu1_2")})
    work = Inversions(photo, options, folder=tmp_path / "out")
    assert [each.layer for each in work.options] == [
        *((f"relu{block}_1",) for block in range(1, 6)),
        ("relu1_2",),
    ]


def test_what_cannot_be_found_is_said_before_a_folder_is_made(photo, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(OptionError, match="unknown layer 'relu42' for compact; did you mean"):
        invert_layers(photo, out, {"layer": ("relu1_1", "relu42")})
    with pytest.raises(ImageError, match="20 x 15 is too small for layer relu5_1"):
        invert_layers(photo, out, {"layer": ("relu1_1", "relu5_1"), "size": 20})
    assert not out.exists()
    with pytest.raises(
        OptionError, match=r"many pictures go to a folder; 'a photo\.png' is a file"
    ):
        invert_layers(photo, photo, QUICK)


def test_what_is_transparent_hides_nothing(tmp_path):
    found = []
    alpha = np.where(np.arange(64) < 32, 255, 0).astype(np.uint8)[None].repeat(48, 0)
    for name, colour in (("black", 0), ("white", 255)):
        pixels = draw_picture(64, 48)
        pixels[:, 32:] = colour
        picture = np.dstack([pixels, alpha])
        options = QUICK.model_copy(update={"layer": ("relu2_1",)})
        found.append(invert_layers(picture, tmp_path / name, options))
    assert found[0] == found[1]
