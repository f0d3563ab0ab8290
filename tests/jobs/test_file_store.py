"""Files by their digests: whole or absent, each once."""

from __future__ import annotations

import errno
import hashlib
import threading

import pytest

from impasto.errors import MissingJobError, StorageFullError
from impasto.jobs.file_store import FileStore
from impasto.jobs.job import JobInput, JobOrder
from impasto.jobs.queue import JobQueue
from impasto.jobs.store import JobStore
from impasto.jobs.task import clean_name
from impasto.jobs.upload_list import UploadList

CONTENT = b"a picture" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def files(tmp_path):
    return FileStore(tmp_path / "a store")


def test_what_is_kept_is_there_once_under_its_digest(files, tmp_path):
    (tmp_path / "a").write_bytes(CONTENT)
    assert files.keep_bytes(CONTENT) == files.keep_file(tmp_path / "a") == DIGEST
    assert files.path(DIGEST).read_bytes() == CONTENT
    assert [p.name for p in files.folder.rglob("*") if p.is_file()] == [DIGEST]
    files.lend(DIGEST, tmp_path / "b" / "photo.png")
    files.lend(DIGEST, tmp_path / "b" / "photo.png")
    assert (tmp_path / "b" / "photo.png").read_bytes() == CONTENT
    named = files.name(DIGEST, "photo.png")
    files.remove([DIGEST])
    assert not files.has(DIGEST)
    assert not named.exists()


def test_what_is_not_kept_leaves_nothing(files):
    with files.receive() as incoming:
        incoming.write(CONTENT)
    assert not [path for path in files.folder.rglob("*") if path.is_file()]


def test_what_a_kill_left_is_swept_away(files):
    files.keep_bytes(CONTENT)
    files.keep_bytes(b"another")
    (files.folder / "parts" / "half").write_bytes(b"x")
    files.thumbnail("f" * 64).write_bytes(b"x")
    assert files.sweep({DIGEST}) == 2
    assert [p.name for p in files.folder.rglob("*") if p.is_file()] == [DIGEST]


def test_a_full_disk_is_told(files, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("impasto.jobs.file_store.os.fsync", refuse)
    with pytest.raises(StorageFullError, match="cannot keep it: no space left on device"):
        files.keep_bytes(CONTENT)
    assert not [path for path in files.folder.rglob("*") if path.is_file()]


def test_jobs_that_are_accepted_while_files_are_deleted_have_theirs(files):
    """Whatever comes first: no job is accepted without its file, and no file goes that one has."""
    store = JobStore(files.folder)
    queue, uploads = JobQueue(store, has_file=files.has), UploadList(store)
    accepted, stop = [], threading.Event()

    def delete():
        while not stop.wait(0.003):
            with files.turn:
                uploads.release([DIGEST], files.remove)

    thread = threading.Thread(target=delete)
    thread.start()
    order = JobOrder("paint", {"content": (JobInput("a.png", DIGEST),)}, {})
    refused = 0
    for _ in range(100):
        files.keep_bytes(CONTENT)
        try:
            accepted.append(queue.submit(order)[0].id)
        except MissingJobError:
            refused += 1
            continue
        assert files.has(DIGEST)
        queue.delete(accepted.pop())
    stop.set()
    thread.join()
    store.close()
    assert refused < 100


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("photo.png", "photo.png"),
        ("../../etc/passwd", "passwd"),
        ("C:\\photos\\a b.jpg", "a b.jpg"),
        (".hidden", "hidden"),
        ("..", "file"),
        ("", "file"),
        ("a\0b\n.png", "a_b_.png"),
        ("ü.png", "ü.png"),
        ("x" * 300 + ".png", "x" * 80 + ".png"),
        ("m.safetensors", "m.safetensors"),
    ],
)
def test_names_are_good_in_any_folder(name, expected):
    assert clean_name(name) == expected
