"""What this machine has, and what that means for size and speed."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import torch

from impasto.images.picture import Picture
from impasto.networks.autotune import choose_precision, describe_processor
from impasto.networks.layers import BACKBONES
from impasto.networks.vgg import Backbone
from impasto.networks.weights import WEIGHTS, cache_folder, is_stored, load_backbone
from impasto.painting.inputs import SceneOptions
from impasto.painting.loss_plan import plan_painting_losses
from impasto.painting.memory_plan import Costs, grant_memory, largest_side
from impasto.painting.objective import Objective
from impasto.painting.options import PaintOptions
from impasto.painting.scene import Scene
from impasto.system.devices import Machine, choose_machine, granted_cores, has_fast_bfloat16
from impasto.system.memory import free_memory

LARGEST = 65536  # pixels, the longest side that is offered
LIBRARIES = {
    "torch": "",
    "numpy": "",
    "pillow": "",
    "matplotlib": "plots",
    "scikit-image": "samples",
    "h5py": "keras",
    "av": "video",
    "opencv-python-headless": "video",
    "optuna": "tune",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "openvino": "openvino",
    "fastapi": "studio",
    "uvicorn": "studio",
    "websockets": "studio",
}


def examine() -> Iterator[tuple[str, str]]:
    """Yield (what, found), line by line."""
    machine = choose_machine()
    yield "impasto", f"{version('impasto')} on Python {platform.python_version()}"
    yield "system", f"{platform.system()} {platform.machine()}"
    yield "device", f"{machine.device}, {describe_processor(machine.device)}"
    if machine.device.type == "cpu":
        yield "", f"{granted_cores()} threads"
    if not has_fast_bfloat16(machine.device):
        yield "", "no bfloat16 arithmetic of its own: float32 is faster"
    free = free_memory(machine.device)
    yield "free memory", "the system does not say" if free is None else f"{free / 2**30:.1f} GiB"
    for library, extra in LIBRARIES.items():
        yield library, describe_library(library, extra)
    yield "weights in", str(cache_folder())
    for name in WEIGHTS:
        if is_stored(name):
            yield "", name
    yield from measure_backbones(machine)


def describe_library(library: str, extra: str) -> str:
    """Return a library's version, or how to install it."""
    try:
        return version(library)
    except PackageNotFoundError:
        return f"not installed; pip install 'impasto[{extra}]'"


def measure_backbones(machine: Machine) -> Iterator[tuple[str, str]]:
    """Yield how large and how fast each network that is here paints with the default options."""
    options = PaintOptions()
    for name in BACKBONES:
        if not any(is_stored(file) for file, entry in WEIGHTS.items() if entry.backbone == name):
            yield name, f"no weights; impasto weights fetch {name}-torchvision"
            continue
        backbone = load_backbone(name)
        chosen = choose_precision(backbone, machine, "auto", "auto")
        seconds = time_step(backbone.place(chosen), chosen, options)
        text = (
            f"a step of 512 x 512 takes about {seconds * 4:.2g} s in {chosen.describe_precision()}"
        )
        grant = grant_memory(machine.device, None)
        if grant is not None:
            losses = plan_painting_losses(backbone, options)
            picture = Picture(torch.zeros(1, 3, 512, 512))
            costs = Costs(backbone, chosen, losses, options, content=picture, styles=[picture])
            side = largest_side(costs, (512, 512), options.start_size, LARGEST, grant)
            text += f"; up to {side} pixels square in the memory that is free"
        yield name, text


def time_step(backbone: Backbone, machine: Machine, options: PaintOptions) -> float:
    """Measure the seconds of one step at 256 x 256, the best of three."""
    picture = Picture(torch.rand(1, 3, 256, 256))
    scene = Scene(picture, [picture], SceneOptions.of(options), picture.size)
    view = scene.at(picture.size, 1, machine.device)
    objective = Objective(backbone, machine, view, plan_painting_losses(backbone, options))
    least = math.inf
    for _ in range(3):
        pixels = picture.pixels.to(machine.device, copy=True).requires_grad_()
        began = time.perf_counter()
        total, _parts = objective(pixels, 0)
        total.backward()  # type: ignore[no-untyped-call]
        assert pixels.grad is not None
        pixels.grad.sum().item()  # waits for a device that works on its own
        least = min(least, time.perf_counter() - began)
    return least
