"""Tuning: a search for options that come near to both, the style and the photograph.

The two are goals against each other, so what is found is a front: pictures that none is better than
in both. Its knee, where more of one begins to cost most of the other, is named. Optuna, an extra,
proposes what to try; its journal lies in the folder, and a search that was killed goes on from it.
"""

from __future__ import annotations

import hashlib
import logging
import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from impasto.errors import OptionError
from impasto.figures.contact_sheet import arrange, draw_sheet, save_sheet
from impasto.images.picture import ImageSource
from impasto.lab.options import TuneOptions
from impasto.lab.run_folder import Record, describe_work
from impasto.lab.run_painter import Easel, check_painting
from impasto.lab.runs import Row, Run, describe_row, find_front, name_run
from impasto.lab.sweep import Style, choose_size, follow, list_said, only_painting, plot_rows
from impasto.lab.varied_options import (
    describe_values,
    is_number,
    is_whole,
    read_value,
    split_setting,
)
from impasto.painting.options import PaintOptions
from impasto.system.files import working_in
from impasto.system.optional import require
from impasto.work import Step

JOURNAL = "journal.log"
EXAMPLE = "style_weight=1:1000"


def import_optuna() -> ModuleType:
    """Return Optuna."""
    return require("optuna", "tuning needs optuna", extra="tune")


# --- where to look ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Search:
    """An option, and the range of numbers or the choices, as they are written, to look among."""

    name: str
    ends: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()

    def values(self) -> list[Any]:
        """The ends of the range, or every choice."""
        return [read_value(self.name, each) for each in self.ends or self.choices]

    def suggest(self, trial: Any) -> Any:
        """What an Optuna trial has for the option: by ratio, where both ends are above 0. Four
        digits are enough."""
        if self.ends is None:
            return read_value(self.name, trial.suggest_categorical(self.name, self.choices))
        low, high = self.ends
        if is_whole(self.name):
            return trial.suggest_int(self.name, int(low), int(high), log=low > 0)
        exact = trial.suggest_float(self.name, low, high, log=low > 0)
        return min(max(float(f"{exact:.4g}"), low), high)


def parse_search(text: str) -> Search:
    """Of ``style_weight=1:1000`` or ``content_layer=relu3_1,relu4_1``."""
    name, said = split_setting(text, EXAMPLE)
    if (found := re.fullmatch(r"([^:,]+):([^:,]+)", said)) and is_number(name):
        low, high = (read_value(name, end) for end in found.groups())
        if not low < high:
            raise OptionError(f"{name}: {said!r} is no range; give LEAST:MOST as {EXAMPLE}")
        return Search(name, (low, high))
    search = Search(name, choices=tuple(dict.fromkeys(map(str.strip, said.split(",")))))
    search.values()  # each is checked
    return search


def read_searches(texts: Sequence[str]) -> list[Search]:
    searches = [parse_search(text) for text in texts]
    names = [search.name for search in searches]
    if not names:
        raise OptionError(f"tuning searches an option; give --search {EXAMPLE}")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise OptionError(f"{twice} is searched twice; give it once")
    return searches


# --- Optuna -------------------------------------------------------------------------------------


@contextmanager
def quiet_optuna() -> Iterator[ModuleType]:
    """Optuna, without what it says of itself."""
    optuna = import_optuna()
    logger = logging.getLogger("optuna")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield optuna
    finally:
        logger.setLevel(level)


class Journal:
    """The trials of a search, kept in a file as they are asked for and told of."""

    def __init__(self, path: Path, searches: Sequence[Search], seed: int) -> None:
        self.searches, self.seed = searches, seed
        mend_journal(path)
        with quiet_optuna() as optuna:
            journal = optuna.storages.journal
            # Its other lock is a link, which Windows does not grant to everyone.
            lock = journal.JournalFileOpenLock(str(path))
            backend = journal.JournalFileBackend(str(path), lock)
            self.study = optuna.create_study(
                storage=optuna.storages.JournalStorage(backend),
                study_name="impasto",
                directions=["minimize", "minimize"],
                load_if_exists=True,
            )

    def count(self) -> int:
        return len(self.study.get_trials(deepcopy=False))

    def ask(self, number: int) -> dict[str, Any]:
        """What a trial tries: as it was, if there is one of that number, else something new."""
        with quiet_optuna() as optuna:
            known = self.study.get_trials(deepcopy=False)
            if number < len(known):
                trial = optuna.trial.Trial(self.study, known[number]._trial_id)
            else:
                trial = self.study.ask()
            values = {}
            for search in self.searches:
                # Drawn anew for each option of each trial, so that what is drawn does not hang on
                # how often the search was broken off.
                drawn = hashlib.sha256(f"{self.seed} {number} {search.name}".encode()).digest()
                seed = int.from_bytes(drawn[:4], "big")
                self.study.sampler = optuna.samplers.TPESampler(seed=seed)
                values[search.name] = search.suggest(trial)
            return values

    def tell(self, number: int, row: Row) -> None:
        """What a trial came to, unless that was told."""
        with quiet_optuna() as optuna:
            if self.study.get_trials(deepcopy=False)[number].state.is_finished():
                return
            if row.distances is None:
                self.study.tell(number, state=optuna.trial.TrialState.FAIL)
            else:
                self.study.tell(number, [row.distances.style, row.distances.content])


def mend_journal(path: Path) -> None:
    """Take off a last line that a killed process has half written: what is written next would be
    lost with it. Its lock is taken off too; the folder's own keeps others out."""
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    if path.exists():
        content = path.read_bytes()
        if not content.endswith(b"\n"):
            with path.open("rb+") as file:
                file.truncate(content.rfind(b"\n") + 1)


def find_knee(points: Sequence[tuple[float, float]]) -> int:
    """The point of the front that lies farthest below the line between the front's ends, both axes
    stretched to the same length. Where none lies below it, as of two, the nearest to 0, 0."""
    front = find_front(points)
    (left, top), (right, bottom) = points[front[0]], points[front[-1]]
    wide, tall = right - left or 1.0, top - bottom or 1.0

    def depth(i: int) -> float:
        x, y = points[i]
        return round(1 - (x - left) / wide - (y - bottom) / tall, 9)

    return max(front, key=lambda i: (depth(i), -math.hypot(*points[i])))


# --- the search ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class TuneResult:
    """What a search came to so far: its trials, those of the front, and the knee."""

    folder: Path
    rows: list[Row]
    front: list[Row]
    knee: Row | None
    notes: list[str]
    finished: bool


class Tuning:
    """A search in a folder. ``steps()`` paints trials until there are as many as asked for;
    whenever it ends, tables, sheet and figure tell of what there is."""

    def __init__(
        self, content: ImageSource, style: Style, options: TuneOptions, folder: str | Path
    ) -> None:
        import_optuna()
        self.searches = read_searches(options.search)
        self.trials, self.finished = options.trials, False
        self.asked = only_painting(options)
        size = choose_size(content, options)
        self.base = self.asked.model_copy(update={"size": size})
        vary = {search.name: search.values() for search in self.searches}
        what = {"operation": "tune", "search": options.search}
        facts = describe_work(content, style, self.base, vary, what) | {"runs": self.trials}
        tried = [
            self.base.model_copy(update={name: each})
            for name, values in vary.items()
            for each in values
        ]
        notes = [note for each in tried for note in check_painting(content, style, each)]
        self.record = Record.open(folder, facts)
        self.easel = Easel(self.record, content, style, self.base)
        if options.size is None and "size" not in vary:
            self.easel.note([f"each picture has a long side of {size}; --size for another"])
        self.easel.note(notes)

    def steps(self) -> Iterator[Step]:
        """Paint, yielding how far it has come after each step of each trial."""
        with working_in(self.record.folder):
            try:
                yield from self._paint()
                self.finished = True
            finally:
                self._tell()

    def _paint(self) -> Iterator[Step]:
        journal = Journal(self.record.folder / JOURNAL, self.searches, self.base.seed)
        count, done = max(self.trials, journal.count()), 0
        self.record.write_facts(runs=count)
        total = count * self.base.steps
        for number in range(count):
            values = journal.ask(number)
            run = Run(
                name_run(number + 1, 999, values), values, self.base.model_copy(update=values)
            )
            text = f"{number + 1}/{count} {describe_values(values)}"
            with closing(self.easel.paint(run)) as steps:
                for step in steps:
                    yield Step(done + min(step.number, self.base.steps), total, text)
            journal.tell(number, self.easel.rows[run.name])
            done += self.base.steps
            self._write_tables()
            yield Step(done, total, text)

    @property
    def notes(self) -> list[str]:
        return [*self.easel.notes, *self.record.notes()]

    def result(self) -> TuneResult:
        rows = list(self.easel.rows.values())
        placed = [(row, row.place) for row in rows if row.place]
        places = [place for _, place in placed]
        front = [placed[i][0] for i in find_front(places)]
        knee = placed[find_knee(places)][0] if places else None
        return TuneResult(self.record.folder, rows, front, knee, self.notes, self.finished)

    # --- what is told

    def _write_tables(self) -> None:
        result = self.result()
        front = {row.run.name for row in result.front}
        best = {result.knee.run.name} if result.knee else set()
        self.record.write_results(result.rows, {"front": front, "best": best})
        self.record.write_losses(result.rows)

    def _tell(self) -> None:
        """Tables, the front's pictures, the figure and the knee as a recipe."""
        result, record = self.result(), self.record
        if result.rows:
            self._write_tables()
        if (knee := result.knee) is None:
            return
        self.easel.note_choice(knee, "knee")
        of = f"{record.facts['content']} after {', '.join(record.facts['style'])}"
        images = [self.easel.show(row.run) for row in result.front]
        captions = [
            f"{describe_values(row.run.values)}\n{describe_row(row, 'knee' if row is knee else '')}"
            for row in result.front
        ]
        sheet = draw_sheet(
            arrange(images),
            captions=arrange(captions),
            title=f"the front of {len(result.rows)} trials, from the photograph to the style: {of}",
        )
        save_sheet(sheet, record.folder / "sheet.png")
        names = ", ".join(record.facts["vary"])
        about = f"the knee of {len(result.rows)} trials of {names}: {of}"
        record.write_recipe("knee.toml", about, self.asked.model_copy(update=knee.run.values))
        record.draw_figure("pareto.png", lambda: plot_rows(self.easel, result.rows, knee))


def tune(
    content: ImageSource,
    style: Style,
    folder: str | Path,
    options: PaintOptions | Mapping[str, Any] | None = None,
    *,
    on_step: Callable[[Step], None] | None = None,
) -> TuneResult:
    """Search options, ``trials`` pictures in all, for what is near to both pictures."""
    work = Tuning(content, style, TuneOptions.read(list_said(options)), folder)
    follow(work.steps(), on_step)
    return work.result()
