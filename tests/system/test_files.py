"""Files are whole or absent."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest

from impasto.errors import ImageError, MissingFileError, OptionError
from impasto.system.checkpoints import Checkpoint
from impasto.system.files import (
    LOCK,
    check_place,
    locked,
    replace_file,
    replacing,
    resolve_path,
    working_in,
)

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has neither pipes nor free links")
flock = pytest.mark.skipif(os.name == "nt", reason="Windows has no flock")


def test_a_file_takes_the_place_of_another(tmp_path):
    path = tmp_path / "a b.txt"
    path.write_bytes(b"old")
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_breaks_off_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "x.txt"
    path.write_bytes(b"old")

    def write_half() -> None:
        with replacing(path) as beside:
            beside.write_bytes(b"ha")
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


# --- devices, pipes and links -------------------------------------------------------------------


def make_special(folder: Path, kind: str) -> Path:
    path = folder / "special"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(path))
    return Path(os.devnull) if kind == "device" else path


@posix
@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("kind", ["folder", "pipe", "socket", "device"])
def test_what_is_no_file_is_not_replaced(tmp_path, monkeypatch, kind, linked):
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    special = make_special(Path(), kind)
    before = special.stat()
    path = special
    if linked:
        path = Path("link")
        path.symlink_to(special)
    what = "a folder" if kind == "folder" else "a device or a pipe, and no file"
    with pytest.raises(OptionError) as error:
        check_place(path, "losses")
    assert str(error.value) == f"cannot write losses to {str(path)!r}: it is {what}"
    with pytest.raises(OptionError, match=what):
        replace_file(path, b"new")
    assert os.path.samestat(special.stat(), before)
    assert not list(tmp_path.glob("*.part"))


@posix
def test_a_file_is_written_through_links(tmp_path):
    (tmp_path / "folder").mkdir()
    target = tmp_path / "folder" / "target.txt"
    link, further = tmp_path / "link.txt", tmp_path / "further.txt"
    link.symlink_to("folder/target.txt")
    further.symlink_to(link)
    for content in (b"to where nothing was", b"to what was there"):
        check_place(further, "losses")
        replace_file(further, content)
        assert target.read_bytes() == content
    assert link.is_symlink()
    assert further.is_symlink()
    assert [path.name for path in target.parent.iterdir()] == ["target.txt"]


@posix
def test_links_that_lead_nowhere_are_one_line(tmp_path):
    first, second = tmp_path / "first.png", tmp_path / "second.png"
    first.symlink_to(second)
    second.symlink_to(first)
    assert resolve_path(first).parent == tmp_path
    with pytest.raises(ImageError, match=r"^cannot write a picture to .*: too many levels of sym"):
        check_place(first, "a picture", [".png"], ImageError)
    lost = tmp_path / "lost.png"
    lost.symlink_to("nowhere/lost.png")
    with pytest.raises(MissingFileError, match=r"^no such folder: .*nowhere"):
        check_place(lost, "a picture")
    with pytest.raises(OptionError, match="file name too long"):
        check_place(tmp_path / ("long" * 100), "a picture")
    with pytest.raises(OptionError, match="embedded null byte"):
        check_place(tmp_path / "nu\0ll", "a picture")


@posix
def test_what_may_not_be_written_is_said_before(tmp_path):
    """Where even root may not write, which only trying tells."""
    with pytest.raises(ImageError, match=r"^cannot write 'x.png'.* in '/proc'"):
        check_place("/proc/x.png", "a picture", [".png"], ImageError)
    path = tmp_path / "kept.csv"
    path.touch(0o400)
    if os.geteuid():
        with pytest.raises(OptionError, match=r"'kept.csv': no permission to write over it"):
            check_place(path, "losses")
        tmp_path.chmod(0o500)
        with pytest.raises(OptionError, match=r"'new.csv': no permission to write in"):
            check_place(tmp_path / "new.csv", "losses")
        tmp_path.chmod(0o700)
    assert [each.name for each in tmp_path.iterdir()] == ["kept.csv"]


@posix
def test_a_checkpoint_lies_where_its_link_leads(tmp_path):
    link, folder = tmp_path / "state", tmp_path / "large disk"
    folder.mkdir()
    link.symlink_to("large disk/state")
    checkpoint = Checkpoint(link)
    checkpoint.save({}, {"step": 3}, "run")
    assert link.is_symlink()
    assert Checkpoint(link).load("run") == ({}, {"step": 3})
    assert [path.name for path in folder.iterdir()] == ["state"]
    checkpoint.remove()
    assert not list(folder.iterdir())


@flock
def test_a_lock_follows_no_link(tmp_path):
    kept = tmp_path / "kept.txt"
    kept.write_text("kept")
    (tmp_path / LOCK).symlink_to(kept)
    with pytest.raises(OptionError, match="cannot write to"), working_in(tmp_path):
        pass
    assert kept.read_text() == "kept"


# --- locks --------------------------------------------------------------------------------------


@flock
def test_a_folder_is_worked_in_by_one(tmp_path):
    with working_in(tmp_path):
        with pytest.raises(OptionError) as error, working_in(tmp_path):
            pass
        assert str(error.value) == (
            f"{str(tmp_path)!r} is being worked on by another process; wait for it, or name "
            "another folder"
        )
    with working_in(tmp_path):  # the one that was refused took nothing away
        assert [path.name for path in tmp_path.iterdir()] == [LOCK]
    assert not list(tmp_path.iterdir())


@flock
def test_a_process_that_was_killed_is_in_nobodys_way(tmp_path):
    program = (
        "import sys, pathlib; from impasto.system.files import working_in\n"
        "with working_in(pathlib.Path(sys.argv[1])): print('in', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in\n"
        with pytest.raises(OptionError, match="by another process"), working_in(tmp_path):
            pass
        process.kill()
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]
    with working_in(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


@flock
def test_those_that_wait_are_never_two(tmp_path):
    """Each finds the file gone that it waited for, and locks the next one."""
    counter = tmp_path / "counter"
    counter.write_text("0")

    def count() -> None:
        for _ in range(50):
            with locked(tmp_path / "lock"):
                counter.write_text(str(int(counter.read_text()) + 1))

    threads = [Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.read_text() == "400"


@flock
def test_what_cannot_be_locked_is_said(tmp_path):
    (tmp_path / LOCK).mkdir()
    with (
        pytest.raises(OptionError, match=r"^cannot write to .*: is a directory"),
        working_in(tmp_path),
    ):
        pass
    with pytest.raises(KeyError), working_in(tmp_path.parent):  # what goes wrong inside stays
        raise KeyError


def test_what_a_library_makes_private_is_as_its_user_has_files(tmp_path):
    usual = tmp_path / "usual"
    usual.touch()
    with replacing(tmp_path / "new") as beside:
        beside.unlink()
        os.close(os.open(beside, os.O_CREAT | os.O_WRONLY, 0o600))
    assert (tmp_path / "new").stat().st_mode == usual.stat().st_mode
