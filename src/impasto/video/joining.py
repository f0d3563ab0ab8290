"""Pieces put together: a film with its sound, subtitles and recipe.

Nothing is encoded again but sound that the container cannot hold. Video gets the timestamps that
the film had; those of sound that repeat or go back are mended.
"""

from __future__ import annotations

import heapq
import itertools
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from impasto.errors import ImageError, ImpastoError, describe_reason, plural
from impasto.images.opening import RECIPE_KEY
from impasto.images.writing import write_image
from impasto.system.files import make_folder, replacing
from impasto.system.optional import require
from impasto.video.animated_pictures import write_animation
from impasto.video.decoding import FilmFacts, demux_all, has_alpha_tag, open_container
from impasto.video.encoding import FILM_FORMATS, FilmFormat, read_piece


@dataclass
class Joining:
    """What is put together, and what was found to say."""

    pieces: Sequence[Path]
    times: Sequence[int]  # of every frame, and at last of the end, in the film's time base
    facts: FilmFacts
    recipe: str | None  # JSON
    sound: bool = True
    notes: list[str] = field(default_factory=list)

    @property
    def unit(self) -> Fraction:
        """Seconds of a timestamp's unit."""
        return self.facts.time_base

    def write(self, output: Path) -> None:
        """Write the film, whole or not at all; a folder's pictures each so."""
        form = FILM_FORMATS[output.suffix.lower() if not output.is_dir() else ""]
        try:
            if form.container is not None:
                with replacing(output) as beside:
                    self._mux(beside, form)
            elif output.suffix and not output.is_dir():
                with replacing(output) as beside:
                    write_animation(beside, self._list_frames, self._spans(), self.recipe)
            else:
                self._fill_folder(output)
        except (ImpastoError, MemoryError, OSError):
            raise
        except Exception as error:  # encoders raise whatever they stumble upon
            reason = describe_reason(error)
            raise ImageError(f"cannot write {output.name!r}: {reason}") from error

    # --- containers

    def _mux(self, beside: Path, form: FilmFormat) -> None:
        av = require("av", "films need PyAV", extra="video")
        how = {"fflags": "+bitexact"}  # no random numbers: the same film is the same bytes
        if form.container in ("mp4", "mov"):
            how["movflags"] = "+faststart"
        with ExitStack() as stack:
            first = stack.enter_context(av.open(str(self.pieces[0])))
            out = stack.enter_context(av.open(str(beside), "w", format=form.container, options=how))
            if self.recipe is not None:
                out.metadata["comment"] = f"{RECIPE_KEY} {self.recipe}"
            own = first.streams.video[0]
            video = out.add_stream_from_template(own)
            video.time_base = self.unit
            if has_alpha_tag(own):
                video.metadata["alpha_mode"] = "1"
            queues = [self._list_video(video, self.facts.rate)]
            if self.sound and self.facts.container is not None:
                source = stack.enter_context(open_container(self.facts.container))
                tracks = self._open_tracks(av, source, out, form)
                if tracks:
                    queues.append(self._list_tracks(source, tracks))
            for _, packet in heapq.merge(*queues, key=lambda entry: entry[0]):
                out.mux(packet)
        self.notes += [note for note in self._tell_mended() if note not in self.notes]

    def _list_video(self, stream: Any, rate: Fraction) -> Iterator[tuple[float, Any]]:
        """Yield the pieces' packets with the times that their frames had."""
        av = require("av", "films need PyAV", extra="video")
        orders = [self._order_frames(av, path, rate) for path in self.pieces]
        # Frames are coded so much before they are shown; the same for all pieces.
        delay = max(n - shown for order in orders for n, shown in enumerate(order))
        begun, unit = 0, self.unit
        for path, order in zip(self.pieces, orders, strict=True):
            with av.open(str(path)) as piece:
                packets = (packet for packet in piece.demux(video=0) if packet.pts is not None)
                for number, (packet, shown) in enumerate(zip(packets, order, strict=True)):
                    packet.pts = self._time(begun + shown)
                    packet.dts = self._time(begun + number - delay)
                    packet.duration = self._time(begun + shown + 1) - packet.pts
                    packet.time_base, packet.stream = unit, stream
                    yield float(packet.dts * unit), packet
            begun += len(order)

    def _order_frames(self, av: Any, path: Path, rate: Fraction) -> list[int]:
        """Return the numbers of a piece's frames in the order in which they are coded."""
        with av.open(str(path)) as piece:
            stamps = [
                round(packet.pts * packet.time_base * rate)
                for packet in piece.demux(video=0)
                if packet.pts is not None
            ]
        first = min(stamps, default=0)
        return [stamp - first for stamp in stamps]

    def _time(self, number: int) -> int:
        """Return a frame's timestamp; before the first, as if time went on evenly."""
        if number >= 0:
            return self.times[min(number, len(self.times) - 1)]
        step = self.times[min(1, len(self.times) - 1)] - self.times[0]
        return self.times[0] + number * max(1, step)

    # --- sound and subtitles

    def _open_tracks(self, av: Any, source: Any, out: Any, form: FilmFormat) -> dict[int, Track]:
        """Return what takes the packets of each stream that goes in, by the stream's number."""
        tracks: dict[int, Track] = {}
        for stream in (*source.streams.audio, *source.streams.subtitles):
            name = stream.codec_context.name if stream.codec_context else "unknown"
            what = "sound" if stream.type == "audio" else "subtitles"
            if _goes_in(stream, out, form):
                tracks[stream.index] = _Copy(stream, out.add_stream_from_template(stream))
            elif what == "sound" and form.sound:
                tracks[stream.index] = _Encode(av, stream, out, form.sound)
                self.notes.append(f"sound: {name} does not go in, encoded as {form.sound}")
            else:
                self.notes.append(f"{what}: {name} does not go in, left out")
        self.tracks = tracks
        return tracks

    def _list_tracks(self, source: Any, tracks: dict[int, Track]) -> Iterator[tuple[float, Any]]:
        """Yield the packets of sound and subtitles, from the time on at which the film begins."""
        begin = (self.facts.origin + self.shift) * self.unit
        end = begin + self.times[-1] * self.unit if self.is_cut else None
        for packet in demux_all(source, [source.streams[index] for index in tracks], []):
            track = tracks[packet.stream.index]
            if packet.pts is not None:
                at = packet.pts * packet.time_base
                span = (packet.duration or 0) * packet.time_base
                if (self.shift and at + span <= begin) or (end is not None and at >= end):
                    continue
                moved = round(begin / packet.time_base)
                packet.pts -= moved
                packet.dts = packet.pts if packet.dts is None else packet.dts - moved
            yield from track.take(packet)
        for track in tracks.values():
            yield from track.end()

    shift: int = 0  # the timestamp, since the film's beginning, at which this begins
    is_cut: bool = False  # it ends before the film does

    def _tell_mended(self) -> Iterator[str]:
        mended = sum(track.mended for track in getattr(self, "tracks", {}).values())
        if mended:
            yield f"sound: {plural(mended, 'timestamp')} that repeated or went back mended"

    # --- pictures

    def _spans(self) -> list[int]:
        """Return how long each frame is shown, in milliseconds."""
        edges = [round(time * self.unit * 1000) for time in self.times]
        return [max(1, after - before) for before, after in itertools.pairwise(edges)]

    def _list_frames(self) -> Iterator[np.ndarray]:
        for path in self.pieces:
            yield from read_piece(path)

    def _fill_folder(self, folder: Path) -> None:
        """Write pictures ``000001.png``, and so on."""
        make_folder(folder)
        for number, frame in enumerate(self._list_frames(), 1):
            values = torch.from_numpy(frame.copy()).permute(2, 0, 1)[None].float() / 255
            alpha = values[:, 3:] if values.shape[1] == 4 else None
            path = folder / f"{number:06}.png"
            write_image(path, values[:, :3], alpha=alpha, recipe=self.recipe)


def _goes_in(stream: Any, out: Any, form: FilmFormat) -> bool:
    """Return whether a container takes the packets of a stream."""
    context = stream.codec_context
    if context is None or stream.type == "subtitle":
        text = {"mp4": ("mov_text",), "mov": ("mov_text",), "webm": ("webvtt",)}
        usual = ("subrip", "ass", "ssa", "webvtt", "hdmv_pgs_subtitle")
        known = text.get(form.container or "", usual)
        # By the format's name: the decoder of subrip is called srt.
        return context is not None and context.codec.canonical_name in known
    return context.name in out.supported_codecs


# --- what takes packets ---------------------------------------------------------------------------


class Track:
    """A stream of the new film that takes the packets of an old one."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.mended = stream, 0
        self.last: int | None = None

    def take(self, packet: Any) -> Iterator[tuple[float, Any]]:
        """Yield what comes of a packet, and when it is due."""
        raise NotImplementedError

    def end(self) -> Iterator[tuple[float, Any]]:
        """Yield what is left at the end."""
        return iter(())

    def order(self, packet: Any) -> Any:
        """Return a packet whose time is after that of the one before it."""
        if self.last is not None and packet.dts <= self.last:
            packet.dts, self.mended = self.last + 1, self.mended + 1
            packet.pts = max(packet.pts, packet.dts)
        self.last = packet.dts
        return packet


class _Copy(Track):
    """Takes packets as they are."""

    def __init__(self, own: Any, stream: Any) -> None:
        super().__init__(stream)
        self.own = own

    def take(self, packet: Any) -> Iterator[tuple[float, Any]]:
        if packet.pts is None or packet.size == 0:
            return
        packet = self.order(packet)
        at = float(packet.dts * packet.time_base)
        packet.stream = self.stream
        yield at, packet


class _Encode(Track):
    """Decodes sound, and encodes it anew."""

    def __init__(self, av: Any, own: Any, out: Any, codec: str) -> None:
        rate = 48000 if codec == "libopus" else own.codec_context.sample_rate
        super().__init__(out.add_stream(codec, rate=rate, layout=own.codec_context.layout.name))
        self.av, self.own = av, own
        form = self.stream.codec_context.codec.audio_formats[0].name
        size = 960 if codec == "libopus" else 1024
        self.resampler = av.AudioResampler(
            form, own.codec_context.layout.name, rate, frame_size=size
        )

    def take(self, packet: Any) -> Iterator[tuple[float, Any]]:
        try:
            frames = packet.decode()
        except self.av.error.FFmpegError:  # a damaged packet is silence
            return
        for frame in frames:
            for part in self.resampler.resample(frame):
                yield from self._encode(part)

    def end(self) -> Iterator[tuple[float, Any]]:
        for part in self.resampler.resample(None):
            yield from self._encode(part)
        yield from self._encode(None)

    def _encode(self, frame: Any) -> Iterator[tuple[float, Any]]:
        for packet in self.stream.encode(frame):
            packet.stream = self.stream
            yield float(packet.dts * packet.time_base), self.order(packet)


def read_film_recipe(path: Path) -> str | None:
    """Return the recipe that a film carries; None if there is none."""
    if path.suffix.lower() == ".gif":
        with Image.open(path) as image:
            comment = image.info.get("comment", b"")
        text = comment.decode(errors="replace") if isinstance(comment, bytes) else ""
    else:
        with open_container(path) as container:
            found = {key.lower(): value for key, value in container.metadata.items()}
        text = found.get("comment", "")
    name, _, recipe = text.partition(" ")
    return recipe if name == RECIPE_KEY and recipe else None


def pack_recipe(recipe: dict[str, Any]) -> str:
    """Return a recipe as JSON."""
    return json.dumps(recipe, ensure_ascii=False)
