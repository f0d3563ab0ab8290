"""Draw the picture of docs/film.md: a pan over a sample photograph, painted in two ways.

python docs/film_pictures.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import impasto  # first: it says how torch is to take memory

import numpy as np  # isort: skip
from PIL import Image  # isort: skip

from impasto.figures.contact_sheet import draw_sheet
from impasto.samples.photographs import write_samples

PICTURES = Path(__file__).parent / "pictures"
SHOWN = (12, 13, 14, 15)  # of the frames
SIZE = 320, 240
STEP = 1.7  # pixels to the right in each frame
DETAIL = (150, 90, 230, 150)  # of each frame, that is shown twice as large


def draw_pan(photo: Path) -> list[np.ndarray]:
    with Image.open(photo) as image:
        scene = image.convert("RGB").resize((480, 320), Image.Resampling.LANCZOS)
    box = [(60 + STEP * n, 40, 60 + STEP * n + SIZE[0], 40 + SIZE[1]) for n in range(SHOWN[-1] + 1)]
    return [np.asarray(scene.resize(SIZE, Image.Resampling.BICUBIC, box=each)) for each in box]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = {Path(path).stem: Path(path) for path in write_samples(Path(folder))}
        frames = draw_pan(paths["coffee"])
        rows = {"the film": frames}
        for name, steady in (("each by itself", False), ("steadied", True)):
            paint = impasto.FramePainter(str(paths["strokes"]), {"steady": steady})
            rows[name] = list(paint.stream(frames))
    tiles = [[Image.fromarray(some[n]).crop(DETAIL) for n in SHOWN] for some in rows.values()]
    tiles = [[tile.resize((240, 180), Image.Resampling.LANCZOS) for tile in row] for row in tiles]
    sheet = draw_sheet(tiles, row_labels=list(rows), column_labels=[f"frame {n}" for n in SHOWN])
    sheet.save(PICTURES / "film.jpg", quality=88)


if __name__ == "__main__":
    main()
