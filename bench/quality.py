"""Time to the same loss in the teacher's space: the plain method against the default recipe.

Both are judged in true VGG-19's feature space (`teacher.py`), which needs the teacher network and
pictures of the data folder. Plain is Gatys' script: one size, L-BFGS, 500 evaluations, in the
judge's own space. What an evaluation takes is measured with VGG-19 of full width, as the tutorials
write it (`speed.py`; random numbers for weights, which takes as long), in the same run.

    python bench/quality.py --data ../shared [--pairs 3]
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import impasto  # first: it says how torch is to take memory

import torch  # isort: skip
from defaults import PAIRS, SIZE  # isort: skip
from machine import describe_machine, keep  # isort: skip
from memory import load_random  # isort: skip
from speed import make_tutorial  # isort: skip
from teacher import Teacher, Verdict, paint_plain, read_at  # isort: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared"))
    parser.add_argument("--pairs", type=int, default=3)
    args = parser.parse_args()
    print(describe_machine())
    teacher = Teacher(args.data / "teacher" / "vgg19_slim.safetensors")
    heads = ("pair", "ours, s", "style, Gram", "sliced", "content", "plain reaches sliced", "Gram")
    print("\n| " + " | ".join((*heads, "its content then", "times faster")) + " |")
    print("|---" * 9 + "|")
    ratios = []
    for photo, painting in PAIRS[: args.pairs]:
        content = read_at(args.data / "photos" / f"{photo}.jpg", SIZE)
        style = read_at(args.data / "paintings" / f"{painting}.jpg", SIZE)
        impasto.paint(content, style, {"steps": 2})  # warm
        began = time.perf_counter()
        painted = impasto.paint(content, style)
        ours = time.perf_counter() - began
        verdict = teacher.judge(painted.pixels, content, style)
        step = make_tutorial(load_random("vgg19"), content, style)
        evaluation = min(step() for _ in range(3))
        del step
        seen: list[tuple[int, Verdict]] = []

        def watch(done: int, pixels: torch.Tensor, content=content, style=style, seen=seen) -> None:
            seen.append((done, teacher.judge(pixels, content, style)))

        paint_plain(teacher, content, style, 500, weight=200.0, watch=watch)

        def reach(what: str, seen=seen, verdict=verdict) -> tuple[int | None, Verdict]:
            wanted = getattr(verdict, what)
            for done, each in seen:
                if getattr(each, what) <= wanted:
                    return done, each
            return None, seen[-1][1]

        (sliced, then), (gram, _) = reach("sliced"), reach("gram")
        needed = (sliced or seen[-1][0]) * evaluation
        ratio = needed / ours
        ratios.append(ratio)
        more = "" if sliced else "more than "
        row = (
            f"{photo}, {painting}",
            f"{ours:.1f}",
            f"{verdict.gram:.4f}",
            f"{verdict.sliced:.4f}",
            f"{verdict.content:.2f}",
            f"{more}{sliced or seen[-1][0]} x {evaluation:.2f} s",
            str(gram),
            f"{then.content:.2f}",
            f"{more}{ratio:.0f}",
        )
        print("| " + " | ".join(row) + " |", flush=True)
        facts = {
            "ours": ours,
            "evaluation": evaluation,
            "sliced": sliced,
            "gram": gram,
            "verdict": vars(verdict),
            "plain": [[done, vars(each)] for done, each in seen],
        }
        keep("quality", f"{photo}, {painting}", facts)
    print(f"\nmedian: {statistics.median(ratios):.0f} times faster")


if __name__ == "__main__":
    main()
