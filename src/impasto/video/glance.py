"""What a film is at a glance: its size, how long it is, and a small picture of it.

This goes without torch and numpy: the process that looks at strangers' files has little memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from impasto.images.inspection import FileFacts, make_thumbnail

_CONTAINERS = {"mp4": "mov,mp4,m4a,3gp,3g2,mj2", "webm": "matroska,webm", "avi": "avi"}
_AT = 0.1  # of the film's length, where it is looked at: films often begin in the dark


def look_at_film(path: Path, name: str) -> FileFacts:
    """Return what a film is; no more than its format where PyAV is missing or cannot read it."""
    try:
        import av
    except ImportError:
        return FileFacts("film", name)
    try:
        with av.open(str(path), container_options={"format_whitelist": _CONTAINERS[name]}) as film:
            return _look(av, film, name)
    except (av.error.FFmpegError, OSError, ValueError, StopIteration, IndexError):
        return FileFacts("film", name)  # reading it says what is wrong with it


def _look(av: Any, film: Any, name: str) -> FileFacts:
    stream = film.streams.video[0]
    stream.thread_type = "NONE"
    seconds = None if film.duration is None else film.duration / av.time_base
    if seconds:
        film.seek(int(_AT * film.duration))
    frame = next(film.decode(stream))
    image = frame.to_image()
    turn = int(getattr(frame, "rotation", 0) or 0)
    if turn:
        image = image.rotate(turn, expand=True)
    width, height = image.size
    thumbnail = make_thumbnail(image)
    return FileFacts("film", name, width, height, thumbnail=thumbnail, seconds=seconds)
