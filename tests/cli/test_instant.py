"""The commands of painting in one pass, run as a user runs them."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
import torch
from conftest import draw_picture
from PIL import Image

from impasto.cli.app import run
from impasto.images.opening import read_recipe
from impasto.images.reading import read_image
from impasto.instant.model_file import load_net, save_net
from impasto.instant.net import NET_SHAPES, DialReader, PaintingNet, code_size
from impasto.instant.palette import Palette

TINY = ["--steps", "4", "--batch", "2", "--crop", "64", "--precision", "float32"]
TINY += ["--style-size", "64", "--net", "slim"]


def instant(*arguments: object) -> int:
    return run(["instant", *map(str, arguments)])


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "my photos"
    folder.mkdir()
    for seed in range(3):
        Image.fromarray(draw_picture(90, 70, seed)).save(folder / f"{seed}.png")
    return folder


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    net = PaintingNet(NET_SHAPES["slim"])
    numbers, means = 0.2 * torch.randn(2, net.count), torch.full((2, 3), 0.5).double()
    covariances = torch.eye(3).double().repeat(2, 1, 1) * 0.03
    path = tmp_path / "two.safetensors"
    save_net(path, net, palette=Palette(("monet", "gogh"), numbers, means, covariances))
    return path


# --- painting -----------------------------------------------------------------------------------


def test_one_painting(photo, picture, tmp_path, capsys):
    output = tmp_path / "out put.png"
    assert instant(photo, "--style", picture, "-o", output) == 0
    assert read_image(output).size == (64, 48)
    said = capsys.readouterr()
    assert said.out == ""
    assert f"painted {output} (64 x 48) in " in said.err


def test_it_is_painted_again_from_its_recipe(photo, picture, tmp_path):
    first, again = tmp_path / "first.png", tmp_path / "again.png"
    assert instant(photo, "-s", picture, "-o", first, "--strength", "0.7", "--size", "50") == 0
    assert '"operation": "instant"' in read_recipe(first)
    assert instant("--recipe", first, "-o", again, "-q") == 0
    assert again.read_bytes() == first.read_bytes()


def test_a_model_paints_by_name_and_again(photo, model, tmp_path):
    first, again = tmp_path / "first.png", tmp_path / "again.png"
    blend = ["--model", model, "--blend", "monet=0.3,gogh=0.7"]
    assert instant(photo, *blend, "-o", first) == 0
    assert instant("--recipe", first, "-o", again) == 0
    assert again.read_bytes() == first.read_bytes()
    named = tmp_path / "named.png"
    styles = ["--style", "monet", "--style", "gogh", "--blend", "3,7"]
    assert instant(photo, "--model", model, *styles, "-o", named) == 0
    assert torch.equal(read_image(named).pixels, read_image(first).pixels)


def test_the_output_has_a_name_of_its_own(photo, picture, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert instant(photo, "-s", picture, "-q") == 0
    assert (tmp_path / "a photo-a picture.png").is_file()
    assert instant(photo, "--model", model, "-s", "gogh", "-q") == 0
    assert (tmp_path / "a photo-gogh.png").is_file()


def test_a_folder_of_photographs(photos, picture, model, tmp_path, capsys):
    (photos / "bad.png").write_bytes(b"no picture")
    out = tmp_path / "out"
    assert instant(photos, "-s", picture, "-o", out) == 2
    assert sorted(path.name for path in out.iterdir()) == [f"{i}-a picture.png" for i in range(3)]
    assert "bad.png" in capsys.readouterr().err
    (photos / "bad.png").unlink()
    assert instant(photos, "--model", model, "-s", "gogh", "-o", out, "--jobs", "2") == 0
    assert (out / "2-gogh.png").is_file()
    assert instant(photos, "-s", picture, "-o", out) == 0
    assert "3 of 3 are there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["{photo}"], "instant needs a picture: --style PICTURE"),
        ([], "instant needs a photograph"),
        (["{photo}", "-s", "none.png"], "none.png"),
        (["{photo}", "-s", "{picture}", "-o", "{photo}"], "would be written over; name another"),
        (["{photo}", "-s", "{picture}", "--strength", "2"], "strength: '2' is wrong"),
        (["{photo}", "-s", "{picture}", "--blend", "x=1"], "--blend: unknown style 'x'"),
        (["{photo}", "--model", "{model}"], "choose among the model's styles with --style"),
        (["{photo}", "--model", "{model}", "-s", "mone"], "unknown style 'mone'"),
        (["{photo}", "--model", "{model}", "-s", "gogh", "-o", "{model}"], "cannot write"),
        (["{photo}", "--model", "{picture}", "-s", "gogh"], "cannot read the model"),
        (["{photo}", "-s", "{picture}", "-o", "x.gif"], "'.gif'"),
    ],
)
def test_mistakes_are_one_line(
    arguments, text, photo, picture, model, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    names = {"photo": photo, "picture": picture, "model": model}
    assert instant(*(each.format(**names) for each in arguments)) == 2
    said = capsys.readouterr().err.strip()
    assert text in said
    assert said.startswith("impasto: ")
    assert "\n" not in said
    assert sorted(tmp_path.rglob("*")) == before


# --- teaching -----------------------------------------------------------------------------------


def test_a_model_is_taught_and_paints(photos, photo, picture, tmp_path, capsys):
    output = tmp_path / "my model.safetensors"
    told = ["train", "--style", picture, "--photos", photos, "-o", output, *TINY]
    assert run([*map(str, told), "--preview-every", "2"]) == 0
    said = capsys.readouterr().err
    assert f"{output} paints a picture" in said
    preview = tmp_path / "my model-preview.png"
    assert preview.is_file()
    assert load_net(output).palette.names == ("a picture",)
    assert not list(tmp_path.glob("*.checkpoint"))
    painted = tmp_path / "painted.png"
    assert instant(photo, "--model", output, "-o", painted) == 0
    assert read_image(painted).size == (64, 48)


def test_a_style_is_added(photos, picture, model, tmp_path, capsys):
    output = tmp_path / "three.safetensors"
    told = ["train", "--style", picture, "--photos", photos, "--start", model, "-o", output]
    assert run([*map(str, told), *TINY, "--preview-every", "0"]) == 0
    assert load_net(output).palette.names == ("monet", "gogh", "a picture")
    said = capsys.readouterr().err
    assert "teaching 1 style on cpu" in said
    assert f"{output} paints monet, gogh, a picture\n" in said
    assert not list(tmp_path.glob("*preview*"))  # nor a word of one


def test_what_comes_up_while_it_learns_is_told_at_the_end(photos, picture, tmp_path, capsys):
    """More photographs than a preview shows: the rest is read as it is drawn."""
    Image.fromarray(draw_picture(90, 70, 3)).save(photos / "3.png")
    (photos / "later.png").write_bytes(b"no picture")
    output = tmp_path / "m.safetensors"
    told = [
        "train",
        "--style",
        picture,
        "--photos",
        photos,
        "-o",
        output,
        "--steps",
        "8",
        *TINY[2:],
    ]
    assert run(list(map(str, told))) == 0
    before, _, after = capsys.readouterr().err.partition("teaching")
    assert "left out" not in before
    assert after.count("note: left out: 1 photograph that cannot be read; 'later.png'") == 1
    assert load_net(output).facts["photographs"] == 4


def test_nothing_is_trained_over(photos, picture, model, tmp_path, capsys):
    before = model.read_bytes()
    told = ["train", "--style", str(picture), "--photos", str(photos), *TINY]
    assert run([*told, "-o", str(model)]) == 2
    text = f"impasto: {str(model)!r} is there already; name another output, or remove it\n"
    assert capsys.readouterr().err == text
    assert run([*told, "--start", str(model), "-o", str(model)]) == 2
    said = capsys.readouterr().err
    assert "is the model to start from, and would be written over; name another output" in said
    sheet, output = tmp_path / "v-preview.png", tmp_path / "v.safetensors"
    sheet.write_bytes(picture.read_bytes())
    assert run([*told, "--style", str(sheet), "-o", str(output)]) == 2
    said = capsys.readouterr().err
    assert f"the preview {str(sheet)!r} is one of the pictures that are read, and would" in said
    assert run([*told, "-o", str(photos / "m.safetensors")]) == 2
    assert "m-preview.png' would lie among the photographs; name an" in capsys.readouterr().err
    assert model.read_bytes() == before
    assert sheet.read_bytes() == picture.read_bytes()
    assert not output.exists()


def test_what_it_says_when_it_is_stopped_is_so(photos, picture, tmp_path):
    """At the second Ctrl-C amid the third step, or amid the first where nothing can be saved."""
    program = """
import os, signal, sys
from impasto.instant import training
from impasto.cli.app import run
at, sys.argv[1:] = int(sys.argv[1]), sys.argv[2:]
class Broken(training.Teacher):
    def measure(self, *batch):
        if self.state.number == at:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        return super().measure(*batch)
training.Teacher = Broken
sys.exit(run(sys.argv[1:]))
"""
    output = tmp_path / "m.safetensors"
    told = [
        "train",
        "--style",
        str(picture),
        "--photos",
        str(photos),
        *TINY,
        "-o",
        str(output),
    ]

    def stop(at: int) -> str:
        command = [sys.executable, "-c", program, str(at), *told]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 130, done.stderr
        return done.stderr

    blocked = tmp_path / f".{output.name}.checkpoint.part"
    blocked.mkdir()
    said = stop(0)
    assert "stopped at step 0 of 4; nothing was saved: the same command begins anew" in said
    assert said.count("note: cannot write checkpoint 'm.safetensors.checkpoint': ") == 1
    blocked.rmdir()
    assert "stopped at step 2 of 4; the same command goes on from step 3" in stop(2)
    assert run([*told, "-q"]) == 0
    assert load_net(output).facts["steps"] == 4


def test_a_preview_that_cannot_be_written_costs_no_model(photos, picture, tmp_path, capsys):
    output = tmp_path / "m.safetensors"
    (tmp_path / "m-preview.png").mkdir()
    told = ["train", "--style", picture, "--photos", photos, "-o", output, *TINY]
    assert run(list(map(str, told))) == 0
    assert load_net(output).palette.names == ("a picture",)
    said = capsys.readouterr().err
    assert "note: no preview: cannot write a sheet to" in said
    assert "how:" not in said


@pytest.mark.parametrize(
    "by",
    [
        signal.SIGINT,
        pytest.param(signal.SIGKILL, marks=pytest.mark.slow),  # also in instant/test_training.py
    ],
)
def test_teaching_that_is_broken_off_goes_on_to_the_same_weights(by, photos, picture, tmp_path):
    """Taught in a process that is stopped in the middle, once the checkpoint is written."""
    whole, broken = tmp_path / "whole.safetensors", tmp_path / "broken.safetensors"
    told = ["train", "--style", str(picture), "--photos", str(photos), *TINY]
    told += ["--preview-every", "2"]
    assert run([*told, "-o", str(whole), "-q"]) == 0
    program = f"""
import os, sys
from impasto.instant import training
from impasto.cli.app import run
class Broken(training.Training):
    def preview(self):
        sheet = super().preview()
        if self.teacher.state.number == 2:
            os.kill(os.getpid(), {int(by)})
        return sheet
training.Training = Broken
sys.exit(run(sys.argv[1:]))
"""
    command = [sys.executable, "-c", program, *told, "-o", str(broken)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == (130 if by == signal.SIGINT else -signal.SIGKILL), done.stderr
    assert not broken.exists()
    assert run([*told, "-o", str(broken), "-q"]) == 0
    first, second = load_net(whole), load_net(broken)
    for name, value in first.net.state_dict().items():
        assert torch.equal(second.net.state_dict()[name], value), name
    assert torch.equal(first.palette.numbers, second.palette.numbers)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "train needs a picture to learn: --style PICTURE"),
        (["-s", "{picture}"], "train needs photographs to learn from: --photos FOLDER"),
        (["-s", "{picture}", "--photos", "nowhere"], "nowhere"),
        (["-s", "{photos}", "--photos", "{photos}"], "name each picture with its own --style"),
        (["-s", "{picture}", "--photos", "{photos}", "--start", "a"], "unknown model 'a'"),
        (["-s", "{picture}", "--photos", "{photos}", "-o", "x.png"], "suffix '.png'"),
    ],
)
def test_mistakes_in_teaching(arguments, text, photos, picture, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"picture": picture, "photos": photos}
    assert run(["train", *(each.format(**names) for each in arguments)]) == 2
    assert text in capsys.readouterr().err


# --- for other programs -------------------------------------------------------------------------


def test_networks_are_handed_on(picture, model, tmp_path, capsys):
    onnx = pytest.importorskip("onnx")
    one, two = tmp_path / "one.onnx", tmp_path / "two.onnx"
    assert run(["export", "--style", str(picture), "-o", str(one)]) == 0
    assert "a picture" in capsys.readouterr().err
    assert run(["export", "--model", str(model), "-o", str(two), "-q"]) == 0
    assert [i.name for i in onnx.load(one).graph.input] == ["photo"]
    assert [i.name for i in onnx.load(two).graph.input] == ["photo", "weights"]
    assert run(["export", "-o", str(one)]) == 2
    assert "export needs a style or a model" in capsys.readouterr().err


def test_a_network_is_handed_on_to_a_page(compact, picture, tmp_path, capsys):
    pytest.importorskip("onnx")
    net = PaintingNet(NET_SHAPES["any"])
    reader = DialReader(code_size(compact), net.count)
    model, page = tmp_path / "dial.safetensors", tmp_path / "page"
    save_net(model, net, reader=reader)
    assert run(["export", "--for", "web", "--model", str(model), "-o", str(page)]) == 0
    assert "painter.onnx, style.onnx, manifest.json" in capsys.readouterr().err
    names = ["manifest.json", "painter.onnx", "style.onnx"]
    assert sorted(path.name for path in page.iterdir()) == names
    refused = ["export", "--for", "web", "--model", str(model), "--style", str(picture)]
    assert run(refused) == 2
    assert "a page reads styles itself: no --style" in capsys.readouterr().err
    assert run(["export", "--for", "web", "--model", str(model), "-o", str(model)]) == 2
    assert "a page's files go into a folder" in capsys.readouterr().err
    assert run(["export", "--for", "web", "--model", "painters", "-o", str(page)]) == 2
    assert "a network that reads any style" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["instant", "train", "export"])
def test_help_reads_well(command, capsys):
    assert run([command, "--help"]) == 0
    said = capsys.readouterr().out
    assert f"Usage: impasto {command}" in said
    assert "--style" in said
