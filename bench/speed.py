"""Step time against the tutorials' loop, and the share of the machine that a step makes use of.

The tutorials' loop: layers in a row, float32, planes, autograd, Gram matrices at five layers and
content at one, torch's L-BFGS. Ours: the default options. Same network, same picture, in turn; of
each the best of several steps. Work is counted in the multiply-adds of convolutions, forward and
back to the picture, over the best matrix product that this process can do.

    python bench/speed.py [--sizes 256 512 1024] [--networks compact vgg19]
"""

from __future__ import annotations

import argparse
import copy
import gc
import time
from collections.abc import Callable
from dataclasses import replace

import impasto  # first: it says how torch is to take memory

import torch  # isort: skip
from machine import describe_machine, keep  # isort: skip
from memory import draw_photo, draw_style, load_random  # isort: skip
from torch import Tensor, nn  # isort: skip
from torch.nn import functional  # isort: skip

from impasto.images.picture import Picture
from impasto.images.resizing import resize_pixels
from impasto.networks.layers import block_of
from impasto.networks.vgg import Backbone
from impasto.painting.canvas import CANVASES
from impasto.painting.inputs import Scene
from impasto.painting.objective import Objective
from impasto.painting.optimizers import BoundedLBFGS
from impasto.system.devices import Machine, choose_machine, has_fast_bfloat16
from impasto.system.memory import keeping_memory

STYLE = [f"conv{block}_1" for block in range(1, 6)]
CONTENT = "conv4_2"
ROUNDS = 5


class GramLoss(nn.Module):
    def __init__(self, target: Tensor) -> None:
        super().__init__()
        self.target = gram(target).detach()

    def forward(self, x: Tensor) -> Tensor:
        self.loss = functional.mse_loss(gram(x), self.target)
        return x


class ContentLoss(nn.Module):
    def __init__(self, target: Tensor) -> None:
        super().__init__()
        self.target = target.detach()

    def forward(self, x: Tensor) -> Tensor:
        self.loss = functional.mse_loss(x, self.target)
        return x


def gram(x: Tensor) -> Tensor:
    n, channels, height, width = x.shape
    flat = x.view(n * channels, height * width)
    return torch.mm(flat, flat.t()) / x.numel()


def make_tutorial(backbone: Backbone, content: Tensor, style: Tensor) -> Callable[[], float]:
    """Take steps as the tutorials write them; return the seconds of each evaluation."""
    model, losses = nn.Sequential(copy.deepcopy(backbone.preprocess)), []
    x, y, block = model(content), model(style), 1
    for name, conv in backbone.convs.items():
        if block_of(name) != block:
            block = block_of(name)
            model.append(nn.MaxPool2d(2))
            x, y = model[-1](x), model[-1](y)
        plain = nn.Conv2d(
            conv.in_channels, conv.out_channels, 3, padding=1, padding_mode=conv.padding_mode
        )
        plain.load_state_dict(conv.state_dict())
        model.append(plain)
        x, y = plain(x), plain(y)
        if name in STYLE:
            losses.append(GramLoss(y))
            model.append(losses[-1])
        if name == CONTENT:
            losses.append(ContentLoss(x))
            model.append(losses[-1])
        if name == STYLE[-1]:
            break
        model.append(nn.ReLU(inplace=False))
        x, y = model[-1](x), model[-1](y)
    model.eval().requires_grad_(False)
    pixels = content.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([pixels], max_iter=3, max_eval=3)
    count = 0

    def closure() -> Tensor:
        nonlocal count
        count += 1
        with torch.no_grad():
            pixels.clamp_(0, 1)
        optimizer.zero_grad()
        model(pixels)
        total = sum(loss.loss * (1e6 if isinstance(loss, GramLoss) else 1) for loss in losses)
        total.backward()
        return total

    def step() -> float:
        before, began = count, time.perf_counter()
        optimizer.step(closure)
        return (time.perf_counter() - began) / (count - before)

    return step


def make_ours(
    backbone: Backbone, machine: Machine, content: Tensor, style: Tensor
) -> Callable[[], float]:
    """Take steps with the default options."""
    options = impasto.PaintOptions()
    photo = Picture(content)
    scene = Scene(photo, [Picture(style)], options, photo.size)
    network = copy.deepcopy(backbone).place(machine)
    objective = Objective(network, machine, scene.at(photo.size, 16, machine.device), options)
    canvas = CANVASES["pixels"](content)
    optimizer = BoundedLBFGS(canvas, 1.0)

    def closure() -> Tensor:
        optimizer.zero_grad()
        total, _ = objective(canvas.pixels(), 0)
        total.backward()
        return total.detach()

    def step() -> float:
        began = time.perf_counter()
        float(optimizer.step(closure))
        return time.perf_counter() - began

    return step


def count_work(backbone: Backbone, side: int) -> float:
    """Count the floating-point operations of a step: two for a multiply-add, forward and back."""
    total = 0.0
    for name, shape in backbone.architecture.shapes().items():
        cells = (side / 2 ** (block_of(name) - 1)) ** 2
        total += 2 * 2 * shape[0] * shape[1] * 9 * cells
        if name == STYLE[-1]:
            return total
    return total


def best_product(kind: torch.dtype) -> float:
    """Measure the operations a second of the best matrix product."""
    best = 0.0
    for n in (1024, 2048, 4096):
        a, b = torch.randn(n, n).to(kind), torch.randn(n, n).to(kind)
        for _ in range(4):
            began = time.perf_counter()
            a @ b
            best = max(best, 2 * n**3 / (time.perf_counter() - began))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024])
    parser.add_argument("--networks", nargs="+", default=["compact", "vgg19"])
    args = parser.parse_args()
    machine = choose_machine("cpu")
    kinds = ["float32", "bfloat16"] if has_fast_bfloat16(machine.device) else ["float32"]
    product = {kind: best_product(getattr(torch, kind)) for kind in kinds}
    print(describe_machine())
    for kind, rate in product.items():
        print(f"best product in {kind}: {rate / 1e9:.0f} GFLOP/s")
    print("\n| network, size | tutorial, ms |", end="")
    for kind in kinds:
        print(f" {kind}, ms | times faster | share of the best product |", end="")
    print("\n|" + "---|" * (2 + 3 * len(kinds)))
    for name in args.networks:
        backbone = impasto.load_backbone(name) if name == "compact" else load_random(name)
        for side in args.sizes:
            content = draw_photo(side)
            style = resize_pixels(draw_style(), side, side)
            steps = {"tutorial": make_tutorial(backbone, content, style)}
            for kind in kinds:
                tried = replace(machine, precision=getattr(torch, kind))
                steps[kind] = make_ours(backbone, tried, content, style)
            times: dict[str, list[float]] = {kind: [] for kind in steps}
            rounds = ROUNDS if side < 1024 else 3
            for _ in range(rounds):
                times["tutorial"].append(steps["tutorial"]())
                with keeping_memory():
                    for kind in kinds:
                        times[kind] += [steps[kind]() for _ in range(3)]
            best = {kind: min(each) for kind, each in times.items()}
            work = count_work(backbone, side)
            facts = {"tutorial": best["tutorial"]}
            print(f"| {name}, {side} | {best['tutorial'] * 1e3:.0f} |", end="")
            for kind in kinds:
                share = work / best[kind] / product[kind]
                facts[kind], facts[f"share {kind}"] = best[kind], share
                print(
                    f" {best[kind] * 1e3:.0f} | {best['tutorial'] / best[kind]:.1f} "
                    f"| {100 * share:.0f} % |",
                    end="",
                )
            print(flush=True)
            keep("speed", f"{name} {side}", facts)
            del steps
            gc.collect()


if __name__ == "__main__":
    main()
