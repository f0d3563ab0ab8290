"""Files of 16 bits a value in colour: what Pillow, which has no such pictures, does not do itself.

Read, the two bytes of each value are decoded one after the other; written, PNG and TIFF are made
here. Values are uint16 (H, W, C), C being 3 or, with alpha, 4.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
from PIL import ExifTags, ImageFile

DEEP_FORMATS = ("PNG", "TIFF")  # those that hold 16 bits and a recipe
DEEP_SCALE = 65535
# How Pillow names 16 bits of which it keeps the high byte, and what keeps the low one instead.
_LOW_BYTES = {
    f"{mode};16{order}": f"{mode};16{other}"
    for mode in ("RGB", "RGBA")
    for order, other in (("B", "L"), ("L", "B"), ("N", "B" if struct.pack("=H", 1)[0] else "L"))
}
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_UP = 2  # the filter that takes the row above off
_STRIP = 2**22  # bytes that are compressed at once
_LEVEL = 4  # of zlib: the low bytes are noise, on which more is lost time
_Entry = tuple[int, int, int, bytes]  # tag, type, count, values


def select_low_bytes(image: ImageFile.ImageFile) -> bool:
    """Make an image that is not decoded yet give the low bytes of its 16-bit values.

    Return whether it has such values: if not, it stays as it is.
    """
    tiles = [_select_low(tile) for tile in image.tile]
    if not tiles or None in tiles or "transparency" in image.info:
        return False
    image.tile = tiles
    return True


def _select_low(tile: Any) -> Any:
    """Return what decodes the low bytes of a part of a file; None if it has none."""
    is_text = isinstance(tile.args, str)
    first, *others = (tile.args,) if is_text else tuple(tile.args or ("",))
    if first not in _LOW_BYTES:
        return None
    low = _LOW_BYTES[first]
    return tile._replace(args=low if is_text else (low, *others))


def join_bytes(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Return values of 16 bits from their bytes, uint8 both."""
    values: np.ndarray = (high.astype(np.uint16) << 8) | low
    return values


# --- PNG ----------------------------------------------------------------------------------------


def encode_png(values: np.ndarray, comment: tuple[str, str] | None = None) -> bytes:
    """Return a PNG of 16 bits, with a text of that keyword inside."""
    height, width, channels = values.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[channels], 0, 0, 0)
    parts = [_PNG_SIGNATURE, _make_chunk(b"IHDR", header)]
    if comment is not None:
        keyword, text = comment
        parts.append(_make_chunk(b"iTXt", keyword.encode() + b"\0\0\0\0\0" + text.encode()))
    compressor, before = zlib.compressobj(_LEVEL), np.zeros((1, 2 * width * channels), np.uint8)
    rows = max(1, _STRIP // before.size)
    for start in range(0, height, rows):
        raw = values[start : start + rows].astype(">u2").view(np.uint8).reshape(-1, before.size)
        filtered = np.full((len(raw), 1 + before.size), _PNG_UP, np.uint8)
        filtered[:, 1:] = raw - np.concatenate([before, raw[:-1]])
        before = raw[-1:]
        if data := compressor.compress(filtered.tobytes()):
            parts.append(_make_chunk(b"IDAT", data))
    return b"".join([*parts, _make_chunk(b"IDAT", compressor.flush()), _make_chunk(b"IEND", b"")])


def _make_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


# --- TIFF ---------------------------------------------------------------------------------------


def encode_tiff(values: np.ndarray, comment: bytes | None = None) -> bytes:
    """Return a TIFF of 16 bits, with an EXIF comment inside."""
    height, width, channels = values.shape
    rows = max(1, _STRIP // (2 * width * channels))
    strips = [_compress_strip(values[start : start + rows]) for start in range(0, height, rows)]
    sizes = [len(strip) for strip in strips]
    offsets = [8 + sum(sizes[:i]) for i in range(len(sizes))]
    entries = [
        _longs(256, width),
        _longs(257, height),
        _shorts(258, *[16] * channels),
        _shorts(259, 8),  # deflate
        _shorts(262, 2),  # RGB
        _longs(273, *offsets),
        _shorts(277, channels),
        _longs(278, rows),
        _longs(279, *sizes),
        _shorts(284, 1),  # a pixel's values side by side
        _shorts(317, 2),  # differences along the row
        *([_shorts(338, 2)] if channels == 4 else []),  # alpha, not multiplied in
    ]
    if comment is not None:
        entries.append((ExifTags.Base.UserComment, 7, len(comment), comment))
    data = b"".join(strips)
    data += b"\0" * (len(data) % 2)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + _list_entries(entries, len(data))


def _compress_strip(rows: np.ndarray) -> bytes:
    """Return rows as differences from the pixel to the left, compressed."""
    differences = rows.copy()
    differences[:, 1:] -= rows[:, :-1]  # modulo 2^16
    return zlib.compress(differences.astype("<u2").tobytes(), _LEVEL)


def _shorts(tag: int, *values: int) -> _Entry:
    return tag, 3, len(values), struct.pack(f"<{len(values)}H", *values)


def _longs(tag: int, *values: int) -> _Entry:
    return tag, 4, len(values), struct.pack(f"<{len(values)}I", *values)


def _list_entries(entries: list[_Entry], before: int) -> bytes:
    """Return a directory that lies after ``before`` bytes of data, and what does not fit in it."""
    directory, beyond = struct.pack("<H", len(entries)), b""
    place = 8 + before + 2 + 12 * len(entries) + 4
    for tag, kind, count, values in entries:
        stored = values.ljust(4, b"\0")
        if len(values) > 4:
            stored = struct.pack("<I", place + len(beyond))
            beyond += values + b"\0" * (len(values) % 2)
        directory += struct.pack("<HHI", tag, kind, count) + stored
    return directory + bytes(4) + beyond
