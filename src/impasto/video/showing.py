"""Where painted frames are shown as they come: a window, a pipe, or a virtual camera."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from impasto.errors import DependencyError, ImageError, describe_reason
from impasto.video.encoding import open_pipe, open_virtual_camera


class Screen(Protocol):
    """What frames (H, W, 3) of uint8 are shown on."""

    def show(self, frame: np.ndarray, title: str) -> bool:
        """Show a frame; return whether more is wanted."""

    def close(self) -> None:
        """Take it down."""


class Window:
    """A window, by Tk; keys are handed on."""

    def __init__(self, on_key: Callable[[str], None]) -> None:
        try:
            import tkinter

            from PIL import ImageTk
        except ImportError as error:
            raise DependencyError(
                f"a window needs Tk, which this Python lacks ({error}); show it elsewhere: "
                "--to pipe | ffplay -"
            ) from None
        try:
            self.root = tkinter.Tk()
        except tkinter.TclError as error:
            raise ImageError(
                f"no window here: {describe_reason(error)}; show it elsewhere: --to pipe | ffplay -"
            ) from None
        self.make_photo: Any = ImageTk.PhotoImage
        self.label = tkinter.Label(self.root, borderwidth=0)
        self.label.pack()
        self.is_open = True
        self.root.bind("<Key>", lambda event: on_key(event.keysym))
        self.root.protocol("WM_DELETE_WINDOW", self._leave)

    def show(self, frame: np.ndarray, title: str) -> bool:
        """Show a frame, and hear what keys were pressed."""
        photo = self.make_photo(Image.fromarray(frame))
        self.label.configure(image=photo)
        self.photo = photo  # Tk does not keep it
        self.root.title(title)
        self.root.update()
        return self.is_open

    def close(self) -> None:
        """Close the window."""
        self.root.destroy()

    def _leave(self) -> None:
        self.is_open = False


class Stream:
    """A pipe, or a virtual camera: frames by libav."""

    def __init__(self, target: str, size: tuple[int, int], rate: float) -> None:
        opener = open_pipe if target == "pipe" else open_virtual_camera
        self.write, self.end = opener(target, size, rate)

    def show(self, frame: np.ndarray, title: str) -> bool:  # noqa: ARG002
        """Write a frame; a reader that is gone wants no more."""
        try:
            self.write(frame)
        except (BrokenPipeError, OSError):
            return False
        return True

    def close(self) -> None:
        """End the stream."""
        try:
            self.end()
        except OSError:
            sys.stdout = None  # nobody reads it


def open_screen(
    target: str, size: tuple[int, int], rate: float, on_key: Callable[[str], None]
) -> Screen:
    """Open a window, a pipe, or the device of a virtual camera."""
    if target == "window":
        return Window(on_key)
    if target != "pipe" and not Path(target).exists():
        raise ImageError(f"there is no virtual camera {target!r}; give window, pipe or /dev/videoN")
    return Stream(target, size, rate)
