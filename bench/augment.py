"""Whether stylised copies help a classifier on pictures that are disturbed, and how fast they come.

A share of a zip of labelled pictures (``<class>/*.JPEG``, as Tiny ImageNet is packed) is augmented
with ``impasto.augment``, and one small network is trained on the pictures alone and on the pictures
with their copies: as many steps each, from the same beginnings. It is tested on pictures that it
never saw, clean and disturbed; two of the disturbances no training set holds.

    python bench/augment.py --zip ../shared/tiny_imagenet.zip [--styles FOLDER] [--sets SET ...]
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import impasto  # noqa: F401  # first: it says how torch is to take memory

import numpy as np  # isort: skip
import torch  # isort: skip
from PIL import Image  # isort: skip
from torch import Tensor, nn  # isort: skip
from torch.nn import functional  # isort: skip

from impasto.datasets.augmentation import augment
from impasto.datasets.disturbances import NOISES
from impasto.samples.style_pictures import STYLE_PICTURES, open_style
from impasto.system.devices import has_fast_bfloat16, seeded

from machine import describe_machine, keep  # isort: skip

NOISE = list(NOISES)
SETS = {  # what is beside the pictures themselves
    "plain": None,
    "color": {"styliser": "color"},
    "stylised": {"styliser": "statistics"},
    "instant": {"styliser": "instant"},
    "noise": {"noise": NOISE},
    "both": {"styliser": "statistics", "noise": NOISE},
}
BATCH = 64
Data = tuple[Tensor, Tensor]  # pictures (N, 3, 64, 64) uint8 and labels (N,)


# --- pictures -----------------------------------------------------------------------------------


def unpack(source: Path, folder: Path, classes: int, counts: dict[str, int]) -> None:
    """Write ``train/<class>`` and ``test/<class>`` with so many pictures each."""
    with zipfile.ZipFile(source) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".JPEG"))
        labels = sorted({name.split("/")[0] for name in names})
        for label in labels[:: len(labels) // classes][:classes]:
            own = [name for name in names if name.startswith(f"{label}/")]
            order = torch.randperm(len(own), generator=seeded(0)).tolist()
            for part, count in counts.items():
                place = folder / part / label
                place.mkdir(parents=True)
                for _ in range(count):
                    name = own[order.pop()]
                    (place / Path(name).name).write_bytes(archive.read(name))


def load(folder: Path) -> Data:
    labels = sorted(path.name for path in folder.iterdir() if path.is_dir())
    pictures, numbers = [], []
    for number, label in enumerate(labels):
        for path in sorted((folder / label).glob("*.JPEG")):
            with Image.open(path) as image:
                pictures.append(np.asarray(image.convert("RGB")))
            numbers.append(number)
    stacked = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()
    return stacked, torch.tensor(numbers)


def squeeze(pixels: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG001
    """Compress as a JPEG of quality 8."""
    levels = (pixels[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    file = io.BytesIO()
    Image.fromarray(levels).save(file, format="JPEG", quality=8)
    with Image.open(file) as image:
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255


def pale(pixels: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG001
    """Reduce the contrast to a third, around the mean."""
    mean = pixels.mean()
    return mean + (pixels - mean) / 3


def middling(name: str) -> Callable[[Tensor, torch.Generator], Tensor]:
    noise = NOISES[name]
    return lambda pixels, generator: noise.disturb(pixels, noise.draw(0.7), generator)


TESTS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "clean": lambda pixels, _: pixels,
    **{name: middling(name) for name in NOISES},
    "jpeg 8 (unseen)": squeeze,
    "contrast 1/3 (unseen)": pale,
}


def disturb(data: Data, name: str) -> Data:
    floats = data[0].float() / 255
    disturbed = [
        TESTS[name](picture[None], seeded(number)) for number, picture in enumerate(floats)
    ]
    return (torch.cat(disturbed) * 255).round().to(torch.uint8), data[1]


# --- a small network ----------------------------------------------------------------------------


def make_network(classes: int) -> nn.Module:
    layers: list[nn.Module] = []
    for entering, leaving, stride in ((3, 32, 2), (32, 64, 2), (64, 128, 2), (128, 128, 1)):
        layers += [
            nn.Conv2d(entering, leaving, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(leaving),
            nn.ReLU(),
        ]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(128, classes)]
    return nn.Sequential(*layers, *head).to(memory_format=torch.channels_last)


def prepare(pictures: Tensor) -> Tensor:
    return (pictures.float() / 255 - 0.45) / 0.25


def vary(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror by chance, and shift by up to four pixels, a batch as one."""
    mirrored = torch.rand(len(pictures), generator=generator) < 0.5
    pictures = torch.where(mirrored[:, None, None, None], pictures.flip(3), pictures)
    down, right = torch.randint(0, 9, (2,), generator=generator).tolist()
    wide = functional.pad(pictures.float(), (4, 4, 4, 4), mode="reflect")
    return wide[..., down : down + 64, right : right + 64]


def train(data: Data, classes: int, steps: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    network, generator = make_network(classes), seeded(seed)
    optimizer = torch.optim.SGD(network.parameters(), 0.05, 0.9, nesterov=True, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, steps)
    fast = has_fast_bfloat16(torch.device("cpu"))
    network.train()
    for _ in range(steps):
        chosen = torch.randint(len(data[1]), (BATCH,), generator=generator)
        batch = prepare(vary(data[0][chosen], generator))
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            loss = functional.cross_entropy(
                network(batch.contiguous(memory_format=torch.channels_last)), data[1][chosen]
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


@torch.no_grad()
def test(network: nn.Module, data: Data) -> float:
    """Return the share that is classified right, in percent."""
    right = 0
    for start in range(0, len(data[1]), 250):
        said = network(prepare(data[0][start : start + 250])).argmax(1)
        right += int((said == data[1][start : start + 250]).sum())
    return 100 * right / len(data[1])


# --- all of it ----------------------------------------------------------------------------------


def make_sets(
    names: list[str], folder: Path, styles: Path, per_image: int, jobs: int
) -> dict[str, Data]:
    """Make the training sets, and measure images per second."""
    sets = {"plain": load(folder / "train")}
    speeds = {}
    for name in names:
        options = SETS[name]
        if options is None:
            continue
        used = styles if "styliser" in options else ()
        made = augment(
            folder / "train",
            folder / name,
            used,
            {**options, "per_image": per_image, "originals": False},
            jobs=jobs,
        )
        copies = load(folder / name)
        speeds[name] = made.written / made.seconds
        sets[name] = tuple(torch.cat(both) for both in zip(sets["plain"], copies, strict=True))
        print(f"{name}: {made.written} copies, {speeds[name]:.0f} images/s in {jobs} processes")
    # Of use only beside how busy the machine was, with this and with all else.
    busy = round(os.getloadavg()[0], 1)
    print(f"load of the machine over the last minute: {busy}")
    keep("augment", "images per second", {"jobs": jobs, "load": busy, **speeds})
    return sets


def print_table(results: dict[str, dict[str, list[float]]], classes: int) -> None:
    print(f"\npercent told right of {classes} classes, mean (spread) over seeds")
    print("| trained on | " + " | ".join(TESTS) + " | mean of the disturbed |")
    print("|---" * (len(TESTS) + 2) + "|")
    for name, told in results.items():
        cells = [f"{statistics.mean(v):.1f} ({max(v) - min(v):.1f})" for v in told.values()]
        noised = statistics.mean(statistics.mean(v) for k, v in told.items() if k != "clean")
        print(f"| {name} | " + " | ".join(cells) + f" | {noised:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--zip", type=Path, required=True)
    parser.add_argument("--styles", type=Path, help="a folder; the project's own, if not given")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS), metavar="SET")
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--train", type=int, default=150)
    parser.add_argument("--test", type=int, default=50)
    parser.add_argument("--per-image", type=int, default=1)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    print(describe_machine())
    began = time.perf_counter()
    with TemporaryDirectory() as name:
        folder = Path(name)
        unpack(args.zip, folder, args.classes, {"train": args.train, "test": args.test})
        styles = args.styles
        if styles is None:
            styles = folder / "styles"
            styles.mkdir()
            for style in STYLE_PICTURES:
                open_style(style).save(styles / f"{style}.png")
        sets = make_sets(args.sets, folder, styles, args.per_image, args.jobs)
        clean = load(folder / "test")
    tests = {name: disturb(clean, name) for name in TESTS}
    results: dict[str, dict[str, list[float]]] = {
        name: {each: [] for each in TESTS} for name in sets
    }
    for seed in range(args.seeds):
        for name, data in sets.items():
            network = train(data, args.classes, args.steps, seed)
            for each, pictures in tests.items():
                results[name][each].append(test(network, pictures))
            told = ", ".join(f"{each} {v[-1]:.1f}" for each, v in results[name].items())
            print(f"seed {seed}, {name}: {told}  [{time.perf_counter() - began:.0f} s]", flush=True)
    print_table(results, args.classes)
    share = {key: getattr(args, key) for key in ("classes", "train", "test", "per_image", "steps")}
    keep("augment", "accuracy", {**share, "results": results})


if __name__ == "__main__":
    main()
