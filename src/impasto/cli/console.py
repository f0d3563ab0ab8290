"""The terminal: lines on standard error, progress, tables, how help looks, Ctrl-C."""

from __future__ import annotations

import inspect
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from impasto.errors import shorten

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_Command = TypeVar("_Command", bound=Callable[..., Any])


# What a terminal obeys instead of showing it: control characters, changes of direction, the
# separators of lines; and halves of characters, which cannot be written.
_UNPRINTABLE = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069\\ud800-\\udfff]"
)
INTERRUPTED = 130  # the exit code after Ctrl-C
_LONGEST_LINE = 2000  # characters
_SHOWN: dict[str, str] = {}  # what is printed in place of what


def make_printable(text: str) -> str:
    """Escape what a terminal would obey: names and recipes may come from strangers."""
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def say(text: str) -> None:
    """Print one line to the user, beside the output that a program might read."""
    _print(shorten(make_printable(text), _LONGEST_LINE), sys.stderr)


def choose_tell(quiet: bool) -> Callable[[str], None]:
    """Return what prints a line to the user, unless that is not wanted."""
    return (lambda _: None) if quiet else say


def print_line(text: object) -> None:
    """Print one line of the output that a program might read."""
    _print(make_printable(str(text)), sys.stdout)


@contextmanager
def showing_as(names: Mapping[str, str]) -> Iterator[None]:
    """Print what stands for something, as the beginning of paths, as that what it stands for."""
    _SHOWN.update(names)
    try:
        yield
    finally:
        _SHOWN.clear()


def _print(text: str, stream: TextIO) -> None:
    """Print with escapes for the letters that the stream's encoding lacks."""
    for path, shown in _SHOWN.items():
        text = text.replace(path, shown)
    encoding = stream.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream)


def make_progress(quiet: bool) -> Progress:
    """Return a progress bar on standard error; the field ``losses`` is the text beside it."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class PlainColumn(TextColumn):
        """Text that may be a file's name: no markup in brackets, no control characters."""

        def render(self, task: Task) -> Text:
            return Text(make_printable(self.text_format.format(task=task)))

    return Progress(
        BarColumn(bar_width=24),
        PlainColumn("{task.completed}/{task.total}  {task.fields[losses]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True, quiet=quiet),
    )


class ProgressBar:
    """A bar that appears when there is something to show."""

    def __init__(self, quiet: bool) -> None:
        self.quiet, self.stack = quiet, ExitStack()
        self.shown: tuple[Progress, TaskID] | None = None

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def update(self, done: int, total: int, text: str) -> None:
        """Move the bar, and say what the work is at."""
        if self.quiet:
            return
        if self.shown is None:
            progress = self.stack.enter_context(make_progress(self.quiet))
            self.shown = progress, progress.add_task("", total=total, losses="")
        progress, bar = self.shown
        progress.update(bar, completed=done, total=total, losses=text)


def print_table(rows: Iterable[Sequence[str]], header: Sequence[str] = ()) -> None:
    """Print columns, with a line of heads if there are any."""
    from rich.console import Console
    from rich.table import Table

    rows = list(rows)
    heads = header or [""] * len(rows[0])
    table = Table(*heads, box=None, show_header=bool(header))
    for row in rows:
        table.add_row(*map(make_printable, row))
    Console(soft_wrap=not sys.stdout.isatty(), highlight=False, markup=False).print(table)


@contextmanager
def catch_interrupt() -> Iterator[threading.Event]:
    """Yield an event that the first Ctrl-C sets, so that work stops where nothing is half done.

    The second stops it at once.
    """
    asked = threading.Event()
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # ignored, for example
        yield asked
        return

    def ask(*_: object) -> None:
        asked.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


# --- help ---------------------------------------------------------------------------------------


def unwrapped(command: _Command) -> _Command:
    """Join the lines of the descriptions in a docstring: help has a width of its own."""
    text = inspect.cleandoc(command.__doc__ or "")
    lines = re.compile(r"\n {4}(\S.*(?:\n {4}\S.*)+)")
    command.__doc__ = lines.sub(lambda found: "\n    " + " ".join(found[1].split()), text)
    return command


def describe_default(value: Any) -> str | None:
    """Return a default as one would type it; None where there is nothing to type."""
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value)) or None
    if isinstance(value, bool):
        return "yes" if value else None
    return None if value is None else str(value)


def split_panel(panel: Any, titles: Mapping[str, str]) -> Iterator[Any]:
    """Cut a panel of many flags at each flag that ``titles`` names; yield them in its order."""
    parts: dict[str, list[Any]] = {}
    here = panel.title
    for entry in panel.entries:
        here = next((titles[name] for name in entry.positive_names if name in titles), here)
        parts.setdefault(here, []).append(entry)
    places = list(titles.values())
    for title in sorted(parts, key=lambda title: title in places and places.index(title)):
        yield panel.copy(title=title, entries=parts[title])


def show_panels(titles: Mapping[str, str]) -> Callable[[Any, Any, Any], None]:
    """Return a formatter of help that shows many flags in panels of their own."""

    def show(console: Any, how: Any, panel: Any) -> None:
        from cyclopts.help import DefaultFormatter

        for part in split_panel(panel, titles):
            DefaultFormatter()(console, how, part)

    return show
