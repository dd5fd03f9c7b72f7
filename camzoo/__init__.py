"""camzoo: compare, check and time class-activation-map methods across libraries.

`explain` gives the heatmaps of one method, `compare` a Study of several, `joined` one Study of many; `methods()` and
`backends()` list what there is. `camzoo.methods` is also the package of the formulas, `camzoo.backends` the module that
finds the backends.
"""

from __future__ import annotations

from camzoo import backends, methods
from camzoo._callable import make_callable
from camzoo.errors import CamzooError, DegenerateMapWarning, RequestError
from camzoo.explaining import explain
from camzoo.study import Study, compare, joined
from camzoo.types import Capture, Heatmap, Problem, Stage

make_callable(methods, backends.coverage)
make_callable(backends, backends.rows)

__all__ = [
    "CamzooError",
    "Capture",
    "DegenerateMapWarning",
    "Heatmap",
    "Problem",
    "RequestError",
    "Stage",
    "Study",
    "backends",
    "compare",
    "explain",
    "joined",
    "methods",
]
