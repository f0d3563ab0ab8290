"""Tuning: a search for options that come near to both, the style and the photograph.

The two are goals against each other, so what is found is a Pareto front: pictures that no other is
better than in both. Its knee, where more of one begins to cost most of the other, is named. Optuna,
an optional library, proposes what to try; its journal lies in the folder, and a search that was
killed goes on from it.
"""

from __future__ import annotations

import hashlib
import logging
import math
import re
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Self

from PIL import Image

from impasto.cluster.places import HERE, WorkPlace, choose_place
from impasto.errors import OptionError
from impasto.figures.contact_sheet import arrange, draw_sheet
from impasto.images.picture import ImageSource
from impasto.lab.options import TuneOptions
from impasto.lab.run_folder import Pictures
from impasto.lab.run_series import (
    PaintedSeries,
    Part,
    folder_of,
    only_painting,
    read_options,
    set_size,
)
from impasto.lab.runs import Row, Run, describe_row, find_front, name_run
from impasto.lab.varied_options import (
    check_count,
    describe_values,
    is_number,
    is_whole,
    read_value,
    split_setting,
)
from impasto.painting.options import PaintOptions
from impasto.system.optional import require
from impasto.work import Request, Step, finish

_JOURNAL = "journal.log"
_EXAMPLE = "style_weight=1:1000"


def _import_optuna() -> ModuleType:
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
        """Return the ends of the range, or every choice."""
        return [read_value(self.name, each) for each in self.ends or self.choices]

    def suggest(self, trial: Any) -> Any:
        """Return what an Optuna trial has for the option, with four digits.

        It is drawn by ratio where both ends of the range are above 0.
        """
        if self.ends is None:
            return read_value(self.name, trial.suggest_categorical(self.name, self.choices))
        low, high = self.ends
        if is_whole(self.name):
            return trial.suggest_int(self.name, int(low), int(high), log=low > 0)
        exact = trial.suggest_float(self.name, low, high, log=low > 0)
        return min(max(float(f"{exact:.4g}"), low), high)


def parse_search(text: str) -> Search:
    """Read ``style_weight=1:1000`` or ``content_layer=relu3_1,relu4_1``."""
    name, said = split_setting(text, _EXAMPLE)
    if (found := re.fullmatch(r"([^:,]+):([^:,]+)", said)) and is_number(name):
        low, high = (read_value(name, end) for end in found.groups())
        if not low < high:
            raise OptionError(f"{name}: {said!r} is no range; give LEAST:MOST as {_EXAMPLE}")
        return Search(name, (low, high))
    search = Search(name, choices=tuple(dict.fromkeys(map(str.strip, said.split(",")))))
    check_count(name, len(search.choices))
    search.values()  # each is checked
    return search


def read_searches(texts: Sequence[str]) -> list[Search]:
    """Read what is searched; an option is searched once."""
    searches = [parse_search(text) for text in texts]
    names = [search.name for search in searches]
    if not names:
        raise OptionError(f"tuning searches an option; give --search {_EXAMPLE}")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise OptionError(f"{twice} is searched twice; give it once")
    return searches


# --- Optuna -------------------------------------------------------------------------------------


@contextmanager
def _quiet_optuna() -> Iterator[ModuleType]:
    """Give Optuna, without its log and warnings."""
    optuna = _import_optuna()
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
        with _quiet_optuna() as optuna:
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
        """Return how many trials there are."""
        return len(self.study.get_trials(deepcopy=False))

    def ask(self, number: int) -> dict[str, Any]:
        """Return the values that a trial tries: as they were, if there is one of that number."""
        with _quiet_optuna() as optuna:
            known = self.study.get_trials(deepcopy=False)
            if number < len(known):
                trial = optuna.trial.Trial(self.study, known[number]._trial_id)
            else:
                trial = self.study.ask()
            values = {}
            for search in self.searches:
                # Seeded anew for each option of each trial: what is drawn does not depend on how
                # often the search was broken off.
                drawn = hashlib.sha256(f"{self.seed} {number} {search.name}".encode()).digest()
                seed = int.from_bytes(drawn[:4], "big")
                self.study.sampler = optuna.samplers.TPESampler(seed=seed)
                values[search.name] = search.suggest(trial)
            return values

    def tell(self, number: int, row: Row) -> None:
        """Tell Optuna what a trial came to, unless it knows."""
        with _quiet_optuna() as optuna:
            if self.study.get_trials(deepcopy=False)[number].state.is_finished():
                return
            if row.distances is None:
                self.study.tell(number, state=optuna.trial.TrialState.FAIL)
            else:
                self.study.tell(number, [row.distances.style, row.distances.content])


def mend_journal(path: Path) -> None:
    """Remove a last line that a killed process has half written.

    What is written next would be lost with it. Optuna's lock is removed too; the folder's own keeps
    others out.
    """
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    if path.exists():
        content = path.read_bytes()
        if not content.endswith(b"\n"):
            with path.open("rb+") as file:
                file.truncate(content.rfind(b"\n") + 1)


def find_knee(points: Sequence[tuple[float, float]]) -> int:
    """Return the place of the knee among points.

    It is the point of the front that lies farthest below the line between the front's ends, both
    axes scaled to the same length. Where none lies below it, as of two, it is the nearest to 0, 0.
    """
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


class Tuning(PaintedSeries):
    """A search for a front of pictures, until there are as many trials as asked for."""

    rank = "knee"

    def __init__(
        self,
        content: ImageSource,
        style: ImageSource | Sequence[ImageSource],
        options: TuneOptions,
        folder: str | Path,
        *,
        place: WorkPlace = HERE,
    ) -> None:
        _import_optuna()
        self.searches, self.trials = read_searches(options.search), options.trials
        self.round = options.round
        pictures = Pictures.read(content, style, options.max_megapixels)
        asked = only_painting(options)
        self.base = base = set_size(pictures, asked)
        vary = {search.name: search.values() for search in self.searches}
        tried = [
            base.model_copy(update={name: each}) for name, values in vary.items() for each in values
        ]
        said_round = {"round": self.round} if self.round > 1 else {}
        super().__init__(
            pictures,
            asked,
            folder,
            vary=vary,
            what={"operation": "tune", "search": options.search, **said_round},
            told={"runs": self.trials},
            tried=tried,
            place=place,
        )
        if not place.is_here and self.round == 1:
            self.folder.note(["trials are one after the other; --round N paints N at a time"])

    @classmethod
    def from_request(cls, request: Request) -> Self:
        """Make the work from plain data."""
        options = TuneOptions.parse(request.options)
        content, styles = request.one("content"), request.many("style")
        return cls(content, styles, options, folder_of(request), place=request.place)

    def result(self) -> TuneResult:
        """Return what was found so far."""
        front, knee = self._find_front(), self._choose()
        return TuneResult(self.folder.path, self.rows, front, knee, self.notes, self.finished)

    def _count(self) -> tuple[int, int]:
        self.journal = Journal(self.folder.path / _JOURNAL, self.searches, self.base.seed)
        self.trials = max(self.trials, self.journal.count())
        self.folder.write_facts(runs=self.trials)
        return self.trials, self.trials * self.base.steps

    def _list_rounds(self) -> Iterator[list[Run]]:
        """Yield trials that are asked for together, and tell of them once all are painted.

        So what is proposed depends on the size of a round, and not on how many are painted at a
        time.
        """
        for first in range(0, self.trials, self.round):
            numbers = range(first, min(first + self.round, self.trials))
            runs = []
            for number in numbers:
                values = self.journal.ask(number)
                options = self.base.model_copy(update=values)
                runs.append(Run(name_run(number + 1, 999, values), values, options))
            yield runs
            for number, run in zip(numbers, runs, strict=True):
                self.journal.tell(number, self.painter.rows[run.name])

    def _list_parts(self) -> Iterator[Part]:
        for runs in self._list_rounds():
            for run in runs:
                # Each counts alike: the steps themselves may be searched.
                work = self.painter.paint(run)
                yield Part(describe_values(run.values), self.base.steps, work)
                self._write_tables()

    def _make_all(self, count: int, total: int) -> Generator[Step, None, None]:
        if self.place.is_here:
            yield from super()._make_all(count, total)
            return
        finished = 0
        with self._hire(self.round) as crew:
            for runs in self._list_rounds():
                for run, machines in self._paint_together(runs, crew):
                    finished += run is not None
                    if run is not None:
                        self._write_tables()
                    text = f"{finished}/{count} {machines}".strip()
                    yield Step(finished * self.base.steps, total, text)

    # --- what is told

    def _find_front(self) -> list[Row]:
        placed = [(row, row.place) for row in self.rows if row.place]
        return [placed[i][0] for i in find_front([place for _, place in placed])]

    def _choose(self) -> Row | None:
        placed = [(row, row.place) for row in self.rows if row.place]
        return placed[find_knee([place for _, place in placed])][0] if placed else None

    def _marks(self) -> dict[str, set[str]]:
        return {"front": {row.run.name for row in self._find_front()}, **super()._marks()}

    def _draw_sheet(self, chosen: Row) -> Image.Image:
        """Draw the pictures of the front."""
        front = self._find_front()
        images = [self.painter.show(row.run) for row in front]
        captions = []
        for row in front:
            told = describe_row(row, self.rank if row is chosen else "")
            captions.append(f"{describe_values(row.run.values)}\n{told}")
        trials = f"the front of {len(self.rows)} trials, from the photograph to the style"
        title = f"{trials}: {self.pictures}"
        return draw_sheet(arrange(images), captions=arrange(captions), title=title)

    def _draw_figures(self, chosen: Row | None) -> None:
        if chosen:
            self.folder.draw_figure("pareto.png", lambda: self._plot_rows(chosen))

    def _write_recipe(self, chosen: Row) -> None:
        names = ", ".join(self.folder.facts["vary"])
        about = f"the knee of {len(self.rows)} trials of {names}: {self.pictures}"
        options = self.asked.model_copy(update=chosen.run.values)
        self.folder.write_recipe("knee.toml", about, options)


def tune(
    content: ImageSource,
    style: ImageSource | Sequence[ImageSource],
    folder: str | Path,
    options: PaintOptions | Mapping[str, Any] | None = None,
    *,
    on: str | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> TuneResult:
    """Search for options that come near to both pictures, with ``trials`` pictures in all.

    ``on`` says where, as for ``sweep``; as many are painted at a time as a ``round`` has.
    """
    asked, place = read_options(TuneOptions, options), choose_place(on)
    return finish(Tuning(content, style, asked, folder, place=place), on_step)
