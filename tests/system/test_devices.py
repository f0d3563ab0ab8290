"""Devices: what is chosen, what is refused, what is free."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest
import torch

from impasto.errors import DeviceError
from impasto.system import devices, files, memory


def test_a_processor_is_always_there():
    machine = devices.choose_machine("cpu")
    assert machine.device == torch.device("cpu")
    assert machine.precision == torch.float32
    assert "cpu, float32" in machine.describe()


def test_torch_s_settings_are_put_back():
    before = torch.get_num_threads(), devices.flushes_denormals()
    device = devices.choose_machine("cpu").device
    assert (torch.get_num_threads(), devices.flushes_denormals()) == before
    with devices.working_on(device, threads=1):
        assert (torch.get_num_threads(), devices.flushes_denormals()) == (1, True)
        with devices.working_on(device):
            assert torch.get_num_threads() == 1  # no more than are granted
        assert devices.flushes_denormals()
    assert (torch.get_num_threads(), devices.flushes_denormals()) == before
    with pytest.raises(KeyError), devices.working_on(device):
        raise KeyError
    assert (torch.get_num_threads(), devices.flushes_denormals()) == before


def test_a_denormal_tells_whether_they_are_flushed():
    before = devices.flushes_denormals()
    try:
        for flushed in (True, False):
            torch.set_flush_denormal(flushed)
            assert devices.flushes_denormals() == flushed
    finally:
        torch.set_flush_denormal(before)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("gpu", "unknown device 'gpu'"),
        ("cdua", "unknown device 'cdua'; did you mean 'cuda'?"),
        ("cuda:x", "unknown device 'cuda:x'"),
        ("", "unknown device ''"),
    ],
)
def test_unknown_devices(name, text):
    with pytest.raises(DeviceError, match=text.replace("?", r"\?")):
        devices.choose_device(name)


def test_devices_that_are_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="has no CUDA device; use --device cpu"):
        devices.choose_device("cuda")
    with pytest.raises(DeviceError, match="no MPS device"):
        devices.choose_device("mps")
    assert devices.choose_device("auto") == torch.device("cpu")


def test_a_cuda_index_past_the_last(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices.choose_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(DeviceError, match="there is no cuda:2; this machine has 2 of them"):
        devices.choose_device("cuda:2")


def test_a_cgroup_s_limits_are_respected(monkeypatch):
    contents = {
        "/sys/fs/cgroup/cpu.max": ["100000 100000"],
        "/proc/meminfo": ["MemTotal: 900 kB", "MemAvailable: 500 kB"],
        "/sys/fs/cgroup/memory.max": ["300000"],
        "/sys/fs/cgroup/memory.current": ["100000"],
    }
    for module in (files, memory):
        monkeypatch.setattr(module, "read_lines", lambda path: contents.get(path, []))
    assert devices.granted_cores() == 1
    assert memory.free_memory(torch.device("cpu")) == 200000
    contents["/sys/fs/cgroup/memory.max"] = ["max"]
    assert memory.free_memory(torch.device("cpu")) == 500 * 1024
    contents.clear()
    assert memory.free_memory(torch.device("cpu")) is None


def test_seeds_do_not_touch_the_global_generator():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    drawn = torch.rand(3, generator=devices.seeded(7))
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(torch.rand(3, generator=devices.seeded(7)), drawn)


# --- memory -------------------------------------------------------------------------------------

MIB = 2**20
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not say")


def held() -> int:
    """MiB that this process holds."""
    found = memory.resident_memory()
    assert found is not None
    return found // MIB


def take(blocks: int) -> list[torch.Tensor]:
    """Blocks of 4 MiB, every page of them touched."""
    return [torch.ones(MIB) for _ in range(blocks)]


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (MemoryError(), True),
        (MemoryError("out of room"), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't "
                "allocate memory: you tried to allocate 4096 bytes. Error code 12 (Cannot "
                "allocate memory)"
            ),
            True,
        ),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied (3x4 and 3x4)"), False),
        (RuntimeError(""), False),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (ValueError("can't allocate memory"), False),
        (OSError(12, "Cannot allocate memory"), False),
        (KeyError("memory"), False),
    ],
)
def test_errors_that_say_that_memory_ran_out(error, is_it):
    assert memory.is_out_of_memory(error) is is_it


REFUSED = """
import numpy as np
import torch
from impasto.system import memory

for take_far_too_much in (torch.empty, np.empty, torch.zeros):
    try:
        take_far_too_much(2**52)  # more than there are addresses
    except Exception as error:
        assert memory.is_out_of_memory(error), error
    else:
        raise AssertionError("taken")
"""


@ON_LINUX
def test_the_libraries_own_words_are_understood():
    # In a process of its own: the C library takes memory from elsewhere once it was refused some.
    subprocess.run([sys.executable, "-c", REFUSED], check=True)


@ON_LINUX
def test_what_is_held_grows_with_what_is_touched():
    before = held()
    taken = np.empty(200 * MIB, np.uint8)
    assert abs(held() - before) < 20  # the system gives pages when they are touched
    taken[:] = 1
    assert held() - before == pytest.approx(200, abs=20)
    del taken
    assert abs(held() - before) < 20


def test_systems_that_do_not_say_what_is_held(monkeypatch):
    monkeypatch.setattr(files, "read_lines", lambda _: [])
    assert memory.resident_memory() is None


@ON_LINUX
def test_memory_is_kept_inside_and_given_back_at_the_end():
    memory.give_memory_back()
    before = held()
    with memory.keeping_memory():
        blocks = take(50)
        assert held() - before > 180
        del blocks
        assert held() - before > 150  # for the next step
    assert held() - before < 50


@ON_LINUX
def test_memory_is_given_back_where_what_lasts_lies_above_it():
    """The end of what a process holds is in use, so that only its pages within can go."""
    memory.give_memory_back()
    before = held()
    with memory.keeping_memory():
        blocks = take(50)
        result = torch.ones(1000)
        del blocks
    assert held() - before < 50
    assert result.sum() == 1000


KEEPING = """
import sys
import torch
from impasto.system import memory

all_of_it = sys.argv[1] == "all"
before = memory.resident_memory()
held = lambda: (memory.resident_memory() - before) >> 20
with memory.keeping_memory(all_of_it=all_of_it):
    block = torch.ones(50 * 2**20)  # 200 MB, which the C library never keeps by itself
    assert held() > 180
    del block
    assert (held() > 150) == all_of_it, held()
assert held() < 50
"""


@ON_LINUX
@pytest.mark.parametrize("how", ["all", "small"])
def test_large_blocks_are_kept_where_there_is_memory_to_spare(how):
    subprocess.run([sys.executable, "-c", KEEPING, how], check=True)


@ON_LINUX
def test_memory_is_given_back_after_an_error():
    memory.give_memory_back()
    before = held()
    with suppress(ZeroDivisionError), memory.keeping_memory():
        take(50)
        assert held() - before > 150
        raise ZeroDivisionError
    assert held() - before < 50


@ON_LINUX
def test_memory_is_given_back_from_within_and_can_be_kept_again():
    memory.give_memory_back()
    before = held()
    with memory.keeping_memory():
        with memory.keeping_memory():
            take(50)
            assert held() - before > 150
        assert held() - before < 50
        take(50)
    assert held() - before < 50
    with memory.keeping_memory():
        take(50)
        assert held() - before > 150
    assert held() - before < 50


def test_without_a_c_library_that_can_be_told_nothing_is_done(monkeypatch):
    monkeypatch.setattr(memory, "_c_library", lambda: None)
    with memory.keeping_memory():
        values = torch.ones(1000)
    memory.give_memory_back()
    assert values.sum() == 1000
