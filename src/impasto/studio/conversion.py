"""A finished picture in another format, with its recipe inside."""

from __future__ import annotations

import tempfile
from pathlib import Path

_MOST_MEGAPIXELS = 50.0


def convert_picture(path: Path, suffix: str) -> bytes:
    """Return a picture's file as one whose name would end in ``suffix``; its recipe goes along."""
    from impasto.images.opening import read_recipe
    from impasto.images.reading import read_image
    from impasto.images.writing import write_image

    picture = read_image(path, max_megapixels=_MOST_MEGAPIXELS)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / f"picture{suffix}"
        recipe = read_recipe(path)
        write_image(target, picture.pixels, alpha=picture.alpha, recipe=recipe, depth=picture.depth)
        return target.read_bytes()
