"""What the layers of a network give for a picture: maps of channels, Gram matrices, statistics.

Features are (C, h, w) of one picture. The Gram matrix of a layer (C, C) is the mean over positions
of products of channels: all that Gatys' style loss knows of it.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from impasto.errors import OptionError
from impasto.figures.plots import new_figure, plot_maps, plot_matrix, save_figure
from impasto.images.picture import ImageSource
from impasto.images.resizing import fit_size, resize_pixels
from impasto.images.transparency import read_opaque
from impasto.images.writing import to_pil
from impasto.lab.options import FeaturesOptions
from impasto.losses.statistics import gram_matrix
from impasto.networks.weights import load_backbone
from impasto.system.devices import choose_machine, working_on
from impasto.system.files import make_folder, replace_file
from impasto.work import Request, Step, finish

STATISTICS = ("layer", "channel", "mean", "deviation", "least", "most", "alight", "mean_square")


@dataclass(frozen=True)
class LayerFeatures:
    """One layer's features, in float32, and which of its channels are shown."""

    layer: str
    features: Tensor  # (C, h, w)
    shown: tuple[int, ...]

    @property
    def gram(self) -> Tensor:
        """The Gram matrix (C, C)."""
        return gram_matrix(self.features[None])[0]

    def draw_grid(self) -> Image.Image:
        """Return the maps of the shown channels, nothing between them, for programs to cut up.

        Black is the least and white what all but one value in 200 stay below, as in the figure.
        """
        maps, columns = self.features[list(self.shown)], self._count_columns()
        least, most, peak = np.quantile(maps.numpy(), [0, 0.995, 1]).tolist()
        scale = (most if most > least else peak) - least or 1.0
        maps = functional.pad(maps, (0, 0, 0, 0, 0, -len(maps) % columns), value=least)
        rows = maps.reshape(-1, columns, *maps.shape[1:]).transpose(1, 2)  # (rows, h, columns, w)
        return to_pil(((rows.flatten(2).flatten(0, 1) - least) / scale)[None, None])

    def describe_grid(self) -> dict[str, Any]:
        """Return what cuts the grid up: its channels in their order, and the size of a map."""
        _, height, width = self.features.shape
        columns = self._count_columns()
        return {"channels": self.shown, "columns": columns, "width": width, "height": height}

    def _count_columns(self) -> int:
        return math.ceil(math.sqrt(len(self.shown)))

    def rows(self) -> list[list[Any]]:
        """Return statistics of each channel in the order of ``STATISTICS``.

        ``alight`` is the share of positions above 0.
        """
        flat = self.features.flatten(1)  # (C, h*w)
        numbers = torch.stack(
            [
                flat.mean(1),
                flat.std(1, correction=0),
                flat.amin(1),
                flat.amax(1),
                (flat > 0).float().mean(1),
                flat.square().mean(1),
            ],
            1,
        )
        rows = enumerate(numbers.tolist())
        return [[self.layer, channel, *(f"{n:.6g}" for n in row)] for channel, row in rows]


class Features:
    """What layers give for a photograph, in a folder; written anew each time, in seconds."""

    def __init__(
        self,
        photo: ImageSource,
        options: FeaturesOptions | None = None,
        *,
        folder: str | os.PathLike[str] | None = None,
    ) -> None:
        self.options = options = options or FeaturesOptions()
        self.photo = read_opaque(photo, options.max_megapixels)
        self.notes = [f"{self.photo.name}: {note}" for note in self.photo.notes]
        self.folder = None if folder is None else Path(folder)
        self.machine = choose_machine(options.device)
        backbone = load_backbone(options.backbone, weights=options.weights, pooling=options.pooling)
        # In float32: there is one pass, and its values are read.
        self.backbone = backbone.place(self.machine)
        names = []
        for name in options.layer:
            every = [conv.replace("conv", "relu") for conv in backbone.convs]
            names += every if name == "all" else [backbone.resolve(name)]
        self.layers = list(dict.fromkeys(names))
        own = self.photo.size
        self.size = own if options.size is None else fit_size(*own, min(options.size, max(own)))
        backbone.check_size(*self.size, backbone.deepest(self.layers))
        self._check_channels()
        self.seen: dict[str, LayerFeatures] = {}
        if self.folder is not None:
            new_figure(1, 1)  # an error where the library is missing
            if self.folder.exists() and not self.folder.is_dir():
                raise OptionError(f"features go to a folder; {self.folder.name!r} is a file")
            make_folder(self.folder)

    @classmethod
    def from_request(cls, request: Request) -> Self:
        """Make the work from plain data."""
        options = FeaturesOptions.parse(request.options)
        return cls(request.one("content"), options, folder=request.output)

    def _check_channels(self) -> None:
        counts = {name: self.backbone.count_channels(name) for name in self.layers}
        for channel in self.options.channel:
            if lacking := [name for name, count in counts.items() if channel >= count]:
                count = counts[lacking[0]]
                raise OptionError(
                    f"{lacking[0]} has {count} channels, 0 to {count - 1}, and no {channel}"
                )

    def steps(self) -> Iterator[Step]:
        """Run the network once, and draw layer by layer."""
        pixels = resize_pixels(self.photo.pixels, *self.size).to(self.machine.device)
        with torch.no_grad(), working_on(self.machine.device):
            seen = self.backbone(pixels, self.layers)
        for number, name in enumerate(self.layers, 1):
            features = seen.pop(name)[0].float().cpu()
            self.seen[name] = LayerFeatures(name, features, self._choose_channels(features))
            if self.folder is not None:
                self._draw(self.seen[name], self.folder)
            yield Step(number, len(self.layers), name)
        if self.folder is not None:
            facts = {name: each.describe_grid() for name, each in self.seen.items()}
            replace_file(self.folder / "maps.json", json.dumps(facts, indent=1).encode())
            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(STATISTICS)
            writer.writerows(row for each in self.seen.values() for row in each.rows())
            replace_file(self.folder / "statistics.csv", text.getvalue().encode())

    def _choose_channels(self, features: Tensor) -> tuple[int, ...]:
        """Return the channels asked for, or those that vary most over the picture."""
        if self.options.channel:
            return tuple(dict.fromkeys(self.options.channel))
        spread = features.flatten(1).std(1, correction=0)
        order = spread.sort(descending=True, stable=True).indices
        return tuple(order[: self.options.top].tolist())

    def _draw(self, seen: LayerFeatures, folder: Path) -> None:
        shown, count = list(seen.shown), len(seen.features)
        which = "" if self.options.channel else " that vary most"
        names = [f"channel {channel}" for channel in shown]
        title = f"{seen.layer} of {self.photo.name}: {len(shown)} of {count} channels{which}"
        maps = plot_maps(seen.features[shown], names, title)
        save_figure(maps, folder / f"{seen.layer}-maps.png")
        encoded = io.BytesIO()
        seen.draw_grid().save(encoded, "PNG")
        replace_file(folder / f"{seen.layer}-grid.png", encoded.getvalue())
        title = f"Gram matrix of {seen.layer}, {self.photo.name}"
        save_figure(plot_matrix(seen.gram, title), folder / f"{seen.layer}-gram.png")

    def result(self) -> dict[str, LayerFeatures]:
        """Return the layers drawn so far, by their names."""
        return dict(self.seen)


def features(
    photo: ImageSource,
    folder: str | os.PathLike[str] | None = None,
    options: FeaturesOptions | Mapping[str, Any] | None = None,
    *,
    on_step: Callable[[Step], None] | None = None,
) -> dict[str, LayerFeatures]:
    """Return what layers give for a picture, by their names; draw it in a folder if given."""
    return finish(Features(photo, FeaturesOptions.parse(options), folder=folder), on_step)
