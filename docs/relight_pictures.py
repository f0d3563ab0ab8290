"""Relight the pictures of docs/relight.md, from the bundled samples alone.

python docs/relight_pictures.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from paint_pictures import cut, write_sheet
from PIL import Image

from impasto.images.writing import to_pil
from impasto.photoreal.region_figure import draw_regions
from impasto.photoreal.relight import Relight
from impasto.samples.photographs import write_samples
from impasto.work import finish

TILE = 220, 160
PAIRS = (("rocket.jpg", "coffee.png"), ("coffee.png", "rocket.jpg"), ("cat.png", "astronaut.png"))


def relight_pair(photo: Path, like: Path) -> list[Image.Image | None]:
    """Return the photograph, what it is to be like, one map, regions, and these regions."""
    work = Relight(photo, like)
    relit = finish(work).to_pil()
    whole = finish(Relight(photo, like, {"regions": 1})).to_pil()
    regions = to_pil(draw_regions(work.get_fit()))
    left = regions.crop((0, 0, 640, regions.height))  # the photograph's
    pictures = [Image.open(photo), Image.open(like), whole, relit, left]
    return [cut(each.convert("RGB"), *TILE) for each in pictures]


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_samples(folder)
        write_sheet([relight_pair(folder / a, folder / b) for a, b in PAIRS], "relight")


if __name__ == "__main__":
    main()
