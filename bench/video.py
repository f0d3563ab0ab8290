"""Films: how steady, how sharp, and how fast.

Steadiness is the warping error over one frame and over eight (`impasto.video.measures`; the judge's
flow is DIS medium), beside the film's own and that of frames painted each by itself; sharpness and
style gain are shares of the latter. Of synthetic pans and zooms the flow is known, and the judge
takes that.

    python bench/video.py steady --clips FOLDER --styles FOLDER [--frames 60] [--every 3]
    python bench/video.py known
    python bench/video.py speed
    python bench/video.py wall
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import impasto  # first: it says how torch is to take memory

import numpy as np  # isort: skip
import torch  # isort: skip
from machine import describe_machine, keep  # isort: skip
from PIL import Image  # isort: skip

from impasto.samples.photographs import write_samples
from impasto.video.animation import Animation, animate
from impasto.video.coherence import TravellingStrokes
from impasto.video.decoding import open_film
from impasto.video.film import write_video
from impasto.video.flow import MotionFinder, to_grey, warp
from impasto.video.frame_painters import make_clip_painter
from impasto.video.live import FramePainter
from impasto.video.looks import Moment
from impasto.video.measures import measure_sharpness
from impasto.video.options import AnimateOptions
from impasto.video.shards import to_array, to_tensor

SIDE = 480  # pixels of a long side at which films are judged
STYLES = 5
DRAWN = ("strokes", "glass", "waves", "dots", "halftone")  # the package's own


def list_styles(folder: Path | None, beside: Path) -> list[Path]:
    if folder is None:
        return [path for path in map(Path, write_samples(beside)) if path.stem in DRAWN]
    found = sorted(path for path in folder.iterdir() if path.suffix in (".jpg", ".png"))
    return found[:: max(1, len(found) // STYLES)][:STYLES]


def measure_steadiness(
    clips: Path, styles: Path | None, frames: int, every: int, side: int
) -> None:
    """Print a row for each clip and style, the medians, and what is worst of each."""
    print(f"\n{describe_machine()}; {frames} frames of {side} pixels, --every {every}\n")
    head = ("clip", "style", "E1", "of the film's own", "E8", "sharpness", "gain")
    print(f"| {' | '.join(head)} |\n{'|---' * len(head)}|")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for clip in sorted(clips.glob("*.mp4")):
            facts = open_film(clip).facts
            options = {
                "measure": True,
                "every": every,
                "size": min(side, max(facts.size)),
                "preview": float(frames / facts.rate),
                "sound": False,
            }
            for style in list_styles(styles, Path(folder)):
                found = animate(clip, style, Path(folder) / "out.mp4", options).steadiness
                assert found is not None
                row = (
                    found.e1[2] / found.e1[1],
                    found.e1[2] / found.e1[0],
                    found.e8[2] / found.e8[1],
                    found.sharpness,
                    found.gain,
                )
                rows.append(row)
                shown = " | ".join(f"{value:.2f}" for value in row)
                print(f"| {clip.stem} | {style.stem} | {shown} |", flush=True)
    columns = list(zip(*rows, strict=True))
    medians = [statistics.median(values) for values in columns]
    worst = [*map(max, columns[:3]), *map(min, columns[3:])]
    for name, values in (("median", medians), ("worst", worst)):
        print(f"| {name} | | {' | '.join(f'{value:.2f}' for value in values)} |")
    keep("film steady", f"every {every}", medians)


def draw_known(kind: str, count: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return frames of a photograph that pans or zooms, and the flow back from each."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(path) for path in write_samples(Path(folder))]
        photo = next(path for path in paths if "coffee" in path.name)
        with Image.open(photo) as image:
            scene = np.asarray(image.convert("RGB").resize((600, 400))).astype(np.float32)
    height, width = 240, 320
    down, across = np.mgrid[0:height, 0:width].astype(np.float32)
    center = np.float32([width / 2, height / 2])
    frames, flows = [], []
    for number in range(count):
        zoom, shift = (1.0, 1.7 * number) if kind == "pan" else (1.01**-number, 0.0)
        places = np.stack([across, down], -1)
        places = (places - center) * zoom + center + np.float32([60 + shift, 60 + shift / 3])
        flow = np.zeros((400, 600, 2), np.float32)
        grid = np.stack(np.meshgrid(np.arange(600), np.arange(400)), -1).astype(np.float32)
        flow[:height, :width] = places - grid[:height, :width]
        moved = warp(scene, flow, "cubic")[:height, :width]
        frames.append(moved.clip(0, 255).round().astype(np.uint8))
        # Where each pixel was one frame ago.
        before = np.stack([across, down], -1)
        if kind == "pan":
            flows.append(np.broadcast_to(np.float32([1.7, 1.7 / 3]), before.shape).copy())
        else:
            flows.append((before - center) * np.float32(1 / 1.01 - 1))
    return frames, flows


def measure_known() -> None:
    """Print errors along flows that are known."""
    print(f"\n{describe_machine()}; 48 frames of 320 x 240\n")
    print("| | E1 | of the film's own | sharpness |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        style = list_styles(None, Path(folder))[0]
        for kind in ("pan", "zoom"):
            frames, flows = draw_known(kind, 48)
            shown = {"film": [frame.astype(np.float32) for frame in frames]}
            for name, steady in (("alone", False), ("steady", True)):
                paint = FramePainter(style, {"steady": steady})
                shown[name] = [each.astype(np.float32) for each in paint.stream(frames)]
            errors = {name: known_error(some, flows) for name, some in shown.items()}
            sharp = [
                statistics.mean(measure_sharpness(each) for each in shown[name][8:])
                for name in ("steady", "alone")
            ]
            ratio = errors["steady"] / errors["alone"], errors["steady"] / errors["film"]
            print(f"| {kind} | {ratio[0]:.2f} | {ratio[1]:.2f} | {sharp[0] / sharp[1]:.2f} |")
            keep("film known flow", kind, [*ratio, sharp[0] / sharp[1]])


def known_error(frames: list[np.ndarray], flows: list[np.ndarray]) -> float:
    gaps = [
        np.square(now - warp(then, flow))[4:-4, 4:-4].mean()
        for then, now, flow in zip(frames[8:], frames[9:], flows[9:], strict=False)
    ]
    return float(np.mean(gaps)) ** 0.5


def draw_scene() -> tuple[np.ndarray, np.ndarray]:
    """Return two frames of 640 x 360 that differ by a motion of six and four pixels."""
    rng = np.random.default_rng(0)
    small = rng.uniform(0, 255, (23, 41, 3)).astype(np.uint8)
    scene = np.asarray(Image.fromarray(small).resize((660, 370), Image.Resampling.BICUBIC))
    return scene[:360, :640].copy(), scene[4:364, 6:646].copy()


def list_stages(one: np.ndarray, two: np.ndarray) -> dict[str, Callable[[], object]]:
    """Return what is done for a frame, by its name."""
    with tempfile.TemporaryDirectory() as folder:
        style = list_styles(None, Path(folder))[0]
        painter = make_clip_painter([[style]], AnimateOptions())
    pixels, moment = to_tensor(one), Moment()
    look = painter.look([pixels], moment)
    painted = to_array(painter.paint(pixels, look, moment, None)[1])
    colored = to_array(painter.color(pixels, look, moment))
    strokes, find = TravellingStrokes(360, 640), MotionFinder(360, 640)
    strokes(0, None, colored, painted)
    motion = find(to_grey(one), to_grey(two))
    return {
        "the network": lambda: painter.paint(pixels, look, moment, None),
        "flow, both ways, and its masks": lambda: find(to_grey(one), to_grey(two)),
        "colours": lambda: to_array(painter.color(pixels, look, moment)),
        "strokes": lambda: strokes(1, motion, colored, painted),
    }


def measure_speed() -> None:
    """Print the time of each stage, for a frame of 640 x 360, on one thread."""
    torch.set_num_threads(1)
    print(f"\n{describe_machine()}; 640 x 360, one thread\n\n| stage | ms |\n|---|---|")
    for name, work in list_stages(*draw_scene()).items():
        best = min(time_once(work) for _ in range(9))
        print(f"| {name} | {1000 * best:.1f} |")
        keep("film speed", name, best)


def measure_wall() -> None:
    """Print how long a frame of 640 x 360 takes, beside the slower of network and all else.

    Both are measured in the same run: the network's share on as many threads as it has there.
    """
    print(f"\n{describe_machine()}; 640 x 360, {torch.get_num_threads()} threads\n")
    head = ("--every", "network / N, ms", "the rest, ms", "a frame, ms", "ratio", "frames a second")
    print(f"| {' | '.join(head)} |\n{'|---' * len(head)}|")
    one, two = draw_scene()
    with tempfile.TemporaryDirectory() as folder:
        style = list_styles(None, Path(folder))[0]
        film = Path(folder) / "film.mp4"
        coding = time_coding(film, [one, two] * 30)
        stages = list_stages(one, two)
        own = {name: min(time_wall(work) for _ in range(5)) for name, work in stages.items()}
        rest = coding + sum(own.values()) - own["the network"]
        for every in (1, 3):
            options = AnimateOptions(every=every)
            work = Animation(film, [str(style)], options, film.with_suffix(".mkv"))
            marks = [time.perf_counter() for step in work.steps() if step.number]
            wall = (marks[-2] - marks[11]) / (len(marks) - 13)
            slower = max(own["the network"] / every, rest)
            values = (own["the network"] / every * 1000, rest * 1000, wall * 1000)
            shown = " | ".join(f"{value:.0f}" for value in values)
            print(f"| {every} | {shown} | {wall / slower:.2f} | {1 / wall:.1f} |", flush=True)
            keep("film wall", f"every {every}", [wall / slower, 1 / wall])


def time_coding(film: Path, frames: list[np.ndarray]) -> float:
    """Write a film, and return how long it takes to encode a frame and to decode it again."""
    began = time.perf_counter()
    write_video(film, frames, [40 * number for number in range(len(frames) + 1)])
    count = sum(1 for _ in open_film(film).read())
    return (time.perf_counter() - began) / count


def time_wall(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def time_once(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("steady", "known", "speed", "wall"))
    parser.add_argument("--clips", type=Path)
    parser.add_argument("--styles", type=Path)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--size", type=int, default=SIDE)
    given = parser.parse_args()
    assert impasto.__version__
    if given.what == "steady":
        measure_steadiness(given.clips, given.styles, given.frames, given.every, given.size)
    elif given.what == "known":
        measure_known()
    elif given.what == "wall":
        measure_wall()
    else:
        measure_speed()
