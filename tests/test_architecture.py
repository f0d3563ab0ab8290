"""The house: who may import whom, where libraries live, names, and what start-up may load."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import impasto

PACKAGE = Path(__file__).parent.parent / "src" / "impasto"
# Imports go only to an earlier level; folders of one level never import each other.
LEVELS = (
    ("errors",),
    ("options", "system"),
    ("cluster",),
    ("work",),
    ("images", "figures", "samples", "networks"),
    ("recipes", "losses"),
    ("painting",),
    ("instant",),
    ("datasets", "photoreal"),
    ("video",),
    ("lab",),
    ("operations",),
    ("jobs",),
    ("studio",),
    ("cli",),
    ("__init__", "__main__"),
)
LEVEL_OF = {name: number for number, names in enumerate(LEVELS) for name in names}
HOMES = {  # library: the modules or folders that may import it
    "ray": ("cluster.ray_executor",),
    "fsspec": ("system.remote_files",),
    "distributed": ("cluster.dask_executor",),
    "matplotlib": ("figures.plots",),
    "av": ("video.film", "video.decoding", "video.glance", "video.encoding", "video.joining"),
    "cv2": ("video.flow",),
    "h5py": ("networks.weight_formats",),
    "onnx": ("instant.onnx_export",),
    "onnxruntime": ("instant.engines",),
    "openvino": ("instant.engines",),
    "optuna": ("lab.tuning",),
    "skimage": ("samples.photographs",),
    "sqlite3": ("jobs.store",),
    "fastapi": ("studio",),
    "starlette": ("studio",),
    "uvicorn": ("studio",),
    "websockets": ("studio",),
    "rich": ("cli.console",),
    "cyclopts": ("cli",),
}
LONGEST_MODULE = 500


def name_module(path: Path) -> str:
    """``images.reading``; of a folder's own file the folder's name with ``__init__``."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


MODULES = {name_module(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def parse(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text())


def find_imports(module: str) -> set[str]:
    """Dotted names that a module imports anywhere, functions and type checking included."""
    names = set()
    for node in ast.walk(parse(module)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def find_used(module: str) -> set[str]:
    """The modules of this project that a module imports."""
    return {name.removeprefix("impasto.") for name in find_imports(module)} & set(MODULES)


def top(module: str) -> str:
    return module.partition(".")[0]


def test_every_folder_has_a_level():
    assert set(LEVEL_OF) == {top(module) for module in MODULES}


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_to_earlier_levels(module):
    others = {used for used in find_used(module) if top(used) != top(module)}
    assert not {used for used in others if LEVEL_OF[top(used)] >= LEVEL_OF[top(module)]}


def test_no_circles():
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, f"a circle: {' -> '.join([*path, module])}"
        if module not in done:
            for used in find_used(module):
                visit(used, (*path, module))
            done.add(module)

    for module in MODULES:
        visit(module, ())


@pytest.mark.parametrize("module", MODULES)
def test_libraries_live_where_they_belong(module):
    roots = {name.partition(".")[0] for name in find_imports(module)}
    assert not {name for name in roots & set(HOMES) if not {module, top(module)} & set(HOMES[name])}


@pytest.mark.parametrize("module", MODULES)
def test_modules_stay_small(module):
    assert len(MODULES[module].read_text().splitlines()) <= LONGEST_MODULE


@pytest.mark.parametrize("module", [name for name in MODULES if name.endswith(".__init__")])
def test_a_folder_s_own_file_is_a_docstring(module):
    assert [type(node) for node in parse(module).body] == [ast.Expr]


@pytest.mark.parametrize("arguments", [["--help"], ["paint", "--help"], ["recipes"]])
def test_start_up_loads_neither_torch_nor_numpy(arguments):
    program = (
        "import sys; from impasto.cli.app import run; run(sys.argv[1:]); "
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


def test_no_public_name_is_a_module():
    """Importing the folder or module ``impasto.NAME`` would put it in the public name's place."""
    assert not set(impasto.__all__) & set(LEVEL_OF)


def list_public_names(module: str) -> set[str]:
    """The public names that a module defines at its top level."""
    names: set[str] = set()
    for node in parse(module).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {n.id for target in node.targets for n in ast.walk(target) if is_name(n)}
        elif isinstance(node, ast.AnnAssign) and is_name(node.target):
            names.add(node.target.id)
    return {name for name in names if not name.startswith("_")}


def is_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Name)


def test_no_two_public_names_are_alike():
    homes: dict[str, list[str]] = {}
    for module in MODULES:
        for name in list_public_names(module):
            homes.setdefault(name, []).append(module)
    assert not {name: found for name, found in homes.items() if len(found) > 1}
