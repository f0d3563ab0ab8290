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
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from impasto.datasets.batch_stylisers import STYLISERS, Styliser
from impasto.datasets.copy_plan import Chunk, Copy, plan_chunks
from impasto.datasets.disturbances import NOISES
from impasto.datasets.labelled_set import Entry, LabelledSet, find_styles, read_labelled
from impasto.datasets.options import AugmentOptions
from impasto.errors import ImageError, ImpastoError, OptionError, describe_reason
from impasto.images.reading import read_image
from impasto.images.transparency import fill_transparent, read_opaque
from impasto.images.writing import WRITABLE, write_image
from impasto.system.devices import has_fast_bfloat16, seeded, working_on
from impasto.system.files import LOCK, make_folder, replace_file, resolve_path, working_in
from impasto.system.processes import work_in_processes
from impasto.work import Request, Step, finish

_BATCH = 32  # copies that are held and painted at once, and
_BATCH_PIXELS = 2**21  # the pixels that they may have
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
class Made:
    """A chunk that is done: which of its pictures failed and why, and what is to be said."""

    number: int
    failed: dict[str, str]
    notes: list[str]


@dataclass(frozen=True)
class Augmented:
    """A data set that was written, as far as it was."""

    folder: Path
    written: int  # files, originals among them
    kept: int  # that were there already
    failed: list[tuple[str, str]]  # pictures, and what was wrong with them
    seconds: float


# --- doing it -----------------------------------------------------------------------------------


def one_thread() -> AbstractContextManager[None]:
    """Compute in one thread, where sums are rounded in the same way in every process."""
    return working_on(torch.device("cpu"), threads=1)


@dataclass
class Held:
    """A copy that waits to be painted with others of its size."""

    entry: Entry
    copy: Copy
    pixels: Tensor
    alpha: Tensor | None


class Workshop:
    """Makes chunks of copies, with a styliser that has learnt the styles."""

    def __init__(
        self, source: Path, out: Path, styles: Sequence[Path], options: AugmentOptions
    ) -> None:
        self.source, self.out, self.options = source, out, options
        self.styliser: Styliser | None = None
        if styles:
            with one_thread():
                self.styliser = STYLISERS[options.styliser]()
                most = options.max_megapixels
                self.styliser.learn([read_opaque(path, most).pixels for path in styles])

    def __call__(self, chunk: Chunk) -> Made:
        """Write all of a chunk's files."""
        return [made for made in self.make(chunk) if made is not None][-1]

    def make(self, chunk: Chunk) -> Iterator[Made | None]:
        """Write all of a chunk's files; a picture that fails leaves none.

        Between two batches None is yielded: whoever wants to stop may do so there.
        """
        made, held = Made(chunk.number, {}, []), list[Held]()
        for entry, copies in chunk.pictures:
            with one_thread():
                try:
                    held += self._take_up(entry, copies, made)
                except (ImpastoError, OSError) as problem:
                    self._note_failure(entry, problem, made)
            if is_enough(held):
                yield from self._finish(held, made)
                held.clear()
        yield from self._finish(held, made)
        for entry, copies in chunk.pictures:
            if entry.path in made.failed:
                for copy in copies:
                    with suppress(OSError):  # it is not there, or has no name to be there by
                        (self.out / copy.path).unlink()
        yield made

    def _note_failure(self, entry: Entry, problem: Exception, made: Made) -> None:
        """Note what was wrong with a picture; raise what would be wrong with every other too."""
        cause = problem.__cause__ or problem
        if isinstance(cause, OSError) and cause.errno in _OF_THE_DISK:
            raise _cannot_write(self.out, cause) from None
        made.failed[entry.path] = describe_reason(problem)

    def _take_up(self, entry: Entry, copies: Sequence[Copy], made: Made) -> Iterator[Held]:
        """Yield the copies that are to be painted; write the original as it is."""
        path = self.source / entry.path
        picture = read_image(path, max_megapixels=self.options.max_megapixels)
        made.notes.extend(picture.notes)
        (self.out / entry.path).parent.mkdir(parents=True, exist_ok=True)
        pixels = fill_transparent(picture.pixels, picture.alpha)
        for copy in copies:
            if copy.number == 0:
                replace_file(self.out / copy.path, path.read_bytes())
            else:
                yield Held(entry, copy, pixels, picture.alpha)

    def _finish(self, held: Sequence[Held], made: Made) -> Iterator[None]:
        """Paint, disturb and write copies, those of one size together."""
        sizes: dict[tuple[int, ...], list[Held]] = {}
        for each in held:
            sizes.setdefault(tuple(each.pixels.shape), []).append(each)
        for size, alike in sizes.items():
            most = max(1, min(_BATCH, _BATCH_PIXELS // (size[-1] * size[-2])))
            for start in range(0, len(alike), most):
                with one_thread():
                    self._finish_batch(alike[start : start + most], made)
                yield

    def _finish_batch(self, batch: Sequence[Held], made: Made) -> None:
        try:
            painted = self._paint(batch)
        except ImpastoError as problem:
            made.failed.update({each.entry.path: str(problem) for each in batch})
            return
        for each, pixels in zip(batch, painted, strict=True):
            copy, picture = each.copy, pixels[None]
            if copy.noise is not None:
                assert copy.seed is not None
                disturb = NOISES[copy.noise].disturb
                picture = disturb(picture, copy.amount, seeded(copy.seed))
            try:
                made.notes.extend(write_image(self.out / copy.path, picture, alpha=each.alpha))
            except ImpastoError as problem:
                self._note_failure(each.entry, problem, made)

    def _paint(self, batch: Sequence[Held]) -> Tensor:
        pixels = torch.cat([each.pixels for each in batch])
        if self.styliser is None:
            return pixels
        styles = [each.copy.style or 0 for each in batch]
        return self.styliser.paint(pixels, styles, [each.copy.strength for each in batch])


def is_enough(held: Sequence[Held]) -> bool:
    pixels = sum(each.pixels[0, 0].numel() for each in held)
    return len(held) >= _BATCH or pixels >= _BATCH_PIXELS


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
        jobs: int = 1,
    ) -> None:
        self.options = options or AugmentOptions()
        if jobs < 1:
            raise OptionError(f"jobs must be at least 1, not {jobs}")
        self.out, self.jobs = Path(out), jobs
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
        return cls(source, request.output, styles, options, jobs=request.jobs)

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
            for made in self._make(left):
                done += self._count(made) if made is not None else 0
                yield Step(done, total, tally.speed())
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

    def _make(self, chunks: Sequence[Chunk]) -> Iterator[Made | None]:
        """Make chunks in this process or in others; yield None now and then, to stop at."""
        workshop = partial(Workshop, self.pictures.folder, self.out, self.styles, self.options)
        if self.jobs > 1 and len(chunks) > 1:
            yield from work_in_processes(workshop, chunks, self.jobs, idle=lambda: None)
        elif chunks:
            yield from chain.from_iterable(map(workshop().make, chunks))

    def _count(self, made: Made) -> int:
        """Take note of a chunk; return how many files it was to have."""
        self.tally.done.add(made.number)
        self.tally.failed |= made.failed
        self.tally.notes.update(made.notes)
        pictures = self.chunks[made.number].pictures
        self.tally.written += sum(
            len(copies) for entry, copies in pictures if entry.path not in made.failed
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
    on_step: Callable[[Step], None] | None = None,
) -> Augmented:
    """Write copies of a labelled set of pictures, painted after the styles and disturbed."""
    options = AugmentOptions.parse(options)
    return finish(Augmentation(source, out, styles, options, jobs=jobs), on_step)
