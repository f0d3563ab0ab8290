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
import io
import json
import math
import time
import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from impasto.backbones import BACKBONES, Architecture, Backbone

TAUGHT = [
    f"relu{b}_{i}" for b, n in ((1, 2), (2, 2), (3, 4), (4, 4), (5, 1)) for i in range(1, n + 1)
]
MEASURED = ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu4_2", "relu5_1"]
MAPPED = ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"]


# --- pictures -----------------------------------------------------------------------------------


def load_pictures(folders: list[Path], *, held_out: bool) -> list[Tensor]:
    """uint8 (3, H, W); every tenth file of a folder, sorted by name, is held out."""
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
    """Random crops at three scales, flipped; one in eight is noised or mixed with another."""
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
    """A true VGG-19 or a slim one, with its 1x1 maps to the true one's space (identity if none)."""
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
    """Mean and deviation of each channel; a channel that is never alight gets no weight."""
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
                student.convs[layer.replace("relu", "conv")].out_channels, scales[layer][0].numel(), 1
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
    weights = {l: {"1":6.,"2":4.,"3":2.,"4":1.,"5":1.}[l[4]]*(2.0 if l in MEASURED else 1.0) for l in TAUGHT}
    running: dict[str, float] = {}
    for step in range(start, args.steps):
        rng = np.random.default_rng([args.seed, 2, step])
        size, batch = (96, args.batch * 4 // 9) if step % 4 == 3 else (64, args.batch)
        crops = draw_crops(pictures, batch, size, rng)
        with torch.no_grad():
            targets = teacher(crops, TAUGHT)
        features = student(crops, TAUGHT)
        total = torch.zeros(())
        for layer in TAUGHT:
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
            shares = " ".join(f"{layer[4:]} {running[layer]:.3f}" for layer in MEASURED)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("stage", choices=["features"])
    parser.add_argument("--teacher", type=Path)
    parser.add_argument("--pictures", type=Path, nargs="+")
    parser.add_argument("--checkpoint", type=Path, default=Path("runs/compact.pt"))
    parser.add_argument("--steps", type=int, default=20000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=0.02)
    parser.add_argument("--lr-maps", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.checkpoint.parent.mkdir(parents=True, exist_ok=True)
    train_features(args)


if __name__ == "__main__":
    main()
