"""What a stranger's file is: told by its first bytes, and looked into in a process of its own.

The process has little memory and little time, and needs neither torch nor numpy.
"""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from impasto.errors import ImageError, ImpastoError, LimitError
from impasto.options import format_memory
from impasto.system.processes import AnsweringProcess

THUMBNAIL_SIDE = 320
START_BYTES = 64  # of a file, that tell what it is
_LONGEST_HEADER = 10 << 20  # bytes of what a file of tensors says of itself

_TABLE_WORDS = (b"TITLE", b"LUT_3D_SIZE", b"LUT_1D_SIZE", b"DOMAIN_", b"# ")  # of colours
# Kinds of files as inputs of operations have them -> formats, by how their bytes begin.
_STARTS: dict[str, tuple[tuple[str, Callable[[bytes], bool]], ...]] = {
    "picture": (
        ("png", lambda b: b.startswith(b"\x89PNG\r\n\x1a\n")),
        ("jpeg", lambda b: b.startswith(b"\xff\xd8\xff")),
        ("webp", lambda b: b[:4] == b"RIFF" and b[8:12] == b"WEBP"),
        ("gif", lambda b: b.startswith((b"GIF87a", b"GIF89a"))),
        ("tiff", lambda b: b.startswith((b"II*\0", b"MM\0*"))),
        ("avif", lambda b: b[4:12] in (b"ftypavif", b"ftypavis")),
        ("bmp", lambda b: b.startswith(b"BM")),
        ("ppm", lambda b: b[:1] == b"P" and b[1:2] in b"123456" and b[2:3].isspace()),
    ),
    "film": (
        ("mp4", lambda b: b[4:8] == b"ftyp"),
        ("webm", lambda b: b.startswith(b"\x1a\x45\xdf\xa3")),
        ("avi", lambda b: b[:4] == b"RIFF" and b[8:12] == b"AVI "),
    ),
    "table": (("cube", lambda b: b.lstrip().upper().startswith(_TABLE_WORDS)),),
    "model": (("safetensors", lambda b: b[8:9] == b"{" and b[5:8] == b"\0\0\0"),),
}


def recognise_format(start: bytes) -> tuple[str, str] | None:
    """Return (kind, format) of a file that begins so; None if it is nothing that is known."""
    for kind, formats in _STARTS.items():
        for name, begins in formats:
            if begins(start):
                return kind, name
    return None


def list_formats() -> dict[str, list[str]]:
    """Return the formats that are known of each kind."""
    return {kind: [name for name, _ in formats] for kind, formats in _STARTS.items()}


@dataclass(frozen=True)
class FileFacts:
    """What was found in a file."""

    kind: str
    format: str
    width: int = 0
    height: int = 0
    recipe: str | None = None
    thumbnail: bytes | None = None  # a WebP picture
    styles: tuple[str, ...] = ()  # that a model has learnt
    seconds: float | None = None  # of a film


FilmLook = Callable[[Path, str], FileFacts]  # of a film and its format


def inspect_file(
    path: Path, max_megapixels: float, look_at_film: FilmLook | None = None
) -> FileFacts:
    """Decode a file as far as can be; raise an error where it is damaged or too large."""
    with path.open("rb") as file:
        found = recognise_format(file.read(START_BYTES))
    if found is None:
        raise ImageError("the file is of no kind that is known")
    kind, name = found
    if kind == "picture":
        return _inspect_picture(path, name, max_megapixels)
    if kind == "film" and look_at_film is not None:
        return look_at_film(path, name)
    return FileFacts(kind, name, styles=read_learnt_styles(path) if kind == "model" else ())


def _inspect_picture(path: Path, name: str, max_megapixels: float) -> FileFacts:
    from impasto.images.opening import decoding, load_upright, open_picture_file, read_recipe

    with open_picture_file(path) as file, decoding(file, "the picture") as image:
        if (image.format or "").lower() not in (name, "mpo"):
            raise ImageError("the picture begins as one of another format")
        loaded, _ = load_upright(image, "the picture", max_megapixels)
        size, small = loaded.size, loaded
        thumbnail = make_thumbnail(small)
    return FileFacts("picture", name, *size, read_recipe(path), thumbnail)


def make_thumbnail(image: Any) -> bytes:
    """Return the small version of a PIL image, which is changed, as a WebP file."""
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    if image.mode not in ("L", "RGB", "RGBA"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    encoded = io.BytesIO()
    image.save(encoded, format="WEBP", quality=80, method=2)
    return encoded.getvalue()


def read_learnt_styles(path: Path) -> tuple[str, ...]:
    """Return the styles that a model has learnt, from what its file says of itself."""
    header = _read_header(path)
    try:
        facts = json.loads(header.get("__metadata__", {}).get("impasto", "{}"))
        return tuple(map(str, facts.get("styles", ())))
    except (ValueError, RecursionError, AttributeError, TypeError):
        raise ImageError("the model is damaged or cut short") from None


def _read_header(path: Path) -> dict[str, Any]:
    """Return what a safetensors file says of its tensors and of itself."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            header = json.loads(file.read(min(length, _LONGEST_HEADER)))
        except (ValueError, RecursionError):
            raise ImageError("the model is damaged or cut short") from None
    if not isinstance(header, dict):
        raise ImageError("the model is damaged or cut short")
    return header


def serve_inspections(
    pipe: Connection, max_megapixels: float, look_at_film: FilmLook | None = None
) -> None:
    """Look into files as their paths come: the life of a process that inspects."""
    import_module("impasto.images.opening")  # no file is to pay for this
    pipe.send("ready")
    while True:
        path = pipe.recv()
        try:
            answer: Any = inspect_file(Path(path), max_megapixels, look_at_film)
        except ImpastoError as error:
            answer = error
        except MemoryError:
            answer = LimitError("the file takes too much memory to decode")
        except Exception as error:
            answer = ImageError(f"the file cannot be decoded: {type(error).__name__}")
        pipe.send(answer)


class Inspector:
    """Has files looked into by a process that is ended when it takes too much."""

    def __init__(
        self,
        *,
        max_megapixels: float = 100.0,
        seconds: float = 5.0,
        memory: int = 1 << 30,
        look_at_film: FilmLook | None = None,
    ) -> None:
        """Prepare the process; ``look_at_film`` says what it does with films."""
        self.max_megapixels, self.seconds, self.memory = max_megapixels, seconds, memory
        self._process = AnsweringProcess(
            serve_inspections, max_megapixels, look_at_film, most_data=memory, nice=5
        )
        self._turn = threading.Lock()

    def inspect(self, path: Path) -> FileFacts:
        """Return what is found in a file; raise an error for one that takes too much."""
        with self._turn:
            try:
                answer = self._process.ask(str(path), self.seconds)
            except EOFError:
                raise LimitError("the file ends what decodes it") from None
            answer = answer or LimitError(
                f"the file takes more than {self.seconds:g} seconds, or "
                f"{format_memory(self.memory)}, to decode"
            )
            if isinstance(answer, LimitError):
                self._process.end()
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, FileFacts)
        return answer

    def close(self) -> None:
        """End the process."""
        with self._turn:
            self._process.end()
