"""From what a client names (uploads, samples, results, words) to the order of a job.

Clients name no paths: all files of an order are in the store, and options that would read others
are refused.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any, get_origin

from pydantic import TypeAdapter, ValidationError

from impasto.errors import MissingJobError, OptionError, shorten, suggest
from impasto.images.inspection import START_BYTES, recognise_format
from impasto.jobs.file_store import FileStore
from impasto.jobs.job import Job, JobInput, JobOrder
from impasto.jobs.queue import JobQueue
from impasto.jobs.upload_list import UploadList
from impasto.operations import Input, find_operation
from impasto.options import File, Options
from impasto.recipes import read_recipe_file
from impasto.studio.limits import StudioLimits
from impasto.studio.messages import (
    FileSource,
    FolderSource,
    JobFileSource,
    JobRequest,
    ResultSource,
    SampleSource,
    Source,
    UploadSource,
    WordSource,
)

_FITTING = {"film": ("film", "picture")}  # a picture stands still, or moves, as a GIF does
_FOLDER_KINDS = ("folder", "labelled set")
_WORD = re.compile(r"[^\W_][\w .,()'&+-]{0,99}")  # no separators: a word is never a path
_FILE: TypeAdapter[FileSource] = TypeAdapter(FileSource)
_PLACEHOLDER = "file"


@lru_cache(maxsize=1)
def list_samples() -> dict[str, Path]:
    """Return the files of the sample pictures, photographs and styles, by name."""
    from impasto.samples.photographs import PHOTOGRAPHS, find_photograph
    from impasto.samples.style_pictures import STYLE_PICTURES

    folder = Path(str(resources.files("impasto"))) / "data" / "samples"
    found = {name: folder / f"{name}.jpg" for name in STYLE_PICTURES}
    for name in PHOTOGRAPHS:
        try:
            found[name] = find_photograph(name)
        except (ImportError, FileNotFoundError):
            continue  # they come with a library that is not installed
    return found


@lru_cache(maxsize=1)
def hash_samples() -> dict[str, str]:
    """Return the digests of the sample pictures by name."""
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in list_samples().items()
    }


class SourceFinder:
    """Finds what clients name."""

    def __init__(
        self, queue: JobQueue, uploads: UploadList, files: FileStore, limits: StudioLimits
    ) -> None:
        self.queue, self.uploads, self.files, self.limits = queue, uploads, files, limits
        self._samples: dict[str, str] = {}  # digests of those that were asked for

    def make_order(self, asked: JobRequest) -> JobOrder:
        """Return the order of a job, checked as far as can be without doing it."""
        operation = find_operation(asked.operation)
        known = {each.name: each for each in operation.inputs}
        if unknown := sorted(set(asked.inputs) - set(known)):
            raise OptionError(f"unknown input {unknown[0]!r}{suggest(unknown[0], known)}")
        for each in operation.inputs:
            each.check(["given"] * len(asked.inputs.get(each.name, ())))
        inputs = {
            name: tuple(self._find_input(source, known[name]) for source in sources)
            for name, sources in asked.inputs.items()
            if sources
        }
        given = dict(asked.options)
        if asked.recipe is not None:
            given = {**read_bundled(asked.recipe), **given}
        options, files = self.split_options(operation.options, given)
        return JobOrder(asked.operation, inputs, options, files, f".{asked.format}")

    # --- options

    def split_options(
        self, kind: type[Options], given: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, tuple[JobInput, ...]]]:
        """Return checked options as JSON has them, and the files of those that name some."""
        files: dict[str, tuple[JobInput, ...]] = {}
        plain, placed = dict(given), dict(given)
        for name, mark in kind.file_marks().items():
            if name not in given or given[name] in (None, [], *mark.names):
                continue
            found = self._find_files(name, given[name], mark)
            files[name] = found
            many = is_several(kind, name)
            plain[name] = [] if many else None
            placed[name] = [_PLACEHOLDER] * len(found) if many else _PLACEHOLDER
        options = kind.read(placed)
        if any(each != _PLACEHOLDER for each in options.list_files()):
            raise OptionError("an option names a file; upload it, and give it as an upload")
        said = options.model_dump(mode="json", by_alias=True, exclude_unset=True)
        return {**said, **{name: plain[name] for name in files}}, files

    def _find_files(self, name: str, given: Any, mark: File) -> tuple[JobInput, ...]:
        several = given if isinstance(given, list) else [given]
        found = []
        for each in several:
            try:
                source = _FILE.validate_python(each)
            except ValidationError:
                names = f", or {', '.join(mark.names)}" if mark.names else ""
                raise OptionError(
                    f"{name}: give a file as {{'upload': ID}}{names}, not {shorten(repr(each))}"
                ) from None
            file = self.find_file(source)
            self.check_kind(file, mark.kind, name)
            found.append(file)
        return tuple(found)

    # --- inputs

    def _find_input(self, source: Source, declared: Input) -> JobInput:
        if isinstance(source, WordSource):
            if declared.kind != "name" and not declared.by_name:
                raise OptionError(f"{declared.name} takes a {declared.kind}, and no name")
            return self.find_word(source)
        if declared.kind == "name":
            raise OptionError(f"{declared.name} takes a name: {{'name': NAME}}")
        is_whole = isinstance(source, ResultSource) and source.result is None
        as_folder = is_whole or isinstance(source, FolderSource)
        if declared.kind in _FOLDER_KINDS or (as_folder and declared.kind == "film"):
            return self._find_folder(source, declared)
        if isinstance(source, FolderSource):
            raise OptionError(f"{declared.name} takes a {declared.kind}, and no folder")
        found = self.find_file(source)
        self.check_kind(found, declared.kind, declared.name)
        return found

    @staticmethod
    def find_word(source: WordSource) -> JobInput:
        """Return a word, which is no path."""
        if not _WORD.fullmatch(source.name):
            raise OptionError(f"{shorten(source.name)!r} is no name")
        return JobInput(source.name)

    def find_file(self, source: FileSource) -> JobInput:
        """Return the file that is named."""
        if isinstance(source, UploadSource):
            upload = self.uploads.get(source.upload)
            return JobInput(upload.name, upload.digest)
        if isinstance(source, SampleSource):
            samples = list_samples()
            if source.sample not in samples:
                raise OptionError(
                    f"unknown sample {source.sample!r}{suggest(source.sample, samples)}"
                )
            path, known = samples[source.sample], self._samples.get(source.sample, "")
            if not self.files.has(known):
                known = self._samples[source.sample] = self.files.keep_bytes(path.read_bytes())
            return JobInput(f"{source.sample}{path.suffix}", known)
        if isinstance(source, JobFileSource):
            return find_job_file(self.queue.get(source.job), source.input, source.number)
        return self._find_result(source)

    def _find_result(self, source: ResultSource) -> JobInput:
        results = self.queue.get(source.job).results
        found = [each for each in results if each.name == source.result]
        if not found:
            name = shorten(str(source.result))
            raise MissingJobError(f"job {source.job!r} has no result {name!r}")
        return JobInput(PurePosixPath(found[0].name).name, found[0].digest)

    def _find_folder(self, source: Source, declared: Input) -> JobInput:
        if isinstance(source, ResultSource) and source.result is None:
            results = self.queue.get(source.job).results
            members = tuple((each.name, each.digest) for each in results)
        elif isinstance(source, FolderSource):
            if len(source.files) > self.limits.folder_files:
                raise OptionError(
                    f"{declared.name}: a folder has at most {self.limits.folder_files} files"
                )
            members = tuple(
                (check_member(path), str(self.find_file(each).digest))
                for path, each in source.files.items()
            )
        elif isinstance(source, JobFileSource):
            return find_job_folder(self.queue.get(source.job), source.input, source.number)
        else:
            raise OptionError(f"{declared.name} takes a folder: {{'files': ...}} or {{'job': ID}}")
        if not members:
            raise OptionError(f"{declared.name}: the folder is empty")
        return JobInput("folder", members=members)

    def check_kind(self, found: JobInput, kind: str, where: str) -> None:
        """Raise an error where a file is of another kind than is needed."""
        assert found.digest is not None
        try:
            with self.files.path(found.digest).open("rb") as file:
                known = recognise_format(file.read(START_BYTES))
        except FileNotFoundError:
            raise MissingJobError(f"{where}: the file was deleted") from None
        if known is None or known[0] not in _FITTING.get(kind, (kind,)):
            raise OptionError(f"{where} takes a {kind}; {shorten(found.name)!r} is none")


def find_job_file(job: Job, name: str, number: int) -> JobInput:
    """Return a file that a job is made from; ``name`` is an input's, or an option's."""
    values = job.order.inputs.get(name) or job.order.files.get(name, ())
    if number >= len(values) or values[number].digest is None:
        raise MissingJobError("the job has no such file")
    return values[number]


def find_job_folder(job: Job, name: str, number: int) -> JobInput:
    """Return a folder that a job is made from."""
    values = job.order.inputs.get(name, ())
    if number >= len(values) or not values[number].members:
        raise MissingJobError("the job has no such folder")
    return values[number]


def is_several(kind: type[Options], name: str) -> bool:
    """Return whether an option's value is a list."""
    annotation = kind.model_fields[name].annotation
    parts = getattr(annotation, "__args__", ()) if get_origin(annotation) is not tuple else ()
    return any(get_origin(each) is tuple for each in (annotation, *parts))


def check_member(path: str) -> str:
    """Return a file's path in a folder, if it stays there."""
    parts = path.split("/")
    good = all(part and not part.startswith(".") and part.isprintable() for part in parts)
    if not good or "\\" in path or len(path) > 500 or len(parts) > 8 or max(map(len, parts)) > 200:
        raise OptionError(f"{shorten(path)!r} is no path in a folder")
    return path


def read_bundled(name: str) -> dict[str, Any]:
    """Return the options of a recipe that comes with Impasto; others are uploaded in pictures."""
    from impasto.recipes import list_recipes

    if name not in list_recipes():
        raise OptionError(f"unknown recipe {name!r}{suggest(name, list_recipes())}")
    return read_recipe_file(name)
