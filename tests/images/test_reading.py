"""Pictures in and out: every mode by numbers worked by hand, every bad file by its message."""

from __future__ import annotations

import hashlib
import io
import math
import os
import struct
import threading
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import draw_picture
from PIL import Image, ImageCms, features

from impasto.errors import ImageError, MissingFileError, OptionError
from impasto.images.opening import read_recipe
from impasto.images.picture import Picture
from impasto.images.reading import is_same_picture, read_image
from impasto.images.resizing import fit_size, resize_pixels, resize_tileable
from impasto.images.writing import WRITABLE, check_writable, to_pil, write_image

RECIPE = '{"content": "Żółw.jpg", "mood": "絵 🎨", "steps": 200}'


def levels(picture: Picture) -> list[list[list[int]]]:
    """The 8-bit levels as nested lists [row][column][channel], exact or the test fails."""
    scaled = picture.pixels[0].permute(1, 2, 0) * 255
    assert torch.allclose(scaled, scaled.round(), atol=1e-3)
    return scaled.round().int().tolist()


def colours(seed: int, height: int = 6, width: int = 9) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (1, 3, height, width), generator=generator) / 255


def png_chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *more: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + b"".join(more)
        + png_chunk(b"IDAT", zlib.compress(rows))
        + png_chunk(b"IEND", b"")
    )


def s15(*numbers: float) -> bytes:
    return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)


SRGB_CURVE = b"para" + bytes(4) + struct.pack(">HH", 3, 0)
SRGB_CURVE += s15(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def icc_profile(space: bytes, name: str, tags: dict[bytes, bytes]) -> bytes:
    """A display profile: a header of 128 bytes, a table of tags, and the tags."""
    text = name.encode("ascii") + b"\0"
    desc = b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(4 + 4 + 2 + 1 + 67)
    tags = {b"desc": desc, b"wtpt": b"XYZ " + bytes(4) + s15(0.9642, 1, 0.8249), **tags}
    table, body = struct.pack(">I", len(tags)), b""
    for tag, content in tags.items():
        offset = 128 + 4 + 12 * len(tags) + len(body)
        table += tag + struct.pack(">II", offset, len(content))
        body += content + bytes(-len(content) % 4)
    header = struct.pack(">I4sI", 128 + len(table) + len(body), bytes(4), 0x02400000)
    header += b"mntr" + space + b"XYZ " + struct.pack(">6H", 2026, 1, 1, 0, 0, 0)
    header += b"acsp" + bytes(28) + s15(0.9642, 1, 0.8249)  # the illuminant of all profiles, D50
    return header.ljust(128, b"\0") + table + body


def display_p3() -> bytes:
    primaries = {
        b"rXYZ": (0.51512, 0.24120, -0.00105),
        b"gXYZ": (0.29198, 0.69225, 0.04189),
        b"bXYZ": (0.15710, 0.06657, 0.78407),
    }
    tags = {tag: b"XYZ " + bytes(4) + s15(*xyz) for tag, xyz in primaries.items()}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), SRGB_CURVE)
    return icc_profile(b"RGB ", "Display P3", tags)


# Sizes


@pytest.mark.parametrize(
    ("width", "height", "long_side", "expected"),
    [
        (1000, 20, 512, (512, 10)),  # 10.24
        (20, 1000, 512, (10, 512)),
        (1, 1, 512, (512, 512)),
        (1000, 1, 100, (100, 1)),  # 0.1, but at least 1
        (640, 480, 640, (640, 480)),
        (4, 3, 2, (2, 2)),  # 1.5 rounds up
        (4, 1, 2, (2, 1)),  # 0.5 too
        (300, 200, 1, (1, 1)),
    ],
)
def test_fit_size(width, height, long_side, expected):
    assert fit_size(width, height, long_side) == expected


def test_fit_size_refuses():
    with pytest.raises(OptionError, match=r"^the long side must be at least 1 pixel, not 0$"):
        fit_size(10, 10, 0)
    with pytest.raises(ImageError, match=r"^a picture of 0 x 10 has no pixels$"):
        fit_size(0, 10, 5)


@pytest.mark.parametrize(("width", "height"), [(3, 2), (40, 17), (1, 1)])
def test_resized_constant_is_constant(width, height):
    resized = resize_pixels(torch.full((1, 3, 8, 12), 0.3), width, height)
    assert resized.shape == (1, 3, height, width)
    torch.testing.assert_close(resized, torch.full_like(resized, 0.3))


def test_resize_to_the_same_size_is_the_same_tensor():
    pixels = colours(0)
    assert resize_pixels(pixels, 9, 6) is pixels


def test_resize_clamps_pictures_only():
    edge = torch.zeros(1, 3, 8, 8)
    edge[..., 4:] = 1
    resized = resize_pixels(edge, 24, 24)
    assert resized.min() == 0
    assert resized.max() == 1
    flow = resize_pixels(edge[:, :2], 24, 24)  # two channels are no picture
    assert flow.max() > 1


def test_resize_does_not_alias():
    stripes = (torch.arange(64) % 2).float().expand(1, 3, 64, 64)  # one pixel black, one white
    inner = resize_pixels(stripes, 16, 16)[..., 4:12]
    assert (inner - 0.5).abs().max() < 0.05


# --- resizing what copies of itself surround ----------------------------------------------------


def periodic(height: int, width: int) -> torch.Tensor:
    """A few whole waves, which fit side by side."""
    y = torch.arange(height)[:, None] / height
    x = torch.arange(width) / width
    waves = [torch.sin(2 * math.pi * (a * x + b * y) + a) for a, b in ((1, 0), (2, 1), (1, 3))]
    return 0.5 + 0.3 * torch.stack(waves)[None]


def test_a_tileable_picture_is_resized_as_a_mosaic_s_middle():
    pixels = colours(3, 24, 20)
    for width, height in ((40, 48), (10, 12), (30, 36), (40, 24), (60, 12), (5, 6), (4, 3)):
        mosaic = resize_pixels(pixels.repeat(1, 1, 9, 9), 9 * width, 9 * height)
        middle = mosaic[..., 4 * height : 5 * height, 4 * width : 5 * width]
        resized = resize_tileable(pixels, width, height)
        torch.testing.assert_close(resized, middle, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(12, 10), (1, 1), (2, 3), (31, 7)])
def test_rolled_and_resized_or_resized_and_rolled(size):
    pixels = colours(4, *size)
    twice = resize_tileable(pixels, 2 * size[1], 2 * size[0])
    assert twice.shape[2:] == (2 * size[0], 2 * size[1])
    for down, across in ((1, 0), (0, 1), (3, -2)):
        rolled = resize_tileable(torch.roll(pixels, (down, across), (2, 3)), *twice.shape[:1:-1])
        expected = torch.roll(twice, (2 * down, 2 * across), (2, 3))
        torch.testing.assert_close(rolled, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(249, 125), (250, 63), (126, 124), (40, 31), (16, 16)])
def test_no_seam_whatever_the_ratio(size):
    """Waves of 125 x 62 pixels are those of any size, at the edges as inside."""
    width, height = size
    resized = resize_tileable(periodic(62, 125), width, height)
    assert resized.shape == (1, 3, height, width)
    # Pixels are areas: the waves' phases move by half the difference of a pixel's width.
    plain = resize_pixels(periodic(62, 125).repeat(1, 1, 3, 3), 3 * width, 3 * height)
    middle = plain[..., height : 2 * height, width : 2 * width]
    torch.testing.assert_close(resized, middle, rtol=0, atol=2e-5)
    for dim in (2, 3):
        edge = (resized.select(dim, 0) - resized.select(dim, -1)).abs().amax()
        assert edge < 1.2 * resized.diff(dim=dim).abs().amax()


def test_a_tileable_picture_at_its_size_is_the_same_tensor():
    pixels = colours(0)
    assert resize_tileable(pixels, 9, 6) is pixels


# Modes

MODES = [
    ("1", 255, (255, 255, 255), ()),
    ("L", 77, (77, 77, 77), ()),
    ("RGB", (1, 2, 3), (1, 2, 3), ()),
    ("RGBX", (1, 2, 3, 4), (1, 2, 3), ()),
    ("CMYK", (0, 0, 0, 0), (255, 255, 255), ("converted from CMYK",)),
    ("CMYK", (255, 0, 0, 0), (0, 255, 255), ("converted from CMYK",)),
    ("CMYK", (0, 0, 0, 155), (100, 100, 100), ("converted from CMYK",)),
    ("YCbCr", (90, 128, 128), (90, 90, 90), ("converted from YCbCr",)),
    ("HSV", (0, 255, 200), (200, 0, 0), ("converted from HSV",)),
]


@pytest.mark.parametrize(("mode", "stored", "expected", "notes"), MODES)
def test_modes(mode, stored, expected, notes):
    picture = read_image(Image.new(mode, (2, 1), stored))
    assert levels(picture) == [[list(expected)] * 2]
    assert picture.pixels.dtype == torch.float32
    assert picture.pixels.is_contiguous()
    assert (picture.alpha, picture.notes, picture.size) == (None, notes, (2, 1))


@pytest.mark.parametrize(
    ("mode", "stored", "colour", "alpha"),
    [
        ("RGBA", (9, 8, 7, 51), (9, 8, 7), 0.2),
        ("RGBA", (9, 8, 7, 0), (9, 8, 7), 0.0),  # colour under alpha stays as stored
        ("LA", (60, 102), (60, 60, 60), 0.4),
        ("RGBA", (9, 8, 7, 255), (9, 8, 7), None),
        ("LA", (60, 255), (60, 60, 60), None),
        ("RGBa", (20, 20, 20, 51), (100, 100, 100), 0.2),  # premultiplied: 20 / 0.2
    ],
)
def test_alpha(mode, stored, colour, alpha):
    picture = read_image(Image.new(mode, (3, 2), stored))
    assert levels(picture)[1][2] == list(colour)
    if alpha is None:
        assert picture.alpha is None
    else:
        torch.testing.assert_close(picture.alpha, torch.full((1, 1, 2, 3), alpha))


@pytest.mark.parametrize(
    ("transparency", "alpha"), [(None, None), (1, [1, 0]), (b"\x33\xff", [0.2, 1])]
)
def test_palette(tmp_path, transparency, alpha):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    image.save(
        tmp_path / "p.png", **({} if transparency is None else {"transparency": transparency})
    )
    picture = read_image(tmp_path / "p.png")
    assert levels(picture) == [[[10, 20, 30], [40, 50, 60]]]
    found = None if picture.alpha is None else picture.alpha.flatten().tolist()
    assert found == (alpha if alpha is None else pytest.approx(alpha))
    both = read_image(image.convert("PA"))
    assert levels(both) == levels(picture)


@pytest.mark.parametrize(
    ("depth", "colour", "row", "clear", "expected", "alpha"),
    [
        (8, 2, bytes([1, 2, 3, 4, 5, 6]), (4, 5, 6), [[1, 2, 3], [4, 5, 6]], [1, 0]),
        (8, 0, bytes([7, 9]), (7,), [[7, 7, 7], [9, 9, 9]], [0, 1]),
        (1, 0, bytes([0b01000000]), (1,), [[0] * 3, [255] * 3], [1, 0]),
        (16, 0, struct.pack(">HH", 257, 514), (257,), [[1] * 3, [2] * 3], [0, 1]),
    ],
)
def test_one_transparent_colour(tmp_path, depth, colour, row, clear, expected, alpha):
    chunk = png_chunk(b"tRNS", struct.pack(f">{len(clear)}H", *clear))
    (tmp_path / "t.png").write_bytes(png(2, 1, depth, colour, b"\0" + row, chunk))
    picture = read_image(tmp_path / "t.png")
    assert levels(picture) == [expected]
    assert picture.alpha is not None
    assert picture.alpha.flatten().tolist() == alpha


def test_lab():
    # L = 136 / 255 * 100 = 53.33: Y = ((53.33 + 16) / 116)^3 = 0.2135, which is level 127.4.
    picture = read_image(Image.new("LAB", (1, 1), (136, 128, 128)))
    assert (picture.pixels * 255).flatten().tolist() == pytest.approx([127.4] * 3, abs=1.5)
    assert picture.notes == ("converted from LAB",)


def test_jpeg_cmyk_as_adobe_inverts_it(tmp_path):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "c.jpg", quality=100)
    picture = read_image(tmp_path / "c.jpg")
    assert picture.notes == ("converted from CMYK",)
    torch.testing.assert_close(
        picture.pixels[0, :, 4, 4], torch.tensor([1.0, 0, 0]), atol=0.02, rtol=0
    )


DEEP = [0, 1, 32768, 65535]  # of 65535


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I"])
def test_sixteen_bits_of_grey_are_scaled(mode):
    kind = {"I;16": "<u2", "I;16B": ">u2", "I": "<i4"}[mode]
    image = Image.frombytes(mode, (4, 1), np.array(DEEP, kind).tobytes())
    picture = read_image(image)
    assert picture.pixels[0, 2, 0].tolist() == pytest.approx([v / 65535 for v in DEEP], abs=1e-7)
    assert picture.notes == ()


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_sixteen_bits_of_grey_in_files(tmp_path, suffix):
    path = tmp_path / f"deep{suffix}"
    if suffix == ".pgm":
        path.write_bytes(b"P5 4 1 65535\n" + struct.pack(">4H", *DEEP))
    else:
        Image.frombytes("I;16", (4, 1), struct.pack("<4H", *DEEP)).save(path)
    pixels = read_image(path).pixels
    assert pixels[0, 0, 0].tolist() == pytest.approx([v / 65535 for v in DEEP], abs=1e-7)


def test_sixteen_bits_of_colour_in_png(tmp_path):
    row = struct.pack(">6H", 65535, 32768, 0, 257, 25700, 65535)
    (tmp_path / "deep.png").write_bytes(png(2, 1, 16, 2, b"\0" + row))
    picture = read_image(tmp_path / "deep.png")
    stored = (picture.pixels * 65535).round()[0, :, 0].T.tolist()
    assert stored == [[65535, 32768, 0], [257, 25700, 65535]]
    assert picture.depth == 16


def test_sixteen_bits_in_another_gamut_are_converted_in_8_and_that_is_said(tmp_path):
    profile = png_chunk(b"iCCP", b"P3\0\0" + zlib.compress(display_p3()))
    row = struct.pack(">3H", 65535, 32768, 0)
    (tmp_path / "deep.png").write_bytes(png(1, 1, 16, 2, b"\0" + row, profile))
    picture = read_image(tmp_path / "deep.png")
    assert picture.depth == 8
    assert picture.notes[-1] == "read in 8 bits of its 16: its colours had to be converted"


def test_sixteen_bits_of_colour_in_tiff(tmp_path):
    entries = [(256, 3, 1), (257, 3, 1), (258, 3, 16), (259, 3, 1), (262, 3, 2)]
    entries += [(273, 4, 200), (277, 3, 3), (278, 3, 1), (279, 4, 6)]
    directory = struct.pack("<H", len(entries))
    for tag, kind, value in entries:
        if tag == 258:  # three numbers do not fit into the entry and lie elsewhere
            directory += struct.pack("<HHII", tag, kind, 3, 190)
        else:
            directory += struct.pack("<HHII", tag, kind, 1, value)
    start = (b"II*\0" + struct.pack("<I", 8) + directory + bytes(4)).ljust(190, b"\0")
    content = (
        start + struct.pack("<3H", 16, 16, 16) + bytes(4) + struct.pack("<3H", 65535, 32768, 0)
    )
    (tmp_path / "deep.tif").write_bytes(content)
    pixels = read_image(tmp_path / "deep.tif").pixels
    assert (pixels * 65535).round().flatten().tolist() == [65535, 32768, 0]


@pytest.mark.parametrize(
    ("mode", "stored", "expected", "notes"),
    [
        ("F", [0.0, 0.25, 1.0], [0.0, 0.25, 1.0], ()),
        ("F", [0.0, 5.0, 20.0], [0.0, 0.25, 1.0], ("scaled by its largest value 20",)),
        (
            "F",
            [-1.0, 0.5, 2.0],
            [0.0, 0.25, 1.0],
            ("scaled by its largest value 2", "negative values down to -1 made black"),
        ),
        ("I", [0, 100000, 400000], [0, 0.25, 1], ("scaled by its largest value 400000",)),
    ],
)
def test_thirty_two_bits_of_grey(tmp_path, mode, stored, expected, notes):
    array = np.array([stored], np.float32 if mode == "F" else np.int32)
    Image.fromarray(array).save(tmp_path / "deep.tif")
    picture = read_image(tmp_path / "deep.tif")
    assert picture.pixels[0, 1, 0].tolist() == expected
    assert picture.notes == notes


# Cameras and profiles

# As stored (the rows 12 and 34), and as it must be seen; by the EXIF standard's table.
ORIENTATIONS = {
    1: [[1, 2], [3, 4], [5, 6]],
    2: [[2, 1], [4, 3], [6, 5]],
    3: [[6, 5], [4, 3], [2, 1]],
    4: [[5, 6], [3, 4], [1, 2]],
    5: [[1, 3, 5], [2, 4, 6]],
    6: [[5, 3, 1], [6, 4, 2]],
    7: [[6, 4, 2], [5, 3, 1]],
    8: [[2, 4, 6], [1, 3, 5]],
}


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_orientations(tmp_path, orientation, suffix):
    stored = np.array(ORIENTATIONS[1], np.uint8).repeat(16, 0).repeat(16, 1) * 40
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned{suffix}"
    Image.fromarray(stored).save(path, exif=exif, **({"quality": 100} if suffix == ".jpg" else {}))
    picture = read_image(path)
    seen = (picture.pixels[0, 0, 8::16, 8::16] * 255 / 40).round().int().tolist()
    assert seen == ORIENTATIONS[orientation]
    assert picture.notes == (() if orientation == 1 else ("turned as its EXIF says",))


def test_sixteen_bits_turned(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.frombytes("I;16", (2, 1), struct.pack("<2H", 0, 65535))
    image.save(tmp_path / "deep.png", exif=exif)
    assert read_image(tmp_path / "deep.png").pixels[0, 0].tolist() == [[0], [1]]


def test_damaged_exif_is_no_obstacle(tmp_path):
    content = io.BytesIO()
    Image.new("RGB", (8, 8), (50, 50, 50)).save(content, "JPEG", exif=b"Exif\0\0MM\0*garbage")
    (tmp_path / "x.jpg").write_bytes(content.getvalue())
    assert levels(read_image(tmp_path / "x.jpg"))[0][0] == [50, 50, 50]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_display_p3_becomes_srgb(tmp_path, suffix):
    # P3 (200, 100, 100): linear (0.5776, 0.1274, 0.1274). P3 to sRGB, linear:
    #   r = 1.2249 * 0.5776 - 0.2247 * 0.1274                   = 0.6789 -> 214.9
    #   g = -0.0420 * 0.5776 + 1.0419 * 0.1274                  = 0.1085 ->  92.7
    #   b = -0.0197 * 0.5776 - 0.0786 * 0.1274 + 1.0979 * 0.1274 = 0.1185 ->  96.7
    path = tmp_path / f"wide{suffix}"
    settings = {".jpg": {"quality": 100}, ".webp": {"lossless": True}}.get(suffix, {})
    image = Image.new("RGB", (8, 8), (200, 100, 100))
    image.save(path, icc_profile=display_p3(), **settings)
    picture = read_image(path)
    assert picture.notes == ("converted from Display P3 to sRGB",)
    found = (picture.pixels[0, :, 0, 0] * 255).tolist()
    assert found == pytest.approx([214.9, 92.7, 96.7], abs=1.6)


def test_profile_keeps_alpha_and_neutral_grey():
    image = Image.new("RGBA", (1, 1), (128, 128, 128, 51))
    image.info["icc_profile"] = display_p3()
    picture = read_image(image)
    assert (picture.pixels * 255).flatten().tolist() == pytest.approx([128] * 3, abs=1)
    assert picture.alpha is not None
    assert picture.alpha.item() == pytest.approx(0.2)


def test_srgb_profile_changes_and_says_nothing():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for mode, stored in [("RGB", (200, 100, 50)), ("L", 99), ("P", 0)]:
        image = Image.new(mode, (1, 1), stored)
        plain = read_image(image)
        image.info["icc_profile"] = profile
        picture = read_image(image)
        assert picture.notes == ()
        assert torch.equal(picture.pixels, plain.pixels)


def test_grey_profile():
    # Linear light 0.2159 (55 / 255) is level 127.96 in sRGB.
    linear = b"curv" + bytes(8)
    image = Image.new("LA", (1, 1), (55, 51))
    image.info["icc_profile"] = icc_profile(b"GRAY", "Linear Grey", {b"kTRC": linear})
    picture = read_image(image)
    assert picture.notes == ("converted from Linear Grey to sRGB",)
    assert (picture.pixels * 255).flatten().tolist() == pytest.approx([128] * 3, abs=1)
    assert picture.alpha is not None


@pytest.mark.parametrize(
    ("mode", "profile"),
    [
        ("RGB", b"no profile at all"),
        ("RGB", display_p3()[:200]),
        ("CMYK", display_p3()),
        ("RGB", icc_profile(b"GRAY", "Linear Grey", {b"kTRC": b"curv" + bytes(8)})),
    ],
)
def test_profile_that_does_not_work_is_ignored_and_said(mode, profile):
    image = Image.new(mode, (1, 1))
    plain = read_image(image)
    image.info["icc_profile"] = profile
    picture = read_image(image)
    assert picture.notes[0] == (
        "ignored a colour profile that is damaged or does not fit the picture"
    )
    assert torch.equal(picture.pixels, plain.pixels)


# Frames


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".tif"])
def test_first_frame(tmp_path, suffix):
    frames = [Image.new("RGB", (8, 8), (40 * i, 0, 200)) for i in range(3)]
    path = tmp_path / f"many{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    picture = read_image(path)
    assert picture.notes == (f"first of 3 frames of 'many{suffix}'",)
    found = (picture.pixels[0, :, 4, 4] * 255).tolist()
    assert found == pytest.approx([0, 0, 200], abs=3)


def test_previews_in_a_jpeg_are_not_frames(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("white", "black")]
    frames[0].save(tmp_path / "phone.jpg", "MPO", save_all=True, append_images=frames[1:])
    picture = read_image(tmp_path / "phone.jpg")
    assert picture.notes == ()
    assert picture.pixels.min() == 1


def test_pil_image_keeps_its_frame(tmp_path):
    frames = [Image.new("L", (8, 8), 100 * i) for i in range(3)]
    frames[0].save(tmp_path / "many.gif", save_all=True, append_images=frames[1:])
    with Image.open(tmp_path / "many.gif") as image:
        image.seek(2)
        picture = read_image(image)
        assert image.tell() == 2
    assert picture.notes == ("frame 3 of 3 frames of 'many.gif'",)
    assert levels(picture)[0][0] == [200] * 3


# Arrays and tensors


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([[0, 51]], np.uint8), [[0, 0.2]] * 3),
        (np.array([[[0], [51]]], np.uint8), [[0, 0.2]] * 3),
        (np.array([[0, 13107]], np.uint16), [[0, 0.2]] * 3),
        (np.array([[0, 13107]], ">u2"), [[0, 0.2]] * 3),
        (np.array([[True, False]]), [[1, 0]] * 3),
        (np.array([[0.5, 1 + 1e-6]], np.float64), [[0.5, 1]] * 3),
        (np.array([[0.5, 0.25]], np.float16), [[0.5, 0.25]] * 3),
        (np.array([[[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]]), [[0.1, 0.4], [0.2, 0.5], [0.3, 0.6]]),
        (np.array([[[0, 51, 255]]], np.uint8)[:, ::-1, ::-1], [[1], [0.2], [0]]),
        (torch.tensor([[0, 51]], dtype=torch.uint8), [[0, 0.2]] * 3),
        (torch.tensor([[[0.5, 0.25]]]), [[0.5, 0.25]] * 3),
        (torch.tensor([[[[0.5]], [[0.25]], [[1.0]]]]), [[0.5], [0.25], [1]]),
        (torch.tensor([[0.5]], dtype=torch.bfloat16), [[0.5]] * 3),
        (torch.tensor([[0.5]], requires_grad=True), [[0.5]] * 3),
    ],
)
def test_values(array, expected):
    picture = read_image(array)
    assert picture.pixels.shape == (1, 3, 1, len(expected[0]))
    torch.testing.assert_close(picture.pixels[0, :, 0], torch.tensor(expected).float())
    assert (picture.alpha, picture.notes, picture.name) == (None, (), "picture")
    assert not picture.pixels.requires_grad


def test_values_with_alpha_are_a_copy():
    pixels = torch.rand(4, 5, 6)
    array = pixels.permute(1, 2, 0).numpy()
    array.flags.writeable = False
    for source in (pixels, array):
        picture = read_image(source)
        assert picture.alpha is not None
        assert torch.equal(torch.cat([picture.pixels, picture.alpha], 1)[0], pixels)
        assert picture.pixels.data_ptr() != pixels.data_ptr()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            np.zeros((2, 3, 2)),
            r"shape \(2, 3, 2\) is no picture; allowed are arrays \(H, W\[, C\]\)",
        ),
        (np.zeros(5), r"shape \(5,\) is no picture"),
        (torch.zeros(2, 3, 4, 4), r"shape \(2, 3, 4, 4\) is no picture"),
        (torch.zeros(5, 7, 3), r"shape \(5, 7, 3\) is no picture"),
        (np.zeros((0, 4, 3)), r"'picture' has no pixels: 4 x 0"),
        (torch.zeros(3, 4, 0), r"'picture' has no pixels: 0 x 4"),
        (Image.new("RGB", (0, 4)), r"'picture' has no pixels: 0 x 4"),
        (np.zeros((2, 2), int), r"values of type int64 are no picture; allowed are bool, uint8"),
        (torch.zeros(2, 2, dtype=torch.complex64), r"values of type complex64 are no picture"),
        (np.array([[0, 255.0]]), r"float pixels must lie in \[0, 1\]; found 0 to 255"),
        (torch.tensor([[-0.5, 1]]), r"float pixels must lie in \[0, 1\]; found -0.5 to 1"),
        (np.array([[math.nan]]), r"the picture holds values that are not numbers"),
        (torch.tensor([[math.inf]]), r"the picture holds values that are not numbers"),
        (Image.fromarray(np.array([[math.nan]], np.float32)), r"'picture' holds values that are"),
        (42, r"no picture in a int; give a path, a PIL image, a numpy array or a tensor"),
    ],
)
def test_bad_values(source, message):
    with pytest.raises(ImageError, match=f"^{message}"):
        read_image(source)


# Bad files


def assert_refused(path: Path, message: str, *, header: bool = False) -> None:
    """Refused in one line; by ``read_recipe`` too where the header shows it."""
    for read in (read_image, read_recipe) if header else (read_image,):
        with pytest.raises(ImageError, match=message) as caught:
            read(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("text.png", b"not a picture, just words\n" * 20),
        ("drawing.svg", b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'),
        ("paper.pdf", b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n"),
        ("page.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"),
        ("icon.ico", b"\0\0\1\0\1\0\x10\x10\0\0\1\0\x20\0\x40\0\0\0\x16\0\0\0" + bytes(64)),
        ("stub.jpg", b"\xff\xd8\xff"),
        ("stub.png", b"\x89PNG\r\n\x1a\n"),
    ],
)
def test_files_that_are_no_picture(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    assert_refused(path, f"^'{name}' is damaged or no picture: JPEG, PNG, WEBP, TIFF,", header=True)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".bmp", ".ppm", ".gif"])
def test_files_cut_in_half(tmp_path, suffix):
    path = tmp_path / f"half{suffix}"
    to_pil(colours(1, 64, 64)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    if suffix == ".tif":  # the directory of pages stands at the end
        assert_refused(path, r"^'half.tif' is damaged or ")
    else:
        assert_refused(path, f"^'half{suffix}' is damaged or cut short$")


def test_missing_empty_and_folder(tmp_path):
    with pytest.raises(MissingFileError, match=r"^no such file: '.*gone.png'$"):
        read_image(tmp_path / "gone.png")
    with pytest.raises(FileNotFoundError):
        read_recipe(str(tmp_path / "gone.png"))
    (tmp_path / "empty.png").touch()
    assert_refused(tmp_path / "empty.png", r"^'empty.png' is an empty file$", header=True)
    assert_refused(tmp_path, r"^cannot read a picture from '.*': it is a folder$", header=True)
    with pytest.raises(MissingFileError, match=r"^no such file"):
        read_image(tmp_path / "empty.png" / "below.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    assert_refused(tmp_path / "pipe.png", r"it is not a file$")


def test_unreadable_file(tmp_path, monkeypatch):
    write_image(tmp_path / "x.png", colours(0))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert_refused(tmp_path / "x.png", r"^cannot read 'x.png': permission denied$")


# Size cap


def bomb(path: Path, width: int, height: int) -> Path:
    """A PNG whose header promises far more than its one byte of pixels holds."""
    path.write_bytes(png(width, height, 8, 2, b"\0"))
    return path


@pytest.mark.parametrize("side", [10_001, 15_000, 20_000])  # PIL warns at 9459, refuses at 13377
def test_cap_is_read_from_the_header(tmp_path, side):
    path = bomb(tmp_path / "x.png", side, side)
    message = f"'x.png' has {side**2 / 1e6:.1f} megapixels; the cap is 100 "
    assert_refused(path, rf"^{message}\(raise it with --max-megapixels\)$")


def test_cap_is_a_choice(tmp_path):
    write_image(tmp_path / "x.png", torch.zeros(1, 3, 100, 100))
    assert read_image(tmp_path / "x.png", max_megapixels=0.01).size == (100, 100)
    with pytest.raises(ImageError, match=r"has 0.0 megapixels; the cap is 0.009 "):
        read_image(tmp_path / "x.png", max_megapixels=0.009)
    with pytest.raises(ImageError, match=r"^'picture' has 1.0 megapixels; the cap is 0.5 "):
        read_image(torch.zeros(1000, 1000), max_megapixels=0.5)
    raised = bomb(tmp_path / "y.png", 20_000, 20_000)
    assert read_recipe(raised) is None  # the header alone, whatever PIL thinks of its size


def test_pil_is_left_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    write_image(tmp_path / "x.png", torch.zeros(1, 3, 20, 20))
    (tmp_path / "bad.png").write_bytes(b"bad")
    pictures = []

    def read() -> None:
        for _ in range(20):
            pictures.append(read_image(tmp_path / "x.png"))
            with pytest.raises(ImageError):
                read_image(tmp_path / "bad.png")

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pictures) == 80
    assert Image.MAX_IMAGE_PIXELS == 50


# Writing


def test_to_pil_rounds():
    pixels = torch.tensor([0.0, 0.4 / 255, 0.6 / 255, 254.6 / 255, 1.2, -3.0]).view(1, 1, 1, 6)
    image = to_pil(pixels)
    assert image.mode == "L"
    assert list(image.tobytes()) == [0, 0, 1, 255, 255, 0]
    image = to_pil(pixels.expand(1, 3, 1, 6), torch.full((1, 1, 1, 6), 0.2))
    assert image.getpixel((2, 0)) == (1, 1, 1, 51)


@pytest.mark.parametrize(
    ("pixels", "alpha", "message"),
    [
        (torch.zeros(3, 4, 4), None, r"a picture to write has shape \(1, 3, H, W\), not \(3, 4, 4"),
        (torch.zeros(1, 3, 0, 4), None, r"a picture to write has shape .* not \(1, 3, 0, 4\)"),
        (torch.full((1, 3, 2, 2), math.nan), None, r"the picture holds values that are not num"),
        (torch.zeros(1, 3, 2, 2), torch.zeros(1, 1, 2, 3), r"alpha must have the height and width"),
    ],
)
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_bad_pictures_are_not_written(tmp_path, suffix, pixels, alpha, message):
    with pytest.raises(ImageError, match=f"^{message}"):
        write_image(tmp_path / f"x{suffix}", pixels, alpha=alpha)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", WRITABLE)
def test_roundtrip(tmp_path, suffix):
    folder = tmp_path / "a folder with späces"
    folder.mkdir()
    smooth = resize_pixels(colours(2, 3, 4), 64, 48)
    assert write_image(folder / f"my picture{suffix.upper()}", smooth, recipe=RECIPE) == ()
    picture = read_image(folder / f"my picture{suffix.upper()}")
    assert (picture.name, picture.notes) == (f"my picture{suffix.upper()}", ())
    lossless = suffix in (".png", ".tif", ".tiff")
    torch.testing.assert_close(
        picture.pixels, smooth, atol=0.501 / 255 if lossless else 0.06, rtol=0
    )
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize("suffix", WRITABLE)
@pytest.mark.parametrize("recipe", [RECIPE, '{"steps": 200}', "", "x" * 20_000])
def test_recipe_roundtrip(tmp_path, suffix, recipe):
    path = tmp_path / f"x{suffix}"
    write_image(path, colours(3), recipe=recipe)
    assert read_recipe(path) == recipe
    assert type(read_recipe(path)) is str


@pytest.mark.parametrize("suffix", WRITABLE)
def test_without_recipe_nothing_is_said(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    write_image(path, colours(3))
    assert read_recipe(path) is None
    with Image.open(path) as image:
        assert not {"exif", "icc_profile", "xmp", "comment"} & set(image.info)
    assert b"impasto" not in path.read_bytes()
    assert str(tmp_path).encode() not in path.read_bytes()


def test_comments_of_others_are_no_recipe(tmp_path):
    for comment in (b"ASCII\0\0\0a lovely day", b"UNICODE\0" + "schön".encode("utf-16-le"), b""):
        exif = Image.Exif()
        exif.get_ifd(0x8769)[0x9286] = comment
        Image.new("RGB", (8, 8)).save(tmp_path / "x.jpg", exif=exif)
        assert read_recipe(tmp_path / "x.jpg") is None
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + f"impasto {RECIPE}".encode("utf-16-le")
    Image.new("RGB", (8, 8)).save(tmp_path / "x.jpg", exif=exif)  # ours, rewritten by another
    assert read_recipe(tmp_path / "x.jpg") == RECIPE
    Image.new("RGB", (8, 8)).save(tmp_path / "x.gif")
    assert read_recipe(tmp_path / "x.gif") is None


def test_recipe_too_long_for_a_jpeg(tmp_path):
    notes = write_image(tmp_path / "x.jpg", colours(3), recipe="x" * 70_000)
    assert notes == ("the recipe is too long for a jpeg: left out",)
    assert read_recipe(tmp_path / "x.jpg") is None
    assert write_image(tmp_path / "x.webp", colours(3), recipe="x" * 70_000) == ()


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_alpha_roundtrip(tmp_path, suffix):
    pixels, alpha = torch.full((1, 3, 8, 8), 0.6), torch.zeros(1, 1, 8, 8)
    alpha[..., 4:] = 0.2
    assert write_image(tmp_path / f"x{suffix}", pixels, alpha=alpha) == ()
    picture = read_image(tmp_path / f"x{suffix}")
    assert picture.alpha is not None
    torch.testing.assert_close(picture.alpha, alpha, atol=0.002, rtol=0)
    torch.testing.assert_close(picture.pixels, pixels, atol=0.02, rtol=0)


def test_jpeg_flattens_alpha_over_white(tmp_path):
    pixels, alpha = torch.full((1, 3, 8, 8), 0.2), torch.full((1, 1, 8, 8), 0.5)
    notes = write_image(tmp_path / "x.jpg", pixels, alpha=alpha)
    assert notes == ("jpeg has no alpha: flattened over white",)
    picture = read_image(tmp_path / "x.jpg")  # 0.5 * 0.2 + 0.5 = 0.6 -> level 153
    assert levels(picture)[4][4] == [153] * 3
    assert picture.alpha is None


@pytest.mark.parametrize("suffix", WRITABLE)
def test_same_picture_same_bytes(tmp_path, suffix):
    for name in "ab":
        write_image(tmp_path / f"{name}{suffix}", colours(4, 40, 50), recipe=RECIPE)
    first, second = (tmp_path / f"{name}{suffix}" for name in "ab")
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("suffix", WRITABLE)
def test_noise_is_written_at_full_quality(tmp_path, suffix):
    noise = colours(6, 400, 300)  # more bytes as JPEG than PIL's buffer for optimize
    write_image(tmp_path / f"x{suffix}", noise, quality=100, recipe="x" * 60_000)
    error = (read_image(tmp_path / f"x{suffix}").pixels - noise).abs().mean()
    assert error < (0.2 if suffix == ".webp" else 0.01)  # WebP halves the resolution of colour


def test_jpeg_keeps_full_colour_resolution_and_obeys_quality(tmp_path):
    for quality in (30, 100):
        write_image(tmp_path / f"{quality}.jpg", colours(5, 64, 64), quality=quality)
    with Image.open(tmp_path / "100.jpg") as image:
        assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3
    assert (tmp_path / "30.jpg").stat().st_size * 2 < (tmp_path / "100.jpg").stat().st_size


@pytest.mark.parametrize(("suffix", "longest"), [(".jpg", 65500), (".webp", 16383)])
def test_longest_side(tmp_path, suffix, longest):
    message = rf"^cannot write 'x{suffix}': {longest + 1} x 1 pixels; \w+ holds {longest} at most$"
    with pytest.raises(ImageError, match=message):
        write_image(tmp_path / f"x{suffix}", torch.zeros(1, 3, 1, longest + 1))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        (
            "x.bmp",
            ImageError,
            r"cannot write a picture 'x.bmp' with suffix '.bmp'; choose from .png, .jpg, ",
        ),
        ("x", ImageError, r"cannot write a picture 'x' with no suffix; choose from .png"),
        ("gone/x.png", MissingFileError, r"no such folder: '.*gone' \(to write 'x.png' in\)$"),
        ("a file/x.png", MissingFileError, r"no such folder: '.*a file' \(to write 'x.png' in\)$"),
        ("folder.png", ImageError, r"cannot write a picture to '.*folder.png': it is a folder$"),
        ("", ImageError, r"cannot write a picture to '.*': it is a folder$"),
    ],
)
def test_check_writable(tmp_path, name, error, message):
    (tmp_path / "a file").touch()
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(error, match=f"^{message}"):
        check_writable(tmp_path / name)
    with pytest.raises(error, match=f"^{message}"):
        write_image(tmp_path / name, colours(0))


def test_check_writable_writes_nothing(tmp_path):
    assert check_writable(str(tmp_path / "x.PNG")) == tmp_path / "x.PNG"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_may_not_be_written_in(tmp_path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)  # tests may run as root
    with pytest.raises(ImageError, match=r"^cannot write 'x.png': no permission to write in '"):
        check_writable(tmp_path / "x.png")


# --- what is read ------------------------------------------------------------------------------


def test_links_in_a_circle_are_one_line(tmp_path):
    loop = tmp_path / "loop.png"
    loop.symlink_to(loop)
    for read in (read_image, read_recipe):
        with pytest.raises(ImageError, match=r"^cannot read 'loop.png': too many levels of sym"):
            read(loop)
    with pytest.raises(ImageError, match=r"cannot read '.*': embedded null byte"):
        read_image("nu\0ll.png")


def test_libtiff_writes_no_lines_of_its_own(tmp_path, capfd):
    path = tmp_path / "bad.tif"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(path, compression="tiff_adobe_deflate")
    content = path.read_bytes()
    path.write_bytes(
        content[:200] + bytes(byte ^ 90 for byte in content[200:1200]) + content[1200:]
    )
    with pytest.raises(ImageError, match=r"'bad.tif' is damaged or cut short"):
        read_image(path)
    assert capfd.readouterr() == ("", "")
    with pytest.raises(OSError), Image.open(path) as image:  # noqa: PT011
        image.load()
    assert "Decoding error" in capfd.readouterr().err  # a host program's handler is put back


def test_a_picture_is_known_by_its_file_or_by_its_pixels(tmp_path):
    path, other = tmp_path / "a.png", tmp_path / "b.png"
    Image.fromarray(draw_picture(20, 16)).save(path)
    Image.fromarray(draw_picture(20, 16)).save(other, compress_level=0)
    picture = read_image(path)
    assert picture.digest == hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    again = read_image(other)  # the same pixels in another file
    assert again.digest != picture.digest
    with Image.open(path) as image:
        drawn = read_image(image)
    assert drawn.digest == again.hash_pixels() == picture.hash_pixels()
    assert is_same_picture(path, picture.digest)
    assert is_same_picture(path, drawn.digest)
    assert not is_same_picture(path, again.digest)
    clear = replace(drawn, alpha=torch.zeros(1, 1, 16, 20))
    assert clear.hash_pixels() != drawn.digest
    nameless = read_image(draw_picture(20, 16))
    assert nameless.hash_pixels() == drawn.digest
    assert nameless.digest == ""
    assert read_image(draw_picture(16, 20)).hash_pixels() != drawn.digest


def half_save(_: Image.Image, file: io.BytesIO, **__: object) -> None:
    file.write(b"half a picture")
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("existing", [True, False])
@pytest.mark.parametrize("broken", ["save", "fsync", "replace"])
def test_whole_or_absent(tmp_path, monkeypatch, existing, broken):
    path = tmp_path / "x.png"
    if existing:
        path.write_bytes(b"the picture of yesterday")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    target = {"save": (Image.Image, half_save), "fsync": (os, fail), "replace": (Path, fail)}
    monkeypatch.setattr(target[broken][0], broken, target[broken][1])
    with pytest.raises(ImageError, match=r"^cannot write 'x.png': no space left on device$"):
        write_image(path, colours(0), recipe=RECIPE)
    monkeypatch.undo()
    assert [file.name for file in tmp_path.iterdir()] == (["x.png"] if existing else [])
    assert not existing or path.read_bytes() == b"the picture of yesterday"


def test_interrupted_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(_: int) -> None:
        assert [file.name[0] for file in tmp_path.iterdir()] == ["."]  # beside it, out of sight
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_image(tmp_path / "x.png", colours(0))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_avif_is_read(tmp_path):
    Image.new("RGB", (16, 16), (200, 100, 50)).save(tmp_path / "x.avif", quality=100)
    found = (read_image(tmp_path / "x.avif").pixels[0, :, 8, 8] * 255).tolist()
    assert found == pytest.approx([200, 100, 50], abs=3)
