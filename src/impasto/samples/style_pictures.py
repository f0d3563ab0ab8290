"""Five style pictures that travel with the package. `training/draw_samples.py` drew them."""

from __future__ import annotations

from importlib import resources

from PIL import Image

from impasto.errors import OptionError, suggest

STYLE_PICTURES = {
    "strokes": "a night sky in thick strokes",
    "glass": "a sunrise in stained glass",
    "waves": "a woodcut of breaking waves",
    "dots": "a river at evening in dots of colour",
    "halftone": "a comic explosion, printed in coarse dots",
}
SMALLEST_SIDE, LARGEST_SIDE = 16, 640  # the largest is the side of the files


def open_style(name: str, side: int = 512) -> Image.Image:
    """Open one of `STYLE_PICTURES` as a square of `side` pixels; none is enlarged."""
    if name not in STYLE_PICTURES:
        raise OptionError(f"unknown style {name!r}{suggest(name, STYLE_PICTURES)}")
    if not SMALLEST_SIDE <= side <= LARGEST_SIDE:
        raise OptionError(
            f"the sample styles come at {SMALLEST_SIDE} to {LARGEST_SIDE} pixels a side, "
            f"not at {side}"
        )
    file = resources.files("impasto") / "data" / "samples" / f"{name}.jpg"
    with file.open("rb") as opened, Image.open(opened) as picture:
        return picture.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)
