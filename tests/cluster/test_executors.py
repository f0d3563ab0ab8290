"""Executors: outcomes, messages, words, limits and deaths of their processes."""

from __future__ import annotations

import operator
import os
import signal
import threading
import time
from concurrent.futures import Executor

import pytest

from impasto.cluster.executors import ProcessExecutor, TaskLimits
from impasto.errors import ImageError, ImpastoError, LimitError, LostProcessError


def do(task, tell, asked):
    """What a task of the tests does."""
    if task == "pid":
        return os.getpid()
    if task == "tell":
        for number in range(3):
            tell(number)
    elif task == "wait":
        tell(os.getpid())
        while not (word := asked()):
            time.sleep(0.01)
        return word
    elif task == "hang":
        tell(os.getpid())
        time.sleep(60)
    elif task == "bad picture":
        raise ImageError("a bad picture")
    elif task == "bug":
        raise KeyError("bug")
    elif task == "eat":
        held = bytearray(300 << 20)
        tell(len(held))
        time.sleep(60)
    elif task == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return task


@pytest.fixture(scope="module")
def executor():
    with ProcessExecutor(limits=TaskLimits(memory=250 << 20, stopping=0.5), nice=0) as executor:
        yield executor


def submit(executor, task, messages=None):
    return executor.submit_task(do, task, (messages if messages is not None else []).append)


def hear(messages):
    for _ in range(1000):
        if messages:
            return messages[0]
        time.sleep(0.02)
    raise AssertionError("nothing was told")


def test_it_is_an_executor_as_the_standard_library_has_them(executor):
    assert isinstance(executor, Executor)
    assert executor.submit(operator.add, 2, 3).result(60) == 5
    assert list(executor.map(operator.neg, [1, 2])) == [-1, -2]


def test_tasks_tell_and_their_process_is_kept(executor):
    messages = []
    assert submit(executor, "tell", messages).result(60) == "tell"
    assert messages == [0, 1, 2]
    assert submit(executor, "pid").result(60) == submit(executor, "pid").result(60) != os.getpid()


def test_a_task_hears_what_is_wished_of_it(executor):
    messages = []
    future = submit(executor, "wait", messages)
    hear(messages)
    future.stop("pause")
    assert future.result(60) == "pause"
    assert submit(executor, "tell").result(60) == "tell"  # the word was for that one alone


def test_errors_come_back(executor):
    with pytest.raises(ImageError, match=r"^a bad picture$"):
        submit(executor, "bad picture").result(60)
    with pytest.raises(ImpastoError, match=r"^KeyError: 'bug'$"):
        submit(executor, "bug").result(60)


def test_a_task_that_does_not_stop_is_ended(executor):
    messages = []
    future = submit(executor, "hang", messages)
    process = hear(messages)
    future.stop("cancel")
    with pytest.raises(LostProcessError, match="was ended as it was told to"):
        future.result(60)
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_a_process_that_dies_takes_one_task_with_it(executor):
    with pytest.raises(LostProcessError, match=r"was killed by signal 9"):
        submit(executor, "die").result(60)
    assert submit(executor, "tell").result(60) == "tell"


def test_a_task_that_takes_too_much_memory_is_ended(executor):
    with pytest.raises(LimitError, match=r"took more than the 250 MiB that a job may"):
        submit(executor, "eat").result(60)
    assert submit(executor, "tell").result(60) == "tell"


def test_time_and_silence_have_limits(executor):
    executor.limits, kept = TaskLimits(seconds=0.3), executor.limits
    with pytest.raises(LimitError, match=r"took more than the 0.3 seconds that a job may"):
        submit(executor, "hang").result(60)
    messages = []
    executor.limits = TaskLimits(silence=1.0)
    future = submit(executor, "hang", messages)
    os.kill(hear(messages), signal.SIGSTOP)
    with pytest.raises(LostProcessError, match="gave no sign of life for 1 seconds"):
        future.result(60)
    executor.limits = kept


def test_sigterm_asks_a_task_to_stop(executor):
    """As a system that shuts down sends it to all processes."""
    messages = []
    future = submit(executor, "wait", messages)
    os.kill(hear(messages), signal.SIGTERM)
    assert future.result(60) == "halt"


def test_what_was_not_begun_is_cancelled_at_the_end():
    executor = ProcessExecutor(nice=0)
    messages = []
    first = submit(executor, "wait", messages)
    second = submit(executor, "tell")
    hear(messages)
    threading.Timer(0.2, first.stop, ["halt"]).start()
    executor.shutdown(cancel_futures=True)
    assert first.result() == "halt"
    assert second.cancelled()
