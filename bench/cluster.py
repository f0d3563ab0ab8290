"""What a cluster costs beside processes of this machine: efficiency, and overhead of each task.

    python bench/cluster.py [--photos 8] [--steps 60] [--size 192] [--tasks 60] [--rounds 3]

Two workers each: a local pool, a Dask cluster and a Ray that are started here. Each has its turn in
every round, so that a busy minute is shared by all; ratios are medians of the rounds'.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import active_children
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from cluster_tasks import MAKE, run_dask
from conftest import draw_picture
from PIL import Image

from impasto.cluster.crew import hire_crew
from impasto.cluster.places import parse_place
from impasto.cluster.worker import WorkerSpec, describe_worker
from impasto.jobs.batch import BatchOrder, list_task_files, plan_batch
from impasto.painting.options import PaintOptions
from impasto.system.files import replace_file


def paint_on(on: str, tasks: list, options: PaintOptions) -> tuple[float, float]:
    """Paint on workers that have begun; return seconds in all, and those that workers painted."""
    with hire_crew(parse_place(on), 2) as crew:
        order = BatchOrder("paint", options, True, crew.share)
        spec = WorkerSpec("impasto.jobs.batch:share_machine", order)
        list(crew.share_out(spec, tasks[:2], list_files=list_task_files))  # libraries, networks
        began = time.perf_counter()
        reports = [
            report
            for _, report in crew.share_out(spec, tasks, list_files=list_task_files)
            if report is not None
        ]
        seconds = time.perf_counter() - began
    assert not any(report.outcome.error for report in reports)
    return seconds, sum(report.seconds for report in reports)


def call_on(on: str, count: int) -> tuple[float, float]:
    """Return seconds until the first outcome, and milliseconds of each task that does nothing."""
    began = time.perf_counter()
    with hire_crew(parse_place(on), 2) as crew:
        spec = WorkerSpec(MAKE, "given")
        list(crew.share_out(spec, [("square", i) for i in range(4)]))
        first = time.perf_counter() - began
        began = time.perf_counter()
        list(crew.share_out(spec, [("square", i) for i in range(count)]))
        return first, (time.perf_counter() - began) / count * 1000


def carry_on(on: str, folder: Path, count: int = 24) -> tuple[float, float]:
    """Return milliseconds of a task that takes 3 MB there and back, and those of the driver."""
    photos = [folder / f"{i}.bin" for i in range(count)]
    for photo in photos:
        photo.write_bytes(os.urandom(3_000_000))
    with hire_crew(parse_place(on), 2) as crew:
        spec = WorkerSpec(MAKE, "given")
        list(crew.share_out(spec, [("square", i) for i in range(4)]))
        tasks = [("read", str(photo), str(photo)) for photo in photos]
        began, busy = time.perf_counter(), count_seconds()
        shared = crew.share_out(spec, tasks, list_files=lambda task: [task[2]])
        for (_, _, path), report in ((t, r) for t, r in shared if r is not None):
            replace_file(Path(path).with_suffix(".back"), report.outcome[1][1])
        took, busy = time.perf_counter() - began, count_seconds() - busy
    return took / count * 1000, busy / count * 1000


def count_seconds() -> float:
    """Return the processor's seconds of this process and of those that it talks with."""
    ticks = 0
    for process in (os.getpid(), *(child.pid for child in active_children())):
        words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        ticks += int(words[11]) + int(words[12])
    return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def places(folder: Path) -> Iterator[dict[str, str]]:
    """Yield what is compared."""
    with run_dask(folder) as dask:
        yield {"local:2": "local:2", "dask": dask, "ray": "ray"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (("photos", 8), ("steps", 60), ("size", 192), ("tasks", 60), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=value)
    args = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(Path(__file__).parent.parent / "tests"), os.environ.get("PYTHONPATH", "")]
    )
    with tempfile.TemporaryDirectory() as name, places(Path(name)) as compared:
        folder = Path(name)
        (folder / "photos").mkdir()
        for i in range(args.photos):
            picture = Image.fromarray(draw_picture(args.size, args.size * 3 // 4, i))
            picture.save(folder / "photos" / f"{i}.png")
        Image.fromarray(draw_picture(args.size, args.size, 99)).save(folder / "style.png")
        sources, styles = [str(folder / "photos")], [str(folder / "style.png")]
        tasks = plan_batch(sources, styles, folder, "every", ".png")
        options = PaintOptions(steps=args.steps, size=args.size, precision="float32", plateau=0)
        print(describe_worker())
        ratios: dict[str, list[float]] = {kind: [] for kind in compared}
        for kind, on in list(compared.items())[1:]:  # those that files travel to
            each, driver = carry_on(on, folder)
            print(f"{kind:8} 3 MB there and back: {each:.0f} ms a task, {driver:.0f} of the driver")
        for _ in range(args.rounds):
            local = 0.0
            for kind, on in compared.items():
                first, each = call_on(on, args.tasks)
                seconds, worked = paint_on(on, tasks, options)
                local = local or seconds
                ratios[kind].append(local / seconds)
                print(
                    f"{kind:8} {args.photos} paintings {seconds:6.1f} s, {local / seconds:.2f} of "
                    f"the local pool, workers busy {worked / 2 / seconds:.2f}; begun in "
                    f"{first:.1f} s, {each:.1f} ms a task that does nothing",
                    flush=True,
                )
        for kind, found in ratios.items():
            print(f"{kind:8} {median(found):.2f} of the local pool ({args.rounds} rounds)")


if __name__ == "__main__":
    main()
