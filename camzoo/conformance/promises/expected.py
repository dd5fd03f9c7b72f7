"""Promises that a library is known to break: data, with the reason in its own code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Expected:
    """One reason for breaches that are known.

    Attributes:
        backend: whose they are.
        methods: canonical names.
        promise: its name.
        why: what the library does, and where: `file.py:line` of the versions for which it was seen.
    """

    backend: str
    methods: tuple[str, ...]
    promise: str
    why: str


EXPECTED: tuple[Expected, ...] = ()


def why(method: str, backend: str, promise: str) -> str:
    """Why this breach was to be expected, or ""."""
    for entry in EXPECTED:
        if (entry.backend, entry.promise) == (backend, promise) and method in entry.methods:
            return entry.why
    return ""
