"""The command that trains a network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from impasto.cli.console import INTERRUPTED, choose_tell, show_panels, unwrapped
from impasto.cli.flags import QuietFlag, StyleFlag
from impasto.cli.running import Notes, drive
from impasto.errors import ImpastoError, OptionError, describe_reason, plural
from impasto.instant.options import TrainOptions
from impasto.operations import find_operation
from impasto.system.files import check_place, resolve_path
from impasto.work import Request, Step

if TYPE_CHECKING:
    from PIL import Image

    from impasto.instant.training import Training

show_train_help = show_panels(
    {
        "--style": "What goes in and comes out",
        "--net": "How it is taught",
        "--style-weight": "What is minimised",
        "--learning-rate": "The rest",
        "--device": "The machine",
    }
)


@unwrapped
def train_command(
    *,
    style: StyleFlag = None,
    photos: Path | None = None,
    output: Annotated[Path, Parameter(alias="-o")] = Path("model.safetensors"),
    start: str | None = None,
    quiet: QuietFlag = False,
    options: Annotated[TrainOptions, Parameter(name="*")] = TrainOptions(),  # noqa: B008
) -> int:
    """Teach a network to paint in one pass, after one style or many; then: impasto instant --model.

    Parameters
    ----------
    style
        A picture to learn; repeated, the network learns them all, each by its file's name.
    photos
        The folder of photographs to learn from: some hundreds, of any kind and size.
    output
        Where the network goes; its name ends in .safetensors. A sheet of what it paints so far lies
        beside it, and what a killed run goes on from.
    start
        A network made before, or painters, the one that travels with the package, which is to
        learn these styles besides its own: all that it paints already stays as it is.
    quiet
        Say nothing but errors.
    """
    if not style or not all(style):
        raise OptionError("train needs a picture to learn: --style PICTURE")
    if photos is None:
        raise OptionError("train needs photographs to learn from: --photos FOLDER")
    preview = output.with_name(f"{output.stem}-preview.png") if options.preview_every else None
    check_teaching(style, photos, output, preview, start)
    inputs = {"styles": tuple(style), "photos": (str(photos),), "start": (start,) if start else ()}
    return teach(Request(inputs, options, output=output), output, preview, quiet=quiet)


def teach(request: Request, output: Path, preview: Path | None, *, quiet: bool) -> int:
    """Train a network, say how it goes, and write it."""
    from impasto.instant.training import Training

    work = find_operation("train").start(request)
    assert isinstance(work, Training)
    quiet = quiet or not work.is_first  # of several processes
    tell = choose_tell(quiet)
    notes = Notes(tell)
    notes(work.notes)
    tell(f"teaching {plural(len(request.inputs['styles']), 'style')} on {work.machine.describe()}")
    previews = Previews(work, preview)
    with work.alone():
        finished = drive(work, previews, quiet=quiet)
        if not finished:
            work.save_progress()
            done = describe_stop(work)
        elif work.is_first:
            done = save_taught(work, output, previews)
    notes(work.notes)
    if work.is_first:
        tell(done)
    return 0 if finished else INTERRUPTED


def check_teaching(
    styles: list[str], photos: Path, output: Path, preview: Path | None, start: str | None
) -> None:
    """Raise an error where something that is read, or a finished model, would be written over."""
    from impasto.instant.model_file import find_net
    from impasto.instant.training_photos import list_photographs

    check_place(output, "a model", [".safetensors"])
    for style in styles:
        if Path(style).is_dir():
            raise OptionError(f"{style!r} is a folder; name each picture with its own --style")
    read = {resolve_path(path) for path in (*map(Path, styles), *list_photographs(photos))}
    for what, path in (("--output", output), ("the preview", preview)):
        if path is not None and resolve_path(path) in read:
            raise OptionError(
                f"{what} {str(path)!r} is one of the pictures that are read, and would be written "
                "over; name another output"
            )
    if start is not None and resolve_path(find_net(start)) == resolve_path(output):
        raise OptionError(
            f"--output {str(output)!r} is the model to start from, and would be written over; "
            "name another output"
        )
    if preview is not None and resolve_path(preview).is_relative_to(resolve_path(photos)):
        raise OptionError(
            f"the preview {str(preview)!r} would lie among the photographs; name another output, "
            "or no preview: --preview-every 0"
        )
    if output.exists() and not output.with_name(f"{output.name}.checkpoint").exists():
        raise OptionError(f"{str(output)!r} is there already; name another output, or remove it")


def describe_stop(work: Training) -> str:
    """Return where the training stands, and what the same command does."""
    stopped = f"stopped at step {work.teacher.state.number} of {work.count}"
    kept = work.output.kept
    if kept is None or not work.output.is_kept():
        return f"{stopped}; nothing was saved: the same command begins anew"
    return f"{stopped}; the same command goes on from step {kept + 1}"


def save_taught(work: Training, output: Path, previews: Previews) -> str:
    """Write the model first, as a sheet can be made again; return what there is now."""
    sheet = work.preview() if previews.path is not None else None
    taught = work.result()
    taught.save(output)
    done = f"{output} paints {', '.join(taught.palette.names)}"
    return f"{done}; how: {previews.path}" if previews.write(sheet) else done


class Previews:
    """Writes a sheet of what the network paints so far, every so many steps."""

    def __init__(self, work: Training, path: Path | None) -> None:
        self.work, self.path = work, path

    def __call__(self, step: Step) -> None:
        every = self.work.options.preview_every
        if every and step.number % every == 0 and self.work.is_first:
            self.write(self.work.preview())

    def write(self, sheet: Image.Image | None) -> bool:
        """Write a sheet, and return whether it was; where it cannot be that stops nothing."""
        from impasto.figures.contact_sheet import save_sheet

        if sheet is None or self.path is None:
            return False
        try:
            save_sheet(sheet, self.path)
        except ImpastoError as error:
            self.work.add_note(f"no preview: {error}")
        except OSError as error:
            self.work.add_note(f"no preview: {describe_reason(error)}")
        else:
            return True
        return False
