"""Read pictures as float RGB (1, 3, H, W) in [0, 1].

Whatever a file holds (palette, CMYK, 16 bits, a wide gamut, a turned camera) becomes upright sRGB
here, and ``Picture.notes`` says what was done to get there.
"""

from __future__ import annotations

import io
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, ImageCms
from torch import Tensor

from impasto.errors import ImageError
from impasto.images.deep_files import DEEP_SCALE, join_bytes, select_low_bytes
from impasto.images.opening import (
    DEFAULT_MEGAPIXELS,
    check_megapixels,
    decoding,
    load_upright,
    open_picture_file,
    setting_pil_aside,
)
from impasto.images.picture import ImageSource, Picture, hash_picture_file

_FULL_SCALES = {"bool": 1, "uint8": 255, "uint16": 65535}
_ROUNDING = 1e-4  # how far floats may lie outside [0, 1] and still be taken for it


def read_image(source: ImageSource, *, max_megapixels: float = DEFAULT_MEGAPIXELS) -> Picture:
    """Read a picture from a file, a PIL image, an array (H, W[, C]) or a tensor ([1,] [C,] H, W).

    A ``Picture`` stays as it is.
    """
    if isinstance(source, Picture):
        check_megapixels(*source.size, source.name, max_megapixels)
        return source
    if isinstance(source, Tensor | np.ndarray):
        return _picture_from_values(source, max_megapixels)
    if isinstance(source, Image.Image):
        name = Path(str(getattr(source, "filename", ""))).name or Picture.name
        with setting_pil_aside(name):
            loaded, notes = load_upright(source, name, max_megapixels)
        picture = _picture_from_pil(loaded, name, notes)
        named = name != Picture.name
        return replace(picture, digest=picture.hash_pixels()) if named else picture
    try:
        path = Path(source)
    except TypeError as error:
        kinds = "a path, a PIL image, a numpy array or a tensor"
        raise ImageError(f"no picture in a {type(source).__name__}; give {kinds}") from error
    with open_picture_file(path) as file:
        with decoding(file, path.name) as image:
            loaded, notes = load_upright(image, path.name, max_megapixels)
        low = _load_low_bytes(file, path.name, max_megapixels)
        # Of its bytes: two versions of a decoder may differ in a pixel.
        digest = hash_picture_file(file)
    picture = _picture_from_pil(loaded, path.name, notes)
    if low is not None:
        picture = _deepen(picture, loaded, low)
    return replace(picture, digest=digest)


def is_same_picture(path: str | os.PathLike[str], digest: str) -> bool:
    """Return whether a file holds the picture that has this ``Picture.digest``."""
    with open_picture_file(Path(path)) as file:
        if hash_picture_file(file) == digest:
            return True
    with suppress(ImageError):
        return read_image(path).hash_pixels() == digest
    return False


def _load_low_bytes(file: BinaryIO, name: str, max_megapixels: float) -> Image.Image | None:
    """Decode the low bytes of an open file's colours of 16 bits; None if it has none."""
    file.seek(0)
    with decoding(file, name) as image:
        return load_upright(image, name, max_megapixels)[0] if select_low_bytes(image) else None


def _deepen(picture: Picture, high: Image.Image, low: Image.Image) -> Picture:
    """Return a picture of 8 bits with all 16, from the bytes of its values."""
    if any(note.startswith("converted") for note in picture.notes):
        note = "read in 8 bits of its 16: its colours had to be converted"
        return replace(picture, notes=(*picture.notes, note))
    values = join_bytes(np.asarray(high), np.asarray(low))  # (H, W, C)
    pixels = _to_planes(values).float().div_(DEEP_SCALE)[None].contiguous()
    alpha = pixels[:, 3:].contiguous() if values.shape[2] == 4 else None
    colours = pixels[:, :3].contiguous()
    return replace(picture, pixels=colours, alpha=_unless_opaque(alpha), depth=16)


def _picture_from_pil(image: Image.Image, name: str, notes: list[str]) -> Picture:
    profile = image.info.get("icc_profile")
    depth = 8
    if image.mode == "F" or image.mode.startswith("I"):
        pixels, alpha, more = _read_deep_grey(image, name)
        depth = 16
        if profile:
            more.append("ignored the colour profile of a deep greyscale picture")
    else:
        colour, alpha = _split_alpha(image)
        colour, more = _to_srgb(colour, profile)
        pixels = _to_float(colour)
    return Picture(pixels, _unless_opaque(alpha), (*notes, *more), name, depth=depth)


def _to_float(image: Image.Image) -> Tensor:
    """Return an 8-bit L or RGB image as (1, C, H, W) in [0, 1]."""
    return _to_planes(np.array(image)).contiguous().float().div_(255)[None]


def _split_alpha(image: Image.Image) -> tuple[Image.Image, Tensor | None]:
    """Return the colour as it is stored, and alpha (1, 1, H, W) if there is any."""
    if not image.has_transparency_data:
        return image, None
    grey = image.mode in ("1", "L", "LA", "La")
    *bands, alpha = image.convert("LA" if grey else "RGBA").split()
    return (bands[0] if grey else Image.merge("RGB", bands)), _to_float(alpha)


def _unless_opaque(alpha: Tensor | None) -> Tensor | None:
    return None if alpha is None or bool((alpha == 1).all()) else alpha


def _read_deep_grey(image: Image.Image, name: str) -> tuple[Tensor, Tensor | None, list[str]]:
    """Read a greyscale image of 16 or 32 bits, scaled and not clipped: pixels, alpha, notes."""
    stored = np.array(image)  # (H, W) uint16, int32 or float32, either byte order
    values = stored.astype(np.float32)
    notes = []
    if not np.isfinite(values).all():
        raise ImageError(f"{name!r} holds values that are not numbers")
    low, high = float(values.min()), float(values.max())
    # PIL gives 16 bits as I;16 (PNG, TIFF) or as I (PGM), where 32 bits look the same.
    usual = 1.0 if image.mode == "F" else 65535.0
    scale = usual if high <= usual else high
    if scale != usual:
        notes.append(f"scaled by its largest value {high:g}")
    if low < 0:
        notes.append(f"negative values down to {low:g} made black")
    grey = torch.from_numpy(values)[None, None].clamp_(min=0).div_(scale)
    clear = image.info.get("transparency")  # one level that stands for "see through"
    alpha = torch.from_numpy(stored != clear)[None, None].float() if clear is not None else None
    return grey.repeat(1, 3, 1, 1), alpha, notes


def _to_srgb(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, list[str]]:
    """Convert to RGB, by the colour profile where there is one that works; return notes too."""
    notes = []
    name, model = "", image.mode if image.mode in ("CMYK", "LAB", "HSV", "YCbCr") else ""
    if profile:
        try:
            image, name = _apply_profile(image, profile)
        except (ImageCms.PyCMSError, OSError, ValueError, KeyError, TypeError):
            notes.append("ignored a colour profile that is damaged or does not fit the picture")
    if name:
        notes.append(f"converted from {f'{model} ({name})' if model else name} to sRGB")
    elif model:
        notes.append(f"converted from {model}")
    return image.convert("RGB"), notes


def _apply_profile(image: Image.Image, profile_bytes: bytes) -> tuple[Image.Image, str]:
    """Convert to sRGB; return the profile's name too, which is empty if it was sRGB already."""
    profile = ImageCms.ImageCmsProfile(io.BytesIO(profile_bytes))
    mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}[profile.profile.xcolor_space.strip()]
    # A profile for RGB fits all that becomes RGB, such as the greys and palettes.
    fits = {"RGB": image.mode != "CMYK", "L": image.mode in ("1", "L")}
    if not fits.get(mode, image.mode == mode):
        raise ValueError(f"a profile for {mode} in a picture of {image.mode}")
    srgb, intent = ImageCms.createProfile("sRGB"), ImageCms.Intent.RELATIVE_COLORIMETRIC
    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
    transform = ImageCms.buildTransform(profile, srgb, mode, "RGB", intent, flags)
    image = image.convert(mode)
    if mode != "CMYK" and _leaves_alone(transform, mode):
        return image.convert("RGB"), ""
    name = " ".join(ImageCms.getProfileDescription(profile).split())[:60]
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None  # it is None only for inPlace=True
    return converted, name or "an unnamed profile"


def _leaves_alone(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Return whether a transform changes no colour visibly: sRGB goes by many names."""
    steps = np.arange(0, 256, 51, dtype=np.uint8)  # 0, 51 … 255
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(36, 6, 3)
    probe = Image.fromarray(cube if mode == "RGB" else cube[:, :, 0])
    after = ImageCms.applyTransform(probe, transform)
    before = probe.convert("RGB")
    return int(abs(np.array(after, dtype=int) - np.array(before)).max()) <= 2


def _picture_from_values(values: np.ndarray | Tensor, max_megapixels: float) -> Picture:
    planes = _to_planes(values)
    check_megapixels(planes.shape[2], planes.shape[1], "picture", max_megapixels)
    if planes.is_floating_point():
        if not planes.isfinite().all():
            raise ImageError("the picture holds values that are not numbers")
        low, high = planes.min().item(), planes.max().item()
        if low < -_ROUNDING or high > 1 + _ROUNDING:
            raise ImageError(f"float pixels must lie in [0, 1]; found {low:g} to {high:g}")
        pixels = planes.float().clamp(0, 1)[None]
    else:
        pixels = planes.float().div_(_FULL_SCALES[str(planes.dtype).removeprefix("torch.")])[None]
    channels = pixels.shape[1]
    colour = pixels[:, :3] if channels > 1 else pixels.expand(-1, 3, -1, -1)
    alpha = _unless_opaque(pixels[:, 3:].contiguous()) if channels == 4 else None
    return Picture(colour.contiguous(), alpha)


def _to_planes(values: np.ndarray | Tensor) -> Tensor:
    """Copy values to (C, H, W), with C 1, 3 or 4, in a type whose full scale is known."""
    name = values.dtype.name if isinstance(values, np.ndarray) else str(values.dtype)[6:]
    if name not in _FULL_SCALES and name not in ("float16", "bfloat16", "float32", "float64"):
        allowed = f"{', '.join(_FULL_SCALES)} and float"
        raise ImageError(f"values of type {name} are no picture; allowed are {allowed}")
    if isinstance(values, np.ndarray):
        native = np.array(values, dtype=values.dtype.newbyteorder("="), order="C")
        planes = torch.from_numpy(native)
        planes = planes.permute(2, 0, 1) if planes.ndim == 3 else planes
    else:
        planes = values.detach().cpu().clone()
        planes = planes[0] if planes.ndim == 4 and planes.shape[0] == 1 else planes
    planes = planes[None] if values.ndim == 2 else planes
    if planes.ndim != 3 or planes.shape[0] not in (1, 3, 4):
        allowed = "arrays (H, W[, C]) and tensors ([[1,] C,] H, W) with C = 1, 3 or 4"
        raise ImageError(f"shape {tuple(values.shape)} is no picture; allowed are {allowed}")
    return planes
