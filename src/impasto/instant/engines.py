"""What runs a painting net: torch; on the processor OpenVINO or ONNX Runtime, if installed.

These two are given the net as an ONNX graph (``onnx_export``).
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from impasto.errors import DeviceError, OptionError, suggest
from impasto.instant.net import PaintingNet
from impasto.instant.onnx_export import build_model, real
from impasto.instant.tiled_pass import place_net
from impasto.system.devices import MEMORY_LAYOUTS, Machine, granted_cores, seeded
from impasto.system.optional import find_library, require

# Sizes that OpenVINO's nets are kept for, and pixels of them all: at 170 bytes or more for each.
_KEPT, _KEPT_PIXELS = 4, 2**22
_LARGEST_TRIED = 512  # pixels a side of what engines are measured with
_TRIES = 3


class Engine(Protocol):
    """What runs a net.

    A photograph (1, 3, H, W) in a style's colours and the style's parameters (count,) or (1, count)
    go in; the painting, not clamped, comes out; all float32.
    """

    name: str

    def __call__(self, photo: Tensor, numbers: Tensor) -> Tensor: ...


class TorchEngine:
    """On any device, in the machine's precision."""

    name = "torch"
    libraries: ClassVar[tuple[str, ...]] = ()

    def __init__(self, net: PaintingNet, machine: Machine) -> None:
        self.net, self.machine = place_net(net, machine), machine

    @torch.no_grad()
    def __call__(self, photo: Tensor, numbers: Tensor) -> Tensor:
        device, layout = self.machine.device, MEMORY_LAYOUTS[self.machine.layout]
        placed = photo.to(device).contiguous(memory_format=layout)
        # The photograph itself stays in float32: only what is added to it is made in less.
        painting: Tensor = self.net(placed, numbers.to(device).view(1, -1))
        return painting.cpu()


class OnnxEngine:
    """ONNX Runtime, on the processor, in float32 always."""

    name = "onnx"
    libraries: ClassVar[tuple[str, ...]] = ("onnx", "onnxruntime")

    def __init__(self, net: PaintingNet, machine: Machine) -> None:  # noqa: ARG002
        runtime = require("onnxruntime", "the engine onnx needs onnxruntime", extra="onnx")
        require("onnx", "the engine onnx needs onnx", extra="onnx")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = granted_cores()
        # Its threads would otherwise wait for more in a loop that takes a core from all others.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        model = build_model(net).SerializeToString()
        providers = ["CPUExecutionProvider"]
        self.session = runtime.InferenceSession(model, options, providers=providers)

    def __call__(self, photo: Tensor, numbers: Tensor) -> Tensor:
        feed = {"photo": real(photo), "numbers": real(numbers.view(1, -1))}
        return torch.from_numpy(self.session.run(None, feed)[0])


class OpenvinoEngine:
    """OpenVINO, on the processor: in bfloat16 if the machine is to and has it.

    A net is compiled for each size, which takes a fifth of a second: one for every size is half as
    fast.
    """

    name = "openvino"
    libraries: ClassVar[tuple[str, ...]] = ("onnx", "openvino")

    def __init__(self, net: PaintingNet, machine: Machine) -> None:
        openvino = require("openvino", "the engine openvino needs openvino", extra="openvino")
        require("onnx", "the engine openvino needs onnx", extra="openvino")
        short = machine.precision == torch.bfloat16 and not machine.is_slow()
        self.options = {
            "INFERENCE_PRECISION_HINT": "bf16" if short else "f32",
            "INFERENCE_NUM_THREADS": granted_cores(),
            "PERFORMANCE_HINT": "LATENCY",
        }
        self.core = openvino.Core()
        self.model = self.core.read_model(build_model(net).SerializeToString())
        self.requests: OrderedDict[tuple[int, ...], Any] = OrderedDict()
        self.turn = threading.Lock()  # a request is one thread's at a time

    def __call__(self, photo: Tensor, numbers: Tensor) -> Tensor:
        feed = {"photo": real(photo), "numbers": real(numbers.view(1, -1))}
        with self.turn:
            found = self.prepare(tuple(photo.shape)).infer(feed, share_inputs=True)
            return torch.from_numpy(found["painting"].copy())

    def prepare(self, shape: tuple[int, ...]) -> Any:
        """Return the net compiled for a size, of which the last few are kept."""
        request = self.requests.pop(shape, None)
        while self.requests and (
            len(self.requests) >= _KEPT
            or sum(h * w for _, _, h, w in (shape, *self.requests)) > _KEPT_PIXELS
        ):
            self.requests.popitem(last=False)
        if request is None:
            model = self.model.clone()
            model.reshape({"photo": list(shape)})
            request = self.core.compile_model(model, "CPU", self.options).create_infer_request()
        self.requests[shape] = request
        return request


ENGINES: dict[str, type[TorchEngine] | type[OpenvinoEngine] | type[OnnxEngine]] = {
    "torch": TorchEngine,
    "openvino": OpenvinoEngine,
    "onnx": OnnxEngine,
}


def choose_engine(
    name: str, net: PaintingNet, machine: Machine, size: tuple[int, int]
) -> tuple[Engine, str | None]:
    """Return the engine of that name, and what was measured where there was a choice.

    With ``auto`` it is the fastest here for pictures of (height, width).
    """
    if name != "auto" and name not in ENGINES:
        raise OptionError(f"unknown engine {name!r}{suggest(name, ('auto', *ENGINES))}")
    if machine.device.type != "cpu":
        if name not in ("auto", "torch"):
            raise DeviceError(
                f"the engine {name} runs on the processor, not on {machine.device}; use "
                "--engine torch or --device cpu"
            )
        name = "torch"
    names = [each for each in ENGINES if is_installed(each)] if name == "auto" else [name]
    if len(names) == 1:
        return ENGINES[names[0]](net, machine), None
    return choose_fastest({each: partial(ENGINES[each], net, machine) for each in names}, net, size)


def is_installed(name: str) -> bool:
    """Return whether the libraries of an engine are there."""
    return all(find_library(each) for each in ENGINES[name].libraries)


def choose_fastest(
    makers: Mapping[str, Callable[[], Engine]], net: PaintingNet, size: tuple[int, int]
) -> tuple[Engine, str]:
    """Measure one after the other, so that none has another's threads beside it.

    One that does not run on this processor is left out, but for torch, which runs on all.
    """
    height, width = (min(side, _LARGEST_TRIED) for side in size)
    photo = torch.rand(1, 3, height, width, generator=seeded(0))
    engines: dict[str, Engine] = {}
    times: dict[str, float] = {}
    lacking = []
    for name, make in makers.items():
        try:
            engine = make()
            times[name] = time_engine(engine, photo, torch.zeros(net.count))
        except Exception:  # libraries raise what they like
            if name == "torch":
                raise
            lacking.append(f"; {name} does not run here")
        else:
            engines[name] = engine
    best = min(times, key=lambda name: times[name])
    ordered = sorted(times, key=lambda name: name != best)  # the best, then as they were
    said = ", ".join(f"{name} {1000 * times[name]:.0f} ms" for name in ordered)
    said = said.replace(" ", ": ", 1)
    return engines[best], f"engine {said} at {width} x {height}{''.join(lacking)}"


def time_engine(engine: Engine, photo: Tensor, numbers: Tensor) -> float:
    """Return the seconds for a picture, after a first one: the best of a few."""
    engine(photo, numbers)
    times = []
    for _ in range(_TRIES):
        start = time.perf_counter()
        engine(photo, numbers)
        times.append(time.perf_counter() - start)
    return min(times)
