"""Where captum parts from the reference."""

from __future__ import annotations

from camzoo.conformance.known_differences._entry import Difference

ENTRIES: tuple[Difference, ...] = ()
