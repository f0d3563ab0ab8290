"""Export a network for other programs, as work: one step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from impasto.errors import OptionError
from impasto.instant.onnx_export import export_onnx
from impasto.instant.options import ExportOptions
from impasto.instant.painter import open_net, read_palette
from impasto.system.files import check_place
from impasto.work import Request, Step

STYLE_SIDE = 512  # pixels at which styles are seen, if not said


@dataclass(frozen=True)
class Exported:
    """A network that was written."""

    path: Path
    styles: tuple[str, ...]

    def __str__(self) -> str:
        megabytes = self.path.stat().st_size / 1e6
        return f"wrote {self.path} ({megabytes:.1f} MB): {', '.join(self.styles)}"


class Export:
    """Writes a network and its styles as ONNX."""

    def __init__(self, styles: list[str], options: ExportOptions, output: Path) -> None:
        if options.model is not None and options.style_size is not None:
            raise OptionError("a model has learnt its styles at one size: no --style-size")
        self.output = check_place(output, "a network", [".onnx"])
        self.notes: list[str] = []
        self.palette = read_palette(
            styles, options.model, options.style_size or STYLE_SIDE, options.style_weight
        )
        self.net = open_net(options.model or "any").net

    @classmethod
    def from_request(cls, request: Request) -> Self:
        """Make the work that a request asks for."""
        if request.output is None:
            raise OptionError("export writes a file: name it")
        return cls(request.many("style"), ExportOptions.parse(request.options), request.output)

    def steps(self) -> Iterator[Step]:
        """Write the file."""
        export_onnx(self.output, self.net, self.palette)
        yield Step(1, 1, self.output.name)

    def result(self) -> Exported:
        """Return what was written."""
        return Exported(self.output, self.palette.names)
