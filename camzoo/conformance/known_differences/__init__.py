"""The ledger: where a library is known to part from the reference, why, and a variant that gives its number.

Each library has a file of entries. A variant is our own method, changed in the one place that is named, over the
literal evidence of one image; it has to reproduce the library's number to the precision of its dtype.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from camzoo.conformance.known_differences import captum, pytorch_grad_cam, torchcam
from camzoo.conformance.known_differences._entry import Difference

LEDGER: tuple[Difference, ...] = (*captum.ENTRIES, *pytorch_grad_cam.ENTRIES, *torchcam.ENTRIES)

OPTIONS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "captum": captum.OPTIONS,
    "pytorch-grad-cam": pytorch_grad_cam.OPTIONS,
    "torchcam": torchcam.OPTIONS,
}
"""By backend and method, the options with which a check is made; the variants honour them."""

__all__ = ["LEDGER", "OPTIONS", "Difference", "find"]


def find(method: str, backend: str) -> Difference | None:
    """The entry for a method of a backend, if there is one."""
    return next((entry for entry in LEDGER if (entry.method, entry.backend) == (method, backend)), None)
