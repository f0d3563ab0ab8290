"""The network for any style as files for a browser."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from impasto.errors import OptionError
from impasto.images.color_transfer import carry_moments, color_statistics
from impasto.instant.model_file import NetFile
from impasto.instant.net import (
    NET_SHAPES,
    DialReader,
    PaintingNet,
    code_size,
    encode_style,
)
from impasto.instant.web_export import MANIFEST, PAINTER, READER, export_web
from impasto.networks.weights import load_backbone
from impasto.system.devices import seeded

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

pytestmark = pytest.mark.arithmetic

WEB = Path(__file__).parent / "web"
SIZES = [(48, 64), (53, 40), (96, 41)]
# What ONNX Runtime Web has for graphics cards, of what these graphs use; whole numbers, which say
# how large something is, are the processor's.
REAL = """
Add Cast Clip Concat Conv DepthToSpace Div Gather Gemm Identity InstanceNormalization Log MatMul
MaxPool Mul Neg Pad ReduceMean ReduceSumSquare Relu Reshape Resize Slice Sqrt Sub Tanh Tile
Transpose
"""
WHOLE = "Shape Range Mod Min Max Neg Add Sub Mul Div Gather Slice Concat Cast"


@pytest.fixture(scope="module")
def file() -> NetFile:
    torch.manual_seed(0)
    net = PaintingNet(NET_SHAPES["any"]).requires_grad_(False)
    torch.nn.init.normal_(net.exit.weight, std=0.03)
    reader = DialReader(code_size(load_backbone("compact")), net.count)
    torch.nn.init.normal_(reader.last.weight, std=0.03)
    reader.deviation.fill_(3.0)
    reader.bend.fill_(0.3)
    return NetFile(net, None, reader.requires_grad_(False), {"licence": "Apache-2.0"})


@pytest.fixture(scope="module")
def folder(file, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("web") / "page"
    export_web(folder, file)
    return folder


def draw(height: int, width: int, seed: int) -> torch.Tensor:
    small = torch.rand(1, 3, 6, 6, generator=seeded(seed))
    picture = torch.nn.functional.interpolate(small, size=(height, width), mode="bilinear")
    return (picture + 0.05 * torch.randn(picture.shape, generator=seeded(seed))).clamp(0, 1)


def paint_by_torch(file, photo, style, weight: float) -> torch.Tensor:
    backbone = load_backbone("compact")
    code = encode_style(backbone, style)
    numbers = file.reader(code, torch.tensor([weight]))
    colored = carry_moments(photo, *color_statistics(style)).clamp(0, 1)
    return file.net(colored, numbers).clamp(0, 1)


def run_here(folder: Path, name: str, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = runtime.InferenceSession(folder / name, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(names, given), strict=True))


def paint_by_graphs(run, photo, style, weight: float) -> np.ndarray:
    read = run(READER, {"style": style.numpy()})
    assert {name: value.shape for name, value in read.items()} == {
        "known": (1, 256),
        "mean": (3, 1),
        "factor": (3, 3),
    }
    given = {"photo": photo.numpy(), **read, "weight": np.array([weight], np.float32)}
    return run(PAINTER, given)["painting"]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("weight", [3.0, 15.0, 1000.0])
def test_a_page_paints_as_torch_does(file, folder, size, weight):
    run = partial(run_here, folder)
    photo, style = draw(*size, 1), draw(64, 80, 2)
    painted = paint_by_graphs(run, photo, style, weight)
    wanted = paint_by_torch(file, photo, style, weight).numpy()
    assert np.abs(wanted - photo.numpy()).max() > 0.1
    assert np.abs(painted - wanted).max() < 1 / 255


def test_a_style_of_greys_is_read(file, folder):
    """Its colours lie on a line: of their covariance no direct factor can be had."""
    run = partial(run_here, folder)
    photo, style = draw(40, 48, 1), draw(64, 80, 2).mean(1, keepdim=True).repeat(1, 3, 1, 1)
    painted = paint_by_graphs(run, photo, style, 15.0)
    wanted = paint_by_torch(file, photo, style, 15.0).numpy()
    assert np.abs(painted - wanted).max() < 1.5 / 255


@pytest.mark.parametrize("name", [PAINTER, READER])
def test_graphs_keep_to_what_browsers_have(folder, name):
    model = onnx.load(folder / name)
    inferred = onnx.shape_inference.infer_shapes(model).graph
    kinds = {each.name: each.data_type for each in model.graph.initializer}
    known = (*inferred.value_info, *inferred.input, *inferred.output)
    kinds |= {each.name: each.type.tensor_type.elem_type for each in known}
    allowed = {onnx.TensorProto.FLOAT, onnx.TensorProto.INT64}
    assert set(kinds.values()) <= allowed
    for node in model.graph.node:
        is_real = kinds[node.output[0]] == onnx.TensorProto.FLOAT
        assert node.op_type in (REAL if is_real else WHOLE).split(), node
        assert len(node.output) <= 8


def test_the_manifest_says_what_there_is(folder):
    facts = json.loads((folder / MANIFEST).read_text())
    assert set(facts["files"]) == {PAINTER, READER}
    for name, about in facts["files"].items():
        content = (folder / name).read_bytes()
        assert about["sha256"] == hashlib.sha256(content).hexdigest()
        assert about["bytes"] == len(content)
        model = onnx.load(folder / name)
        assert {each.name for each in model.graph.input} == set(about["inputs"])
        assert {each.name for each in model.graph.output} == set(about["outputs"])
        assert about["licences"]
    assert facts["files"][PAINTER]["inputs"]["weight"]["range"] == [1.5, 150]
    assert sum(about["bytes"] for about in facts["files"].values()) < 12e6


def test_a_network_of_learnt_styles_is_none_for_a_page(file, tmp_path):
    plain = NetFile(file.net, None, None, {})
    with pytest.raises(OptionError, match="a page needs a network that reads any style"):
        export_web(tmp_path / "page", plain)


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_it_runs_as_in_a_browser(file, folder, size, tmp_path):
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no Node here")
    if not (WEB / "node_modules").is_dir():
        pytest.skip("ONNX Runtime Web is not here: npm install --prefix tests/instant/web")

    def run(name: str, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        feed = {n: {"dims": a.shape, "data": a.ravel().tolist()} for n, a in given.items()}
        (tmp_path / "in.json").write_text(json.dumps(feed))
        paths = [str(path) for path in (folder / name, tmp_path / "in.json", tmp_path / "out.json")]
        subprocess.run([node, str(WEB / "run.mjs"), *paths], check=True, cwd=WEB, timeout=300)
        found = json.loads((tmp_path / "out.json").read_text())
        return {n: np.array(a["data"], np.float32).reshape(a["dims"]) for n, a in found.items()}

    photo, style = draw(*size, 1), draw(64, 80, 2)
    painted = paint_by_graphs(run, photo, style, 15.0)
    wanted = paint_by_torch(file, photo, style, 15.0).numpy()
    assert np.abs(painted - wanted).max() < 1 / 255
