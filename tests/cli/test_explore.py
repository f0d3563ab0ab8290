"""The commands that look into a network, run as a user runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import draw_picture
from PIL import Image

from impasto.cli.app import run
from impasto.cli.explore import EXPLORE_PANELS
from impasto.images.opening import read_recipe
from impasto.images.reading import read_image

QUICK = ["--steps", "3", "--precision", "float32", "--layout", "planes"]
COMMANDS = {  # each with what it needs to do its work on these pictures
    "texture": ["a style é.png", "--size", "48x32", "--start-size", "64"],
    "invert": ["ein Foto ü.png", "--layer", "relu2_1", "--size", "48"],
    "dream": ["ein Foto ü.png", "--layer", "relu2_1", "--channel", "3"],
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder with pictures, whose name has a space as theirs have."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    Image.fromarray(draw_picture(64, 48, 1)).save("ein Foto ü.png")
    Image.fromarray(draw_picture(56, 72, 2)).save("a style é.png")
    return folder


def impasto(*arguments: object) -> int:
    return run([*map(str, arguments)])


def list_files(folder=Path()):
    return sorted(path.as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("command", "name", "size", "said"),
    [
        ("texture", "a style é-texture.png", (48, 32), "making 48 x 32 with compact on cpu"),
        ("invert", "ein Foto ü-relu2_1.png", (48, 36), "inverting relu2_1 at 48 x 36 with compact"),
        ("dream", "ein Foto ü-dream-relu2_1-3.png", (64, 48), "dreaming 64 x 48 with compact on"),
    ],
)
def test_a_picture_is_made_and_named_after_what_it_is_of(command, name, size, said, capsys):
    assert impasto(command, *COMMANDS[command], *QUICK) == 0
    assert read_image(name).size == size
    told = capsys.readouterr()
    assert told.out == ""
    assert said in told.err
    assert f"made {name} ({size[0]} x {size[1]}) in 3 steps" in told.err
    assert json.loads(read_recipe(name))["operation"] == command


def test_a_dream_of_a_class_is_named_after_it(capsys):
    assert impasto("dream", "--class", "School_Bus", "--size", 48, *QUICK) == 0
    assert read_image("dream-School_Bus.png").size == (48, 48)
    capsys.readouterr()
    assert impasto("recipe", "dream-School_Bus.png") == 0
    text = capsys.readouterr().out
    assert text.startswith("# impasto 0.1.0, dream\n")
    assert 'class = "School_Bus"\n' in text
    Path("mine.toml").write_text(text)
    assert impasto("dream", "--recipe", "mine.toml", "-o", "again.png", "-q") == 0
    assert Path("again.png").read_bytes() == Path("dream-School_Bus.png").read_bytes()
    flags = ["--recipe", "mine.toml", "--class", "trolleybus", "-o", "other.png", "-q"]
    assert impasto("dream", *flags) == 0
    assert json.loads(read_recipe("other.png"))["options"]["class"] == "trolleybus"


@pytest.mark.parametrize("command", COMMANDS)
def test_quiet_says_nothing(command, capsys):
    assert impasto(command, *COMMANDS[command], *QUICK, "-o", "x.webp", "-q") == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_picture_is_made_again_from_the_recipe_in_it(command, here, monkeypatch):
    assert impasto(command, *COMMANDS[command], *QUICK, "-o", "first.png", "-q") == 0
    assert impasto(command, "--recipe", "first.png", "-o", "here.png", "-q") == 0
    elsewhere = here.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert impasto(command, "--recipe", "../a folder/first.png", "-o", "there.png", "-q") == 0
    first = (here / "first.png").read_bytes()
    assert (here / "here.png").read_bytes() == first
    assert Path("there.png").read_bytes() == first


@pytest.mark.parametrize("command", COMMANDS)
def test_what_else_is_written(command):
    files = ["--history", "h.csv", "--plot", "p.svg", "--film", "f.gif", "--every", "2"]
    assert impasto(command, *COMMANDS[command], *QUICK, "-o", "x.png", *files, "-q") == 0
    assert len(Path("h.csv").read_text().splitlines()) == 4
    assert "<svg" in Path("p.svg").read_text()
    assert read_image("x-0002.png").size == read_image("x.png").size
    with Image.open("f.gif") as film:
        assert film.n_frames >= 2


@pytest.mark.parametrize("kind", ["L", "RGBA", "I;16"])
def test_pictures_of_every_kind(kind):
    picture = Image.fromarray(draw_picture(48, 40, 3))
    if kind == "I;16":
        picture = Image.fromarray(np.asarray(picture)[..., 0].astype(np.uint16) * 257)
    else:
        picture = picture.convert(kind)
    picture.save("kind.png")
    for command in ("texture", "invert", "dream"):
        flags = [*COMMANDS[command][1:], *QUICK, "-o", "x.png", "-q"]
        assert impasto(command, "kind.png", *flags) == 0
    assert impasto("features", "kind.png", "--layer", "relu1_1", "--top", 1, "-q") == 0
    assert Path("kind-features/statistics.csv").is_file()


# --- what must not be ---------------------------------------------------------------------------

MISTAKES = [
    (["texture"], "texture needs a picture of one: STYLE"),
    (["texture", ""], "a picture has an empty name"),
    (["texture", "none.png"], "no such file: 'none.png'"),
    (["texture", "{style}", "-o", "x.bmp"], "cannot write a picture 'x.bmp' with suffix '.bmp'"),
    (["texture", "{style}", "-o", "."], "cannot write a picture to '.': it is a folder"),
    (["texture", "{style}", "-o", "no/x.png"], "no such folder: 'no' (to write 'x.png' in)"),
    (["texture", "{style}", "-o", "{style}"], "would be written over; name another"),
    (["texture", "{style}", "--size", "9x9"], "size: '9x9' is wrong: each side must be from 16"),
    (["texture", "{style}", "--size", "big"], "size: 'big' is wrong: give WIDTHxHEIGHT in pixels"),
    (["texture", "{style}", "--init", "{photo}", "-o", "{photo}"], "would be written over"),
    (
        ["texture", "{style}", "--recipe", "gatys-2015"],
        "recipe 'gatys-2015' is for 'impasto paint'",
    ),
    (["texture", "{style}", "--recipe", "{photo}"], "carries no recipe"),
    (["texture", "{style}", "--style-weight", "3"], "Unknown option: --style-weight"),
    (["invert"], "invert needs a photograph: PHOTO"),
    (["invert", ""], "a picture has an empty name"),
    (
        ["invert", "{photo}", "--layer", "relu42"],
        "unknown layer 'relu42' for compact; did you mean",
    ),
    (["invert", "{photo}", "--memory", "x"], "memory: 'x' is wrong: give a number of bytes"),
    (["invert", "{photo}", "--steps", "0"], "steps: '0' is wrong"),
    (
        ["invert", "{photo}", "--layer", "all", "-o", "x.png"],
        "go to a folder; 'x.png' names a pict",
    ),
    (
        ["invert", "{photo}", "--layer", "all", "-o", "{photo}"],
        "go to a folder; 'ein Foto ü.png' na",
    ),
    (
        ["invert", "{photo}", "--layer", "all", "-o", ""],
        "several layers go to a folder of their own",
    ),
    (["invert", "{photo}", "--layer", "all", "--plot", "x.png"], "--plot goes with one layer, not"),
    (["dream"], "a dream is of a class or of a layer: give --class or --layer"),
    (["dream", "", "--layer", "relu1_1"], "a picture has an empty name"),
    (["dream", "--class", "scool bus"], "unknown class 'scool bus'; did you mean 'school bus'?"),
    (["dream", "--class", "bus", "--label", "x"], "Unknown option: --label"),
    (["dream", "--class", "lobster"], "class 'lobster' is part of 2; did you mean "),
    (
        ["dream", "--class", "bus", "--channel", "3"],
        "a channel is one of a layer: give --layer too",
    ),
    (["dream", "--layer", "relu3_1"], "a whole layer is excited from a photograph"),
    (
        ["dream", "--layer", "relu3_1", "--channel", "64"],
        "relu3_1 has 64 channels, 0 to 63, and no",
    ),
    (["dream", "{photo}", "--layer", "relu1_1", "-o", "{photo}"], "would be written over"),
    (["features"], "PHOTO requires an argument"),
    (["features", ""], "a picture has an empty name"),
    (["features", "{photo}", "-o", "x.png"], "features go to a folder; 'x.png' names a picture"),
    (
        ["features", "{photo}", "-o", "{style}"],
        "features go to a folder; 'a style é.png' names a p",
    ),
    (["features", "{photo}", "--channel", "16"], "relu1_1 has 16 channels, 0 to 15, and no 16"),
    (["features", "{photo}", "--memory", "4G"], "Unknown option: --memory"),
    (["classes", "--backbone", "vgg11"], "unknown backbone 'vgg11'; did you mean 'vgg19'?"),
]


@pytest.mark.parametrize(("arguments", "text"), MISTAKES)
def test_mistakes_are_one_line_and_leave_nothing(arguments, text, capsys):
    names = {"photo": "ein Foto ü.png", "style": "a style é.png"}
    before = {path: Path(path).read_bytes() for path in list_files()}
    assert impasto(*(each.format(**names) for each in arguments)) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("impasto: ")
    assert text in said
    assert len(said.splitlines()) == 1
    assert {path: Path(path).read_bytes() for path in list_files()} == before
    if "{photo}" in arguments[-1:] or "{style}" in arguments[-1:]:
        assert "--init last" not in said  # which is no option here


@pytest.mark.parametrize("command", COMMANDS)
def test_pictures_that_are_too_small_too_narrow_or_none(command, capsys):
    Image.fromarray(draw_picture(1, 1)).save("one.png")
    Image.fromarray(draw_picture(500, 10)).save("long.png")
    Path("text.png").write_text("no picture")
    Path("empty.png").touch()
    for name in ("text.png", "empty.png"):
        assert impasto(command, name, *COMMANDS[command][1:], *QUICK, "-o", "x.png") == 2
        assert f"'{name}'" in capsys.readouterr().err
    if command == "texture":  # a point is a texture, too
        assert impasto(command, "one.png", *COMMANDS[command][1:], *QUICK, "-q") == 0
        assert impasto(command, "long.png", *COMMANDS[command][1:], *QUICK, "-q") == 0
        return
    assert impasto(command, "one.png", "--layer", "relu5_1", *QUICK) == 2
    assert "1 x 1 is too small for layer relu5_1 of compact" in capsys.readouterr().err
    assert impasto(command, "long.png", "--layer", "relu5_1", *QUICK) == 2
    assert "is too small for layer relu5_1 of compact" in capsys.readouterr().err


def test_a_recipe_of_another_operation_is_refused(capsys):
    assert impasto("invert", *COMMANDS["invert"], *QUICK, "-o", "inverted.png", "-q") == 0
    assert impasto("dream", "--recipe", "inverted.png") == 2
    text = "impasto: 'inverted.png' was made by 'impasto invert', not dream\n"
    assert capsys.readouterr().err == text
    Path("mine.toml").write_text('alpha_weight = 1\nlayer = "relu1_1"\n')
    assert impasto("dream", "--recipe", "mine.toml") == 2
    text = "impasto: recipe 'mine.toml' is for 'impasto invert': there is no alpha_weight here\n"
    assert capsys.readouterr().err == text
    Path("mine.toml").write_text('octave = 1\nlayer = "relu1_1"\n')
    assert impasto("dream", "--recipe", "mine.toml") == 2
    text = "impasto: unknown option 'octave'; did you mean 'octaves'?\n"
    assert capsys.readouterr().err == text


# --- folders ------------------------------------------------------------------------------------


def test_inversions_of_several_layers_go_to_a_folder(capsys):
    flags = ["ein Foto ü.png", "--layer", "relu1_1", "--layer", "relu2_1", "--size", 32, *QUICK]
    assert impasto("invert", *flags) == 0
    assert capsys.readouterr().err.endswith("all is in ein Foto ü-inverted\n")
    folder = Path("ein Foto ü-inverted")
    before = {path: Path(path).read_bytes() for path in list_files(folder)}
    assert f"{folder}/runs/relu2_1.png" in before
    (folder / "runs" / "relu2_1.png").unlink()
    assert impasto("invert", *flags) == 0
    assert {path: Path(path).read_bytes() for path in list_files(folder)} == before
    again = ["--recipe", f"{folder}/runs/relu1_1.png", "-o", "one.png", "-q"]
    assert impasto("invert", *again) == 0
    assert Path("one.png").read_bytes() == before[f"{folder}/runs/relu1_1.png"]


def test_features_go_to_a_folder(capsys):
    flags = ["ein Foto ü.png", "--layer", "relu1_1", "--channel", 3, "--channel", 5]
    assert impasto("features", *flags) == 0
    assert capsys.readouterr().err.endswith("all is in ein Foto ü-features\n")
    assert list_files(Path("ein Foto ü-features")) == [
        f"ein Foto ü-features/{name}"
        for name in (
            "maps.json",
            "relu1_1-gram.png",
            "relu1_1-grid.png",
            "relu1_1-maps.png",
            "statistics.csv",
        )
    ]
    assert impasto("features", *flags, "-q") == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")


def test_classes_are_listed_and_searched(capsys):
    assert impasto("classes") == 0
    assert len(capsys.readouterr().out.strip().splitlines()) == 200
    assert impasto("classes", "BUS") == 0
    assert "school bus" in capsys.readouterr().out
    assert impasto("classes", "zzz") == 0
    assert capsys.readouterr().err == "no class with 'zzz' in its name\n"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["features", "ein Foto ü.png"], "plots need matplotlib, which is not installed; pip"),
        (
            ["invert", "ein Foto ü.png", "--plot", "p.png"],
            "plots need matplotlib, which is not installed; pip install 'impasto[plots]'",
        ),
    ],
)
def test_without_matplotlib_one_line_says_what_mends_it(arguments, text, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    before = list_files()
    assert impasto(*arguments) == 2
    said = capsys.readouterr().err
    assert text in said
    assert len(said.splitlines()) == 1
    assert list_files() == before


# --- Ctrl-C and kill ----------------------------------------------------------------------------

BROKEN_OFF_AT_STEP_4 = """
import os, sys
from impasto.cli import app as cli
from impasto.painting import loop
by, work = int(sys.argv.pop(1)), loop.PictureWork.steps

def steps_broken_off(self):
    for step in work(self):
        if step.number == 4:
            self.save_progress()
            os.kill(os.getpid(), by)
        yield step

loop.PictureWork.steps = steps_broken_off
cli.main()
"""


def break_off(by: signal.Signals, *arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", BROKEN_OFF_AT_STEP_4, str(int(by)), *map(str, arguments)]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send")
@pytest.mark.parametrize("command", ["texture", pytest.param("dream", marks=pytest.mark.slow)])
def test_ctrl_c_leaves_the_best_so_far_and_the_command_goes_on(command, capsys):
    steps = ["--steps", 8, *QUICK[2:], "--checkpoint", "state", "-o", "out.png"]
    done = break_off(signal.SIGINT, command, *COMMANDS[command], *steps)
    assert done.returncode == 130, done.stderr
    assert "stopped; the best so far is out.png" in done.stderr
    assert done.stderr.endswith("the same command goes on from there, by state\n")
    assert "Traceback" not in done.stderr
    read_image("out.png")
    assert impasto(command, *COMMANDS[command], *steps) == 0
    assert "note: taken up at step 5" in capsys.readouterr().err
    assert not Path("state").exists()
    steps = [*steps[:-4], "-o", "whole.png", "-q"]
    assert impasto(command, *COMMANDS[command], *steps) == 0
    assert Path("out.png").read_bytes() == Path("whole.png").read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL to send")
def test_after_a_kill_the_same_command_gives_the_same_bytes():
    flags = [*COMMANDS["invert"], "--steps", 8, *QUICK[2:], "-q"]
    assert impasto("invert", *flags, "-o", "whole.png") == 0
    steps = [*flags, "--checkpoint", "state", "-o", "out.png"]
    assert break_off(signal.SIGKILL, "invert", *steps).returncode == -9
    assert Path("state").exists()
    assert not Path("out.png").exists()
    assert impasto("invert", *steps) == 0
    assert Path("out.png").read_bytes() == Path("whole.png").read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send")
def test_ctrl_c_among_several_layers(capsys):
    flags = ["ein Foto ü.png", "--layer", "relu1_1", "--layer", "relu2_1", "--size", 32, *QUICK[2:]]
    flags += ["--steps", 8, "-o", "layers"]
    done = break_off(signal.SIGINT, "invert", *flags)
    assert done.returncode == 130
    assert done.stderr.endswith(
        "stopped; what is done is in layers\nthe same command goes on from there\n"
    )
    assert impasto("invert", *flags) == 0
    assert "note: relu1_1: taken up at step 5" in capsys.readouterr().err
    assert impasto("invert", *flags[:-1], "whole") == 0
    for name in ("results.csv", "sheet.png", "runs/relu1_1.png", "runs/relu2_1.png"):
        assert Path("layers", name).read_bytes() == Path("whole", name).read_bytes()


# --- how it looks -------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["texture", "invert", "dream", "features", "classes"])
def test_help_reads_well(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert impasto(command, "--help") == 0
    text = capsys.readouterr().out
    for word in ("None]", "()", "False", "[default: ]", "--label", "[default: 0.0] ["):
        assert word not in text
    if command in COMMANDS:
        panels = dict.fromkeys(EXPLORE_PANELS.values())
        titles = [title for title in panels if f"─ {title} ─" in text]
        places = [text.index(f"─ {title} ─") for title in titles]
        assert places == sorted(places)
        assert len(places) >= 5
        assert "─ Parameters ─" not in text


def test_help_loads_neither_torch_nor_numpy():
    program = (
        "import sys; from impasto.cli.app import run; [run([c, '--help']) for c in sys.argv[1:]]; "
        "sys.exit(bool({'torch', 'numpy', 'PIL', 'multiprocessing'} & set(sys.modules)))"
    )
    commands = ["texture", "invert", "dream", "features", "classes"]
    done = subprocess.run(
        [sys.executable, "-c", program, *commands], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
