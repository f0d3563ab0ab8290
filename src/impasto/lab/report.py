"""One page of a sweep, a study or a tuning: what was done, the best, every picture and number.

The page is a single file of HTML that loads nothing: its pictures lie in it, made smaller, its
style is inline, and it has no script. It is made from a folder as ``sweep``, ``study`` and ``tune``
leave it, by the template ``data/report.html``. It holds no date and no path, and so is the same
whenever it is written again.
"""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Self

from impasto.lab.html_parts import (
    NOTHING,
    Html,
    fill,
    fill_cells,
    join_parts,
    read_words,
    show_picture,
)
from impasto.lab.options import ReportOptions
from impasto.lab.run_folder import RunFolder
from impasto.lab.runs import MEASURED
from impasto.lab.words import (
    is_numeric,
    list_values,
    list_words,
    round_number,
    spell_name,
    spell_value,
)
from impasto.system.files import check_place, replace_file
from impasto.work import Request, Step, finish

_MANNERS = {
    "sweep": "with other options each time",
    "study": "each time in another way",
    "tune": "in search of options that come near to both",
}
# In the order they are shown in; the template says what one sees.
_FIGURES = ("sheet.png", "distances.png", "pareto.png", "losses.png", "progress.png", "times.png")
# Long sides in pixels: of figures, of the best, of each of up to 60 pictures, and of each of many.
_WHOLE, _LARGE, _SMALL, _LEAST = 2000, 1200, 480, 128
_MANY = 60
MOST_PICTURES = 600  # a table of numbers is light
_UNCHANGED = 400_000  # bytes up to which a figure is taken as it is: lines stay sharp


_CHOSEN, _NUMBER, _WIDE = (
    Html(text) for text in (' class="chosen"', ' class="number"', ' class="whole"')
)


def _read_text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None


# --- the page -----------------------------------------------------------------------------------


class Page:
    """The page of a folder, part by part; a part of which there is nothing is empty."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder, self.facts, self.runs = folder, folder.facts, folder.read_results()
        self.styles = [str(each) for each in self.facts.get("style") or []]
        labels = [re.sub(r"(?<=\d)-.*", "", run.name, flags=re.DOTALL) for run in self.runs]
        if len(set(labels)) < len(labels):
            labels = [run.name for run in self.runs]
        self.labels = labels  # the numbers that names begin with
        self.varied = {
            name: list(dict.fromkeys(run.values[name] for run in self.runs))
            for name in (self.runs[0].values if self.runs else ())
        }
        distances = [math.inf if r.distance is None else r.distance for r in self.runs]
        nearest = sorted(range(len(self.runs)), key=lambda place: distances[place])
        self.shown = sorted(nearest[:MOST_PICTURES])  # places of runs whose pictures have room

    def write(self) -> Html:
        """Return the whole page."""
        return fill(
            "page",
            title=self._title(),
            **self._write_head(),
            best=self._write_best(),
            figures=self._write_figures(),
            pictures=self._write_pictures(),
            numbers=self._write_numbers(),
            options=self._write_options(),
            version=self.facts.get("impasto"),
        )

    def _title(self) -> str:
        operation, about = self.facts["operation"], self.facts.get("about")
        if operation == "study" and about:
            return f"Study: {about}"
        what = "Search" if operation == "tune" else str(operation).capitalize()
        return f"{what} over {list_words(self.varied)}" if self.varied else what

    def _write_head(self) -> dict[str, Html]:
        count, subject = len(self.runs), self.facts.get("subject")
        manner = _MANNERS[self.facts["operation"]]
        painted = fill(
            "painted",
            content=self.facts.get("content"),
            styles=Html(list_words(fill("bold", text=name) for name in self.styles)),
            times="once" if count == 1 else f"{count} times, {manner}",
        )
        items = [
            fill("varied option", name=name, values=list_values(values))
            for name, values in self.varied.items()
        ]
        lost = [self.labels[place] for place, run in enumerate(self.runs) if run.distance is None]
        lacks = " ".join(self._list_lacks())
        return {
            "painted": painted,
            "called": fill("called", subject=subject) if subject else NOTHING,
            "varied": fill("varied", items=join_parts(items)) if items else NOTHING,
            "lost": fill("lost", runs=list_words(lost)) if lost else NOTHING,
            "lacks": fill("lacks", lacks=lacks) if lacks else NOTHING,
        }

    def _list_lacks(self) -> Iterator[str]:
        """Yield what a folder that is finished would have."""
        if not self.runs:
            yield "No run is at its end yet."
        planned = self.facts.get("runs")
        if isinstance(planned, int) and 0 < len(self.runs) < planned:
            yield f"{len(self.runs)} of {planned} runs are at their end."
        missing = [
            self.labels[place]
            for place, run in enumerate(self.runs)
            if run.distance is not None and not self.folder.picture(run.name).is_file()
        ]
        if missing:
            yield f"The pictures of {list_words(missing)} are missing."
        if begun := sorted(path.stem for path in (self.folder.path / "runs").glob("*.ckpt")):
            yield f"Begun, and not at its end: {list_words(begun)}."

    def _write_best(self) -> Html:
        best = [place for place, run in enumerate(self.runs) if run.is_best][:1]
        recipes = []
        for name in ("best.toml", "knee.toml"):
            if (text := _read_text(self.folder.path / name)) is not None:
                words = ["impasto", "paint", str(self.facts.get("content"))]
                words += [word for style in self.styles for word in ("--style", style)]
                command = shlex.join([*words, "--recipe", name])
                told = {
                    "about": read_words(name),
                    "name": name,
                    "text": text.strip(),
                    "command": command,
                }
                recipes.append(fill("recipe", **told))
        if not (best or recipes):
            return NOTHING
        picture = join_parts(self._show_run(place, _LARGE) for place in best)
        return fill("best", picture=picture, recipes=join_parts(recipes))

    def _show_run(self, place: int, side: int) -> Html:
        """Show the picture of a run and its distances."""
        run = self.runs[place]
        values = ", ".join(f"{name} {round_number(value)}" for name, value in run.values.items())
        about = f"Run {self.labels[place]}{' (best)' if run.is_best else ''}"
        about += f": {values}" if values else ""
        distances = zip(MEASURED[:3], run.measured, strict=False)
        told = [f"{spell_name(n)} {round_number(str(v))}" for n, v in distances if v is not None]
        caption = f"{about}. {'; '.join(told).capitalize()}" if told else about
        return show_picture(self.folder.picture(run.name), side, about, caption)

    def _write_figures(self) -> Html:
        items = []
        for name in _FIGURES:
            if (path := self.folder.path / name).is_file():
                heading, _, about = read_words(name).partition(": ")
                picture = show_picture(path, _WHOLE, f"{heading}: {about}", about, _UNCHANGED)
                kind = _WIDE if name == "sheet.png" else NOTHING
                items.append(fill("figure", kind=kind, heading=heading, picture=picture))
        return fill("figures", items=join_parts(items)) if items else NOTHING

    def _write_pictures(self) -> Html:
        if not self.shown:
            return NOTHING
        kept = self._find_kept()
        count = sum(1 + len(kept.get(self.runs[place].name, ())) for place in self.shown)
        side = max(_LEAST, round(_SMALL * min(1, _MANY / count) ** 0.5))
        items = []
        for place in self.shown:
            run = self.runs[place]
            for path in kept.get(run.name, ()):
                about = f"Run {self.labels[place]} at step {int(path.stem.rpartition('-')[2])}"
                picture = show_picture(path, side, about, about)
                items.append(fill("item", kind=NOTHING, picture=picture))
            kind = Html(f' id="run-{place}"{_CHOSEN if run.is_best else ""}')
            items.append(fill("item", kind=kind, picture=self._show_run(place, side)))
        some = NOTHING
        if len(self.shown) < len(self.runs):
            some = fill("some", shown=len(self.shown), count=len(self.runs))
        return fill("pictures", some=some, items=join_parts(items))

    def _find_kept(self) -> dict[str, list[Path]]:
        """Return the pictures that were kept at steps, by the run's name."""
        kept: dict[str, list[Path]] = {}
        for path in sorted((self.folder.path / "runs").glob("*.png")):
            name, _, step = path.stem.rpartition("-")
            if step.isdecimal():
                kept.setdefault(name, []).append(path)
        return kept

    def _write_numbers(self) -> Html:
        if not self.runs:
            return NOTHING
        lines = [
            [*run.values.values(), *("" if each is None else str(each) for each in run.measured)]
            for run in self.runs
        ]
        kinds = [
            _NUMBER if all(is_numeric(text) or not text for text in column) else NOTHING
            for column in zip(*lines, strict=True)
        ]
        marks = list(self.runs[0].marks)
        kinds += [NOTHING] * len(marks)
        heads = [*self.varied, *map(spell_name, MEASURED), *marks]
        rows, shown = [], set(self.shown)
        for place, (run, line) in enumerate(zip(self.runs, lines, strict=True)):
            label = Html(escape(self.labels[place]))
            texts = [round_number(text) or "-" for text in line]
            texts += [mark if run.marks[mark] else "" for mark in marks]
            cells = fill_cells("cell", texts, kinds)
            if place in shown:
                label = fill("link", place=place, label=label)
            kind = _CHOSEN if run.is_best else NOTHING
            rows.append(fill("row", kind=kind, label=label, cells=cells))
        return fill("numbers", heads=fill_cells("head", heads, kinds), rows=join_parts(rows))

    def _write_options(self) -> Html:
        options = self.facts.get("options")
        if not isinstance(options, dict) or not options:
            return NOTHING
        rows = [
            fill("option", name=name, value=spell_value(value))
            for name, value in options.items()
            if name not in self.varied
        ]
        return fill("options", rows=join_parts(rows))


class Report:
    """The page ``report.html`` in the folder of a sweep, a study or a tuning."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        folder = Path(folder)
        self.notes: list[str] = []
        self.page = Page(RunFolder.read(folder, _MANNERS))
        self.path = check_place(folder / "report.html", "a report")

    @classmethod
    def from_request(cls, request: Request) -> Self:
        """Make the work from plain data."""
        ReportOptions.parse(request.options)
        return cls(request.one("folder"))

    def steps(self) -> Iterator[Step]:
        """Write the page in one step."""
        text = f"{self.page.write()}\n"
        replace_file(self.path, text.encode(errors="replace"))  # names may hold what is no text
        yield Step(1, 1, self.path.name)

    def result(self) -> Path:
        """Return where the page lies."""
        return self.path


def write_report(folder: str | os.PathLike[str]) -> Path:
    """Write ``report.html`` into the folder of a sweep, a study or a tuning."""
    return finish(Report(folder))
