"""Random squares of photographs."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from conftest import draw_picture
from PIL import Image

from impasto.errors import ImageError, MissingFileError
from impasto.instant.training_photos import Crops, draw_all, list_photographs


def put(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    sizes = [(60, 40), (40, 60), (33, 100), (20, 15)]
    return [
        put(tmp_path / "photos" / f"{i}.png", draw_picture(*size, seed=i))
        for i, size in enumerate(sizes)
    ]


def cut_many(crops: Crops, count: int = 20, side: int = 32) -> list[torch.Tensor]:
    return [crops.cut(Random(i), side, side * 1.4) for i in range(count)]


def test_photographs_lie_at_any_depth_and_hidden_ones_are_none(tmp_path):
    folder = tmp_path / "photos"
    for name in ("b.png", "deep/er/a.JPG", "a.jpg", ".hidden/c.png", ".d.png"):
        put(folder / name, draw_picture(8, 8))
    (folder / "notes.txt").write_text("no picture")
    found = [path.relative_to(folder).as_posix() for path in list_photographs(folder)]
    assert found == ["a.jpg", "b.png", "deep/er/a.JPG"]
    assert list_photographs(["z.png", Path("a.png")]) == [Path("z.png"), Path("a.png")]


def test_where_there_are_none(tmp_path):
    with pytest.raises(MissingFileError, match=r"^no such folder: '.*gone' \(of photographs\)$"):
        list_photographs(tmp_path / "gone")
    with pytest.raises(MissingFileError, match=r"^no photographs in '.*'; put some there"):
        list_photographs(tmp_path)
    file = put(tmp_path / "one.png", draw_picture(8, 8))
    with pytest.raises(MissingFileError, match=r"photographs lie in a folder; '.*one\.png' is a"):
        list_photographs(file)
    with pytest.raises(MissingFileError, match=r"^no photographs in the list"):
        list_photographs([])


def test_a_square_of_a_picture_s_own_size_is_the_picture_or_its_mirror_image(tmp_path):
    values = draw_picture(48, 48)
    crops = Crops([put(tmp_path / "square.png", values)])
    whole = torch.from_numpy(values.astype(np.float32) / 255).permute(2, 0, 1)[None]
    turned = 0
    for seed in range(40):
        cut = crops.cut(Random(seed), 48, 48)
        if torch.equal(cut, whole):
            continue
        torch.testing.assert_close(cut, whole.flip(-1), atol=0, rtol=0)
        turned += 1
    assert 10 < turned < 30


def test_a_square_shows_its_share_of_the_picture(tmp_path):
    """Of a ramp with a short side of 100, resized to 50, a square of 25 is one half."""
    ramp = np.repeat(np.arange(100, dtype=np.uint8)[None, :, None], 100, 0).repeat(3, 2)
    crops = Crops([put(tmp_path / "ramp.png", ramp)])
    for seed in range(10):
        cut = crops.cut(Random(seed), 25, 50) * 255
        assert float(cut.max() - cut.min()) == pytest.approx(48, abs=2)


@pytest.mark.parametrize("size", [(5, 3), (1, 1), (1, 40)])
def test_what_is_smaller_is_enlarged(tmp_path, size):
    crops = Crops([put(tmp_path / "small.png", draw_picture(*size))])
    cut = crops.cut(Random(0), 64, 90)
    assert cut.shape == (1, 3, 64, 64)
    assert float(cut.min()) >= 0
    assert float(cut.max()) <= 1


def test_squares_follow_from_the_draw_alone(photos):
    crops = Crops(photos)
    first = cut_many(crops)
    again = reversed([crops.cut(Random(i), 32, 32 * 1.4) for i in reversed(range(20))])
    assert all(map(torch.equal, first, again))
    forgetful = Crops(photos, memory=0)
    assert all(map(torch.equal, first, cut_many(forgetful)))
    assert not forgetful.held


def test_memory_is_kept_to(photos):
    crops = Crops(photos, memory=3 * 60 * 40 + 10)
    cut_many(crops)
    assert sum(each.nbytes for each in crops.held.values()) <= 3 * 60 * 40 + 10
    assert len(crops.held) >= 1
    small = Crops(photos, longest=30)
    cut_many(small)
    assert sorted(each.shape[:2] for each in small.held.values()) == [
        (15, 20),
        (20, 30),
        (30, 10),
        (30, 20),
    ]


def test_a_bad_file_stops_nothing_and_is_told(photos, tmp_path):
    bad = tmp_path / "photos" / "bad.png"
    bad.write_bytes(photos[0].read_bytes()[:100])
    paths = [*photos, bad]
    crops = Crops(paths)
    assert crops.notes() == []
    first = cut_many(crops)
    assert crops.notes() == [
        "left out: 1 photograph that cannot be read; 'bad.png' is damaged or cut short"
    ]
    assert all(map(torch.equal, first, cut_many(crops)))
    assert len(list(crops.middles(16))) == 4


def test_where_all_are_bad_it_is_said_again_and_again(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    crops = Crops([tmp_path / "a.png"])
    for _ in range(2):
        with pytest.raises(ImageError, match=r"^none of the photographs, 1 in all, can be read:"):
            crops.cut(Random(0), 16, 16)


def test_what_is_transparent_is_the_mean_of_the_rest(tmp_path):
    """Left half red and seen, right half green and hidden: all is red."""
    values = np.zeros((20, 20, 4), dtype=np.uint8)
    values[:, :10] = (255, 0, 0, 255)
    values[:, 10:] = (0, 255, 0, 0)
    crops = Crops([put(tmp_path / "clear.png", values)])
    red = torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1).expand(-1, -1, 16, 16)
    assert torch.equal(crops.cut(Random(0), 16, 16), red)


def test_the_middle_of_each(tmp_path):
    wide = np.zeros((20, 60, 3), dtype=np.uint8)
    wide[:, 20:40] = 255
    crops = Crops([put(tmp_path / "wide.png", wide)])
    (middle,) = crops.middles(20)
    assert torch.equal(middle, torch.ones(1, 3, 20, 20))


@pytest.mark.parametrize("ahead", [False, True])
def test_batches_come_in_order(ahead):
    assert list(draw_all(lambda step: step**2, range(3, 7), ahead=ahead)) == [9, 16, 25, 36]
    assert list(draw_all(lambda step: step, range(0), ahead=ahead)) == []

    def fail(step: int) -> int:
        if step == 2:
            raise ImageError("a bad picture")
        return step

    with pytest.raises(ImageError, match="a bad picture"):
        list(draw_all(fail, range(5), ahead=ahead))
