"""Lengths, letters, colours and marks of all figures of a benchmark."""

from __future__ import annotations

from camzoo.timing.samples import Run

# All lengths are in inches, all sizes of letters in points.
EDGE, LINE, HEAD, TITLE, AXIS, FOOT = 0.12, 0.17, 0.45, 0.22, 0.42, 0.27
PANEL, VALUES, BETWEEN, MOST_ACROSS = 2.1, 1.0, 0.24, 5
WIDE, HIGH, UNMEASURED = 4.4, 4.2, 4.4
LETTER, SMALL, HEADLINE = 6.5, 6.0, 9.0
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#5f5f5f")
MARKERS = ("o", "s", "D", "^", "v", "P", "X")
OWN = "camzoo"
Look = tuple[str, str]
"""A colour and a marker: never a colour alone."""


def looks_of(run: Run) -> dict[str, Look]:
    """A colour and a marker for each backend, camzoo first, the others by name; both together are its own."""
    names = sorted({row.backend for row in run.rows}, key=lambda name: (name != OWN, name))
    return {name: look_of(at) for at, name in enumerate(names)}


def look_of(number: int) -> Look:
    """Each time the colours begin again, the markers are one further on."""
    again, colour = divmod(number, len(COLOURS))
    return COLOURS[colour], MARKERS[(colour + again) % len(MARKERS)]
