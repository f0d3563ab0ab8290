"""What the benchmarks share: the machine they ran on, and a file that keeps what was measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from impasto.networks.autotune import describe_processor
from impasto.system.devices import choose_machine

RESULTS = Path(__file__).parent / "results.json"


def describe_machine() -> str:
    machine = choose_machine()
    processor = describe_processor(machine.device)
    return f"{processor}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def keep(bench: str, name: str, facts: Any) -> None:
    """Keep what was measured, by machine and benchmark, for the plots of docs/performance.md."""
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results.setdefault(describe_machine(), {}).setdefault(bench, {})[name] = facts
    RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
