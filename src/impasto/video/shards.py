"""Shards of a film, each worked on by itself: from plain data, in this process or any other."""

from __future__ import annotations

import itertools
import json
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from impasto.cluster.worker import Find, TaskShare, make_scratch
from impasto.errors import ImageError, ImpastoError, OptionError, describe_reason, suggest
from impasto.system.files import replace_file, replacing
from impasto.video.coherence import TravellingStrokes
from impasto.video.decoding import FilmFrame, FilmReader, choose_size, open_film
from impasto.video.encoding import CODECS, Encoding, PieceWriter, choose_encoding
from impasto.video.flow import Motion, MotionFinder, to_grey
from impasto.video.frame_painters import make_clip_painter
from impasto.video.looks import ClipPainter, Look, Moment, mix_looks
from impasto.video.measures import SteadinessMeter, StyleGauge, Sums
from impasto.video.options import AnimateOptions, mix_ends, split_range
from impasto.video.painted_before import DISTANCES, Passes
from impasto.video.pipeline import RunBehind, run_ahead
from impasto.video.scenes import FilmPlan, Shard, read_from
from impasto.video.temporal_loss import PriorFrame

PLAN, LOOKS = "plan.json", "looks.safetensors"  # the files of the plan
PARTIAL = "partial.nut"  # what Ctrl-C left of a shard
GAUGED = 12  # frames from one whose style is measured to the next
_LEADS = 2  # periods of strokes before a shard's first frame: none is older


@dataclass(frozen=True)
class FilmJob:
    """A film to be painted, as plain data."""

    film: str
    styles: tuple[str, ...]  # or the pictures to be like
    options: AnimateOptions
    output: str
    folder: str  # where plan and pieces lie
    lut: str | None = None  # a table of colours

    def list_files(self) -> list[str]:
        """Return the files that shards are painted from, those of the plan among them."""
        plan = [str(Path(self.folder) / name) for name in (PLAN, LOOKS)]
        named = [self.film, *self.styles, *filter(None, [self.lut])]
        return [*named, *self.options.list_files(), *plan]

    def find(self, find: Find, folder: Path) -> FilmJob:
        """Return the job with its files as ``find`` names them, and its plan in that folder."""
        for name in (PLAN, LOOKS):
            replace_file(folder / name, Path(find(str(Path(self.folder) / name))).read_bytes())
        return replace(
            self,
            film=find(self.film),
            styles=tuple(map(find, self.styles)),
            options=self.options.with_files(find),
            folder=str(folder),
            lut=None if self.lut is None else find(self.lut),
        )


@dataclass(frozen=True)
class PaintedShard:
    """A shard that is done: the files of its frames, and of what was measured."""

    shard: Shard
    piece: bytes = field(repr=False)
    sums: bytes | None = None


class FilmStudio:
    """All that shards have in common: the film, its painter, its plan and how it is encoded."""

    def __init__(self, job: FilmJob) -> None:
        self.job, self.options = job, job.options
        options = job.options
        rate = None if options.rate is None else Fraction(options.rate).limit_denominator(1001)
        deep = options.depth > 8
        self.reader: FilmReader = open_film(job.film, rate=rate, seconds=options.seconds, deep=deep)
        facts, self.output = self.reader.facts, Path(job.output)
        self.deep = deep and facts.depth > 8
        width, height = choose_size(facts, options.size, even=False)
        asked = self._choose_encoding((width, height))[0]
        self.size = choose_size(facts, options.size, even=CODECS[asked.codec].halves)
        self.notes = list(facts.notes)
        if self.size != (width, height):
            self.notes.append(
                f"{asked.codec} has no odd sides: {width} x {height} becomes "
                f"{self.size[0]} x {self.size[1]}"
            )
        shown = self.size[0] * (1 + options.side_by_side), self.size[1]
        self.encoding, notes = self._choose_encoding(shown)
        self.notes += notes

    def _choose_encoding(self, size: tuple[int, int]) -> tuple[Encoding, list[str]]:
        options, facts = self.options, self.reader.facts
        return choose_encoding(
            self.output,
            size,
            facts.rate,
            codec=options.codec,
            crf=options.crf,
            preset=options.preset,
            deep=self.deep,
            alpha=facts.has_alpha,
            aspect=facts.aspect,
        )

    @cached_property
    def painter(self) -> ClipPainter:
        """What paints, with its styles read."""
        options, styles = self.options, self.job.styles
        times = options.style_times
        if times and len(times) != len(styles):
            raise OptionError(f"style_times: {len(times)} given for {len(styles)} styles")
        if list(times) != sorted(set(times)):
            raise OptionError("style_times: each style begins after the one before it")
        groups: list[list[Any]] = [[style] for style in styles] if times else [list(styles)]
        painter = make_clip_painter(groups, options, self.job.lut)
        values: list[float | None] = [options.style_weight]
        for name, low, high in map(split_range, options.vary):
            if name not in painter.varied:
                hint = suggest(name, painter.varied)
                raise OptionError(f"vary: {name!r} does not change over a film{hint}")
            if min(low, high) < 0 or (name == "strength" and max(low, high) > 1):
                raise OptionError(f"vary: {name} from {low:g} to {high:g} is out of its range")
            if name == "style_weight":
                values = [low, high]
        painter.notes += painter.check(values)
        return painter

    def find_moment(self, second: float, share: float) -> Moment:
        """Return what holds at a second, and at a share of the film's frames."""
        times = self.options.style_times
        style = max((n for n, begin in enumerate(times) if begin <= second + 1e-6), default=0)
        values = tuple(
            (name, mix_ends(low, high, share))
            for name, low, high in map(split_range, self.options.vary)
        )
        return Moment(style, values)

    # --- the plan

    @cached_property
    def plan(self) -> FilmPlan:
        """The plan, as it lies in the folder."""
        content = json.loads((Path(self.job.folder) / PLAN).read_text())
        return FilmPlan.unpack(content["plan"])

    @cached_property
    def looks(self) -> list[Look]:
        """How each window looks, as it lies in the folder."""
        looks: dict[int, dict[str, Tensor]] = {}
        with safe_open(Path(self.job.folder) / LOOKS, "pt") as file:
            for key in file.keys():  # noqa: SIM118
                number, _, name = key.partition(".")
                looks.setdefault(int(number), {})[name] = file.get_tensor(key)
        return [looks.get(number, {}) for number in range(len(self.plan.window_cuts))]

    def keep_plan(self, plan: FilmPlan, looks: Sequence[Look], run: str) -> None:
        """Write the plan into the folder."""
        folder = Path(self.job.folder)
        tensors = {
            f"{number}.{name}": tensor.contiguous()
            for number, look in enumerate(looks)
            for name, tensor in look.items()
        }
        with replacing(folder / LOOKS) as beside:
            save_file(tensors, beside)
        content = json.dumps({"run": run, "plan": plan.pack()})
        replace_file(folder / PLAN, content.encode())
        self.plan, self.looks = plan, list(looks)

    def list_shards(self) -> list[Shard]:
        """Return the shards of the plan."""
        options = self.options
        leads = {
            "strokes": _LEADS * max(options.renew, options.every),
            "frames before": DISTANCES[-1],
            "what is held": 0,
        }
        lead = leads[self.painter.steadied] if options.steady else 0
        return self.plan.list_shards(options.shard, lead)

    def name_piece(self, shard: Shard) -> Path:
        """Return the file of a shard's frames."""
        return Path(self.job.folder) / f"piece-{shard.number:05}.nut"

    def name_sums(self, shard: Shard) -> Path:
        """Return the file of what was measured of a shard."""
        return Path(self.job.folder) / f"sums-{shard.number:05}.json"

    # --- frames

    def paint_frames(
        self, first: int, end: int
    ) -> Generator[tuple[FilmFrame, np.ndarray, Sums], None, None]:
        """Yield frames, painted, from a frame on at which nothing is known of those before."""
        options, plan = self.options, self.plan
        height, width = self.size[1], self.size[0]
        strokes = TravellingStrokes(height, width, renew=options.renew, every=options.every)
        meter = SteadinessMeter(height, width) if options.measure else None
        frames = run_ahead(read_from(self.reader, plan, self.size, first))
        steady = options.steady and self.painter.steadied == "strokes"
        with closing(run_ahead(self._find_motions(frames, find=steady))) as moving:
            needed = itertools.islice(moving, end - first)
            for frame, motion, is_due, colored, painted in self._paint_all(needed, steady=steady):
                shown = colored if painted is None else painted
                begins = plan.scene(frame.number)[0]
                if steady:
                    since = frame.number - max(begins, 0)
                    shown = strokes(since, motion, colored, painted if is_due else None)
                sums = Sums()
                if meter is not None and painted is not None:
                    is_cut = frame.number == begins
                    sums = meter(frame.pixels, shown, painted, is_cut=is_cut)
                    if frame.number % GAUGED == 0 and options.with_ != "relight":
                        self._gauge(sums, colored, painted, shown)
                yield frame, shown, sums

    def _paint_all(
        self, moving: Iterator[tuple[FilmFrame, Motion | None]], *, steady: bool
    ) -> Iterator[tuple[FilmFrame, Motion | None, bool, np.ndarray, np.ndarray | None]]:
        """Yield frames with whether they are due to be painted, in the style's colours, painted."""
        options = self.options
        if options.steady and self.painter.steadied == "frames before":
            yield from self._paint_in_passes(frame for frame, _ in moving)
            return
        for frame, motion in moving:
            since = frame.number - max(self.plan.scene(frame.number)[0], 0)
            is_due = motion is None or since % options.every == 0
            pixels = to_tensor(frame.pixels)
            if is_due or options.measure or not steady:
                colored, painted = self._paint(frame.number, pixels)
                yield frame, motion, is_due, to_array(colored), to_array(painted)
            else:
                colored = self.painter.color(pixels, *self._find_look(frame.number))
                yield frame, motion, is_due, to_array(colored), None

    def _paint_in_passes(
        self, frames: Iterator[FilmFrame]
    ) -> Iterator[tuple[FilmFrame, None, bool, np.ndarray, np.ndarray]]:
        """Yield frames that are painted from those around them."""
        waiting: deque[FilmFrame] = deque()

        def list_tensors() -> Iterator[tuple[int, Tensor, bool]]:
            for frame in frames:
                waiting.append(frame)
                is_cut = frame.number == self.plan.scene(frame.number)[0]
                yield frame.number, to_tensor(frame.pixels), is_cut

        passes = Passes(self.size[1], self.size[0], self._paint, self.options.passes)
        for done in passes(list_tensors()):
            frame = waiting.popleft()
            yield frame, None, True, to_array(done.colored), to_array(done.painted)

    def _paint(
        self, number: int, pixels: Tensor, prior: PriorFrame | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return a frame in the style's colours, and painted."""
        return self.painter.paint(pixels, *self._find_look(number), prior)

    def _find_look(self, number: int) -> tuple[Look, Moment]:
        """Return what holds for a frame."""
        plan, facts = self.plan, self.reader.facts
        look = mix_looks([(self.looks[n], share) for n, share in plan.share_windows(number)])
        second = float((plan.times[number] - facts.origin) * facts.time_base)
        return look, self.find_moment(second, number / max(1, len(plan) - 1))

    @cached_property
    def gauge(self) -> StyleGauge:
        """What measures how far frames are from the styles."""
        return StyleGauge(self.painter.pictures)

    def _gauge(self, sums: Sums, *frames: np.ndarray) -> None:
        """Add how far a frame is from the styles: in their colours, by itself, and steadied."""
        for kind, frame in zip(("colored", "alone", "steady"), frames, strict=True):
            pixels = torch.from_numpy(frame).permute(2, 0, 1)[None].clamp(0, 1)
            sums.add(f"style {kind}", self.gauge(pixels), 1)

    def _find_motions(
        self, frames: Iterator[FilmFrame], *, find: bool
    ) -> Iterator[tuple[FilmFrame, Motion | None]]:
        """Yield frames with how each came out of the one before it; None where a scene begins."""
        if not find:
            for frame in frames:
                yield frame, None
            return
        finder = MotionFinder(self.size[1], self.size[0])
        before: np.ndarray | None = None
        for frame in frames:
            grey = to_grey(to_bytes(frame.pixels))
            begins = before is None or frame.number == self.plan.scene(frame.number)[0]
            yield frame, None if begins or before is None else finder(before, grey)
            before = grey

    # --- a shard

    def paint_shard(self, shard: Shard) -> Iterator[int]:
        """Paint a shard into its file, whole or not at all; yield how many frames are done.

        Closed early, it leaves what is done as a file of its own.
        """
        path, folder = self.name_piece(shard), Path(self.job.folder)
        part = folder / f"{path.stem}.part.nut"
        writer = PieceWriter(part, self.encoding)
        behind: RunBehind[tuple[np.ndarray, np.ndarray | None]] = RunBehind(
            lambda item: writer.add(*item)
        )
        total = Sums()
        try:
            with closing(self.paint_frames(shard.lead, shard.end)) as frames:
                for frame, shown, sums in frames:
                    if frame.number < shard.begin:
                        continue
                    total += sums
                    behind.put((self._lay_out(frame, shown), self._lay_alpha(frame)))
                    yield frame.number - shard.begin + 1
            behind.end()
            writer.close()
            self._keep(shard, part, writer.count, total)
        except GeneratorExit:
            behind.end()
            writer.close()
            part.replace(folder / PARTIAL)
            raise
        except BaseException as error:
            behind.stop()
            writer.drop()
            part.unlink(missing_ok=True)
            if isinstance(error, OSError) and not isinstance(error, ImpastoError):
                raise self.explain_failure(error) from error
            raise

    def _keep(self, shard: Shard, part: Path, count: int, total: Sums) -> None:
        """Take what was written as the shard's piece; what was measured before it."""
        if count != len(shard):
            raise ImageError(
                f"{self.reader.facts.name!r}: {count} frames where {len(shard)} were seen "
                "before; was the film changed meanwhile?"
            )
        if self.options.measure:
            replace_file(self.name_sums(shard), json.dumps(total.pack()).encode())
        with part.open("rb+") as written:
            os.fsync(written.fileno())
        part.replace(self.name_piece(shard))

    def explain_failure(self, error: OSError) -> ImageError:
        """Return what is said where nothing more can be written: a full disk, mostly."""
        return ImageError(
            f"cannot write {self.output.name!r}: {describe_reason(error)}; what is done is kept, "
            "and the same command goes on"
        )

    def _lay_out(self, frame: FilmFrame, shown: np.ndarray) -> np.ndarray:
        """Return a painted frame as it is encoded, beside the film's own if that is asked for."""
        scale, kind = (65535, np.uint16) if self.deep else (255, np.uint8)
        painted = (shown * scale + 0.5).astype(kind)
        if not self.options.side_by_side:
            return painted
        own = frame.pixels if self.deep else to_bytes(frame.pixels)
        return np.concatenate([own, painted], 1)

    def _lay_alpha(self, frame: FilmFrame) -> np.ndarray | None:
        if frame.alpha is None or not self.options.side_by_side:
            return frame.alpha
        return np.concatenate([frame.alpha, frame.alpha], 1)


def to_bytes(pixels: np.ndarray) -> np.ndarray:
    """Return a frame with 8 bits of each colour."""
    if pixels.dtype == np.uint8:
        return pixels
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def to_tensor(pixels: np.ndarray) -> Tensor:
    """Return a frame as (1, 3, H, W) float32 in [0, 1]."""
    if pixels.dtype == np.uint8:
        own = pixels if pixels.flags.writeable else pixels.copy()  # torch takes no others
        return torch.from_numpy(own).permute(2, 0, 1)[None].float().div_(255).contiguous()
    values = torch.from_numpy(pixels.astype(np.float32))
    return values.permute(2, 0, 1)[None].div(65535).contiguous()


def to_array(pixels: Tensor) -> np.ndarray:
    """Return (1, 3, H, W) as (H, W, 3) float32."""
    return pixels[0].permute(1, 2, 0).contiguous().numpy()


def make_shard_worker(
    given: tuple[FilmJob, TaskShare], find: Find
) -> Callable[[Shard, Find], PaintedShard]:
    """Return what paints one shard after the other, with a share of the machine."""
    job, share = given
    share.set_threads()
    with make_scratch() as folder:
        studio = FilmStudio(job.find(find, folder))
        _ = studio.plan, studio.looks, studio.painter  # all that is read of the folder

    def work(shard: Shard, _: Find) -> PaintedShard:
        with make_scratch() as folder:
            studio.job = replace(studio.job, folder=str(folder))
            for _count in studio.paint_shard(shard):
                pass
            sums = studio.name_sums(shard)
            measured = sums.read_bytes() if sums.exists() else None
            return PaintedShard(shard, studio.name_piece(shard).read_bytes(), measured)

    return work
