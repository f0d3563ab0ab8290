"""All that a server is made of, from the folder of its store to the process that paints."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from impasto.cluster.executors import JobExecutor, TaskLimits
from impasto.cluster.places import HERE, WorkPlace
from impasto.errors import ImpastoError, StorageFullError
from impasto.images.inspection import Inspector, recognise_format
from impasto.jobs.cluster_jobs import ClusterJobExecutor, make_job_executor
from impasto.jobs.file_store import FileStore
from impasto.jobs.job import ENDED_STATES, Job, JobInput
from impasto.jobs.leases import Leases
from impasto.jobs.queue import JobQueue
from impasto.jobs.runner import ActiveJob, JobRunner
from impasto.jobs.store import JobStore
from impasto.jobs.task import clean_name
from impasto.jobs.upload_list import UploadList
from impasto.options import format_memory
from impasto.studio.events import EventLog
from impasto.studio.instant_painter import InstantPainter
from impasto.studio.intake import Intake
from impasto.studio.limits import StudioLimits
from impasto.studio.messages import JobInfo
from impasto.studio.sources import SourceFinder
from impasto.studio.views import show_job, show_step
from impasto.system.files import make_folder, working_in
from impasto.video.glance import look_at_film

LISTED = 24  # results of a job that are told where many jobs are
_OFTEN = 1.0  # seconds between two counts of what is kept
_LOOK = 0.5  # seconds between two looks at what another process has changed
_GATHER = 0.1  # seconds in which changes are gathered
_CLEAN = 600.0  # seconds between two looks at what is too old
_RESERVE = 50 << 20  # bytes of disk that uploads leave free


class Services:
    """What answers requests, and works through the queue meanwhile."""

    def __init__(
        self,
        folder: Path,
        limits: StudioLimits | None = None,
        *,
        work_place: WorkPlace = HERE,
        threads: int = 0,
        executor: JobExecutor | None = None,
    ) -> None:
        self.folder, self.limits = folder, limits or StudioLimits()
        self.uploading = 0  # clients, at the moment
        self._used, self._counted = 0, float("-inf")  # bytes, and when they were counted
        most = self.limits
        self.files = FileStore(folder)
        self.store = JobStore(folder)
        self.queue = JobQueue(
            self.store, longest=most.queue, share=most.client_queue, has_file=self.files.has
        )
        self.uploads = UploadList(self.store)
        self.sources = SourceFinder(self.queue, self.uploads, self.files, most)
        self.intake = Intake(self.queue, self.sources, self.check_room)
        self.events = EventLog()
        self.inspector = Inspector(
            max_megapixels=most.megapixels,
            seconds=most.decode_seconds,
            memory=most.decode_memory,
            look_at_film=look_at_film,
        )
        self.painter = InstantPainter(most, threads=threads)
        limit = TaskLimits(most.job_memory, most.job_seconds)
        self.runner = JobRunner(
            Leases(self.queue),
            self.files,
            executor or make_job_executor(work_place, limit),
            on_change=self.look,
            listener=self._tell,
            threads=threads,
        )
        self._told = self.queue.store_version()
        self._known: set[str] = set()
        self._news, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watcher", daemon=True)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said of the machines that work."""
        executor = self.runner.executor
        return executor.notes if isinstance(executor, ClusterJobExecutor) else ()

    def begin(self) -> None:
        """Take up what is left of the last time; ``runner.start`` begins to work."""
        self.files.sweep(self.uploads.list_digests())
        self.runner.take_up()
        self._thread.start()

    def close(self) -> None:
        """Stop where nothing is half done."""
        self.events.close()
        self.runner.close()
        self._closing.set()
        self._news.set()
        self._thread.join()
        self.intake.close()
        self.painter.close()
        self.inspector.close()
        self.store.close()

    # --- what pages are told

    def look(self) -> None:
        """Tell pages, soon, what has changed in the queue."""
        self._news.set()

    def changed(self) -> None:
        """Tell the runner and pages that a client has changed the queue."""
        self.runner.wake()
        self.look()

    def _watch(self) -> None:
        cleaned = time.monotonic()
        while not self._closing.is_set():
            self._news.wait(_LOOK)
            self._closing.wait(_GATHER)
            self._news.clear()
            with suppress(ImpastoError):
                self._publish_changes()
            if time.monotonic() - cleaned > _CLEAN:
                cleaned = time.monotonic()
                with suppress(ImpastoError):
                    self.clean()

    def _publish_changes(self) -> None:
        version = self.queue.store_version()
        if version == self._told:
            return
        changed = self.queue.list_changed(self._told)
        self._told = version
        for job in changed:
            self.events.publish("job", self.show(job, most=LISTED).model_dump(mode="json"))
        self.events.publish("queue", {"counts": self.queue.count(), "order": self.list_order()})

    def show(self, job: Job, turn: int | None = None, most: int | None = None) -> JobInfo:
        """Return what clients are told of a job, and of ``most`` of its results."""
        return show_job(job, self.runner.find(job.id), turn, most)

    def list_order(self) -> list[str]:
        """Return the first of those that wait, in their order."""
        return self.queue.list_queue()[:200]

    def _tell(self, kind: str, active: ActiveJob) -> None:
        """Pass on what a job tells of itself."""
        facts: dict[str, Any] = {"job": active.job.id}
        if kind == "progress" and active.progress:
            facts["progress"] = show_step(active.progress).model_dump(mode="json")
        if kind == "preview":
            facts |= {"step": active.preview_step, "url": f"/api/v1/jobs/{active.job.id}/preview"}
        self.events.publish(kind, facts)

    # --- files

    def check_room(self, size: int = 0) -> None:
        """Raise an error where there is no room for an upload of that size."""
        now = time.monotonic()
        if size or now - self._counted > _OFTEN:
            self._used, self._counted = self.uploads.count_bytes(), now
        used = self._used
        if used + size > self.limits.quota:
            raise StorageFullError(
                f"{format_memory(used)} are kept, of {format_memory(self.limits.quota)} that may "
                "be; delete some jobs, or raise --quota"
            )
        self.check_disk(size)

    def check_disk(self, size: int = 0) -> None:
        """Raise an error where the disk is full."""
        if self.files.free_bytes() < size + _RESERVE:
            raise StorageFullError("the disk is full")

    def delete_job(self, job: str) -> None:
        """Delete a job with all that is its own."""
        freed = self.queue.delete(job)
        self.files.remove_work(job)
        self._remove(freed)
        self.events.publish("deleted", {"job": job})
        self.changed()

    def delete_upload(self, upload: str) -> None:
        """Delete an upload, and its file unless a job has it."""
        self._remove(self.uploads.delete(upload))
        self.events.publish("deleted", {"upload": upload})

    def _remove(self, digests: set[str]) -> None:
        """Delete files that nothing has any more, from the journal of the store too."""
        with self.files.turn:
            self.uploads.release(digests, self.files.remove)
        self.store.shrink()

    def clean(self) -> int:
        """Delete what is older than it may be; return how much."""
        if self.limits.keep_days is None:
            return 0
        since = time.time() - self.limits.keep_days * 24 * 3600
        old = [job for job in self.queue.list_jobs(ENDED_STATES) if (job.ended or since) < since]
        for job in old:
            self.delete_job(job.id)
        stale = self.uploads.list_stale(since)
        for upload in stale:
            self.delete_upload(upload)
        return len(old) + len(stale)

    def find_thumbnail(self, digest: str) -> Path | None:
        """Return the small version of a kept picture, made where it is not there yet."""
        path = self.files.thumbnail(digest)
        if path.is_file():
            return path
        source = self.files.path(digest)
        if not source.is_file() or not self.is_visible(source):
            return None
        found = self.inspector.inspect(source)
        if found.thumbnail is None:
            return None
        self.keep_thumbnail(digest, found.thumbnail)
        if not source.is_file():  # it was deleted meanwhile
            path.unlink(missing_ok=True)
        return path

    def keep_thumbnail(self, digest: str, content: bytes) -> None:
        """Keep the small version of a picture."""
        with self.files.receive() as incoming:
            incoming.write(content)
            incoming.path.replace(self.files.thumbnail(digest))

    @staticmethod
    def is_visible(path: Path) -> bool:
        """Return whether a file begins as a picture or a film."""
        with path.open("rb") as file:
            found = recognise_format(file.read(64))
        return found is not None and found[0] in ("picture", "film")

    def name_file(self, given: JobInput) -> str:
        """Return a path of a kept file that ends in its name, or the word that it is."""
        if given.digest is None:
            return given.name
        return str(self.files.name(given.digest, clean_name(given.name)))


@contextmanager
def serving(
    folder: Path, limits: StudioLimits | None = None, *, works: bool = True, **given: Any
) -> Iterator[Services]:
    """Yield the services of a folder that no other process serves; ``works``: already at work."""
    make_folder(folder)
    with suppress(OSError):
        folder.chmod(0o700)  # pictures are private
    with ExitStack() as stack:
        stack.enter_context(working_in(folder))
        services = Services(folder, limits, **given)
        stack.callback(services.close)
        services.begin()
        if works:
            services.runner.start()
        yield services
