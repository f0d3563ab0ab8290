"""The folder of many runs: which there are, which are done, and the tables of them all.

The files of a run lie in ``runs``: the picture with its recipe inside, its losses, and while it is
unfinished its checkpoint. Tables, sheets and figures of all runs lie beside. Everything is whole or
absent, so that the same command goes on after a kill.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from impasto.errors import DependencyError, MissingFileError, OptionError
from impasto.figures.plots import save_figure
from impasto.images.picture import ImageSource, Picture
from impasto.images.reading import read_image
from impasto.lab.runs import MEASURED, Row, RunSummary, has_diverged, read_step, read_summaries
from impasto.lab.varied_options import show_value
from impasto.lab.words import list_words
from impasto.painting.options import PaintOptions
from impasto.painting.painter import list_styles
from impasto.painting.result import HISTORY_COLUMNS
from impasto.recipes import hide_folders
from impasto.system.checkpoints import Checkpoint
from impasto.system.files import make_folder, replace_file, working_in
from impasto.work import LOSSES, Step

if TYPE_CHECKING:
    from impasto.figures.plots import Figure

RECORD = "record.json"
_OWN_NAMES = (
    *("runs", "results.csv", "losses.csv", "sheet.png", "losses.png", "distances.png"),
    *("times.png", "progress.png", "pareto.png", "best.toml", "knee.toml", "journal.log"),
)


# --- what is painted ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Pictures:
    """The photograph and the styles of all runs, read once."""

    content: Picture
    styles: list[Picture]

    @classmethod
    def read(
        cls,
        content: ImageSource,
        style: ImageSource | Sequence[ImageSource],
        max_megapixels: float,
    ) -> Self:
        """Read what is not read yet."""
        read = [
            read_image(each, max_megapixels=max_megapixels)
            for each in (content, *list_styles(style))
        ]
        return cls(read[0], read[1:])

    def __str__(self) -> str:
        return f"{self.content.name} after {', '.join(style.name for style in self.styles)}"


def describe_work(
    pictures: Pictures,
    options: PaintOptions,
    vary: Mapping[str, Sequence[Any]],
    what: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the facts that the work is known by: ``what`` is done, of what and how."""
    facts = {
        "impasto": version("impasto"),
        **what,
        "content": pictures.content.name,
        "style": [picture.name for picture in pictures.styles],
        "options": hide_folders(options).changed(),
        "vary": {
            name: [show_value(name, value) for value in values] for name, values in vary.items()
        },
    }
    return add_digest(facts, (pictures.content, *pictures.styles), list_files(options, vary))


def add_digest(
    facts: Mapping[str, Any], pictures: Iterable[Picture], files: Iterable[Path] = ()
) -> dict[str, Any]:
    """Return the facts with a digest of all that goes into the work."""
    digest = hashlib.sha256(json.dumps(facts).encode())
    for picture in pictures:
        for tensor in (picture.pixels, picture.alpha):
            if tensor is not None:
                digest.update(tensor.contiguous().numpy().tobytes())
    for path in files:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return {**facts, "digest": digest.hexdigest()}


def list_files(options: PaintOptions, vary: Mapping[str, Sequence[Any]]) -> list[Path]:
    """Return the files that options name: masks, and a picture to start from."""
    varied = [
        options.model_copy(update={name: value})
        for name in vary.keys() & options.file_marks()
        for value in vary[name]
    ]
    names = [name for each in (options, *varied) for some in each.files().values() for name in some]
    return [Path(name) for name in dict.fromkeys(names) if Path(name).is_file()]


# --- the folder ---------------------------------------------------------------------------------


class RunFolder:
    """A folder of runs, what is known of their work, and notes on it."""

    def __init__(self, path: Path, facts: Mapping[str, Any]) -> None:
        self.path, self.facts = path, facts
        self._notes: list[str] = []
        self._left_out: list[str] = []  # figures that there is no library for
        self._lack = ""

    @classmethod
    def open(cls, path: str | Path, facts: Mapping[str, Any]) -> Self:
        """Make the folder, or take it up if it is of the same work."""
        path = Path(path)
        if path.exists() and not path.is_dir():
            raise OptionError(f"many pictures go to a folder; {path.name!r} is a file")
        make_folder(path)
        folder = cls(path, facts)
        with working_in(path):
            kept = read_digest(path)
            if kept not in (None, facts["digest"]):
                raise OptionError(
                    f"{path.name!r} holds other work: other pictures, options or version; "
                    "name another folder, or remove it"
                )
            if kept is None:
                refuse_strangers(path)
                folder.write_facts()
            (path / "runs").mkdir(exist_ok=True)
        return folder

    @classmethod
    def read(cls, path: Path, operations: Collection[str]) -> Self:
        """Take up a folder to read what one of ``operations`` left in it."""
        record = path / RECORD
        if not record.is_file():
            raise MissingFileError(
                f"no study in {str(path)!r}: it has no {RECORD}, which {list_words(operations)} "
                "write"
            )
        try:
            facts = json.loads(record.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise OptionError(f"{str(record)!r} is damaged: {error}") from None
        if not isinstance(facts, dict) or facts.get("operation") not in operations:
            raise OptionError(f"{str(record)!r} is the record of no sweep, study or tuning")
        return cls(path, facts)

    def write_facts(self, **others: Any) -> None:
        """Write what the work is; ``others`` take the place of what was known before."""
        self.facts = {**self.facts, **others}
        text = json.dumps(self.facts, indent=1, ensure_ascii=False)
        replace_file(self.path / RECORD, text.encode())

    def note(self, notes: Iterable[str]) -> None:
        """Note what was done in the user's stead; what is so of every run once."""
        self._notes += [note for note in dict.fromkeys(notes) if note not in self._notes]

    @property
    def notes(self) -> list[str]:
        """What was noted so far, and the figures that were left out."""
        left_out = ", ".join(dict.fromkeys(self._left_out))
        return [*self._notes, *([f"left out: {left_out}; {self._lack}"] if left_out else [])]

    # --- a run, by its name

    def picture(self, run: str, step: int | None = None) -> Path:
        """Return where a run's picture lies, or as it was at a step."""
        # A name that was read from a file leads nowhere else.
        name = f"{Path(run).name}{'' if step is None else f'-{step:04}'}.png"
        return self.path / "runs" / name

    def losses(self, run: str) -> Path:
        """Return where a run's losses lie."""
        return self.path / "runs" / f"{run}.csv"

    def checkpoint(self, run: str) -> Path:
        """Return where the state of an unfinished run lies."""
        return self.path / "runs" / f"{run}.ckpt"

    def keep(
        self, run: str, picture: bytes | None, losses: bytes, kept: Mapping[int, bytes]
    ) -> None:
        """Write the pictures, if there are any, and then the losses: they say that it is done."""
        for step, content in kept.items():
            replace_file(self.picture(run, step), content)
        if picture is not None:
            replace_file(self.picture(run), picture)
        replace_file(self.losses(run), losses)
        Checkpoint(self.checkpoint(run)).remove()

    def is_done(self, run: str) -> bool:
        """Return whether a run came to its end."""
        history = self.read_history(run)
        return history is not None and (has_diverged(history) or self.picture(run).is_file())

    def read_history(self, run: str) -> list[Step] | None:
        """Read the steps of a finished run; None if it has not come to its end."""
        try:
            text = self.losses(run).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        return [read_step(line) for line in csv.DictReader(io.StringIO(text))]

    # --- what is told of all of them

    def write_results(self, rows: Sequence[Row], marks: Mapping[str, Collection[str]]) -> None:
        """Write a line for each run; ``marks`` are columns that are 1 for the runs they name."""
        varied = list(self.facts["vary"])
        summaries = [RunSummary.of(row, varied, marks) for row in rows]
        columns = ["run", *varied, *MEASURED, *marks]
        self.write_table("results.csv", columns, [each.write() for each in summaries])

    def read_results(self) -> list[RunSummary]:
        """Read what is known of the finished runs; nothing if there is no table yet."""
        path = self.path / "results.csv"
        if not path.is_file():
            return []
        try:
            return read_summaries(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, csv.Error):
            raise OptionError(f"{str(path)!r} is no table of runs, or is damaged") from None

    def write_losses(self, rows: Sequence[Row]) -> None:
        """Write a line for each step of each run."""
        others = [name for name in self.facts["vary"] if name not in HISTORY_COLUMNS]
        lines = []
        for row in rows:
            options = row.run.options
            told = [row.run.name, *(show_value(name, getattr(options, name)) for name in others)]
            for step in row.history:
                losses = [getattr(step, name) for name in LOSSES]
                known = [options.style_weight, step.number, *losses, *step.size]
                lines.append([*known, f"{step.seconds:.3f}", *told])
        self.write_table("losses.csv", [*HISTORY_COLUMNS, "run", *others], lines)

    def write_table(
        self, name: str, columns: Sequence[str], lines: Iterable[Sequence[Any]]
    ) -> None:
        """Write a table as CSV."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(lines)
        replace_file(self.path / name, text.getvalue().encode())

    def write_recipe(
        self, name: str, about: str, options: PaintOptions, start: Path | None = None
    ) -> None:
        """Write what differs from the defaults as a recipe file.

        Pictures stand in it by name; that of another run, to ``start`` from, by where it lies
        beside the recipe.
        """
        values = {"about": about, **hide_folders(options).changed()}
        if start is not None:
            values["init"] = start.relative_to(self.path).as_posix()
        lines = [f"{key} = {json.dumps(v, ensure_ascii=False)}\n" for key, v in values.items()]
        replace_file(self.path / name, "".join(lines).encode())

    def draw_figure(self, name: str, draw: Callable[[], Figure]) -> None:
        """Draw and write a figure; without the library for it, note that it is left out."""
        try:
            save_figure(draw(), self.path / name)
        except DependencyError as error:
            self._lack = str(error)
            self._left_out.append(name)


def read_digest(path: Path) -> Any:
    """Read what tells the work in a folder from any other; None if there is none."""
    try:
        return json.loads((path / RECORD).read_text(encoding="utf-8"))["digest"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise OptionError(
            f"{RECORD} in {path.name!r} is damaged; name another folder, or remove it"
        ) from None


def refuse_strangers(path: Path) -> None:
    """Refuse a folder in which a new record would write over what is not its own."""
    if found := [name for name in _OWN_NAMES if (path / name).exists()]:
        raise OptionError(
            f"{path.name!r} holds {found[0]!r}, which would be written over and is of no record; "
            "name another folder"
        )
