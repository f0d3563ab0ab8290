"""Films out, one piece after the other: which codec goes into which container, and encoding.

A piece is a file with one video, a frame for each tick of its rate; ``joining`` puts pieces
together, without encoding them again, and gives them their times.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from impasto.errors import ImageError, OptionError, describe_reason, suggest
from impasto.system.files import check_place
from impasto.system.optional import require

BT709 = 1  # the number that libav knows the colours of high definition by
_THREADS = 2  # of an encoder, whatever the machine: what comes out may depend on it


@dataclass(frozen=True)
class Codec:
    """An encoder, and how pixels lie in what it encodes; None where it cannot."""

    encoder: str
    plain: str
    deep: str | None = None  # with 10 bits of each colour
    clear: str | None = None  # with transparency
    deep_clear: str | None = None
    crf: int | None = None  # what is good; None where it has none
    preset: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    halves: bool = True  # four pixels share a colour, so that sides are even
    piece: str = "nut"  # the container of pieces, by libav's name


CODECS = {
    "h264": Codec("libx264", "yuv420p", "yuv420p10le", crf=18, preset="veryfast"),
    "hevc": Codec(
        "libx265",
        "yuv420p",
        "yuv420p10le",
        crf=20,
        preset="fast",
        options={"x265-params": "log-level=error:frame-threads=1:pools=2"},
    ),
    "vp9": Codec(
        "libvpx-vp9",
        "yuv420p",
        "yuv420p10le",
        "yuva420p",
        crf=24,
        options={"b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"},
        piece="matroska",  # .nut drops the second picture, of transparency
    ),
    "av1": Codec("libsvtav1", "yuv420p", "yuv420p10le", crf=28, preset="8", piece="matroska"),
    "prores": Codec(
        "prores_ks", "yuv422p10le", "yuv422p10le", "yuva444p10le", "yuva444p10le", piece="mov"
    ),
    "ffv1": Codec("ffv1", "bgr0", "gbrp10le", "bgra", halves=False),
    "mpeg4": Codec("mpeg4", "yuv420p", options={"qmin": "2", "qmax": "4"}),
}


@dataclass(frozen=True)
class FilmFormat:
    """What a film's suffix stands for."""

    container: str | None  # libav's name; None for pictures, which Pillow writes
    codecs: tuple[str, ...]  # that go in, best first
    sound: str | None = None  # what sound is encoded as, where its packets do not go in
    clear: str | None = None  # the codec for films with transparency


FILM_FORMATS = {
    ".mp4": FilmFormat("mp4", ("h264", "hevc", "av1", "vp9", "mpeg4"), "aac"),
    ".mov": FilmFormat("mov", ("h264", "hevc", "prores", "mpeg4"), "aac", clear="prores"),
    ".mkv": FilmFormat("matroska", tuple(CODECS), "aac", clear="ffv1"),
    ".webm": FilmFormat("webm", ("vp9", "av1"), "libopus", clear="vp9"),
    ".gif": FilmFormat(None, ("ffv1",)),
    ".webp": FilmFormat(None, ("ffv1",), clear="ffv1"),
    "": FilmFormat(None, ("ffv1",), clear="ffv1"),  # a folder of pictures
}


@dataclass(frozen=True)
class Encoding:
    """How frames are encoded: plain data."""

    codec: str
    pixels: str  # libav's name of their format
    size: tuple[int, int]
    rate: Fraction
    aspect: Fraction = Fraction(1)
    options: tuple[tuple[str, str], ...] = ()

    @property
    def keeps_alpha(self) -> bool:
        """Whether transparency goes in."""
        codec = CODECS[self.codec]
        return self.pixels in (codec.clear, codec.deep_clear)


def check_film_output(path: str | os.PathLike[str]) -> FilmFormat:
    """Check all of a film's path that needs no frame; a name without a suffix is a folder's."""
    path = Path(path)
    if path.suffix and not path.is_dir():
        choices = [suffix for suffix in FILM_FORMATS if suffix]
        check_place(path, "a film", choices, ImageError)
        return FILM_FORMATS[path.suffix.lower()]
    if path.exists() and not path.is_dir():
        raise ImageError(f"cannot write a folder of pictures to {path.name!r}: it is a file")
    if not path.parent.is_dir():
        raise ImageError(f"no such folder: {str(path.parent)!r} (to make {path.name!r} in)")
    return FILM_FORMATS[""]


def choose_encoding(
    output: Path,
    size: tuple[int, int],
    rate: Fraction,
    *,
    codec: str | None = None,
    crf: int | None = None,
    preset: str | None = None,
    deep: bool = False,
    alpha: bool = False,
    aspect: Fraction = Fraction(1),
) -> tuple[Encoding, list[str]]:
    """Return how a film is encoded, and notes on what its container cannot hold."""
    av = require("av", "films need PyAV", extra="video")
    form = check_film_output(output)
    where = output.suffix.lower() or "a folder"
    notes = []
    if form.container is None and (codec or crf is not None or preset):
        raise OptionError(f"{where} has no codec to choose: no --codec, --crf or --preset")
    if codec is not None and codec not in form.codecs:
        hint = suggest(codec, form.codecs)
        raise OptionError(f"codec {codec!r} does not go into {where}{hint}")
    usual = (
        form.clear
        if alpha and form.clear
        else next(
            (name for name in form.codecs if CODECS[name].encoder in av.codecs_available), None
        )
    )
    name = codec or usual
    if name is None or CODECS[name].encoder not in av.codecs_available:
        raise OptionError(f"this build of PyAV has no encoder for {where}; choose another suffix")
    if codec is None and name == "mpeg4":
        notes.append("no H.264 encoder here: the film is in MPEG-4 part 2")
    chosen = CODECS[name]
    pixels = chosen.plain
    if alpha and chosen.clear:
        pixels = chosen.clear
    elif alpha:
        notes.append(f"{where} keeps no transparency by {name}: laid on black")
    elif deep and chosen.deep:
        pixels = chosen.deep
    if deep and pixels == chosen.plain and not chosen.deep:
        notes.append(f"{name} has 8 bits")
    options = dict(chosen.options)
    if crf is not None and chosen.crf is None:
        raise OptionError(f"codec {name} has no --crf")
    if preset is not None and chosen.preset is None:
        raise OptionError(f"codec {name} has no --preset")
    if chosen.crf is not None:
        options["crf"] = str(chosen.crf if crf is None else crf)
    if chosen.preset is not None:
        options["preset"] = preset or chosen.preset
    return Encoding(name, pixels, size, rate, aspect, tuple(options.items())), notes


class PieceWriter:
    """Encodes frames into a piece."""

    def __init__(self, path: Path, encoding: Encoding) -> None:
        self.av = require("av", "films need PyAV", extra="video")
        self.encoding, self.count = encoding, 0
        codec = CODECS[encoding.codec]
        self.container = self.av.open(str(path), "w", format=codec.piece)
        stream = self.container.add_stream(codec.encoder, rate=encoding.rate)
        stream.width, stream.height = encoding.size
        stream.pix_fmt = encoding.pixels
        stream.options = dict(encoding.options)
        context = stream.codec_context
        context.thread_count = _THREADS
        if not encoding.pixels.startswith(("bgr", "gbr")):
            context.colorspace = context.color_primaries = context.color_trc = BT709
            context.color_range = 1  # as television has it
        if encoding.aspect != 1:
            context.sample_aspect_ratio = encoding.aspect
        if codec.encoder == "libvpx-vp9" and encoding.keeps_alpha:
            stream.metadata["alpha_mode"] = "1"
        self.stream = stream

    def add(self, pixels: np.ndarray, alpha: np.ndarray | None = None) -> None:
        """Encode a frame (H, W, 3), uint8 or uint16, with its transparency (H, W), uint8."""
        picture = self.make_frame(pixels, alpha)
        picture.pts, picture.time_base = self.count, 1 / self.encoding.rate
        self.count += 1
        self._write(self.stream.encode(picture))

    def make_frame(self, pixels: np.ndarray, alpha: np.ndarray | None) -> Any:
        """Return a frame as libav has it, in the encoder's format."""
        deep = pixels.dtype == np.uint16
        if alpha is not None and self.encoding.keeps_alpha:
            level = alpha.astype(np.uint16) * 257 if deep else alpha
            pixels, form = np.dstack([pixels, level]), "rgba64le" if deep else "rgba"
        else:
            form = "rgb48le" if deep else "rgb24"
            if alpha is not None:
                pixels = (pixels * (alpha[..., None] / 255)).round().astype(pixels.dtype)
        picture = self.av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format=form)
        return picture.reformat(format=self.encoding.pixels, dst_colorspace=BT709)

    def close(self) -> None:
        """Encode what is left, and end the file."""
        self._write(self.stream.encode())
        self.container.close()

    def drop(self) -> None:
        """End the file as it is: it will be thrown away."""
        with suppress(OSError):  # of a full disk
            self.container.close()

    def _write(self, packets: Any) -> None:
        for packet in packets:
            self.container.mux(packet)


def read_piece(path: Path) -> Iterator[np.ndarray]:
    """Yield the frames of a lossless piece: (H, W, 3 or 4), uint8."""
    av = require("av", "films need PyAV", extra="video")
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            clear = any(part.is_alpha for part in frame.format.components)
            yield frame.to_ndarray(format="rgba" if clear else "rgb24")


# --- streams --------------------------------------------------------------------------------------

FrameWriter = tuple[Callable[[np.ndarray], None], Callable[[], None]]  # takes a frame; ends


def open_pipe(target: str, size: tuple[int, int], rate: float) -> FrameWriter:  # noqa: ARG001
    """Return what writes frames to standard output as YUV4MPEG2, which players read from a pipe."""
    av = require("av", "films need PyAV", extra="video")
    width, height = (side - side % 2 for side in size)
    pace = Fraction(rate).limit_denominator(1001)
    out = sys.stdout.buffer
    head = f"YUV4MPEG2 W{width} H{height} F{pace.numerator}:{pace.denominator} Ip A1:1 C420mpeg2\n"
    out.write(head.encode())

    def write(frame: np.ndarray) -> None:
        even = np.ascontiguousarray(frame[:height, :width])
        picture = av.VideoFrame.from_ndarray(even, format="rgb24")
        planes = picture.reformat(format="yuv420p", dst_colorspace=BT709).to_ndarray()
        out.write(b"FRAME\n" + planes.tobytes())
        out.flush()

    return write, out.flush


def open_virtual_camera(target: str, size: tuple[int, int], rate: float) -> FrameWriter:
    """Return what writes frames to the device of a virtual camera (v4l2loopback)."""
    av = require("av", "films need PyAV", extra="video")
    if "v4l2" not in av.formats_available:
        raise ImageError("this build of PyAV writes to no virtual camera; use --to pipe")
    width, height = (side - side % 2 for side in size)
    try:
        container = av.open(target, "w", format="v4l2")
        stream = container.add_stream("rawvideo", rate=Fraction(rate).limit_denominator(1001))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        container.start_encoding()
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = describe_reason(error)
        raise ImageError(f"{target!r} takes no frames: {reason}") from None

    def write(frame: np.ndarray) -> None:
        even = np.ascontiguousarray(frame[:height, :width])
        picture = av.VideoFrame.from_ndarray(even, format="rgb24").reformat(format="yuv420p")
        for packet in stream.encode(picture):
            container.mux(packet)

    return write, container.close
