"""Measure whole processes from a cold start: help, and a draft of a 512 pixel picture.

python bench/startup.py
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from machine import describe_machine, keep

LIBRARIES = "import cyclopts, pydantic, rich"
HELP = {
    "python -c pass": ["-c", "pass"],
    f"python -c '{LIBRARIES}'": ["-c", LIBRARIES],
    "impasto --help": ["-m", "impasto", "--help"],
    "impasto paint --help": ["-m", "impasto", "paint", "--help"],
}
ROUNDS = 15


def run(flags: Sequence[str], folder: str) -> float:
    """Run Python with these flags and return the seconds it took."""
    environment = {**os.environ, "IMPASTO_CACHE": str(Path(folder) / "cache")}
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, *flags], cwd=folder, env=environment, check=True, capture_output=True
    )
    return time.perf_counter() - began


def report(name: str, times: Sequence[float]) -> None:
    print(f"| {name} | {statistics.median(times):.2f} |", flush=True)
    keep("startup", name, statistics.median(times))


def time_help(folder: str) -> None:
    """Time the help pages and what they rest on in turn, so that all see the same load."""
    times: dict[str, list[float]] = {name: [] for name in HELP}
    for _ in range(ROUNDS):
        for name, flags in HELP.items():
            times[name].append(run(flags, folder))
    for name, measured in times.items():
        report(name, measured)
    _, libraries, page, _ = (statistics.median(measured) for measured in times.values())
    print(f"| impasto --help over the import of its libraries | {page / libraries:.2f} times |")
    keep("startup", "help over libraries", page / libraries)


def time_paintings(folder: str) -> None:
    run(["-m", "impasto", "samples", "."], folder)
    paint = ["-m", "impasto", "paint", "cat.png", "-s", "strokes.png", "--size", "512"]
    default, draft = ([*paint, "-o", "out.png", *more] for more in ([], ["--recipe", "draft"]))
    for name, flags, rounds in (
        ("a draft of 512 pixels, the first ever", draft, 1),
        ("a draft of 512 pixels", draft, 3),
        ("the default at 512 pixels", default, 3),
    ):
        report(name, [run(flags, folder) for _ in range(rounds)])


def main() -> None:
    print(describe_machine())
    print("\n| | seconds, whole process |\n|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        time_help(folder)
        time_paintings(folder)


if __name__ == "__main__":
    main()
