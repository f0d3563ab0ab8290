"""Frames in another light: maps of colour and regions are held for a scene, masks follow the film.

All frames of a scene have one relighting. Regions of different scenes have nothing in common, so
that nothing goes over from one scene to the next. Nothing is carried from frame to frame either.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from impasto.errors import OptionError, suggest
from impasto.images.picture import ImageSource, Picture, describe_pictures, hash_picture_file
from impasto.images.reading import read_image
from impasto.networks.vgg import Backbone
from impasto.networks.weights import load_backbone
from impasto.photoreal.color_maps import RegionMaps
from impasto.photoreal.lut import read_lut
from impasto.photoreal.options import RelightOptions
from impasto.photoreal.relight import Relighting, fit_scene, share_likes
from impasto.photoreal.segments import FeatureScale, RegionModel
from impasto.system.devices import choose_machine, working_on
from impasto.video.looks import Look, Moment, Steadied
from impasto.video.options import FramesOptions, split_setting_of
from impasto.video.temporal_loss import PriorFrame

_SETTINGS = ("regions", "like_blend")  # of 'impasto relight', those that go with films
_TAKEN: dict[str, tuple[Any, ...]] = {"device": ("auto", "cpu"), "precision": ("auto", "float32")}
_ANY = ("with_", "size", "strength", "setting", "max_megapixels")


class RelitClip:
    """Relights frames, region by region, or by a table of colours."""

    varied: tuple[str, ...] = ("strength",)
    steadied: Steadied = "what is held"
    by_scenes = True

    def __init__(
        self,
        likes: Sequence[Sequence[ImageSource]],
        options: FramesOptions,
        lut: str | None = None,
    ) -> None:
        """Relight after pictures that are blended, or by the table of colours in a file."""
        _refuse_others(options)
        if len(likes) != 1:
            raise OptionError("style_times goes with painting, not with --with relight")
        self.relight_options = read_relight_options(options)
        (given,) = likes
        if bool(given) == bool(lut):
            raise OptionError(
                "relight needs a picture to be like, or a table of colours: one of both"
            )
        if lut and options.setting:
            raise OptionError("--setting goes with pictures to be like: a table has no regions")
        self.table_file = Path(lut) if lut else None
        self.table = read_lut(lut) if lut else None
        most = options.max_megapixels
        self.pictures: list[Picture] = [read_image(each, max_megapixels=most) for each in given]
        self.notes = [f"{p.name}: {note}" for p in self.pictures for note in p.notes]
        self.machine = choose_machine("cpu")
        if self.table is None:
            share_likes(self.relight_options.like_blend, len(self.pictures))

    def look(self, frames: Sequence[Tensor], moment: Moment) -> Look:  # noqa: ARG002
        """Fit regions and maps to some frames of a scene."""
        if self.table is not None:
            return {}
        with working_on(self.machine.device):
            return pack_relighting(fit_scene(frames, self.pictures, self.relight_options))

    def paint(
        self,
        frame: Tensor,
        look: Look,
        moment: Moment,
        prior: PriorFrame | None,  # noqa: ARG002
    ) -> tuple[Tensor, Tensor]:
        """Relight a frame by what is held."""
        relit = self.color(frame, look, moment)
        return relit, relit

    def color(self, frame: Tensor, look: Look, moment: Moment) -> Tensor:
        """Return a frame in the new light."""
        strength = moment.find("strength", self.relight_options.strength)
        assert strength is not None
        with working_on(self.machine.device), torch.no_grad():
            if self.table is not None:
                return torch.lerp(frame, self.table(frame), strength)
            return unpack_relighting(look, strength, self.network).apply(frame)

    @cached_property
    def network(self) -> Backbone:
        """What sees regions."""
        return load_backbone("compact")

    def check(self, values: Sequence[float | None]) -> list[str]:  # noqa: ARG002
        """Return no notes: there is no style weight."""
        return []

    def describe(self) -> str:
        """Return by what frames are relit."""
        if self.table_file is not None:
            return f"the table {self.table_file.name}"
        count = self.relight_options.regions
        return "one map of colours" if count == 1 else f"maps of colours for {count} regions"

    def describe_inputs(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the names of what it was made from, and their digests, as recipes have them."""
        if self.table_file is None:
            return describe_pictures({"like": self.pictures})
        with self.table_file.open("rb") as file:
            return {"lut": [self.table_file.name]}, {"lut": [hash_picture_file(file)]}


def read_relight_options(options: FramesOptions) -> RelightOptions:
    """Return the options of 'impasto relight' that a film's ask for."""
    values: dict[str, Any] = {"strength": options.strength}
    for entry in options.setting:
        name, value = split_setting_of(entry)
        if name in RelightOptions.model_fields and name not in _SETTINGS:
            raise OptionError(f"--setting: {name} does not go with films")
        if name not in _SETTINGS:
            raise OptionError(f"--setting: unknown option {name!r}{suggest(name, _SETTINGS)}")
        values[name] = value.split("+") if name == "like_blend" else value
    return RelightOptions.read(values)


def _refuse_others(options: FramesOptions) -> None:
    """Raise an error where an option is given that changes nothing here."""
    for name, declared in FramesOptions.model_fields.items():
        value = getattr(options, name)
        if name in _ANY or value == declared.default or value in _TAKEN.get(name, ()):
            continue
        raise OptionError(f"--{name.replace('_', '-')} does not go with --with relight")


# --- as tensors, by name ------------------------------------------------------------------------


def pack_relighting(relighting: Relighting) -> Look:
    """Return maps and regions as tensors by name."""
    look = {"linear": relighting.maps.linear, "offset": relighting.maps.offset}
    regions = relighting.regions
    if isinstance(regions, RegionModel):
        look |= {
            "mean": regions.scale.mean,
            "deviation": regions.scale.deviation,
            "middle": regions.middle,
            "basis": regions.basis,
            "color_middle": regions.color_middle,
            "centers": regions.centers,
            "sizes": torch.tensor([regions.color_spread, regions.softness], dtype=torch.float64),
        }
    return look


def unpack_relighting(look: Look, strength: float, network: Backbone) -> Relighting:
    """Return the relighting that was packed."""
    maps = RegionMaps(look["linear"], look["offset"])
    regions: RegionModel | None = None
    if "centers" in look:
        color_spread, softness = look["sizes"].tolist()
        regions = RegionModel(
            network,
            FeatureScale(look["mean"], look["deviation"]),
            look["middle"],
            look["basis"],
            look["color_middle"],
            color_spread,
            look["centers"],
            softness,
        )
    return Relighting(maps, maps, regions, strength)
