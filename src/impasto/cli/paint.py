"""The command that paints: flags, recipes and files in; one painting or many out."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from impasto.cli.console import INTERRUPTED, ProgressBar, say, show_panels, unwrapped
from impasto.cli.flags import BatchFlags, Extras, Habits, OutputFlag, StyleFlag
from impasto.cli.outputs import check_outputs, list_read
from impasto.cli.recipe_inputs import apply_recipe, name_inputs
from impasto.cli.running import Notes, make_picture
from impasto.cluster.places import WorkPlace
from impasto.errors import ImpastoError, MissingFileError, OptionError
from impasto.images.folders import is_many
from impasto.jobs.batch import PaintingOutcome, PaintingTask, plan_batch, run_batch
from impasto.operations import find_operation
from impasto.options import Options
from impasto.painting.options import PaintOptions
from impasto.system.files import make_folder, resolve_path
from impasto.work import Request

PAINT_PANELS = {  # the first flag of each panel of help
    "--style": "Pictures",
    "--history": "What else is written",
    "--pairs": "Several paintings",
    "--metadata": "The rest",
    "--size": "Size",
    "--steps": "How it is found",
    "--start-size": "What of the style counts",
    "--style-weight": "What is minimised",
    "--style-blend": "The styles, and where they go",
    "--color": "Colour",
    "--init": "What it starts from",
    "--device": "The network and the machine",
}
show_paint_help = show_panels(PAINT_PANELS)


@unwrapped
def paint_command(
    *content: str,
    style: StyleFlag = None,
    output: OutputFlag = None,
    recipe: str | None = None,
    batch: Annotated[BatchFlags, Parameter(name="*")] = BatchFlags(),  # noqa: B008
    extras: Annotated[Extras, Parameter(name="*")] = Extras(),  # noqa: B008
    options: Annotated[PaintOptions, Parameter(name="*")] = PaintOptions(),  # noqa: B008
) -> int:
    """Paint a photograph in the manner of a picture, or of several.

    Parameters
    ----------
    content
        The photograph; or several, a folder or a quoted pattern, to paint them all, but not a
        style that lies among them. None with --recipe PAINTING: the one that it was made from.
    style
        The picture in whose manner it is painted; repeated, several are blended. A folder or a
        quoted pattern: a painting for each.
    output
        Where the painting goes; its name ends in .png, .jpg, .webp or .tif. CONTENT-STYLE.png here
        if not given. A folder, where there are several paintings.
    recipe
        Options to begin with: a name from 'impasto recipes', a .toml file, or a picture that
        Impasto painted; it is painted again if no other is named.
    """
    options = apply_recipe(recipe, options, "paint")
    sources, styles = name_inputs(content, style, recipe, tell=extras.tell)
    if len(sources) > 1 or any(map(is_many, (*sources, *styles))):
        extras.refuse_for_many("one painting")
        folder = output or Path("painted")
        tasks = plan_batch(sources, styles, folder, batch.pairs, batch.suffix)
        return PaintingBatch("paint", tasks, options, batch, extras).paint()
    stems = "-".join(Path(path).stem for path in (*sources, *styles))
    output = output or Path(f"{stems}{batch.suffix}")
    request = Request({"content": tuple(sources), "style": tuple(styles)}, options)
    read = list_read(request)
    if options.init == "last":
        if not output.exists():
            raise MissingFileError(f"init last: there is no {output.name!r} to start from yet")
        options = options.model_copy(update={"init": str(output)})
        request = Request(request.inputs, options)
    mend = "name another (to start from what OUTPUT holds: --init last)"
    if batch.place.is_cluster:
        check_outputs(output, read, extras, mend=mend)
        return paint_elsewhere("paint", request, output, batch, extras)
    tell_idle(batch, extras)
    return make_picture("paint", request, output, extras, read=read, mend=mend)


def tell_idle(batch: BatchFlags, habits: Habits) -> None:
    """Say that one picture is not shared out, where more processes were asked for."""
    Notes(habits.tell)(batch.place.describe_idle(1))


def paint_elsewhere(
    operation: str, request: Request, output: Path, batch: BatchFlags, habits: Habits
) -> int:
    """Make one picture on a cluster, over what is there; return the exit code."""
    if isinstance(habits, Extras):
        habits.refuse_for_many("work on this machine", f"--on {batch.place.kind}")
    began = time.perf_counter()
    takes, names = next((n, names) for n, names in request.inputs.items() if n != "content")
    task = PaintingTask(Path(request.one("content")), tuple(map(Path, names)), output, takes)
    paintings = PaintingBatch(operation, [task], request.options, batch, habits)
    outcomes, finished = paintings.run([task], batch.place)
    if not finished:
        say("stopped; nothing was written")
        return INTERRUPTED
    (outcome,) = outcomes
    if outcome.error:
        raise ImpastoError(outcome.error)
    Notes(habits.tell)(outcome.notes)
    seconds = time.perf_counter() - began
    habits.tell(f"{find_operation(operation).done} {output} on {batch.place} in {seconds:.1f} s")
    return 0


# --- several ------------------------------------------------------------------------------------


@dataclass
class PaintingBatch:
    """Paintings of one operation, made behind a progress bar."""

    operation: str
    tasks: Sequence[PaintingTask]
    options: Options
    flags: BatchFlags
    habits: Habits

    def paint(self) -> int:
        """Paint what is not there yet; tell at the end what went wrong. Return the exit code."""
        tell, tasks = self.habits.tell, self.tasks
        place = self.flags.place
        styles = list(map(str, tasks[0].styles))
        settled, settling = find_operation(self.operation).settle_many(self.options, styles)
        self.options = type(self.options).parse(settled)
        Notes(tell)(settling)
        begin_folder(tasks[0].output.parent)
        self.check_outputs()
        left = [task for task in tasks if self.flags.overwrite or not task.output.exists()]
        if len(left) < len(tasks):
            tell(f"{len(tasks) - len(left)} of {len(tasks)} are there already (--overwrite: again)")
        outcomes, finished = self.run(left, place)
        failed = [outcome for outcome in outcomes if outcome.error]
        tell_failures(failed)
        what = f"{'' if finished else 'stopped; '}{find_operation(self.operation).done}"
        missing = f", {len(failed)} failed" if failed else ""
        tell(f"{what} {len(outcomes) - len(failed)} of {len(left)}{missing}")
        if not finished:
            return INTERRUPTED
        return OptionError.exit_code if failed else 0

    def run(
        self, tasks: Sequence[PaintingTask], place: WorkPlace
    ) -> tuple[list[PaintingOutcome], bool]:
        """Paint until the end or Ctrl-C; return what is done, and whether it was the end."""
        done: list[PaintingOutcome] = []
        with ProgressBar(self.habits.quiet) as bar:
            try:
                outcomes = run_batch(
                    tasks,
                    self.options,
                    operation=self.operation,
                    place=place,
                    metadata=self.habits.metadata,
                    tell=Notes(self.habits.tell),
                )
                with closing(outcomes):
                    for outcome in outcomes:
                        done.append(outcome)
                        told = [outcome.task.output.name, *filter(None, [outcome.pace])]
                        bar.update(len(done), len(tasks), ", ".join(told))
            except KeyboardInterrupt:
                return done, False
        return done, True

    def check_outputs(self) -> None:
        """Raise an error where a picture that is read would be written over."""
        named = [Path(name) for names in self.options.files().values() for name in names]
        inputs = [path for task in self.tasks for path in (task.content, *task.styles)]
        read = {resolve_path(path) for path in (*named, *inputs)}
        for task in self.tasks:
            if resolve_path(task.output) in read:
                raise OptionError(
                    f"{str(task.output)!r} is one of the pictures that are read, and would be "
                    "written over; name another folder with --output"
                )


def tell_failures(failed: Sequence[PaintingOutcome]) -> None:
    """Print a line for each, or one for all that went wrong in the same way."""
    counts = Counter(outcome.error for outcome in failed)
    for outcome in failed:
        styles = ", ".join(path.name for path in outcome.task.styles)
        others = counts.pop(outcome.error, 0) - 1
        if others < 0:
            continue  # told
        more = f" (and {others} more)" if others else ""
        after = f" after {styles}" if styles else ""
        say(f"impasto: {outcome.task.content.name}{after}{more}: {outcome.error}")


def begin_folder(folder: Path) -> None:
    """Make the folder that paintings go to, or raise an error."""
    from impasto.images.writing import WRITABLE

    if folder.suffix.lower() in WRITABLE and not folder.is_dir():
        raise OptionError(f"several paintings go to a folder; {folder.name!r} names a picture")
    make_folder(folder)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OptionError(f"no permission to write in {str(folder)!r}")
