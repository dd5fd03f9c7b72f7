"""The command line: each verb is a file, and a few lines that call one function of the package."""

from __future__ import annotations

import io
import sys
import traceback

from camzoo.cli import bench, check, compare, evaluate, figure, listing, report
from camzoo.cli.application import app
from camzoo.errors import CamzooError

__all__ = ["app", "bench", "check", "compare", "evaluate", "figure", "listing", "main", "report"]


def main() -> None:
    """Runs the command line: 0 ok, 1 some cell failed, 2 the request could not be carried out."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may have what a terminal cannot show
    try:
        app()
    except CamzooError as error:
        print("camzoo:", " ".join(str(error).splitlines()), file=sys.stderr)
        raise SystemExit(2) from None
    except Exception:
        traceback.print_exc()
        raise SystemExit(2) from None
