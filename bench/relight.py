"""Measure relighting against truths that were made: grades whose outcome is known.

Two views are cut from one photograph, its left and its right three fifths, the right one mirrored:
what is in them is alike, how much of it there is differs. The right view is graded, by a curve, a
tint or a split tone (global), or by two different ones above and below the row that parts the
picture best (local). The left view is relit after it, and compared in CIEDE2000 with the left view
graded in the same way. Beside it: what maps of colour without regions come to, and the photograph
left alone.

    python bench/relight.py                          # the package's samples
    python bench/relight.py FOLDER --pictures 10     # so many pictures of a folder, evenly spaced
    python bench/relight.py FOLDER --pairs PAIRS.txt --look sheet.png

The last relights whole photographs after others, two names a line, and shows them beside one map.

It also measures what must never happen (edges reversed, lost or new; bands; lines that move), and
with --speed the time of one pass at 512 pixels and at 3840 x 2160, in multiples of one global map.
"""

from __future__ import annotations

import argparse
import math
import resource
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab
from torch import Tensor
from torch.nn import functional

from impasto.images.color_spaces import LUMA, rgb_to_lab
from impasto.images.color_transfer import match_color, match_histogram, match_lab
from impasto.images.folders import find_pictures
from impasto.images.picture import Picture
from impasto.images.reading import read_image
from impasto.images.resizing import fit_size, resize_pixels
from impasto.images.writing import to_pil
from impasto.photoreal.options import RelightOptions
from impasto.photoreal.relight import fit_relighting
from impasto.samples.photographs import PHOTOGRAPHS, find_photograph

Grade = Callable[[Tensor], Tensor]
VIEW = 0.6  # of the width
SEEN = 3  # every so many pixels are compared across and down
WEIGHTS = torch.tensor(LUMA).view(1, 3, 1, 1)
GLOBAL = {
    "Reinhard": match_lab,
    "Monge-Kantorovich": match_color,  # what paint --only-color does
    "histograms": match_histogram,
}

# --- grades ---------------------------------------------------------------------------------------


def curve(gamma: float = 1.0, gain: float = 1.0, lift: float = 0.0) -> Grade:
    return lambda x: (lift + (1 - lift) * gain * x.clamp(0, 1) ** gamma).clamp(0, 1)


def tint(*gains: float) -> Grade:
    return lambda x: (x * torch.tensor(gains).view(1, 3, 1, 1)).clamp(0, 1)


def saturate(share: float) -> Grade:
    return lambda x: (show_luma(x) + share * (x - show_luma(x))).clamp(0, 1)


def contrast(share: float) -> Grade:
    return lambda x: (x - share * torch.sin(2 * math.pi * x) / (2 * math.pi)).clamp(0, 1)


def split(shadows: Sequence[float], lights: Sequence[float]) -> Grade:
    dark, light = (torch.tensor(each).view(1, 3, 1, 1) for each in (shadows, lights))
    return lambda x: (x + dark * (1 - show_luma(x)) ** 2 + light * show_luma(x) ** 2).clamp(0, 1)


def after(*grades: Grade) -> Grade:
    def grade(x: Tensor) -> Tensor:
        for each in grades:
            x = each(x)
        return x

    return grade


def keep(x: Tensor) -> Tensor:
    return x


def show_luma(x: Tensor) -> Tensor:
    return (x * WEIGHTS).sum(1, keepdim=True)


WHOLE: dict[str, Grade] = {
    "brighter": curve(0.7),
    "darker": curve(1.5),
    "warm": tint(1.1, 1, 0.8),
    "cool": tint(0.85, 0.97, 1.12),
    "contrast": contrast(0.6),
    "flat": contrast(-0.5),
    "faded": curve(gain=0.85, lift=0.12),
    "vivid": saturate(1.4),
    "dull": saturate(0.5),
    "teal and orange": split((-0.04, 0.03, 0.08), (0.08, 0.02, -0.08)),
    "dusk": after(curve(1.6), tint(1.05, 0.85, 1.05)),
    "golden": after(curve(0.9), tint(1.1, 0.98, 0.7)),
    "night": after(curve(1.8, 0.7), tint(0.75, 0.9, 1.2)),
    "mist": after(saturate(0.6), curve(gain=0.7, lift=0.3)),
    "print": after(contrast(0.4), saturate(0.8), tint(1.03, 1, 0.92)),
}
PARTED: dict[str, tuple[Grade, Grade]] = {  # above, below
    "sky darker": (curve(1.7), keep),
    "sky at dusk": (after(curve(1.3), tint(1.1, 0.85, 0.8)), keep),
    "sky bluer": (tint(0.8, 0.95, 1.1), keep),
    "ground warmer": (keep, tint(1.12, 1, 0.78)),
    "ground darker": (keep, curve(1.7)),
    "ground brighter": (keep, curve(0.65)),
    "sky darker, ground warmer": (curve(1.6), tint(1.12, 1, 0.8)),
    "sky warm, ground cool": (tint(1.1, 1, 0.8), tint(0.85, 0.97, 1.1)),
    "sky cool, ground darker": (tint(0.85, 0.97, 1.1), curve(1.6)),
    "sky dull": (saturate(0.3), keep),
    "ground vivid": (keep, saturate(1.5)),
    "sky in mist": (after(saturate(0.5), curve(gain=0.6, lift=0.4)), keep),
    "silhouette": (tint(1.1, 0.95, 0.75), curve(2.4)),
    "snow": (keep, after(saturate(0.3), curve(0.55))),
    "evening": (
        after(curve(1.4), tint(1.05, 0.85, 0.95)),
        after(curve(1.8), tint(0.85, 0.9, 1.1)),
    ),
}


def part(pixels: Tensor) -> Tensor:
    """Return how much of each row (1, 1, H, 1) lies above the one that parts a picture best.

    That is where the mean colours above and below differ most, as Otsu's threshold has it.
    """
    rows = rgb_to_lab(pixels).mean(3)[0]  # (3, H)
    height = rows.shape[1]

    def apart(row: int) -> float:
        above, below = rows[:, :row].mean(1), rows[:, row:].mean(1)
        return row * (height - row) * float((above - below).square().sum())

    best = max(range(height // 5, 4 * height // 5), key=apart)
    return torch.sigmoid((best - torch.arange(height)) / (0.03 * height)).view(1, 1, -1, 1)


def list_grades(pixels: Tensor) -> Iterator[tuple[str, str, Grade]]:
    """Yield kind, name and grade; the parts of local ones lie as in this picture."""
    above = part(pixels)
    for name, whole in WHOLE.items():
        yield "global", name, whole
    for name, (sky, ground) in PARTED.items():
        yield "local", name, lambda x, s=sky, g=ground: above * s(x) + (1 - above) * g(x)


# --- measures -------------------------------------------------------------------------------------


def measure_difference(one: Tensor, other: Tensor) -> float:
    """Return the mean CIEDE2000 of two pictures."""
    labs = [
        rgb2lab(each[0, :, ::SEEN, ::SEEN].permute(1, 2, 0).double().numpy())
        for each in (one, other)
    ]
    return float(deltaE_ciede2000(*labs).mean())


def find_slopes(pixels: Tensor) -> Tensor:
    """Return Sobel's gradient of luma (2, H, W), where a step of 1 gives 1."""
    kernel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 4
    padded = functional.pad(show_luma(pixels), (1, 1, 1, 1), mode="replicate")
    return functional.conv2d(padded, torch.stack([kernel, kernel.T])[:, None])[0]


def average(values: Tensor, side: int) -> Tensor:
    return functional.avg_pool2d(values, side, 1, side // 2, count_include_pad=False)


def measure_edges(before: Tensor, relit: Tensor) -> dict[str, float]:
    """Return what became of edges.

    Strong ones are the steepest twentieth and at least 0.1: the share of them that is reversed,
    and the structure term of SSIM in windows of 7 there. Even areas rise by at most 0.02 within 2
    pixels: the share of them that rises by over 0.08 afterwards.
    """
    old, new = find_slopes(before), find_slopes(relit)
    steep, now = old.norm(dim=0), new.norm(dim=0)
    strong = steep >= max(0.1, float(steep.flatten().quantile(0.95)))
    reversed_ = ((old * new).sum(0) < 0) & (now > 0.02) & strong
    x, y = show_luma(before), show_luma(relit)
    spread = [
        average(a * b, 7) - average(a, 7) * average(b, 7) for a, b in ((x, x), (y, y), (x, y))
    ]
    small = 0.03**2 / 2
    structure = (spread[2] + small) / (
        (spread[0].clamp_min(0) * spread[1].clamp_min(0)).sqrt() + small
    )
    even = functional.max_pool2d(steep[None, None], 5, 1, 2)[0, 0] <= 0.02
    found = {}
    if strong.any():
        found["edges reversed, %"] = 100 * float(reversed_.sum() / strong.sum())
        found["edge-SSIM"] = float(structure[0, 0][strong].mean())
    if even.sum() > 100:
        found["new edges, %"] = 100 * float(((now > 0.08) & even).sum() / even.sum())
    return found


def measure_ramp(relight: Callable[[Tensor], Tensor]) -> float:
    """Return how many of a ramp's 1024 levels are no brighter than the one before, in 16 bits."""
    ramp = torch.linspace(0, 1, 1024).view(1, 1, 1, -1).expand(1, 3, 1, -1).contiguous()
    luma = (show_luma(relight(ramp)) * 65535).round()[0, 0, 0]
    return float((luma.diff() <= 0).sum())


def measure_line(pixels: Tensor, relight: Callable[[Tensor], Tensor]) -> float:
    """Return by how many pixels a slanting edge moves, at most; nan where hardly any is left.

    It is straight, between the mean colours of a picture's darker and brighter half. In each row,
    its place is where a step between the levels at both sides would have the same mean; a straight
    line is fitted to the places of all rows.
    """
    height, width = pixels.shape[2:]
    bright = show_luma(pixels) > show_luma(pixels).median()
    sides = [(pixels * half).sum((2, 3), keepdim=True) / half.sum() for half in (~bright, bright)]
    middle = width / 2 + 0.1 * (torch.arange(height) - height / 2)
    cover = (torch.arange(width) - middle[:, None] + 0.5).clamp(0, 1)[None, None]
    edge = torch.lerp(*sides, cover)
    before, after = (place_line(show_luma(each)[0, 0], middle) for each in (edge, relight(edge)))
    return float((after - before).abs().max())


def place_line(luma: Tensor, middle: Tensor) -> Tensor:
    """Return where an edge near ``middle`` (H,) lies in each row of luma (H, W), along a line."""
    columns = middle.round().long()[:, None] + torch.arange(-6, 7)
    profile = luma.gather(1, columns)  # (H, 13)
    left, right = profile[:, :4].mean(1), profile[:, 9:].mean(1)
    seen = (right - left).abs() > 0.05
    share = (profile[:, 4:9] - right[:, None]) / (left - right)[:, None]  # of what lies left
    place = columns[:, 4] + share.sum(1)
    if seen.sum() < 0.5 * len(seen):
        return torch.full_like(place, math.nan)
    rows = torch.arange(len(place), dtype=torch.float64)
    terms = torch.stack([torch.ones_like(rows), rows], 1)
    line = torch.linalg.lstsq(terms[seen], place[seen].double()[:, None]).solution
    return (terms @ line)[:, 0]


# --- the truth ------------------------------------------------------------------------------------


def read_views(path: Path, long_side: int) -> tuple[Tensor, Tensor]:
    """Return two views of a photograph."""
    pixels = read_small(path, long_side)
    width = pixels.shape[3]
    cut = round(VIEW * width)
    return pixels[..., :cut].contiguous(), pixels[..., width - cut :].flip(3).contiguous()


def read_small(path: Path, long_side: int) -> Tensor:
    pixels = read_image(path).pixels
    size = fit_size(pixels.shape[3], pixels.shape[2], min(long_side, max(pixels.shape[2:])))
    return resize_pixels(pixels, *size)


def measure_truth(paths: Sequence[Path], options: RelightOptions, side: int, every: int) -> None:
    misses: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    edges: dict[str, list[float]] = defaultdict(list)
    for path in paths:
        photo, other = read_views(path, side)
        for kind, _, grade in list(list_grades(photo))[::every]:
            like, truth = grade(other), grade(photo)
            relighting = fit_relighting(Picture(photo), [Picture(like)], options).relighting
            relit = relighting.apply(photo)
            came_to = {"left alone": photo, "relight": relit}
            came_to |= {name: change(photo, like) for name, change in GLOBAL.items()}
            for name, pixels in came_to.items():
                misses[name][kind].append(measure_difference(pixels, truth))
            for name, value in measure_edges(photo, relit).items():
                edges[name].append(value)
            edges["levels of a ramp lost"].append(measure_ramp(relighting.apply_whole))
            edges["a line moved, pixels"].append(measure_line(photo, relighting.apply))
        itself = fit_relighting(Picture(photo), [Picture(photo)], options).relighting.apply(photo)
        edges["like itself, levels"].append(255 * float((itself - photo).abs().max()))
        print(f"{path.name}: relight {tell(misses['relight'])}", flush=True)
    report_truth(misses)
    report_edges(edges)


def tell(by_kind: dict[str, list[float]]) -> str:
    return ", ".join(f"{kind} {statistics.median(found):.2f}" for kind, found in by_kind.items())


def report_truth(misses: dict[str, dict[str, list[float]]]) -> None:
    best = {
        kind: min(statistics.median(misses[name][kind]) for name in GLOBAL)
        for kind in misses["relight"]
    }
    print(
        f"\n{'median CIEDE2000':22}" + "".join(f"{kind:>16}" for kind in best) + "   (of the best)"
    )
    for name, by_kind in misses.items():
        row = ""
        for kind, least in best.items():
            median = statistics.median(by_kind[kind])
            row += f"{median:9.2f} ({median / least:4.2f})"
        print(f"{name:22}{row}")


def report_edges(edges: dict[str, list[float]]) -> None:
    print(f"\n{'':26}{'median':>10}{'worst':>10}{'of':>6}")
    for name, values in edges.items():
        found = [value for value in values if not math.isnan(value)]
        worst = min(found) if name == "edge-SSIM" else max(found)
        print(f"{name:26}{statistics.median(found):10.3f}{worst:10.3f}{len(found):6}")


# --- whole photographs, to look at ----------------------------------------------------------------


def look_at_pairs(
    folder: Path, pairs: Path, options: RelightOptions, side: int, sheet: Path
) -> None:
    """Write photograph, like, one map and regions side by side, a pair in each row."""
    rows, edges = [], defaultdict(list)
    for line in pairs.read_text().splitlines():
        photo, like = (read_small(next(folder.glob(f"{n}.*")), side) for n in line.split()[:2])
        fit = fit_relighting(Picture(photo), [Picture(like)], options)
        relighting = fit.relighting
        relit = relighting.apply_with(photo, fit.guidance)
        for name, value in measure_edges(photo, relit).items():
            edges[name].append(value)
        edges["levels of a ramp lost"].append(measure_ramp(relighting.apply_whole))
        rows.append([to_pil(each) for each in (photo, like, match_color(photo, like), relit)])
    cell = max(image.width for row in rows for image in row)
    height = sum(max(image.height for image in row) + 4 for row in rows)
    whole, top = Image.new("RGB", (4 * (cell + 4), height), "white"), 0
    for row in rows:
        for column, image in enumerate(row):
            whole.paste(image, (column * (cell + 4), top))
        top += max(image.height for image in row) + 4
    whole.save(sheet)
    report_edges(edges)


def measure_speed(path: Path, options: RelightOptions) -> None:
    """Print times of one pass and of one global map on one thread, and the memory it took."""
    pixels = read_image(path).pixels
    for width, height in ((512, 341), (3840, 2160)):
        photo = functional.interpolate(pixels, (height, width), mode="bilinear").clamp(0, 1)
        like = Picture(pixels.flip(3) * 0.8)
        seconds = []
        for _ in range(3):
            began = time.process_time()
            fit = fit_relighting(Picture(photo), [like], options)
            fit.relighting.apply_with(photo, fit.guidance)
            middle = time.process_time()
            match_color(photo, like.pixels)
            seconds.append((middle - began, time.process_time() - middle))
        ours, other = map(min, zip(*seconds, strict=True))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        print(
            f"{width} x {height}: {ours:.2f} s, {ours / other:.1f} times one global map; "
            f"at most {peak:.0f} MiB so far, of which the picture is {photo.numel() / 2**18:.0f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--pictures", type=int, default=10)
    parser.add_argument("--every", type=int, default=1, help="of the 30 grades, every so many")
    parser.add_argument("--side", type=int, default=384)
    parser.add_argument("--regions", type=int, default=RelightOptions().regions)
    parser.add_argument("--pairs", type=Path)
    parser.add_argument("--look", type=Path, default=Path("relight.png"))
    parser.add_argument("--speed", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    options = RelightOptions(regions=given.regions)
    with torch.no_grad():
        if given.speed:
            measure_speed(find_photograph("coffee"), options)
        elif given.pairs:
            look_at_pairs(given.folder, given.pairs, options, given.side, given.look)
        else:
            paths = [find_photograph(name) for name in PHOTOGRAPHS]
            if given.folder:
                paths = find_pictures(given.folder)
                paths = paths[:: max(1, len(paths) // given.pictures)][: given.pictures]
            measure_truth(paths, options, given.side, given.every)


if __name__ == "__main__":
    main()
