"""impasto relight, run as a user runs it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import draw_picture
from PIL import Image

from impasto.cli.app import run
from impasto.cluster.worker import TaskShare, find_in
from impasto.images.reading import read_image
from impasto.images.writing import write_image
from impasto.jobs.batch import BatchOrder, plan_batch, share_machine
from impasto.photoreal.options import RelightOptions


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


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A folder to work in, with three photographs in one with a space in its name."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "my photos"
    folder.mkdir()
    for i in range(3):
        Image.fromarray(draw_picture(48, 40 + i, i)).save(folder / f"{i} a.png")
    return folder


@pytest.mark.parametrize("how", [[], pytest.param(["--jobs", "2"], marks=pytest.mark.slow)])
def test_many_are_relit_as_each_by_itself(how, photos, picture, capsys):
    likes = ["--like", picture, "--like", photos / "0 a.png", "--regions", 3]
    (photos / "bad.jpg").write_bytes(b"no picture")
    command = [photos, *likes, "-o", "new/out put", *how]
    assert relight(*command) == 2
    said = capsys.readouterr().err
    assert "bad.jpg after a picture.png, 0 a.png: 'bad.jpg' is damaged or no pict" in said
    assert "relit 2 of 3, 1 failed" in said  # not the one that they are to be like
    for i in (1, 2):
        assert relight(photos / f"{i} a.png", *likes, "-o", "one.png") == 0
        made = Path("new/out put") / f"{i} a-a picture-0 a.png"
        assert Path("one.png").read_bytes() == made.read_bytes()
    (photos / "bad.jpg").unlink()
    capsys.readouterr()
    assert relight(*command) == 0
    assert "2 of 2 are there already" in capsys.readouterr().err


def test_a_worker_relights_as_this_process_does(photos, picture, tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    order = BatchOrder("relight", RelightOptions(regions=3), True, TaskShare(2))
    (task, _, _) = plan_batch(
        [str(photos)], [str(picture)], tmp_path, "every", ".png", takes="like"
    )
    sent = {str(task.content): "lies elsewhere.png", str(picture): "a style.png"}
    Path("lies elsewhere.png").write_bytes(task.content.read_bytes())
    Path("a style.png").write_bytes(picture.read_bytes())
    outcome = share_machine(order, find_in(sent))(task, find_in(sent))
    assert outcome.error is None
    flags = ["--regions", 3, "-o", "one.png"]
    assert relight("lies elsewhere.png", "--like", "a style.png", *flags) == 0
    assert Path("one.png").read_bytes() == outcome.content


def test_many_by_a_table_and_after_each_of_a_folder(photos, picture, tmp_path, capsys):
    table = tmp_path / "a look.cube"
    made = [picture, "--like", photos / "0 a.png", "--lut", table, "-o", "x.png"]
    assert relight(*made) == 0
    assert relight(photos, "--lut", table, "--format", "tif") == 0
    names = sorted(path.name for path in Path("relit").iterdir())
    assert names == [f"{i} a-a look.tif" for i in range(3)]
    assert relight(photos / "1 a.png", "--lut", table, "-o", "one.tif") == 0
    assert Path("one.tif").read_bytes() == Path("relit/1 a-a look.tif").read_bytes()
    assert relight(picture, "--like", photos, "-o", "after") == 0
    names = sorted(path.name for path in Path("after").iterdir())
    assert names == [f"a picture-{i} a.png" for i in range(3)]
    assert "relit 3 of 3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--like", "{picture}", "--show-regions", "x.png"], "goes with one photograph, not with"),
        (["--like", "{picture}", "--lut", "x.cube"], "--lut with --like goes with one photograph"),
        (["--like", "{picture}", "--on", "rai"], "did you mean 'ray'?"),
        (["--like", "{picture}", "-o", "x.png"], "several paintings go to a folder; 'x.png'"),
        (["--like", "{picture}", "--like-blend", "1", "--like-blend", "2"], "2 given for 1 pict"),
        (["--like", "no/*.png"], "no pictures in 'no/*.png'"),
    ],
)
def test_mistakes_with_many_are_one_line(flags, text, photos, picture, tmp_path, capsys):
    before = sorted(tmp_path.rglob("*"))
    assert relight(photos, *(flag.format(picture=picture) for flag in flags)) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert text in said[0]
    assert sorted(tmp_path.rglob("*")) == before


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
