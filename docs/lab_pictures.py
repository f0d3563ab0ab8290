"""Make the pictures of docs/lab.md, from the bundled samples alone, in a quarter of an hour.

python docs/lab_pictures.py textures inversions dreams features studies sweep tune augment
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

import impasto
from impasto.datasets.options import NOISE_NAMES
from impasto.figures.contact_sheet import arrange, draw_sheet, fit_tile, save_sheet
from impasto.samples.photographs import write_samples
from impasto.samples.style_pictures import STYLE_PICTURES

HERE = Path(__file__).parent / "pictures"
LIMIT = 300_000  # bytes of a picture that is kept in the repository


def keep(sheet: Image.Image, name: str) -> None:
    path = HERE / f"lab-{name}.jpg"
    save_sheet(sheet, path, limit=LIMIT)
    print(path, sheet.size, path.stat().st_size, flush=True)


def keep_figure(figure: Path, name: str, width: int = 1000) -> None:
    """Write a figure in few colours: it is lines, greys, and thumbnails."""
    image = Image.open(figure).convert("RGB")
    image.thumbnail((width, width))
    path = HERE / f"lab-{name}.png"
    image.quantize(128, method=Image.Quantize.FASTOCTREE).save(path, optimize=True)
    print(path, image.size, path.stat().st_size, flush=True)


def make_textures(folder: Path) -> None:
    rows: list[list[Image.Image]] = [[], [], []]
    for name in STYLE_PICTURES:
        exemplar = folder / f"{name}.png"
        rows[0].append(fit_tile(Image.open(exemplar).convert("RGB"), 300, 200, crop=True))
        rows[1].append(impasto.texture(exemplar, {"size": "480x320"}).to_pil())
        options = {"size": "240x160", "tileable": True, "style_scale": 0.5}
        tile = impasto.texture(exemplar, options).to_pil()
        four = Image.new("RGB", (480, 320))
        for corner in ((0, 0), (240, 0), (0, 160), (240, 160)):
            four.paste(tile, corner)
        rows[2].append(four)
        print(name, flush=True)
    labels = ["exemplar", "texture", "--tileable, four copies"]
    keep(draw_sheet(rows, row_labels=labels, tile=270), "textures")


def make_inversions(folder: Path) -> None:
    layers = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu4_2", "relu5_1", "relu5_4")
    out = folder / "inverted"
    impasto.invert_layers(folder / "cat.png", out, {"layer": layers})
    keep(Image.open(out / "sheet.png"), "inversions")


def make_dreams(folder: Path) -> None:
    tiles, captions = [], []
    for label in ("goldfish", "school bus", "monarch", "pizza"):
        tiles.append(impasto.dream(options={"class": label}).to_pil())
        captions.append(f'--class "{label}"')
    for layer, channel in (("relu2_1", 5), ("conv4_2", 17), ("relu5_1", 3), ("relu5_1", 40)):
        tiles.append(impasto.dream(options={"layer": layer, "channel": channel}).to_pil())
        captions.append(f"--layer {layer} --channel {channel}")
    for layer in ("relu3_1", "relu4_2", "relu5_1", "relu5_4"):
        dream = impasto.dream(folder / "cat.png", {"layer": layer, "size": 360}).to_pil()
        tiles.append(fit_tile(dream, 240, 240, crop=True))
        captions.append(f"cat.png --layer {layer}")
    keep(draw_sheet(arrange(tiles, 4), captions=arrange(captions, 4), tile=224), "dreams")


def show_features(folder: Path) -> None:
    out = folder / "features"
    impasto.features(folder / "cat.png", out, {"layer": ("relu3_1",), "top": 8})
    keep_figure(out / "relu3_1-maps.png", "maps")
    keep_figure(out / "relu3_1-gram.png", "gram", 560)


def make_studies(folder: Path) -> None:
    photo, style = folder / "coffee.png", folder / "strokes.png"
    for subject in ("layers", "depth", "starts", "steps"):
        out = folder / subject
        impasto.study(subject, photo, style, out)
        keep(shrink(Image.open(out / "sheet.png"), 1400), subject)
        if subject == "steps":
            keep_figure(out / "times.png", "times", 700)


def shrink(image: Image.Image, width: int) -> Image.Image:
    image.thumbnail((width, width), Image.Resampling.LANCZOS)
    return image


def make_sweep(folder: Path) -> None:
    out = folder / "sweep"
    vary = {"style_weight": [1, 5, 15, 50, 150], "tv_weight": [1, 5, 25]}
    impasto.sweep(folder / "cat.png", folder / "waves.png", vary, out)
    keep(shrink(Image.open(out / "sheet.png"), 1400), "sweep")
    keep_figure(out / "distances.png", "distances")
    page = impasto.write_report(out)
    print(page, page.stat().st_size, flush=True)


def make_search(folder: Path) -> None:
    out = folder / "tuned"
    impasto.tune(folder / "cat.png", folder / "glass.png", out, {"trials": 30})
    keep_figure(out / "pareto.png", "pareto")
    print((out / "knee.toml").read_text(), flush=True)


def make_copies(folder: Path) -> None:
    source = folder / "labelled"
    for name in ("cat.png", "coffee.png", "astronaut.png"):
        image = Image.open(folder / name).convert("RGB")
        side = min(image.size)
        (source / Path(name).stem).mkdir(parents=True)
        fit_tile(image, side, side, crop=True).resize((160, 160)).save(
            source / Path(name).stem / name
        )
    rows: list[Sequence[Image.Image]] = []
    labels = []
    for styliser, noise in (("color", ()), ("statistics", ()), ("statistics", NOISE_NAMES)):
        out = folder / f"copies-{styliser}-{len(noise)}"
        styles = [str(folder / f"{name}.png") for name in STYLE_PICTURES]
        options = {"styliser": styliser, "noise": noise, "per_image": 2, "strength": "0.9"}
        impasto.augment(source, out, styles, options)
        pictures = sorted(out.glob("*/*.png"), key=lambda path: (path.parent.name, path.stem))
        rows.append([Image.open(path).convert("RGB") for path in pictures])
        labels.append(f"--styliser {styliser}" + (" --noise gaussian,blur,spots" if noise else ""))
    keep(draw_sheet(rows, row_labels=labels, tile=160), "copies")
    shutil.rmtree(source)


def main() -> None:
    sheets = {
        "textures": make_textures,
        "inversions": make_inversions,
        "dreams": make_dreams,
        "features": show_features,
        "studies": make_studies,
        "sweep": make_sweep,
        "tune": make_search,
        "augment": make_copies,
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
