"""The files that painting nets are kept in.

A file is safetensors: a net's weights as ``net.*``; of the styles of a net of many, ``numbers``
(S, count), ``means`` (S, 3) and ``covariances`` (S, 3, 3) of their colours; of a net for any style
``reader.*``. Its metadata has the layout, the styles' names, and what else is to be known.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from impasto.errors import MissingFileError, OptionError, WeightsError, describe_reason, suggest
from impasto.instant.net import DialReader, NetShape, PaintingNet
from impasto.instant.palette import Palette
from impasto.system.files import check_place, replacing

_FORMAT = "impasto painting net 1"
NETS = {"any": "instant.safetensors", "painters": "painters.safetensors"}  # that travel with it
_TRIED = 16  # styles, at most, that are painted to see whether half the digits do


@dataclass(frozen=True)
class Trained:
    """A net as far as it has learnt, with its styles; from a start, the old ones first."""

    net: PaintingNet
    palette: Palette
    about: dict[str, Any]
    photo: Tensor  # (1, 3, H, W), to try the numbers of its file on
    kept: Sequence[Tensor]  # what is to be in the file as it is, to the last bit
    on_saved: Callable[[], None]
    is_first: bool = True  # of the processes that learnt together

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model. Of several processes only the first does so."""
        if self.is_first:
            place = check_place(path, "a model", [".safetensors"])
            dtype = choose_file_dtype(self.net, self.palette, self.photo, self.kept)
            save_net(place, self.net, palette=self.palette, about=self.about, dtype=dtype)
            self.on_saved()


def save_net(
    path: Path,
    net: PaintingNet,
    *,
    palette: Palette | None = None,
    reader: DialReader | None = None,
    about: Mapping[str, Any] | None = None,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write a net with the styles it knows, or with what reads any."""
    tensors = {f"net.{name}": value.to(dtype) for name, value in net.state_dict().items()}
    facts: dict[str, Any] = {"format": _FORMAT, "layout": asdict(net.layout), **(about or {})}
    if palette is not None:
        facts["styles"] = palette.names
        tensors["numbers"] = palette.numbers.to(dtype)
        tensors |= {"means": palette.means, "covariances": palette.covariances}
    if reader is not None:
        tensors |= {f"reader.{name}": v.to(dtype) for name, v in reader.state_dict().items()}
    tensors = {name: value.detach().contiguous() for name, value in tensors.items()}
    metadata = {"impasto": json.dumps(facts)}
    try:
        with replacing(path) as beside:
            save_file(tensors, beside, metadata)
    except (SafetensorError, OSError) as error:
        reason = describe_reason(error)
        raise OptionError(f"cannot write the model {path.name!r}: {reason}") from error


@torch.no_grad()
def choose_file_dtype(
    net: PaintingNet, palette: Palette, photo: Tensor, kept: Sequence[Tensor] = ()
) -> torch.dtype:
    """Return float16 for a file if a photograph is then painted the same, else float32.

    The same is to a level of 255; and what is to be ``kept`` must be so to the last bit.
    """
    if not all(torch.equal(each.half().to(each), each) for each in kept):
        return torch.float32
    halved = copy.deepcopy(net).half().float()
    for style in range(0, len(palette), -(-len(palette) // _TRIED)):
        seen, row = palette.recolor(photo, style), palette.numbers[style : style + 1]
        away = (net(seen, row) - halved(seen, row.half().float())).abs()
        if not float(away.max()) <= 1 / 255:  # what is no number is not either
            return torch.float32
    return torch.float16


@dataclass(frozen=True)
class NetFile:
    """What a file holds."""

    net: PaintingNet
    palette: Palette | None
    reader: DialReader | None
    facts: dict[str, Any]


def find_net(model: str) -> Path:
    """Return the file of a net that travels with the package, by name, or of the user's own."""
    if model in NETS:
        return Path(str(resources.files("impasto") / "data" / NETS[model]))
    path = Path(model)
    if not path.suffix and not path.exists():
        raise MissingFileError(f"unknown model {model!r}{suggest(model, NETS)}")
    return path


def load_net(path: Path) -> NetFile:
    """Return the net of a file, frozen, in float32."""
    name = path.name
    if not path.is_file():
        raise MissingFileError(f"there is no model {str(path)!r}")
    try:
        with safe_open(path, "pt") as file:
            facts = json.loads((file.metadata() or {}).get("impasto", "{}"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"cannot read the model {name!r}: {error}") from None
    if facts.get("format") != _FORMAT:
        raise WeightsError(f"{name!r} is not a model that 'impasto train' made")
    try:
        with torch.random.fork_rng(devices=[]):  # weights are drawn before they are loaded
            return _build(facts, tensors)
    except (KeyError, TypeError, RuntimeError, ValueError) as error:
        why = str(error).splitlines()[0]
        raise WeightsError(f"the model {name!r} is damaged: {why}") from None


def load_net_of_many(model: str | os.PathLike[str]) -> tuple[PaintingNet, Palette]:
    """Return a net, by its name or its file, and the styles that it knows."""
    path = find_net(os.fspath(model))
    file = load_net(path)
    if file.palette is None:
        raise WeightsError(
            f"the model {path.name!r} paints any style and knows none; "
            "name one that 'impasto train' made"
        )
    return file.net, file.palette


def _build(facts: dict[str, Any], tensors: dict[str, Tensor]) -> NetFile:
    layout = NetShape(**{**facts["layout"], "widths": tuple(facts["layout"]["widths"])})
    net = PaintingNet(layout)
    net.load_state_dict(_part(tensors, "net."))
    palette, reader = None, None
    if "numbers" in tensors:
        parts = tensors["means"].double(), tensors["covariances"].double()
        palette = Palette(tuple(facts["styles"]), tensors["numbers"].float(), *parts)
        shapes = [tuple(each.shape) for each in (palette.numbers, *parts)]
        count = len(palette)
        if shapes != [(count, net.count), (count, 3), (count, 3, 3)]:
            raise ValueError(f"styles of the shapes {shapes}")
    if read := _part(tensors, "reader."):
        reader = DialReader(len(read["mean"]), net.count)
        reader.load_state_dict(read)
        reader.requires_grad_(False).eval()
    return NetFile(net.requires_grad_(False).eval(), palette, reader, facts)


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): v.float() for n, v in tensors.items() if n.startswith(prefix)}
