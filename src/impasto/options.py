"""The options of painting, and those that other operations share with it, declared once.

The command line, recipe files, and the recipe that a picture carries are all made from these
models. A value comes from the first of: what the user said, the recipe, the default.
"""

from __future__ import annotations

import copy
import json
import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from impasto.errors import MissingFileError, OptionError, suggest


def parse_weights(entries: Iterable[str]) -> dict[str, float]:
    """``["relu1_1", "relu4_1=0.5"]`` as {name: weight}."""
    weights: dict[str, float] = {}
    for entry in entries:
        name, _, number = entry.partition("=")
        weight = parse_weight(number or "1")
        if weight is None or not name.strip():
            raise ValueError("give NAME or NAME=WEIGHT with a weight of at least 0")
        weights[name.strip()] = weight
    if not any(weights.values()):
        raise ValueError("at least one needs a weight above 0")
    return weights


def parse_weight(text: str) -> float | None:
    """A finite number of at least 0; None of anything else."""
    with suppress(ValueError):
        weight = float(text)
        return weight if 0 <= weight < math.inf else None
    return None


def _check_weights(entries: tuple[str, ...]) -> tuple[str, ...]:
    parse_weights(entries)
    return entries


def parse_memory(text: str) -> int:
    """Bytes of ``4G``, ``4.5GiB``, ``800M`` or a plain number."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) *([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if found is None:
        raise ValueError("give a number of bytes, or of K, M, G or T as in 4G")
    return int(float(found[1]) * 1024 ** " KMGT".index(found[2].upper() or " "))


def format_memory(count: float) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def _check_memory(text: str) -> str:
    parse_memory(text)
    return text


PICTURES = ("mask", "style_mask", "teach_mask", "labels")  # options that name pictures

Memory = Annotated[str, AfterValidator(_check_memory)]
Weighted = Annotated[tuple[str, ...], AfterValidator(_check_weights)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Scale = Annotated[float, Field(gt=0, le=100)]
Side = Annotated[int, Field(ge=16, le=65536)]


class Options(BaseModel):
    """What every operation's options have in common."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """Checked options; what is wrong is said in one line that names the option."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise OptionError(describe_error(error, list(cls.model_fields))) from None

    @classmethod
    def again(cls, name: str, default: Any, description: str | None = None) -> Any:
        """A field of this model, for one made from it that has another default."""
        field = copy.copy(cls.model_fields[name])
        field.default = default
        field.description = description or field.description
        return field

    def changed(self) -> dict[str, Any]:
        """The options that differ from their defaults."""
        return self.model_dump(mode="json", exclude_defaults=True, by_alias=True)


class DeviceOptions(Options):
    """The machine that work is done on."""

    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1 or mps.")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto",
        description="The network's number format; auto takes bfloat16 where it is faster.",
    )
    memory: Memory | None = Field(
        default=None,
        description="Memory that all of the work may take, as 4G or 800M; four fifths of what is "
        "free if not given. A picture that needs more is seen in tiles, which changes nothing "
        "but the time.",
    )
    max_megapixels: Annotated[float, Field(gt=0)] = Field(
        default=100.0, description="The largest picture that is opened."
    )


class MachineOptions(DeviceOptions):
    """The network that looks at pictures, and the machine that it runs on."""

    backbone: Literal["compact", "vgg19", "vgg16"] = Field(
        default="compact", description="The network that looks at the pictures."
    )
    weights: str | None = Field(
        default=None, description="Its weight file, by name (see 'impasto weights list')."
    )
    pooling: Literal["max", "avg"] = Field(
        default="max", description="How the network shrinks its maps."
    )
    layout: Literal["auto", "channels_last", "planes"] = Field(
        default="auto",
        description="How features lie in memory; auto takes what is faster here.",
    )


class LoopOptions(MachineOptions):
    """How a picture is found, step by step."""

    steps: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=80,
        description="Optimisation steps, shared out over the sizes from coarse to fine.",
    )
    plateau: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.002,
        description="Leave a size early when the mean loss of 20 steps fell by less than this "
        "share; 0: never.",
    )
    canvas: Literal["pixels", "pyramid", "fourier"] = Field(
        default="pixels",
        description="What is changed: the pixels, the levels of a Laplacian pyramid, or a "
        "decorrelated Fourier spectrum.",
    )
    optimizer: Literal["lbfgs", "adam", "sgd", "rmsprop"] = Field(
        default="lbfgs", description="The optimiser."
    )
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        default=None, description="Its step length; the optimiser's own default if not given."
    )
    average: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0,
        description="The result is a running average of the pictures, each step keeping this "
        "share of it; 0: the picture with the lowest loss.",
    )
    blur: Annotated[float, Field(ge=0, le=10)] = Field(
        default=0.0,
        description="Blur the picture between steps, by this many pixels at first and less and "
        "less until half of a size's steps are done.",
    )
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(
        default=0, description="Seed of what is random."
    )


class StyleOptions(LoopOptions):
    """What of a style counts, and at which sizes it is laid on."""

    start_size: Annotated[int, Field(ge=16)] = Field(
        default=256,
        description="Long side of the coarsest size, or near it; each next one is twice as large. "
        "A value of at least the result's size paints at that size alone.",
    )
    style_loss: Weighted = Field(
        default=("gaussian",),
        description="What of the style counts, as NAME or NAME=WEIGHT; may be repeated: gram, "
        "chained, moments, gaussian, sliced, neighbours, emd, histogram, histogram-pixels.",
    )
    style_layer: Weighted = Field(
        default=("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"),
        description="Layer that carries the style, as NAME or NAME=WEIGHT, or all; may be "
        "repeated.",
    )
    layer_weights: Literal["given", "geometric"] = Field(
        default="geometric",
        description="Weights of the layers as given, or also halved from each style layer to the "
        "next deeper one and doubled for content (Novak and Nikulin).",
    )
    activation_shift: Annotated[float, Field(ge=-100, le=100)] = Field(
        default=0.0,
        description="Added to the features that style is measured in; Novak and Nikulin: -1.",
    )
    normalization: Literal["relative", "paper"] = Field(
        default="relative",
        description="Losses relative to their targets, the same at every size, or as in the "
        "paper: content 1/2 sum (F-P)^2, style 1/(4 N^2 M^2) sum (G-A)^2.",
    )
    tv_weight: Weight = Field(
        default=5.0, description="How strongly neighbouring pixels are evened out."
    )
    tileable: bool = Field(
        default=False,
        description="What leaves the picture on one side comes in on the other: copies of it fit "
        "side by side without a seam.",
    )
    tv_power: Annotated[float, Field(ge=1, le=4)] = Field(
        default=2.0, description="Power of their differences: 2, 1 (keeps edges), 2.5 (Keras)."
    )


class PaintOptions(StyleOptions):
    """How a picture is painted by optimisation."""

    # --- size
    size: Side | None = Field(
        default=None,
        description="Long side of the result in pixels; the photograph's own if not given.",
    )

    # --- what is minimised
    style_weight: Weight = Field(default=15.0, description="How strongly the style pulls.")
    content_weight: Weight = Field(default=1.0, description="How strongly the photograph pulls.")
    content_loss: Weighted = Field(
        default=("features",),
        description="What of the photograph counts, as NAME or NAME=WEIGHT; may be repeated: "
        "features, self-similarity, laplacian.",
    )
    content_layer: Weighted = Field(
        default=("relu4_1",),
        description="Layer that keeps the content, as NAME or NAME=WEIGHT; may be repeated.",
    )
    normalize_gradients: Literal["none", "l1", "pixel"] = Field(
        default="none",
        description="Each loss pulls with its weight alone: its gradient is divided by its L1 "
        "norm, or at each position by its length there.",
    )

    # --- the styles, and where they go
    style_blend: tuple[Weight, ...] = Field(
        default=(), description="Weight of each style, in their order; all the same if not given."
    )
    style_size: tuple[Side, ...] = Field(
        default=(),
        description="Long side at which a style is seen, in pixels of the result: one for all, "
        "or one for each; the result's own if not given.",
    )
    style_scale: tuple[Scale, ...] = Field(
        default=(), description="Times that size: 0.5 for strokes half as large."
    )
    mask: str | None = Field(
        default=None,
        description="Picture of what is painted: white is painted, black stays the photograph.",
    )
    style_mask: tuple[str, ...] = Field(
        default=(),
        description="Mask of the photograph for each style, in their order: where it is painted.",
    )
    teach_mask: tuple[str, ...] = Field(
        default=(),
        description="Mask of each style picture, in their order: the part of it that teaches.",
    )
    labels: tuple[str, str] | None = Field(
        default=None,
        description="Two maps, of the photograph and of the style: what has one colour in both "
        "is painted from one another.",
    )
    feather: Annotated[float, Field(ge=0, le=1000)] = Field(
        default=0.0, description="Soften the masks' edges by this many pixels of the result."
    )

    # --- colour
    color: Literal[
        "style", "content", "luminance", "histogram", "cholesky", "pca", "symmetric", "lab"
    ] = Field(
        default="style",
        description="Whose colours the painting has: the style's; or the photograph's, put back "
        "afterwards (content, luminance) or given to the style before (the others).",
    )
    recolor: bool = Field(
        default=True,
        description="First give the photograph the style's colours (their mean and covariance).",
    )
    only_color: bool = Field(
        default=False, description="Carry the style's colours over and paint nothing."
    )

    # --- what it starts from
    init: str = Field(
        default="content",
        description="What to start from: content, style, noise, grey, statistics (noise with the "
        "style's colours and spectrum), last (what OUTPUT holds), or a picture's path.",
    )


def describe_error(error: ValidationError, names: list[str]) -> str:
    """The first thing wrong: ``style_weight: -1 is wrong: input should be greater than ...``."""
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else "options"
    if first["type"] == "extra_forbidden":
        return f"unknown option {name!r}{suggest(name, names)}"
    what = first["msg"].removeprefix("Value error, ")
    return f"{name}: {first['input']!r} is wrong: {what[:1].lower()}{what[1:]}"


# --- recipes ------------------------------------------------------------------------------------


def list_recipes() -> dict[str, str]:
    """The recipes that travel with the package: name -> what it is for."""
    folder = resources.files("impasto") / "data" / "recipes"
    recipes = {}
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".toml"):
            content = tomllib.loads(file.read_text(encoding="utf-8"))
            recipes[file.name.removesuffix(".toml")] = str(content.get("about", ""))
    return recipes


def read_recipe_file(source: str | Path) -> dict[str, Any]:
    """Option values from a recipe: the name of a bundled one, or a .toml or .json file."""
    name = str(source)
    if name in list_recipes():
        text = (resources.files("impasto") / "data" / "recipes" / f"{name}.toml").read_text("utf-8")
        return parse_recipe(text, name)
    path = Path(source)
    if not path.is_file():
        if path.suffix:
            raise MissingFileError(f"there is no recipe file {name!r}")
        raise OptionError(f"unknown recipe {name!r}{suggest(name, list_recipes())}")
    return parse_recipe(path.read_text(encoding="utf-8", errors="replace"), name)


def parse_recipe(text: str, name: str) -> dict[str, Any]:
    """Option values from a recipe's text: TOML, or the JSON that a picture carries."""
    try:
        content = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except (json.JSONDecodeError, tomllib.TOMLDecodeError) as error:
        raise OptionError(f"recipe {name!r} cannot be read: {error}") from None
    content.pop("about", None)
    options = content.get("options", content)
    if not isinstance(options, dict):
        raise OptionError(f"recipe {name!r} has no options")
    return options
