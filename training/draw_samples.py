"""Draw the five style pictures that travel with the package. See sample_pictures.md.

python training/draw_samples.py [FOLDER]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sample_styles import STYLES, draw_style  # isort: skip

SIDE, QUALITY = 640, 70
DATA = Path(__file__).parent.parent / "src" / "impasto" / "data" / "samples"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=DATA)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name in STYLES:
        path = folder / f"{name}.jpg"
        picture = draw_style(name, size=(SIDE, SIDE))
        # Fine dots of pure colour bleed where colour is stored at half the resolution.
        picture.save(path, quality=QUALITY, subsampling="4:4:4", optimize=True, progressive=True)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
