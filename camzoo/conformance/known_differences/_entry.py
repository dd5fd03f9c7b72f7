"""One row of the ledger."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from camzoo.conformance.evidence import Literal
from camzoo.conformance.verdicts import Kind
from camzoo.oracles.grids import Floats


@dataclass(frozen=True, slots=True)
class Difference:
    """Where one method of one library parts from the reference.

    Attributes:
        backend: whose it is, as in `method@backend`.
        method: canonical name.
        versions: of the distribution for which this was seen, as in a requirement: "==1.5.7".
        kind: another definition, another numerical detail, or an error.
        what: what differs, in one sentence for a user.
        why: where in the library, `file.py:line` of these versions, and what the line does.
        variant: from the evidence of one image to the library's own number, at its stage and on its grid.
        finding: name of the page under docs/findings, for an error.
        issue: address of the upstream issue, if there is one.
    """

    backend: str
    method: str
    versions: str
    kind: Kind
    what: str
    why: str
    variant: Callable[[Literal], Floats] = field(repr=False)
    finding: str = ""
    issue: str = ""
