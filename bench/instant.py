"""Painting in one pass: how fast, how near to the painter's default, how steady.

Quality is judged in true VGG-19's feature space (`teacher.py`), on photographs and paintings that
training never saw: every tenth of each. `pairs` has the painter's default paint some of them, which
takes long, and keeps what the judge says of it; `quality` compares with that. Gain is how much
nearer to the style a painting is than the photograph in the style's colours, over the default's.

    python bench/instant.py speed
    python bench/instant.py pairs --data ../shared --pairs FOLDER [--count 20]
    python bench/instant.py quality --data ../shared --pairs FOLDER [--model FILE]
    python bench/instant.py steady --data ../shared
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import time
from itertools import pairwise
from pathlib import Path

import impasto  # first: it says how torch is to take memory

import numpy as np  # isort: skip
import torch  # isort: skip
from machine import describe_machine, keep  # isort: skip
from memory import draw_photo, draw_style  # isort: skip
from microast import MicroNet  # isort: skip
from teacher import Teacher, read_at  # isort: skip

from impasto.errors import ImpastoError
from impasto.images.color_transfer import match_color
from impasto.instant.engines import ENGINES, choose_engine
from impasto.instant.net import NET_SHAPES, USUAL_WEIGHT, PaintingNet
from impasto.instant.painter import Instant
from impasto.system.devices import choose_machine, seeded, settle_precision, working_on
from impasto.system.memory import keeping_memory

SIDE = 512  # pixels of a long side that is judged
DIAL = (1.5, 3.0, 5.0, 9.0, 15.0, 30.0, 60.0, 100.0, 150.0)  # style weights
ROUNDS = 15


def measure_speed() -> None:
    machine = settle_precision(choose_machine())
    print(f"\n{machine.describe()}\n\n| net | " + " | ".join(ENGINES) + " |")
    print("|---" * (1 + len(ENGINES)) + "|")
    photo = draw_photo(512)
    for name, layout in NET_SHAPES.items():
        net = PaintingNet(layout).requires_grad_(False)
        numbers, times = torch.zeros(net.count), {}
        for engine in ENGINES:
            try:
                run, _ = choose_engine(engine, net, machine, (512, 512))
            except ImpastoError:
                continue
            with keeping_memory():
                times[engine] = best_of(lambda run=run, numbers=numbers: run(photo, numbers))
        shown = [f"{times[e] * 1e3:.0f} ms" if e in times else "not here" for e in ENGINES]
        print(f"| {name} | " + " | ".join(shown) + " |", flush=True)
        keep("instant speed", name, times)
    compare_with_microast(photo)
    style, picture = draw_style(), draw_photo(512)
    for engine in ("torch", "auto"):
        paint = Instant(style, {"engine": engine})
        paint(picture)
        whole = best_of(lambda paint=paint: paint(picture))
        print(f"\nInstant(style)(photo), engine {engine}: {whole * 1e3:.0f} ms")
        keep("instant speed", f"call, {engine}", whole)


@torch.no_grad()
def compare_with_microast(photo: torch.Tensor) -> None:
    """Time both in float32, by torch, in turn: what a machine does beside hits both alike."""
    torch.manual_seed(0)
    theirs = MicroNet().to(memory_format=torch.channels_last)
    ours = PaintingNet(NET_SHAPES["any"]).to(memory_format=torch.channels_last)
    numbers = torch.zeros(1, ours.count)
    photo = photo.contiguous(memory_format=torch.channels_last)
    with working_on(photo.device), keeping_memory():
        pairs = [
            (best_of(lambda: theirs(photo), 3), best_of(lambda: ours(photo, numbers), 3))
            for _ in range(5)
        ]
    slow, fast = (min(times) for times in zip(*pairs, strict=True))
    print(
        f"\na net of MicroAST's shape takes {slow * 1e3:.0f} ms, the one for any style "
        f"{fast * 1e3:.0f} ms (torch, float32): {slow / fast:.1f} times"
    )
    keep("instant speed", "MicroAST's shape over ours, float32", slow / fast)


def best_of(run, rounds: int = ROUNDS) -> float:
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return min(times)


def list_unseen(data: Path, count: int) -> list[tuple[Path, Path]]:
    """List photographs and paintings that training leaves out: every tenth."""
    photos = sorted((data / "photos").glob("*.jpg"))[::10]
    paintings = sorted((data / "paintings").glob("*.jpg"))[::10]
    photos = photos[:: max(1, len(photos) // count)]
    return [(photos[i % len(photos)], paintings[i % len(paintings)]) for i in range(count)]


def paint_pairs(data: Path, folder: Path, count: int) -> None:
    """Paint pairs by the painter's default, and keep them with what the judge says of them."""
    teacher = Teacher(data / "teacher" / "vgg19_slim.safetensors")
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for photo_path, style_path in list_unseen(data, count):
        photo, style = read_at(photo_path, SIDE), read_at(style_path, SIDE)
        colored = teacher.judge(match_color(photo, style), photo, style)
        painted = teacher.judge(impasto.paint(photo, style).pixels, photo, style)
        for path in (photo_path, style_path):
            shutil.copy(path, folder)
        row = {"photo": photo_path.name, "style": style_path.name, "weight": USUAL_WEIGHT}
        rows.append({**row, **vars(painted), "recoloured": vars(colored)})
        print(row, painted, flush=True)
        (folder / "defaults.json").write_text(json.dumps(rows, indent=1))


def measure_quality(data: Path, folder: Path, model: str | None) -> None:
    """Compare paintings at many style weights with the painter's default, by both distances."""
    teacher = Teacher(data / "teacher" / "vgg19_slim.safetensors")
    rows = json.loads((folder / "defaults.json").read_text())
    systems: dict[str, list[tuple[float, float, float]]] = {}
    print("\nstyle / content\n\n| pair | recoloured | default | one pass | gain |")
    print("|---" * 5 + "|")
    for row in rows:
        photo, style = (read_at(folder / row[each], SIDE) for each in ("photo", "style"))
        begin, paint = row["recoloured"], Instant(style, {"engine": "torch", "model": model})
        known = {"recoloured": begin, "the painter's default": row}
        found = {name: (each["sliced"], each["content"]) for name, each in known.items()}
        for weight in DIAL:
            verdict = teacher.judge(paint(photo, style_weight=weight).pixels, photo, style)
            found[f"{weight:g}"] = verdict.sliced, verdict.content
        for name, (away, content) in found.items():
            gain = (begin["sliced"] - away) / (begin["sliced"] - row["sliced"])
            systems.setdefault(name, []).append((away, content / row["content"], gain))
        names = ("recoloured", "the painter's default", f"{USUAL_WEIGHT:g}")
        shown = [f"{found[name][0]:.3f} / {found[name][1]:.3f}" for name in names]
        pair = f"{Path(row['photo']).stem}, {Path(row['style']).stem}"
        print(
            f"| {pair} | " + " | ".join(shown) + f" | {systems[names[2]][-1][2]:.2f} |", flush=True
        )
    print("\n| style weight | style | content over the default's | gain | least gain |")
    print("|---" * 5 + "|")
    for name, values in systems.items():
        style_distance, content, gain = (
            statistics.median(column) for column in zip(*values, strict=True)
        )
        least = min(each[2] for each in values)
        print(f"| {name} | {style_distance:.3f} | {content:.2f} | {gain:.2f} | {least:.2f} |")
        keep("instant quality", name, values)
    turns = [[systems[f"{weight:g}"][i] for weight in DIAL] for i in range(len(rows))]
    for number, word, way in ((0, "style", -1), (1, "content", 1)):
        steady = sum(
            all(way * (b[number] - a[number]) >= 0 for a, b in pairwise(turn)) for turn in turns
        )
        print(
            f"{word} changes one way from each weight to the next: {steady} of {len(turns)} pairs"
        )


def measure_steadiness(data: Path) -> None:
    """Measure how far paintings move: by noise of one level, and by a pan of one pixel.

    A pan with the grain where it is, as film was painted once; and as ``hold`` paints it, with
    statistics held and the grain moved along. What is left then is the network's own.
    """
    found: dict[str, list[float]] = {}
    for photo_path, style_path in list_unseen(data, 10):
        photo, paint = read_at(photo_path, 512), Instant(read_at(style_path, 512))
        painted = paint(photo).pixels
        noise = torch.randn(photo.shape, generator=seeded(0)) / 255
        ways = {"noise of one level": (paint((photo + noise).clamp(0, 1)).pixels, painted)}
        ways["a pan of one pixel"] = paint(photo[..., 1:]).pixels, painted[..., 1:]
        held = paint.hold(photo)
        size = (photo.shape[2], photo.shape[3] - 1)
        still = held(photo[..., :-1], held.find_grain(size))
        along = held(photo[..., 1:], held.find_grain(size, (0, -1)))
        ways["the same, held"] = along[..., :-1], still[..., 1:]
        for name, (one, other) in ways.items():
            inside = (one - other)[..., 48:-48, 48:-48]
            found.setdefault(name, []).append(float(inside.square().mean().sqrt() * 255))
    print("\n| | levels (rms) | least | most |\n|---|---|---|---|")
    for name, levels in found.items():
        numbers = f"{np.mean(levels):.2f} | {min(levels):.2f} | {max(levels):.2f}"
        print(f"| {name} | {numbers} |")
        keep("instant steadiness", name, levels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("speed", "pairs", "quality", "steady"))
    parser.add_argument("--data", type=Path, default=Path("../shared"))
    parser.add_argument("--pairs", type=Path, help="what 'pairs' writes, and 'quality' reads")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--model", help="another network for any style")
    args = parser.parse_args()
    print(describe_machine())
    if args.what in ("pairs", "quality") and args.pairs is None:
        parser.error("it needs --pairs FOLDER")
    if args.what == "speed":
        measure_speed()
    elif args.what == "pairs":
        paint_pairs(args.data, args.pairs, args.count)
    elif args.what == "quality":
        measure_quality(args.data, args.pairs, args.model)
    else:
        measure_steadiness(args.data)


if __name__ == "__main__":
    main()
