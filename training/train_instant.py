"""Train the network that paints after any picture in one pass.

Photographs and style pictures are cut, turned and recoloured at random; the painting must have
the style's statistics at five layers of the compact network (Gaussian, as the painter's default)
and the photograph's features at relu4_1. Every tenth photograph and painting is held out. The run
goes on from its checkpoint.

    python training/train_instant.py train --photos P --paintings Q --run R [--steps 60000]
    python training/train_instant.py show --photos P --paintings Q --run R
"""

from __future__ import annotations

import argparse
import math
import random
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from impasto.color import match_color
from impasto.devices import Machine, keeping_memory
from impasto.images import resize_pixels, to_pil
from impasto.losses import total_variation
from impasto.networks import CODE_LAYERS, InstantNet, code_size, encode_style, join_moments
from impasto.samples import draw_style
from impasto.sheets import draw_sheet, save_sheet
from impasto.styles import STYLES
from impasto.sums import in_full
from impasto.weights import load_backbone

BATCH = 8
SIDES = (128, 176)  # of crops, in turn
STYLE_SIDE = 192
FLAT = 0.03  # deviation of a style that is none
STYLE_LAYERS = [f"relu{block}_1" for block in range(1, 6)]
STYLE_WEIGHT, TV_WEIGHT = 40.0, 3.0
RATE, WARM_UP = 2e-3, 300
SAVE_EVERY = 500
DRAWN = 6  # of each of the project's own styles


class Pictures:
    """Pictures in memory, as bytes (H, W, 3), of a longest side."""

    def __init__(self, paths: list[Path], longest: int) -> None:
        self.names = [path.stem for path in paths]
        self.pictures = []
        for path in paths:
            image = Image.open(path).convert("RGB")
            image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
            self.pictures.append(np.asarray(image))

    def add(self, image: Image.Image, name: str) -> None:
        self.names.append(name)
        self.pictures.append(np.asarray(image.convert("RGB")))

    def cut(self, draw: random.Random, side: int, short: float) -> Tensor:
        """A square of a random one, resized so that its short side is about ``short``."""
        picture = draw.choice(self.pictures)
        height, width = picture.shape[:2]
        scale = max(short / min(height, width), side / min(height, width))
        box = min(side / scale, height, width)
        left, top = draw.uniform(0, width - box), draw.uniform(0, height - box)
        image = Image.fromarray(picture).resize(
            (side, side), Image.Resampling.BICUBIC, (left, top, left + box, top + box), 3.0
        )
        if draw.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        values = np.asarray(image, dtype=np.float32) / 255
        return torch.from_numpy(values).permute(2, 0, 1)[None]


def split(paths: list[Path]) -> tuple[list[Path], list[Path]]:
    """Those to learn from, and every tenth."""
    return [p for i, p in enumerate(paths) if i % 10], paths[::10]


class Data:
    def __init__(self, photos: Path, paintings: Path) -> None:
        learnt, held = split(sorted(photos.glob("*.jpg")))
        styles, unseen = split(sorted(paintings.glob("*.jpg")))
        self.photos, self.held = Pictures(learnt, 420), Pictures(held, 512)
        self.styles, self.unseen = Pictures(styles, 900), Pictures(unseen, 512)
        self.drawn = Pictures([], 0)
        for name in STYLES:
            for seed in range(DRAWN):
                self.drawn.add(draw_style(name, seed=seed), name)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Photographs and styles, drawn from the step alone."""
        draw = random.Random(step)
        side = SIDES[step % len(SIDES)]
        photos = [self.photos.cut(draw, side, side * draw.uniform(1, 1.9)) for _ in range(BATCH)]
        styles = []
        for _ in range(BATCH):
            kind = draw.random()
            source = self.styles if kind < 0.75 else self.drawn if kind < 0.87 else self.photos
            style = torch.zeros(1, 3, 1, 1)
            while float(style.std(correction=0)) < FLAT:  # a margin, a plain sky
                style = source.cut(draw, STYLE_SIDE, STYLE_SIDE * 2 ** draw.uniform(0, 1.6))
            if draw.random() < 0.4:
                style = style[:, draw.sample(range(3), 3)]
            if draw.random() < 0.15:
                style = 1 - style
            styles.append(style)
        return torch.cat(photos), torch.cat(styles)


def gaussians(features: Tensor) -> tuple[Tensor, Tensor]:
    """Means (N, C) and covariances (N, C, C)."""
    flat = in_full(features).flatten(2)
    mean = flat.mean(2)
    square = flat @ flat.transpose(1, 2) / flat.shape[2]
    return mean, square - mean[:, :, None] * mean[:, None]


def decompose(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues and vectors; in more digits where a flat picture leaves single ones too few."""
    try:
        values, vectors = torch.linalg.eigh(matrices)
    except torch.linalg.LinAlgError:
        least = 1e-9 * torch.eye(matrices.shape[-1], dtype=torch.float64)
        values, vectors = torch.linalg.eigh(matrices.double() + least)
    return values.to(matrices), vectors.to(matrices)


def roots(matrices: Tensor) -> Tensor:
    values, vectors = decompose(matrices)
    return (vectors * values.clamp_min(0).sqrt()[:, None]) @ vectors.transpose(1, 2)


def gaussian_distances(features: Tensor, mean: Tensor, theirs: Tensor, root: Tensor) -> Tensor:
    """(N,) as ``style_losses.GaussianLoss``, of a batch."""
    own, covariance = gaussians(features)
    constant = covariance.detach()
    values, vectors = decompose(root @ constant @ root)
    usual = root.square().sum((1, 2)) / root.shape[1]
    least = 1e-6 * usual.square() + 1e-20
    turned = root @ vectors
    slope = (turned / (values.clamp_min(0) + least[:, None]).sqrt()[:, None]) @ turned.transpose(
        1, 2
    )
    trace = values.clamp_min(0).sqrt().sum(1) + (slope / 2 * (covariance - constant)).sum((1, 2))
    spread = covariance.diagonal(dim1=1, dim2=2).sum(1) + theirs.diagonal(dim1=1, dim2=2).sum(1)
    distance = (own - mean).square().sum(1) + (spread - 2 * trace).clamp_min(0)
    size = mean.square().sum(1) + theirs.diagonal(dim1=1, dim2=2).sum(1)
    return distance / size.clamp_min(1e-12)


class Trainer:
    def __init__(self, data: Data, run: Path, steps: int) -> None:
        self.data, self.run, self.steps = data, run, steps
        machine = Machine(torch.device("cpu"), torch.bfloat16, "channels_last")
        self.backbone = load_backbone("compact").place(machine)
        torch.manual_seed(0)
        self.net = InstantNet(code_size(self.backbone))
        self.net.to(memory_format=torch.channels_last)
        self.average = {k: v.clone() for k, v in self.net.state_dict().items()}
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=RATE, betas=(0.9, 0.99))
        self.step = 0
        run.mkdir(parents=True, exist_ok=True)
        if self.checkpoint.exists():
            state = torch.load(self.checkpoint, weights_only=True)
            self.net.load_state_dict(state["net"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.average, self.step = state["average"], state["step"]
        else:
            self.learn_units()

    @property
    def checkpoint(self) -> Path:
        return self.run / "state.pt"

    @torch.no_grad()
    def learn_units(self) -> None:
        codes = [encode_style(self.backbone, self.data.batch(-1 - i)[1]) for i in range(40)]
        codes = torch.cat(codes)
        self.net.code_mean.copy_(codes.mean(0))
        self.net.code_deviation.copy_(codes.std(0) + 1e-3)

    def save(self) -> None:
        beside = self.checkpoint.with_suffix(".part")
        state = {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}
        torch.save({**state, "average": self.average, "step": self.step}, beside)
        beside.replace(self.checkpoint)

    def rate(self) -> float:
        warm = min(1.0, (self.step + 1) / WARM_UP)
        return RATE * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * self.step / self.steps)))

    def measure(self, photos: Tensor, styles: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            pairs = zip(photos.split(1), styles.split(1), strict=True)
            photos = torch.cat([match_color(photo, style) for photo, style in pairs])
            seen = self.backbone(styles.contiguous(memory_format=torch.channels_last), STYLE_LAYERS)
            targets = {}
            for name in STYLE_LAYERS:
                mean, covariance = gaussians(seen[name])
                targets[name] = (mean, covariance, roots(covariance))
            codes = join_moments(
                [(targets[n][0], targets[n][1].diagonal(dim1=1, dim2=2)) for n in CODE_LAYERS]
            )
            content = in_full(self.backbone(photos, ["relu4_1"])["relu4_1"])
        with torch.autocast("cpu", torch.bfloat16):
            manners = self.net.read_code(codes)
            painted = self.net(photos.contiguous(memory_format=torch.channels_last), manners)
        painted = painted.float()
        seen = self.backbone(painted, STYLE_LAYERS)
        shares = [2.0 ** -(d + 1) for d in range(5)]
        style = sum(
            share / sum(shares) * gaussian_distances(seen[name], *targets[name])
            for share, name in zip(shares, STYLE_LAYERS, strict=True)
        )
        variances = content.var((1, 2, 3), correction=0).clamp_min(1e-6)
        kept = (in_full(seen["relu4_1"]) - content).square().mean((1, 2, 3)) / variances
        tv = total_variation(painted) / painted.numel()
        outside = (painted - painted.clamp(0, 1)).square().mean()
        return {"style": style.mean(), "content": kept.mean(), "tv": tv, "outside": outside}

    def train(self) -> None:
        began, sums, shown = time.perf_counter(), {}, self.step
        while self.step < self.steps:
            parts = self.measure(*self.data.batch(self.step))
            loss = (
                STYLE_WEIGHT * parts["style"]
                + parts["content"]
                + TV_WEIGHT * parts["tv"]
                + 100 * parts["outside"]
            )
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
            if not bool(norm.isfinite()):
                self.step += 1
                continue
            for group in self.optimizer.param_groups:
                group["lr"] = self.rate()
            self.optimizer.step()
            self.step += 1
            keep = min(0.999, self.step / (self.step + 50))
            for name, value in self.net.state_dict().items():
                self.average[name].lerp_(value, 1 - keep)
            for name, part in parts.items():
                sums[name] = sums.get(name, 0.0) + float(part.detach())
            if self.step % 100 == 0:
                count = self.step - shown
                means = {name: round(total / count, 5) for name, total in sums.items()}
                spent = (time.perf_counter() - began) / count
                print(self.step, means, f"{spent:.3f} s a step", flush=True)
                began, sums, shown = time.perf_counter(), {}, self.step
            if self.step % SAVE_EVERY == 0 or self.step == self.steps:
                self.save()

    @torch.no_grad()
    def show(self, path: Path, side: int = 320) -> None:
        """Held-out photographs after held-out styles."""
        self.net.load_state_dict(self.average)
        rows, heads = [], []
        styles = [read(p, side) for p in self.data.unseen.pictures[:7]]
        heads = [None, *(to_pil(style) for style in styles)]
        rows.append(heads)
        for picture in self.data.held.pictures[5:60:12]:
            photo = read(picture, side)
            row = [to_pil(photo)]
            for style in styles:
                code = encode_style(self.backbone, style)
                painted = self.net(match_color(photo, style), self.net.read_code(code))
                row.append(to_pil(painted.clamp(0, 1)))
            rows.append(row)
        save_sheet(draw_sheet(rows, tile=side), path)


def read(picture: np.ndarray, side: int) -> Tensor:
    pixels = torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1)[None]
    height, width = pixels.shape[-2:]
    scale = side / max(height, width)
    return resize_pixels(pixels, round(width * scale), round(height * scale))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("train", "show"))
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--paintings", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=60_000)
    arguments = parser.parse_args()
    trainer = Trainer(Data(arguments.photos, arguments.paintings), arguments.run, arguments.steps)
    if arguments.what == "train":
        with keeping_memory(all_of_it=True):
            trainer.train()
    else:
        trainer.show(arguments.run / f"shown-{trainer.step:06}.png")


if __name__ == "__main__":
    main()
