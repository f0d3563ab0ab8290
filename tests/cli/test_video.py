"""The commands of films, run as a user runs them."""

from __future__ import annotations

import av
import numpy as np
import pytest
from film_clips import draw_pan, read_clip, write_clip

from impasto.cli.app import run


def animate(*arguments: object) -> int:
    return run(["animate", *map(str, arguments), "--precision", "float32"])


@pytest.fixture
def film(tmp_path):
    return write_clip(tmp_path / "a film.mp4", draw_pan(8), sound="aac")


def test_a_film_is_painted(film, picture, tmp_path, capsys):
    output = tmp_path / "out put.mp4"
    assert animate(film, "--style", picture, "-o", output, "--measure") == 0
    assert len(read_clip(output)[0]) == 8
    said = capsys.readouterr()
    assert said.out == ""
    assert "painting 8 frames of 64 x 48, 25 a second, with any on " in said.err
    assert f"painted {output} (8 frames of 64 x 48) in " in said.err
    assert "warping error over 1 frame: " in said.err
    assert "style gain x " in said.err


def test_a_film_is_painted_again_from_its_recipe(film, picture, tmp_path, capsys):
    one, two = tmp_path / "one.mp4", tmp_path / "two.mp4"
    assert animate(film, "--style", picture, "-o", one, "--preview", 0.2, "--renew", 9) == 0
    assert animate("--recipe", one, "-o", two) == 0
    assert one.read_bytes() == two.read_bytes()
    assert run(["recipe", str(one)]) == 0
    said = capsys.readouterr().out
    assert "animate: a film.mp4 after a picture.png" in said
    assert "renew = 9" in said
    film.unlink()
    assert animate("--recipe", one, "-o", two) == 2
    assert "'a film.mp4', which is neither here nor beside it" in capsys.readouterr().err


def test_no_metadata_is_none(film, picture, tmp_path):
    output = tmp_path / "out.mkv"
    assert animate(film, "--style", picture, "-o", output, "--no-metadata", "--preview", 0.1) == 0
    with av.open(str(output)) as container:
        assert "impasto" not in str(container.metadata)


def test_styles_at_seconds(film, picture, photo, tmp_path, capsys):
    output = tmp_path / "out.mp4"
    styles = ["--style-at", f"0.2:{photo}", "--style-at", f"0:{picture}"]
    assert animate(film, *styles, "-o", output) == 0
    frames = [frame.astype(int) for frame in read_clip(output)[0]]
    assert len(frames) == 8
    assert np.abs(frames[4] - frames[5]).mean() > np.abs(frames[3] - frames[4]).mean()
    assert animate(film, "--style-at", picture, "-o", output) == 2
    assert "give SECOND:PICTURE, as in 5:b.jpg" in capsys.readouterr().err
    assert animate(film, *styles, "--style", picture, "-o", output) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "animate needs a film"),
        (["FILM"], "animate needs a picture: --style PICTURE"),
        (["FILM", "--style", "PICTURE", "-o", "FILM"], "would be written over"),
        (["none.mp4", "--style", "PICTURE"], "there is no film 'none.mp4'"),
        (["PICTURE", "--style", "PICTURE"], "say how long it is to be shown"),
        (["FILM", "--style", "PICTURE", "-o", "out.avi"], "cannot write a film 'out.avi'"),
        (["FILM", "--style", "PICTURE", "--every", "0"], "every"),
        (["FILM", "--like", "PICTURE"], "--like and --lut go with --with relight"),
        (["FILM", "--with", "relight"], "--like PICTURE, or --lut TABLE"),
        (["FILM", "--with", "relight", "--style", "PICTURE"], "give --like PICTURE, or --lut"),
        (["FILM", "--with", "relight", "--like", "PICTURE", "--lut", "a.cube"], "give one of them"),
    ],
)
def test_mistakes_are_one_line(film, picture, arguments, message, capsys):
    names = {"FILM": str(film), "PICTURE": str(picture)}
    assert animate(*(names.get(each, each) for each in arguments)) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_a_film_is_relit_and_relit_again(film, picture, tmp_path, capsys):
    one, two = tmp_path / "one.mp4", tmp_path / "two.mp4"
    arguments = ["--with", "relight", "--like", picture, "--setting", "regions=2"]
    assert animate(film, *arguments, "--preview", 0.2, "-o", one) == 0
    said = capsys.readouterr().err
    assert "relighting 8 frames of 64 x 48, 25 a second, with maps of colours for 2 reg" in said
    assert f"relit {one} (5 frames of 64 x 48) in " in said
    assert animate("--recipe", one, "-o", two) == 0
    assert one.read_bytes() == two.read_bytes()
    capsys.readouterr()
    assert run(["recipe", str(one)]) == 0
    assert "animate: a film.mp4 after a picture.png" in capsys.readouterr().out


def test_a_film_takes_a_table_and_takes_it_again(film, picture, tmp_path, capsys):
    table, one, two = tmp_path / "a look.cube", tmp_path / "one.mp4", tmp_path / "two.mp4"
    relit = ["relight", str(picture), "--like", str(picture), "-o", str(tmp_path / "a.png")]
    assert run([*relit, "--lut", str(table)]) == 0
    arguments = ["--with", "relight", "--preview", 0.1]
    assert animate(film, *arguments, "--lut", table, "-o", one) == 0
    assert animate("--recipe", one, "-o", two) == 0
    assert one.read_bytes() == two.read_bytes()
    table.write_text("something else")
    capsys.readouterr()
    assert animate("--recipe", one, "-o", two) == 2
    assert "is not the picture that" in capsys.readouterr().err
