"""Tasks in processes: outcomes, errors, death."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from impasto.errors import LostProcessError
from impasto.system.processes import AnsweringProcess, TalkingProcess

_SLEEP = "time.sleep(600)"


def repeat(pipe, word):
    pipe.send("ready")
    while True:
        message = pipe.recv()
        if message == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        pipe.send((word, message, os.getpid()))


def eat(pipe):
    held = [bytearray(50 << 20)]
    pipe.send("ready")
    pipe.recv()
    try:
        for _ in range(100):
            held.append(bytearray(50 << 20))
    except MemoryError:
        pipe.send(len(held))


def begin_another(pipe):
    child = subprocess.Popen(
        [sys.executable, "-c", "import time; print(1, flush=True);" + _SLEEP],
        stdout=subprocess.PIPE,
    )
    child.stdout.readline()
    pipe.send(child.pid)
    pipe.recv()


def never_begin(pipe):  # noqa: ARG001
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_is_talked_with_until_it_is_closed():
    process = TalkingProcess(repeat, "again")
    process.wait_until_ready()
    assert process.receive(0) is None
    process.send(1)
    word, message, pid = process.receive(60)
    assert (word, message) == ("again", 1)
    assert pid == process.process.pid != os.getpid()
    assert process.count_memory() > 1 << 20
    process.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    process.send(2)  # nobody hears it


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_with_a_process_end_those_that_it_started():
    process = TalkingProcess(begin_another, with_children=True)
    child = process.receive(60)
    process.close()
    end = time.monotonic() + 30
    while is_running(child):
        assert time.monotonic() < end
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_process_that_dies_says_how():
    process = TalkingProcess(repeat, "again")
    process.wait_until_ready()
    process.send("die")
    with pytest.raises(EOFError):
        process.receive(60)
    assert process.describe_end() == "was killed by signal 9 (out of memory?)"
    process.close()
    with pytest.raises(LostProcessError, match="was killed by signal 9"):
        TalkingProcess(never_begin).wait_until_ready()


def test_a_process_that_answers_is_begun_anew_after_it_died_or_was_too_slow():
    process = AnsweringProcess(repeat, "again")
    first, second = process.ask(1, 60)[2], process.ask(2, 60)[2]
    assert first == second  # it is kept
    with pytest.raises(EOFError, match="was killed by signal 9"):
        process.ask("die", 60)
    word, message, third = process.ask(3, 60)
    assert (word, message) == ("again", 3)
    assert third != first
    os.kill(third, signal.SIGSTOP)  # it is slow
    assert process.ask(4, 0.01) is None
    with pytest.raises(ProcessLookupError):
        os.kill(third, 0)
    assert process.ask(5, 60)[1] == 5
    process.end()
    process.end()  # there is none


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts a process's data")
def test_a_process_may_take_so_much_memory_and_no_more():
    process = TalkingProcess(eat, most_data=400 << 20)
    process.wait_until_ready()
    process.send("eat")
    assert 2 <= process.receive(60) <= 8
    process.close()
