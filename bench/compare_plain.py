"""The default recipe against the plain method, in one run: time, style and content.

The plain method paints at one size, with 500 L-BFGS steps and the teacher network. Its losses,
weights and recoloured start are those of the default recipe, so that only the network and the
schedule differ; the tutorials' own losses are in the recipe gatys-2015. Both are judged in the
space of the true VGG-19, through the teacher's own maps, by what is left of each: style is the
mean over relu1_1 … relu5_1 of |G - A|^2 / |A|^2, content |F - P|^2 / var(P) at relu4_2.
Content is measured against the photograph in the style's colours, which is what is painted.

    python bench/compare_plain.py --teacher T.safetensors --photos FOLDER --paintings FOLDER -o OUT
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from impasto.backbones import BACKBONES, Architecture, Backbone
from impasto.color import match_color
from impasto.devices import Machine, choose_machine
from impasto.images import fit_size, read_image, resize_pixels, to_pil
from impasto.losses import content_loss, gram_loss, gram_matrix
from impasto.options import PaintOptions, read_recipe_file
from impasto.painter import Progress, paint_steps
from impasto.weights import load_backbone

STYLE = [f"relu{block}_1" for block in range(1, 6)]


class Teacher:
    """A slim VGG-19 with its maps into the true one's space."""

    def __init__(self, path: Path) -> None:
        self.tensors = load_file(path)
        channels = tuple(self.tensors[f"conv{b}_1.weight"].shape[0] for b in range(1, 6))
        architecture = Architecture("teacher", BACKBONES["vgg19"].convolutions, channels)
        self.backbone = Backbone.from_tensors(self.tensors, architecture, padding="reflect")

    @torch.no_grad()
    def grams(self, pixels: Tensor) -> list[Tensor]:
        seen = self.backbone(pixels, STYLE)
        return [gram_matrix(self.map_layer(name, seen[name])) for name in STYLE]

    def map_layer(self, name: str, features: Tensor) -> Tensor:
        """Features in the true network's space."""
        weight, bias = (self.tensors[f"to_vgg19.{name}.{part}"] for part in ("weight", "bias"))
        return functional.conv2d(features, weight, bias).relu()

    @torch.no_grad()
    def judge(self, painted: Tensor, content: Tensor, style: Tensor) -> tuple[float, float]:
        """(style, content): what is left of each; 0 is the target itself."""
        pairs = zip(self.grams(painted), self.grams(style), strict=True)
        layer = ["relu4_2"]
        seen, target = (self.backbone(x, layer)["relu4_2"] for x in (painted, content))
        lost = statistics.mean(float(gram_loss(g, a)) for g, a in pairs)
        return lost, float(content_loss(seen, target))


def read_at(path: Path, size: int) -> Tensor:
    pixels = read_image(path).pixels
    return resize_pixels(pixels, *fit_size(pixels.shape[-1], pixels.shape[-2], size))


def paint_tensors(
    backbone: Backbone, machine: Machine, content: Tensor, style: Tensor, values: dict
) -> tuple[Tensor, float]:
    progress = Progress()
    began = time.perf_counter()
    for _ in paint_steps(backbone, machine, content, style, PaintOptions.read(values), progress):
        pass
    assert progress.best is not None
    return progress.best.detach().clamp(0, 1), time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--paintings", type=Path, required=True)
    parser.add_argument("--recipe", default="default")
    parser.add_argument(
        "--styles", nargs="+", default=["starry_night_google", "the_scream", "wave"]
    )
    parser.add_argument("--every", type=int, default=500, help="take every nth photograph")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--plain-steps", type=int, default=500)
    parser.add_argument("-o", "--output", type=Path, default=Path("compare_plain"))
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    teacher, machine = Teacher(args.teacher), choose_machine("cpu", "float32")
    compact = machine.place(load_backbone("compact"))
    machine.place(teacher.backbone)
    ours = read_recipe_file(args.recipe)
    plain = {"steps": args.plain_steps, "start_size": 65536}
    photos = sorted(args.photos.glob("*.jpg"))[9 :: args.every]
    pairs = [(photo, args.paintings / f"{s}.jpg") for photo in photos for s in args.styles]
    columns = ("photo", "style", "plain, s", "ours, s", "ratio")
    columns += tuple(
        f"{what}, {whose}" for what in ("style", "content") for whose in ("plain", "ours")
    )
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    ratios = []
    for photo, painting in pairs:
        content, style = read_at(photo, args.size), read_at(painting, args.size)
        slow, slow_time = paint_tensors(teacher.backbone, machine, content, style, plain)
        fast, fast_time = paint_tensors(compact, machine, content, style, ours)
        wanted = match_color(content, style)
        judged = [teacher.judge(picture, wanted, style) for picture in (slow, fast)]
        ratios.append(slow_time / fast_time)
        print(
            f"| {photo.stem} | {painting.stem} | {slow_time:.0f} | {fast_time:.1f} "
            f"| {ratios[-1]:.1f} | {judged[0][0]:.4f} | {judged[1][0]:.4f} "
            f"| {judged[0][1]:.3f} | {judged[1][1]:.3f} |",
            flush=True,
        )
        row = [content, style, slow, fast]
        sheet = Image.new("RGB", (sum(x.shape[-1] for x in row), max(x.shape[-2] for x in row)))
        left = 0
        for pixels in row:
            sheet.paste(to_pil(pixels), (left, 0))
            left += pixels.shape[-1]
        sheet.save(args.output / f"{photo.stem}-{painting.stem}.jpg", quality=92)
    print(f"\nmedian ratio of times: {statistics.median(ratios):.1f}")


if __name__ == "__main__":
    main()
