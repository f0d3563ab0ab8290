"""The table of weight files: where from, hash, licence; the cache; download, import, verification.

Publishers keep one VGG under different keys and for different pictures (RGB or BGR, 0 … 1 or
0 … 255, this mean or that). Here every file becomes a safetensors file with one set of names:
``conv1_1.weight`` … ``conv5_4.bias``, ``preprocess`` (the affine map of colour from RGB in [0, 1]
to what those weights want) and, where the file has them, the classifiers ``fc6``, ``fc7``, ``fc8``.
"""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from importlib import resources
from pathlib import Path
from urllib.error import HTTPError

from safetensors import SafetensorError
from safetensors.torch import save_file

from impasto.errors import MissingFileError, OptionError, WeightsError, suggest
from impasto.networks.layers import BACKBONES, PADDINGS, Padding
from impasto.networks.vgg import Backbone
from impasto.networks.weight_formats import (
    LAYOUTS,
    Tensors,
    Words,
    read_safetensors,
    read_tensors,
    rename_tensors,
)
from impasto.system.files import hash_file, locked, replace_file, replacing

DATA = Path(str(resources.files("impasto"))) / "data"
NETWORK = ("conv", "preprocess")  # how the names of what a backbone needs begin

Progress = Callable[[int, int | None], None]

_TORCH = "https://download.pytorch.org/models/"
_UMICH = "https://web.eecs.umich.edu/~justincj/models/"
_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications/"
_ADAIN = "https://github.com/naoto0804/pytorch-AdaIN/releases/download/v0.0.0/"
_OXFORD = "CC BY 4.0 (Visual Geometry Group, Oxford)"
_DERIVED = "made from VGG-19 (CC BY 4.0); its publisher states none"
_BSD = "BSD-3-Clause (torchvision), trained on ImageNet"


@dataclass(frozen=True)
class WeightFile:
    """A published file; ``hash`` is ``algorithm:digits``, or the first of its digits."""

    name: str
    layout: str
    note: str
    url: str = ""
    hash: str = ""
    size: int | None = None
    licence: str = _OXFORD
    padding: Padding = "zeros"
    embedded: bool = False

    @property
    def backbone(self) -> str:
        return self.name.partition("-")[0]

    @property
    def filename(self) -> str:
        return self.url.rpartition("/")[2]

    def is_published(self, digests: Words) -> bool:
        algorithm, _, digits = self.hash.partition(":")
        return bool(digits) and digests[algorithm].startswith(digits)


# In the order in which a stored one is taken for its backbone. torchvision publishes eight digits
# of each hash and pytorch-AdaIN none: theirs are as several users of these files recorded them.
# fmt: off
_TABLE = [
    WeightFile("vgg19-torchvision", "torchvision", "trained afresh by torchvision",
               _TORCH + "vgg19-dcbb9e9d.pth",
               "sha256:dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44",
               574_673_361, licence=_BSD),
    WeightFile("vgg19-caffe", "caffe", "the paper's own, converted by Justin Johnson",
               _UMICH + "vgg19-d01eb7cb.pth", "sha256:d01eb7cb"),
    WeightFile("vgg19-keras", "keras", "the paper's own, converted by Keras, without classifiers",
               _KERAS + "vgg19/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
               "md5:253f8cb515780f3b799900260a226db6", 80_134_624),
    WeightFile("vgg19-gatys", "gatys", "rescaled by Gatys et al.; no hash published",
               "https://bethgelab.org/media/uploads/pytorch_models/vgg_conv.pth",
               licence=_DERIVED),
    WeightFile("vgg19-normalised", "normalised", "rescaled, reflected borders: AdaIN's and WCT's",
               _ADAIN + "vgg_normalised.pth",
               "sha256:804ca2835ecf7539f0cd2a7ac3c18ce81e6f8468969ae7117ac0c148d286bb4a",
               80_102_481, licence=_DERIVED, padding="reflect"),
    WeightFile("vgg16-torchvision", "torchvision", "trained afresh by torchvision",
               _TORCH + "vgg16-397923af.pth",
               "sha256:397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
               553_433_881, licence=_BSD),
    WeightFile("vgg16-caffe", "caffe", "the paper's own, converted by Justin Johnson",
               _UMICH + "vgg16-00b39a1b.pth", "sha256:00b39a1b"),
    WeightFile("vgg16-keras", "keras", "the paper's own, converted by Keras, without classifiers",
               _KERAS + "vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
               "md5:6d6bbae143d832006294945121d1f1fc", 58_889_256),
    WeightFile("compact", "impasto", "distilled from VGG-19; travels with the package",
               licence="Apache-2.0", padding="reflect", embedded=True),
    *(WeightFile(f"{backbone}-custom", "impasto", "a safetensors file of your own, our names",
                 licence="as its maker says") for backbone in BACKBONES),
]
# fmt: on
WEIGHTS: dict[str, WeightFile] = {file.name: file for file in _TABLE}


def cache_folder() -> Path:
    """$IMPASTO_CACHE, else $XDG_CACHE_HOME/impasto, else ~/.cache/impasto; maybe not there yet."""
    if own := os.environ.get("IMPASTO_CACHE"):
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "impasto"


def is_offline(flag: bool = False) -> bool:
    return flag or os.environ.get("IMPASTO_OFFLINE", "") not in ("", "0")


def find_entry(name: str) -> WeightFile:
    if name not in WEIGHTS:
        raise OptionError(f"unknown weights {name!r}{suggest(name, WEIGHTS)}")
    return WEIGHTS[name]


def stored_path(name: str) -> Path:
    """Where the safetensors file of ``name`` is, or would be."""
    folder = DATA if find_entry(name).embedded else cache_folder() / "weights"
    return folder / f"{name}.safetensors"


def is_stored(name: str) -> bool:
    return stored_path(name).is_file()


@contextmanager
def in_turn(name: str) -> Iterator[None]:
    """One process at a time; on Windows, where nothing is locked, the last one wins."""
    folder = cache_folder() / "weights" / ".locks"
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(folder / name))
        except OSError as error:
            raise WeightsError(f"no writing to the cache: {error}; set IMPASTO_CACHE") from None
        yield


def part_of(target: Path) -> Path:
    """Where ``target`` is written to under its lock, until it is whole."""
    return target.with_name(f".{target.name}.part")


def read_pins() -> dict[str, dict[str, str]]:
    """``sources``: the SHA-256 of each file at first sight; ``stored``: of what was made of it."""
    path = cache_folder() / "weights" / "pins.json"
    if not path.is_file():
        return {"sources": {}, "stored": {}}
    try:
        pins = json.loads(path.read_text())
        return {part: dict(pins[part]) for part in ("sources", "stored")}
    except (ValueError, TypeError, KeyError):
        raise WeightsError(f"{path} is damaged: delete it and import again") from None


def check_origin(entry: WeightFile, label: str, digests: Words) -> None:
    """The publisher's hash where there is one, and the one pinned at first sight."""
    if entry.hash and not entry.is_published(digests):
        algorithm, _, digits = entry.hash.partition(":")
        raise WeightsError(
            f"{label} is not {entry.name} as published: its {algorithm} begins "
            f"{digests[algorithm][:8]}, not {digits[:8]} (saved again? `import --any-hash`)"
        )
    sha256 = digests["sha256"]
    if (pinned := read_pins()["sources"].get(entry.name, sha256)) != sha256:
        raise WeightsError(
            f"{label} is not the {entry.name} first seen here: its sha256 begins {sha256[:8]}, "
            f"not {pinned[:8]} as pinned in pins.json"
        )


def rename_entry(tensors: Tensors, entry: WeightFile) -> tuple[Tensors, str]:
    return rename_tensors(tensors, LAYOUTS[entry.layout], BACKBONES[entry.backbone])


def recognise(tensors: Tensors, label: str, digests: Words, name: str | None) -> WeightFile:
    """The table's entry that a file is: by keys and shapes, then by hash, then by file name."""
    entries = [find_entry(name)] if name else [e for e in WEIGHTS.values() if not e.embedded]
    fits = {entry: rename_entry(tensors, entry) for entry in entries}
    fitting = [entry for entry in entries if not fits[entry][1]]
    if not fitting:
        nearest = max(entries, key=lambda entry: len(fits[entry][0]))
        whose = name or f"weights that impasto knows; nearest is {nearest.name}"
        raise WeightsError(f"{label} is not {whose}: {fits[nearest][1]}")
    by_hash = [entry for entry in fitting if entry.is_published(digests)]
    by_file = [entry for entry in fitting if entry.filename == label]
    for candidates in (by_hash, by_file, fitting):
        if len(candidates) == 1:
            return candidates[0]
    names = " or ".join(f"--name {entry.name}" for entry in fitting)
    raise WeightsError(f"{label} has keys that several publishers use: say {names}")


def find_padding(metadata: Words, entry: WeightFile) -> Padding:
    wanted = metadata.get("padding", entry.padding)
    for padding in PADDINGS:
        if padding == wanted:
            return padding
    raise WeightsError(f"{entry.name} has padding {wanted!r}{suggest(wanted, PADDINGS)}")


def store_file(path: Path, label: str, name: str | None, any_hash: bool = False) -> str:
    """Make a publisher's file ours, in the cache; gives the name that it is stored under."""
    digests = {algorithm: hash_file(path, algorithm) for algorithm in ("sha256", "md5")}
    if name and not any_hash:  # before anything in it is read
        check_origin(find_entry(name), label, digests)
    tensors, own = read_tensors(path, label)
    entry = recognise(tensors, label, digests, name)
    if not any_hash:
        check_origin(entry, label, digests)
    tensors = LAYOUTS[entry.layout].preprocessing() | rename_entry(tensors, entry)[0]
    padding = find_padding(own, entry)
    metadata = {"name": entry.name, "layout": entry.layout, "licence": entry.licence}
    metadata |= {"source": label, "source_sha256": digests["sha256"], "padding": padding}
    try:
        target = stored_path(entry.name)
        with in_turn(entry.name), replacing(target, part_of(target)) as part:
            save_file({key: t.float().contiguous() for key, t in tensors.items()}, part, metadata)
            part.chmod(0o644)  # safetensors writes for the owner alone; a cache may be shared
            with in_turn("pins"):
                pins = read_pins()
                pins["stored"][entry.name] = hash_file(part)
                if entry.url and not any_hash:
                    pins["sources"][entry.name] = digests["sha256"]
                text = json.dumps(pins, indent=1, sort_keys=True)
                replace_file(cache_folder() / "weights" / "pins.json", text.encode())
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise WeightsError(f"{entry.name} could not be stored: {reason}") from None
    return entry.name


def import_weights(
    path: Path, *, name: str | None = None, any_hash: bool = False
) -> tuple[str, Path]:
    """Store a file that is here already; gives the name of its entry and where it is now.

    ``any_hash`` takes one that fits in shape only, such as a published file that was saved again.
    """
    if name and find_entry(name).embedded:
        raise OptionError(f"{name} travels with the package; import yours as '{name}-custom'")
    if not path.is_file():
        raise MissingFileError(f"no weight file {str(path)!r}")
    name = store_file(path, path.name, name, any_hash)
    return name, stored_path(name)


def download(entry: WeightFile, part: Path, on_progress: Progress | None) -> None:
    """Write what the URL gives to ``part``."""
    if not entry.url.startswith(("https://", "http://")):
        raise WeightsError(f"{entry.url} is not fetched: only http and https are")
    done = total = 0
    try:
        request = urllib.request.Request(entry.url, headers={"User-Agent": "impasto"})
        with urllib.request.urlopen(request, timeout=60) as response, part.open("wb") as file:
            total = int(response.headers["Content-Length"] or 0)
            while chunk := response.read(1 << 20):
                done += file.write(chunk)
                if on_progress:
                    on_progress(done, total or None)
    except HTTPError as error:
        error.close()
        raise WeightsError(f"{entry.url}: the server says {error.code} {error.reason}") from None
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise WeightsError(f"{entry.url} could not be fetched: {reason}") from None
    if done != (total or done):
        raise WeightsError(f"{entry.url} broke off after {done} of {total} bytes: try again")


def fetch_weights(name: str, *, offline: bool = False, on_progress: Progress | None = None) -> Path:
    """Download, check and store; at once where it is stored already."""
    entry, target = find_entry(name), stored_path(name)
    if target.is_file():
        return target
    if not entry.url:
        raise WeightsError(f"{name} cannot be fetched: {ways_to_get(entry)}")
    if is_offline(offline):
        raise WeightsError(
            f"{name} is not here and impasto is offline: get {entry.filename} from {entry.url} "
            f"elsewhere, then `impasto weights import {entry.filename}`"
        )
    with in_turn(f"{name}.fetch"):
        if not target.is_file():  # another process may have fetched it meanwhile
            part = part_of(target.with_name(entry.filename))
            try:
                download(entry, part, on_progress)
                store_file(part, entry.filename, name)
            finally:
                part.unlink(missing_ok=True)
    return target


def verify_weights(name: str) -> str:
    """The SHA-256 of the stored file, which must be what it was when it was stored."""
    path = find_stored(name)
    digest = hash_file(path)
    expected = read_pins()["stored"].get(name, "unknown")
    if find_entry(name).embedded:  # its hash, where there is one, lies beside it
        beside = path.with_suffix(".sha256")
        expected = beside.read_text().split()[0] if beside.is_file() else digest
    if digest != expected:
        raise WeightsError(
            f"{path} has changed: its sha256 begins {digest[:8]}, not {expected[:8]}; delete it, "
            "then fetch or import it again"
        )
    return digest


def ways_to_get(entry: WeightFile) -> str:
    if entry.embedded:
        return "it belongs to the package, so install impasto again"
    size = f" ({entry.size / 1e6:.0f} MB)" if entry.size else ""
    fetch = f"`impasto weights fetch {entry.name}`{size}, or " if entry.url else ""
    return f"{fetch}`impasto weights import FILE`"


def find_stored(name: str) -> Path:
    if not is_stored(name):
        raise WeightsError(f"{name} is not here yet: {ways_to_get(find_entry(name))}")
    return stored_path(name)


def choose_weights(backbone: str, name: str | None = None) -> str:
    """The entry that serves ``backbone``: the one named, or the first that is stored."""
    if backbone not in BACKBONES:
        raise OptionError(f"unknown backbone {backbone!r}{suggest(backbone, BACKBONES)}")
    serving = [entry for entry in WEIGHTS.values() if entry.backbone == backbone]
    if name and find_entry(name) not in serving:
        names = ", ".join(entry.name for entry in serving)
        raise OptionError(f"{name} is no weight file of {backbone}; choose from {names}")
    if name:
        return find_stored(name).stem
    for entry in serving:
        if is_stored(entry.name):
            return entry.name
    rest = "" if backbone == "compact" else "; the compact backbone needs none"
    raise WeightsError(f"{backbone} has no weights here yet: {ways_to_get(serving[0])}{rest}")


def load_tensors(name: str, prefixes: tuple[str, ...] = NETWORK) -> Tensors:
    """The stored tensors whose names begin so; others (VGG's classifiers: 490 MB) stay on disk."""
    path = find_stored(name)
    try:
        return read_safetensors(path, prefixes)[0]
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is damaged: {error}; delete it and fetch it again") from None


def load_backbone(backbone: str, *, weights: str | None = None, pooling: str = "max") -> Backbone:
    """A frozen network with the weights named, or the first that are stored."""
    name = choose_weights(backbone, weights)
    tensors = load_tensors(name)
    metadata = read_safetensors(stored_path(name), prefixes=())[1]
    padding = find_padding(metadata, find_entry(name))
    return Backbone.from_tensors(tensors, BACKBONES[backbone], padding=padding, pooling=pooling)
