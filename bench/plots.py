"""The plots of docs/performance.md, from what the benchmarks kept in results.json.

python bench/plots.py [-o docs/pictures]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from machine import RESULTS, describe_machine

GREYS = ("black", "0.3", "0.5", "0.65")
MARKS = ("o-", "s--", "D-.", "^:")


def plot_memory(facts: dict, path: Path) -> None:
    """Plot time and peak memory over pixels, both axes logarithmic."""
    runs: dict[str, list[dict]] = {}
    for name, each in facts.items():
        network, grant, _precision, _side = name.split()
        runs.setdefault(f"{network}, {grant} granted", []).append(each)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for (label, each), colour, mark in zip(sorted(runs.items()), GREYS, MARKS, strict=False):
        each.sort(key=lambda run: run["side"])
        pixels = [run["side"] ** 2 / 1e6 for run in each]
        left.plot(pixels, [run["step"] for run in each], mark, color=colour, label=label)
        right.plot(pixels, [run["peak"] / 2**30 for run in each], mark, color=colour, label=label)
    for axes, what in ((left, "one step, seconds"), (right, "peak resident memory, GiB")):
        axes.set(xscale="log", xlabel="megapixels", ylabel=what)
        axes.grid(alpha=0.3)
    left.set_yscale("log")
    right.set_ylim(bottom=0)
    left.legend(fontsize=8)
    figure.savefig(path, dpi=110)


def plot_speed(facts: dict, path: Path) -> None:
    """Plot milliseconds of a step, ours beside the tutorials'."""
    names = sorted(facts, key=lambda name: (name.split()[0], int(name.split()[1])))
    kinds = [kind for kind in ("tutorial", "float32", "bfloat16") if kind in facts[names[0]]]
    figure, axes = plt.subplots(figsize=(8, 3.4), layout="constrained")
    width = 0.8 / len(kinds)
    for i, (kind, colour) in enumerate(zip(kinds, ("0.75", "0.45", "black"), strict=False)):
        at = [x + (i - len(kinds) / 2 + 0.5) * width for x in range(len(names))]
        label = "tutorials' loop" if kind == "tutorial" else f"Impasto, {kind}"
        axes.bar(at, [facts[n][kind] * 1e3 for n in names], width, color=colour, label=label)
    axes.set(yscale="log", ylabel="one step, milliseconds")
    axes.set_xticks(range(len(names)), [name.replace(" ", "\n") + " px" for name in names])
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    folder = Path(__file__).parent.parent / "docs" / "pictures"
    parser.add_argument("-o", "--output", type=Path, default=folder)
    args = parser.parse_args()
    results = json.loads(RESULTS.read_text())[describe_machine()]
    for what, plot in (("memory", plot_memory), ("speed", plot_speed)):
        if what in results:
            plot(results[what], args.output / f"performance-{what}.png")


if __name__ == "__main__":
    main()
