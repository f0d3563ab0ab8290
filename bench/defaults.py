"""Which options should be the default at 512 pixels: paint, judge, and look.

Sixty pictures: six photographs by ten paintings. Every candidate is a set of options; "plain" is
Gatys' method with the teacher network (`teacher.py`). Pictures, times and verdicts stay in OUT, so
that a study goes on where it was stopped. Pairs come in an order in which the first ten have each
painting once: `--pairs 10` is a fair sample.

    python bench/defaults.py paint default gram-50 --pairs 10 --data ../shared -o OUT
    python bench/defaults.py paint plain --data ../shared -o OUT
    python bench/defaults.py table --data ../shared -o OUT [--pairs 10]
    python bench/defaults.py sheet gram-50 plain -o OUT
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from teacher import Teacher, paint_plain, read_at

import impasto
from impasto.images.reading import read_image
from impasto.images.writing import to_pil

PHOTOS = ("bs_0055", "bs_0102", "bs_0290", "bs_0478", "in_0260", "in_0871")
PAINTINGS = (
    "starry_night_google",
    "the_scream",
    "wave",
    "mosaic",
    "sketch",
    "composition_vii",
    "udnie",
    "woman-with-hat-matisse",
    "shipwreck",
    "mondrian",
)
# Each painting with every third photograph first, then with those between.
PAIRS = [(PHOTOS[(j + shift) % 6], PAINTINGS[j]) for shift in (0, 3, 1, 4, 2, 5) for j in range(10)]
SIZE = 512
# What every candidate has unless its name says otherwise: the default before this study.
BASE = {
    "precision": "float32",
    "steps": 130,
    "start_size": 128,
    "tv_weight": 5.0,
    "content_layer": ("relu4_2",),
    "layer_weights": "given",
    "recolor": "moments",
}
MIXES = {"mix": ("gaussian", "histogram=0.5"), "gaugram": ("gaussian", "gram")}


def options_of(name: str) -> dict:
    """Parse ``gaussian-15-geo-n80``: loss, style weight, changes to BASE; or "default"."""
    if name == "default":
        return {"precision": "float32"}
    loss, weight, *changes = name.split("-")
    values: dict = BASE | {"style_loss": MIXES.get(loss, (loss,)), "style_weight": float(weight)}
    for change in changes:
        values |= CHANGES[change]
    return values


CHANGES: dict[str, dict] = {
    "fourier": {"canvas": "fourier"},
    "pyramid": {"canvas": "pyramid"},
    "adam": {"optimizer": "adam", "average": 0.9},
    "s256": {"start_size": 256},
    "s512": {"start_size": 512},
    "n80": {"steps": 80},
    "n90": {"steps": 90},
    "n200": {"steps": 200},
    "n400": {"steps": 400},
    "tv0": {"tv_weight": 0.0},
    "tv1": {"tv_weight": 1.0},
    "tv20": {"tv_weight": 20.0},
    "c3": {"content_layer": ("relu3_1", "relu4_1")},
    "c31": {"content_layer": ("relu3_1", "relu4_1")},
    "c41": {"content_layer": ("relu4_1",)},
    "self": {"content_loss": ("self-similarity",)},
    "lap": {"content_loss": ("features", "laplacian=0.1")},
    "nocolor": {"recolor": "none"},
    "avg": {"pooling": "avg"},
    "l4": {"style_layer": ("relu1_1", "relu2_1", "relu3_1", "relu4_1")},
    "lw": {"style_layer": ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1=0.3")},
    "all": {"style_layer": ("all",)},
    "shift": {"activation_shift": -1.0},
    "geo": {"layer_weights": "geometric"},
    "lr5": {"learning_rate": 0.05},
    "a0": {"average": 0.0},
}


class Study:
    """A folder of paintings by candidate, and what was measured of them."""

    def __init__(self, out: Path, data: Path) -> None:
        self.out, self.data = out, data
        self.teacher = Teacher(data / "teacher" / "vgg19_slim.safetensors")
        self.pictures: dict[Path, object] = {}

    def read(self, kind: str, name: str):
        path = self.data / kind / f"{name}.jpg"
        if path not in self.pictures:
            self.pictures[path] = read_at(path, SIZE)
        return self.pictures[path]

    def paint(self, name: str, pairs: int) -> None:
        """Paint what is missing, and judge it."""
        folder = self.out / name
        folder.mkdir(parents=True, exist_ok=True)
        for photo, painting in PAIRS[:pairs]:
            path = folder / f"{photo}-{painting}.png"
            content, style = self.read("photos", photo), self.read("paintings", painting)
            if not path.exists():
                began = time.perf_counter()
                if name == "plain":
                    pixels = paint_plain(self.teacher, content, style, weight=200.0)
                else:
                    pixels = impasto.paint(content, style, options_of(name)).pixels
                seconds = time.perf_counter() - began
                to_pil(pixels).save(path)
                self.note(folder, path.stem, seconds=seconds)
            if "gram" not in self.notes(folder).get(path.stem, {}):
                verdict = self.teacher.judge(read_image(path).pixels, content, style)
                self.note(folder, path.stem, **vars(verdict))
        print(name, summarise(self.verdicts(name, pairs)), flush=True)

    def notes(self, folder: Path) -> dict[str, dict]:
        path = folder / "notes.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def note(self, folder: Path, pair: str, **facts: float) -> None:
        notes = self.notes(folder)
        notes.setdefault(pair, {}).update(facts)
        (folder / "notes.json").write_text(json.dumps(notes, indent=1))

    def verdicts(self, name: str, pairs: int) -> dict[str, dict]:
        wanted = {f"{photo}-{painting}" for photo, painting in PAIRS[:pairs]}
        notes = self.notes(self.out / name)
        return {pair: facts for pair, facts in notes.items() if pair in wanted and "gram" in facts}


def summarise(verdicts: dict[str, dict]) -> str:
    """Take geometric means: distances of pairs differ tenfold."""
    if not verdicts:
        return "nothing"

    def mean(what: str) -> float:
        return math.exp(statistics.mean(math.log(v[what]) for v in verdicts.values()))

    seconds = [v["seconds"] for v in verdicts.values() if "seconds" in v]
    took = f"{statistics.median(seconds):.1f}" if seconds else "-"
    parts = [f"{mean(what):.4f}" for what in ("gram", "sliced", "content")]
    return f"| {len(verdicts)} | {' | '.join(parts)} | {took} |"


def write_sheet(out: Path, names: list[str], pairs: int, path: Path, data: Path) -> None:
    """Draw a row for each pair: photograph, style, and the candidates' paintings."""
    wide, tall, head = 300, 210, 18
    sheet = Image.new("RGB", (wide * (len(names) + 2), (tall + 2) * pairs + head), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for x, name in enumerate(("photograph", "style", *names)):
        draw.text((x * wide + 4, 2), name, fill="black", font=font)
    for y, (photo, painting) in enumerate(PAIRS[:pairs]):
        files = [data / "photos" / f"{photo}.jpg", data / "paintings" / f"{painting}.jpg"]
        files += [out / name / f"{photo}-{painting}.png" for name in names]
        for x, file in enumerate(files):
            if file.exists():
                image = Image.open(file).convert("RGB")
                image.thumbnail((wide - 2, tall))
                sheet.paste(image, (x * wide, head + y * (tall + 2)))
    sheet.save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("paint", "table", "sheet"))
    parser.add_argument("names", nargs="*")
    parser.add_argument("--data", type=Path, default=Path("../shared"))
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/defaults"))
    args = parser.parse_args()
    if args.what == "sheet":
        path = args.output / "sheet.png"
        write_sheet(args.output, args.names, args.pairs, path, args.data)
        return
    study = Study(args.output, args.data)
    if args.what == "paint":
        for name in args.names:
            study.paint(name, args.pairs)
        return
    names = args.names or sorted(p.name for p in args.output.iterdir() if p.is_dir())
    print("| candidate | pictures | style, Gram | style, sliced | content | seconds |")
    print("|---" * 6 + "|")
    for name in names:
        print(f"| {name} {summarise(study.verdicts(name, args.pairs))}")


if __name__ == "__main__":
    main()
