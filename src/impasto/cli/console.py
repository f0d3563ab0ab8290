"""The terminal: lines on standard error, progress, tables, how help looks, Ctrl-C."""

from __future__ import annotations

import inspect
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

Command = TypeVar("Command", bound=Callable[..., Any])


def say(text: str) -> None:
    """To the user, beside the output that a program might read."""
    print(text, file=sys.stderr)


def make_progress(quiet: bool) -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        BarColumn(bar_width=24),
        # Names of files may hold brackets, which are no markup.
        TextColumn("{task.completed}/{task.total}  {task.fields[losses]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True, quiet=quiet),
    )


def print_table(rows: Iterable[Sequence[str]], header: Sequence[str] = ()) -> None:
    """Columns, with a line of heads if there are any."""
    from rich.console import Console
    from rich.table import Table

    rows = list(rows)
    heads = header or [""] * len(rows[0])
    table = Table(*heads, box=None, show_header=bool(header))
    for row in rows:
        table.add_row(*row)
    Console(soft_wrap=not sys.stdout.isatty(), highlight=False, markup=False).print(table)


@contextmanager
def catch_interrupt() -> Iterator[threading.Event]:
    """The first Ctrl-C sets the event, so that work stops where nothing is half done; the second
    stops it at once."""
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


def unwrapped(command: Command) -> Command:
    """The lines of its docstring's descriptions joined: help has a width of its own."""
    text = inspect.cleandoc(command.__doc__ or "")
    lines = re.compile(r"\n {4}(\S.*(?:\n {4}\S.*)+)")
    command.__doc__ = lines.sub(lambda found: "\n    " + " ".join(found[1].split()), text)
    return command


def describe_default(value: Any) -> str | None:
    """A default as one would type it; None where there is nothing to type."""
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value)) or None
    if isinstance(value, bool):
        return "yes" if value else None
    return None if value is None else str(value)


def split_panel(panel: Any, titles: Mapping[str, str]) -> Iterator[Any]:
    """A panel of many flags as several, in the order of ``titles``: one begins at each flag that is
    named there."""
    parts: dict[str, list[Any]] = {}
    here = panel.title
    for entry in panel.entries:
        here = next((titles[name] for name in entry.positive_names if name in titles), here)
        parts.setdefault(here, []).append(entry)
    places = list(titles.values())
    for title in sorted(parts, key=lambda title: title in places and places.index(title)):
        yield panel.copy(title=title, entries=parts[title])


def show_panels(titles: Mapping[str, str]) -> Callable[[Any, Any, Any], None]:
    """A formatter of help that shows many flags in panels of their own."""

    def show(console: Any, how: Any, panel: Any) -> None:
        from cyclopts.help import DefaultFormatter

        for part in split_panel(panel, titles):
            DefaultFormatter()(console, how, part)

    return show
