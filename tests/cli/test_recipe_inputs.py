"""Recipes from anywhere: painted again by names, of the same pictures, and never a traceback."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from conftest import draw_picture
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from impasto.cli.app import run
from impasto.images.opening import read_recipe

QUICK = ["--start-size", "64", "--steps", "2", "--precision", "float32"]


def write_painting(path: Path, text: str) -> Path:
    """A picture that carries this as its recipe."""
    info = PngInfo()
    info.add_itxt("impasto", text)
    Image.fromarray(draw_picture(20, 20)).save(path, pnginfo=info)
    return path


def say_error(capsys, *words: object) -> str:
    """What a command that must fail says, in one line."""
    capsys.readouterr()
    assert run([str(word) for word in words]) == 2
    said, error = capsys.readouterr()
    assert error.startswith("impasto: ")
    assert error.count("\n") == 1
    assert len(error) < 2100
    assert error[:-1].isprintable()
    assert not said
    return error


@pytest.fixture
def painting(photo, picture, tmp_path, monkeypatch) -> Path:
    """A painting of pictures that lie in another folder."""
    folder = tmp_path / "demo"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    photo.rename(folder / "a cat.png")
    picture.rename(folder / "glass.png")
    inputs = ["demo/a cat.png", "--style", "demo/glass.png"]
    assert run(["paint", *inputs, "-o", "out.png", "-q", *QUICK]) == 0
    return Path("out.png")


def test_pictures_that_lie_elsewhere_are_named_with_the_command_that_works(painting, capsys):
    error = say_error(capsys, "paint", "--recipe", painting, "-o", "again.png")
    assert error == (
        "impasto: the recipe was made with 'a cat.png', which is neither here nor beside it; put "
        "it there, or name it: impasto paint 'PATH/a cat.png' --style PATH/glass.png "
        "--recipe out.png\n"
    )
    words = ["paint", "demo/a cat.png", "--style", "demo/glass.png", "--recipe", "out.png"]
    assert run([*words, "-o", "again.png", "-q"]) == 0
    assert capsys.readouterr() == ("", "")
    assert Path("again.png").read_bytes() == painting.read_bytes()


def test_another_picture_of_the_same_name_is_not_painted_silently(painting, capsys):
    recipe = json.loads(read_recipe(painting))
    assert len(recipe["digests"]["content"]) == len(recipe["digests"]["style"][0]) == 16
    for name in ("a cat.png", "glass.png"):
        Path("demo", name).rename(name)
    Image.fromarray(draw_picture(60, 60, 9)).save("a cat.png")
    error = say_error(capsys, "paint", "--recipe", painting, "-o", "again.png")
    assert error.startswith(
        "impasto: 'a cat.png' is not the picture that 'out.png' was made from: its contents "
        "differ; to paint it all the same, name it: impasto paint "
    )
    assert not Path("again.png").exists()
    words = ["a cat.png", "--recipe", "out.png", "-o", "again.png", *QUICK]
    assert run(["paint", *words]) == 0
    assert capsys.readouterr().err.startswith(
        "note: 'a cat.png' is not the picture that 'out.png' was made from: its contents differ\n"
    )


def test_textures_and_instant_paintings_know_their_pictures_too(
    photo, picture, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    flags = ["--size", "64", "--steps", "1", "--start-size", "64"]
    assert run(["texture", picture.name, "-o", "t.png", "-q", *flags]) == 0
    assert run(["instant", photo.name, "-s", picture.name, "-o", "i.png", "-q"]) == 0
    for name in ("t.png", "i.png"):
        assert run([read_maker(name), "--recipe", name, "-o", f"again {name}", "-q"]) == 0
        assert Path(f"again {name}").read_bytes() == Path(name).read_bytes()
    Image.fromarray(draw_picture(40, 40, 9)).save(picture.name)
    for name in ("t.png", "i.png"):
        error = say_error(capsys, read_maker(name), "--recipe", name, "-o", "other.png")
        assert "its contents differ" in error


def read_maker(name: str) -> str:
    return str(json.loads(read_recipe(name))["operation"])


# --- forged -------------------------------------------------------------------------------------


FORGED = {
    "deep list": ('{"options": {"mask": ' + "[" * 50_000 + "]" * 50_000 + "}}", "nested deeper"),
    "deep toml": ("mask = " + "[" * 3000 + "]" * 3000, "nested deeper than 8 levels"),
    "many dots": (".".join(["a"] * 8_000) + " = 1", "nested deeper than 8 levels"),
    "long": ('{"options": {"mask": "' + "x" * 2**20 + '"}}', "is longer than 1048576 characters"),
    "long toml": ("#" * 20_000, "is longer than 16384 characters"),
    "digits": ('{"options": {"seed": ' + "9" * 5000 + "}}", "cannot be read: exceeds"),
    "more digits": ('{"options": {"seed": ' + "9" * 4000 + "}}", "seed: "),
    "float digits": ('{"options": {"style_weight": ' + "9" * 4000 + "}}", "style_weight: "),
    "infinite": ('{"options": {"style_weight": 1e999}}', "style_weight: inf is wrong"),
    "value": ('{"options": {"precision": "' + "x" * 100_000 + '"}}', "precision: 'xxx"),
    "name": ('{"options": {"' + "x" * 100_000 + '": 1}}', "unknown option 'xxx"),
    "surrogates": (
        '{"content": "\\udcff", "style": "x", "options": {"steps": "\\ud800"}}',
        "steps",
    ),
    "operation": ('{"operation": "paimt", "options": {}}', "unknown operation 'paimt'; did you"),
    "no text": ('{"operation": ["paint"], "options": {}}', "operation is no text"),
    "table": ('{"content": {"a": 1}, "style": "x", "options": {}}', "content is neither a name"),
    "numbers": ('{"content": "x", "style": [3], "options": {}}', "style is neither a name nor"),
    "digests": ('{"content": "x", "digests": 7, "options": {}}', "digests is no table"),
    "digest": ('{"content": "x", "digests": {"style": 7}, "options": {}}', "style is neither"),
    "options": ('{"options": "paint"}', "has no options"),
    "list": ('{"options": []}', "has no options"),
    "half": ('{"options": {', "cannot be read"),
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_recipes_are_one_line(name, photo, picture, tmp_path, capsys):
    text, expected = FORGED[name]
    forged = write_painting(tmp_path / "forged.png", text)
    assert expected.lower() in say_error(capsys, "recipe", forged).lower()
    output = tmp_path / "x.png"
    words = ["paint", photo, "-s", picture, "--recipe"]
    say_error(capsys, *words, forged, "-o", output)
    say_error(capsys, "paint", "--recipe", forged, "-o", output)
    file = tmp_path / ("forged.json" if text[0] == "{" else "forged.toml")
    file.write_text(text)
    if name not in ("operation", "no text", "table", "numbers", "digests", "digest", "surrogates"):
        assert expected.lower() in say_error(capsys, "recipe", file).lower()
    assert not output.exists()


def test_what_a_terminal_would_obey_is_escaped(tmp_path, capsys):
    names = {"content": "\x1b[2J\ncat\u202egnp.png", "style": ["\x9b31m\udcff\x07.png"]}
    options = {"mask": "\x7f\u2066mask.png", "steps": 3}
    text = json.dumps(
        {"impasto": "\x1b]0;evil\x07", "operation": "paint"} | names | {"options": options}
    )
    forged = write_painting(tmp_path / "forged.png", text)
    assert run(["recipe", str(forged)]) == 0
    said = capsys.readouterr().out
    assert said == (
        "# impasto \\u001b]0;evil\\u0007, paint: \\u001b[2J\\u000acat\\u202egnp.png after "
        "\\u009b31m\\udcff\\u0007.png\n"
        "steps = 3\n"
        'mask = "\\u007f\\u2066mask.png"\n'
    )
    assert all(line.isprintable() for line in said.splitlines())
    say_error(capsys, "paint", "--recipe", forged, "-o", tmp_path / "x.png")
    say_error(capsys, "paint", tmp_path / "\x1b[2J\n.png", "-s", forged, "-o", tmp_path / "x.png")
    say_error(capsys, "paint", forged, "-s", forged, "--steps", "\x1b[2J", "-o", "x.png")


# --- links in a circle ----------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="Windows makes links for few")
@pytest.mark.parametrize(
    "words",
    [
        ["paint", "LOOP", "-s", "PICTURE", "-o", "x.png"],
        ["paint", "PICTURE", "-s", "LOOP", "-o", "x.png"],
        ["paint", "PICTURE", "PICTURE", "-s", "LOOP", "-o", "folder"],
        ["paint", "PICTURE", "-s", "PICTURE", "-o", "LOOP"],
        ["paint", "PICTURE", "-s", "PICTURE", "-o", "x.png", "--history", "LOOP"],
        ["paint", "PICTURE", "-s", "PICTURE", "-o", "x.png", "--mask", "LOOP"],
        ["paint", "PICTURE", "-s", "PICTURE", "-o", "x.png", "--checkpoint", "LOOP"],
        ["paint", "--recipe", "LOOP", "-o", "x.png"],
        ["recipe", "LOOP"],
        ["instant", "LOOP", "-s", "PICTURE", "-o", "x.png"],
        ["instant", "PICTURE", "-s", "LOOP", "-o", "x.png"],
        ["texture", "LOOP", "-o", "x.png"],
        ["dream", "LOOP", "--layer", "relu4_2", "-o", "x.png"],
        ["invert", "LOOP", "-o", "x.png"],
        ["train", "-s", "LOOP", "--photos", ".", "-o", "x.safetensors"],
        ["train", "-s", "PICTURE", "--photos", ".", "-o", "LOOP"],
        ["weights", "import", "LOOP"],
    ],
    ids=" ".join,
)
def test_links_in_a_circle_are_one_line(words, picture, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for link in (Path("loop.png"), Path("loop.safetensors")):
        link.symlink_to(link)
    loop = "loop.safetensors" if words[0] == "train" and words[-1] == "LOOP" else "loop.png"
    say_error(capsys, *({"LOOP": loop, "PICTURE": picture.name}.get(word, word) for word in words))


# --- devices ------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="Windows has no /dev/null")
@pytest.mark.parametrize("flag", ["--history", "--checkpoint"])
def test_devices_stay_devices(flag, photo, picture, tmp_path, capsys):
    output = tmp_path / "x.png"
    error = say_error(capsys, "paint", photo, "-s", picture, "-o", output, flag, os.devnull)
    assert "'/dev/null': it is a device or a pipe, and no file" in error
    assert not Path(os.devnull).is_file()
    assert not output.exists()


def test_an_unknown_weight_file_is_told_before_there_is_a_bar(capsys):
    assert say_error(capsys, "weights", "fetch", "nope").startswith("impasto: unknown weights")
