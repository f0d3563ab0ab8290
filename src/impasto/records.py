"""Many-picture work in a folder: which runs there are, which are done, and what they came to.

A run is one painting of many. Its files lie in ``runs``: the picture with its recipe inside, its
losses, and while it is unfinished its checkpoint. What is told of all of them lies beside: tables,
sheets, figures. Everything is whole or absent, so that the same command goes on after a kill.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from impasto.axes import show_value
from impasto.checkpoints import Checkpoint
from impasto.errors import DependencyError, DivergedError, OptionError
from impasto.files import make_folder, replace_file, working_in
from impasto.images import ImageSource, read_image, to_pil
from impasto.loop import hide_folders
from impasto.options import PICTURES, PaintOptions
from impasto.painter import Painter, list_styles
from impasto.paintings import HISTORY_COLUMNS, Painting, Step, write_history
from impasto.plots import save_figure
from impasto.starts import STARTS, start_picture
from impasto.targets import Targets
from impasto.yardstick import Distances, Yardstick, read_opaque

RECORD = "record.json"
LONGEST_NAME = 120  # characters; file systems take 255 bytes


@dataclass(frozen=True)
class Moment:
    """How far many-picture work has come: steps done of all, and what it is at."""

    done: int
    total: int
    text: str


@dataclass(frozen=True)
class Run:
    """One painting of many: its name, the options in which it differs, and all of them."""

    name: str
    values: dict[str, Any]
    options: PaintOptions


@dataclass(frozen=True)
class Row:
    """What a finished run came to; without distances if its loss was no longer a number."""

    run: Run
    history: list[Step]
    distances: Distances | None

    @property
    def place(self) -> tuple[float, float] | None:
        """(content, style) distance."""
        return None if self.distances is None else (self.distances.content, self.distances.style)

    @property
    def kept(self) -> Step | None:
        """The step whose picture was kept, or stands for it: the least loss at the last size."""
        steps = [s for s in self.history if s.size == self.history[-1].size]
        return min(steps, key=lambda step: step.total, default=None)


# --- the folder ---------------------------------------------------------------------------------


def describe_work(
    content: ImageSource,
    style: ImageSource | Sequence[ImageSource],
    options: PaintOptions,
    vary: Mapping[str, Sequence[Any]],
    what: Mapping[str, Any],
) -> dict[str, Any]:
    """The facts that a record is known by: ``what`` is done, of what, how, and a digest of all that
    goes in."""
    pictures = [
        read_image(each, max_megapixels=options.max_megapixels)
        for each in (content, *list_styles(style))
    ]
    facts: dict[str, Any] = {
        "impasto": version("impasto"),
        **what,
        "content": pictures[0].name,
        "style": [picture.name for picture in pictures[1:]],
        "options": hide_folders(options.changed()),
        "vary": {
            name: [show_value(name, value) for value in values] for name, values in vary.items()
        },
    }
    digest = hashlib.sha256(json.dumps(facts).encode())
    for picture in pictures:
        for tensor in (picture.pixels, picture.alpha):
            if tensor is not None:
                digest.update(tensor.contiguous().numpy().tobytes())
    for path in list_files(options, vary):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return {**facts, "digest": digest.hexdigest()}


def list_files(options: PaintOptions, vary: Mapping[str, Sequence[Any]]) -> list[Path]:
    """The files that options name: masks, and a picture to start from."""
    named = (*PICTURES, "init")
    said = [getattr(options, name) for name in named]
    said += [value for name in named for value in vary.get(name, ())]
    names = [each for v in said for each in (v if isinstance(v, tuple) else (v,))]
    return [Path(name) for name in names if name and Path(name).is_file()]


def name_run(number: int, count: int, values: Mapping[str, Any]) -> str:
    """``03-style_weight=0.1-tv_weight=5``: sorts, and is a file's name on every system."""
    digits = max(2, len(str(count)))
    words = [f"{name}={show_value(name, value)}" for name, value in values.items()]
    name = "-".join([f"{number:0{digits}}", *words])
    return re.sub(r"[^\w.=+-]", "_", name, flags=re.ASCII)[:LONGEST_NAME].strip("-")


class Record:
    """A folder of runs. It is made, or taken up if it is of the same work."""

    def __init__(self, folder: Path, facts: Mapping[str, Any]) -> None:
        self.folder, self.facts = folder, facts
        self.left_out: list[str] = []  # figures that there is no library for
        self.lack = ""

    @classmethod
    def open(cls, folder: str | Path, facts: Mapping[str, Any]) -> Record:
        folder = Path(folder)
        if folder.exists() and not folder.is_dir():
            raise OptionError(f"many pictures go to a folder; {folder.name!r} is a file")
        make_folder(folder)
        record = cls(folder, facts)
        with working_in(folder):
            kept = read_digest(folder)
            if kept not in (None, facts["digest"]):
                raise OptionError(
                    f"{folder.name!r} holds other work: other pictures, options or version; "
                    "name another folder, or remove it"
                )
            if kept is None:
                refuse_strangers(folder)
                record.write_facts()
            (folder / "runs").mkdir(exist_ok=True)
        return record

    def write_facts(self, **others: Any) -> None:
        """What the work is; ``others`` take the place of what was known before."""
        self.facts = {**self.facts, **others}
        text = json.dumps(self.facts, indent=1, ensure_ascii=False)
        replace_file(self.folder / RECORD, text.encode())

    def picture(self, run: Run, step: int | None = None) -> Path:
        """Where a run's picture lies, or as it was at a step."""
        return self.folder / "runs" / f"{run.name}{'' if step is None else f'-{step:04}'}.png"

    def losses(self, run: Run) -> Path:
        return self.folder / "runs" / f"{run.name}.csv"

    def checkpoint(self, run: Run) -> Path:
        return self.folder / "runs" / f"{run.name}.ckpt"

    def keep(self, run: Run, painting: Painting) -> None:
        """The picture, if there is one, and then the losses: they say that the run is done."""
        if not has_diverged(painting.history):
            painting.save(self.picture(run))
        write_history(painting, self.losses(run))
        Checkpoint(self.checkpoint(run)).remove()

    def is_done(self, run: Run) -> bool:
        history = self.read_history(run)
        return history is not None and (has_diverged(history) or self.picture(run).is_file())

    def read_history(self, run: Run) -> list[Step] | None:
        """The steps of a finished run; None if it has not come to its end."""
        try:
            text = self.losses(run).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        return [read_step(line, run.options.steps) for line in csv.DictReader(io.StringIO(text))]

    # --- what is told of all of them

    def write_results(self, rows: Sequence[Row], marks: Mapping[str, Collection[str]]) -> None:
        """A line for each run; ``marks`` are columns that are 1 for the runs they name."""
        varied = list(self.facts["vary"])
        columns = ["run", *varied, "style_distance", "content_distance", "distance"]
        columns += ["total_loss", "style_loss", "content_loss", "steps", "seconds", *marks]
        lines = []
        for row in rows:
            name, distances = row.run.name, row.distances
            values = [show_value(each, getattr(row.run.options, each)) for each in varied]
            measured: list[Any] = [""] * 6
            if distances is not None:
                away = (distances.style, distances.content, distances.overall)
                measured[:3] = [f"{each:.6f}" for each in away]
                if (kept := row.kept) is not None:
                    measured[3:] = [kept.total, kept.style, kept.content]
            spent = f"{row.history[-1].seconds:.3f}" if row.history else ""
            chosen = [int(name in names) for names in marks.values()]
            lines.append([name, *values, *measured, len(row.history), spent, *chosen])
        self._write_table("results.csv", columns, lines)

    def write_losses(self, rows: Sequence[Row]) -> None:
        """A line for each step of each run."""
        others = [name for name in self.facts["vary"] if name not in HISTORY_COLUMNS]
        lines = []
        for row in rows:
            options = row.run.options
            told = [row.run.name, *(show_value(name, getattr(options, name)) for name in others)]
            for step in row.history:
                losses = (step.total, step.style, step.content, step.tv)
                known = [options.style_weight, step.number, *losses, *step.size]
                lines.append([*known, f"{step.seconds:.3f}", *told])
        self._write_table("losses.csv", [*HISTORY_COLUMNS, "run", *others], lines)

    def _write_table(
        self, name: str, columns: Sequence[str], lines: Iterable[Sequence[Any]]
    ) -> None:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(lines)
        replace_file(self.folder / name, text.getvalue().encode())

    def write_recipe(
        self, name: str, about: str, options: PaintOptions, start: Path | None = None
    ) -> None:
        """What differs from the defaults, as a recipe file; pictures by name, and that of another
        run, to ``start`` from, by where it lies beside the recipe."""
        values = {"about": about, **hide_folders(options.changed())}
        if start is not None:
            values["init"] = start.relative_to(self.folder).as_posix()
        lines = [f"{key} = {json.dumps(v, ensure_ascii=False)}\n" for key, v in values.items()]
        replace_file(self.folder / name, "".join(lines).encode())

    def draw_figure(self, name: str, draw: Callable[[], Any]) -> None:
        """Without the library that draws it, a figure is left out, which is noted."""
        try:
            save_figure(draw(), self.folder / name)
        except DependencyError as error:
            self.lack = str(error)
            self.left_out.append(name)

    def notes(self) -> list[str]:
        left_out = list(dict.fromkeys(self.left_out))
        return [f"left out: {', '.join(left_out)}; {self.lack}"] if left_out else []


def read_digest(folder: Path) -> Any:
    """What tells the work in a folder from any other; None if there is none."""
    try:
        return json.loads((folder / RECORD).read_text(encoding="utf-8"))["digest"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise OptionError(
            f"{RECORD} in {folder.name!r} is damaged; name another folder, or remove it"
        ) from None


def refuse_strangers(folder: Path) -> None:
    """An error where a new record would write over what is not its own."""
    names = ["runs", "results.csv", "losses.csv", "sheet.png", "losses.png", "distances.png"]
    names += ["times.png", "progress.png", "pareto.png", "best.toml", "knee.toml", "journal.log"]
    if found := [name for name in names if (folder / name).exists()]:
        raise OptionError(
            f"{folder.name!r} holds {found[0]!r}, which would be written over and is of no record; "
            "name another folder"
        )


def has_diverged(history: Sequence[Step]) -> bool:
    return bool(history) and not math.isfinite(history[-1].total)


def read_step(line: Mapping[str, str], steps: int) -> Step:
    total, style, content, tv = (
        float(line[f"{name}_loss"]) for name in ("total", "style", "content", "tv")
    )
    size, seconds = (int(line["width"]), int(line["height"])), float(line["seconds"])
    return Step(int(line["epoch"]), steps, size, total, style, content, tv, seconds)


# --- painting the runs --------------------------------------------------------------------------


def check_painting(
    content: ImageSource, style: ImageSource | Sequence[ImageSource], options: PaintOptions
) -> list[str]:
    """What could not be painted is said before anything is; notes on what can."""
    if options.init not in STARTS:
        nothing = torch.zeros(1, 3, 1, 1)
        start_picture(options.init, nothing, nothing, max_megapixels=options.max_megapixels)
    return Painter(content, style, options).notes


class Easel:
    """A photograph and its styles, from which every run of a record is painted and measured."""

    def __init__(
        self,
        record: Record,
        content: ImageSource,
        style: ImageSource | Sequence[ImageSource],
        options: PaintOptions,
    ) -> None:
        self.record, self.content, self.styles = record, content, list_styles(style)
        # The blend that all runs share, and not one that is varied: the yardstick stays as it is.
        self.blend, self.max_megapixels = options.style_blend, options.max_megapixels
        self.targets = Targets()  # what is measured of a style serves all runs
        self.notes: list[str] = []
        self.rows: dict[str, Row] = {}  # by the run's name

    @cached_property
    def yardstick(self) -> Yardstick:
        return Yardstick(
            self.content, self.styles, blend=self.blend, max_megapixels=self.max_megapixels
        )

    def paint(self, run: Run, keep_at: Collection[int] = ()) -> Generator[Step, None, None]:
        """Paint a run, or what is left of it, and keep what it came to; nothing if it is done.
        ``keep_at`` are steps whose pictures are kept too."""
        record = self.record
        if not record.is_done(run):
            checkpoint = record.checkpoint(run)
            painter = Painter(
                self.content,
                self.styles,
                run.options,
                checkpoint=checkpoint,
                targets=self.targets,
            )
            try:
                for step in painter.steps():
                    if step.number in keep_at:
                        painter.result().save(record.picture(run, step.number))
                    yield step
                painting = painter.result()
            except DivergedError:
                painting = mark_diverged(painter.result())
            except GeneratorExit:
                painter.save_progress()
                raise
            finally:
                self.note(painter.notes)
            record.keep(run, painting)
        self.rows[run.name] = self.read(run)

    def read(self, run: Run) -> Row:
        """What a finished run came to, by its files alone."""
        history = self.record.read_history(run) or []
        if has_diverged(history):
            self.note([f"{run.name}: the loss was no longer a number at step {len(history)}"])
            return Row(run, history[:-1], None)
        return Row(run, history, self.measure(run))

    def measure(self, run: Run) -> Distances:
        return self.yardstick.measure(read_opaque(self.record.picture(run), math.inf))

    def show_input(self, number: int) -> Image.Image:
        """The photograph, or the style of that number, counted from 1."""
        source = self.styles[number - 1] if number else self.content
        return to_pil(read_image(source, max_megapixels=self.max_megapixels).pixels)

    def show(self, run: Run, step: int | None = None) -> Image.Image:
        with Image.open(self.record.picture(run, step)) as image:
            return image.copy()

    def note_choice(self, row: Row, rank: str) -> None:
        name = self.record.picture(row.run).relative_to(self.record.folder).as_posix()
        self.note([f"the {rank} is {name}: {describe_row(row)}"])

    def note(self, notes: Iterable[str]) -> None:
        """What is so of every run is said once."""
        self.notes += [note for note in dict.fromkeys(notes) if note not in self.notes]


def describe_row(row: Row | None, rank: str = "") -> str:
    """What a run came to, in a few words."""
    if row is None:
        return ""
    if row.distances is None:
        return "diverged"
    measured = f"style {row.distances.style:.2f}, content {row.distances.content:.2f}"
    return f"{rank}: {measured}" if rank else measured


def mark_diverged(painting: Painting) -> Painting:
    """With a last step that measured no number, by which a diverged run is known."""
    nan = math.nan
    last = painting.history[-1] if painting.history else None
    size = last.size if last else (painting.pixels.shape[-1], painting.pixels.shape[-2])
    seconds = last.seconds if last else 0.0
    lost = Step(len(painting.history) + 1, 0, size, nan, nan, nan, nan, seconds)
    return replace(painting, history=[*painting.history, lost])


def find_best(rows: Iterable[Row]) -> Row | None:
    """The one nearest to both, its style and its photograph."""
    measured = [row for row in rows if row.distances is not None]
    return min(measured, key=lambda row: row.distances.overall, default=None)  # type: ignore[union-attr]


def find_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Which of these no other is better than in both, from the least first number to the least
    second one; of equals the first."""
    front: list[int] = []
    for i in sorted(range(len(points)), key=lambda i: (*points[i], i)):
        if not front or points[i][1] < points[front[-1]][1]:
            front.append(i)
    return front
