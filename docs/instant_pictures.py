"""Paint the pictures of docs/instant.md, from the bundled samples and networks alone.

python docs/instant_pictures.py any painters blends
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from paint_pictures import cut, paint, write_sheet
from PIL import Image

import impasto
from impasto.instant.painter import open_net
from impasto.samples.photographs import write_samples
from impasto.samples.style_pictures import STYLE_PICTURES

TILE = 220, 160
PHOTOS = ("cat.png", "coffee.png", "rocket.jpg")


def paint_at_once(content: Path, style: object, **options: object) -> Image.Image:
    return impasto.Instant(style, {"size": 512, **options})(content).to_pil()


def show_any(folder: Path) -> None:
    """Paint after five pictures, in one pass; and step by step, below."""
    styles = [folder / f"{name}.png" for name in STYLE_PICTURES]
    rows: list[list[Image.Image | None]] = [[None, *(cut(Image.open(s), *TILE) for s in styles)]]
    for name in PHOTOS:
        photo = folder / name
        painted = [cut(paint_at_once(photo, style), *TILE) for style in styles]
        rows.append([cut(Image.open(photo), *TILE), *painted])
    rows.append([None, *(cut(paint(folder / PHOTOS[0], style), *TILE) for style in styles)])
    write_sheet(rows, "instant-any")


def show_painters(folder: Path) -> None:
    """Paint as eight painters."""
    palette = open_net("painters").palette
    assert palette is not None
    names, half = palette.names, len(palette) // 2
    rows, captions = [], []
    for some in (names[:half], names[half:]):
        for name in PHOTOS[:2]:
            painted = [cut(paint_at_once(folder / name, s, model="painters")) for s in some]
            rows.append(painted)
            captions.append(list(some))
    write_sheet(rows, "instant-painters", captions)


def show_blends(folder: Path) -> None:
    """Blend from one painter to another."""
    shares = (0, 0.25, 0.5, 0.75, 1)
    row = [
        cut(
            paint_at_once(
                folder / PHOTOS[0],
                ["van-gogh", "hokusai"],
                model="painters",
                blend=[f"{1 - share},{share}"],
            )
        )
        for share in shares
    ]
    write_sheet([row], "instant-blends", [[f"{share:.0%} hokusai" for share in shares]])


SHEETS = {"any": show_any, "painters": show_painters, "blends": show_blends}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sheets", nargs="+", choices=SHEETS)
    with tempfile.TemporaryDirectory() as folder:
        write_samples(Path(folder))
        for name in parser.parse_args().sheets:
            SHEETS[name](Path(folder))


if __name__ == "__main__":
    main()
