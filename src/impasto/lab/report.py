"""One page of a sweep, a study or a tuning: what was done, the best, every picture and number.

The page is a single file of HTML that loads nothing: its pictures lie in it, made smaller, its
style is inline, and it has no script. It is read from a folder as ``sweep``, ``study`` and ``tune``
leave it, holds no date and no path, and so is the same whenever it is written again.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import math
import os
import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from impasto.errors import MissingFileError, OptionError
from impasto.figures.contact_sheet import flatten
from impasto.system.files import check_place, replace_file

DISTANCES = ("style_distance", "content_distance", "distance")
MEASURED = (*DISTANCES, "total_loss", "style_loss", "content_loss", "steps", "seconds")
MANNERS = {
    "sweep": "with other options each time",
    "study": "each time in another way",
    "tune": "in search of options that come near to both",
}
NEARNESS = (
    "Each mark is one picture, by its distances from the photograph and from the style: nearer is "
    "lower and further left. No other is better in both than those on the stepped line."
)
# In the order they are shown in: the file, its heading, and what one sees.
FIGURES = {
    "sheet.png": ("Side by side", "Pictures on one sheet; its title says which."),
    "distances.png": ("Distances", NEARNESS),
    "pareto.png": ("Style against content", NEARNESS),
    "losses.png": (
        "Losses",
        "What each run brought down, step by step. Losses are weighed by the options themselves: "
        "a line tells whether its run had settled, not whether its picture is better than another.",
    ),
    "progress.png": (
        "As it grew",
        "The total loss over the steps, and those at which the picture was kept.",
    ),
    "times.png": (
        "Time",
        "When each step was done on the machine that painted, and the line that fits best.",
    ),
}
RECIPES = {
    "best.toml": "The options with the least distance",
    "knee.toml": "The options at the knee of the stepped line, where a step nearer to one begins "
    "to cost most of the other",
}
MEANING = (
    "Every picture was seen at 256 pixels by one network that no option changes. "
    "<b>Style distance</b> is 0 for the style picture itself and 1 for the photograph as it is. "
    "<b>Content distance</b> is 0 for the photograph and 1 for a picture that has nothing to do "
    "with it. <b>Distance</b> is the root of the sum of their squares: less is nearer to both. "
    "It is no eye: look at the pictures, too."
)
# Long sides in pixels: of figures, of the best, of each of up to 60 pictures, and of each of many.
WHOLE, LARGE, SMALL, LEAST = 2000, 1200, 480, 128
MANY = 60
LISTED = 12  # values of an option
SHOWN = 600  # pictures at most; a table of numbers is light
UNCHANGED = 400_000  # bytes up to which a figure is taken as it is: lines stay sharp

CHOSEN = ' class="chosen"'

CSS = """
:root { color-scheme: light dark; --paper: #fdfcfa; --ink: #22201d; --faint: #6a655d;
  --line: #d9d4cb; --panel: #f3f0ea; --mark: #fbe9b7; --accent: #8a4b08; }
@media screen and (prefers-color-scheme: dark) { :root { --paper: #191817; --ink: #e9e5de;
  --faint: #a8a197; --line: #45413b; --panel: #24221f; --mark: #4a3d17; --accent: #f0b266; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 72rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1, h2, h3 { line-height: 1.25; overflow-wrap: anywhere; }
h1 { font-size: 1.8rem; margin: 0 0 .5rem; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 .75rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.25rem 0 .4rem; }
p { max-width: 46rem; overflow-wrap: anywhere; }
a { color: var(--accent); }
code, pre { font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: .875rem; }
pre { background: var(--panel); border: 1px solid var(--line); border-radius: .4rem;
  padding: .75rem; white-space: pre-wrap; overflow-wrap: anywhere; user-select: all; }
figure { margin: 0; }
figcaption { color: var(--faint); font-size: .875rem; margin-top: .4rem; overflow-wrap: anywhere; }
img { display: block; max-width: 100%; height: auto; border-radius: .25rem; background: #fff; }
.note { background: var(--mark); border-radius: .4rem; padding: .75rem 1rem; }
.best, .figures { display: flex; flex-wrap: wrap; align-items: flex-start; gap: 1.25rem; }
.best > *, .figures > * { flex: 1 1 28rem; min-width: 0; }
.figures .whole { flex-basis: 100%; }
.gallery { display: grid; gap: 1.25rem; list-style: none; margin: 0; padding: 0;
  grid-template-columns: repeat(auto-fill, minmax(12rem, 1fr)); align-items: start; }
.gallery .chosen img { outline: .25rem solid var(--accent); outline-offset: .1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: left;
  white-space: nowrap; }
thead th { border-bottom-width: 2px; }
.number { text-align: right; }
tr.chosen { background: var(--mark); font-weight: 600; }
td.value { white-space: normal; overflow-wrap: anywhere; }
footer { margin-top: 3rem; color: var(--faint); font-size: .875rem; }
@media print { main { max-width: none; padding: 0; } h2, h3 { break-after: avoid; }
  figure, pre, tr { break-inside: avoid; } .best, .figures, .gallery { display: block; }
  .gallery li, .figures div { display: inline-block; width: 32%; vertical-align: top; }
  .figures div { width: 49%; } .figures .whole { width: 100%; } .wide { overflow: visible; }
  th, td { white-space: normal; padding: .2rem .3rem; } table { font-size: .65rem; } }
"""


@dataclass(frozen=True)
class Run:
    """One picture of a study: its row of the table, and where it lies."""

    name: str
    label: str  # the number that its name begins with
    values: dict[str, str]  # of the options that were varied
    numbers: dict[str, str]  # what was measured; no distances if its loss was no longer a number
    marks: dict[str, bool]  # best, and whatever else it was found to be
    picture: Path
    kept: list[Path]  # the picture as it was at some steps

    @property
    def is_best(self) -> bool:
        return self.marks.get("best", False)

    @property
    def is_measured(self) -> bool:
        return is_number(self.numbers["distance"])

    def describe(self) -> str:
        values = ", ".join(f"{name} {round_number(value)}" for name, value in self.values.items())
        return f"Run {self.label}{' (best)' if self.is_best else ''}{values and ': '}{values}"


@dataclass(frozen=True)
class Study:
    """A folder that a sweep, a study or a tuning wrote, or is still writing."""

    folder: Path
    record: dict[str, Any]
    runs: list[Run]

    @property
    def best(self) -> Run | None:
        return next((run for run in self.runs if run.is_best), None)

    @property
    def styles(self) -> list[str]:
        return [str(each) for each in self.record.get("style") or []]

    @property
    def varied(self) -> dict[str, list[str]]:
        """The options in which runs differ, and the values that they were given."""
        names = self.runs[0].values if self.runs else ()
        return {name: list(dict.fromkeys(run.values[name] for run in self.runs)) for name in names}

    def choose_shown(self) -> list[int]:
        """The places of the runs whose pictures there is room for: the nearest."""
        distances = [float(r.numbers["distance"]) if r.is_measured else math.inf for r in self.runs]
        return sorted(sorted(range(len(self.runs)), key=lambda place: distances[place])[:SHOWN])


# --- reading ------------------------------------------------------------------------------------


def read_study(folder: Path) -> Study:
    """What stands in the folder; a table that is not there yet is an empty one."""
    path = folder / "record.json"
    if not path.is_file():
        raise MissingFileError(
            f"no study in {str(folder)!r}: it has no record.json, which sweep, study and tune write"
        )
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OptionError(f"{str(path)!r} is damaged: {error}") from None
    if not isinstance(record, dict) or record.get("operation") not in MANNERS:
        raise OptionError(f"{str(path)!r} is the record of no sweep, study or tuning")
    return Study(folder, record, read_runs(folder))


def read_runs(folder: Path) -> list[Run]:
    """The rows of the table: a name, what was varied, what was measured, and marks."""
    path = folder / "results.csv"
    if not path.is_file():
        return []
    try:
        text = path.read_text(encoding="utf-8")
        head, *rows = csv.reader(io.StringIO(text, newline=""))
    except (OSError, ValueError, csv.Error) as error:
        raise OptionError(f"{str(path)!r} is damaged: {error}") from None
    # By place: an option that was varied may be called as a measure is, such as steps.
    first = head.index(MEASURED[0]) if MEASURED[0] in head else 0
    last = first + len(MEASURED)
    if head[first:last] != [*MEASURED] or any(len(row) != len(head) for row in rows):
        raise OptionError(f"{str(path)!r} is no table of runs: its columns are others")
    labels = [re.sub(r"(?<=\d)-.*", "", row[0], flags=re.DOTALL) for row in rows]
    if len(set(labels)) < len(rows):
        labels = [row[0] for row in rows]
    kept: dict[str, list[Path]] = {}
    for picture in sorted((folder / "runs").glob("*.png")):
        name, _, step = picture.stem.rpartition("-")
        if step.isdigit():
            kept.setdefault(name, []).append(picture)
    return [
        Run(
            row[0],
            label,
            dict(zip(head[1:first], row[1:first], strict=True)),
            dict(zip(MEASURED, row[first:last], strict=True)),
            {name: cell == "1" for name, cell in zip(head[last:], row[last:], strict=True)},
            folder / "runs" / f"{Path(row[0]).name}.png",
            kept.get(row[0], []),
        )
        for row, label in zip(rows, labels, strict=True)
    ]


# --- words and pictures -------------------------------------------------------------------------


def round_number(text: str) -> str:
    """Four digits of a number; anything else as it is."""
    if is_number(text) and not text.strip().lstrip("+-").isdigit():
        number = float(text)
        return f"{number:.0f}" if 1e4 <= abs(number) < 1e7 else f"{number:.4g}"
    return text


def is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def join_and(names: Iterable[str]) -> str:
    *first, last = [*names] or ["nothing"]
    return f"{', '.join(first)} and {last}" if first else last


def spell(name: str) -> str:
    return name.replace("_", " ")


def embed(path: Path, side: int, unchanged: int = 0) -> tuple[str, int, int] | None:
    """A picture as a data URI, its long side at most ``side``, with its size; None if there is
    none that can be read."""
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content)) as image:
            if image.format == "PNG" and len(content) <= unchanged:
                image.verify()
                return name_data(content, "png"), *image.size
            small = flatten(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    written = io.BytesIO()
    small.save(written, "WEBP", quality=78, method=4)
    return name_data(written.getvalue(), "webp"), *small.size


def name_data(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def show_captioned(path: Path, side: int, about: str, caption: str, unchanged: int = 0) -> str:
    seen = embed(path, side, unchanged)
    picture = '<p class="note">There is no picture, or none that can be read.</p>'
    if seen is not None:
        source, width, height = seen
        size = f'width="{width}" height="{height}"'
        picture = f'<img src="{source}" {size} alt="{escape(about)}" loading="lazy">'
    return f"<figure>{picture}<figcaption>{escape(caption)}</figcaption></figure>"


# --- the page, part by part ---------------------------------------------------------------------


def title_study(study: Study) -> str:
    operation, about = study.record["operation"], study.record.get("about")
    if operation == "study" and about:
        return f"Study: {about}"
    what = "Search" if operation == "tune" else operation.capitalize()
    return f"{what} over {join_and(study.varied)}" if study.varied else what


def write_head(study: Study) -> Iterator[str]:
    count = len(study.runs)
    content = f"<b>{escape(str(study.record.get('content')))}</b>"
    styles = join_and(f"<b>{escape(name)}</b>" for name in study.styles)
    manner = "once" if count == 1 else f"{count} times, {MANNERS[study.record['operation']]}"
    yield f"<h1>{escape(title_study(study))}</h1>"
    yield f"<p>{content}, painted after {styles} {manner}."
    if subject := study.record.get("subject"):
        yield f" The study is called <code>{escape(str(subject))}</code>."
    yield "</p>"
    if study.varied:
        yield "<ul>"
        for name, values in study.varied.items():
            yield f"<li><code>{escape(name)}</code>: {escape(list_values(values))}</li>"
        yield "</ul>"
    if lost := [run.label for run in study.runs if not run.is_measured]:
        yield f'<p class="note">No picture came of {escape(join_and(lost))}: '
        yield "the loss was no longer a number.</p>"
    if lacks := list_lacks(study):
        yield f'<p class="note"><b>Not finished.</b> {escape(" ".join(lacks))} The same command '
        yield "goes on where it was; then write this page again.</p>"


def list_values(values: list[str]) -> str:
    """All of a few, the range of many."""
    if len(values) <= LISTED:
        return ", ".join(map(round_number, values))
    ordered = sorted(values, key=float) if all(map(is_number, values)) else values
    return f"{round_number(ordered[0])} … {round_number(ordered[-1])} ({len(values)} values)"


def list_lacks(study: Study) -> list[str]:
    """What a folder that is finished would have."""
    lacks = []
    if not study.runs:
        lacks.append("No run is at its end yet.")
    planned = study.record.get("runs")
    if isinstance(planned, int) and 0 < len(study.runs) < planned:
        lacks.append(f"{len(study.runs)} of {planned} runs are at their end.")
    missing = [run.label for run in study.runs if run.is_measured and not run.picture.is_file()]
    if missing:
        lacks.append(f"The pictures of {join_and(missing)} are missing.")
    if begun := sorted(path.stem for path in (study.folder / "runs").glob("*.ckpt")):
        lacks.append(f"Begun, and not at its end: {join_and(begun)}.")
    return lacks


def write_best(study: Study) -> Iterator[str]:
    best = study.best
    texts = {name: text for name in RECIPES if (text := read_text(study.folder / name)) is not None}
    if best is None and not texts:
        return
    yield '<section><h2>The best</h2><div class="best">'
    if best is not None:
        yield show_run(best, LARGE)
    yield "<div>"
    for name, text in texts.items():
        yield f"<h3>Its recipe</h3><p>{RECIPES[name]}, as <code>{name}</code>:</p>"
        yield f"<pre><code>{escape(text.strip())}</code></pre>"
        command = escape(write_command(study, name))
        yield f"<p>To paint with it:</p><pre><code>{command}</code></pre>"
    yield "</div></div></section>"


def read_text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None


def write_command(study: Study, recipe: str) -> str:
    words = ["impasto", "paint", str(study.record.get("content"))]
    for style in study.styles:
        words += ["--style", style]
    return shlex.join([*words, "--recipe", recipe])


def show_run(run: Run, side: int) -> str:
    """Its picture and its distances."""
    told = [f"{spell(n)} {round_number(run.numbers[n])}" for n in DISTANCES if run.numbers[n]]
    about = run.describe()
    caption = f"{about}. {'; '.join(told).capitalize()}" if told else about
    return show_captioned(run.picture, side, about, caption)


def write_figures(study: Study) -> Iterator[str]:
    there = {name: words for name, words in FIGURES.items() if (study.folder / name).is_file()}
    if not there:
        return
    yield '<section><h2>At a glance</h2><div class="figures">'
    for name, (heading, about) in there.items():
        whole = ' class="whole"' if name == "sheet.png" else ""
        figure = show_captioned(study.folder / name, WHOLE, f"{heading}: {about}", about, UNCHANGED)
        yield f"<div{whole}><h3>{heading}</h3>{figure}</div>"
    yield "</div></section>"


def write_gallery(study: Study) -> Iterator[str]:
    shown = study.choose_shown()
    if not shown:
        return
    count = sum(1 + len(study.runs[place].kept) for place in shown)
    side = max(LEAST, round(SMALL * min(1, MANY / count) ** 0.5))
    yield "<section><h2>The pictures</h2>"
    if len(shown) < len(study.runs):
        yield f"<p>The {len(shown)} of {len(study.runs)} that are nearest to both.</p>"
    yield '<ul class="gallery">'
    for place in shown:
        run = study.runs[place]
        for picture in run.kept:
            about = f"Run {run.label} at step {int(picture.stem.rpartition('-')[2])}"
            yield f"<li>{show_captioned(picture, side, about, about)}</li>"
        yield f'<li id="run-{place}"{CHOSEN if run.is_best else ""}>{show_run(run, side)}</li>'
    yield "</ul></section>"


def write_table(study: Study) -> Iterator[str]:
    if study.runs:
        yield "<section><h2>Every number</h2>"
        rows = [[*run.values.values(), *run.numbers.values()] for run in study.runs]
        heads = [*study.varied, *map(spell, MEASURED)]
        sides = [write_side(column) for column in zip(*rows, strict=True)]
        marks = list(study.runs[0].marks)
        yield '<div class="wide" role="region" aria-label="Results" tabindex="0"><table>'
        yield '<thead><tr><th scope="col" class="number">run</th>'
        for name, side in zip(heads, sides, strict=True):
            yield f'<th scope="col"{side}>{escape(name)}</th>'
        for name in marks:
            yield f'<th scope="col">{escape(name)}</th>'
        yield "</tr></thead><tbody>"
        shown = set(study.choose_shown())
        for place, (run, row) in enumerate(zip(study.runs, rows, strict=True)):
            label = escape(run.label)
            link = f'<a href="#run-{place}">{label}</a>' if place in shown else label
            yield f'<tr{CHOSEN if run.is_best else ""}><th scope="row" class="number">{link}</th>'
            for text, side in zip(row, sides, strict=True):
                yield f"<td{side}>{escape(round_number(text)) or '-'}</td>"
            for name in marks:
                yield f"<td>{escape(name) if run.marks[name] else ''}</td>"
            yield "</tr>"
        yield "</tbody></table></div></section>"


def write_side(texts: Iterable[str]) -> str:
    """Numbers stand at the right."""
    return ' class="number"' if all(is_number(text) or not text for text in texts) else ""


def write_options(study: Study) -> Iterator[str]:
    options = study.record.get("options")
    if not isinstance(options, dict) or not options:
        return
    yield "<section><h2>The options</h2><p>What was other than the default in every run.</p>"
    yield "<table><tbody>"
    for name, value in options.items():
        if name not in study.varied:
            yield f'<tr><th scope="row">{escape(str(name))}</th>'
            yield f'<td class="value">{escape(spell_value(value))}</td></tr>'
    yield "</tbody></table></section>"


def spell_value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(spell_value, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


def write_page(study: Study) -> Iterator[str]:
    """The lines of the page."""
    yield '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{escape(title_study(study))}</title><style>{CSS}</style></head><body><main>"
    yield from write_head(study)
    yield from write_best(study)
    yield f"<section><h2>How it was measured</h2><p>{MEANING}</p></section>"
    for part in (write_figures, write_gallery, write_table, write_options):
        yield from part(study)
    yield f"<footer>Impasto {escape(str(study.record.get('impasto')))}. Beside this page: pictures "
    yield "with their recipes in runs; a row for each run in results.csv, for each step in "
    yield "losses.csv.</footer></main></body></html>"


def write_report(folder: str | os.PathLike[str]) -> Path:
    """Write ``report.html`` into the folder of a sweep, a study or a tuning."""
    folder = Path(folder)
    study = read_study(folder)
    place = check_place(folder / "report.html", "a report")
    page = "\n".join(write_page(study)) + "\n"
    replace_file(place, page.encode(errors="replace"))  # file names may hold what is no text
    return place
