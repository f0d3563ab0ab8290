"""What the user sees on the terminal: lines on standard error, progress, tables."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress


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
        TextColumn("{task.completed}/{task.total}  {task.fields[losses]}"),
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
    Console(soft_wrap=not sys.stdout.isatty(), highlight=False).print(table)
