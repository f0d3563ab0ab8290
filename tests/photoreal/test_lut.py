"""Tables of colour: the file's order, what lies between nodes, and the best table."""

from __future__ import annotations

import pytest
import torch
from conftest import draw_picture

from impasto.errors import ImageError, MissingFileError
from impasto.images.reading import read_image
from impasto.photoreal.lut import ColorTable, fit_table, read_lut, tabulate, write_lut

SMALL = """# made by hand
TITLE "a # b"
LUT_3D_SIZE 2
LUT_IN_VIDEO_RANGE
0 0 0
1 0 0
0 1 0
1 1 0
0 0 1
1 0 1
0 1 1
0.5 0.5 0.5
"""


def color(*levels: float) -> torch.Tensor:
    return torch.tensor(levels, dtype=torch.float32).view(1, 3, 1, 1)


def look_up(table: ColorTable, *levels: float) -> list[float]:
    return table(color(*levels)).flatten().tolist()


def test_red_runs_fastest_and_colours_between_are_linear(tmp_path):
    path = tmp_path / "by hand.cube"
    path.write_text(SMALL)
    table = read_lut(path)
    assert look_up(table, 1, 0, 0) == [1, 0, 0]
    assert look_up(table, 0, 1, 1) == [0, 1, 1]
    assert look_up(table, 0.25, 0.5, 0) == pytest.approx([0.25, 0.5, 0])
    # White is half as bright: at 3/4 of each axis it has a share of 27/64.
    assert look_up(table, 0.75, 0.75, 0.75) == pytest.approx([0.75 - 27 / 128] * 3)


def test_a_domain_is_kept_to(tmp_path):
    path = tmp_path / "x.cube"
    path.write_text(
        SMALL.replace("0 0 0\n", "DOMAIN_MIN 0.5 0.5 0.5\nDOMAIN_MAX 2 2 2\n0 0 0\n", 1)
    )
    assert look_up(read_lut(path), 0.2, 0.5, 0.875) == pytest.approx([0, 0, 0.25])


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "LUT_3D_SIZE is to be a whole number from 2 to 129"),
        ("LUT_3D_SIZE two", "LUT_3D_SIZE is to be a whole number"),
        ("LUT_3D_SIZE 999999", "LUT_3D_SIZE is to be a whole number"),
        ("LUT_1D_SIZE 4\n0 0 0", "it has one dimension, and tables of three are read"),
        ("LUT_3D_SIZE 2\n0 0 0", "1 colours, and LUT_3D_SIZE 2 needs 8"),
        (SMALL.replace("1 1 0", "1 1"), "a line is not three numbers"),
        (SMALL.replace("1 1 0", "1 1 x"), "a line is not three numbers"),
        (SMALL.replace("1 1 0", "1 1 nan"), "its numbers are not finite"),
        ("DOMAIN_MIN 1 2\n" + SMALL, "DOMAIN_MIN and DOMAIN_MAX are three numbers, not '1 2'"),
        ("DOMAIN_MIN 1 1 1\n" + SMALL, "DOMAIN_MIN is not below DOMAIN_MAX"),
    ],
)
def test_what_is_no_table_is_told(tmp_path, text, what):
    path = tmp_path / "x.cube"
    path.write_text(text)
    with pytest.raises(ImageError, match=r"'x.cube' is no table of colours: .*" + what):
        read_lut(path)


def test_a_missing_table_and_a_wrong_name_are_told(tmp_path):
    with pytest.raises(MissingFileError, match="no such file"):
        read_lut(tmp_path / "x.cube")
    with pytest.raises(ImageError, match=r"\.cube"):
        write_lut(tmp_path / "x.lut", tabulate(lambda pixels: pixels), "x")


def test_a_table_is_read_as_it_was_written(tmp_path):
    table = tabulate(lambda pixels: pixels.flip(1) ** 2)
    write_lut(tmp_path / "x.cube", table, 'a "name"\n')
    again = read_lut(tmp_path / "x.cube")
    assert torch.allclose(again.nodes, table.nodes, atol=1e-6)
    assert (tmp_path / "x.cube").read_text().startswith('TITLE "a _name__"\nLUT_3D_SIZE 33\n0.0')


def test_the_best_table_for_one_map_is_that_map():
    before = read_image(draw_picture(50, 40, 3)).pixels
    after = 0.8 * before.lerp(before.flip(1), 0.2) + 0.1
    table = fit_table(before, after, tabulate(lambda pixels: pixels))
    assert float((table(before) - after).abs().max()) < 0.02
    assert float((table(before) - after).abs().mean()) < 0.002


def test_the_best_table_for_two_maps_lies_between():
    before = torch.full((1, 3, 2, 4), 0.5)
    after = before.clone()
    after[..., :1] = 0.9  # a quarter of the same colour
    table = fit_table(before, after, tabulate(lambda pixels: pixels))
    assert look_up(table, 0.5, 0.5, 0.5) == pytest.approx([0.6] * 3, abs=0.005)
