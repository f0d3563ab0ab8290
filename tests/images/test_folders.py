"""Finding files of pictures: folders, patterns, hidden files and links in a circle."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from impasto.errors import MissingFileError
from impasto.images.folders import find_pictures, is_many, walk_files


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b.png", "a.JPG", ".hidden.png", "notes.txt", "in/c.webp", "in/deep/d.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "e.png").touch()
    return tmp_path


def test_a_folder_a_pattern_or_one_file(tree):
    assert [path.name for path in find_pictures(tree)] == ["a.JPG", "b.png"]
    assert [path.name for path in find_pictures(str(tree / "**" / "*.png"))] == ["b.png", "d.png"]
    assert find_pictures("nowhere.png") == [Path("nowhere.png")]
    assert is_many(tree)
    assert is_many(tree / "*.png")
    assert not is_many(tree / "b.png")
    for nothing in (tree / "in" / "*.png", tree / ".git" / "*.jpg"):
        with pytest.raises(MissingFileError, match=r"^no pictures in '.*'$"):
            find_pictures(nothing)


def test_all_files_below_a_folder_but_hidden_ones(tree):
    found = sorted(path.as_posix() for path in walk_files(tree))
    assert found == ["a.JPG", "b.png", "in/c.webp", "in/deep/d.png", "notes.txt"]
    assert list(walk_files(tree / "nowhere")) == []


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links_in_a_circle_are_left_out(tree):
    before = sorted(walk_files(tree))
    (tree / "self.png").symlink_to("self.png")
    (tree / "in" / "up").symlink_to(tree, target_is_directory=True)
    (tree / "in" / "deep" / "here").symlink_to(".", target_is_directory=True)
    assert sorted(walk_files(tree)) == before
    assert [path.name for path in find_pictures(tree)] == ["a.JPG", "b.png"]
    (tree / "again").symlink_to(tree / "in" / "deep", target_is_directory=True)
    assert Path("again/d.png") in set(walk_files(tree))  # which is no circle
    (tree / "gone.png").symlink_to("nowhere.png")
    assert Path("gone.png") in set(walk_files(tree))  # whoever opens it says what is wrong


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_two_links_to_each_other_s_folders_come_to_an_end(tmp_path):
    for one, other in (("x", "y"), ("y", "x")):
        (tmp_path / one).mkdir()
        (tmp_path / one / f"{one}.png").touch()
        (tmp_path / one / "to").symlink_to(tmp_path / other, target_is_directory=True)
    found = sorted(path.as_posix() for path in walk_files(tmp_path / "x"))
    assert found == ["to/y.png", "x.png"]
