"""Photographs are found and whole; samples are written whole or not at all."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from impasto.errors import DependencyError, OptionError
from impasto.samples import photographs as samples
from impasto.samples.style_pictures import STYLE_PICTURES, open_style


def test_unknown_names_are_answered_with_a_near_one():
    with pytest.raises(OptionError, match=r"unknown photograph 'cofee'; did you mean 'coffee'\?"):
        samples.find_photograph("cofee")


@pytest.mark.parametrize("name", samples.PHOTOGRAPHS)
def test_photographs_are_found_and_opened(name):
    pytest.importorskip("skimage")
    path = samples.find_photograph(name)
    assert path.name == samples.PHOTOGRAPHS[name].file
    with Image.open(path) as picture:
        picture.load()
        assert picture.mode == "RGB"
        assert min(picture.size) >= 300
    assert samples.PHOTOGRAPHS[name].credit
    assert samples.PHOTOGRAPHS[name].licence in {"CC0", "public domain"}


def test_photographs_are_found_without_importing_skimage():
    pytest.importorskip("skimage")
    code = (
        "import sys; from impasto.samples.photographs import find_photograph; "
        "find_photograph('cat'); "
        "assert not {'skimage', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_skimage_the_install_line_is_told(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(DependencyError, match=r"pip install 'impasto\[samples\]'"):
        samples.find_photograph("cat")


def test_write_samples_writes_whole_files_over_old_ones(tmp_path: Path):
    pytest.importorskip("skimage")
    folder = tmp_path / "a folder" / "with spaces"
    folder.mkdir(parents=True)
    (folder / "waves.png").write_text("an old file")
    written = samples.write_samples(folder, size=32)
    names = ["astronaut.png", "cat.png", "coffee.png", "rocket.jpg"]
    names += [f"{name}.png" for name in STYLE_PICTURES]
    assert [path.name for path in written] == names
    assert sorted(folder.iterdir()) == sorted(written)  # and nothing half-written beside them
    for name in STYLE_PICTURES:
        with Image.open(folder / f"{name}.png") as picture:
            assert picture.tobytes() == open_style(name, 32).tobytes()


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    pytest.importorskip("skimage")
    old = tmp_path / "astronaut.png"
    old.write_bytes(b"old")

    def fail(_self: Path, _target: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(samples.Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        samples.write_samples(tmp_path, size=16)
    assert old.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [old]


def test_write_samples_of_a_bad_size_writes_nothing(tmp_path):
    pytest.importorskip("skimage")
    with pytest.raises(OptionError, match="not at 1024"):
        samples.write_samples(tmp_path / "new", size=1024)
    assert not (tmp_path / "new").exists()
