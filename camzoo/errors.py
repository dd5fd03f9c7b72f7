"""What can go wrong, in the words in which it is told.

Three words are kept apart everywhere: *not installed* (the library is absent), *not offered* (it is there and
does not do this) and *failed* (it was asked and broke). A request that makes no sense is a fourth thing.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class CamzooError(Exception):
    """Base of every error that camzoo raises on purpose."""


class RequestError(CamzooError):
    """The request cannot be carried out as asked: one line, what is wrong and what would be right."""


class NotInstalled(CamzooError):
    """The library behind a backend is absent; the message has the command that installs it."""


class NotOffered(CamzooError):
    """A backend does not do this: the method, this kind of layer, this kind of target, this option."""


class Failed(CamzooError):
    """A backend was asked for what it offers and broke; the reason is its own."""


class DegenerateMapWarning(UserWarning):
    """A map is all zero, constant or not finite, and so says nothing about the image."""


def one_line(error: BaseException) -> str:
    """An error as one line: the first that it says, and its kind where it is not one of camzoo's own."""
    said = str(error).strip().partition("\n")[0]
    if isinstance(error, CamzooError):
        return said
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def unknown(kind: str, name: object, known: Iterable[str]) -> RequestError:
    """The error for a name that does not exist, with the closest ones that do.

    Args:
        kind: what the name should have named, as in "method".
        name: what was asked for.
        known: every name that exists.

    Returns:
        The error, to be raised by the caller.
    """
    names = sorted(set(known))
    lowered = {candidate.lower(): candidate for candidate in names}
    close = [lowered[match] for match in difflib.get_close_matches(str(name).lower(), lowered, n=3, cutoff=0.5)]
    if close:
        hint = f"did you mean {', '.join(close)}?"
    elif len(names) <= 12:
        hint = f"there is {', '.join(names)}" if names else "there is none"
    else:
        hint = f"there are {len(names)}, such as {', '.join(names[:5])}"
    return RequestError(f"unknown {kind} {str(name)!r}: {hint}")
