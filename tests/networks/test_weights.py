"""One set of random numbers, written as each publisher would, must come back as one network.

The oracles are the publishers' own networks written out (``nn.Sequential`` by their indices, their
own way with a picture), fed the publisher's file before the importer sees it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from impasto.errors import DependencyError, MissingFileError, OptionError, WeightsError
from impasto.networks import weights
from impasto.networks.layers import BACKBONES
from impasto.networks.vgg import Backbone
from impasto.networks.weight_formats import read_tensors
from impasto.networks.weights import (
    WEIGHTS,
    WeightFile,
    cache_folder,
    choose_weights,
    fetch_weights,
    import_weights,
    is_offline,
    is_stored,
    load_backbone,
    load_tensors,
    stored_path,
    verify_weights,
)

LAYERS = ("relu1_1", "relu3_1", "relu5_1")
CAFFE_MEAN = torch.tensor([103.939, 116.779, 123.68])
GATYS_MEAN = 255 * torch.tensor([0.40760392, 0.45795686, 0.48501961])
TORCH_MEAN = torch.tensor([0.485, 0.456, 0.406])
TORCH_STD = torch.tensor([0.229, 0.224, 0.225])
SWAP = 255 * torch.eye(3).flip(0)  # RGB in [0, 1] to BGR in 0 … 255

# Of each layout: the matrix A and offset c of the picture y = A x + c that its weights want.
COLOURS = {
    "torchvision": (torch.diag(1 / TORCH_STD), -TORCH_MEAN / TORCH_STD),
    "caffe": (SWAP, -CAFFE_MEAN),
    "keras-old": (SWAP, -CAFFE_MEAN),
    "keras-new": (SWAP, -CAFFE_MEAN),
    "gatys": (SWAP, -GATYS_MEAN),
    "normalised": (SWAP, -CAFFE_MEAN),
}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test has a cache of its own, with a space in its path, and leaves nothing behind."""
    monkeypatch.setenv("IMPASTO_CACHE", str(tmp_path / "the cache"))
    monkeypatch.delenv("IMPASTO_OFFLINE", raising=False)
    monkeypatch.setenv("no_proxy", "*")
    yield
    shutil.rmtree(tmp_path, ignore_errors=True)


def make_numbers(backbone: str) -> dict[str, Tensor]:
    """Convolutions of RGB in [0, 1], under our names; deviations that keep features near one."""
    generator = torch.Generator().manual_seed(7)
    numbers = {}
    for conv, shape in BACKBONES[backbone].shapes().items():
        deviation = (2 / (shape[1] * 9)) ** 0.5
        numbers[f"{conv}.weight"] = torch.randn(shape, generator=generator) * deviation
        numbers[f"{conv}.bias"] = torch.randn(shape[0], generator=generator) * 0.1
    return numbers


@pytest.fixture(scope="module")
def vgg19() -> dict[str, Tensor]:
    return make_numbers("vgg19")


@pytest.fixture(scope="module")
def picture() -> Tensor:
    return torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(3))


def compensate(numbers: dict[str, Tensor], layout: str) -> dict[str, Tensor]:
    """The same network for the picture A x + c: W' = W A^-1, b' = b - W' c summed over the taps."""
    matrix, offset = COLOURS[layout]
    first = torch.einsum("oihw,ij->ojhw", numbers["conv1_1.weight"], matrix.inverse())
    bias = numbers["conv1_1.bias"] - torch.einsum("oihw,i->o", first, offset)
    return numbers | {"conv1_1.weight": first, "conv1_1.bias": bias}


# -------------------------------------------------- the files, as their publishers write them

TORCH_PLACES = {
    "vgg19": [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34],
    "vgg16": [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28],
}
ADAIN_PLACES = [2, 5, 9, 12, 16, 19, 22, 25, 29, 32, 35, 38, 42, 45, 48, 51]


def write_sequential(
    path: Path, numbers: dict[str, Tensor], backbone: str, linear: tuple[int, ...], new: bool
) -> None:
    state: OrderedDict[str, Tensor] = OrderedDict()
    for place, conv in zip(TORCH_PLACES[backbone], BACKBONES[backbone].convs(), strict=True):
        for part in ("weight", "bias"):
            state[f"features.{place}.{part}"] = numbers[f"{conv}.{part}"]
    for i, (place, leaving) in enumerate(zip(linear, (6, 5, 4), strict=True)):
        state[f"classifier.{place}.weight"] = torch.full((leaving, 7), float(i))
        state[f"classifier.{place}.bias"] = torch.full((leaving,), float(i))
    torch.save(state, path, _use_new_zipfile_serialization=new)


def write_torchvision(path: Path, numbers: dict[str, Tensor], backbone: str = "vgg19") -> None:
    write_sequential(path, numbers, backbone, (0, 3, 6), new=False)  # as torchvision's are


def write_caffe(path: Path, numbers: dict[str, Tensor], backbone: str = "vgg19") -> None:
    write_sequential(path, numbers, backbone, (1, 4, 6), new=True)


def write_keras(
    path: Path, numbers: dict[str, Tensor], backbone: str = "vgg19", *, new: bool = False
) -> None:
    with h5py.File(path, "w") as file:
        for conv in BACKBONES[backbone].convs():
            layer = f"block{conv[4]}_conv{conv[6]}"
            kernel = numbers[f"{conv}.weight"].permute(2, 3, 1, 0).numpy()  # HWIO
            names = ("kernel:0", "bias:0") if new else (f"{layer}_W_1:0", f"{layer}_b_1:0")
            group = file.create_group(f"{layer}/{layer}" if new else layer)
            group.create_dataset(names[0], data=np.ascontiguousarray(kernel))
            group.create_dataset(names[1], data=numbers[f"{conv}.bias"].numpy())
        file.create_group("block1_pool")


def write_gatys(path: Path, numbers: dict[str, Tensor]) -> None:
    torch.save(OrderedDict(numbers), path, _use_new_zipfile_serialization=False)


def write_normalised(path: Path, numbers: dict[str, Tensor]) -> None:
    matrix, offset = COLOURS["normalised"]
    state = OrderedDict({"0.weight": matrix[:, :, None, None], "0.bias": offset})
    for place, conv in zip(ADAIN_PLACES, BACKBONES["vgg19"].convs(), strict=True):
        for part in ("weight", "bias"):
            state[f"{place}.{part}"] = numbers[f"{conv}.{part}"]
    torch.save(state, path)


WRITERS: dict[str, tuple[str, str, Callable[..., None]]] = {
    "torchvision": ("vgg19-torchvision", "vgg19-dcbb9e9d.pth", write_torchvision),
    "caffe": ("vgg19-caffe", "vgg19-d01eb7cb.pth", write_caffe),
    "keras-old": ("vgg19-keras", "old.h5", write_keras),
    "keras-new": ("vgg19-keras", "new.h5", lambda path, n: write_keras(path, n, new=True)),
    "gatys": ("vgg19-gatys", "vgg_conv.pth", write_gatys),
    "normalised": ("vgg19-normalised", "vgg_normalised.pth", write_normalised),
}


# -------------------------------------------------- the networks, as their publishers run them


def run_sequential(network: nn.Sequential, y: Tensor, wanted: dict[int, str]) -> dict[str, Tensor]:
    features = {}
    for place, layer in enumerate(network):
        y = layer(y)
        if place in wanted:
            features[wanted[place]] = y
    return features


@torch.no_grad()
def publisher_features(path: Path, layout: str, x: Tensor) -> dict[str, Tensor]:
    """relu1_1, relu3_1 and relu5_1 of VGG-19 as the publisher's own code computes them."""
    if layout == "normalised":  # pytorch-AdaIN's net.py
        layers: list[nn.Module] = [nn.Conv2d(3, 3, 1)]
        entering = 3
        for block, (count, leaving) in enumerate(
            zip((2, 2, 4, 4, 4), (64, 128, 256, 512, 512), strict=True)
        ):
            if block:
                layers.append(nn.MaxPool2d(2, 2, 0, ceil_mode=True))
            for _ in range(count):
                layers += [nn.ReflectionPad2d(1), nn.Conv2d(entering, leaving, 3), nn.ReLU()]
                entering = leaving
        network = nn.Sequential(*layers)
        network.load_state_dict(torch.load(path, weights_only=True))
        return run_sequential(network, x, {3: "relu1_1", 17: "relu3_1", 43: "relu5_1"})
    if layout in ("torchvision", "caffe"):
        if layout == "torchvision":
            y = (x - TORCH_MEAN[:, None, None]) / TORCH_STD[:, None, None]
        else:
            y = x.flip(1) * 255 - CAFFE_MEAN[:, None, None]
        layers, entering = [], 3
        for leaving in [64, 64, 0, 128, 128, 0, *[256] * 4, 0, *[512] * 4, 0, *[512] * 4, 0]:
            if leaving:
                layers += [nn.Conv2d(entering, leaving, 3, padding=1), nn.ReLU()]
                entering = leaving
            else:
                layers.append(nn.MaxPool2d(2, 2))
        network = nn.Sequential(*layers)
        state = torch.load(path, weights_only=True)
        network.load_state_dict(
            {key[9:]: value for key, value in state.items() if key.startswith("features.")}
        )
        return run_sequential(network, y, {1: "relu1_1", 11: "relu3_1", 29: "relu5_1"})
    return plain_features(path, layout, x)


def plain_features(path: Path, layout: str, x: Tensor) -> dict[str, Tensor]:
    """Keras' and Gatys' networks, layer by layer."""
    mean = GATYS_MEAN if layout == "gatys" else CAFFE_MEAN
    y = x.flip(1) * 255 - mean[:, None, None]
    read: dict[str, Tensor] = {}
    if layout == "gatys":
        read = torch.load(path, weights_only=True)
    else:
        with h5py.File(path) as file:
            for block, count in enumerate((2, 2, 4, 4, 4), 1):
                for i in range(1, count + 1):
                    name = f"block{block}_conv{i}"
                    inner = f"{name}/{name}" if layout == "keras-new" else name
                    new = layout == "keras-new"
                    kernel = file[f"{inner}/{'kernel:0' if new else name + '_W_1:0'}"][()]
                    bias = file[f"{inner}/{'bias:0' if new else name + '_b_1:0'}"][()]
                    read[f"conv{block}_{i}.weight"] = torch.from_numpy(kernel.transpose(3, 2, 0, 1))
                    read[f"conv{block}_{i}.bias"] = torch.from_numpy(bias)
    features = {}
    for block, count in enumerate((2, 2, 4, 4, 4), 1):
        if block > 1:
            y = functional.max_pool2d(y, 2)
        for i in range(1, count + 1):
            conv = f"conv{block}_{i}"
            y = functional.conv2d(y, read[f"{conv}.weight"], read[f"{conv}.bias"], padding=1).relu()
            features[conv.replace("conv", "relu")] = y
    return features


def waive_hash(monkeypatch: pytest.MonkeyPatch, name: str, **changes: object) -> WeightFile:
    """The table's entry without its hash, which no file of a test can have."""
    entry = dataclasses.replace(WEIGHTS[name], **({"hash": ""} | changes))
    monkeypatch.setitem(WEIGHTS, name, entry)
    return entry


@torch.no_grad()
@pytest.mark.parametrize("layout", WRITERS)
def test_every_layout_is_the_same_network(
    layout: str,
    vgg19: dict[str, Tensor],
    picture: Tensor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name, filename, write = WRITERS[layout]
    waive_hash(monkeypatch, name)
    source = tmp_path / filename
    numbers = compensate(vgg19, layout)
    write(source, numbers)
    published = publisher_features(source, layout, picture)
    assert import_weights(source) == (name, stored_path(name))
    source.unlink()

    # The numbers themselves, exactly.
    tensors = load_tensors(name)
    assert set(tensors) == {*numbers, "preprocess.weight", "preprocess.bias"}
    for key, tensor in numbers.items():
        assert torch.equal(tensors[key], tensor), key

    # What the publisher's own code would have computed, borders and all.
    assert choose_weights("vgg19") == name
    backbone = load_backbone("vgg19")
    assert backbone.padding == ("reflect" if layout == "normalised" else "zeros")
    features = backbone(picture, LAYERS)
    for layer in LAYERS:
        assert features[layer].std() > 0.1
        torch.testing.assert_close(features[layer], published[layer], rtol=1e-3, atol=1e-3)

    # The one network that all the files are. A padded zero is another colour in each of them, so
    # borders are reflected here, which makes them the same whatever the map of colour.
    architecture = BACKBONES["vgg19"]
    identity = {"preprocess.weight": torch.eye(3)[:, :, None, None]}
    identity["preprocess.bias"] = torch.zeros(3)
    meant = Backbone.from_tensors(vgg19 | identity, architecture, padding="reflect")
    found = Backbone.from_tensors(tensors, architecture, padding="reflect")
    meant_features, found_features = meant(picture, LAYERS), found(picture, LAYERS)
    for layer in LAYERS:
        torch.testing.assert_close(
            found_features[layer], meant_features[layer], rtol=1e-3, atol=1e-3
        )


@torch.no_grad()
@pytest.mark.parametrize("write", [write_torchvision, write_keras])
def test_vgg16(
    write: Callable[..., None], picture: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = "torchvision" if write is write_torchvision else "keras-old"
    name = f"vgg16-{layout.removesuffix('-old')}"
    numbers = make_numbers("vgg16")
    source = tmp_path / waive_hash(monkeypatch, name).filename
    write(source, compensate(numbers, layout), "vgg16")
    assert import_weights(source)[0] == name
    tensors = load_tensors(name)
    assert "conv3_4.weight" not in tensors
    identity = {"preprocess.weight": torch.eye(3)[:, :, None, None]}
    identity["preprocess.bias"] = torch.zeros(3)
    architecture = BACKBONES["vgg16"]
    meant = Backbone.from_tensors(numbers | identity, architecture, padding="reflect")
    found = Backbone.from_tensors(tensors, architecture, padding="reflect")
    torch.testing.assert_close(
        found(picture, ["relu5_3"]), meant(picture, ["relu5_3"]), rtol=1e-3, atol=1e-3
    )
    with pytest.raises(OptionError, match="is no weight file of vgg19; choose from vgg19-torchv"):
        choose_weights("vgg19", name)


def test_the_stored_file_says_where_it_is_from(
    vgg19: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = waive_hash(monkeypatch, "vgg19-caffe")
    source = tmp_path / "vgg19-d01eb7cb.pth"
    write_caffe(source, vgg19)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    _, path = import_weights(source, name="vgg19-caffe")
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == {
            "name": "vgg19-caffe",
            "source": "vgg19-d01eb7cb.pth",
            "source_sha256": digest,
            "layout": "caffe",
            "licence": entry.licence,
            "padding": "zeros",
        }
        assert all(file.get_slice(key).get_dtype() == "F32" for key in file.keys())  # noqa: SIM118
    # The classifiers are kept, and read only when asked for.
    assert not any(key.startswith("fc") for key in load_tensors("vgg19-caffe"))
    classifiers = load_tensors("vgg19-caffe", ("fc",))
    assert {key: tuple(tensor.shape) for key, tensor in classifiers.items()} == {
        "fc6.weight": (6, 7),
        "fc6.bias": (6,),
        "fc7.weight": (5, 7),
        "fc7.bias": (5,),
        "fc8.weight": (4, 7),
        "fc8.bias": (4,),
    }
    assert classifiers["fc8.bias"].tolist() == [2.0] * 4


# -------------------------------------------------- telling files apart, and refusing them


def test_hash_then_filename_tell_same_keys_apart(
    vgg19: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = shrink(vgg19, monkeypatch)
    source = tmp_path / "download (1).pth"
    write_small_features(source, small)
    text = r"keys that several publishers use: say --name vgg19-torchvision or --name vgg19-caffe$"
    with pytest.raises(WeightsError, match=text):
        import_weights(source)
    assert not stored_path("vgg19-caffe").parent.exists()

    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    waive_hash(monkeypatch, "vgg19-caffe", hash=f"sha256:{digest[:8]}")
    assert import_weights(source)[0] == "vgg19-caffe"

    waive_hash(monkeypatch, "vgg19-caffe")
    waive_hash(monkeypatch, "vgg19-torchvision")
    source = source.rename(tmp_path / "vgg19-dcbb9e9d.pth")
    assert import_weights(source)[0] == "vgg19-torchvision"


def shrink(numbers: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """VGG-19 of two channels a layer: as good for everything but shapes, and much quicker."""
    thin = dataclasses.replace(BACKBONES["vgg19"], channels=(2, 2, 2, 2, 2))
    monkeypatch.setitem(BACKBONES, "vgg19", thin)
    return {
        key: value[:2, : (3 if key.startswith("conv1_1") else 2)] if value.ndim > 1 else value[:2]
        for key, value in numbers.items()
    }


def write_small_features(path: Path, small: dict[str, Tensor]) -> None:
    write_torchvision(path, {key: value.clone() for key, value in small.items()})


@pytest.fixture
def small(vgg19: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in shrink(vgg19, monkeypatch).items()}


def test_a_named_file_must_have_the_published_hash(
    small: dict[str, Tensor], tmp_path: Path
) -> None:
    source = tmp_path / "vgg19-d01eb7cb.pth"
    write_caffe(source, small)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    text = rf"is not vgg19-caffe as published: its sha256 begins {digest[:8]}, not d01eb7cb"
    for name in ("vgg19-caffe", None):
        with pytest.raises(WeightsError, match=text):
            import_weights(source, name=name)
    assert not is_stored("vgg19-caffe")
    # neural-style-pt's users have it saved again; they say so.
    assert import_weights(source, any_hash=True)[0] == "vgg19-caffe"
    assert json.loads((cache_folder() / "weights/pins.json").read_text())["sources"] == {}


def test_the_first_sight_is_pinned(small: dict[str, Tensor], tmp_path: Path) -> None:
    source = tmp_path / "vgg_conv.pth"
    write_gatys(source, small)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    name, path = import_weights(source)
    pins = json.loads((cache_folder() / "weights/pins.json").read_text())
    assert pins["sources"] == {"vgg19-gatys": digest}
    assert pins["stored"] == {name: hashlib.sha256(path.read_bytes()).hexdigest()}
    assert import_weights(source)[0] == name  # again, the same

    small["conv1_1.bias"] += 1
    write_gatys(source, small)
    path.unlink()
    with pytest.raises(WeightsError, match=rf"not the vgg19-gatys first seen here.*{digest[:8]}"):
        import_weights(source)
    assert not is_stored(name)


def test_wrong_files_name_keys_and_shapes(small: dict[str, Tensor], tmp_path: Path) -> None:
    source = tmp_path / "vgg_conv.pth"
    broken = {k: v for k, v in small.items() if not k.startswith(("conv4_", "conv5_1.bias"))}
    torch.save(broken | {"extra.weight": torch.ones(1)}, source)
    text = (
        r"^vgg_conv.pth is not weights that impasto knows; nearest is vgg19-gatys: 9 missing "
        r"\(conv4_1.weight, conv4_1.bias, conv4_2.weight, …\); 1 unexpected \(extra.weight\)$"
    )
    with pytest.raises(WeightsError, match=text):
        import_weights(source)
    small["conv2_1.weight"] = torch.ones(2, 4, 3, 3)
    torch.save(small, source)
    text = r"1 of another shape \(conv2_1.weight is \(2, 4, 3, 3\), not \(2, 2, 3, 3\)\)$"
    with pytest.raises(WeightsError, match=text):
        import_weights(source)
    with pytest.raises(
        WeightsError, match=r"vgg_conv.pth is not vgg19-keras as published: its md5"
    ):
        import_weights(source, name="vgg19-keras")
    with pytest.raises(WeightsError, match=r"is not vgg19-keras: 32 missing \(block1_conv1.weight"):
        import_weights(source, name="vgg19-keras", any_hash=True)
    assert not list(cache_folder().rglob("*.safetensors"))


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch '{self.path}'",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_pickle_is_refused_and_does_not_run(tmp_path: Path, zipped: bool) -> None:
    source, trace = tmp_path / "vgg_conv.pth", tmp_path / "trace"
    torch.save({"conv1_1.weight": Evil(trace)}, source, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match=r"^vgg_conv.pth is no weight file, or holds more than"):
        import_weights(source)
    assert not trace.exists()
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", r"x.pth is damaged: it ends too soon"),
        (b"<html>gone</html>", r"x.pth is no weight file, or holds more than tensors"),
        (b"\x89HDF\r\n\x1a\n rubbish", r"x.pth is damaged: .*superblock"),
        (b"\xff\x00\x00\x00\x00\x00\x00\x00{]", r"x.pth is damaged: .*header"),
        (b"PK\x03\x04 rubbish", r"x.pth is damaged: .*zip archive"),
    ],
)
def test_rubbish_is_refused_in_one_line(tmp_path: Path, content: bytes, text: str) -> None:
    source = tmp_path / "x.pth"
    source.write_bytes(content)
    with pytest.raises(WeightsError, match=text) as caught:
        import_weights(source)
    assert "\n" not in str(caught.value)


def test_not_a_table_of_tensors(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match=r"^list.pth is not a table of tensors by name$"):
        import_weights(tmp_path / "list.pth")


def test_h5_without_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    (tmp_path / "x.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(
        DependencyError, match=r"needs h5py, which is not installed; pip install 'impasto\[keras\]'"
    ):
        import_weights(tmp_path / "x.h5")


def test_unknown_and_missing(tmp_path: Path) -> None:
    with pytest.raises(
        OptionError, match=r"unknown weights 'vgg19-cafe'; did you mean 'vgg19-caff"
    ):
        import_weights(tmp_path / "x", name="vgg19-cafe")
    with pytest.raises(
        OptionError, match=r"unknown weights 'zzz'; choose from vgg19-torchvision, "
    ):
        stored_path("zzz")
    with pytest.raises(MissingFileError, match=r"no weight file '.*nowhere.pth'"):
        import_weights(tmp_path / "nowhere.pth")
    with pytest.raises(OptionError, match=r"compact travels with the package; .*'compact-custom'"):
        import_weights(tmp_path / "x", name="compact")
    with pytest.raises(OptionError, match=r"unknown backbone 'vgg18'; did you mean 'vgg1[69]'"):
        load_backbone("vgg18")


# -------------------------------------------------- files of one's own, and the embedded one


def test_custom_files_in_our_layout(small: dict[str, Tensor], tmp_path: Path) -> None:
    source = tmp_path / "mine.safetensors"
    own = {key: value for key, value in small.items() if not key.startswith(("conv5_", "conv4_4"))}
    own |= {"preprocess.weight": torch.eye(3)[:, :, None, None], "preprocess.bias": torch.ones(3)}
    save_file({key: value.half() for key, value in own.items()}, source, {"padding": "reflect"})
    assert import_weights(source)[0] == "vgg19-custom"
    backbone = load_backbone("vgg19", weights="vgg19-custom")
    assert backbone.padding == "reflect"
    assert list(backbone.convs)[-1] == "conv4_3"
    assert load_tensors("vgg19-custom")["conv1_1.weight"].dtype == torch.float32

    save_file(own, source, {"padding": "reflected"})
    with pytest.raises(WeightsError, match=r"has padding 'reflected'; did you mean 'reflect'"):
        import_weights(source)

    own["conv1_2.weight"] = torch.ones(3, 2, 3, 3)  # a shape of no network that is known
    save_file(own, source)
    with pytest.raises(
        WeightsError, match=r"nearest is vgg19-custom: 1 of another shape \(conv1_2"
    ):
        import_weights(source)


def test_the_embedded_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "DATA", tmp_path)
    with pytest.raises(
        WeightsError, match=r"compact has no weights here yet: it belongs to the pa"
    ):
        choose_weights("compact")
    with pytest.raises(WeightsError, match=r"compact cannot be fetched: .*install impasto again"):
        fetch_weights("compact")
    numbers = {k: v.half() for k, v in make_numbers("compact").items() if k < "conv5_2"}
    numbers["preprocess.weight"] = torch.eye(3)[:, :, None, None].half()
    numbers["preprocess.bias"] = torch.zeros(3).half()
    numbers["head.weight"] = torch.ones(2, 2).half()
    path = tmp_path / "compact.safetensors"
    save_file(numbers, path)
    assert fetch_weights("compact", offline=True) == path == stored_path("compact")
    backbone = load_backbone("compact", pooling="avg")
    assert (backbone.padding, backbone.pooling) == ("reflect", "avg")
    assert list(backbone.convs)[-1] == "conv5_1"
    assert list(load_tensors("compact", ("head",))) == ["head.weight"]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert verify_weights("compact") == digest
    (tmp_path / "compact.sha256").write_text(f"{digest}  compact.safetensors\n")
    assert verify_weights("compact") == digest
    (tmp_path / "compact.sha256").write_text("0" * 64)
    with pytest.raises(
        WeightsError, match=rf"has changed: its sha256 begins {digest[:8]}, not 0000"
    ):
        verify_weights("compact")


def test_verify_notices_one_flipped_bit(small: dict[str, Tensor], tmp_path: Path) -> None:
    with pytest.raises(
        WeightsError, match="vgg19-gatys is not here yet: `impasto weights fetch vgg"
    ):
        verify_weights("vgg19-gatys")
    write_gatys(tmp_path / "vgg_conv.pth", small)
    _, path = import_weights(tmp_path / "vgg_conv.pth")
    content = bytearray(path.read_bytes())
    assert verify_weights("vgg19-gatys") == hashlib.sha256(content).hexdigest()
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        WeightsError, match=r"vgg19-gatys.safetensors has changed: its sha256 begins"
    ):
        verify_weights("vgg19-gatys")
    path.write_bytes(content[:100])
    with pytest.raises(WeightsError, match=r"is damaged: .*; delete it and fetch it again"):
        load_tensors("vgg19-gatys")


def test_none_stored_says_what_mends_it() -> None:
    text = (
        r"^vgg19 has no weights here yet: `impasto weights fetch vgg19-torchvision` \(575 MB\), or "
        r"`impasto weights import FILE`; the compact backbone needs none$"
    )
    with pytest.raises(WeightsError, match=text):
        choose_weights("vgg19")
    with pytest.raises(WeightsError, match=r"vgg16-caffe is not here yet"):
        load_backbone("vgg16", weights="vgg16-caffe")
    assert not cache_folder().exists()  # asking makes no folders


def test_cache_folder_and_offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_folder() == tmp_path / "the cache"
    monkeypatch.delenv("IMPASTO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "impasto"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "impasto"
    assert (is_offline(), is_offline(True)) == (False, True)
    monkeypatch.setenv("IMPASTO_OFFLINE", "1")
    assert is_offline()


def test_the_table_is_sound() -> None:
    for name, entry in WEIGHTS.items():
        assert entry.name == name
        assert entry.backbone in BACKBONES
        assert entry.layout in weights.FILE_LAYOUTS
        assert entry.url.startswith("https://") or name == "compact" or name.endswith("-custom")
        algorithm, _, digits = entry.hash.partition(":")
        assert algorithm in ("", "sha256", "md5")
        if "-" in entry.filename and entry.layout in ("torchvision", "caffe"):
            assert digits[:8] == entry.filename[6:14]  # as the publisher's file name says


# -------------------------------------------------- downloads


class Server:
    """A publisher on 127.0.0.1 who counts how often he is asked."""

    def __init__(self, content: bytes) -> None:
        self.asked: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(self.headers["User-Agent"])
                if "missing" in self.path:
                    self.send_error(404)
                    return
                cut = len(content) // 2 if "truncated" in self.path else len(content)
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                with contextlib.suppress(ConnectionError):
                    self.wfile.write(content[:cut])

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def close(self) -> None:
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def published(small: dict[str, Tensor], tmp_path: Path) -> bytes:
    path = tmp_path / "published.pth"
    write_caffe(path, small)
    return path.read_bytes()


@pytest.fixture
def server(published: bytes) -> Iterator[Server]:
    server = Server(published)
    yield server
    server.close()


def serve(monkeypatch: pytest.MonkeyPatch, url: str, content: bytes) -> None:
    prefix = f"sha256:{hashlib.sha256(content).hexdigest()[:8]}"
    waive_hash(monkeypatch, "vgg19-caffe", url=url, hash=prefix)


def left_behind() -> list[str]:
    folder = cache_folder() / "weights"
    return sorted(path.name for path in folder.iterdir() if path.name != ".locks")


def test_fetch(server: Server, published: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, f"{server.url}/vgg19-d01eb7cb.pth", published)
    seen: list[tuple[int, int | None]] = []
    path = fetch_weights("vgg19-caffe", on_progress=lambda done, total: seen.append((done, total)))
    assert path == stored_path("vgg19-caffe")
    assert seen[-1] == (len(published), len(published))
    assert left_behind() == ["pins.json", "vgg19-caffe.safetensors"]
    assert load_file(path)["preprocess.bias"].tolist() == pytest.approx(
        [-103.939, -116.779, -123.68]
    )
    assert verify_weights("vgg19-caffe") == hashlib.sha256(path.read_bytes()).hexdigest()
    assert fetch_weights("vgg19-caffe", offline=True) == path  # stored: nothing to ask
    assert len(server.asked) == 1
    assert server.asked[0] == "impasto"


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ("missing.pth", r"^http://127.0.0.1:\d+/missing.pth: the server says 404 Not Found$"),
        ("truncated.pth", r"truncated.pth broke off after \d+ of \d+ bytes: try again$"),
        ("changed.pth", r"^changed.pth is not vgg19-caffe as published: its sha256 begins "),
    ],
)
def test_a_failed_fetch_leaves_nothing(
    server: Server, published: bytes, monkeypatch: pytest.MonkeyPatch, where: str, text: str
) -> None:
    content = b"other" if where == "changed.pth" else published
    serve(monkeypatch, f"{server.url}/{where}", content)
    with pytest.raises(WeightsError, match=text) as caught:
        fetch_weights("vgg19-caffe")
    assert "\n" not in str(caught.value)
    assert left_behind() == []
    assert len(server.asked) == 1


def test_refused_connections_and_other_schemes(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.url
    server.close()
    waive_hash(monkeypatch, "vgg19-caffe", url=f"{url}/x.pth")
    with pytest.raises(WeightsError, match=r"x.pth could not be fetched: .*refused"):
        fetch_weights("vgg19-caffe")
    waive_hash(monkeypatch, "vgg19-caffe", url=(tmp_path / "x.pth").as_uri())
    with pytest.raises(WeightsError, match=r"^file://.* is not fetched: only http and https are$"):
        fetch_weights("vgg19-caffe")
    with pytest.raises(WeightsError, match=r"vgg19-custom cannot be fetched: `impasto weights imp"):
        fetch_weights("vgg19-custom")


@pytest.mark.parametrize("how", ["flag", "environment"])
def test_offline_asks_nobody(
    server: Server, published: bytes, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    serve(monkeypatch, f"{server.url}/v.pth", published)
    if how == "environment":
        monkeypatch.setenv("IMPASTO_OFFLINE", "1")
    text = r"^vgg19-caffe is not here and impasto is offline: get v.pth from http://.*/v.pth elsewh"
    with pytest.raises(WeightsError, match=text + r".*`impasto weights import v.pth`$"):
        fetch_weights("vgg19-caffe", offline=how == "flag")
    assert server.asked == []


def test_two_fetches_at_once_download_once(
    server: Server, published: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(monkeypatch, f"{server.url}/v.pth", published)
    together = threading.Barrier(4)
    paths = []

    def fetch() -> None:
        together.wait()
        paths.append(fetch_weights("vgg19-caffe"))

    threads = [threading.Thread(target=fetch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert paths == [stored_path("vgg19-caffe")] * 4
    assert len(server.asked) == 1
    assert left_behind() == ["pins.json", "vgg19-caffe.safetensors"]


def test_a_fetched_file_without_a_hash_is_pinned(
    server: Server, published: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    waive_hash(monkeypatch, "vgg19-caffe", url=f"{server.url}/v.pth")
    fetch_weights("vgg19-caffe").unlink()
    digest = hashlib.sha256(published).hexdigest()
    pins = cache_folder() / "weights/pins.json"
    assert json.loads(pins.read_text())["sources"] == {"vgg19-caffe": digest}
    pins.write_text(pins.read_text().replace(digest, "0" * 64))
    with pytest.raises(WeightsError, match=rf"begins {digest[:8]}, not 00000000 as pinned"):
        fetch_weights("vgg19-caffe")
    pins.write_text("{")
    with pytest.raises(WeightsError, match=r"pins.json is damaged: delete it and import again"):
        fetch_weights("vgg19-caffe")


def test_what_torch_says_of_old_files_is_not_shown(tmp_path, monkeypatch, recwarn):
    path, load = tmp_path / "old.pth", torch.load
    torch.save({"weight": torch.ones(2)}, path, _use_new_zipfile_serialization=False)

    def load_and_warn(*given: object, **flags: object) -> object:
        warnings.warn("TypedStorage is deprecated", UserWarning, stacklevel=1)
        return load(*given, **flags)

    monkeypatch.setattr(torch, "load", load_and_warn)
    tensors, _ = read_tensors(path, "old.pth")
    assert tensors["weight"].tolist() == [1, 1]
    assert not recwarn.list
