"""The family of errors, their exit codes, and the words that they share: "did you mean", "2 steps".

Every error that a user can mend is an ``ImpastoError``: one line in lower case that names what is
wrong, what was found, and what is allowed or what mends it. Each also inherits the builtin that
fits, so that library users may catch ``ValueError`` or ``FileNotFoundError`` as usual.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LONGEST_VALUE = 80  # characters of a value that is quoted in an error
_LONGEST_MESSAGE = 2000  # characters of an error in all


class ImpastoError(Exception):
    """Something the user can mend; the command line prints it in one line and exits with 2."""

    exit_code = 2

    def __str__(self) -> str:
        """Return the message, without what builtins would add, an errno for example."""
        return shorten(" ".join(map(str, self.args)), _LONGEST_MESSAGE)


class OptionError(ImpastoError, ValueError):
    """An option with a name or value that is not allowed."""


class ImageError(ImpastoError, ValueError):
    """A picture that cannot be read, is too large or too small, or cannot be written."""


class MissingFileError(ImpastoError, FileNotFoundError):
    """A file or folder that is not there."""


class WeightsError(ImpastoError, ValueError):
    """A weight file that is missing, damaged or of another network."""


class DependencyError(ImpastoError, ImportError):
    """An optional library that is not installed."""


class DeviceError(ImpastoError, RuntimeError):
    """A device or precision that this machine does not have."""


class DivergedError(ImpastoError, ArithmeticError):
    """A loss that is no longer a number."""

    exit_code = 3


class MissingJobError(ImpastoError, LookupError):
    """A job or an upload that the store does not know."""


class JobStateError(ImpastoError, ValueError):
    """What cannot be done to a job in the state that it is in."""


class QueueFullError(ImpastoError, RuntimeError):
    """A queue that takes no more; later it may."""


class StorageFullError(ImpastoError, OSError):
    """A disk or a quota without room for what is to be kept."""


class StoreError(ImpastoError, OSError):
    """A store of jobs that cannot be read or written at the moment."""


class LostProcessError(ImpastoError, RuntimeError):
    """A process that died at its work, which another may do."""


class ClusterError(ImpastoError, ConnectionError):
    """A cluster that cannot be reached, that is not to be trusted, or that is gone."""


class LimitError(ImpastoError, RuntimeError):
    """Work that took more time or memory than it may."""


def shorten(text: str, longest: int = _LONGEST_VALUE) -> str:
    """Return a text of at most so many characters, without its middle if it has more."""
    if len(text) <= longest:
        return text
    tail = longest // 4
    return f"{text[: longest - tail - 1]}…{text[-tail:]}"


def describe_reason(error: Exception) -> str:
    """Return what the system or a library says went wrong, in lower case, without its errno."""
    return str(getattr(error, "strerror", None) or error).lower()


def suggest(name: str, choices: Iterable[str]) -> str:
    """Return ``"; did you mean 'relu4_2'?"`` if one of the choices is near, else all of them."""
    choices = list(choices)
    near = difflib.get_close_matches(shorten(name).lower(), choices, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; choose from {', '.join(choices)}"


def plural(count: int, noun: str, many: str = "") -> str:
    """Return ``1 step`` or ``2 steps``; ``many`` is for nouns that take more than an s."""
    return f"{count} {noun if count == 1 else many or noun + 's'}"
