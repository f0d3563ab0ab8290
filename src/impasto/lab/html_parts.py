"""Parts of the report's HTML, filled in: all text is escaped, and pictures lie in the page.

The template ``data/report.html`` holds the page, and after it the parts of which a page has many,
each after a line that names it.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable
from functools import cache
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

from PIL import Image

from impasto.figures.contact_sheet import flatten


class Html(str):
    """Text that is markup already; any other is escaped."""

    __slots__ = ()


NOTHING = Html("")


@cache
def _read_parts() -> dict[str, Template]:
    """Read the parts of the template by their names; the page itself is ``page``."""
    text = (resources.files("impasto") / "data" / "report.html").read_text("utf-8")
    names_and_parts = re.split(r"<!-- part: (.+) -->\n", f"<!-- part: page -->\n{text}")[1:]
    names, parts = names_and_parts[::2], names_and_parts[1::2]
    return {name: Template(part[:-1]) for name, part in zip(names, parts, strict=True)}


def fill(part: str, **values: object) -> Html:
    """Fill a part of the template in."""
    texts = {n: v if isinstance(v, Html) else escape(str(v)) for n, v in values.items()}
    return Html(_read_parts()[part].substitute(texts))


def read_words(part: str) -> str:
    """Return a part of the template that is plain text."""
    return _read_parts()[part].template


def join_parts(parts: Iterable[Html]) -> Html:
    """Put parts below one another."""
    return Html("\n".join(parts))


def fill_cells(part: str, texts: Iterable[str], kinds: Iterable[Html]) -> Html:
    """Fill the cells of a table's line in."""
    cells = zip(texts, kinds, strict=True)
    return Html("".join(fill(part, text=text, kind=kind) for text, kind in cells))


def _embed(path: Path, side: int, unchanged: int = 0) -> tuple[str, int, int] | None:
    """Return a picture as a data URI, its long side at most ``side``, with its size.

    None stands for one that is not there or cannot be read.
    """
    try:
        content, kind = path.read_bytes(), "png"
        with Image.open(io.BytesIO(content)) as image:
            size = image.size
            if image.format == "PNG" and len(content) <= unchanged:
                image.verify()
            else:
                small = flatten(image)
                small.thumbnail((side, side), Image.Resampling.LANCZOS)
                written = io.BytesIO()
                small.save(written, "WEBP", quality=78, method=4)
                content, kind, size = written.getvalue(), "webp", small.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}", *size


def show_picture(path: Path, side: int, about: str, caption: str, unchanged: int = 0) -> Html:
    """Show a picture and its caption; ``about`` is for those who do not see it."""
    picture = fill("no image")
    if (seen := _embed(path, side, unchanged)) is not None:
        source, width, height = seen
        picture = fill("image", source=source, width=width, height=height, about=about)
    return fill("captioned", picture=picture, caption=caption)
