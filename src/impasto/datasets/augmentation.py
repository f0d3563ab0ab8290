"""Copies of a labelled set of pictures, painted over and disturbed, with the same labels.

What is done to a copy and with which others it is painted follows from the options and the list
alone (``copy_plan``), and is done in one thread. So the same command gives the same bytes: in
however many processes, and whether or not it was broken off between.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import torch

from impasto.cluster.crew import hire_crew
from impasto.cluster.places import HERE, WorkPlace, choose_place
from impasto.cluster.worker import WorkerSpec
from impasto.datasets.batch_stylisers import STYLISERS
from impasto.datasets.copy_plan import Chunk, Copy, plan_chunks
from impasto.datasets.disturbances import NOISES
from impasto.datasets.labelled_set import Entry, LabelledSet, find_styles, read_labelled
from impasto.datasets.options import AugmentOptions
from impasto.datasets.workshop import Made, Workshop
from impasto.errors import ImageError, ImpastoError, OptionError, describe_reason
from impasto.images.reading import read_image
from impasto.images.writing import WRITABLE
from impasto.system.devices import has_fast_bfloat16
from impasto.system.files import LOCK, make_folder, replace_file, resolve_path, working_in
from impasto.work import Request, Step, finish

_NOTES = 10  # different notes on pictures that are told
_FACTS, _MANIFEST, _LABELS = "augment.json", "manifest.csv", "labels.csv"
# What is wrong with the disk, and with no one picture: full, read-only, over a quota, broken.
_OF_THE_DISK = (errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO)
MANIFEST_COLUMNS = (
    "file",
    "label",
    "source",
    "copy",
    "style",
    "strength",
    "noise",
    "parameters",
    "seed",
)


@dataclass(frozen=True)
class Augmented:
    """A data set that was written, as far as it was."""

    folder: Path
    written: int  # files, originals among them
    kept: int  # that were there already
    failed: list[tuple[str, str]]  # pictures, and what was wrong with them
    seconds: float


# --- a data set in, a data set out --------------------------------------------------------------


_Styles = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


@dataclass
class Tally:
    """How far the work has come."""

    kept: int = 0
    written: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)  # chunks
    notes: Counter[str] = field(default_factory=Counter)
    began: float = field(default_factory=time.perf_counter)

    def speed(self) -> str:
        return f"{self.written / max(time.perf_counter() - self.began, 1e-9):.1f} images/s"


class Augmentation:
    """Writes copies of a labelled set, chunk by chunk; ``result()`` says how it went so far.

    Work that was broken off goes on where it was, if it is the same; of what has begun, the folder
    keeps a description.
    """

    def __init__(
        self,
        source: str | os.PathLike[str],
        out: str | os.PathLike[str],
        styles: _Styles = (),
        options: AugmentOptions | None = None,
        *,
        place: WorkPlace = HERE,
    ) -> None:
        self.options = options or AugmentOptions()
        self.out, self.place = Path(out), place
        self.pictures = read_labelled(source)
        self.notes = list(self.pictures.notes)
        check_out(self.out, self.pictures)
        self.styles = find_styles(styles)
        if not self.styles and not self.options.noise:
            raise OptionError("nothing to do to the copies; give --styles, --noise or both")
        self._check_styles()
        self.facts = self._describe()
        self.resumed = check_same(self.out, self.facts)
        self.chunks = plan_chunks(self.pictures.entries, self.options, len(self.styles))
        self._note_formats()
        self.tally = Tally()

    @classmethod
    def from_request(cls, request: Request) -> Self:
        """Make the work that a request asks for."""
        if request.output is None:
            raise OptionError("augment writes a folder: name it")
        options = AugmentOptions.parse(request.options)
        source, styles = request.one("source"), request.many("styles")
        return cls(source, request.output, styles, options, place=request.place)

    def _describe(self) -> dict[str, Any]:
        """Return all that the bytes of the files depend on; of pictures, names and digests."""
        fast = has_fast_bfloat16(torch.device("cpu"))
        return {
            "made with": {
                "impasto": version("impasto"),
                "torch": torch.__version__,
                "numbers": "bfloat16" if fast else "float32",
            },
            "options": self.options.model_dump(mode="json"),
            "styles": [
                [path.name, hashlib.sha256(path.read_bytes()).hexdigest()] for path in self.styles
            ],
            "pictures": self.pictures.digest(),
        }

    def _check_styles(self) -> None:
        """Raise an error where a style cannot be read, or is too small for the styliser."""
        name = self.options.styliser
        least = STYLISERS[name].least_style
        for path in self.styles:
            width, height = read_image(path, max_megapixels=self.options.max_megapixels).size
            if min(width, height) < least:
                raise ImageError(
                    f"the style {path.name!r} is {width} x {height} pixels; the styliser {name} "
                    f"needs at least {least} x {least}"
                )

    def _note_formats(self) -> None:
        suffixes = Counter(Path(entry.path).suffix.lower() for entry in self.pictures.entries)
        if self.options.format == "same":
            for suffix in sorted(set(suffixes) - set(WRITABLE)):
                self.notes.append(f"copies of {suffixes[suffix]} {suffix} pictures are .png")

    def steps(self) -> Iterator[Step]:
        """Write what is not there yet, yielding after each chunk."""
        make_folder(self.out)
        with working_in(self.out):
            self._begin()
            yield from self._write()

    def _write(self) -> Iterator[Step]:
        tally, total = self.tally, sum(len(list(chunk.files())) for chunk in self.chunks)
        left = []
        for chunk in self.chunks:
            files = list(chunk.files())
            if self.resumed and all((self.out / file).is_file() for file in files):
                tally.kept += len(files)
                tally.done.add(chunk.number)
            else:
                left.append(chunk)
        if tally.kept:
            self.notes.append(f"taken up: {tally.kept} of {total} files are there")
            yield Step(tally.kept, total, "taken up")
        done = tally.kept
        try:
            for made, told in self._make(left):
                if made is not None:
                    self._keep(made)
                    done += self._count(made)
                yield Step(done, total, ", ".join(filter(None, [tally.speed(), told])))
        finally:
            self._write_tables()
            self._say_notes()

    def _begin(self) -> None:
        """Describe the work in its folder, once no other process works there."""
        self.resumed = check_same(self.out, self.facts)
        try:
            if self.resumed:
                for left in self.out.rglob(".impasto-*.part*"):  # by a run that was killed
                    left.unlink()
            text = json.dumps(self.facts, indent=1, ensure_ascii=False)
            replace_file(self.out / _FACTS, text.encode())
        except OSError as error:
            raise _cannot_write(self.out, error) from None
        self.tally = Tally()

    def _make(self, chunks: Sequence[Chunk]) -> Iterator[tuple[Made | None, str]]:
        """Make chunks in this process or elsewhere; now and then yield nothing, to stop at.

        With it comes what is to be said of the machines.
        """
        given = self.pictures.folder, self.styles, self.options
        if not chunks:
            return
        if self.place.is_here or (len(chunks) < 2 and not self.place.is_cluster):
            self.notes += self.place.describe_idle(len(chunks))
            workshop = Workshop(*given)
            for chunk in chunks:
                yield from ((made, "") for made in workshop.make(chunk))
            return
        with hire_crew(self.place, len(chunks)) as crew:
            self.notes += crew.notes
            spec = WorkerSpec(
                "impasto.datasets.workshop:make_workshop", given, tuple(map(str, self.styles))
            )
            for _, report in crew.share_out(spec, chunks, list_files=self._list_files):
                if report is None:
                    yield None, ""
                else:
                    machines = crew.count_machines()
                    yield from ((made, machines) for made in report.outcome)
            self.notes += [note for note in crew.notes if note not in self.notes]

    def _list_files(self, chunk: Chunk) -> list[str]:
        """Return the pictures that a chunk is made of."""
        return [str(self.pictures.folder / entry.path) for entry, _ in chunk.pictures]

    def _keep(self, made: Made) -> None:
        """Write what was made; a picture that fails leaves no files."""
        for picture, name, content in made.files:
            source = self.pictures.folder / picture
            self._put(picture, self.out / name, source.read_bytes() if content is None else content)
        self.tally.failed |= made.failed
        if not made.is_last:
            return
        for entry, copies in self.chunks[made.number].pictures:
            for copy in copies if entry.path in self.tally.failed else ():
                with suppress(OSError):  # it is not there, or has no name to be there by
                    (self.out / copy.path).unlink()

    def _put(self, picture: str, path: Path, content: bytes) -> None:
        """Write a file; raise what would be wrong with every other too."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, content)
        except (ImpastoError, OSError) as problem:
            cause = problem.__cause__ or problem
            if isinstance(cause, OSError) and cause.errno in _OF_THE_DISK:
                raise _cannot_write(self.out, cause) from None
            self.tally.failed[picture] = describe_reason(problem)

    def _count(self, made: Made) -> int:
        """Take note of what was made; return how many files a chunk that is done was to have."""
        self.tally.notes.update(made.notes)
        if not made.is_last:
            return 0
        self.tally.done.add(made.number)
        pictures = self.chunks[made.number].pictures
        self.tally.written += sum(
            len(copies) for entry, copies in pictures if entry.path not in self.tally.failed
        )
        return sum(len(copies) for _, copies in pictures)

    def _say_notes(self) -> None:
        common = self.tally.notes.most_common()
        self.notes += [f"{note} ({count}x)" for note, count in common[:_NOTES]]
        if more := sum(count for _, count in common[_NOTES:]):
            self.notes.append(f"and {more} notes more")

    def _write_tables(self) -> None:
        """Write the manifest, and a CSV's own table, of all that is there."""
        manifest: list[Sequence[str]] = [MANIFEST_COLUMNS]
        labels: list[Sequence[str]] = [self.pictures.columns]
        for chunk in self.chunks:
            if chunk.number not in self.tally.done:
                continue
            for entry, copies in chunk.pictures:
                if entry.path not in self.tally.failed:
                    manifest += [self._describe_copy(entry, copy) for copy in copies]
                    labels += [self.pictures.name_row(entry, copy.path) for copy in copies]
        try:
            replace_file(self.out / _MANIFEST, format_table(manifest))
            if self.pictures.columns:
                replace_file(self.out / _LABELS, format_table(labels))
        except OSError as error:
            raise _cannot_write(self.out, error) from None

    def _describe_copy(self, entry: Entry, copy: Copy) -> tuple[str, ...]:
        style, strength, parameters = "", "", ""
        if copy.style is not None:
            style, strength = self.styles[copy.style].name, f"{copy.strength:g}"
        if copy.noise is not None:
            parameters = f"{NOISES[copy.noise].parameter}={copy.amount:g}"
        seed = "" if copy.seed is None else str(copy.seed)
        what = (style, strength, copy.noise or "", parameters, seed)
        return (copy.path, entry.label, entry.path, str(copy.number), *what)

    def result(self) -> Augmented:
        """Return how it went so far."""
        tally = self.tally
        seconds = time.perf_counter() - tally.began
        return Augmented(self.out, tally.written, tally.kept, sorted(tally.failed.items()), seconds)


def _cannot_write(out: Path, error: OSError) -> OptionError:
    reason = describe_reason(error)
    return OptionError(f"cannot write to {str(out)!r}: {reason}; mended, the same command goes on")


def check_out(out: Path, pictures: LabelledSet) -> None:
    """Raise an error where the copies cannot go, before anything is written."""
    if out.exists() and not out.is_dir():
        raise OptionError(f"{str(out)!r} is a file; name a folder to write the copies to")
    place, folder = resolve_path(out), resolve_path(pictures.folder)
    # A CSV names its pictures: what lies in its folder besides is not read.
    if place == folder or (folder in place.parents and not pictures.columns):
        raise OptionError(
            f"{str(out)!r} lies in the folder that is read; choose one beside {str(folder)!r}"
        )
    there = next(each for each in (place, *place.parents) if each.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        raise OptionError(f"no permission to write in {str(there)!r}")


def check_same(out: Path, facts: Mapping[str, Any]) -> bool:
    """Return whether this work was begun there before; raise an error where other files are."""
    if not out.exists() or all(path.name == LOCK for path in out.iterdir()):
        return False
    try:
        there = json.loads((out / _FACTS).read_text("utf-8"))
    except (OSError, ValueError):
        raise OptionError(f"{str(out)!r} holds other files; choose a new folder") from None
    other = [name for name in facts if there.get(name) != facts[name]]
    if other == ["options"]:
        known = there["options"]
        other = [name for name, value in facts["options"].items() if known.get(name) != value]
    if other:
        raise OptionError(
            f"{str(out)!r} holds another augmentation, with other {', '.join(other)}; "
            "choose a new folder"
        )
    return True


def format_table(rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def augment(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    styles: _Styles = (),
    options: AugmentOptions | Mapping[str, Any] | None = None,
    *,
    jobs: int = 1,
    on: str | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> Augmented:
    """Write copies of a labelled set of pictures, painted after the styles and disturbed.

    ``on`` is ``local:N``, ``ray``, ``ray:ADDRESS`` or ``dask:ADDRESS``; ``jobs`` is short for the
    first.
    """
    options, place = AugmentOptions.parse(options), choose_place(on, jobs)
    return finish(Augmentation(source, out, styles, options, place=place), on_step)
