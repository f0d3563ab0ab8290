"""Measurements that are kept: their keys, their folder, and what happens when it fails."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from conftest import draw_picture, random_tensors
from safetensors.torch import save_file
from torch import Tensor

import impasto
from impasto.networks.weights import import_weights
from impasto.painting.options import PaintOptions
from impasto.painting.painter import Painter
from impasto.painting.style_cache import Targets

pytestmark = pytest.mark.arithmetic


def measure(seed: int = 0) -> list[tuple[Tensor, ...]]:
    """Two losses' statistics, of every shape and kind there is."""
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(4, 4, generator=generator)
    return [
        (torch.randn(4, generator=generator), matrix),
        (
            torch.tensor(0.1 + seed, dtype=torch.float64),
            matrix.T,
            torch.randn(2, 3, 5, generator=generator, dtype=torch.float64)[:, 1:, ::2],
            torch.tensor([float("inf"), float("nan"), -0.0]),
            torch.randn(6, generator=generator).to(torch.bfloat16),
            torch.zeros(0, 3),
        ),
    ]


def same_bytes(one: Tensor, other: Tensor) -> bool:
    views = [t.contiguous().flatten().view(torch.uint8) for t in (one, other)]
    return one.shape == other.shape and one.dtype == other.dtype and torch.equal(*views)


def assert_same(measured: list[tuple[Tensor, ...]] | None, expected: list) -> None:
    assert measured is not None
    assert [len(each) for each in measured] == [len(each) for each in expected]
    for each, known in zip(measured, expected, strict=True):
        assert isinstance(each, tuple)
        assert all(same_bytes(a, b) for a, b in zip(each, known, strict=True))


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- in memory ----------------------------------------------------------------------------------


def test_what_was_put_is_got():
    targets, expected = Targets(), measure()
    assert targets.get("a") is None
    targets.put("a", expected)
    assert targets.get("a") is expected
    assert targets.get("b") is None


def test_the_oldest_go_first():
    targets = Targets(most=3)
    for name in "abcde":
        targets.put(name, measure())
    assert [name for name in "abcde" if targets.get(name)] == ["c", "d", "e"]
    # 100 floats are 400 bytes: two have room.
    targets = Targets(most_bytes=1000)
    for name in "abcd":
        targets.put(name, [(torch.zeros(60),), (torch.zeros(40),)])
    assert [name for name in "abcd" if targets.get(name)] == ["c", "d"]


def test_one_that_is_too_large_is_kept_alone():
    targets = Targets(most_bytes=100)
    targets.put("small", [(torch.zeros(5),)])
    targets.put("large", [(torch.zeros(500),)])
    assert targets.get("small") is None
    assert targets.get("large") is not None


# --- in a folder --------------------------------------------------------------------------------


def test_others_get_what_was_put_bit_for_bit(tmp_path):
    folder = tmp_path / "not" / "there yet"
    Targets(folder).put("a", measure(1))
    Targets(str(folder)).put("b", measure(2))
    other = Targets(folder)
    assert_same(other.get("a"), measure(1))
    assert_same(other.get("b"), measure(2))
    assert other.get("c") is None
    assert files_in(folder) == ["a.safetensors", "b.safetensors"]


def test_statistics_keep_their_order(tmp_path):
    """Ten and more: as names "10" would come before "2"."""
    expected = [tuple(torch.tensor([i, j]) for j in range(12)) for i in range(11)]
    Targets(tmp_path).put("a", expected)
    assert_same(Targets(tmp_path).get("a"), expected)


def test_statistics_may_share_their_memory(tmp_path):
    both, rows = torch.arange(4.0), torch.arange(6.0).view(2, 3)
    expected = [(both, both), (rows[0], rows[1], rows)]
    Targets(tmp_path).put("a", expected)
    assert_same(Targets(tmp_path).get("a"), expected)


def test_what_was_got_is_not_the_file(tmp_path):
    """Nor is it lost with the file, or changed by another that takes its place."""
    Targets(tmp_path).put("a", measure(1))
    targets = Targets(tmp_path)
    targets.get("a")
    Targets(tmp_path).put("a", measure(2))
    assert_same(targets.get("a"), measure(1))
    (tmp_path / "a.safetensors").unlink()
    assert_same(targets.get("a"), measure(1))


def test_nothing_is_written_without_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    targets = Targets()
    targets.put("a", measure())
    assert targets.get("a")
    assert Targets().get("a") is None
    assert files_in(tmp_path) == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: b"",
        lambda whole: whole[:7],
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole[:-1],
        lambda whole: whole + b"more",
        lambda whole: b"\xff" * 8 + whole[8:],
        lambda whole: whole.replace(b'"0.0"', b'"x.0"'),
        lambda whole: whole.replace(b'"0.0"', b'"000"'),
        lambda _: b"not at all what it should be",
    ],
)
def test_a_damaged_file_is_done_without_and_replaced(tmp_path, spoil):
    Targets(tmp_path).put("a", measure())
    path = tmp_path / "a.safetensors"
    whole = path.read_bytes()
    assert spoil(whole) != whole
    path.write_bytes(spoil(whole))
    targets = Targets(tmp_path)
    assert targets.get("a") is None
    targets.put("a", measure())
    assert path.read_bytes() == whole


def test_a_folder_where_a_file_should_be_is_done_without(tmp_path):
    (tmp_path / "a.safetensors").mkdir()
    targets = Targets(tmp_path)
    assert targets.get("a") is None
    targets.put("a", measure())
    assert_same(targets.get("a"), measure())
    assert files_in(tmp_path) == ["a.safetensors"]


def test_a_folder_that_cannot_be_is_done_without(tmp_path):
    file = tmp_path / "a file"
    file.write_bytes(b"keep me")
    for folder in (file, file / "beneath"):
        targets = Targets(folder)
        assert targets.get("a") is None
        targets.put("a", measure())
        assert_same(targets.get("a"), measure())
    assert file.read_bytes() == b"keep me"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may do anything")
def test_a_folder_without_permissions_is_done_without(tmp_path):
    Targets(tmp_path).put("a", measure())
    for mode in (0o500, 0o000):
        tmp_path.chmod(mode)
        try:
            targets = Targets(tmp_path)
            targets.get("a")
            targets.put("b", measure(1))
            assert_same(targets.get("b"), measure(1))
        finally:
            tmp_path.chmod(0o700)
        assert files_in(tmp_path) == ["a.safetensors"]


def test_a_full_disk_is_done_without(tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    targets = Targets(tmp_path)
    targets.put("a", measure())
    assert_same(targets.get("a"), measure())
    assert files_in(tmp_path) == []


def put_dated(targets: Targets, names: str) -> None:
    """Each a second after the one before, long ago."""
    assert targets.folder is not None
    for i, name in enumerate(names):
        targets.put(name, [(torch.full((250,), float(i)),)])  # 1000 bytes and a header
        path = targets.folder / f"{name}.safetensors"
        os.utime(path, (1e9 + i, 1e9 + i))


def test_a_folder_is_bounded_and_what_was_not_used_goes_first(tmp_path):
    put_dated(Targets(tmp_path), "abcd")
    largest = 4 * (tmp_path / "a.safetensors").stat().st_size
    bounded = Targets(tmp_path, most_bytes=largest)
    assert bounded.get("b")  # used just now: the oldest are a, c and d
    bounded.put("e", [(torch.zeros(250),)])
    assert files_in(tmp_path) == [f"{name}.safetensors" for name in "bcde"]
    os.utime(tmp_path / "e.safetensors", (1e9 + 9, 1e9 + 9))
    bounded.put("f", [(torch.zeros(500),)])  # takes the place of two
    assert files_in(tmp_path) == [f"{name}.safetensors" for name in "bef"]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= largest


def test_one_file_that_is_too_large_is_kept_alone(tmp_path):
    put_dated(Targets(tmp_path), "ab")
    Targets(tmp_path, most_bytes=10).put("c", measure())
    assert files_in(tmp_path) == ["c.safetensors"]
    assert_same(Targets(tmp_path).get("c"), measure())


def test_files_of_others_are_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_bytes(b"x" * 5000)
    put_dated(Targets(tmp_path, most_bytes=1500), "abc")
    assert files_in(tmp_path) == ["c.safetensors", "notes.txt"]


# --- of styles ----------------------------------------------------------------------------------


def paint_with(targets: Targets | None, style=None, **values) -> impasto.Painting:
    style = draw_picture(40, 32, 2) if style is None else style
    base = {"steps": 2, "start_size": 48, "precision": "float32", "layout": "planes"}
    base |= {"style_layer": ["relu1_1", "relu2_1"], "content_layer": ["relu2_1"]}
    options = PaintOptions.read({**base, **values})
    painter = Painter(draw_picture(48, 40, 1), style, options, targets=targets)
    list(painter.steps())
    return painter.result()


@pytest.mark.parametrize(
    "loss",
    [["gram"], ["chained"], ["moments"], ["gaussian"], ["sliced", "emd"], ["histogram", "gram"]],
    ids=" ".join,
)
def test_a_style_that_was_measured_before_paints_the_same_bytes(tmp_path, loss):
    expected = paint_with(None, style_loss=loss)
    paint_with(Targets(tmp_path), style_loss=loss)
    assert len(files_in(tmp_path)) == 1
    before = (tmp_path / files_in(tmp_path)[0]).read_bytes()
    again = paint_with(Targets(tmp_path), style_loss=loss)
    assert torch.equal(again.pixels, expected.pixels)
    assert len(files_in(tmp_path)) == 1
    assert (tmp_path / files_in(tmp_path)[0]).read_bytes() == before


def test_what_a_measurement_depends_on_is_measured_again(tmp_path):
    paint_with(Targets(tmp_path))
    changes = [
        {"style": draw_picture(40, 32, 3)},
        {"style_loss": ["gram"]},
        {"style_layer": ["relu1_1"]},
        {"pooling": "avg"},
        {"activation_shift": -1.0},
        {"style_scale": [0.5]},
        {"layout": "channels_last"},
    ]
    for count, values in enumerate(changes, 2):
        paint_with(Targets(tmp_path), **values)
        assert len(files_in(tmp_path)) == count, values
    for values in ({"style_weight": 2.0}, {"content_weight": 3.0}, {"optimizer": "adam"}):
        paint_with(Targets(tmp_path), **values)  # it does not depend on these
    assert len(files_in(tmp_path)) == 1 + len(changes)


def test_other_weights_of_the_same_name_are_another_network(tmp_path):
    """Weights of one's own may be imported anew, and a folder outlives them."""
    folder = tmp_path / "targets"
    values = {"weights": "compact-custom", "style_layer": ["relu1_1"], "content_layer": ["relu1_1"]}
    for seed in (0, 1):
        save_file(random_tensors("compact", seed), tmp_path / "own.safetensors")
        import_weights(tmp_path / "own.safetensors", name="compact-custom")
        painting = paint_with(Targets(folder), **values)
        assert torch.equal(painting.pixels, paint_with(None, **values).pixels)
    assert len(files_in(folder)) == 2
