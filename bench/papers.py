"""What the programs of STROTSS and neural neighbours cost here, beside the recipes of those names.

Their networks are built with random weights: a step is timed at each of their sizes, and taken as
often as their papers say. Counted is the network to its deepest layer, forwards and back, and their
largest table of distances; what else they do is left out, so they take longer than this.

    python bench/papers.py [--threads 2]
"""

from __future__ import annotations

import argparse
import time

import torch
from machine import describe_machine
from torch import Tensor, nn
from torch.nn import functional

import impasto
from impasto.recipes import read_recipe_file
from impasto.samples.photographs import find_photograph
from impasto.samples.style_pictures import open_style

SIZES = (64, 128, 256, 512)
WIDTHS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 1))  # VGG-16 to conv5_1
COLUMN = 2179  # numbers in a column of STROTSS


def make_vgg16() -> nn.Sequential:
    """Build VGG-16 to relu5_1, its weights random."""
    layers: list[nn.Module] = []
    entering = 3
    for block, (width, count) in enumerate(WIDTHS):
        layers += [nn.MaxPool2d(2)] if block else []
        for _ in range(count):
            layers += [nn.Conv2d(entering, width, 3, padding=1), nn.ReLU()]
            entering = width
    return nn.Sequential(*layers).requires_grad_(False)


def find_cosines(ours: Tensor, theirs: Tensor) -> Tensor:
    """Return the table of cosine distances of rows."""
    return 1 - functional.normalize(ours, dim=1) @ functional.normalize(theirs, dim=1).T


def time_step(network: nn.Sequential, side: int, rows: int, pool: int) -> float:
    """Return the seconds of a step: the network, and a table of so many columns by so many."""
    picture = torch.rand(1, 3, side, side, requires_grad=True)
    ours, theirs = torch.rand(rows, COLUMN, requires_grad=True), torch.rand(pool, COLUMN)
    spent = []
    for _ in range(4):
        began = time.perf_counter()
        network(picture).sum().backward()
        find_cosines(ours, theirs).min(1).values.mean().backward()
        spent.append(time.perf_counter() - began)
    return min(spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    torch.set_num_threads(parser.parse_args().threads)
    print(describe_machine())
    network = make_vgg16()
    steps = {side: time_step(network, side, 1024, 5000) for side in SIZES}
    strotss = sum(steps[side] * (200 if side < SIZES[-1] else 100) for side in SIZES)
    plain = {side: time_step(network, side, 1, 1) for side in SIZES}
    # Matched once a size, every cell by every cell of the style turned four times.
    neighbours = sum(plain[side] * 200 for side in SIZES) + 200 * plain[SIZES[-1]]
    photo, style = find_photograph("cat"), open_style("strokes", SIZES[-1])
    for name, theirs in (("strotss", strotss), ("neighbours", neighbours)):
        began = time.perf_counter()
        impasto.paint(photo, style, {**read_recipe_file(name), "size": SIZES[-1]})
        ours = time.perf_counter() - began
        print(f"{name}: theirs at least {theirs:.0f} s, ours {ours:.0f} s: {theirs / ours:.1f} x")


if __name__ == "__main__":
    main()
