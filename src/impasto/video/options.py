"""The options of painting films, declared once."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from impasto.instant.options import OnePassOptions

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
# The names in the table of video/encoding: options are known without PyAV.
CodecName = Literal["h264", "hevc", "vp9", "av1", "prores", "ffv1", "mpeg4"]


def split_range(text: str) -> tuple[str, float, float]:
    """Read ``style_weight=1:100`` as a name and the values at the film's ends."""
    name, _, ends = text.partition("=")
    first, colon, last = ends.partition(":")
    try:
        low, high = float(first), float(last)
    except ValueError:
        colon = ""
    if not (name.strip() and colon):
        raise ValueError("give OPTION=FIRST:LAST, as in style_weight=2:100")
    return name.strip().replace("-", "_"), low, high


def mix_ends(low: float, high: float, share: float) -> float:
    """Return a value between two: by ratio if both are above 0, else evenly."""
    if min(low, high) > 0:
        return float(low * (high / low) ** share)
    return low + (high - low) * share


def split_setting_of(text: str) -> tuple[str, str]:
    """Read ``steps=30`` as a name and a value."""
    name, equals, value = text.partition("=")
    if not (name.strip() and equals and value.strip()):
        raise ValueError("give OPTION=VALUE, as in steps=30")
    return name.strip().replace("-", "_"), value.strip()


def _check_ranges(entries: tuple[str, ...]) -> tuple[str, ...]:
    names = [split_range(entry)[0] for entry in entries]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise ValueError(f"{name} is varied twice")
    return entries


def _check_settings(entries: tuple[str, ...]) -> tuple[str, ...]:
    for entry in entries:
        split_setting_of(entry)
    return entries


class FramesOptions(OnePassOptions):
    """How the frames of a film are painted, and kept steady."""

    with_: Literal["instant", "paint", "relight"] = Field(
        default="instant",
        description="What paints frames: a network in one pass, or the optimisation of 'impasto "
        "paint', which takes a hundred times as long; relight gives them the light of LIKE.",
    )
    steady: bool = Field(
        default=True,
        description="Let strokes travel with what moves; or else paint each frame by itself.",
    )
    renew: Annotated[int, Field(ge=2, le=240)] = Field(
        default=24,
        description="Frames over which new strokes take the place of all that are there.",
    )
    every: Annotated[int, Field(ge=1, le=24)] = Field(
        default=1,
        description="Paint every so many frames only; between them, strokes just travel.",
    )
    passes: Annotated[int, Field(ge=1, le=8)] = Field(
        default=1,
        description="With --with paint: how often frames are gone through, forward and back in "
        "turn.",
    )
    setting: Annotated[tuple[str, ...], AfterValidator(_check_settings)] = Field(
        default=(),
        description="An option of 'impasto paint' as NAME=VALUE, with --with paint: steps=30. Of "
        "'impasto relight', with --with relight: regions=6, like_blend=2+1. May be repeated.",
    )


class AnimateOptions(FramesOptions):
    """How a film is painted, and written."""

    style_times: tuple[Seconds, ...] = Field(
        default=(),
        description="The second at which each style begins, in their order; all are blended if "
        "not given.",
    )
    vary: Annotated[tuple[str, ...], AfterValidator(_check_ranges)] = Field(
        default=(),
        description="Change an option over the film, as OPTION=FIRST:LAST: style_weight=2:100, "
        "strength=0:1.",
    )

    # --- what of the film
    from_: Seconds = Field(default=0.0, description="Begin at this second.")
    to: Seconds | None = Field(default=None, description="End at this second.")
    preview: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="Paint only so many seconds."
    )
    seconds: Annotated[float, Field(gt=0, le=86400)] | None = Field(
        default=None, description="How long a picture is shown that stands in the film's place."
    )
    rate: Annotated[float, Field(gt=0, le=1000)] | None = Field(
        default=None, description="Frames a second of a folder or a picture; 25 if not given."
    )

    # --- what is written
    codec: CodecName | None = Field(
        default=None, description="The video's codec; what suits OUTPUT's suffix if not given."
    )
    crf: Annotated[int, Field(ge=0, le=63)] | None = Field(
        default=None, description="Its quality: less is better, and larger; h264: 18."
    )
    preset: str | None = Field(
        default=None, description="How much time it takes to make files small; h264: veryfast."
    )
    depth: Literal[8, 10] = Field(
        default=8, description="Bits of each colour, in and out, where the film has them."
    )
    sound: bool = Field(default=True, description="Keep sound and subtitles.")
    shard: Annotated[int, Field(ge=8, le=100_000)] = Field(
        default=256,
        description="Frames, about, that are painted in one go: what a kill can cost.",
    )
    side_by_side: bool = Field(default=False, description="Show the film itself on the left.")
    measure: bool = Field(
        default=False,
        description="Measure how steady it is, beside the film itself; takes about a second for "
        "ten frames more.",
    )


class LiveOptions(FramesOptions):
    """How a camera is painted."""

    camera_size: Annotated[int, Field(ge=16, le=8192)] = Field(
        default=640, description="Long side that the camera is asked for, in pixels."
    )
