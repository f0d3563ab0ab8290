"""Whole processes, from a cold start: help, and a draft of a 512 pixel picture.

python bench/startup.py
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import describe_machine, keep

IMPASTO = [sys.executable, "-m", "impasto"]


def run(*flags: str, folder: str, cache: str) -> float:
    environment = {**os.environ, "IMPASTO_CACHE": cache}
    began = time.perf_counter()
    subprocess.run([*IMPASTO, *flags], cwd=folder, env=environment, check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    print(describe_machine())
    with tempfile.TemporaryDirectory() as folder:
        cache = str(Path(folder) / "cache")
        run("samples", ".", folder=folder, cache=cache)
        paint = ["paint", "cat.png", "-s", "strokes.png", "--size", "512", "-o", "out.png"]
        cases = {
            "python -c pass": None,
            "impasto --help": ["--help"],
            "impasto paint --help": ["paint", "--help"],
            "a draft of 512 pixels, the first ever": [*paint, "--recipe", "draft"],
            "a draft of 512 pixels": [*paint, "--recipe", "draft"],
            "the default at 512 pixels": paint,
        }
        print("\n| | seconds, whole process |\n|---|---|")
        for name, flags in cases.items():
            times = []
            for _ in range(
                1 if "first" in name else 3 if "draft" in name or "default" in name else 9
            ):
                if flags is None:
                    began = time.perf_counter()
                    subprocess.run([sys.executable, "-c", "pass"], check=True)
                    times.append(time.perf_counter() - began)
                else:
                    times.append(run(*flags, folder=folder, cache=cache))
            print(f"| {name} | {statistics.median(times):.2f} |", flush=True)
            keep("startup", name, statistics.median(times))


if __name__ == "__main__":
    main()
