"""Paint the pictures of the README and the docs, from the bundled samples alone.

python docs/paint_pictures.py grid weights recipes defaults masterpiece losses colors masks
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

import impasto
from impasto.figures.contact_sheet import arrange, draw_sheet, fit_tile, save_sheet
from impasto.images.color_transfer import COLORS
from impasto.losses.content import CONTENT_LOSSES
from impasto.losses.style import STYLE_LOSSES
from impasto.recipes import list_recipes, read_recipe_file
from impasto.samples.photographs import write_samples
from impasto.samples.style_pictures import STYLE_PICTURES

HERE = Path(__file__).parent / "pictures"


def cut(image: Image.Image, width: int = 300, height: int = 220) -> Image.Image:
    return fit_tile(image, width, height, crop=True)


def write_sheet(
    rows: Sequence[Sequence[Image.Image | None]],
    name: str,
    captions: Sequence[Sequence[str]] = (),
) -> None:
    """Write a picture of at most 300 KB, for the repository."""
    tile = max(next(image for image in rows[0] if image).size)
    sheet = draw_sheet(rows, captions=captions, tile=tile)
    path = HERE / f"{name}.jpg"
    save_sheet(sheet, path, limit=300_000)
    print(path, sheet.size, path.stat().st_size, flush=True)


def paint(content: Path, style: Path | list[Path], **options: object) -> Image.Image:
    began = time.perf_counter()
    painting = impasto.paint(content, style, {"size": 512, **options})
    seconds, steps = time.perf_counter() - began, len(painting.history)
    print(f"{content.stem} {options}: {steps} steps, {seconds:.1f} s", flush=True)
    return painting.to_pil()


def write_named(tiles: list[Image.Image], names: list[str], sheet: str) -> None:
    """Draw a sheet of tiles four in a row, each with its name under it."""
    write_sheet(arrange(tiles, 4), sheet, arrange(names, 4))


def paint_grid(folder: Path) -> None:
    styles = [folder / f"{name}.png" for name in STYLE_PICTURES]
    rows: list[list[Image.Image | None]] = [
        [None, *(cut(Image.open(style), 240, 180) for style in styles)]
    ]
    for name in ("cat.png", "coffee.png", "rocket.jpg"):
        photo = folder / name
        painted = [cut(paint(photo, style), 240, 180) for style in styles]
        rows.append([cut(Image.open(photo), 240, 180), *painted])
    write_sheet(rows, "grid")


def paint_weights(folder: Path) -> None:
    weights = [1, 5, 15, 50, 200, 1000]
    rows: list[list[Image.Image | None]] = []
    for name, style in (("coffee.png", "strokes"), ("cat.png", "glass")):
        rows.append(
            [cut(paint(folder / name, folder / f"{style}.png", style_weight=w)) for w in weights]
        )
    write_sheet(rows, "weights", [[], [f"--style-weight {w}" for w in weights]])


def paint_recipes(folder: Path) -> None:
    names = list(list_recipes())
    painted = []
    for name in names:
        options = read_recipe_file(name)
        options["size"] = min(options.get("size", 384), 384)
        painted.append(cut(paint(folder / "coffee.png", folder / "waves.png", **options)))
    write_named(painted, names, "recipes")


def paint_defaults(folder: Path) -> None:
    names = ["default", "neighbours", "bold"]
    rows: list[list[Image.Image | None]] = []
    for photo, style in (("cat.png", "strokes"), ("astronaut.png", "glass")):
        painted = [
            paint(folder / photo, folder / f"{style}.png", **read_recipe_file(name))
            for name in names
        ]
        rows.append([cut(image, 420, 340) for image in painted])
    write_sheet(rows, "defaults", [names, names])


def paint_masterpiece(folder: Path) -> None:
    options = read_recipe_file("masterpiece")
    painted = paint(folder / "cat.png", folder / "strokes.png", **options)
    painted.save(HERE / "masterpiece.jpg", quality=88, optimize=True)


def paint_losses(folder: Path) -> None:
    names = [f"--style-loss {name}" for name in STYLE_LOSSES]
    names += [f"--content-loss {name}" for name in CONTENT_LOSSES]
    painted = []
    for name in names:
        option, loss = name[2:].replace("-loss ", "_loss ").split(" ")
        options = {option: (loss,), "size": 384}
        painted.append(cut(paint(folder / "coffee.png", folder / "waves.png", **options)))
    write_named(painted, names, "losses")


def paint_colors(folder: Path) -> None:
    photo, style = folder / "coffee.png", folder / "strokes.png"
    tiles = [cut(Image.open(path)) for path in (photo, style)]
    names = ["photograph", "style", "--only-color"]
    tiles.append(cut(paint(photo, style, size=384, only_color=True)))
    for name in COLORS:
        tiles.append(cut(paint(photo, style, size=384, color=name)))
        names.append(f"--color {name}")
    write_named(tiles, names, "colors")


def paint_masks(folder: Path) -> None:
    photo, waves, dots = folder / "coffee.png", folder / "waves.png", folder / "dots.png"
    size = Image.open(photo).size
    cup, rest = folder / "cup.png", folder / "rest.png"
    draw_cup(size).save(cup)
    draw_cup(size).point(lambda level: 255 - level).save(rest)
    both, map_photo, map_style = (folder / f"{n}.png" for n in ("both", "map1", "map2"))
    draw_collage(waves, dots).save(both)
    red, blue = (230, 60, 40), (40, 80, 220)
    hard = draw_cup(size, soft=0)
    Image.composite(Image.new("RGB", size, red), Image.new("RGB", size, blue), hard).save(map_photo)
    halves = Image.new("RGB", Image.open(both).size, red)
    halves.paste(blue, (halves.width // 2, 0, halves.width, halves.height))
    halves.save(map_style)
    tiles = [
        Image.open(cup),
        paint(photo, waves, size=384, mask=str(rest)),
        paint(photo, [dots, waves], size=384, style_mask=(str(cup), str(rest))),
        Image.open(both),
        Image.open(map_photo),
        Image.open(map_style),
        paint(photo, both, size=384, labels=(str(map_photo), str(map_style))),
        paint(photo, [waves, dots], size=384, style_blend=(1, 1)),
    ]
    names = [
        "cup.png; rest.png is its reverse",
        "--mask rest.png",
        "--style-mask cup.png, rest.png",
    ]
    names += [
        "a style",
        "--labels: of the photograph",
        "of the style",
        "--labels",
        "two styles blended",
    ]
    write_named([cut(t) for t in tiles], names, "masks")


def draw_cup(size: tuple[int, int], soft: float = 2) -> Image.Image:
    """Mask the cup and its saucer in scikit-image's coffee."""
    mask = Image.new("L", size)
    scale = size[0] / 600
    ImageDraw.Draw(mask).ellipse([v * scale for v in (120, 40, 500, 365)], fill=255)
    return mask.filter(ImageFilter.GaussianBlur(soft * scale)) if soft else mask


def draw_collage(left: Path, right: Path) -> Image.Image:
    """Put two styles side by side, as one picture."""
    first, second = Image.open(left).convert("RGB"), Image.open(right).convert("RGB")
    both = Image.new("RGB", (first.width * 2, first.height))
    both.paste(first, (0, 0))
    both.paste(second.resize(first.size), (first.width, 0))
    return both


def main() -> None:
    sheets = {
        "grid": paint_grid,
        "weights": paint_weights,
        "recipes": paint_recipes,
        "defaults": paint_defaults,
        "masterpiece": paint_masterpiece,
        "losses": paint_losses,
        "colors": paint_colors,
        "masks": paint_masks,
    }
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
