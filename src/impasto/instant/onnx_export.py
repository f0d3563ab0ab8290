"""A painting net as an ONNX graph, written node by node: that takes milliseconds.

The nodes alone are what engines run; behind those that give a photograph the colours of a style,
they are the file that others can run without this package.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from impasto.images.color_transfer import RIDGE, matrix_power
from impasto.instant.net import GRAIN, NORM_EPSILON, PaintingNet
from impasto.instant.palette import Palette
from impasto.networks.reflection import ReflectedConv
from impasto.system.files import replacing
from impasto.system.optional import require

_Array = npt.NDArray[Any]
_Value = _Array | np.generic

PICTURE = (1, 3, "height", "width")
_OPSET, _IR_VERSION = 17, 8  # of ONNX, from 2021: old enough for all that reads such files
_FLAT = 1e-12  # what a variance counts for at least, as in ``color_transfer.matrix_power``
# Newton's steps, of which each makes what is far too small half as large again: enough for 1e-6.
_STEPS = 40


class Graph:
    """ONNX nodes, in the order in which they are run, and the constants between them.

    A ``narrow`` one has no other real numbers than float32, as graphics cards in browsers.
    """

    def __init__(self, onnx: ModuleType, *, narrow: bool = False) -> None:
        self.onnx, self.narrow = onnx, narrow
        self.single = onnx.TensorProto.FLOAT
        self.double = self.single if narrow else onnx.TensorProto.DOUBLE
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, kind: str, *inputs: str | _Value, name: str | None = None, **how: Any) -> str:
        """Add a node; return the name of what comes out."""
        name = name or f"n{len(self.nodes)}"
        read = [each if isinstance(each, str) else self.keep(each) for each in inputs]
        self.nodes.append(self.onnx.helper.make_node(kind, read, [name], **how))
        return name

    def keep(self, constant: _Value) -> str:
        """Keep a constant; return its name."""
        name = f"constant{len(self.constants)}"
        array = np.array(constant, order="C")
        if self.narrow and array.dtype in (np.float16, np.float64):
            array = array.astype(np.float32)
        tensor = self.onnx.numpy_helper.from_array(array, name)
        self.constants.append(tensor)
        return name

    def close(
        self,
        inputs: Mapping[str, Sequence[int | str]],
        outputs: Mapping[str, Sequence[int | str]],
    ) -> Any:
        """Return the whole model, of inputs and outputs of these shapes."""
        helper, kind = self.onnx.helper, self.single
        graph = helper.make_graph(
            self.nodes,
            "impasto",
            [helper.make_tensor_value_info(name, kind, shape) for name, shape in inputs.items()],
            [helper.make_tensor_value_info(name, kind, shape) for name, shape in outputs.items()],
            self.constants,
        )
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", _OPSET)],
            ir_version=_IR_VERSION,
            producer_name="impasto",
            producer_version=version("impasto"),
        )


def whole(*numbers: int) -> _Array:
    """Return integers."""
    return np.array(numbers, np.int64)


def real(tensor: Tensor) -> _Array:
    """Return float32 on the processor."""
    array: _Array = tensor.detach().float().cpu().numpy()
    return array


def precise(tensor: Tensor) -> _Array:
    """Return float64 on the processor."""
    array: _Array = tensor.detach().double().cpu().numpy()
    return array


def build_model(net: PaintingNet) -> Any:
    """Return ``net.forward`` as a model: ``photo`` and ``numbers`` in, ``painting`` out."""
    graph = Graph(require("onnx", "an ONNX graph needs onnx", extra="onnx"))
    add_net(graph, net, "photo", "numbers", "painting")
    inputs = {"photo": PICTURE, "numbers": (1, net.count)}
    return graph.close(inputs, {"painting": PICTURE})


def add_net(graph: Graph, net: PaintingNet, photo: str, numbers: str, painting: str) -> None:
    """Add ``PaintingNet.forward``."""
    sides = graph.add("Slice", graph.add("Shape", photo), whole(2), whole(4))
    padded = graph.add("Sub", graph.add("Mul", photo, np.float32(2)), np.float32(1))
    for dim in (2, 3):
        padded = graph.add("Gather", padded, add_mirror(graph, net, photo, dim), axis=dim)
    if net.layout.grain:
        padded = graph.add("Concat", padded, add_grain(graph, net, padded), axis=1)
    if net.layout.reflect:
        padded = add_cells_around(graph, padded, net.layout.fold)
    added = add_walk(graph, net, padded, split_numbers(graph, net, numbers))
    corner, axes = whole(net.layout.margin, net.layout.margin), whole(2, 3)
    end = graph.add("Add", sides, corner)
    graph.add("Add", photo, graph.add("Slice", added, corner, end, axes), name=painting)


def add_mirror(graph: Graph, net: PaintingNet, photo: str, dim: int) -> str:
    """Add ``net.mirror_side``, of the margin before and after, and to multiples of the stride."""
    side = graph.add("Gather", graph.add("Shape", photo), np.int64(dim))
    margin = net.layout.margin
    missing = graph.add("Mod", graph.add("Neg", side), np.int64(net.stride))
    if net.layout.reflect:
        missing = graph.add("Max", missing, graph.add("Sub", np.int64(2 * net.stride), side))
    end = graph.add("Add", graph.add("Add", side, missing), np.int64(margin))
    seen = graph.add("Range", np.int64(-margin), end, np.int64(1))
    twice = graph.add("Mul", side, np.int64(2))
    there = graph.add("Mod", seen, twice)
    back = graph.add("Sub", graph.add("Sub", twice, np.int64(1)), there)
    return graph.add("Min", there, back)


def add_cells_around(graph: Graph, x: str, fold: int) -> str:
    """Add a border of a cell of pixels: those of the last but one, as cells are mirrored."""
    for dim in (2, 3):
        head = graph.add("Slice", x, whole(fold), whole(2 * fold), whole(dim))
        tail = graph.add("Slice", x, whole(-2 * fold), whole(-fold), whole(dim))
        x = graph.add("Concat", head, x, tail, axis=dim)
    return x


def add_grain(graph: Graph, net: PaintingNet, padded: str) -> str:
    """Add the net's grain, as large as what it lies beside."""
    sides = graph.add("Slice", graph.add("Shape", padded), whole(2), whole(4))
    times = graph.add("Div", graph.add("Add", sides, whole(GRAIN - 1)), whole(GRAIN))
    times = graph.add("Concat", whole(1, 1), times, axis=0)
    grain = graph.add("Cast", real(net.grain).astype(np.float16), to=graph.single)  # half the file
    repeated = graph.add("Tile", grain, times)
    return graph.add("Slice", repeated, whole(0, 0), sides, whole(2, 3))


def split_numbers(graph: Graph, net: PaintingNet, numbers: str) -> list[tuple[str, str]]:
    """Add the split into what every normalisation multiplies by, and what it adds."""
    ones = np.concatenate([np.repeat(np.array([1, 0], np.float32), each) for each in net.channels])
    flat = graph.add("Add", graph.add("Reshape", numbers, whole(-1)), ones)
    # A Split into so many would need more buffers than graphics cards in browsers have.
    ends = np.cumsum([0, *(each for each in net.channels for _ in range(2))])
    parts = [graph.add("Slice", flat, whole(a), whole(b)) for a, b in pairwise(ends)]
    return list(zip(parts[::2], parts[1::2], strict=True))


def add_walk(graph: Graph, net: PaintingNet, padded: str, manners: list[tuple[str, str]]) -> str:
    """Add ``PaintingNet.walk``."""
    fold, rest = net.layout.fold, iter(manners)

    def norm(x: str) -> str:
        return graph.add("InstanceNormalization", x, *next(rest), epsilon=NORM_EPSILON)

    def relu(x: str) -> str:
        return graph.add("Relu", x)

    mirrored = net.layout.reflect
    x = relu(norm(add_conv(graph, padded, net.entry, fold, padded=mirrored)))
    skips = []
    for conv in net.down:
        skips.append(x)
        x = relu(norm(add_conv(graph, x, conv)))
    for first, second in zip(net.middle[::2], net.middle[1::2], strict=True):
        y = relu(norm(add_conv(graph, x, first)))
        x = graph.add("Add", norm(add_conv(graph, y, second)), x)
    for i, conv in enumerate(net.up):
        skip = skips.pop()
        if net.layout.refine:
            x = add_larger(graph, add_conv(graph, x, conv))
            x = relu(norm(graph.add("Add", x, skip) if net.layout.skips else x))
            x = relu(norm(add_conv(graph, x, net.again[i])))
        else:
            x = norm(add_conv(graph, add_larger(graph, x), conv))
            x = relu(graph.add("Add", x, skip) if net.layout.skips else x)
    x = add_conv(graph, x, net.exit)
    if fold == 1:
        return x
    x = graph.add("DepthToSpace", x, blocksize=fold, mode="CRD")
    around = fold - 1
    if mirrored:
        x, around = add_border(graph, x, around), 0
    return graph.add("Conv", x, real(net.smoothing), pads=[around] * 4, group=3)


def add_border(graph: Graph, x: str, width: int) -> str:
    """Add a border that mirrors what lies within."""
    return graph.add("Pad", x, whole(0, 0, width, width, 0, 0, width, width), mode="reflect")


def add_conv(graph: Graph, x: str, conv: Any, fold: int = 1, *, padded: bool = False) -> str:
    """Add a convolution; with a fold, of cells of that many pixels a side, without making them.

    What is ``padded`` has its border already.
    """
    width = conv.padding[0]
    if isinstance(conv, ReflectedConv):
        x, width = x if padded else add_border(graph, x, width), 0
    around = [width * fold] * 4
    strides, size = [conv.stride[0] * fold] * 2, [conv.kernel_size[0] * fold] * 2
    weight, bias = real(fold_weight(conv.weight, fold)), real(conv.bias)
    return graph.add("Conv", x, weight, bias, kernel_shape=size, strides=strides, pads=around)


def fold_weight(weight: Tensor, fold: int) -> Tensor:
    """Return the weight for pixels from that for cells (``pixel_unshuffle``)."""
    out, channels, size, _ = weight.shape
    cells = weight.reshape(out, -1, fold, fold, size, size)
    pixels = cells.permute(0, 1, 4, 2, 5, 3)
    return pixels.reshape(out, channels // fold**2, size * fold, size * fold)


def add_larger(graph: Graph, x: str) -> str:
    """Add an enlargement to twice the size, as ``functional.interpolate`` does it."""
    how = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    return graph.add("Resize", x, "", np.array([1, 1, 2, 2], np.float32), **how)


# --- a file for others --------------------------------------------------------------------------


def export_onnx(path: Path, net: PaintingNet, palette: Palette) -> None:
    """Write a file that paints without this package.

    In go ``photo`` (1, 3, height, width), RGB in [0, 1], and where there are several styles the
    ``weights`` of each; out comes ``painting``, of the same shape.
    """
    onnx = require("onnx", "an ONNX file needs onnx", extra="onnx")
    graph = Graph(onnx)
    inputs: dict[str, Sequence[int | str]] = {"photo": PICTURE}
    if len(palette) > 1:
        inputs["weights"] = (len(palette),)
    numbers, mean, covariance = add_blend(graph, palette)
    recoloured = add_recolouring(graph, mean, covariance)
    add_net(graph, net, recoloured, numbers, "added")
    graph.add("Clip", "added", np.float32(0), np.float32(1), name="painting")
    model = graph.close(inputs, {"painting": PICTURE})
    model.doc_string = (
        "Paints the photograph. Of a blend, weights of any sum say how much of each style. "
        "What finds the colours needs float32 at least: with OpenVINO, the precision hint f32."
    )
    facts = {"styles": json.dumps(palette.names), "layout": json.dumps(vars(net.layout))}
    onnx.helper.set_model_props(model, facts)
    onnx.checker.check_model(model, full_check=True)
    with replacing(path) as beside:
        beside.write_bytes(model.SerializeToString())


def add_blend(graph: Graph, palette: Palette) -> tuple[str, str, str]:
    """Add ``Palette.blend``: parameters (1, count), mean (3, 1), and a factor of the covariance.

    The factor times its transpose is the covariance: the roots of all, side by side, (3, 3 S).
    """
    roots = torch.stack([matrix_power(each, 0.5) for each in palette.covariances.double()], 1)
    factor = graph.keep(precise(roots))  # (3, S, 3)
    if len(palette) == 1:
        numbers, mean = graph.keep(real(palette.numbers)), graph.keep(precise(palette.means.T))
    else:
        weights = graph.add("Relu", graph.add("Cast", "weights", to=graph.double))
        # The least there can be, so that no weights at all are the same of each.
        weights = graph.add("Add", weights, np.float64(_FLAT))
        shares = graph.add("Div", weights, graph.add("ReduceSum", weights))
        row = graph.add("Reshape", shares, whole(1, -1))
        numbers = graph.add(
            "MatMul", graph.add("Cast", row, to=graph.single), real(palette.numbers)
        )
        mean = graph.add("Reshape", graph.add("MatMul", row, precise(palette.means)), whole(3, 1))
        lengths = graph.add("Reshape", graph.add("Sqrt", shares), whole(1, -1, 1))
        factor = graph.add("Mul", factor, lengths)
    return numbers, mean, graph.add("Reshape", factor, whole(3, -1))


def add_recolouring(graph: Graph, mean: str, target: str) -> str:
    """Add ``match_color`` of the photograph, for a mean and a factor of the covariance."""
    flat = graph.add("Reshape", "photo", whole(3, -1))
    colors = graph.add("Cast", flat, to=graph.double)
    own = graph.add("ReduceMean", colors, axes=[1], keepdims=1)
    centred = graph.add("Sub", colors, own)
    count = graph.add("Slice", graph.add("Shape", flat), whole(1), whole(2))
    product = graph.add("Gemm", centred, centred, transB=1)
    covariance = graph.add("Div", product, graph.add("Cast", count, to=graph.double))
    covariance = graph.add("Add", covariance, RIDGE * np.eye(3))
    linear = graph.add("Cast", add_optimal_map(graph, covariance, target), to=graph.single)
    centred = graph.add("Sub", flat, graph.add("Cast", own, to=graph.single))
    moved = graph.add("MatMul", linear, centred)
    moved = graph.add("Add", moved, graph.add("Cast", mean, to=graph.single))
    clipped = graph.add("Clip", moved, np.float32(0), np.float32(1))
    return graph.add("Reshape", clipped, graph.add("Shape", "photo"))


def add_optimal_map(graph: Graph, covariance: str, target: str) -> str:
    """Add ``optimal_map`` by products alone.

    With factors C = K K^T and T = L L^T the map is A = K^-T (B B^T)^1/2 K^-1, where B = K^T L, as
    A is symmetric and A C A = T. Of a polar decomposition B = H U that root is H = B U^T, and so
    A = L U^T K^-1. Neither B B^T nor a root of it is ever taken: where T is flat, as of a grey
    style, its rounding would be larger than it.
    """
    lower, inverse = add_cholesky(graph, covariance)
    # As much as _FLAT added to the variances of B B^T.
    least = np.float64(_FLAT**0.5)
    faint = graph.add("Mul", graph.add("Transpose", inverse, perm=[1, 0]), least)
    factor = graph.add("Concat", target, faint, axis=1)
    turned = graph.add("Transpose", lower, perm=[1, 0])
    inside = graph.add("MatMul", turned, target)
    inside = graph.add("Concat", inside, least * np.eye(3), axis=1)
    rotation = add_rotation(graph, inside)
    middle = graph.add("Gemm", factor, rotation, transB=1)
    return graph.add("MatMul", middle, inverse)


def add_cholesky(graph: Graph, matrix: str, least: float = RIDGE) -> tuple[str, str]:
    """Add the Cholesky factor of a matrix (3, 3) and its inverse, as ONNX has no solvers."""

    def minus(x: str, *pairs: tuple[str, str]) -> str:
        for pair in pairs:
            x = graph.add("Sub", x, graph.add("Mul", *pair))
        return x

    def root(x: str) -> str:  # no pivot is less than the ridge but by rounding
        return graph.add("Sqrt", graph.add("Clip", x, np.float64(least)))

    def over(x: str, *others: str) -> str:
        for other in others:
            x = graph.add("Div", x, other)
        return x

    flat = graph.add("Reshape", matrix, whole(-1))
    places = (0, 3, 4, 6, 7, 8)  # of the lower triangle
    c00, c10, c11, c20, c21, c22 = (graph.add("Gather", flat, whole(each)) for each in places)
    k00 = root(c00)
    k10, k20 = over(c10, k00), over(c20, k00)
    k11 = root(minus(c11, (k10, k10)))
    k21 = over(minus(c21, (k20, k10)), k11)
    k22 = root(minus(c22, (k20, k20), (k21, k21)))
    one, zero = graph.keep(np.ones(1)), graph.keep(np.zeros(1))
    i00, i11, i22 = over(one, k00), over(one, k11), over(one, k22)
    i10, i21 = (over(graph.add("Neg", k), *by) for k, by in ((k10, (k00, k11)), (k21, (k11, k22))))
    i20 = over(minus(graph.add("Mul", k10, k21), (k20, k11)), k00, k11, k22)
    triangles = ((k00, k10, k11, k20, k21, k22), (i00, i10, i11, i20, i21, i22))
    lower, inverse = (
        graph.add("Reshape", graph.add("Concat", *rows, axis=0), whole(3, 3))
        for a, b, c, d, e, f in triangles
        for rows in [(a, zero, zero, b, c, zero, d, e, f)]
    )
    return lower, inverse


def add_rotation(graph: Graph, matrix: str) -> str:
    """Add U of the polar decomposition H U of a matrix (3, n).

    It is found by the Newton-Schulz iteration (Higham 2008, eq. 8.20): every singular value goes
    to 1.
    """
    length = graph.add("Sqrt", graph.add("ReduceSumSquare", matrix, keepdims=1))
    x = graph.add("Div", matrix, length)
    for _ in range(_STEPS):
        step = graph.add("Gemm", x, x, 1.5 * np.eye(3), alpha=-0.5, transB=1)
        x = graph.add("MatMul", step, x)
    return x
