"""Promises on images of other shapes."""

from __future__ import annotations

from dataclasses import replace

from camzoo.conformance.promises._nets import grey, rebuilt, volumes
from camzoo.conformance.promises._promise import Breach
from camzoo.conformance.promises.maps import finite, one_map_each
from camzoo.conformance.stands import Stand
from camzoo.conformance.subjects import Subject


def one_channel(subject: Subject, stand: Stand) -> Breach | None:
    """Grey images."""
    return _works(subject, grey(stand))


def not_square(subject: Subject, stand: Stand) -> Breach | None:
    """Wide images and tall ones."""
    height, width = stand.size
    wide = replace(rebuilt(stand), size=(height, 2 * width))
    return _works(subject, wide) or _works(subject, replace(wide, size=(2 * height, width)))


def three_dimensions(subject: Subject, stand: Stand) -> Breach | None:
    """Volumes `(N, C, D, H, W)`."""
    return _works(subject, volumes(stand))


def _works(subject: Subject, stand: Stand) -> Breach | None:
    breach = one_map_each(subject, stand) or finite(subject, stand)
    channels, *size = stand.images().shape[1:]
    return breach and replace(breach, reason=f"at {' x '.join(map(str, size))}, {channels} channels: {breach.reason}")
