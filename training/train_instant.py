"""Train the network that paints after any picture in one pass.

Photographs and style pictures are cut, turned and recoloured at random; the painting must have
the style's statistics at five layers of the compact network (Gaussian, as the painter's default)
and the photograph's features at relu4_1. Every tenth photograph and painting is held out. The run
goes on from its checkpoint.

    python training/train_instant.py train --photos P --paintings Q --run R [--steps 28000]
    python training/train_instant.py show --photos P --paintings Q --run R
    python training/train_instant.py pack --photos P --paintings Q --run R
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from sample_styles import STYLES, draw_style  # isort: skip

from impasto.figures.contact_sheet import draw_sheet, save_sheet
from impasto.images.color_transfer import match_color
from impasto.images.reading import read_image
from impasto.images.resizing import fit_size, resize_pixels
from impasto.images.writing import to_pil
from impasto.instant.model_file import save_net
from impasto.instant.net import (
    CODE_LAYERS,
    NET_SHAPES,
    CodeReader,
    PaintingNet,
    code_size,
    encode_style,
)
from impasto.instant.training_losses import (
    PERIODS,
    disturb,
    measure_content,
    measure_lattice,
    measure_paintings,
    measure_styles,
    measure_unrest,
)
from impasto.instant.training_photos import Crops, list_photographs
from impasto.losses.regularisers import total_variation
from impasto.networks.weights import load_backbone
from impasto.system.devices import Machine
from impasto.system.memory import keeping_memory

BATCH = 8
SIDES = (128, 176)  # of crops, in turn
STYLE_SIDE = 192
FLAT = 0.03  # deviation of a style that is none
STYLE_WEIGHT, TV_WEIGHT = 18.0, 3.0
# So many photographs of a batch are painted again, with noise.
DISTURBED, STEADY_WEIGHT = 2, 0.2
LATTICE_WEIGHT = 10.0
RATE, WARM_UP = 6e-4, 200
COOLING = 0.6  # of all steps, over which the rate falls
SAVE_EVERY = 500
DATA = Path(__file__).parent.parent / "src" / "impasto" / "data"
DRAWN = 6  # of each of the project's own styles


def split(paths: list[Path]) -> tuple[list[Path], list[Path]]:
    """Split into those to learn from, and every tenth."""
    return [p for i, p in enumerate(paths) if i % 10], paths[::10]


class Data:
    def __init__(self, photos: Path, paintings: Path, run: Path) -> None:
        learnt, self.held = split(list_photographs(photos))
        styles, self.unseen = split(list_photographs(paintings))
        drawn = []
        (run / "drawn").mkdir(parents=True, exist_ok=True)
        for name in STYLES:
            for seed in range(DRAWN):
                drawn.append(run / "drawn" / f"{name}-{seed}.png")
                if not drawn[-1].exists():
                    draw_style(name, seed=seed).save(drawn[-1])
        self.photos, self.styles, self.drawn = Crops(learnt, 420), Crops(styles, 900), Crops(drawn)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Draw photographs and styles from the step alone."""
        draw = random.Random(step)
        side = SIDES[step % len(SIDES)]
        photos = [self.photos.cut(draw, side, side * draw.uniform(1, 3)) for _ in range(BATCH)]
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


class Trainer:
    def __init__(self, data: Data, run: Path, steps: int) -> None:
        self.data, self.run, self.steps = data, run, steps
        machine = Machine(torch.device("cpu"), torch.bfloat16, "channels_last")
        self.backbone = load_backbone("compact").place(machine)
        torch.manual_seed(0)
        net = PaintingNet(NET_SHAPES["any"]).to(memory_format=torch.channels_last)
        reader = CodeReader(code_size(self.backbone), net.count)
        self.both = nn.ModuleDict({"net": net, "reader": reader})
        self.net, self.reader = net, reader
        self.average = {k: v.clone() for k, v in self.both.state_dict().items()}
        self.optimizer = torch.optim.Adam(self.both.parameters(), lr=RATE, betas=(0.9, 0.99))
        self.step = 0
        run.mkdir(parents=True, exist_ok=True)
        if self.checkpoint.exists():
            state = torch.load(self.checkpoint, weights_only=True)
            self.both.load_state_dict(state["both"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.average, self.step = state["average"], state["step"]
        else:
            self.learn_units()

    @property
    def checkpoint(self) -> Path:
        return self.run / "state.pt"

    @torch.no_grad()
    def learn_units(self) -> None:
        """Codes are read in units of those of many styles."""
        batches = [self.data.batch(-1 - i)[1] for i in range(40)]
        codes = torch.cat([encode_style(self.backbone, styles) for styles in batches])
        self.reader.mean.copy_(codes.mean(0))
        self.reader.deviation.copy_(codes.std(0) + 1e-3)

    def save(self) -> None:
        beside = self.checkpoint.with_suffix(".part")
        state = {"both": self.both.state_dict(), "optimizer": self.optimizer.state_dict()}
        torch.save({**state, "average": self.average, "step": self.step}, beside)
        beside.replace(self.checkpoint)

    def rate(self) -> float:
        """Return the learning rate: warmed up, constant for long, falling at last."""
        left = (self.steps - self.step) / (COOLING * self.steps)
        return RATE * min(1.0, (self.step + 1) / WARM_UP, max(left, 0.02))

    def measure(self, photos: Tensor, styles: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            pairs = zip(photos.split(1), styles.split(1), strict=True)
            photos = torch.cat([match_color(photo, style) for photo, style in pairs])
            photos = photos.contiguous(memory_format=torch.channels_last)
            styles = styles.contiguous(memory_format=torch.channels_last)
            targets = measure_styles(self.backbone, styles)
            moments: list[Tensor] = []
            for target in (targets[name] for name in CODE_LAYERS):
                variance = target.covariance.diagonal(dim1=1, dim2=2)
                moments += target.mean, variance.clamp_min(0).sqrt()
            codes = torch.cat(moments, 1)
            content = measure_content(self.backbone, photos)
        self.net.renew_grain(self.step + 1)
        with torch.autocast("cpu", torch.bfloat16):
            painted = self.net(photos, self.reader(codes))
        painted = painted.float()
        again = self.repaint(photos[:DISTURBED], codes[:DISTURBED])
        style, away = measure_paintings(self.backbone, painted, targets, content)
        period = PERIODS[self.step // len(SIDES) % len(PERIODS)]
        return {
            "style": style.mean(),
            "content": away.mean(),
            "tv": total_variation(painted) / painted.numel(),
            "lattice": measure_lattice(painted, period).mean(),
            "unrest": measure_unrest(painted[:DISTURBED], again).mean(),
            "outside": (painted - painted.clamp(0, 1)).square().mean(),
        }

    def repaint(self, photos: Tensor, codes: Tensor) -> Tensor:
        """Add noise."""
        noisy = disturb(photos, self.step).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            again: Tensor = self.net(noisy, self.reader(codes))
        return again.float()

    def train(self) -> None:
        began, sums, shown = time.perf_counter(), {}, self.step
        while self.step < self.steps:
            parts = self.measure(*self.data.batch(self.step))
            loss = (
                STYLE_WEIGHT * parts["style"]
                + parts["content"]
                + STEADY_WEIGHT * parts["unrest"]
                + LATTICE_WEIGHT * parts["lattice"]
                + TV_WEIGHT * parts["tv"]
                + 100 * parts["outside"]
            )
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(self.both.parameters(), 5.0)
            if not bool(norm.isfinite()):
                self.step += 1
                continue
            for group in self.optimizer.param_groups:
                group["lr"] = self.rate()
            self.optimizer.step()
            self.step += 1
            keep = min(0.999, self.step / (self.step + 50))
            for name, value in self.both.state_dict().items():
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

    def pack(self, path: Path) -> None:
        """Pack the network as it is in the package."""
        self.both.load_state_dict(self.average)
        about = {"steps": self.step, "licence": "Apache-2.0"}
        save_net(path, self.net, reader=self.reader, about=about, dtype=torch.float16)

    @torch.no_grad()
    def show(self, sheet: Path, side: int = 320) -> None:
        """Paint held-out photographs after held-out styles."""
        self.both.load_state_dict(self.average)
        self.net.renew_grain()
        rows = []
        styles = [read(path, side) for path in self.data.unseen[:7]]
        rows.append([None, *(to_pil(style) for style in styles)])
        for path in self.data.held[5:60:12]:
            photo = read(path, side)
            row = [to_pil(photo)]
            for style in styles:
                code = encode_style(self.backbone, style)
                painted = self.net(match_color(photo, style), self.reader(code))
                row.append(to_pil(painted.clamp(0, 1)))
            rows.append(row)
        save_sheet(draw_sheet(rows, tile=side), sheet)


def read(path: Path, side: int) -> Tensor:
    picture = read_image(path)
    return resize_pixels(picture.pixels, *fit_size(*picture.size, side))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("train", "show", "pack"))
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--paintings", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=28_000)
    arguments = parser.parse_args()
    data = Data(arguments.photos, arguments.paintings, arguments.run)
    trainer = Trainer(data, arguments.run, arguments.steps)
    if arguments.what == "train":
        with keeping_memory(all_of_it=True):
            trainer.train()
    elif arguments.what == "pack":
        trainer.pack(DATA / "instant.safetensors")
    else:
        trainer.show(arguments.run / f"shown-{trainer.step:06}.png")


if __name__ == "__main__":
    main()
