"""The folder of many runs: which there are, which are done, and the tables of them all.

A run is one painting of many. Its files lie in ``runs``: the picture with its recipe inside, its
losses, and while it is unfinished its checkpoint. Tables, sheets and figures of all runs lie
beside. Everything is whole or absent, so that the same command goes on after a kill.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from impasto.errors import DependencyError, OptionError
from impasto.figures.plots import save_figure
from impasto.images.picture import ImageSource
from impasto.images.reading import read_image
from impasto.lab.runs import Row, Run, has_diverged, read_step
from impasto.lab.varied_options import show_value
from impasto.painting.options import PaintOptions
from impasto.painting.painter import list_styles
from impasto.painting.result import HISTORY_COLUMNS, Painting, write_history
from impasto.recipes import hide_folders
from impasto.system.checkpoints import Checkpoint
from impasto.system.files import make_folder, replace_file, working_in
from impasto.work import Step

RECORD = "record.json"


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
        "options": hide_folders(options).changed(),
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
    varied = [
        options.model_copy(update={name: value})
        for name in vary.keys() & options.file_marks()
        for value in vary[name]
    ]
    names = [name for each in (options, *varied) for some in each.files().values() for name in some]
    return [Path(name) for name in dict.fromkeys(names) if Path(name).is_file()]


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
        values = {"about": about, **hide_folders(options).changed()}
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
