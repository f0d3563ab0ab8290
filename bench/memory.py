"""Peak memory and time over size: linear in pixels, and flat past what is granted.

Each size is painted with the default options in a process of its own, whose highest resident memory
the system keeps. Photographs are drawn, so that any machine can run this.

    python bench/memory.py --sizes 256 512 1024 2048 4096 --memory 4G
    python bench/memory.py --sizes 2048 --memory 6G --backbone vgg19   (random numbers for weights)
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import impasto  # first: it says how torch is to take memory

import numpy as np  # isort: skip
import torch  # isort: skip
from machine import describe_machine, keep  # isort: skip

from impasto.networks.layers import BACKBONES
from impasto.networks.vgg import Backbone
from impasto.painting import painter


def draw_photo(side: int) -> torch.Tensor:
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
    planes = [
        0.5 + 0.4 * np.sin(9 * x + 5 * y),
        0.5 + 0.4 * np.sin(23 * x * y),
        0.5 + 0.4 * np.cos(31 * y),
    ]
    return torch.from_numpy(np.stack(planes))[None]


def draw_style(side: int = 640) -> torch.Tensor:
    noise = torch.rand(1, 3, side // 8, side // 8, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(noise, size=(side, side), mode="bicubic").clamp(0, 1)


def load_random(name: str) -> Backbone:
    """Load a network of the right shape whose features neither vanish nor explode."""
    generator = torch.Generator().manual_seed(0)
    tensors = {
        "preprocess.weight": torch.eye(3)[:, :, None, None] * 4,
        "preprocess.bias": torch.full((3,), -2.0),
    }
    for conv, shape in BACKBONES[name].shapes().items():
        tensors[f"{conv}.weight"] = (
            torch.randn(shape, generator=generator) * (2 / 9 / shape[1]) ** 0.5
        )
        tensors[f"{conv}.bias"] = torch.zeros(shape[0])
    return Backbone.from_tensors(tensors, BACKBONES[name])


def paint_one(side: int, options: dict) -> None:
    """Run in a process of its own and print what it took, as JSON."""
    if options["backbone"] != "compact":
        painter.load_backbone = lambda name, **_: load_random(name)
    work = painter.Painter(
        draw_photo(side), draw_style(), impasto.PaintOptions.read(options | {"size": side})
    )
    began = time.perf_counter()
    last = [step.seconds for step in work.steps() if step.size == (side, side)]
    seconds = time.perf_counter() - began
    work.result().to_pil()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    facts = {
        "side": side,
        "tiles": work.plan.levels[-1].tiles,
        "planned": work.plan.needed,
        "peak": peak,
        "seconds": seconds,
        "step": (last[-1] - last[0]) / max(len(last) - 1, 1),
        "precision": work.options.precision,
    }
    print(json.dumps(facts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024, 2048, 4096])
    parser.add_argument("--memory", default="4G")
    parser.add_argument("--backbone", default="compact")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--one", type=int)
    args = parser.parse_args()
    options = {
        "memory": args.memory,
        "backbone": args.backbone,
        "precision": args.precision,
    }
    if args.one:
        paint_one(args.one, options)
        return
    print(describe_machine())
    print(f"\n{args.backbone}, {args.memory} granted\n")
    print(
        "| size | tiles | peak, GiB | planned, GiB | seconds | a step at this size, s | s / Mpx |"
    )
    print("|---" * 7 + "|")
    for side in args.sizes:
        command = [sys.executable, __file__, "--one", str(side), "--memory", args.memory]
        command += ["--backbone", args.backbone, "--precision", args.precision]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"| {side} | {done.stderr.strip().splitlines()[-1]} |", flush=True)
            continue
        facts = json.loads(done.stdout.splitlines()[-1])
        keep("memory", f"{args.backbone} {args.memory} {args.precision} {side}", facts)
        mega = side * side / 1e6
        print(
            f"| {side} | {facts['tiles']} | {facts['peak'] / 2**30:.2f} "
            f"| {facts['planned'] / 2**30:.2f} | {facts['seconds']:.1f} "
            f"| {facts['step']:.3f} | {facts['seconds'] / mega:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
