"""Labelled sets: folders and CSVs, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import draw_picture
from PIL import Image

from impasto.datasets.labelled_set import find_styles, read_labelled
from impasto.errors import MissingFileError, OptionError


def put(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw_picture(8, 8, seed)).save(path)


def test_folders_are_classes_at_any_depth(tmp_path):
    for name in ("cats/b.png", "cats/deep/er/a.jpg", "dogs/c.png", "loose.png", ".git/x/d.png"):
        put(tmp_path / name)
    (tmp_path / "cats" / "notes.txt").write_text("no picture")
    found = read_labelled(tmp_path)
    assert [(e.path, e.label) for e in found.entries] == [
        ("cats/b.png", "cats"),
        ("cats/deep/er/a.jpg", "cats"),
        ("dogs/c.png", "dogs"),
    ]
    assert found.notes == (
        "left out: 1 pictures in no class's folder",
        "left out: 1 files that are no pictures",
    )


def test_a_folder_without_classes_is_refused(tmp_path):
    put(tmp_path / "a.png")
    with pytest.raises(MissingFileError, match=r"class in '.*'; 1 lie in it"):
        read_labelled(tmp_path)


def test_a_csv_keeps_its_columns(tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text('\ufeffid,File,Class\n7,a/x.png,"cat, large"\n\n8,./b.png,dog\n', "utf-8")
    found = read_labelled(table)
    assert [(e.path, e.label) for e in found.entries] == [
        ("a/x.png", "cat, large"),
        ("b.png", "dog"),
    ]
    assert found.columns == ("id", "File", "Class")
    assert found.name_row(found.entries[0], "a/x-1.png") == ("7", "a/x-1.png", "cat, large")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,label\na.png,1\n", "no column named path, file or image; it has name, label"),
        ("path\na.png\n", "no column named label or class; it has path"),
        ("", "no column named path, file or image; it has none"),
        ("path,label\n", "names no pictures"),
        ("path,label\na.png\n", "row 2: 1 cells under 2 columns"),
        ("path,label\n../a.png,1\n", r"row 2: '\.\./a.png' is not in the CSV's own folder"),
        ("path,label\na.png,1\n./a.png,2\n", "row 3: './a.png' is there twice"),
    ],
)
def test_what_is_wrong_with_a_csv_is_said(tmp_path, text, said):
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(OptionError, match=said):
        read_labelled(tmp_path / "l.csv")


def test_other_sources_are_refused(tmp_path):
    with pytest.raises(MissingFileError, match="no such folder or CSV"):
        read_labelled(tmp_path / "none")
    put(tmp_path / "a.png")
    with pytest.raises(OptionError, match=r"'a.png' is no folder and no .csv"):
        read_labelled(tmp_path / "a.png")


def test_the_digest_tells_lists_apart(tmp_path):
    put(tmp_path / "one/cats/b.png")
    digest = read_labelled(tmp_path / "one").digest()
    assert digest == read_labelled(tmp_path / "one").digest()
    put(tmp_path / "one/cats/c.png")
    assert digest != read_labelled(tmp_path / "one").digest()


def test_styles_are_a_folder_a_pattern_or_files(tmp_path):
    for name in ("a.png", "b.png", "c.jpg"):
        put(tmp_path / name)
    (tmp_path / "d.txt").write_text("")
    assert [p.name for p in find_styles(tmp_path)] == ["a.png", "b.png", "c.jpg"]
    assert [p.name for p in find_styles(str(tmp_path / "*.png"))] == ["a.png", "b.png"]
    assert find_styles([tmp_path / "c.jpg", "x.png"]) == [tmp_path / "c.jpg", Path("x.png")]
    with pytest.raises(MissingFileError, match="no pictures in"):
        find_styles(str(tmp_path / "*.webp"))
