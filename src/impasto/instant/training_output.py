"""Where a model that is trained goes: its file, the lock beside it, and its checkpoint."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from impasto.errors import OptionError, describe_reason
from impasto.system.checkpoints import Checkpoint
from impasto.system.files import check_place, locked

SAVE_EVERY = 30.0  # seconds


class ModelOutput:
    """The file of a model, if there is to be one.

    Beside it lie a lock while a process trains it and, until the model is saved, the checkpoint,
    ``model.safetensors.checkpoint``, from which the same training goes on.
    """

    def __init__(
        self, path: str | os.PathLike[str] | None, note: Callable[[str], None] = lambda _: None
    ) -> None:
        self.note = note
        self.path = self.checkpoint = None
        if path is not None:
            self.path = check_place(path, "a model", [".safetensors"])
            self.checkpoint = Checkpoint(self.path.with_name(f"{self.path.name}.checkpoint"))
        self.digest = ""
        self.kept: int | None = None  # steps in the checkpoint
        self.saved = time.perf_counter()
        self.is_alone = False  # the lock is held

    def take_up(self, digest: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return what a run of that digest that was broken off has saved."""
        self.digest = digest
        if self.checkpoint is None:
            return None
        if self.checkpoint.run not in (None, digest):
            raise OptionError(
                f"{self.checkpoint.path.name!r} is of another training: other styles, "
                "photographs, options or version; remove it, or name another output"
            )
        saved = self.checkpoint.load(digest)
        if saved is not None:
            self.kept = saved[1]["number"]
        return saved

    def is_due(self) -> bool:
        """Return whether it is time to save again."""
        return time.perf_counter() - self.saved > SAVE_EVERY

    def save_progress(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Write the checkpoint, if there is to be one.

        Where it cannot be written that is noted: the net still learns, and may yet be saved.
        """
        if self.checkpoint is None:
            return
        try:
            self.checkpoint.save(tensors, facts, self.digest)
            self.kept = facts["number"]
        except OptionError as error:
            self.note(str(error))
        self.saved = time.perf_counter()

    def is_kept(self) -> bool:
        """Return whether there is a checkpoint to go on from."""
        return (
            self.kept is not None and self.checkpoint is not None and self.checkpoint.path.exists()
        )

    def finish(self) -> None:
        """Remove the checkpoint: the model is saved."""
        if self.checkpoint is not None:
            self.checkpoint.remove()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from training this model; raise an error at once if one does."""
        if self.is_alone or self.path is None:
            yield
            return
        with _locking(self.path, self.note):
            self.is_alone = True
            try:
                yield
            finally:
                self.is_alone = False


@contextmanager
def _locking(output: Path, note: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of a model; raise an error at once if another process does.

    A lock that cannot be removed, as in a folder that nothing can be written to any longer, is
    noted: it is in nobody's way.
    """
    stack = ExitStack()
    try:
        stack.enter_context(locked(output.with_name(f".{output.name}.lock"), wait=False))
    except BlockingIOError:
        raise OptionError(
            f"{output.name!r} is being trained by another process; wait for it, or name another"
        ) from None
    except OSError as error:
        raise OptionError(
            f"cannot write to {str(output.parent)!r}: {describe_reason(error)}"
        ) from None
    try:
        yield
    finally:
        try:
            stack.close()
        except OSError as error:
            note(f"cannot remove the lock of {output.name!r}: {describe_reason(error)}")
