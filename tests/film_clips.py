"""Films that the tests make for themselves, and what they read back."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from conftest import draw_picture

SIZE = 64, 48  # (width, height)


def draw_pan(count: int, *, seed: int = 0, step: int = 1, size=SIZE) -> list[np.ndarray]:
    """A window that moves over a picture, so many pixels to the right in each frame."""
    width, height = size
    scene = draw_picture(width + step * count, height, seed)
    return [scene[:, step * n : step * n + width].copy() for n in range(count)]


def draw_tone(samples: int, rate: int = 44100) -> np.ndarray:
    """A tone of 440 Hz, (1, samples) int16."""
    wave = np.sin(2 * np.pi * 440 * np.arange(samples) / rate)
    return (wave * 12000).astype(np.int16)[None]


def write_clip(
    path: Path,
    frames: Sequence[np.ndarray],
    *,
    rate: Fraction = Fraction(25),
    times: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    sound: str | None = None,
    sound_seconds: float | None = None,
    rotation: int = 0,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    options: dict[str, str] | None = None,
) -> Path:
    """Write frames (H, W, 3) uint8; with ``times`` in the time base, if they are uneven."""
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        stream.options = {"crf": "4", "g": "12"} if options is None else options
        if time_base is not None:
            stream.codec_context.time_base = time_base
            stream.time_base = time_base
        if rotation:
            stream.set_display_rotation(rotation)
        track: Any = None
        if sound is not None:
            track = container.add_stream(sound, rate=44100, layout="mono")
        for number, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture = picture.reformat(format=pixels)
            picture.pts = number if times is None else times[number]
            picture.time_base = time_base or 1 / rate
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
        if track is not None:
            seconds = sound_seconds or float(len(frames) / rate)
            tone = av.AudioFrame.from_ndarray(draw_tone(round(44100 * seconds)), "s16", "mono")
            tone.sample_rate, tone.pts, tone.time_base = 44100, 0, Fraction(1, 44100)
            form = track.codec_context.codec.audio_formats[0].name
            resampler = av.AudioResampler(form, "mono", 44100, frame_size=1024)
            for part in [*resampler.resample(tone), *resampler.resample(None)]:
                container.mux(track.encode(part))
            container.mux(track.encode())
    return path


def read_clip(path: Path) -> tuple[list[np.ndarray], list[Fraction]]:
    """Frames (H, W, 3), and the seconds at which they are shown."""
    frames, times = [], []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            frames.append(frame.to_ndarray(format="rgb24"))
            times.append(frame.pts * frame.time_base)
    return frames, times


def hash_sound(path: Path) -> tuple[str, int]:
    """A digest of the bytes of all packets of sound, and how many there are."""
    digest, count = hashlib.sha256(), 0
    with av.open(str(path)) as container:
        for packet in container.demux(container.streams.audio[0]):
            if packet.size:
                digest.update(bytes(packet))
                count += 1
    return digest.hexdigest(), count
