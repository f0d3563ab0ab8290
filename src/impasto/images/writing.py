"""Write pictures: whole or absent, sRGB without a profile, with nothing but a recipe inside."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import ExifTags, Image, features
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from impasto.errors import ImageError, ImpastoError, describe_reason
from impasto.images.deep_files import DEEP_FORMATS, DEEP_SCALE, encode_png, encode_tiff
from impasto.images.opening import RECIPE_KEY
from impasto.system.files import check_place, replace_file

# Only formats that can carry the recipe, which is why BMP and GIF are not here.
WRITABLE: dict[str, str] = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
_LONGEST_SIDES = {"JPEG": 65500, "WEBP": 16383}
_LONGEST_EXIF = 65000  # bytes; a JPEG segment holds 65533 with its headers


def check_values(pixels: Tensor, alpha: Tensor | None = None) -> Tensor:
    """Return what is to be written, (1, 1, 3 or with alpha 4, H, W), in float32."""
    if pixels.ndim != 4 or pixels.shape[:2] not in ((1, 1), (1, 3)) or not pixels.numel():
        raise ImageError(f"a picture to write has shape (1, 3, H, W), not {tuple(pixels.shape)}")
    if alpha is not None:
        if alpha.shape != (1, 1, *pixels.shape[2:]):
            shapes = f"{tuple(alpha.shape)} beside {tuple(pixels.shape)}"
            raise ImageError(f"alpha must have the height and width of its picture: {shapes}")
        pixels = torch.cat([pixels.expand(-1, 3, -1, -1), alpha.to(pixels)], dim=1)
    if not pixels.isfinite().all():
        raise ImageError("the picture holds values that are not numbers")
    return pixels.detach().float()


def to_pil(pixels: Tensor, alpha: Tensor | None = None) -> Image.Image:
    """Return the 8-bit PIL image (L, RGB or RGBA) of (1, 1 or 3, H, W), each value rounded."""
    levels = (check_values(pixels, alpha).clamp(0, 1) * 255).round().to(torch.uint8)
    array = levels[0].permute(1, 2, 0).contiguous().cpu().numpy()  # (H, W, C)
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)


def check_writable(path: str | os.PathLike[str]) -> Path:
    """Check all that can be said of an output without a picture; asked before hours of work."""
    return check_place(path, "a picture", WRITABLE, ImageError)


def write_image(
    path: str | os.PathLike[str],
    pixels: Tensor,
    *,
    alpha: Tensor | None = None,
    recipe: str | None = None,
    quality: int = 95,
    depth: int = 8,
) -> tuple[str, ...]:
    """Write a picture, whole or not at all; the notes say what its format could not hold."""
    path = check_writable(path)
    content, notes = encode_image(
        path.name, pixels, alpha=alpha, recipe=recipe, quality=quality, depth=depth
    )
    write_encoded(path, content)
    return notes


def encode_image(
    name: str,
    pixels: Tensor,
    *,
    alpha: Tensor | None = None,
    recipe: str | None = None,
    quality: int = 95,
    depth: int = 8,
) -> tuple[bytes, tuple[str, ...]]:
    """Return the file of a picture that is called so, and notes on what it could not hold.

    ``depth`` is how many bits a value has, 8 or, in PNG and TIFF, 16.
    """
    kind = WRITABLE[Path(name).suffix.lower()]
    notes = []
    if depth == 16 and kind in DEEP_FORMATS:
        return _try_to_encode(name, lambda: _encode_deep(pixels, alpha, kind, recipe)), ()
    if depth == 16:
        notes.append(f"{kind.lower()} holds 8 bits a value, and 16 were read; png and tif hold 16")
    image = to_pil(pixels, alpha)
    if alpha is not None and kind == "JPEG":
        clear, image = image, Image.new("RGB", image.size, "white")
        image.paste(clear, mask=clear.getchannel("A"))
        notes.append("jpeg has no alpha: flattened over white")
    longest = _LONGEST_SIDES.get(kind, max(image.size))
    if max(image.size) > longest:
        found = f"{image.width} x {image.height} pixels"
        raise ImageError(f"cannot write {name!r}: {found}; {kind} holds {longest} at most")
    if recipe is not None and kind == "JPEG" and len(_encode_comment(recipe)) > _LONGEST_EXIF:
        recipe = None
        notes.append("the recipe is too long for a jpeg: left out")
    return _try_to_encode(name, lambda: _encode(image, kind, recipe, quality)), tuple(notes)


def _try_to_encode(name: str, encode: Callable[[], bytes]) -> bytes:
    """Return what ``encode`` gives; errors are one line."""
    try:
        return encode()
    except (OSError, ValueError) as error:  # PIL's encoders raise either
        raise ImageError(f"cannot write {name!r}: {describe_reason(error)}") from error


def write_encoded(path: Path, content: bytes) -> None:
    """Write the file of a picture; errors are one line."""
    try:
        replace_file(check_writable(path), content)
    except OSError as error:
        if isinstance(error, ImpastoError):
            raise
        raise ImageError(f"cannot write {path.name!r}: {describe_reason(error)}") from error


def _encode_deep(pixels: Tensor, alpha: Tensor | None, kind: str, recipe: str | None) -> bytes:
    """Return a PNG or TIFF file of 16 bits, with the recipe where its readers look for it."""
    values = check_values(pixels, alpha)
    values = values.expand(-1, max(3, values.shape[1]), -1, -1)
    levels = (values[0].clamp(0, 1) * DEEP_SCALE).round().to(torch.int32)
    array = levels.permute(1, 2, 0).contiguous().cpu().numpy().astype(np.uint16)  # (H, W, C)
    if kind == "PNG":
        return encode_png(array, None if recipe is None else (RECIPE_KEY, recipe))
    return encode_tiff(array, None if recipe is None else _encode_comment(recipe))


def _encode(image: Image.Image, kind: str, recipe: str | None, quality: int) -> bytes:
    """Return a file of that PIL format, with the recipe where its readers look for it."""
    by_kind: dict[str, dict[str, Any]] = {
        "PNG": {"compress_level": 6},
        # Not optimize: PIL guesses a buffer for it, and fails on large pictures full of strokes.
        "JPEG": {"quality": quality, "subsampling": 0},
        "WEBP": {"quality": quality, "exact": True},  # exact: keeps the colour under alpha
        "TIFF": {"compression": "tiff_adobe_deflate"} if features.check("libtiff") else {},
    }
    settings = by_kind[kind]
    if recipe is not None and kind == "PNG":
        settings["pnginfo"] = PngInfo()
        settings["pnginfo"].add_itxt(RECIPE_KEY, recipe)
    elif recipe is not None:
        settings["exif"] = make_exif(recipe, kind)
    encoded = io.BytesIO()
    image.save(encoded, format=kind, **settings)
    return encoded.getvalue()


def make_exif(recipe: str, kind: str) -> Image.Exif:
    """Return EXIF that holds a recipe, for a file of that PIL format."""
    exif = Image.Exif()
    # PIL writes no EXIF directory into a TIFF, but any tag into its main one.
    tags = exif if kind == "TIFF" else exif.get_ifd(ExifTags.IFD.Exif)
    tags[ExifTags.Base.UserComment] = _encode_comment(recipe)
    return exif


def _encode_comment(recipe: str) -> bytes:
    """Return an EXIF UserComment: eight bytes for the encoding, then a word that marks it ours."""
    text = f"{RECIPE_KEY} {recipe}"
    ascii_text = b"ASCII\0\0\0" + text.encode("ascii", errors="replace")
    return ascii_text if text.isascii() else b"UNICODE\0" + text.encode("utf-16-be")
