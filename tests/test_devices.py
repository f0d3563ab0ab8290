"""Devices: what is chosen, what is refused, what is free."""

from __future__ import annotations

import pytest
import torch

from impasto import devices
from impasto.errors import DeviceError


def test_a_processor_is_always_there():
    machine = devices.choose_machine("cpu")
    assert machine.device == torch.device("cpu")
    assert machine.precision == torch.float32
    assert "cpu, float32" in machine.describe()


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
    files = {
        "/sys/fs/cgroup/cpu.max": ["100000 100000"],
        "/proc/meminfo": ["MemTotal: 900 kB", "MemAvailable: 500 kB"],
        "/sys/fs/cgroup/memory.max": ["300000"],
        "/sys/fs/cgroup/memory.current": ["100000"],
    }
    monkeypatch.setattr(devices, "_read_lines", lambda path: files.get(path, []))
    assert devices.granted_cores() == 1
    assert devices.free_memory(torch.device("cpu")) == 200000
    files["/sys/fs/cgroup/memory.max"] = ["max"]
    assert devices.free_memory(torch.device("cpu")) == 500 * 1024
    monkeypatch.setattr(devices, "_read_lines", lambda *_: [])
    assert devices.free_memory(torch.device("cpu")) is None


def test_seeds_do_not_touch_the_global_generator():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    drawn = torch.rand(3, generator=devices.seeded(7))
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(torch.rand(3, generator=devices.seeded(7)), drawn)
