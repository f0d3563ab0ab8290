"""The options of painting in one pass and of teaching networks to, declared once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from impasto.errors import OptionError, suggest
from impasto.options import DeviceOptions, File, Options, Scale, Side, Weight, parse_weight
from impasto.painting.options import ColorOptions, MaskOptions

MODELS = ("any", "painters")  # the networks that travel with the package


def parse_blend(entries: Sequence[str], names: Sequence[str]) -> list[float]:
    """Return the share of each style, 1 in all, of ``["a=0.3,b=0.7"]``.

    The entries may also be weights in the styles' order; all shares are the same if there are none.
    """
    found = split_blend(entries)
    if not found:
        return [1 / len(names)] * len(names)
    if found[0][0] is None:
        if len(found) != len(names):
            raise OptionError(f"--blend: {len(found)} weights for {len(names)} styles")
        weights = [weight for _, weight in found]
    else:
        weights = [0.0] * len(names)
        for name, weight in found:
            if name not in names:
                raise OptionError(f"--blend: unknown style {name!r}{suggest(str(name), names)}")
            weights[names.index(name)] = weight
    return [weight / sum(weights) for weight in weights]


def split_blend(entries: Sequence[str]) -> list[tuple[str | None, float]]:
    """Return names, or None where the order says which, and weights."""
    found: list[tuple[str | None, float]] = []
    seen: set[str] = set()
    for entry in ",".join(entries).split(",") if entries else ():
        name, is_named, number = entry.rpartition("=")
        weight = parse_weight(number)
        if weight is None or (is_named and not name.strip()):
            raise ValueError("give NAME=WEIGHT, as in a=0.3,b=0.7, or a weight for each style")
        name = name.strip()
        if is_named and name in seen:
            raise ValueError(f"{name!r} stands there twice")
        seen.add(name)
        found.append((name if is_named else None, weight))
    if len({name is None for name, _ in found}) > 1:
        raise ValueError("name all of the styles or none")
    if found and not sum(weight for _, weight in found):
        raise ValueError("at least one needs a weight above 0")
    return found


def _check_blend(entries: tuple[str, ...]) -> tuple[str, ...]:
    split_blend(entries)
    return entries


def _take_one(value: Any) -> Any:
    """Take ``"a=0.3,b=0.7"`` as well as a list of such."""
    return (value,) if isinstance(value, str) else value


class OnePassOptions(DeviceOptions):
    """How a network paints, and after what."""

    size: Side | None = Field(
        default=None,
        description="Long side of the result in pixels; the photograph's own if not given.",
    )
    style_weight: Weight | None = Field(
        default=None,
        description="How strongly the style pulls, from 1.5 to 150, as with 'impasto paint': 15 if "
        "not given. For a network for any style.",
    )
    strength: Annotated[float, Field(ge=0, le=1)] = Field(
        default=1.0, description="How much of the painting is laid on; 0: the photograph."
    )
    model: Annotated[str | None, File("model", names=MODELS)] = Field(
        default=None,
        description="Paint with this network, which 'impasto train' made, or painters, the one "
        "that travels with the package; without it, with the one for any style.",
    )
    blend: Annotated[tuple[str, ...], BeforeValidator(_take_one), AfterValidator(_check_blend)] = (
        Field(
            default=(),
            description="Weight of each style, as NAME=WEIGHT or in their order: a=0.3,b=0.7; all "
            "the same if not given. A style's name is its file's, without the suffix.",
        )
    )
    style_size: Side | None = Field(
        default=None,
        description="Long side at which styles are seen, in pixels of the result; the result's "
        "own if not given, but at most 1024.",
    )
    style_scale: Scale = Field(
        default=1.0, description="Times that size: 0.5 for strokes half as large."
    )


class InstantOptions(ColorOptions, MaskOptions, OnePassOptions):
    """How a picture is painted in one pass."""

    engine: Literal["torch", "openvino", "onnx", "auto"] = Field(
        default="torch",
        description="What runs the network; auto takes the fastest of those that are installed, "
        "by a short measurement, which pays for many pictures.",
    )


class TrainOptions(DeviceOptions):
    """How a network for one style or many is taught."""

    net: Literal["any", "slim", "johnson"] | None = Field(
        default=None,
        description="any, if not given: the network for any style, of which only the parameters of "
        "these styles are learnt, in minutes. slim, johnson (Johnson et al. 2016): one of their "
        "own, learnt from the beginning.",
    )
    steps: Annotated[int, Field(ge=1, le=10_000_000)] | None = Field(
        default=None,
        description="Batches to learn from; if not given 4000 for a network from the beginning, "
        "else 400.",
    )
    batch: Annotated[int, Field(ge=1, le=4096)] = Field(
        default=4, description="Photographs in a batch, in all processes together."
    )
    crop: Annotated[int, Field(ge=64, le=2048)] = Field(
        default=160, description="Side of the squares that are cut from photographs."
    )
    style_size: Annotated[int, Field(ge=64, le=4096)] = Field(
        default=512, description="Long side at which styles are seen."
    )
    style_weight: Weight = Field(
        default=15.0, description="How strongly the style pulls, as with 'impasto paint'."
    )
    content_weight: Weight = Field(default=1.0, description="How strongly the photograph pulls.")
    tv_weight: Weight = Field(
        default=5.0, description="How strongly neighbouring pixels are evened out."
    )
    steady_weight: Weight = Field(
        default=0.05, description="How strongly paintings are kept from moving with noise."
    )
    lattice_weight: Weight = Field(
        default=3.0,
        description="How strongly patterns are kept out that repeat every few pixels.",
    )
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        default=1e-3, description="Adam's step length."
    )
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(
        default=0, description="Seed of what is random."
    )
    preview_every: Annotated[int, Field(ge=0)] = Field(
        default=500, description="Paint a preview every so many steps; 0: never."
    )


class ExportOptions(Options):
    """Which network is written for other programs."""

    for_: Literal["programs", "web"] = Field(
        default="programs",
        description="programs: one file that paints after the styles given; web: a folder for a "
        "page that reads any style itself.",
    )
    model: Annotated[str | None, File("model", names=MODELS)] = Field(
        default=None,
        description="A network that 'impasto train' made, or painters, the one that travels with "
        "the package.",
    )
    style_size: Annotated[int, Field(ge=16)] | None = Field(
        default=None,
        description="Long side at which pictures of styles are seen; 512 if not given.",
    )
    style_weight: Weight | None = Field(
        default=None,
        description="How strongly the style pulls, from 1.5 to 150; 15 if not given. For a network "
        "for any style.",
    )

    @property
    def suffix(self) -> str | None:
        """What the name of the file ends in; nothing for a folder."""
        return ".onnx" if self.for_ == "programs" else ""
