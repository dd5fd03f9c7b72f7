"""What a plug-in's own suite looks like: camzoo's check of it, a test for each statement."""

from camzoo_plugin import backend

from camzoo.testing import check_backend

test_conformance = check_backend(
    backend,
    expected={"example-layercam-rectified-oracle": "this LayerCAM forgets the ReLU on the gradients"},
    quick=True,
)
