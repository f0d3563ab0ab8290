"""Painting in one pass: how fast, how near to the painter's default, how steady.

Quality is judged in true VGG-19's feature space (`teacher.py`), on photographs and paintings that
training never saw: every tenth of each. The painter paints each pair at several style weights; at
the content distance of the one pass, its style distance is read off between them. Gain is how much
nearer to the style than the photograph; and, which is harder, than the photograph in its colours.

    python bench/instant.py speed
    python bench/instant.py quality --data ../shared [--pairs 20]
    python bench/instant.py steady --data ../shared
"""

from __future__ import annotations

import argparse
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
from impasto.instant.net import NET_SHAPES, PaintingNet
from impasto.instant.painter import Instant
from impasto.system.devices import choose_machine, seeded, settle_precision, working_on
from impasto.system.memory import keeping_memory

SIDE = 384  # pixels of a long side that is judged
WEIGHTS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)  # of the style, with the painter
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


def list_unseen(data: Path, pairs: int) -> list[tuple[Path, Path]]:
    """List photographs and paintings that training leaves out: every tenth."""
    photos = sorted((data / "photos").glob("*.jpg"))[::10]
    paintings = sorted((data / "paintings").glob("*.jpg"))[::10]
    photos = photos[:: max(1, len(photos) // pairs)]
    return [(photos[i % len(photos)], paintings[i % len(paintings)]) for i in range(pairs)]


def measure_quality(data: Path, pairs: int) -> None:
    teacher = Teacher(data / "teacher" / "vgg19_slim.safetensors")
    heads = ("pair", "content", "style of photo", "recoloured", "painter", "one pass", "gain")
    print("\n| " + " | ".join((*heads, "over colour")) + " |\n" + "|---" * 8 + "|")
    shares: list[tuple[float, float]] = []
    for photo_path, style_path in list_unseen(data, pairs):
        photo, style = read_at(photo_path, SIDE), read_at(style_path, SIDE)
        colored = match_color(photo, style)
        first, second = (teacher.judge(each, photo, style) for each in (photo, colored))
        ours = teacher.judge(Instant(style)(photo).pixels, photo, style)
        curve = [(second.content, second.sliced)]
        for weight in WEIGHTS:
            painted = impasto.paint(photo, style, {"style_weight": weight}).pixels
            verdict = teacher.judge(painted, photo, style)
            curve.append((verdict.content, verdict.sliced))
        theirs = read_curve(curve, ours.content)
        gain, harder = (
            (begin.sliced - ours.sliced) / (begin.sliced - theirs) for begin in (first, second)
        )
        shares.append((gain, harder))
        numbers = (ours.content, first.sliced, second.sliced, theirs, ours.sliced)
        pair = f"{photo_path.stem}, {style_path.stem}"
        shown = [f"{n:.4f}" for n in numbers] + [f"{gain:.2f}", f"{harder:.2f}"]
        print(f"| {pair} | " + " | ".join(shown) + " |", flush=True)
        facts = {"ours": vars(ours), "photo": vars(first), "colored": vars(second), "curve": curve}
        keep("instant quality", pair, facts)
    plain, over = (statistics.median(column) for column in zip(*shares, strict=True))
    print(f"\nmedian share of the painter's gain: {plain:.2f}; over colour alone: {over:.2f}")
    keep("instant quality", "median shares", {"gain": plain, "over colour": over})


def read_curve(curve: list[tuple[float, float]], content: float) -> float:
    """Interpolate the least style distance at a content distance."""
    curve = sorted(curve)
    if content >= curve[-1][0]:
        return curve[-1][1]
    for (low, before), (high, after) in pairwise(curve):
        if low <= content <= high:
            return before + (after - before) * (content - low) / max(high - low, 1e-9)
    return curve[0][1]


def measure_steadiness(data: Path) -> None:
    """Measure how far a painting moves when the photograph does by one level of grey."""
    moved = []
    for photo_path, style_path in list_unseen(data, 10):
        photo, paint = read_at(photo_path, 512), Instant(read_at(style_path, 512))
        noise = torch.randn(photo.shape, generator=seeded(0)) / 255
        noisy = (photo + noise).clamp(0, 1)
        away = (paint(noisy).pixels - paint(photo).pixels).square().mean().sqrt()
        moved.append(float(away * 255))
    levels = np.array(moved)
    print(
        f"\nnoise of 1.0 levels moves the painting by {levels.mean():.2f} levels (rms; "
        f"{levels.min():.2f} to {levels.max():.2f})"
    )
    keep("instant steadiness", "levels", moved)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("speed", "quality", "steady"))
    parser.add_argument("--data", type=Path, default=Path("../shared"))
    parser.add_argument("--pairs", type=int, default=20)
    args = parser.parse_args()
    print(describe_machine())
    if args.what == "speed":
        measure_speed()
    elif args.what == "quality":
        measure_quality(args.data, args.pairs)
    else:
        measure_steadiness(args.data)


if __name__ == "__main__":
    main()
