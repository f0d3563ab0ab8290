"""Opening picture files: what they are, and their pixels as Pillow has them, upright.

Neither torch nor numpy is needed, so that a small process can look into a stranger's file.
"""

from __future__ import annotations

import ctypes
import os
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError, _imaging, features

from impasto.errors import ImageError, ImpastoError, MissingFileError, describe_reason

DEFAULT_MEGAPIXELS = 100.0
READABLE: tuple[str, ...] = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM")
READABLE += ("AVIF",) if features.check("avif") else ()
RECIPE_KEY = "impasto"  # the PNG text chunk's keyword, and what our EXIF comment begins with
_PIL_SETTINGS = threading.Lock()


def list_suffixes() -> set[str]:
    """Return what the names of readable pictures end in: .jpg, .png and so on."""
    return {suffix for suffix, kind in Image.registered_extensions().items() if kind in READABLE}


def read_recipe(path: str | os.PathLike[str]) -> str | None:
    """Read the recipe that ``write_image`` put into a file; None if there is none."""
    path = Path(path)
    with open_picture_file(path) as file, decoding(file, path.name) as image:
        text = image.info.get(RECIPE_KEY)
        if isinstance(text, str):
            return str(text)  # PIL's iTXt, a str that also knows its language
        if image.format == "PNG":
            return None  # asked for its EXIF, PIL would decode the picture
        exif = image.getexif()
        tag = ExifTags.Base.UserComment
        # TIFF holds the comment in its main directory, JPEG and WebP in the EXIF one.
        comment = exif.get(tag) or exif.get_ifd(ExifTags.IFD.Exif).get(tag)
    return _decode_comment(comment) if isinstance(comment, bytes) else None


@contextmanager
def setting_pil_aside(name: str) -> Iterator[None]:
    """Set PIL's size limit and warnings aside, and make one line of what its decoders raise."""
    # All of it is global to the process, hence one reader at a time, for as short as can be.
    with _PIL_SETTINGS, warnings.catch_warnings(), _silencing_libtiff():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # ours is checked instead
        try:
            yield
        except UnidentifiedImageError as error:
            kinds = f"{', '.join(READABLE)} are read; convert others to png or jpeg first"
            raise ImageError(f"{name!r} is damaged or no picture: {kinds}") from error
        except (ImpastoError, MemoryError):
            raise
        except Exception as error:  # decoders raise whatever they stumble upon
            raise ImageError(f"{name!r} is damaged or cut short") from error
        finally:
            Image.MAX_IMAGE_PIXELS = limit


@contextmanager
def _silencing_libtiff() -> Iterator[None]:
    """Keep libtiff, which PIL decodes TIFFs with, from writing lines of its own on standard error.

    Its handler of errors is taken away and put back: to redirect the stream itself would also
    swallow what other threads write meanwhile.
    """
    set_handler = _libtiff_handler()
    if set_handler is None:
        yield
        return
    handler = set_handler(None)
    try:
        yield
    finally:
        set_handler(handler)


@cache
def _libtiff_handler() -> Any:
    """Find the function that sets libtiff's handler; None where PIL has it linked statically."""
    try:
        set_handler = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
    except (AttributeError, OSError):
        return None
    set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
    return set_handler


def open_picture_file(path: Path) -> BinaryIO:
    """Open what may be a picture: a file with something in it."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ImageError(f"cannot read a picture from {str(path)!r}: it is a folder")
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for, a device never end
            raise ImageError(f"cannot read a picture from {str(path)!r}: it is not a file")
        if status.st_size == 0:
            raise ImageError(f"{path.name!r} is an empty file")
        return path.open("rb")
    except ImpastoError:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingFileError(f"no such file: {str(path)!r}") from error
    except (OSError, ValueError) as error:  # links in a circle, a null byte in a name
        raise ImageError(f"cannot read {path.name!r}: {describe_reason(error)}") from error


@contextmanager
def decoding(file: BinaryIO, name: str) -> Iterator[ImageFile.ImageFile]:
    """Yield the PIL image of an open file of which only the header has been read."""
    with setting_pil_aside(name), Image.open(file, formats=READABLE) as image:
        yield image


def check_megapixels(width: int, height: int, name: str, max_megapixels: float) -> None:
    """Raise where a picture has no pixels, or more than may be opened."""
    if min(width, height) < 1:
        raise ImageError(f"{name!r} has no pixels: {width} x {height}")
    megapixels = width * height / 1e6
    if megapixels > max_megapixels:
        cap = f"the cap is {max_megapixels:g} (raise it with --max-megapixels)"
        raise ImageError(f"{name!r} has {megapixels:.1f} megapixels; {cap}")


def load_upright(
    image: Image.Image, name: str, max_megapixels: float
) -> tuple[Image.Image, list[str]]:
    """Decode an image and turn it upright; return it with notes. Needs PIL set aside."""
    check_megapixels(*image.size, name, max_megapixels)
    notes = []
    frames = getattr(image, "n_frames", 1)
    # The further pictures of a phone's JPEG (MPO) are previews and depth maps, not frames.
    if frames > 1 and image.format != "MPO":
        which = f"frame {image.tell() + 1}" if image.tell() else "first"
        notes.append(f"{which} of {frames} frames of {name!r}")
    turned = False
    with suppress(Exception):  # a damaged EXIF block is no reason to refuse the picture
        # Asked before loading, in which PIL turns a TIFF and forgets that it did.
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)
    image.load()
    if turned:
        image = ImageOps.exif_transpose(image)
        notes.append("turned as its EXIF says")
    return image, notes


def _decode_comment(comment: bytes) -> str | None:
    code, raw = comment[:8], comment[8:]
    encoding = "ascii"
    if code == b"UNICODE\0":  # other programs rewrite it in the other byte order
        encoding = "utf-16-be" if raw[:1] == b"\0" else "utf-16-le"
    text = raw.decode(encoding, errors="replace")
    key, _, recipe = text.partition(" ")
    return recipe if key == RECIPE_KEY else None
