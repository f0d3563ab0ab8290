"""Files are whole or absent."""

from __future__ import annotations

import os
import subprocess
import sys
from threading import Thread

import pytest

from impasto.errors import OptionError
from impasto.system.files import LOCK, locked, replace_file, replacing, working_in

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
