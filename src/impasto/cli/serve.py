"""The command that serves the studio and its API."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from pydantic import Field

from impasto.cli.console import print_line, say, unwrapped
from impasto.cli.flags import OnField
from impasto.cluster.places import choose_place
from impasto.errors import OptionError
from impasto.options import Memory, Options, parse_memory
from impasto.system.optional import require

if TYPE_CHECKING:
    from impasto.studio.limits import StudioLimits


class KeepFlags(Options):
    """What is kept, and what jobs may take."""

    quota: Memory = Field(
        default="20G", description="Uploads and results together; more is refused."
    )
    keep_days: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        description="Delete jobs that ended so many days ago, and uploads that none has; "
        "everything is kept if not given.",
    )
    queue: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=1000, description="Jobs that may wait; one client has half of them."
    )
    upload_limit: Memory = Field(default="512M", description="The largest upload.")
    jobs: Annotated[int, Field(ge=1, le=64)] = Field(
        default=1,
        description="Jobs that are worked on at the same time; short for --on local:N.",
    )
    on: str | None = OnField
    job_memory: Memory | None = Field(
        default=None, description="A job that takes more memory is ended."
    )
    job_hours: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="A job that takes longer is ended."
    )


@unwrapped
def serve_command(
    *,
    folder: Path | None = None,
    host: str = "127.0.0.1",
    port: Annotated[int, Field(ge=0, le=65535)] = 8765,
    name: list[str] | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
    token_file: Path | None = None,
    keep: Annotated[KeepFlags, Parameter(name="*")] = KeepFlags(),  # noqa: B008
) -> None:
    """Serve the studio and the HTTP API; jobs survive whatever is killed.

    Parameters
    ----------
    folder
        Where jobs, uploads and results are kept; $IMPASTO_HOME, or impasto in your data folder, if
        not given.
    host
        The address to serve at. 0.0.0.0 lets other computers in.
    port
        Its port; 0 takes a free one.
    name
        A name that other computers call this one by; may be repeated. Under others it is refused.
    certificate
        A TLS certificate (PEM): without, nobody but this computer has a camera in the browser.
    key
        Its key.
    token_file
        Write the token that programs send to this file.
    """
    need = "the server needs FastAPI, uvicorn and websockets"
    for library in ("fastapi", "uvicorn", "websockets"):
        require(library, need, extra="studio")
    from impasto.studio.server import Place, serve_studio

    work_place = choose_place(keep.on, keep.jobs)
    place = Place(host, port, tuple(name or ()), certificate, key, token_file)
    serve_studio(folder or find_home(), place, _tell, _read_limits(keep), work_place=work_place)
    say("stopped; what was not done goes on when it is served again")


def _read_limits(keep: KeepFlags) -> StudioLimits:
    """Return the limits that flags ask for."""
    from impasto.studio.limits import StudioLimits

    return StudioLimits(
        quota=parse_memory(keep.quota),
        keep_days=keep.keep_days,
        queue=keep.queue,
        client_queue=max(1, keep.queue // 2),
        upload_bytes=parse_memory(keep.upload_limit),
        job_memory=None if keep.job_memory is None else parse_memory(keep.job_memory),
        job_seconds=None if keep.job_hours is None else keep.job_hours * 3600,
    )


def _tell(line: str) -> None:
    """Print a line at once: a script may wait for it."""
    print_line(line)
    sys.stdout.flush()


def find_home() -> Path:
    """Return the folder of jobs: $IMPASTO_HOME, or impasto in the user's data folder."""
    if own := os.environ.get("IMPASTO_HOME"):
        return Path(own)
    if data := os.environ.get("XDG_DATA_HOME"):
        return Path(data) / "impasto"
    try:
        return Path.home() / ".local" / "share" / "impasto"
    except RuntimeError:
        raise OptionError("there is no home folder; name one with --folder") from None
