"""The command line, run as a user runs it."""

from __future__ import annotations

import errno
import importlib
import json
import os
import subprocess
import sys
from inspect import signature
from pathlib import Path

import numpy as np
import pytest
from conftest import draw_picture
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from impasto.cli.app import COMMANDS, run
from impasto.cli.flags import BatchFlags, Extras
from impasto.cli.paint import PAINT_PANELS, paint_command
from impasto.images.opening import read_recipe
from impasto.images.reading import read_image
from impasto.painting import memory_plan as plan
from impasto.painting.options import PaintOptions

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
        (["--history", "no/such/folder/x.csv"], "no such folder: 'no/such/folder'"),
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


# --- what is written as it grows ----------------------------------------------------------------


def test_every_and_film(photo, picture, tmp_path, capsys):
    output, film = tmp_path / "out.png", tmp_path / "growth.gif"
    flags = ["--steps", "5", "--start-size", "64", "--every", "2", "--film", film, "--no-metadata"]
    assert paint(photo, "-s", picture, "-o", output, *flags) == 0
    assert sorted(path.name for path in tmp_path.glob("out*")) == [
        "out-0002.png",
        "out-0004.png",
        "out.png",
    ]
    assert read_recipe(tmp_path / "out-0002.png") is None
    assert read_image(tmp_path / "out-0002.png").size == (64, 48)
    with Image.open(film) as shown:
        assert shown.n_frames > 3
        assert shown.size == (480, 360)
    assert "the film begins" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--every", "0"], "every: '0' is wrong: input should be greater than or equal to 1"),
        (["--film", "x.avi"], "cannot write a film 'x.avi' with suffix '.avi'; choose from .mp4"),
        (["--film", "no/x.gif"], "no such folder: 'no' (to write 'x.gif' in)"),
        (
            ["--plot", "x.xyz"],
            "cannot write a figure 'x.xyz' with suffix '.xyz'; choose from .png, .svg, .pdf",
        ),
        (["--plot", "no/x.png"], "no such folder: 'no' (to write 'x.png' in)"),
        (["--history", "."], "cannot write losses to '.': it is a folder"),
        (["--checkpoint", "no/x"], "no such folder: 'no' (to write 'x' in)"),
        (["--checkpoint", "."], "cannot write a checkpoint to '.': it is a folder"),
        (["--checkpoint", "x.png"], "--checkpoint and --output are the same file, 'x.png'"),
        (["--film", "x.webp", "-o", "x.webp"], "--film and --output are the same file, 'x.webp'"),
        (["--history", "./a", "--checkpoint", "a"], "--checkpoint and --history are the same file"),
        (["--checkpoint", "a photo.png"], "--checkpoint 'a photo.png' is one of the pictures that"),
        (["-o", "a photo.png"], "--output 'a photo.png' is one of the pictures that are read"),
        (["-o", "../here/a picture.png"], "is one of the pictures that are read"),
        (["--mask", "m.png", "-o", "m.png"], "--output 'm.png' is one of the pictures that are"),
        (["--labels", "m.png", "n.png", "-o", "n.png"], "--output 'n.png' is one of the pictures"),
        (["--init", "m.png", "-o", "m.png"], "to start from what OUTPUT holds: --init last"),
        (["--every", "1", "-o", "a.png", "--mask", "a-0002.png"], "--every could write over"),
        (["--init", "last"], "init last: there is no 'x.png' to start from yet"),
        (["--jobs", "0"], "jobs: '0' is wrong: input should be greater than or equal to 1"),
        (["--style", ""], "a picture has an empty name"),
        (["--style-blend", "1"], "style_blend: 1 given for 2 styles"),
        (["--labels", "m.png"], "--labels"),
        (["--format", "bmp"], "bmp"),
    ],
)
def test_what_cannot_be_is_said_before_the_work(
    flags, text, photo, picture, tmp_path, monkeypatch, capsys
):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    for name in ("a photo.png", "m.png", "n.png", "a-0002.png"):
        (here / name).write_bytes(photo.read_bytes())
    (here / "a picture.png").write_bytes(picture.read_bytes())
    before = {path: path.read_bytes() for path in here.iterdir()}
    styles = ["-s", "a picture.png"] * (2 if "--style-blend" in flags else 1)
    output = [] if "-o" in flags else ["-o", "x.png"]
    assert paint("a photo.png", *styles, *output, *flags, "--steps", 3) == 2
    said = capsys.readouterr().err.strip()
    assert text in said
    assert said.startswith("impasto: ")
    assert len(said.splitlines()) == 1
    assert {path: path.read_bytes() for path in here.iterdir()} == before


def test_a_disk_that_is_full_is_told_in_one_line(photo, picture, tmp_path, monkeypatch, capsys):
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "x.csv")

    monkeypatch.setattr("impasto.painting.result.write_history", fail)
    flags = ["-o", tmp_path / "x.png", "--history", tmp_path / "x.csv", *QUICK, "-q"]
    assert paint(photo, "-s", picture, *flags) == 2
    assert capsys.readouterr().err == "impasto: 'x.csv' no space left on device\n"


# --- styles, masks and what a painting starts from ----------------------------------------------


def test_two_styles_are_blended(photo, picture, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(draw_picture(40, 40, 5)).save("another.png")
    flags = ["-s", picture, "-s", "another.png", "--style-blend", 1, "--style-blend", 3]
    assert paint(photo, *flags, *QUICK) == 0
    recipe = json.loads(read_recipe("a photo-a picture-another.png"))
    assert recipe["style"] == ["a picture.png", "another.png"]
    assert recipe["options"]["style_blend"] == [1.0, 3.0]


def test_flags_of_two_and_flags_repeated(photo, picture, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    halves = np.zeros((48, 64, 3), np.uint8)
    halves[:, 32:] = 255
    Image.fromarray(halves).save("right.png")
    Image.fromarray(255 - halves).save("left.png")
    Image.fromarray(halves).resize((56, 72), 0).save("style map.png")
    flags = ["--labels", "right.png", "style map.png", *QUICK]
    assert paint(photo, "-s", picture, "-o", "labels.png", *flags) == 0
    assert json.loads(read_recipe("labels.png"))["options"]["labels"] == [
        "right.png",
        "style map.png",
    ]
    masks = ["--style-mask", "left.png", "--style-mask", "right.png"]
    assert paint(photo, "-s", picture, "-s", picture, "-o", "masks.png", *masks, *QUICK) == 0
    assert json.loads(read_recipe("masks.png"))["options"]["style_mask"] == [
        "left.png",
        "right.png",
    ]


def test_last_starts_from_what_is_there(photo, picture, tmp_path):
    output = tmp_path / "out.png"
    flags = ["-s", picture, "-o", output, "--precision", "float32", "--start-size", 64]
    assert paint(photo, *flags, "--steps", 4, "-q") == 0
    before = read_image(output).pixels
    assert paint(photo, *flags, "--steps", 1, "--init", "last", "-q") == 0  # shows what it began as
    assert (read_image(output).pixels - before).abs().max() < 0.02


def test_only_color_takes_no_step(photo, picture, tmp_path, capsys):
    output = tmp_path / "out.png"
    assert paint(photo, "-s", picture, "-o", output, "--only-color") == 0
    assert "colours alone" in capsys.readouterr().err
    means = read_image(output).pixels.mean((2, 3)) - read_image(picture).pixels.mean((2, 3))
    assert means.abs().max() < 0.05


# --- a painting as a recipe ---------------------------------------------------------------------


def test_a_painting_is_painted_again_from_the_names_in_it(
    photo, picture, tmp_path, monkeypatch, capsys
):
    folder = tmp_path / "a folder"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    for name, size in (("mask.png", (64, 48)), ("begin.png", (30, 30))):
        Image.fromarray(draw_picture(*size, 8)).save(name)
    flags = ["--mask", "mask.png", "--init", "begin.png", *QUICK]
    assert paint(photo, "-s", picture, "-s", "mask.png", "-o", "first.png", *flags) == 0
    assert run(["paint", "--recipe", "first.png", "-o", "here.png"]) == 0
    for path in (photo, picture, Path("mask.png"), Path("begin.png"), Path("first.png")):
        path.rename(folder / path.name)
    assert run(["paint", "--recipe", "a folder/first.png", "-o", "beside.png"]) == 0
    first = (folder / "first.png").read_bytes()
    assert Path("here.png").read_bytes() == first
    assert Path("beside.png").read_bytes() == first
    capsys.readouterr()

    assert run(["recipe", "a folder/first.png"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("# impasto 0.1.0, paint: a photo.png after a picture.png, mask.png\n")
    assert 'mask = "mask.png"\n' in text
    (folder / "mine.toml").write_text(text)
    inputs = ["a folder/a photo.png", "-s", "a folder/a picture.png", "-s", "a folder/mask.png"]
    assert run(["paint", *inputs, "--recipe", "a folder/mine.toml", "-o", "toml.png"]) == 0
    assert Path("toml.png").read_bytes() == first

    (folder / "begin.png").unlink()
    assert run(["paint", "--recipe", "a folder/first.png", "-o", "x.png"]) == 2
    assert "the recipe was made with 'begin.png', which is neither here nor beside it" in (
        capsys.readouterr().err
    )
    again = ["--recipe", "a folder/first.png", "--init", "content"]
    assert run(["paint", *again, "-o", "x.png"]) == 0  # what is said comes first


def write_recipe(path: Path, **content: object) -> Path:
    info = PngInfo()
    info.add_itxt("impasto", json.dumps(content))
    Image.fromarray(draw_picture(20, 20)).save(path, pnginfo=info)
    return path


def test_an_old_recipe_has_one_style(photo, picture, tmp_path, capsys):
    options = {"steps": 2, "start_size": 64}
    recipe = write_recipe(
        tmp_path / "old.png",
        impasto="0.0.1",
        content=photo.name,
        style=picture.name,
        options=options,
    )
    assert run(["recipe", str(recipe)]) == 0
    shown = capsys.readouterr().out
    first, *others = shown.splitlines()
    assert first == "# impasto 0.0.1, paint: a photo.png after a picture.png"
    assert others == ["steps = 2", "start_size = 64"]
    assert run(["paint", "--recipe", str(recipe), "-o", str(tmp_path / "new.png")]) == 0


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"options": {"steps": 2}}, "does not say what it was painted from"),
        ({"steps": 2}, "does not say what it was painted from"),
        ({"content": "gone.png", "style": "gone too.png"}, "unknown option 'content'"),
        (
            {"content": "gone.png", "style": ["x.png"], "options": {}},
            "the recipe was made with 'gone.png', which is neither here nor beside it",
        ),
        ({"options": [1]}, "has no options"),
        ({"options": {"stepps": 2}}, "unknown option 'stepps'; did you mean 'steps'?"),
    ],
)
def test_recipes_that_do_not_serve(content, text, tmp_path, capsys):
    recipe = write_recipe(tmp_path / "r.png", **content)
    assert run(["paint", "--recipe", str(recipe), "-o", str(tmp_path / "x.png")]) == 2
    said = capsys.readouterr().err.strip()
    assert text in said
    assert len(said.splitlines()) == 1


# --- how it looks -------------------------------------------------------------------------------


def test_help_is_in_panels_and_its_lines_are_whole(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert run(["paint", "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("Usage: impasto paint PHOTOGRAPH --style PICTURE")
    titles = ["Arguments", *PAINT_PANELS.values()]
    places = [text.index(f"─ {title} ─") for title in titles]
    assert places == sorted(places)
    assert "None with --recipe PAINTING: the one that it was made from." in text
    assert "[default: relu1_1, relu2_1, relu3_1, relu4_1, relu5_1]" in text
    for word in ("None]", "()", "False"):
        assert word not in text


def test_a_first_flag_of_each_panel_is_a_flag():
    flags = {f"--{name.replace('_', '-')}" for name in PaintOptions.model_fields}
    own = signature(paint_command).parameters
    flags |= {f"--{name}" for name in (*Extras.model_fields, *BatchFlags.model_fields, *own)}
    assert set(PAINT_PANELS) <= flags


def test_names_with_brackets_are_no_markup(photo, picture, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    photo.rename("[bold] [1].png")
    assert run(["paint", "*.png", "-s", str(picture), *QUICK]) == 0
    assert Path("painted/[bold] [1]-a picture.png").exists()
    assert "[bold] [1]-a picture.png" in capsys.readouterr().err


# --- Ctrl-C -------------------------------------------------------------------------------------

INTERRUPTED_AT_STEP_3 = """
import os, signal, sys
from impasto.cli import app as cli
from impasto.painting import painter
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


# --- memory -------------------------------------------------------------------------------------


def test_memory_is_planned_and_said(photo, picture, tmp_path, capsys):
    output = tmp_path / "x.png"
    assert paint(photo, "-s", picture, "-o", output, "--memory", "3G", *QUICK) == 0
    line = next(x for x in capsys.readouterr().err.splitlines() if x.startswith("memory: up to "))
    assert line.endswith("of the 3.0 GiB granted")
    assert json.loads(read_recipe(output))["options"]["memory"] is None  # it changed nothing


def test_a_size_that_memory_has_no_room_for(photo, picture, tmp_path, capsys):
    flags = ["-s", picture, "-o", tmp_path / "x.png", *QUICK]
    assert paint(photo, *flags, "--size", "30000", "--memory", "3G") == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("impasto: 30000 x 22500 needs more than the 3.0 GiB granted; --size ")
    largest = int(said.split("--size ")[1].split()[0])
    assert 1000 < largest < 30000
    assert paint(photo, *flags, "--memory", "3M") == 2
    assert "and so does any other size" in capsys.readouterr().err
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize("value", ["4X", "-1", "much", ""])
def test_memory_is_a_number_of_bytes(photo, picture, capsys, value):
    assert paint(photo, "-s", picture, f"--memory={value}") == 2
    assert "memory" in capsys.readouterr().err


def test_a_painting_in_tiles_says_so_and_is_painted_again(
    photo, picture, tmp_path, capsys, monkeypatch
):
    """The memory that made the tiles is in the recipe, so the same bytes come out."""
    monkeypatch.setattr(plan, "LEAST_WINDOW", 100)
    flags = ["--style-layer", "relu1_1", "--content-layer", "relu1_2", "--size", "300", *QUICK]
    monkeypatch.setattr(plan, "PROCESS", 0)
    monkeypatch.setattr(plan, "SLACK", 0)
    first, again = tmp_path / "x.png", tmp_path / "again.png"
    assert paint(photo, "-s", picture, "-o", first, *flags, "--memory", "32M") == 0
    assert "tiles" in capsys.readouterr().err
    assert json.loads(read_recipe(first))["options"]["memory"] == str(32 * 2**20)
    assert paint("--recipe", first, "-o", again) == 0
    assert "tiles" in capsys.readouterr().err
    assert again.read_bytes() == first.read_bytes()


def test_styles_are_measured_once_for_all_runs(photo, picture, tmp_path):
    """And what lies in the cache paints the same bytes."""
    outputs = [tmp_path / f"{i}.png" for i in range(2)]
    assert paint(photo, "-s", picture, "-o", outputs[0], *QUICK) == 0
    kept = list((Path(os.environ["IMPASTO_CACHE"]) / "targets").iterdir())
    assert len(kept) == 1
    assert paint(photo, "-s", picture, "-o", outputs[1], *QUICK) == 0
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    assert list(kept[0].parent.iterdir()) == kept


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_their_docstrings_say(name):
    module = importlib.import_module(f"impasto.cli.{COMMANDS[name].module}")
    function = getattr(module, f"{name}_command")
    assert function.__doc__.splitlines()[0] == COMMANDS[name].about


def test_the_list_of_commands_loads_none_of_them():
    program = (
        "import sys; from impasto.cli.app import run; run(['--help']); "
        "sys.exit(bool({'impasto.operations', 'impasto.options'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
