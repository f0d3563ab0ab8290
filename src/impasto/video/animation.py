"""Films painted: planned, shard by shard, put together with their sound.

Work lies in a hidden folder beside the film that is made, until it is whole: after a kill the same
command goes on from the last shard that was done.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch

from impasto.cluster.crew import hire_crew
from impasto.cluster.places import HERE, WorkPlace, choose_place
from impasto.cluster.worker import WorkerSpec
from impasto.errors import ImageError, ImpastoError, OptionError, plural
from impasto.recipes import write_recipe
from impasto.system.checkpoints import fingerprint
from impasto.system.files import make_folder, replace_file, resolve_path, working_in
from impasto.video.encoding import check_film_output
from impasto.video.joining import Joining
from impasto.video.looks import Look
from impasto.video.measures import Steadiness, Sums
from impasto.video.options import AnimateOptions
from impasto.video.scenes import FilmPlan, FilmScan, Shard
from impasto.video.shards import (
    LOOKS,
    PARTIAL,
    PLAN,
    FilmJob,
    FilmStudio,
    PaintedShard,
    to_tensor,
)
from impasto.work import Request, Step, finish

_RECENT = 5.0  # seconds over which frames a second are told


@dataclass(frozen=True)
class AnimatedFilm:
    """A film that was painted, or as much of it as was."""

    path: Path
    frames: int
    size: tuple[int, int]
    finished: bool
    recipe: dict[str, Any]
    notes: list[str]
    steadiness: Steadiness | None = None


class Animation:
    """A film that is painted."""

    def __init__(
        self,
        film: str | os.PathLike[str],
        style: Sequence[str | os.PathLike[str]],
        options: AnimateOptions,
        output: str | os.PathLike[str],
        *,
        lut: str | os.PathLike[str] | None = None,
        place: WorkPlace = HERE,
        metadata: bool = True,
    ) -> None:
        self.options, self.output = options, Path(output)
        self.place, self.metadata = place, metadata
        check_film_output(self.output)
        if options.preview is not None and options.to is not None:
            raise OptionError("preview and to both say where to end; give one of them")
        if options.to is not None and options.to <= options.from_:
            raise OptionError(f"to: {options.to:g} is not after from, {options.from_:g}")
        target = resolve_path(self.output)
        self.folder = target.with_name(f".{target.name}.impasto")
        job = FilmJob(
            str(film),
            tuple(map(str, style)),
            options,
            str(self.output),
            str(self.folder),
            None if lut is None else str(lut),
        )
        self.studio = FilmStudio(job)
        self.job = job
        self.painter = self.studio.painter
        self.notes = [*self.studio.notes, *self.painter.notes]
        self.frames_done, self._painted, self.total = 0, 0, self.studio.reader.facts.frames
        self.finished, self.steadiness = False, Steadiness.of(Sums())
        self._began, self._marks = time.perf_counter(), [(0.0, 0)]

    @classmethod
    def from_request(cls, request: Request) -> Self:
        """Make the work that a request asks for."""
        options = AnimateOptions.parse(request.options)
        if request.output is None:
            raise OptionError("a film needs a place: name one with --output")
        is_relit = options.with_ == "relight"
        for name, goes in (("style", not is_relit), ("like", is_relit), ("lut", is_relit)):
            if request.many(name) and not goes:
                other = "instant and --with paint" if is_relit else "relight"
                raise OptionError(f"--{name} goes with --with {other}")
        return cls(
            request.one("film"),
            request.many("like" if is_relit else "style"),
            options,
            request.output,
            lut=request.some("lut"),
            place=request.place,
        )

    def describe(self) -> list[str]:
        """Return what is painted, with what, and where."""
        facts, (width, height) = self.studio.reader.facts, self.studio.size
        count = f"{facts.frames} frames" if facts.frames else "frames"
        rate = f"{float(facts.rate):.4g} a second"
        doing = "relighting" if self.options.with_ == "relight" else "painting"
        return [
            f"{doing} {count} of {width} x {height}, {rate}, with {self.painter.describe()}",
        ]

    def recipe(self) -> dict[str, Any]:
        """Return all that is needed to make this film again."""
        names, digests = self.painter.describe_inputs()
        facts = self.studio.reader.facts
        inputs = {"film": facts.name, **names}
        return write_recipe("animate", inputs, {"film": self._digest, **digests}, self.options)

    def result(self) -> AnimatedFilm:
        """Return what there is of it so far."""
        measured = self.steadiness if self.options.measure and self.finished else None
        return AnimatedFilm(
            self.output,
            self.frames_done,
            self.studio.encoding.size,
            self.finished,
            self.recipe(),
            list(self.notes),
            measured,
        )

    @property
    def seconds(self) -> float:
        """Since the work began."""
        return time.perf_counter() - self._began

    @property
    def speed(self) -> float:
        """Frames a second, of those that this run has painted."""
        return self._painted / max(self.seconds, 1e-6)

    # --- the work

    def steps(self) -> Iterator[Step]:
        """Paint, yielding after each frame; closed early, it leaves a film of what is done."""
        self._began = time.perf_counter()
        self._digest = self.studio.reader.digest()
        make_folder(self.folder)
        with working_in(self.folder):
            yield from self._prepare()
            shards = self.studio.list_shards()
            self.total = len(self.studio.plan)
            done = [shard for shard in shards if self.studio.name_piece(shard).exists()]
            left = [shard for shard in shards if shard not in done]
            self.frames_done = sum(map(len, done))
            if done:
                self.notes.append(f"{self.frames_done} of {self.total} frames are there already")
            self._marks = [(time.perf_counter(), self.frames_done)]
            is_here = self.place.is_here or not left
            paint = self._paint_here if is_here else self._paint_elsewhere
            try:
                yield from paint(left)
            except GeneratorExit:
                self._join(shards, whole=False)
                raise
            self._join(shards, whole=True)
            self.finished = True
            yield self._step("joined")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _prepare(self) -> Iterator[Step]:
        """Make the plan, or take the one that an earlier run of the same work has left."""
        run = self._fingerprint()
        plan = self.folder / PLAN
        if plan.exists():
            if _read_run(plan) == run and (self.folder / LOOKS).exists():
                (self.folder / PARTIAL).unlink(missing_ok=True)
                return
            self.notes.append("what was begun with other options, or of another film, is given up")
        for path in self.folder.iterdir():
            if path.name.startswith(("plan", "looks", "piece-", "sums-", PARTIAL)):
                path.unlink()
        count = 0
        if self.options.vary:
            for seen, _ in self._scan().steps():
                count = seen
                yield self._look_step(seen)
        scan = self._scan()
        looks: list[Look] = []
        for seen, frames in scan.steps():
            if frames:
                looks.append(self._measure(scan.plan, frames, count))
            yield self._look_step(seen)
        if not len(scan.plan):
            raise ImageError(
                f"{self.studio.reader.facts.name!r}: no frame lies between these times"
            )
        self.notes += self._tell_damage(scan.plan)
        self.studio.keep_plan(scan.plan, looks, run)

    def _tell_damage(self, plan: FilmPlan) -> Iterator[str]:
        facts = self.studio.reader.facts
        if plan.damaged:
            packets = plural(plan.damaged, "packet")
            yield f"damaged: {packets} left out, the rest is painted"
        if gaps := plan.find_gaps():
            first = [float((time - facts.origin) * facts.time_base) for time in gaps[0]]
            more = f", and {plural(len(gaps) - 1, 'more gap')}" if gaps[1:] else ""
            yield (
                f"no frames from {first[0]:.2f} to {first[1]:.2f} s{more}: the one before is shown"
            )

    def _scan(self) -> FilmScan:
        options, end = self.options, self.options.to
        if options.preview is not None:
            end = options.from_ + options.preview
        breaks = options.style_times[1:]
        return FilmScan(
            self.studio.reader,
            self.studio.size,
            options.from_,
            end,
            breaks,
            by_scenes=self.painter.by_scenes,
        )

    def _measure(self, plan: FilmPlan, frames: Sequence[Any], count: int) -> Look:
        """Return how the plan's last window, or scene, looks, at the moment of its first frame."""
        first, facts = plan.window_cuts[-1], self.studio.reader.facts
        second = float((plan.times[first] - facts.origin) * facts.time_base)
        moment = self.studio.find_moment(second, first / max(1, count - 1))
        return self.painter.look([to_tensor(frame) for frame in frames], moment)

    def _fingerprint(self) -> str:
        """Return a digest of all that pieces depend on."""
        recipe = {**self.recipe(), "options": self.options.model_dump(mode="json")}
        facts = [recipe, self.output.suffix, torch.__version__, repr(self.studio.encoding)]
        machine = self.painter.describe()
        return fingerprint([facts, machine], [p.pixels for p in self.painter.pictures])

    def _paint_here(self, shards: Sequence[Shard]) -> Iterator[Step]:
        for shard in shards:
            before = self.frames_done
            with closing(_generate(self.studio.paint_shard(shard))) as frames:
                for count in frames:
                    self.frames_done = before + count
                    self._painted += 1
                    if self.frames_done < self.total:
                        yield self._step()

    def _paint_elsewhere(self, shards: Sequence[Shard]) -> Iterator[Step]:
        with hire_crew(self.place, len(shards)) as crew:
            self.notes += crew.notes
            files = tuple(self.job.list_files())
            spec = WorkerSpec(
                "impasto.video.shards:make_shard_worker", (self.job, crew.share), files
            )
            machines = ""
            with closing(_generate(crew.share_out(spec, shards))) as reports:
                for shard, report in reports:
                    if report is not None:
                        self._keep(report.outcome)
                        self.frames_done += len(shard)
                        self._painted += len(shard)
                        machines = crew.count_machines()
                    if self.frames_done < self.total:
                        yield self._step(machines=machines)
            self.notes += [note for note in crew.notes if note not in self.notes]

    def _keep(self, painted: PaintedShard) -> None:
        """Write a shard that was painted elsewhere; its frames, which say that it is done, last."""
        if painted.sums is not None:
            replace_file(self.studio.name_sums(painted.shard), painted.sums)
        replace_file(self.studio.name_piece(painted.shard), painted.piece)

    def _join(self, shards: Sequence[Shard], *, whole: bool) -> None:
        """Put the pieces together that are there, from the first to one that is missing."""
        studio, facts = self.studio, self.studio.reader.facts
        pieces: list[Path] = []
        count = 0
        for shard in shards:
            if not (path := studio.name_piece(shard)).exists():
                break
            pieces.append(path)
            count = shard.end
        partial_piece = self.folder / PARTIAL
        if not whole and partial_piece.exists() and self.place.is_here:
            pieces.append(partial_piece)
            count = self.frames_done
        self.frames_done = count
        if not count:
            return
        options, times = self.options, studio.plan.times
        shift = round(options.from_ / facts.time_base)
        is_cut = not whole or options.to is not None or options.preview is not None
        joining = Joining(
            pieces,
            [stamp - facts.origin - shift for stamp in close_times(times, count)],
            facts,
            json.dumps(self.recipe(), ensure_ascii=False) if self.metadata else None,
            sound=options.sound,
            shift=shift,
            is_cut=is_cut,
        )
        try:
            joining.write(self.output)
        except OSError as error:
            if isinstance(error, ImpastoError):
                raise
            raise self.studio.explain_failure(error) from error
        self.notes += joining.notes
        if whole and options.measure:
            self.steadiness = Steadiness.of(self._add_sums(shards))

    def _add_sums(self, shards: Sequence[Shard]) -> Sums:
        total = Sums()
        for shard in shards:
            path = self.studio.name_sums(shard)
            total += Sums.unpack(json.loads(path.read_text()))
        return total

    # --- what is told

    def _look_step(self, seen: int) -> Step:
        text = f"looking through the film, {plural(seen, 'frame')}"
        return Step(0, max(self.total, 2), text, size=self.studio.size)

    def _step(self, text: str = "", machines: str = "") -> Step:
        now = time.perf_counter()
        self._marks.append((now, self.frames_done))
        while len(self._marks) > 2 and now - self._marks[0][0] > _RECENT:
            del self._marks[0]
        (begin, first), (end, last) = self._marks[0], self._marks[-1]
        speed = (last - first) / max(end - begin, 1e-6)
        return Step(
            self.frames_done,
            self.total,
            text or ", ".join(filter(None, [f"{speed:.1f} frames a second", machines])),
            self.studio.size,
            {"frames a second": speed},
            now - self._began,
        )


def close_times(times: Sequence[int], count: int) -> list[int]:
    """Return the first frames' times, and when the last of them ends."""
    steps = sorted(b - a for a, b in itertools.pairwise(times))
    usual = steps[len(steps) // 2] if steps else 1
    end = times[count] if count < len(times) else times[count - 1] + max(1, usual)
    return [*times[:count], end]


def _generate(items: Iterator[Any]) -> Any:
    """Return a generator of items, which can be closed whatever they are."""
    yield from items


def _read_run(path: Path) -> str | None:
    try:
        return str(json.loads(path.read_text())["run"])
    except (OSError, ValueError, KeyError):
        return None


def animate(
    film: str | os.PathLike[str],
    style: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    options: AnimateOptions | Mapping[str, Any] | None = None,
    *,
    lut: str | os.PathLike[str] | None = None,
    jobs: int = 1,
    on: str | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> AnimatedFilm:
    """Paint a film in the manner of a picture, or of several, and write it to ``output``.

    With ``{"with_": "relight"}`` it takes their light, or without any the colours of ``lut``, a
    .cube file. ``on`` says where it is done, as for ``augment``.
    """
    styles = [style] if isinstance(style, str | os.PathLike) else list(style)
    return finish(
        Animation(
            film,
            styles,
            AnimateOptions.parse(options),
            output,
            lut=lut,
            place=choose_place(on, jobs),
        ),
        on_step,
    )
