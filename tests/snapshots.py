"""What a model and the generators look like, for the tests of whoever borrows one."""

from camzoo.conformance.snapshots import snapshot

__all__ = ["snapshot"]
