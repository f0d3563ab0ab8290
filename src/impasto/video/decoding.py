"""Films in: containers of video, animated pictures, folders of numbered pictures, one still.

A frame comes upright, in the pixels that it is shown with, as uint8 (H, W, 3) sRGB or, of films
with more than 8 bits where that is asked for, uint16. Timestamps are whole numbers of a time base,
as the film has them.
"""

from __future__ import annotations

import os
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from impasto.errors import ImageError, ImpastoError, MissingFileError, describe_reason
from impasto.images.opening import list_suffixes
from impasto.images.picture import hash_picture_file
from impasto.images.reading import read_image
from impasto.images.resizing import fit_size
from impasto.images.writing import to_pil
from impasto.system.files import find_target
from impasto.system.optional import require
from impasto.video.high_range import BT2020, HLG, PQ, to_standard_range

# libav's names of the containers that are opened: no playlists, which lead to other files.
CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,ogg,nut,m4v,asf,mxf"
ANIMATIONS = (".gif", ".webp", ".apng")  # which Pillow reads
DEFAULT_RATE = Fraction(25)  # frames a second, where nothing says
_NO_TIME = 0.1  # seconds that browsers show a frame for that has none
_HIGH_DEFINITION = 720  # lines, from which colours are those of BT.709 where a film does not say
_BT709, _BT601 = 1, 5  # libav's numbers of matrices
_RGB, _UNSAID = 0, 2
_FAILURES = 8  # in a row, after which a container is at its end
_JITTER = 2  # frames that a timestamp may go back by and still be its frame's
_MOST_PIXELS = 2**28  # of a frame: 16384 x 16384


@dataclass(frozen=True)
class FilmFrame:
    """One frame of a film."""

    number: int  # from 0, in the film
    time: int  # in the film's time base
    pixels: np.ndarray  # (H, W, 3), uint8 or uint16
    alpha: np.ndarray | None = None  # (H, W), uint8


@dataclass(frozen=True)
class FilmFacts:
    """What is known of a film before its frames are read."""

    name: str
    size: tuple[int, int]  # (width, height), upright
    rate: Fraction  # frames a second, on average
    time_base: Fraction  # seconds of a timestamp's unit
    origin: int = 0  # the timestamp at which the film begins
    frames: int = 0  # as the container says, or 0
    depth: int = 8  # bits of a colour
    has_alpha: bool = False
    aspect: Fraction = Fraction(1)  # width of a pixel over its height
    notes: tuple[str, ...] = ()
    container: Path | None = None  # whose other streams (sound) may be copied


class FilmReader(ABC):
    """A film that can be read from its beginning, or from a timestamp on."""

    facts: FilmFacts
    # Of the last reading: what was damaged, and whether timestamps began anew in the middle.
    damaged: int = 0
    begins_anew: bool = False

    @abstractmethod
    def read(
        self, size: tuple[int, int] | None = None, *, start: int | None = None
    ) -> Iterator[FilmFrame]:
        """Yield frames at a size (width, height), or the film's own.

        With ``start``, a timestamp, they may begin at any frame up to that one; their numbers are
        then those since the first that came.
        """

    @abstractmethod
    def digest(self) -> str:
        """Return what recipes know the film by."""


def open_film(
    path: str | os.PathLike[str],
    *,
    rate: Fraction | None = None,
    seconds: float | None = None,
    deep: bool = False,
) -> FilmReader:
    """Open a film, whatever it is; without reading frames.

    ``rate`` is that of folders and stills, ``seconds`` how long a still is shown, and ``deep``
    whether more than 8 bits are wanted.
    """
    path = Path(path)
    if path.is_dir():
        return FolderReader(path, rate or DEFAULT_RATE)
    if not path.exists():
        raise MissingFileError(f"there is no film {str(path)!r}")
    find_target(path, "a film", ImageError)  # no device, and no pipe without an end
    if path.suffix.lower() in {*list_suffixes(), *ANIMATIONS}:
        with _reading(path), Image.open(path) as image:
            is_animated = getattr(image, "n_frames", 1) > 1
        if is_animated:
            return AnimationReader(path)
        if seconds is None:
            raise ImageError(
                f"{path.name!r} is a picture; say how long it is to be shown: --seconds 5"
            )
        return StillReader(path, rate or DEFAULT_RATE, seconds)
    return ContainerReader(path, deep=deep)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Make one line of whatever decoders raise."""
    try:
        yield
    except (ImpastoError, MemoryError):
        raise
    except Exception as error:  # decoders raise what they like
        reason = describe_reason(error).split("; last error log")[0]
        raise ImageError(f"{path.name!r} is damaged or no film: {reason}") from error


# --- containers -----------------------------------------------------------------------------------


def open_container(path: Path) -> Any:
    """Open a container of video, by libav: only those that are meant, only as a file."""
    av = require("av", "films need PyAV", extra="video", instead=", or give a .gif or a folder")
    options = {"protocol_whitelist": "file", "format_whitelist": CONTAINERS}
    with _reading(path):
        # The prefix: a name may look like that of another protocol.
        return av.open(f"file:{path.absolute()}", options=options, metadata_errors="ignore")


class ContainerReader(FilmReader):
    """The first video of a container."""

    def __init__(self, path: Path, *, deep: bool = False) -> None:
        self.path, self.deep = path, deep
        with open_container(path) as container, _reading(path):
            stream = self._find_video(container)
            self.turns, self.transfer = self._look(container, stream)
            self.facts = self._describe(container, stream)

    def _find_video(self, container: Any) -> Any:
        videos = [s for s in container.streams.video if not _is_cover(s)]
        if not videos:
            raise ImageError(f"there is no video in {self.path.name!r}")
        return videos[0]

    def _look(self, container: Any, stream: Any) -> tuple[int, int]:
        """Return how often the first frame is to be turned left by 90 degrees, and its transfer."""
        for frame in _decode(container, stream, []):
            if frame.width * frame.height > _MOST_PIXELS:
                size = f"{frame.width} x {frame.height}"
                raise ImageError(f"{self.path.name!r}: frames of {size} are too large")
            return round(frame.rotation / 90) % 4, frame.color_trc
        raise ImageError(f"there is no frame in {self.path.name!r}")

    def _describe(self, container: Any, stream: Any) -> FilmFacts:
        context = stream.codec_context
        size, aspect = (context.width, context.height), stream.sample_aspect_ratio or Fraction(1)
        if self.turns % 2:
            size, aspect = size[::-1], 1 / aspect
        time_base = stream.time_base or Fraction(1, 1000)
        start = container.start_time or 0  # microseconds
        form = context.format
        notes = []
        if self.transfer in (PQ, HLG):
            notes.append("high dynamic range is brought to standard range: white is 203 cd/m2")
        return FilmFacts(
            self.path.name,
            size,
            stream.average_rate or stream.guessed_rate or DEFAULT_RATE,
            time_base,
            max(0, round(Fraction(start, 10**6) / time_base)),
            stream.frames,
            max((part.bits for part in form.components), default=8) if form else 8,
            bool(form and any(part.is_alpha for part in form.components)) or has_alpha_tag(stream),
            aspect,
            tuple(notes),
            self.path,
        )

    def read(
        self, size: tuple[int, int] | None = None, *, start: int | None = None
    ) -> Iterator[FilmFrame]:
        """Yield frames as libav decodes them; what it cannot decode is left out and counted."""
        size = size or self.facts.size
        flat = size[::-1] if self.turns % 2 else size
        damaged: list[None] = []
        with open_container(self.path) as container, _reading(self.path):
            stream = self._find_video(container)
            stream.thread_type = "AUTO"
            if start is not None:
                container.seek(start, stream=stream, backward=True)
            frames = self._time_frames(_decode(container, stream, damaged), damaged)
            for number, (frame, time) in enumerate(frames):
                self.damaged = len(damaged)
                yield self._convert(frame, number, time, flat)
            self.damaged = len(damaged)

    def _time_frames(self, frames: Iterator[Any], damaged: list[None]) -> Iterator[tuple[Any, int]]:
        """Yield frames with times that go forward.

        One that comes late is a rest of what was damaged, and left out. Where all that follow go
        back, the clock began anew: the film goes on from where it was.
        """
        step = max(1, round(1 / (self.facts.rate * self.facts.time_base)))
        last, shift, late, self.begins_anew = None, 0, None, False
        for frame in frames:
            if last is None:
                last = self.facts.origin if frame.pts is None else frame.pts
                yield frame, last
                continue
            time = last + step if frame.pts is None else frame.pts + shift
            if late is not None and time - late.pts - shift <= last - time:  # near to that one
                shift, last = last + step - late.pts, last + step
                self.begins_anew = True
                yield late, last
                time = last + step if frame.pts is None else frame.pts + shift
            elif late is not None:
                damaged.append(None)
            late = frame if time < last - _JITTER * step else None
            if late is None:
                last = max(time, last + 1)  # repeated, or a little too early
                yield frame, last

    def _convert(self, frame: Any, number: int, time: int, size: tuple[int, int]) -> FilmFrame:
        wide = self.transfer in (PQ, HLG)
        form = "rgb48le" if wide or (self.deep and self.facts.depth > 8) else "rgb24"
        matrix = frame.colorspace
        if matrix in (_RGB, _UNSAID):
            matrix = _BT709 if frame.height >= _HIGH_DEFINITION else _BT601
        how = {"width": size[0], "height": size[1], "interpolation": "AREA"}
        if (frame.width, frame.height) == size:
            how["interpolation"] = "BICUBIC"
        alpha = None
        if any(part.is_alpha for part in frame.format.components):
            clear = frame.reformat(format="rgba", src_colorspace=matrix, **how).to_ndarray()
            alpha = self._turn(clear[..., 3])
        pixels = frame.reformat(format=form, src_colorspace=matrix, **how).to_ndarray()
        if wide:
            pixels = to_standard_range(
                pixels, self.transfer, wide_gamut=frame.color_primaries == BT2020
            )
            if not self.deep:
                pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
        return FilmFrame(number, time, self._turn(pixels), alpha)

    def _turn(self, pixels: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(np.rot90(pixels, self.turns)) if self.turns else pixels

    def digest(self) -> str:
        """Return the digest of the file."""
        with self.path.open("rb") as file:
            return hash_picture_file(file)


def _is_cover(stream: Any) -> bool:
    """Return whether a video is a picture of the record's sleeve."""
    return bool(getattr(stream.disposition, "value", 0) & 0x400)


def has_alpha_tag(stream: Any) -> bool:
    """Return whether a VP9 has a second picture for transparency, as its container says."""
    tags = {key.lower(): value for key, value in stream.metadata.items()}
    return tags.get("alpha_mode") == "1"


def _decode(container: Any, stream: Any, damaged: list[None]) -> Iterator[Any]:
    """Yield a stream's frames; what cannot be decoded is put down as damaged and left out."""
    av = require("av", "films need PyAV", extra="video")
    decoder = _choose_decoder(av, stream)
    for packet in demux_all(container, stream, damaged):
        if packet.is_corrupt:
            damaged.append(None)
        try:
            yield from decoder.decode(packet) if decoder else packet.decode()
        except av.error.FFmpegError:
            damaged.append(None)
    try:  # where the container broke off: what the decoder still holds
        yield from (decoder or stream.codec_context).decode(None)
    except (av.error.FFmpegError, EOFError):
        return


def demux_all(container: Any, streams: Any, damaged: list[None]) -> Iterator[Any]:
    """Yield the packets of one stream or several; after an error, those that can still be found."""
    av = require("av", "films need PyAV", extra="video")
    failures = 0
    while failures < _FAILURES:
        try:
            for packet in container.demux(streams):
                failures = 0
                yield packet
        except av.error.FFmpegError:
            damaged.append(None)
            failures += 1
        else:
            return


def _choose_decoder(av: Any, stream: Any) -> Any:
    """Return a decoder that sees a VP9's transparency, or None for the usual one."""
    if not (has_alpha_tag(stream) and "libvpx-vp9" in av.codecs_available):
        return None
    decoder = av.CodecContext.create("libvpx-vp9", "r")
    decoder.extradata = stream.codec_context.extradata
    return decoder


def read_camera(source: str, long_side: int) -> tuple[tuple[int, int], Iterator[np.ndarray]]:
    """Open a camera, by its number or its system's name; return the size, and frames (H, W, 3)."""
    av = require("av", "a camera needs PyAV", extra="video")
    kinds = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}
    kind = kinds.get(sys.platform)
    if kind is None:
        raise ImageError(f"no cameras are known on {sys.platform}")
    name = f"/dev/video{source}" if source.isdecimal() and kind == "v4l2" else source
    try:
        container = av.open(name, format=kind)
        stream = container.streams.video[0]
    except (av.error.FFmpegError, OSError, ValueError, IndexError) as error:
        reason = describe_reason(error)
        raise MissingFileError(f"there is no film and no camera {source!r}: {reason}") from None
    own = stream.codec_context.width, stream.codec_context.height
    width, height = own if max(own) <= long_side else fit_size(*own, long_side)

    def frames() -> Iterator[np.ndarray]:
        with container:
            for frame in container.decode(stream):
                small = frame.reformat(width=width, height=height, format="rgb24")
                yield small.to_ndarray()

    return (width, height), frames()


# --- pictures -------------------------------------------------------------------------------------


class AnimationReader(FilmReader):
    """A .gif, .webp or .apng with several frames, in milliseconds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with _reading(path), Image.open(path) as image:
            count = getattr(image, "n_frames", 1)
            span = image.info.get("duration") or 1000 * _NO_TIME
            clear = "A" in image.getbands() or "transparency" in image.info
            rate = Fraction(1000) / Fraction(span).limit_denominator(100)
            self.facts = FilmFacts(
                path.name, image.size, rate, Fraction(1, 1000), frames=count, has_alpha=clear
            )

    def read(
        self,
        size: tuple[int, int] | None = None,
        *,
        start: int | None = None,  # noqa: ARG002
    ) -> Iterator[FilmFrame]:
        """Yield frames from the first: each may be drawn on the one before."""
        with _reading(self.path), Image.open(self.path) as image:
            time = 0.0
            for number in range(self.facts.frames):
                image.seek(number)
                image.load()
                span = image.info.get("duration") or 1000 * _NO_TIME
                shown = image.convert("RGBA" if self.facts.has_alpha else "RGB")
                if size is not None and shown.size != size:
                    shown = shown.resize(size, Image.Resampling.BOX)
                values = np.asarray(shown)
                alpha = values[..., 3].copy() if self.facts.has_alpha else None
                yield FilmFrame(number, round(time), values[..., :3].copy(), alpha)
                time += span

    def digest(self) -> str:
        """Return the digest of the file."""
        with self.path.open("rb") as file:
            return hash_picture_file(file)


class FolderReader(FilmReader):
    """A folder of pictures, in the order of the numbers in their names."""

    def __init__(self, folder: Path, rate: Fraction) -> None:
        suffixes = list_suffixes()
        found = [path for path in folder.iterdir() if path.suffix.lower() in suffixes]
        self.paths = sorted(found, key=_number_name)
        self.folder = folder
        if not self.paths:
            raise MissingFileError(f"no pictures in {str(folder)!r}")
        first = read_image(self.paths[0])
        self.facts = FilmFacts(
            folder.name or folder.resolve().name,
            first.size,
            rate,
            1 / rate,
            frames=len(self.paths),
            has_alpha=first.alpha is not None,
        )

    def read(
        self, size: tuple[int, int] | None = None, *, start: int | None = None
    ) -> Iterator[FilmFrame]:
        """Yield the pictures; one of another size, or damaged, is an error that names it."""
        for number, path in enumerate(self.paths[start or 0 :]):
            picture = read_image(path)
            if picture.size != self.facts.size:
                (w, h), (a, b) = picture.size, self.facts.size
                raise ImageError(f"{path.name!r} is {w} x {h}, and the first picture {a} x {b}")
            shown = to_pil(picture.pixels, picture.alpha)
            if size is not None and shown.size != size:
                shown = shown.resize(size, Image.Resampling.LANCZOS)
            values = np.asarray(shown)
            alpha = values[..., 3].copy() if values.shape[2] == 4 else None
            yield FilmFrame(number, (start or 0) + number, values[..., :3].copy(), alpha)

    def digest(self) -> str:
        """Return a digest of the names and sizes of all, and of the first one's bytes."""
        from impasto.system.checkpoints import fingerprint

        facts = [(path.name, path.stat().st_size) for path in self.paths]
        return fingerprint(facts, files=self.paths[:1])[:16]


class StillReader(FilmReader):
    """One picture, shown for some seconds."""

    def __init__(self, path: Path, rate: Fraction, seconds: float) -> None:
        self.path = path
        self.picture = read_image(path)
        count = max(1, round(seconds * rate))
        has_alpha = self.picture.alpha is not None
        self.facts = FilmFacts(
            path.name, self.picture.size, rate, 1 / rate, frames=count, has_alpha=has_alpha
        )

    def read(
        self, size: tuple[int, int] | None = None, *, start: int | None = None
    ) -> Iterator[FilmFrame]:
        """Yield the same frame again and again."""
        shown = to_pil(self.picture.pixels, self.picture.alpha)
        if size is not None and shown.size != size:
            shown = shown.resize(size, Image.Resampling.LANCZOS)
        values = np.asarray(shown)
        alpha = values[..., 3].copy() if values.shape[2] == 4 else None
        pixels = values[..., :3].copy()
        for number, time in enumerate(range(start or 0, self.facts.frames)):
            yield FilmFrame(number, time, pixels, alpha)

    def digest(self) -> str:
        """Return the picture's."""
        return self.picture.digest


def _number_name(path: Path) -> list[tuple[int, str]]:
    """Return what sorts names by the numbers in them: 9 before 10."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part) if part.isdecimal() else -1, part) for part in parts]


def choose_size(facts: FilmFacts, long_side: int | None, *, even: bool) -> tuple[int, int]:
    """Return the size (width, height) of the film that is made; ``even``: of no odd side."""
    width, height = facts.size if long_side is None else fit_size(*facts.size, long_side)
    if not even:
        return width, height
    return max(2, width - width % 2), max(2, height - height % 2)
