"""Paint the pictures of the README and the docs, from the bundled samples alone.

python docs/paint_pictures.py grid weights recipes
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

import impasto
from impasto.options import list_recipes, read_recipe_file
from impasto.samples import write_samples
from impasto.styles import STYLES

HERE = Path(__file__).parent / "pictures"
GAP = 6


def tile(image: Image.Image, width: int, height: int) -> Image.Image:
    """Cut to the tile's shape and scaled to it."""
    scale = max(width / image.width, height / image.height)
    wide, tall = round(image.width * scale), round(image.height * scale)
    image = image.convert("RGB").resize((wide, tall), Image.Resampling.LANCZOS)
    left, top = (wide - width) // 2, (tall - height) // 2
    return image.crop((left, top, left + width, top + height))


def write_sheet(
    rows: list[list[Image.Image | None]], path: Path, labels: list[str] | None = None
) -> None:
    """Tiles in rows on white, with a line of text under each column if there are labels."""
    first = next(image for image in rows[0] if image)
    width, height = first.size
    foot = 22 if labels else 0
    size = (len(rows[0]) * (width + GAP) - GAP, len(rows) * (height + GAP) - GAP + foot)
    sheet = Image.new("RGB", size, "white")
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            if image:
                sheet.paste(image, (x * (width + GAP), y * (height + GAP)))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for x, label in enumerate(labels or []):
        middle = x * (width + GAP) + width // 2
        draw.text((middle, size[1] - foot + 2), label, fill="black", font=font, anchor="ma")
    for quality in range(90, 40, -4):  # what is kept in the repository stays under 300 KB
        sheet.save(path, quality=quality, optimize=True)
        if path.stat().st_size < 300_000:
            break
    print(path, sheet.size, path.stat().st_size, flush=True)


def paint(content: Path, style: Path, **options: object) -> Image.Image:
    began = time.perf_counter()
    painted = impasto.paint(content, style, {"size": 512, **options}).to_pil()
    print(f"{content.stem} {style.stem} {options}: {time.perf_counter() - began:.1f} s", flush=True)
    return painted


def paint_grid(folder: Path) -> None:
    styles = [folder / f"{name}.png" for name in STYLES]
    rows: list[list[Image.Image | None]] = [
        [None, *(tile(Image.open(style), 240, 180) for style in styles)]
    ]
    for name in ("cat.png", "coffee.png", "rocket.jpg"):
        photo = folder / name
        painted = [tile(paint(photo, style), 240, 180) for style in styles]
        rows.append([tile(Image.open(photo), 240, 180), *painted])
    write_sheet(rows, HERE / "grid.jpg")


def paint_weights(folder: Path) -> None:
    weights = [1, 5, 20, 50, 200, 1000]
    rows: list[list[Image.Image | None]] = []
    for name, style in (("coffee.png", "strokes"), ("cat.png", "glass")):
        rows.append(
            [
                tile(paint(folder / name, folder / f"{style}.png", style_weight=w), 300, 220)
                for w in weights
            ]
        )
    write_sheet(rows, HERE / "weights.jpg", [f"--style-weight {weight}" for weight in weights])


def paint_recipes(folder: Path) -> None:
    names = list(list_recipes())
    painted: list[Image.Image | None] = [
        tile(
            paint(
                folder / "coffee.png", folder / "waves.png", **({"size": 384} | read_recipe_file(n))
            ),
            300,
            220,
        )
        for n in names
    ]
    write_sheet([painted], HERE / "recipes.jpg", names)


def main() -> None:
    sheets = {"grid": paint_grid, "weights": paint_weights, "recipes": paint_recipes}
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sheets", nargs="+", choices=sheets)
    arguments = parser.parse_args()
    HERE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        write_samples(Path(folder))
        for sheet in arguments.sheets:
            sheets[sheet](Path(folder))


if __name__ == "__main__":
    main()
