"""The page's modules by the tools of their own world: types, and what is not ours against npm.

They need Node and the packages of ``tests/studio/web``, which `make test-slow` installs.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from impasto.studio.page_files import FOLDER

WEB = Path(__file__).parent / "web"
PACKAGES = WEB / "node_modules"
VENDOR = FOLDER / "vendor"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("node") is None, reason="needs Node"),
    pytest.mark.skipif(not PACKAGES.is_dir(), reason="run npm ci in tests/studio/web"),
]
SETTINGS = {
    "allowJs": True,
    "checkJs": True,
    "noEmit": True,
    "strict": True,
    "target": "es2022",
    "module": "es2022",
    "moduleResolution": "bundler",
    "lib": ["es2023", "dom", "dom.iterable"],
    "skipLibCheck": True,
    "types": [],
}


def test_vendored_files_are_those_of_npm():
    files = [path for path in VENDOR.rglob("*") if path.is_file()]
    assert len(files) >= 7
    for path in files:
        assert path.read_bytes() == (PACKAGES / path.relative_to(VENDOR)).read_bytes(), path.name


def check_types(folder: Path) -> subprocess.CompletedProcess[str]:
    settings = {"compilerOptions": SETTINGS, "exclude": ["vendor"]}
    (folder / "tsconfig.json").write_text(json.dumps(settings))
    program = [str(PACKAGES / ".bin" / "tsc"), "-p", str(folder)]
    return subprocess.run(program, capture_output=True, text=True, timeout=300)


@pytest.fixture
def copy(tmp_path):
    """The page, with the types of what is vendored beside it."""
    page = tmp_path / "page"
    shutil.copytree(FOLDER, page)
    for path in VENDOR.rglob("*.js"):
        types = path.relative_to(VENDOR).with_suffix(".d.ts")
        shutil.copy(PACKAGES / types, page / "vendor" / types)
    return page


def test_types_hold(copy):
    checked = check_types(copy)
    assert checked.returncode == 0, checked.stdout


def test_a_wrong_type_would_be_found(copy):
    (copy / "wrong.js").write_text('import { announce } from "./store.js";\nannounce(3);\n')
    checked = check_types(copy)
    assert "wrong.js(2,10): error TS2345" in checked.stdout


def test_strokes_by_hand(tmp_path):
    """Numbers of the mask's brush and fill, on nine by one pixels."""
    program = tmp_path / "strokes.mjs"
    program.write_text(
        "import { dab, fillLike, stampLabel, strokeLine } from "
        f'"{(FOLDER / "parts" / "brush.js").as_uri()}";'
        """
        const made = [];
        const row = (start = 0) => new Uint8ClampedArray(9).fill(start);
        const at = { x: 4.5, y: 0.5 };
        const hard = row(); dab(hard, 9, 1, at, { size: 5, softness: 0, value: 255 });
        const soft = row(); dab(soft, 9, 1, at, { size: 8, softness: 1, value: 255 });
        const twice = soft.slice(); dab(twice, 9, 1, at, { size: 8, softness: 1, value: 255 });
        const cut = row(255); dab(cut, 9, 1, at, { size: 5, softness: 0, value: 0 });
        const line = row();
        const brush = { size: 2, softness: 0, value: 255 };
        strokeLine(line, 9, 1, { x: 1.5, y: 0.5 }, { x: 7.5, y: 0.5 }, brush);
        const pixels = new Uint8ClampedArray(36);
        [0, 10, 20, 60, 20, 10, 0, 0, 0].forEach((each, n) => pixels.fill(each, 4 * n, 4 * n + 3));
        const filled = row(); fillLike(filled, pixels, 9, 1, { x: 0, y: 0 }, 20);
        const label = row(2); stampLabel(label, 9, 1, at, 5, 1);
        const all = [hard, soft, twice, cut, line, filled, label];
        console.log(JSON.stringify(all.map((each) => [...each])));
        """
    )
    done = subprocess.run(["node", str(program)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    hard, soft, twice, cut, line, filled, label = json.loads(done.stdout)
    assert hard == [0, 0, 255, 255, 255, 255, 255, 0, 0]
    assert soft == [0, 64, 128, 191, 255, 191, 128, 64, 0]  # 255 times 1, 3/4, 1/2 and 1/4
    assert twice == soft
    assert cut == [255 - each for each in hard]
    assert line == [0, 0, 255, 255, 255, 255, 255, 255, 0]  # its beginning was pressed before
    assert label == [2, 2, 1, 1, 1, 1, 1, 2, 2]
    assert filled == [255, 255, 255, 0, 0, 0, 0, 0, 0]
