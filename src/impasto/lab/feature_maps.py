"""What the layers of a network give for a picture: maps of channels, their correlations, numbers.

Features are (C, h, w) of one picture. The Gram matrix of a layer (C, C) is the mean over positions
of products of channels: all that Gatys' style loss knows of it.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from impasto.errors import OptionError
from impasto.figures.plots import new_figure, plot_maps, plot_matrix, save_figure
from impasto.images.picture import ImageSource
from impasto.images.resizing import fit_size, resize_pixels
from impasto.images.transparency import read_opaque
from impasto.lab.options import FeaturesOptions
from impasto.losses.statistics import gram_matrix
from impasto.networks.weights import load_backbone
from impasto.system.devices import choose_machine
from impasto.system.files import make_folder, replace_file
from impasto.work import Step

COLUMNS = ("layer", "channel", "mean", "deviation", "least", "most", "alight", "mean_square")


@dataclass(frozen=True)
class LayerFeatures:
    """One layer's features, in float32, and which of its channels are shown."""

    layer: str
    features: Tensor  # (C, h, w)
    shown: tuple[int, ...]

    @property
    def gram(self) -> Tensor:
        """(C, C)."""
        return gram_matrix(self.features[None])[0]

    def rows(self) -> list[list[Any]]:
        """What each channel comes to, in the order of ``COLUMNS``; alight is the share of positions
        above 0."""
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
    """A photograph, a network, and a folder for what its layers give; written anew each time, which
    takes seconds."""

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
        # In full: there is one look to be taken, and its numbers are read.
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
            new_figure(1, 1)
            self._make_folder(self.folder)

    def _check_channels(self) -> None:
        counts = {name: self.backbone.count_channels(name) for name in self.layers}
        for channel in self.options.channel:
            if lacking := [name for name, count in counts.items() if channel >= count]:
                count = counts[lacking[0]]
                raise OptionError(
                    f"{lacking[0]} has {count} channels, 0 to {count - 1}, and no {channel}"
                )

    @staticmethod
    def _make_folder(folder: Path) -> None:
        if folder.exists() and not folder.is_dir():
            raise OptionError(f"features go to a folder; {folder.name!r} is a file")
        make_folder(folder)

    def steps(self) -> Iterator[Step]:
        """Look once, and show layer by layer."""
        pixels = resize_pixels(self.photo.pixels, *self.size).to(self.machine.device)
        with torch.no_grad():
            seen = self.backbone(pixels, self.layers)
        for number, name in enumerate(self.layers, 1):
            features = seen.pop(name)[0].float().cpu()
            self.seen[name] = LayerFeatures(name, features, self._choose_channels(features))
            if self.folder is not None:
                self._draw(self.seen[name], self.folder)
            yield Step(number, len(self.layers), name)
        if self.folder is not None:
            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows(row for each in self.seen.values() for row in each.rows())
            replace_file(self.folder / "statistics.csv", text.getvalue().encode())

    def _choose_channels(self, features: Tensor) -> tuple[int, ...]:
        """Those asked for, or those that vary most over the picture, most first."""
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
        title = f"Gram matrix of {seen.layer}, {self.photo.name}"
        save_figure(plot_matrix(seen.gram, title), folder / f"{seen.layer}-gram.png")

    def result(self) -> dict[str, LayerFeatures]:
        """By the layers' names, those looked at so far."""
        return dict(self.seen)


def features(
    photo: ImageSource,
    folder: str | os.PathLike[str] | None = None,
    options: FeaturesOptions | Mapping[str, Any] | None = None,
    *,
    on_step: Callable[[Step], None] | None = None,
) -> dict[str, LayerFeatures]:
    """What layers give for a picture, by their names; drawn and tabled in a folder if one is
    given."""
    if options is not None and not isinstance(options, FeaturesOptions):
        options = FeaturesOptions.read(options)
    work = Features(photo, options, folder=folder)
    for moment in work.steps():
        if on_step is not None:
            on_step(moment)
    return work.result()
