"""Train the compact VGG-19 from random weights to see what a VGG-19 sees.

Stage 1 (``features``): conv1_1 … conv5_1 learn the teacher's features, each layer through a 1x1 map
of its own. Stage 2 (``head``): conv5_2 … conv5_4 and a linear head learn labelled pictures on top
of the frozen rest. ``finish`` fits the maps to the true VGG-19's space in closed form, scales the
channels, measures on pictures never trained on, and writes one float16 file and a table.

    python training/distil_backbone.py features --teacher T.safetensors --pictures PHOTOS PAINTINGS
    python training/distil_backbone.py head --labelled tiny_imagenet.zip
    python training/distil_backbone.py finish --teacher T.safetensors --pictures PHOTOS PAINTINGS \
        --labelled tiny_imagenet.zip -o src/impasto/data/compact.safetensors

Every tenth file of each folder is held out. A run that was stopped goes on from its checkpoint: the
numbers drawn in a step depend on the seed and the step alone.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import math
import time
import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from impasto.networks.layers import BACKBONES, Architecture, block_of
from impasto.networks.vgg import Backbone

TAUGHT = [
    f"relu{b}_{i}" for b, n in ((1, 2), (2, 2), (3, 4), (4, 4), (5, 1)) for i in range(1, n + 1)
]
MEASURED = ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu4_2", "relu5_1"]
MAPPED = ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"]


# --- pictures -----------------------------------------------------------------------------------


def load_pictures(folders: list[Path], *, held_out: bool) -> list[Tensor]:
    """Read uint8 (3, H, W); every tenth file of a folder, sorted by name, is held out."""
    pictures = []
    for folder in folders:
        files = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
        for number, file in enumerate(files):
            if (number % 10 == 9) == held_out:
                with Image.open(file) as image:
                    image.draft("RGB", (640, 640))
                    rgb = image.convert("RGB")
                    rgb.thumbnail((640, 640), Image.Resampling.LANCZOS)
                    pictures.append(torch.from_numpy(np.array(rgb)).permute(2, 0, 1).contiguous())
    return pictures


def draw_crops(pictures: list[Tensor], batch: int, size: int, rng: np.random.Generator) -> Tensor:
    """Cut random crops at three scales, flipped; one in eight is noised or mixed with another."""
    crops = torch.empty(batch, 3, size, size)
    for i in range(batch):
        picture = pictures[rng.integers(len(pictures))]
        source = int(size * rng.choice([0.7, 1.0, 1.0, 2.0]))
        source = min(source, picture.shape[1], picture.shape[2])
        top = rng.integers(picture.shape[1] - source + 1)
        left = rng.integers(picture.shape[2] - source + 1)
        crop = picture[:, top : top + source, left : left + source].float().div_(255)
        if source != size:
            crop = functional.interpolate(
                crop[None], (size, size), mode="bilinear", antialias=source > size
            )[0]
        crops[i] = crop.flip(-1) if rng.random() < 0.5 else crop
    # A picture that is being painted is not a photograph yet: teach its kind too.
    for i in range(0, batch, 8):
        if rng.random() < 0.5:
            noise = torch.from_numpy(rng.standard_normal((3, size, size), dtype=np.float32))
            crops[i] = (crops[i] + noise * float(rng.uniform(0.02, 0.3))).clamp(0, 1)
        else:
            crops[i] = crops[i].lerp(crops[(i + 1) % batch], float(rng.uniform(0.2, 0.8)))
    return crops.contiguous(memory_format=torch.channels_last)


# --- optimiser ----------------------------------------------------------------------------------


class Muon(torch.optim.Optimizer):
    """Momentum whose matrix updates are made orthogonal (Jordan et al. 2024), by Newton-Schulz."""

    def __init__(self, parameters: list[nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                buffer = state.setdefault("momentum", torch.zeros_like(parameter))
                buffer.lerp_(parameter.grad, 1 - group["momentum"])
                update = parameter.grad.lerp(buffer, group["momentum"]).flatten(1)
                rows, columns = update.shape
                x = update / (update.norm() + 1e-12)
                for _ in range(5):
                    gram = x @ x.T
                    x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
                scale = 0.2 * math.sqrt(max(rows, columns))
                parameter.add_(x.view_as(parameter), alpha=-group["lr"] * scale)


def rate(step: int, steps: int) -> float:
    """Warm up over 2 % of the steps, then fall as a cosine to nothing."""
    warm = max(1, steps // 50)
    return min(1.0, (step + 1) / warm) * 0.5 * (1 + math.cos(math.pi * step / steps))


# --- stage 1 ------------------------------------------------------------------------------------


def load_teacher(path: Path) -> tuple[Backbone, dict[str, Tensor]]:
    """Load a VGG-19 or a slim one, with its 1x1 maps to the former's space (identity if none)."""
    tensors = load_file(path)
    channels = tuple(tensors[f"conv{b}_1.weight"].shape[0] for b in range(1, 6))
    architecture = Architecture("teacher", BACKBONES["vgg19"].convolutions, channels)
    padding = "reflect" if "to_vgg19.relu1_1.weight" in tensors else "zeros"
    teacher = Backbone.from_tensors(tensors, architecture, padding=padding)
    return teacher.to(memory_format=torch.channels_last), tensors


@torch.no_grad()
def feature_scales(
    teacher: Backbone, pictures: list[Tensor], rng: np.random.Generator
) -> dict[str, tuple[Tensor, Tensor]]:
    """Measure the mean and deviation of each channel; one that is always 0 gets no weight."""
    sums: dict[str, list[Tensor]] = {layer: [] for layer in TAUGHT}
    for _ in range(12):
        for layer, f in teacher(draw_crops(pictures, 32, 96, rng), TAUGHT).items():
            sums[layer].append(torch.stack([f.mean((0, 2, 3)), f.square().mean((0, 2, 3))]))
    scales = {}
    for layer, parts in sums.items():
        mean, square = torch.stack(parts).mean(0)
        deviation = (square - mean.square()).clamp_min(0).sqrt()
        inverse = torch.where(deviation > 1e-3 * deviation.max(), 1 / deviation, 0.0)
        scales[layer] = (mean.view(1, -1, 1, 1), inverse.view(1, -1, 1, 1))
    return scales


@torch.no_grad()
def wake_channels(
    student: Backbone, maps: nn.ModuleDict, muon: Muon, crops: Tensor
) -> dict[str, int]:
    """Give channels that are nearly always 0 new weights; the next layer ignores them at first.

    Large early steps kill them: of relu5_1's 128 channels, 26 were alive after 8,000 steps.
    """
    woken = {}
    names = list(student.convs)
    for name, following in zip(names, [*names[1:], None], strict=True):
        relu, conv = name.replace("conv", "relu"), student.convs[name]
        if block_of(name) < 4:
            continue
        before = student(crops, [name])[name]
        dead = (before > 0).float().mean((0, 2, 3)) < 0.005
        if woken.setdefault(name, int(dead.sum())) == 0:
            continue
        alive = before[:, ~dead].clamp_min(0).square().mean((0, 2, 3)).sqrt().median()
        conv.weight[dead] = nn.init.kaiming_normal_(torch.empty_like(conv.weight))[dead]
        conv.bias[dead] = 0
        drawn = student(crops, [name])[name][:, dead].transpose(0, 1).flatten(1)
        shift = drawn.quantile(0.6, dim=1)  # alight in four places of ten
        scale = alive / (drawn - shift[:, None]).clamp_min(0).square().mean(1).sqrt()
        conv.weight[dead] *= scale.view(-1, 1, 1, 1)
        conv.bias[dead] = -shift * scale
        muon.state[conv.weight]["momentum"][dead] = 0
        maps[relu].weight[:, dead] = 0
        if following is not None:
            student.convs[following].weight[:, dead] = 0
            muon.state[student.convs[following].weight]["momentum"][:, dead] = 0
    return woken


def train_features(args: argparse.Namespace) -> None:
    torch.manual_seed(args.seed)
    teacher, _ = load_teacher(args.teacher)
    pictures = load_pictures(args.pictures, held_out=False)
    scales = feature_scales(teacher, pictures, np.random.default_rng([args.seed, 1]))
    student = Backbone(BACKBONES["compact"], padding="reflect")
    with torch.no_grad():
        student.preprocess.weight.copy_(torch.eye(3)[:, :, None, None] / 0.25)
        student.preprocess.bias.fill_(-0.45 / 0.25)
        student.preprocess.requires_grad_(False)
        for conv in student.convs.values():
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            nn.init.zeros_(conv.bias)
    for late in ("conv5_2", "conv5_3", "conv5_4"):
        del student.convs[late]
    student.to(memory_format=torch.channels_last)
    maps = nn.ModuleDict(
        {
            layer: nn.Conv2d(
                student.convs[layer.replace("relu", "conv")].out_channels,
                scales[layer][0].numel(),
                1,
            )
            for layer in TAUGHT
        }
    )
    matrices = [conv.weight for conv in student.convs.values()]
    others = [conv.bias for conv in student.convs.values()] + list(maps.parameters())
    optimizers = [Muon(matrices, args.lr), torch.optim.Adam(others, lr=args.lr_maps)]
    rates = [args.lr, args.lr_maps]
    start, seconds = 0, 0.0
    if args.checkpoint.exists():
        saved = torch.load(args.checkpoint, weights_only=True)
        student.load_state_dict(saved["student"])
        maps.load_state_dict(saved["maps"])
        for optimizer, state in zip(optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        start, seconds = saved["step"], saved["seconds"]
        print(f"going on from step {start}", flush=True)
    began = time.time() - seconds
    # What is lost early cannot be had later: the shallow blocks count for more.
    by_block = {1: 6.0, 2: 4.0, 3: 2.0, 4: 1.0, 5: 1.0}
    weights = {
        layer: by_block[block_of(layer)] * (2 if layer in MEASURED else 1) for layer in TAUGHT
    }
    running: dict[str, float] = {}
    for step in range(start, args.steps):
        rng = np.random.default_rng([args.seed, 2, step])
        # What is learned is left alone: blocks 1 and 2 after a third of the steps, 3 after two.
        frozen = (0, 2, 3)[3 * step // args.steps]
        if step in (args.steps // 2, args.steps * 2 // 3):
            crops = draw_crops(pictures, 64, 96, np.random.default_rng([args.seed, 5, step]))
            print(f"woken: {wake_channels(student, maps, optimizers[0], crops)}", flush=True)
        taught = [layer for layer in TAUGHT if block_of(layer) > frozen]
        for name, conv in student.convs.items():
            conv.requires_grad_(block_of(name) > frozen)
        size, batch = (96, args.batch * 4 // 9) if step % 4 == 3 else (64, args.batch)
        crops = draw_crops(pictures, batch, size, rng)
        with torch.no_grad():
            targets = teacher(crops, taught)
        features = student(crops, taught)
        total = torch.zeros(())
        for layer in taught:
            mean, inverse = scales[layer]
            left = (maps[layer](features[layer]) - (targets[layer] - mean) * inverse).square()
            left = left.mean() * (inverse.numel() / int((inverse > 0).sum()))
            total = total + weights[layer] * left
            running[layer] = 0.98 * running.get(layer, float(left.detach())) + 0.02 * float(
                left.detach()
            )
        for optimizer, lr in zip(optimizers, rates, strict=True):
            optimizer.param_groups[0]["lr"] = lr * rate(step, args.steps)
            optimizer.zero_grad(set_to_none=True)
        total.backward()
        for optimizer in optimizers:
            optimizer.step()
        last = step + 1 == args.steps
        if (step + 1) % 200 == 0 or last:
            shares = " ".join(
                f"{layer[4:]} {running[layer]:.3f}" for layer in MEASURED if layer in running
            )
            print(f"step {step + 1} {time.time() - began:.0f} s: {shares}", flush=True)
        if (step + 1) % 500 == 0 or last:
            write_checkpoint(
                args.checkpoint,
                {
                    "student": student.state_dict(),
                    "maps": maps.state_dict(),
                    "optimizers": [optimizer.state_dict() for optimizer in optimizers],
                    "step": step + 1,
                    "seconds": time.time() - began,
                },
            )


def write_checkpoint(path: Path, content: dict) -> None:
    beside = path.with_suffix(".part")
    torch.save(content, beside)
    beside.replace(path)


# --- stage 2 ------------------------------------------------------------------------------------


def load_labelled(archive: Path) -> tuple[list[str], dict[bool, tuple[Tensor, Tensor]]]:
    """Read class names, and {held out: (uint8 pictures (N, 3, 64, 64), labels)}; every tenth is."""
    with zipfile.ZipFile(archive) as files:
        rows = [line.split("\t") for line in files.read("classes.tsv").decode().splitlines()]
        by_class = {wnid: number for number, (wnid, _) in enumerate(rows)}
        parts: dict[bool, tuple[list[Tensor], list[int]]] = {True: ([], []), False: ([], [])}
        counts = dict.fromkeys(by_class, 0)
        for name in sorted(n for n in files.namelist() if n.endswith(".JPEG")):
            wnid = name.split("/")[0]
            with Image.open(io.BytesIO(files.read(name))) as image:
                pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
            pictures, labels = parts[counts[wnid] % 10 == 9]
            pictures.append(pixels)
            labels.append(by_class[wnid])
            counts[wnid] += 1
    return [name for _, name in rows], {
        held_out: (torch.stack(pictures), torch.tensor(labels))
        for held_out, (pictures, labels) in parts.items()
    }


def view_pictures(pictures: Tensor, side: int, rng: np.random.Generator | None) -> Tensor:
    """Return float pictures at ``side``; with a generator, flipped and shifted at random."""
    x = pictures.float().div_(255)
    if rng is not None:
        crop = int(rng.integers(52, 65))
        top, left = rng.integers(0, 65 - crop, 2)
        x = x[..., top : top + crop, left : left + crop]
        flip = torch.from_numpy(rng.random(len(x)) < 0.5)
        x = torch.where(flip[:, None, None, None], x.flip(-1), x)
    x = functional.interpolate(x, (side, side), mode="bilinear", align_corners=False)
    return x.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def see_all(
    trunk: Backbone, pictures: Tensor, side: int, rng: np.random.Generator | None
) -> Tensor:
    """Return relu5_1 of every picture, float16: the frozen part runs once for each view."""
    parts = []
    for batch in pictures.split(100):
        seen = trunk(view_pictures(batch, side, rng), ["relu5_1"])["relu5_1"]
        parts.append(seen.half())
    return torch.cat(parts)


class Top(nn.Module):
    """conv5_2 … conv5_4, the mean over positions, and one score for each class."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.convs = nn.ModuleDict(
            {
                f"conv5_{i}": nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect")
                for i in (2, 3, 4)
            }
        )
        self.head = nn.Linear(channels, classes)
        for conv in self.convs.values():
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            nn.init.zeros_(conv.bias)

    def forward(self, x: Tensor, dropout: float = 0.0) -> Tensor:
        for conv in self.convs.values():
            x = functional.relu(conv(functional.dropout2d(x, dropout)))
        return self.head(functional.dropout(x.mean((2, 3)), dropout))


def train_head(args: argparse.Namespace) -> None:
    torch.manual_seed(args.seed)
    trunk, _ = load_student(args.checkpoint)
    names, parts = load_labelled(args.labelled)
    (pictures, labels), (unseen, unseen_labels) = parts[False], parts[True]
    began = time.time()
    views = []
    for view in range(args.views):
        rng = np.random.default_rng([args.seed, 3, view])
        views.append(see_all(trunk, pictures, args.side, rng))
        print(f"view {view + 1} of {args.views}: {time.time() - began:.0f} s", flush=True)
    held_out = see_all(trunk, unseen, args.side, None)
    # Features of many sizes learn badly: unit deviation, folded into conv5_2 afterwards.
    scale = views[0][:2000].float().std((0, 2, 3)).clamp_min(1e-3)
    top = Top(views[0].shape[1], len(names)).to(memory_format=torch.channels_last)
    matrices = [conv.weight for conv in top.convs.values()]
    others = [p for p in top.parameters() if not any(p is matrix for matrix in matrices)]
    optimizers = [Muon(matrices, args.lr), torch.optim.AdamW(others, lr=3e-3, weight_decay=0.05)]
    rates = [args.lr, 3e-3]
    steps = args.epochs * (len(labels) // 128)
    rng = np.random.default_rng([args.seed, 4])
    for step in range(steps):
        rows = torch.from_numpy(rng.choice(len(labels), 128, replace=False))
        x = views[step % len(views)][rows].float() / scale[:, None, None]
        scores = top(x.contiguous(memory_format=torch.channels_last), args.dropout)
        loss = functional.cross_entropy(scores, labels[rows], label_smoothing=0.1)
        for optimizer, lr in zip(optimizers, rates, strict=True):
            optimizer.param_groups[0]["lr"] = lr * rate(step, steps)
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        if (step + 1) % 500 == 0 or step + 1 == steps:
            right = count_right(top, held_out, unseen_labels, scale)
            print(
                f"step {step + 1}/{steps} {time.time() - began:.0f} s: loss {loss.item():.3f} "
                f"held-out top-1 {right:.3f}",
                flush=True,
            )
    with torch.no_grad():
        top.convs["conv5_2"].weight /= scale.view(1, -1, 1, 1)
    content = {
        "top": top.state_dict(),
        "top1": right,
        "names": names,
        "seconds": time.time() - began,
    }
    write_checkpoint(args.checkpoint.with_name("head.pt"), content)


@torch.no_grad()
def count_right(top: Top, features: Tensor, labels: Tensor, scale: Tensor) -> float:
    """Return the share of pictures whose best score is their class."""
    top.eval()
    right = 0
    for x, y in zip(features.split(500), labels.split(500), strict=True):
        scores = top((x.float() / scale[:, None, None]).contiguous())
        right += int((scores.argmax(1) == y).sum())
    top.train()
    return right / len(labels)


# --- the file -----------------------------------------------------------------------------------


def load_student(checkpoint: Path) -> tuple[Backbone, dict[str, Tensor]]:
    """Read the trained trunk, and its tensors by the package's names."""
    saved = torch.load(checkpoint, weights_only=True)["student"]
    tensors = {name.removeprefix("convs."): tensor for name, tensor in saved.items()}
    trunk = Backbone.from_tensors(tensors, BACKBONES["compact"], padding="reflect")
    return trunk.to(memory_format=torch.channels_last), tensors


def centre_crops(pictures: list[Tensor], side: int) -> list[Tensor]:
    """Cut (1, 3, side, side) from every picture that is large enough."""
    crops = []
    for picture in pictures:
        top, left = (picture.shape[1] - side) // 2, (picture.shape[2] - side) // 2
        if min(top, left) >= 0:
            crop = picture[None, :, top : top + side, left : left + side].float() / 255
            crops.append(crop.contiguous(memory_format=torch.channels_last))
    return crops


@torch.no_grad()
def fit_maps(
    student: Backbone, teacher: Backbone, crops: list[Tensor]
) -> tuple[dict[str, tuple[Tensor, Tensor]], dict[str, Tensor]]:
    """Fit each layer's affine map from the student's features to the teacher's (least squares).

    Return it with the mean of each of the student's channels.
    """
    sums: dict[str, list[Tensor]] = {}
    for crop in crops:
        ours, theirs = student(crop, TAUGHT), teacher(crop, TAUGHT)
        for layer in TAUGHT:
            x = ours[layer][0].flatten(1).double()
            x = torch.cat([x, torch.ones(1, x.shape[1], dtype=x.dtype)])
            y = theirs[layer][0].flatten(1).double()
            products = [x @ x.T, x @ y.T]
            found = sums.get(layer)
            sums[layer] = (
                [a + b for a, b in zip(found, products, strict=True)] if found else products
            )
    maps, means = {}, {}
    for layer, (square, cross) in sums.items():
        means[layer] = (square[:-1, -1] / square[-1, -1]).float()
        ridge = 1e-6 * square.diagonal().mean() * torch.eye(len(square), dtype=square.dtype)
        solved = torch.linalg.solve(square + ridge, cross)  # (C + 1, C of the teacher)
        maps[layer] = (solved[:-1].T.float(), solved[-1].float())
    return maps, means


@torch.no_grad()
def shares_unexplained(
    student: Backbone,
    teacher: Backbone,
    maps: dict[str, tuple[Tensor, Tensor]],
    read: dict[str, Tensor],
    crops: list[Tensor],
) -> dict[str, tuple[float, float | None]]:
    """Measure by layer the teacher's features left unexplained, and in true VGG-19's space."""
    moments: dict[str, list[Tensor]] = {}
    for crop in crops:
        ours, theirs = student(crop, TAUGHT), teacher(crop, TAUGHT)
        for layer in TAUGHT:
            weight, bias = maps[layer]
            y = theirs[layer][0].flatten(1).double()
            guess = (weight @ ours[layer][0].flatten(1) + bias[:, None]).double()
            pairs = [(y, guess)]
            if f"to_vgg19.{layer}.weight" in read:
                into = read[f"to_vgg19.{layer}.weight"].flatten(1).double()
                shift = read[f"to_vgg19.{layer}.bias"].double()[:, None]
                pairs.append(((into @ y + shift).relu(), (into @ guess + shift).relu()))
            for name, (true, found) in zip((layer, f"{layer} vgg19"), pairs, strict=False):
                n = torch.tensor(float(true.shape[1]), dtype=torch.float64)
                new = [n, true.sum(1), true.square().sum(1), (true - found).square().sum(1)]
                old = moments.get(name)
                moments[name] = [a + b for a, b in zip(old, new, strict=True)] if old else new
    shares = {}
    for name, (n, total, square, left) in moments.items():
        variance = square / n - (total / n).square()
        alive = variance > 1e-6 * variance.max()
        shares[name] = float((left / n / variance)[alive].mean())
    return {layer: (shares[layer], shares.get(f"{layer} vgg19")) for layer in TAUGHT}


@torch.no_grad()
def top_gains(tensors: dict[str, Tensor], crops: list[Tensor]) -> dict[str, Tensor]:
    """Measure what brings the mean activation of conv5_2 … conv5_4 to 1."""
    network = Backbone.from_tensors(tensors, BACKBONES["compact"], padding="reflect")
    layers = ["relu5_2", "relu5_3", "relu5_4"]
    means = [
        torch.stack([seen.mean() for seen in network(crop, layers).values()]) for crop in crops
    ]
    found = zip(layers, torch.stack(means).mean(0), strict=True)
    return {layer: (1 / mean).expand(tensors["conv5_4.bias"].shape) for layer, mean in found}


@torch.no_grad()
def scale_channels(tensors: dict[str, Tensor], gains: dict[str, Tensor]) -> None:
    """Multiply channels and divide them out of the next layer: the same network in other units."""
    for conv, following in pairwise([*BACKBONES["compact"].convs(), "head"]):
        gain = gains[conv.replace("conv", "relu")]
        tensors[f"{conv}.weight"] *= gain.view(-1, 1, 1, 1)
        tensors[f"{conv}.bias"] *= gain
        after = tensors[f"{following}.weight"]
        after /= gain.view(1, -1, *[1] * (after.ndim - 2))


def finish(args: argparse.Namespace) -> None:
    student, tensors = load_student(args.checkpoint)
    teacher, read = load_teacher(args.teacher)
    training = centre_crops(load_pictures(args.pictures, held_out=False), 256)[:: args.every]
    maps, means = fit_maps(student, teacher, training)
    unseen = centre_crops(load_pictures(args.pictures, held_out=True), 256)
    shares = shares_unexplained(student, teacher, maps, read, unseen)
    for layer, found in shares.items():
        print(layer, found, flush=True)
    head = torch.load(args.checkpoint.with_name("head.pt"), weights_only=True)
    tensors |= {name.removeprefix("convs."): tensor for name, tensor in head["top"].items()}
    args.output.with_name("classes.txt").write_text("\n".join(head["names"]) + "\n")
    gains = {}
    for layer, (weight, bias) in maps.items():
        if f"to_vgg19.{layer}.weight" in read:
            into = read[f"to_vgg19.{layer}.weight"].flatten(1)
            weight = into @ weight
            bias = into @ bias + read[f"to_vgg19.{layer}.bias"]
        # A channel weighs as much as what it stands for in the true VGG-19; a layer's mean
        # activation is 1, as in the network of Gatys et al., for whose losses that matters.
        gain = weight.norm(dim=0)
        gain = gain.clamp_min(1e-2 * float(gain.median()))
        gains[layer] = gain / float((gain * means[layer]).mean())
        if layer in MAPPED:
            tensors[f"to_vgg19.{layer}.weight"] = (weight / gains[layer])[:, :, None, None]
            tensors[f"to_vgg19.{layer}.bias"] = bias
    scale_channels(tensors, gains | top_gains(tensors, training[::10]))
    wanted = ("conv", "preprocess", "to_vgg19", "head")
    halves = {k: t.half().contiguous() for k, t in tensors.items() if k.startswith(wanted)}
    broken = [name for name, tensor in halves.items() if not tensor.isfinite().all()]
    if broken:
        raise SystemExit(f"float16 does not hold {broken}")
    metadata = {"name": "compact", "padding": "reflect", "licence": "Apache-2.0"}
    beside = args.output.with_suffix(".part")
    save_file(halves, beside, metadata)
    beside.replace(args.output)
    digest = hashlib.sha256(args.output.read_bytes()).hexdigest()
    args.output.with_suffix(".sha256").write_text(f"{digest}\n")
    write_report(args, shares, head["top1"], len(unseen))


def write_report(args: argparse.Namespace, shares: dict, top1: float, pictures: int) -> None:
    """Print the table of the model card, from numbers alone."""
    lines = ["| layer | left unexplained | in true VGG-19's space |", "|---|---|---|"]
    for layer, (share, mapped) in shares.items():
        lines.append(f"| {layer} | {share:.4f} | {'' if mapped is None else f'{mapped:.4f}'} |")
    saved = torch.load(args.checkpoint, weights_only=True)
    report = "\n".join(lines) + (
        f"\n\nmeasured on {pictures} pictures held out, 256 x 256; {saved['step']} steps in "
        f"{saved['seconds']:.0f} s; top-1 of the head on 5,000 pictures held out: {top1:.3f}\n"
    )
    args.checkpoint.with_name("report.md").write_text(report)
    print(report)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("stage", choices=["features", "head", "finish"])
    parser.add_argument("--teacher", type=Path, help="safetensors with conv1_1.weight …")
    parser.add_argument("--pictures", type=Path, nargs="+", help="folders of pictures")
    parser.add_argument("--labelled", type=Path, help="zip of CLASS/*.JPEG with classes.tsv")
    parser.add_argument("--checkpoint", type=Path, default=Path("runs/compact.pt"))
    parser.add_argument("--steps", type=int, default=16000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--lr-maps", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--views", type=int, default=3, help="head: views of each picture")
    parser.add_argument("--side", type=int, default=96, help="head: pictures are enlarged to this")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--every", type=int, default=3, help="finish: fit maps on every nth")
    parser.add_argument("-o", "--output", type=Path, default=Path("compact.safetensors"))
    args = parser.parse_args()
    args.checkpoint.parent.mkdir(parents=True, exist_ok=True)
    {"features": train_features, "head": train_head, "finish": finish}[args.stage](args)


if __name__ == "__main__":
    main()
