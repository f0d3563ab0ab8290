"""The network for any style as files for a browser: its painter, its style reader, and a manifest.

A page reads a picture of a style with one graph, and paints photographs with the other, without a
server. Both have no real numbers but float32, and no operator that ONNX Runtime Web lacks on
graphics cards; pictures of styles come in sides that its pools halve without a rest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from impasto.errors import OptionError
from impasto.images.color_transfer import RIDGE
from impasto.instant.model_file import NetFile
from impasto.instant.net import (
    CODE_LAYERS,
    DECADES,
    FARTHEST,
    LARGEST_NUMBER,
    USUAL_WEIGHT,
    DialReader,
    PaintingNet,
)
from impasto.instant.onnx_export import (
    PICTURE,
    Graph,
    add_border,
    add_cholesky,
    add_net,
    add_recolouring,
    real,
    whole,
)
from impasto.networks.layers import block_of
from impasto.networks.vgg import Backbone
from impasto.networks.weights import WEIGHTS, load_backbone
from impasto.system.files import replacing
from impasto.system.optional import require

PAINTER, READER, MANIFEST = "painter.onnx", "style.onnx", "manifest.json"
STYLE_STEP = 16  # pixels that a style's sides are multiples of: four pools
LARGEST_STYLE = 1024  # pixels of its long side


def export_web(folder: Path, file: NetFile) -> list[Path]:
    """Write the files into a folder; return their paths."""
    reader = file.reader
    if reader is None:
        raise OptionError("a page needs a network that reads any style")
    onnx = require("onnx", "an ONNX file needs onnx", extra="onnx")
    graphs = {
        PAINTER: build_painter(Graph(onnx, narrow=True), file.net, reader),
        READER: build_reader(Graph(onnx, narrow=True), load_backbone("compact"), reader),
    }
    folder.mkdir(parents=True, exist_ok=True)
    digests = {}
    for name, model in graphs.items():
        onnx.checker.check_model(model, full_check=True)
        content = model.SerializeToString()
        with replacing(folder / name) as beside:
            beside.write_bytes(content)
        digests[name] = (hashlib.sha256(content).hexdigest(), len(content))
    facts = describe(file, reader, digests)
    with replacing(folder / MANIFEST) as beside:
        beside.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return [folder / name for name in (*graphs, MANIFEST)]


def describe(
    file: NetFile, reader: DialReader, digests: Mapping[str, tuple[str, int]]
) -> dict[str, Any]:
    """Return the manifest: what goes in and comes out, licences, sizes and hashes."""
    known = reader.first.out_features
    picture = {"type": "float32", "shape": [1, 3, "height", "width"], "range": [0, 1]}
    colors = {
        "known": {"type": "float32", "shape": [1, known]},
        "mean": {"type": "float32", "shape": [3, 1]},
        "factor": {"type": "float32", "shape": [3, 3]},
    }
    weight = {
        "type": "float32",
        "shape": [1],
        "default": USUAL_WEIGHT,
        "range": [USUAL_WEIGHT / 10**DECADES, USUAL_WEIGHT * 10**DECADES],
    }
    style = {**picture, "multiple_of": STYLE_STEP, "longest": LARGEST_STYLE}
    ways: dict[str, dict[str, Any]] = {
        READER: {
            "about": "What a picture shows of its style. Show it as large as the photograph.",
            "inputs": {"style": style},
            "outputs": colors,
            "licences": {"compact VGG-19": WEIGHTS["compact"].licence},
        },
        PAINTER: {
            "about": "Paints a photograph of any size after what was read.",
            "inputs": {"photo": picture, **colors, "weight": weight},
            "outputs": {"painting": picture},
            "licences": {"network": file.facts.get("licence", "as its maker says")},
        },
    }
    for name, (digest, size) in digests.items():
        ways[name] |= {"sha256": digest, "bytes": size}
    return {"format": "impasto web 1", "impasto": version("impasto"), "files": ways}


# --- the painter --------------------------------------------------------------------------------


def build_painter(graph: Graph, net: PaintingNet, reader: DialReader) -> Any:
    """Return the graph that paints, at a style weight, after what the reader has read."""
    numbers = add_dial(graph, reader, "known", "weight")
    colored = add_recolouring(graph, "mean", "factor")
    add_net(graph, net, colored, numbers, "added")
    graph.add("Clip", "added", np.float32(0), np.float32(1), name="painting")
    known = reader.first.out_features
    inputs = {
        "photo": PICTURE,
        "known": (1, known),
        "mean": (3, 1),
        "factor": (3, 3),
        "weight": (1,),
    }
    return graph.close(inputs, {"painting": PICTURE})


def add_dial(graph: Graph, reader: DialReader, known: str, weight: str) -> str:
    """Add ``DialReader.dial``."""
    least, most = (USUAL_WEIGHT * 10**way for way in (-DECADES, DECADES))
    taught = graph.add("Clip", weight, np.float32(least), np.float32(most))
    ratio = graph.add("Div", taught, np.float32(USUAL_WEIGHT))
    decades = graph.add("Mul", graph.add("Log", ratio), np.float32(1 / np.log(10)))
    less = graph.add("Sub", graph.add("Mul", decades, decades), np.float32(DECADES**2))
    told = graph.add("Add", decades, graph.add("Mul", less, real(reader.bend)))
    powers = [graph.add("Reshape", told, whole(1, 1))]
    for _ in range(reader.turn.in_features - 1):
        powers.append(graph.add("Mul", powers[-1], powers[0]))
    both = add_linear(graph, graph.add("Concat", *powers, axis=1), reader.turn)
    width = reader.second.out_features
    scale = graph.add("Slice", both, whole(0), whole(width), whole(1))
    shift = graph.add("Slice", both, whole(width), whole(2 * width), whole(1))
    seen = add_linear(graph, known, reader.second)
    scaled = graph.add("Mul", seen, graph.add("Add", scale, np.float32(1)))
    found = add_linear(graph, graph.add("Relu", graph.add("Add", scaled, shift)), reader.last)
    bounded = graph.add("Tanh", graph.add("Div", found, np.float32(LARGEST_NUMBER)))
    return graph.add("Mul", bounded, np.float32(LARGEST_NUMBER))


def add_linear(graph: Graph, x: str, layer: nn.Linear) -> str:
    """Add a matrix and what is added to it."""
    return graph.add("Gemm", x, real(layer.weight), real(layer.bias), transB=1)


# --- the style reader ---------------------------------------------------------------------------


def build_reader(graph: Graph, backbone: Backbone, reader: DialReader) -> Any:
    """Return the graph that reads a picture of a style: what is known of it, and its colours."""
    moments = []
    for features in add_backbone(graph, backbone, "style", CODE_LAYERS):
        moments += add_moments(graph, features)
    code = graph.add("Concat", *moments, axis=1)
    centred = graph.add("Sub", code, row(reader.mean))
    scaled = graph.add("Div", centred, row(reader.deviation))
    scaled = graph.add("Clip", scaled, np.float32(-FARTHEST), np.float32(FARTHEST))
    graph.add("Relu", add_linear(graph, scaled, reader.first), name="known")
    add_colors(graph, "style")
    outputs = {"known": (1, reader.first.out_features), "mean": (3, 1), "factor": (3, 3)}
    return graph.close({"style": PICTURE}, outputs)


def row(numbers: Tensor) -> np.ndarray:
    """Return numbers as a row of a matrix."""
    return real(numbers)[None]


def add_backbone(graph: Graph, backbone: Backbone, x: str, layers: Sequence[str]) -> list[str]:
    """Add the network as far as the last of some layers, of sides that its pools can halve."""
    before = backbone.preprocess
    x = graph.add("Conv", x, real(before.weight), real(before.bias))  # type: ignore[arg-type]
    found, block = [], 1
    for name, conv in backbone.convs.items():
        if block_of(name) != block:
            block = block_of(name)
            x = graph.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
        weight: Tensor = conv.weight  # type: ignore[assignment]
        bias: Tensor = conv.bias  # type: ignore[assignment]
        x = graph.add("Relu", graph.add("Conv", add_border(graph, x, 1), real(weight), real(bias)))
        relu = name.replace("conv", "relu")
        if relu in layers:
            found.append(x)
        if relu == backbone.deepest(layers):
            break
    return found


def add_moments(graph: Graph, features: str) -> list[str]:
    """Add the mean and standard deviation of each channel, (1, C) both."""
    channels = whole(1, -1)
    mean = graph.add("ReduceMean", features, axes=[2, 3], keepdims=1)
    centred = graph.add("Sub", features, mean)
    square = graph.add("Mul", centred, centred)
    variance = graph.add("ReduceMean", square, axes=[2, 3], keepdims=1)
    deviation = graph.add("Sqrt", variance)
    return [graph.add("Reshape", each, channels) for each in (mean, deviation)]


def add_colors(graph: Graph, picture: str) -> None:
    """Add the mean of colours, and a factor of their covariance: times its transpose it is that."""
    flat = graph.add("Reshape", picture, whole(3, -1))
    mean = graph.add("ReduceMean", flat, axes=[1], keepdims=1, name="mean")
    centred = graph.add("Sub", flat, mean)
    count = graph.add("Slice", graph.add("Shape", flat), whole(1), whole(2))
    count = graph.add("Cast", count, to=graph.single)
    product = graph.add("Gemm", centred, centred, transB=1)
    covariance = graph.add("Div", product, count)
    least = np.float32(RIDGE * 1e-2) * np.eye(3, dtype=np.float32)
    lower, _ = add_cholesky(graph, graph.add("Add", covariance, least), RIDGE * 1e-2)
    graph.add("Identity", lower, name="factor")
