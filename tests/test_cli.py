"""The command line, run as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import draw_picture
from PIL import Image

from impasto.cli import run
from impasto.images import read_image, read_recipe

QUICK = ["--steps", "3", "--start-size", "64", "--precision", "float32"]


def paint(*arguments: object) -> int:
    return run(["paint", *map(str, arguments)])


def test_paint(photo, picture, tmp_path, capsys):
    output = tmp_path / "out put.png"
    assert paint(photo, "--style", picture, "-o", output, *QUICK) == 0
    assert read_image(output).size == (64, 48)
    said = capsys.readouterr()
    assert said.out == ""
    assert "painting 64 x 48 with compact on cpu, float32" in said.err
    assert "(64 x 48) in 3 steps" in said.err


def test_the_output_has_a_name_of_its_own_if_none_is_given(photo, picture, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert paint(photo, "-s", picture, *QUICK, "-q") == 0
    assert (tmp_path / "a photo-a picture.png").is_file()


def test_quiet_says_nothing(photo, picture, tmp_path, capsys):
    assert paint(photo, "-s", picture, "-o", tmp_path / "x.png", *QUICK, "-q") == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")


def test_history_and_plot(photo, picture, tmp_path):
    files = [tmp_path / name for name in ("x.jpg", "losses.csv", "losses.svg")]
    extra = ["--history", files[1], "--plot", files[2]]
    assert paint(photo, "-s", picture, "-o", files[0], *extra, *QUICK) == 0
    assert files[1].read_text().startswith("style_weight,epoch,total_loss")
    assert "<svg" in files[2].read_text()


def test_layers_are_repeatable_and_weighted(photo, picture, tmp_path):
    output = tmp_path / "x.png"
    layers = ["--style-layer", "relu1_1", "--style-layer", "block2_conv1=0.5"]
    assert paint(photo, "-s", picture, "-o", output, *layers, *QUICK) == 0
    assert '"style_layer": ["relu1_1", "block2_conv1=0.5"]' in read_recipe(output)


def test_a_flag_wins_over_a_recipe_and_a_recipe_over_the_default(photo, picture, tmp_path):
    recipe, output = tmp_path / "mine.toml", tmp_path / "x.png"
    recipe.write_text("style_weight = 3\ntv_weight = 4\n")
    flags = ["--recipe", recipe, "--tv-weight", "5"]
    assert paint(photo, "-s", picture, "-o", output, *flags, *QUICK) == 0
    text = read_recipe(output)
    assert '"style_weight": 3.0' in text
    assert '"tv_weight": 5.0' in text
    assert '"content_weight": 1.0' in text


def test_a_painting_is_a_recipe(photo, picture, tmp_path):
    first, second = tmp_path / "first.png", tmp_path / "second.png"
    assert paint(photo, "-s", picture, "-o", first, "--style-weight", 9, *QUICK) == 0
    assert paint(photo, "-s", picture, "-o", second, "--recipe", first) == 0
    assert first.read_bytes() == second.read_bytes()


def test_a_picture_without_a_recipe_is_none(photo, picture, capsys):
    assert paint(photo, "-s", picture, "--recipe", photo) == 2
    assert "carries no recipe" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--style-wieght", "3"], "Unknown option: --style-wieght. Did you mean --style-weight?"),
        (["--style-weight", "-3"], "style_weight: '-3' is wrong: input should be greater than"),
        (["--pooling", "mean"], "pooling: 'mean' is wrong: input should be 'max' or 'avg'"),
        (["--steps", "two"], "steps: 'two' is wrong: input should be a valid integer"),
        (["--recipe", "drat"], "unknown recipe 'drat'; did you mean 'draft'?"),
        (["--device", "tpu"], "unknown device 'tpu'; "),
        (["--content-layer", "relu42"], "unknown layer 'relu42' for compact; did you mean"),
        (["--backbone", "vgg19"], "vgg19 has no weights here yet: `impasto weights fetch"),
        (["--init", "nowhere.png"], "nowhere.png"),
        (["--history", "no/such/folder/x.csv"], "there is no folder 'no/such/folder'"),
        (["-o", "x.bmp"], "x.bmp"),
        (["-o", "no/such/folder/x.png"], "no/such/folder"),
    ],
)
def test_mistakes_are_one_line_and_code_2(
    flags, text, photo, picture, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert paint(photo, "-s", picture, *flags) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("impasto: ")
    assert text in said
    assert sorted(p for p in tmp_path.iterdir() if p.suffix) == [p for p in before if p.suffix]


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("missing.png", None, "missing.png"),
        ("empty.png", b"", "empty.png"),
        ("text.png", b"not a picture at all", "text.png"),
    ],
)
def test_bad_pictures(name, content, text, picture, tmp_path, capsys):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert paint(tmp_path / name, "-s", picture, "-o", tmp_path / "out.png") == 2
    said = capsys.readouterr().err.strip()
    assert text in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "out.png").exists()


def test_the_cap_on_megapixels_can_be_raised(picture, tmp_path, capsys):
    large = tmp_path / "large.png"
    Image.fromarray(draw_picture(200, 100)).save(large)
    flags = ["-o", tmp_path / "out.png", "--size", "64", *QUICK]
    assert paint(large, "-s", picture, "--max-megapixels", "0.01", *flags) == 2
    assert "raise it with --max-megapixels" in capsys.readouterr().err
    assert paint(large, "-s", picture, "--max-megapixels", "0.02", *flags) == 0


def test_recipes_are_listed(capsys):
    assert run(["recipes"]) == 0
    assert "gatys-2015" in capsys.readouterr().out


def test_weights_are_listed_and_found(capsys, tmp_path):
    assert run(["weights", "list"]) == 0
    assert "vgg19-torchvision" in capsys.readouterr().out
    assert run(["weights", "path", "compact"]) == 0
    assert Path(capsys.readouterr().out.strip()).is_file()
    assert run(["weights", "path"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "cache of its own")
    assert run(["weights", "verify"]) == 0
    assert capsys.readouterr().out.startswith("compact: ")


def test_weights_offline(capsys):
    assert run(["weights", "fetch", "vgg19-torchvision", "--offline"]) == 2
    assert "impasto weights import vgg19-dcbb9e9d.pth" in capsys.readouterr().err
    assert run(["weights", "import", "nowhere.pth"]) == 2
    assert "nowhere.pth" in capsys.readouterr().err


def test_doctor(capsys):
    assert run(["doctor"]) == 0
    said = capsys.readouterr().out
    for word in ("torch", "free memory", "compact", "a step of 512 x 512 takes about"):
        assert word in said


def test_version_and_help(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.strip() == "0.1.0"
    assert run(["paint", "--help"]) == 0
    assert "--style-weight" in capsys.readouterr().out
    assert run([]) == 0
    assert "paint" in capsys.readouterr().out


def test_samples(tmp_path, capsys):
    folder = tmp_path / "some samples"
    assert run(["samples", str(folder), "--size", "48"]) == 0
    written = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert len(written) == 9
    assert all(path.parent == folder and path.is_file() for path in written)


INTERRUPTED_AT_STEP_3 = """
import os, signal, sys
from impasto import cli, painter
steps = painter.Painter.steps

def steps_interrupted(self):
    for step in steps(self):
        if step.number == 3:
            os.kill(os.getpid(), signal.SIGINT)
        yield step

painter.Painter.steps = steps_interrupted
cli.main()
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send")
def test_ctrl_c_leaves_the_best_picture_so_far(photo, picture, tmp_path):
    output = tmp_path / "out.png"
    flags = ["-o", str(output), "--steps", "100000", "--size", "96", "--start-size", "48"]
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_AT_STEP_3, "paint", photo, "-s", picture, *flags],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == 130
    assert "stopped; the best so far is" in done.stderr
    assert "Traceback" not in done.stderr
    with Image.open(output) as image:
        image.load()
        assert image.size == (96, 72)
    assert list(tmp_path.glob(".*")) == []
