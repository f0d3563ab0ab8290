"""The options of painting by optimisation, declared once."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from impasto.options import File, MachineOptions, Options, Scale, Side, Weight, Weighted

# The names in the tables of painting/canvas, painting/optimizers, images/color_transfer and
# painting/starts: options are known without torch, which those tables need.
CanvasName = Literal["pixels", "pyramid", "fourier"]
OptimizerName = Literal["lbfgs", "adam", "sgd", "rmsprop"]
ColorName = Literal[
    "style", "content", "luminance", "histogram", "cholesky", "pca", "symmetric", "lab"
]
RecolorName = Literal["moments", "histogram", "none"]
START_NAMES = ("content", "details", "style", "noise", "faint-noise", "grey", "statistics")


def name_recolor(given: Any) -> Any:
    """Return the name of what older recipes, and those in older pictures, have as true or false."""
    return {True: "moments", False: "none"}[given] if isinstance(given, bool) else given


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
    canvas: CanvasName = Field(
        default="pixels",
        description="What is changed: the pixels, the levels of a Laplacian pyramid, or a "
        "decorrelated Fourier spectrum.",
    )
    optimizer: OptimizerName = Field(default="lbfgs", description="The optimiser.")
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        default=None, description="Its step length; the optimiser's own default if not given."
    )
    final_rate: Annotated[float, Field(ge=0, le=1)] = Field(
        default=1.0,
        description="Share of the step length that is left when a size's last steps are taken, "
        "evenly less and less until then; 1: the same length throughout.",
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
        "chained, moments, gaussian, sliced, neighbours, neighbour-columns, emd, palette, "
        "histogram, histogram-pixels.",
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
    columns: Literal["own", "vgg19"] = Field(
        default="own",
        description="Space in which columns of many layers are compared (emd, neighbour-columns, "
        "self-similarity): the network's own, or the true VGG-19's, of the layers for which the "
        "network has a map into it; the compact one for relu1_1 to relu5_1.",
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


class MaskOptions(Options):
    """Where a picture is painted, and which style where."""

    mask: Annotated[str | None, File()] = Field(
        default=None,
        description="Picture of what is painted: white is painted, black stays the photograph.",
    )
    style_mask: Annotated[tuple[str, ...], File()] = Field(
        default=(),
        description="Mask of the photograph for each style, in their order: where it is painted.",
    )
    feather: Annotated[float, Field(ge=0, le=1000)] = Field(
        default=0.0, description="Soften the masks' edges by this many pixels of the result."
    )


class ColorOptions(Options):
    """Whose colours a painting has."""

    color: ColorName = Field(
        default="style",
        description="Whose colours the painting has: the style's; or the photograph's, put back "
        "afterwards (content, luminance) or given to the style before (the others).",
    )


class ContentOptions(StyleOptions):
    """What of a photograph and of several styles counts."""

    # --- size
    size: Side | None = Field(
        default=None,
        description="Long side of the result in pixels; the photograph's own if not given.",
    )

    # --- what is minimised
    style_weight: Weight = Field(default=15.0, description="How strongly the style pulls.")
    content_weight: Weight = Field(default=1.0, description="How strongly the photograph pulls.")
    coarse_content: Annotated[float, Field(gt=0, le=100)] = Field(
        default=1.0,
        description="Times the weight of the photograph, at each halving of a size of 512 pixels "
        "(and divided by, at each doubling); STROTSS: 2.",
    )
    guide: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0,
        description="Share of the photograph's features, beside the painting's, by which the "
        "loss neighbour-columns finds the style's nearest.",
    )
    content_loss: Weighted = Field(
        default=("features",),
        description="What of the photograph counts, as NAME or NAME=WEIGHT; may be repeated: "
        "features, self-similarity, laplacian.",
    )
    content_layer: Weighted = Field(
        default=("relu4_1",),
        description="Layer that keeps the content, as NAME or NAME=WEIGHT; may be repeated.",
    )
    photoreal: Weight = Field(
        default=0.0,
        description="How strongly the painting is held to be the photograph with its colours "
        "changed, by one affine map in each small window: 10000 to stay a photograph (Luan et "
        "al.: as much, with --normalization paper).",
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
    turn_style: bool = Field(
        default=False,
        description="Show each style also turned by 90, 180 and 270 degrees: strokes go anywhere.",
    )
    teach_mask: Annotated[tuple[str, ...], File()] = Field(
        default=(),
        description="Mask of each style picture, in their order: the part of it that teaches.",
    )
    labels: Annotated[tuple[str, str] | None, File()] = Field(
        default=None,
        description="Two maps, of the photograph and of the style: what has one colour in both "
        "is painted from one another.",
    )


class PaintOptions(ColorOptions, MaskOptions, ContentOptions):
    """How a picture is painted by optimisation."""

    recolor: Annotated[RecolorName, BeforeValidator(name_recolor)] = Field(
        default="moments",
        description="First give the photograph the style's colours: their mean and covariance "
        "(moments), or the histogram of each channel, by which its largest areas take the style's "
        "commonest colours; or none.",
    )
    only_color: bool = Field(
        default=False, description="Carry the style's colours over and paint nothing."
    )

    # --- what it starts from
    init: Annotated[str, File(names=(*START_NAMES, "last"))] = Field(
        default="content",
        description="What to start from: content, details (the photograph's finest, on the style's "
        "mean colour; those of each size are added), style, noise, faint-noise, grey, statistics "
        "(noise with the style's colours and spectrum), last (what OUTPUT holds), or a picture's "
        "path.",
    )
