"""Tasks in processes: outcomes, errors, death."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from impasto.errors import DeviceError, ImageError, ImpastoError, LostProcessError
from impasto.system.processes import AnsweringProcess, TalkingProcess, work_in_processes


class Squares:
    """Counts what it has done, to show that it is made once."""

    def __init__(self) -> None:
        self.done = 0

    def __call__(self, task: int) -> tuple[int, int, int]:
        if task == -1:
            raise ImageError("a bad picture")
        if task == -2:
            raise KeyError("bug")
        if task == -3:
            os.kill(os.getpid(), signal.SIGKILL)
        self.done += 1
        return os.getpid(), self.done, task * task


def test_every_task_is_done_once():
    outcomes = list(work_in_processes(Squares, range(7), 2))
    assert sorted(square for _, _, square in outcomes) == [i * i for i in range(7)]
    processes = {process for process, _, _ in outcomes}
    assert len(processes) == 2
    assert os.getpid() not in processes
    counts = {process: max(n for p, n, _ in outcomes if p == process) for process in processes}
    assert sum(counts.values()) == 7


def test_what_goes_wrong_is_told_in_one_line():
    with pytest.raises(ImageError, match=r"^a bad picture$"):
        list(work_in_processes(Squares, [-1, 1, 2], 1))
    with pytest.raises(ImpastoError, match=r"^KeyError: 'bug'$"):
        list(work_in_processes(Squares, [-2], 1))
    with pytest.raises(DeviceError, match=r"killed by signal 9 \(out of memory\?\).*goes on"):
        list(work_in_processes(Squares, [1, -3, 2, 3], 2))


def test_one_that_dies_takes_one_task_with_it_and_another_takes_its_place():
    lost = []
    outcomes = work_in_processes(Squares, [1, -3, 2, -3, 3], 1, lambda *loss: lost.append(loss))
    assert [outcome and outcome[1:] for outcome in outcomes] == [
        (1, 1),
        None,
        (1, 4),  # made anew
        None,
        (1, 9),
    ]
    assert lost == [(-3, "was killed by signal 9 (out of memory?)")] * 2


def test_work_that_is_left_ends_its_processes():
    outcomes = work_in_processes(Squares, range(100), 1)
    process = next(outcomes)[0]
    outcomes.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


# --- processes that are talked with -------------------------------------------------------------


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
