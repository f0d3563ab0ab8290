"""impasto relight, run as a user runs it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import draw_picture
from PIL import Image

from impasto.cli.app import run
from impasto.images.reading import read_image
from impasto.images.writing import write_image


def relight(*arguments: object) -> int:
    return run(["relight", *map(str, arguments)])


def test_relight(photo, picture, tmp_path, capsys):
    output, regions = tmp_path / "out put.png", tmp_path / "regions.png"
    assert relight(photo, "--like", picture, "-o", output, "--show-regions", regions) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert f"relit {output} (64 x 48) in" in said.err
    assert read_image(output).size == (64, 48)
    assert not np.array_equal(np.array(Image.open(output)), np.array(Image.open(photo)))
    assert read_image(regions).size[0] > 640 + 8


def test_a_relit_photograph_is_a_recipe(photo, picture, tmp_path):
    first, second = tmp_path / "first.png", tmp_path / "second.png"
    flags = ["--regions", 3, "--strength", 0.7]
    assert relight(photo, "--like", picture, "-o", first, *flags, "-q") == 0
    assert relight("--recipe", first, "-o", second, "-q") == 0
    assert first.read_bytes() == second.read_bytes()


def test_a_table_is_written_and_taken(photo, picture, tmp_path, capsys):
    relit, table, again = (tmp_path / name for name in ("a.png", "a.cube", "b.png"))
    flags = ["--regions", 1, "--lut", table]
    assert relight(photo, "--like", picture, "-o", relit, *flags) == 0
    assert relight(photo, "--lut", table, "-o", again) == 0
    levels = [np.array(Image.open(path)).astype(int) for path in (relit, again)]
    assert abs(levels[0] - levels[1]).max() <= 1
    capsys.readouterr()
    assert relight(photo, "--like", picture, "-o", relit, "--lut", table) == 0
    assert "the best one misses it by" in capsys.readouterr().err


def test_sixteen_bits_stay_sixteen(picture, tmp_path, capsys):
    deep = tmp_path / "deep.png"
    write_image(deep, torch.from_numpy(draw_picture(40, 30)).permute(2, 0, 1)[None] / 256, depth=16)
    assert relight(deep, "--like", picture, "-o", tmp_path / "x.tif") == 0
    relit = read_image(tmp_path / "x.tif")
    assert relit.depth == 16
    assert len((relit.pixels * 65535).round().unique()) > 300
    assert relight(deep, "--like", picture, "-o", tmp_path / "x.jpg") == 0
    assert "jpeg holds 8 bits a value, and 16 were read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ([], "relight needs a picture to be like: --like PICTURE, or --lut TABLE"),
        (["--like", "no.png"], "no such file: 'no.png'"),
        (["--lut", "no.cube"], "no such file: 'no.cube'"),
        (["--like", "{picture}", "--lut", "x.txt"], ".cube"),
        (["--like", "{picture}", "--regions", "0"], "regions: '0' is wrong"),
        (["--like", "{picture}", "--strength", "2"], "strength: '2' is wrong"),
        (["--like", "{picture}", "--pair", "2"], "give two numbers of regions, as in 2=5"),
        (["--like", "{picture}", "--pair", "1=9"], "there are regions 1 to 8, and no 9"),
        (["--like", "{picture}", "--like-blend", "0"], "at least one picture needs a weight"),
        (["--like", "{picture}", "-o", "x.bmp"], "x.bmp"),
        (["--like", "{picture}", "-o", "{picture}"], "would be written over"),
        (["--like", "{picture}", "-o", "x.png", "--show-regions", "x.png"], "written over"),
        (["--lut", "{photo}"], "is no table of colours"),
        (["--lut", "x.cube", "--show-regions", "x.png"], "--show-regions goes with --like"),
        (["--like", ""], "a picture has an empty name"),
    ],
)
def test_mistakes_are_one_line(flags, text, photo, picture, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    flags = [flag.format(picture=picture, photo=photo) for flag in flags]
    assert relight(photo, *flags) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert said[0].startswith("impasto: ")
    assert text in said[0]
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert after == before
