"""Export a network for other programs or for a page, as work: one step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from impasto.errors import OptionError
from impasto.instant.onnx_export import export_onnx
from impasto.instant.options import ExportOptions
from impasto.instant.painter import open_net, read_palette
from impasto.instant.web_export import export_web
from impasto.system.files import check_place
from impasto.work import Request, Step

STYLE_SIDE = 512  # pixels at which styles are seen, if not said


@dataclass(frozen=True)
class Exported:
    """A network that was written: a file, or a folder of some."""

    path: Path
    contents: tuple[str, ...]  # styles, or files

    def __str__(self) -> str:
        files = [self.path]
        if self.path.is_dir():
            files = [self.path / name for name in self.contents]
        megabytes = sum(file.stat().st_size for file in files) / 1e6
        return f"wrote {self.path} ({megabytes:.1f} MB): {', '.join(self.contents)}"


class Export:
    """Writes a network and its styles as ONNX, or the network for any style for a page."""

    def __init__(self, styles: list[str], options: ExportOptions, output: Path) -> None:
        self.notes: list[str] = []
        self.palette = None
        if options.for_ == "web":
            given = {
                "--style": bool(styles),
                "--style-size": options.style_size is not None,
                "--style-weight": options.style_weight is not None,
            }
            if refused := [name for name, is_given in given.items() if is_given]:
                raise OptionError(f"a page reads styles itself: no {', '.join(refused)}")
            self.output, self.file = check_page(output), open_net(options.model or "any")
            return
        if options.model is not None and options.style_size is not None:
            raise OptionError("a model has learnt its styles at one size: no --style-size")
        self.output = check_place(output, "a network", [".onnx"])
        self.palette = read_palette(
            styles, options.model, options.style_size or STYLE_SIDE, options.style_weight
        )
        self.file = open_net(options.model or "any")

    @classmethod
    def from_request(cls, request: Request) -> Self:
        """Make the work that a request asks for."""
        if request.output is None:
            raise OptionError("export writes a file: name it")
        return cls(request.many("style"), ExportOptions.parse(request.options), request.output)

    def steps(self) -> Iterator[Step]:
        """Write the file, or the files."""
        if self.palette is None:
            self.written = tuple(path.name for path in export_web(self.output, self.file))
        else:
            export_onnx(self.output, self.file.net, self.palette)
            self.written = self.palette.names
        yield Step(1, 1, self.output.name)

    def result(self) -> Exported:
        """Return what was written."""
        return Exported(self.output, self.written)


def check_page(path: Path) -> Path:
    """Check that a folder can be written to, or be made."""
    if path.exists() and not path.is_dir():
        raise OptionError(f"{str(path)!r} is a file; a page's files go into a folder")
    return path
