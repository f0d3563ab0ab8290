"""The precision and memory layout that a network is fastest in on this machine: tried once, kept.

What is faster differs between processors and networks. A trial takes a fraction of a second for
the compact network; what it found lies in the cache folder.
"""

from __future__ import annotations

import copy
import json
import math
import platform
import time
from contextlib import suppress
from dataclasses import replace

import torch

from impasto.networks.vgg import Backbone
from impasto.networks.weights import cache_folder, load_backbone
from impasto.options import MachineOptions
from impasto.system.devices import (
    MEMORY_LAYOUTS,
    Machine,
    choose_machine,
    granted_cores,
    has_fast_bfloat16,
    working_on,
)
from impasto.system.files import replace_file

SIDE = 128  # pixels of the picture that is tried
ROUNDS = 3
WORTH = 0.87  # what is not the usual choice must take less than this of its time
_KNOWN: dict[str, str] = {}  # what was tried or read in this process


def choose_precision(backbone: Backbone, machine: Machine, precision: str, layout: str) -> Machine:
    """Return the machine with the precision and layout asked for; of "auto", the fastest."""
    precisions = [precision]
    if precision == "auto":
        precisions = ["bfloat16", "float32"] if has_fast_bfloat16(machine.device) else ["float32"]
    layouts = list(MEMORY_LAYOUTS) if layout == "auto" else [layout]
    choices = [f"{dtype} {order}" for dtype in precisions for order in layouts]
    chosen = choices[0] if len(choices) == 1 else find_fastest(backbone, machine, choices)
    return apply_choice(machine, chosen)


def apply_choice(machine: Machine, choice: str) -> Machine:
    """Return the machine with a precision and layout, as ``bfloat16 planes``."""
    dtype, layout = choice.split()
    return replace(machine, precision=getattr(torch, dtype), layout=layout)


def load_tuned_backbone(options: MachineOptions, *, tries: bool = True) -> tuple[Backbone, Machine]:
    """Return the network that the options name, placed on the machine that it is to run on.

    Without ``tries`` neither precision nor layout is chosen: for work that does not run it.
    """
    machine = choose_machine(options.device)
    backbone = load_backbone(options.backbone, weights=options.weights, pooling=options.pooling)
    if tries:
        machine = choose_precision(backbone, machine, options.precision, options.layout)
    return backbone.place(machine), machine


def find_fastest(backbone: Backbone, machine: Machine, choices: list[str]) -> str:
    """Return the choice that takes the least time; the first, if none is clearly faster."""
    name = " ".join(
        (
            backbone.architecture.name,
            backbone.padding,
            describe_processor(machine.device),
            f"torch {torch.__version__}",
            f"{granted_cores()} threads:",
            ", ".join(choices),
        )
    )
    path = cache_folder() / "trials.json"
    if name not in _KNOWN:
        kept: dict[str, str] = {}
        with suppress(OSError, ValueError, TypeError):
            kept = dict(json.loads(path.read_text()))
        if kept.get(name) in choices:
            _KNOWN[name] = kept[name]
        else:
            seconds = dict.fromkeys(choices, math.inf)
            with working_on(machine.device):
                for _ in range(ROUNDS):  # in turn: what else the machine does falls on all of them
                    for choice in choices:
                        took = time_choice(backbone, machine, choice)
                        seconds[choice] = min(seconds[choice], took)
            fastest = min(choices, key=lambda choice: seconds[choice])
            worth = seconds[fastest] < WORTH * seconds[choices[0]]
            _KNOWN[name] = fastest if worth else choices[0]
            with suppress(OSError):
                path.parent.mkdir(parents=True, exist_ok=True)
                replace_file(path, json.dumps(kept | {name: _KNOWN[name]}, indent=1).encode())
    return _KNOWN[name]


def time_choice(backbone: Backbone, machine: Machine, choice: str) -> float:
    """Return the seconds of a small picture's features and gradient, the best of two."""
    network = copy.deepcopy(backbone).place(apply_choice(machine, choice))
    layers = [f"relu{block}_1" for block in range(1, 6)]
    layers = [name for name in layers if name.replace("relu", "conv") in network.convs]
    pixels = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    times = []
    for _ in range(3):
        leaf = pixels.to(machine.device, copy=True).requires_grad_()
        began = time.perf_counter()
        features = network(leaf, layers)
        (gradient,) = torch.autograd.grad([each.float().sum() for each in features.values()], leaf)
        gradient.sum().item()  # waits for a device that works on its own
        times.append(time.perf_counter() - began)
    return min(times[1:])


def describe_processor(device: torch.device) -> str:
    """Return the name of the graphics card, or of the processor and what torch uses of it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123
        for line in lines:
            if line.startswith("model name"):
                return f"{line.partition(':')[2].strip()} {torch.backends.cpu.get_cpu_capability()}"
    return f"{device.type} {platform.machine()}"
