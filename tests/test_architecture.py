"""The house: who may import whom, how large a room may be, and what start-up may load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import impasto

PACKAGE = Path(__file__).parent.parent / "src" / "impasto"
FLOORS = {
    "ground": [
        "errors",
        "files",
        "options",
        "lab_options",
        "instant_options",
        "devices",
        "workers",
    ],
    "pixels": [
        "images",
        "color",
        "masks",
        "clips",
        "tiles",
        "drawing",
        "styles",
        "samples",
        "sheets",
        "labelled",
        "noises",
        "copies",
        "crops",
    ],
    "networks": [
        "backbones",
        "classifiers",
        "publishers",
        "weights",
        "trials",
        "sums",
        "positions",
        "losses",
        "networks",
        "palettes",
        "passes",
        "style_losses",
        "batch_losses",
    ],
    "work": [
        "augmentation",
        "axes",
        "canvas",
        "checkpoints",
        "engines",
        "graphs",
        "explore",
        "feature_maps",
        "instant",
        "inversions",
        "loop",
        "objective",
        "optimizers",
        "painter",
        "paintings",
        "placing",
        "plan",
        "plots",
        "pupils",
        "records",
        "report",
        "scene",
        "starts",
        "stylisers",
        "sweeps",
        "targets",
        "terms",
        "training",
        "tuning",
        "yardstick",
    ],
    "front": [
        "operations",
        "doctor",
        "batch",
        "console",
        "cli",
        "cli_paint",
        "cli_explore",
        "cli_instant",
        "cli_lab",
        "cli_run",
        "__init__",
        "__main__",
    ],
}
HOMES = {
    "matplotlib": ["plots"],
    "av": ["clips"],
    "h5py": ["publishers"],
    "onnx": ["graphs"],
    "onnxruntime": ["engines"],
    "openvino": ["engines"],
    "optuna": ["tuning"],
    "rich": ["console"],
    "cyclopts": ["cli", "cli_explore", "cli_instant", "cli_lab", "cli_paint", "cli_run", "console"],
}
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS.values()) for room in rooms}


def imports_of(room: str) -> set[str]:
    """Dotted names that a room imports anywhere, functions included."""
    names = set()
    for node in ast.walk(ast.parse((PACKAGE / f"{room}.py").read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def rooms_used_by(room: str) -> set[str]:
    return {n.split(".")[1] for n in imports_of(room) if n.startswith("impasto.")}


def test_every_room_has_a_floor():
    assert sorted(FLOOR_OF) == sorted(path.stem for path in PACKAGE.glob("*.py"))


@pytest.mark.parametrize("room", FLOOR_OF)
def test_no_room_imports_from_above(room):
    assert not {used for used in rooms_used_by(room) if FLOOR_OF[used] > FLOOR_OF[room]}


def test_no_circles():
    done: set[str] = set()

    def visit(room: str, path: tuple[str, ...]) -> None:
        assert room not in path, f"a circle: {' -> '.join([*path, room])}"
        if room not in done:
            for used in rooms_used_by(room):
                visit(used, (*path, room))
            done.add(room)

    for room in FLOOR_OF:
        visit(room, ())


@pytest.mark.parametrize("room", FLOOR_OF)
def test_libraries_live_where_they_belong(room):
    roots = {name.split(".")[0] for name in imports_of(room)}
    assert not {library for library in roots & set(HOMES) if room not in HOMES[library]}


@pytest.mark.parametrize("room", FLOOR_OF)
def test_rooms_stay_small(room):
    assert len((PACKAGE / f"{room}.py").read_text().splitlines()) <= 500


@pytest.mark.parametrize("arguments", [["--help"], ["paint", "--help"], ["recipes"]])
def test_start_up_loads_neither_torch_nor_numpy(arguments):
    program = (
        "import sys; from impasto.cli import run; run(sys.argv[1:]); "
        "sys.exit(bool({'torch', 'numpy', 'PIL', 'multiprocessing'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def test_import_is_instant_and_lazy():
    program = (
        "import sys, impasto; assert 'torch' not in sys.modules and 'pydantic' not in sys.modules; "
        "assert 'paint' in dir(impasto); assert callable(impasto.paint); "
        "assert all(getattr(impasto, name) for name in impasto.__all__)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def test_no_public_name_is_a_room():
    """Importing the room would put it in the name's place."""
    assert not set(impasto.__all__) & set(FLOOR_OF)
