"""Slow twins of camzoo's methods, written from the papers' equations in float64 NumPy with plain loops.

Each function explains one image. `A` and `G` are `(K, h, w)`, or `(K, d, h, w)` for volumes: the activations of the
layer and the derivative of the score by them. What comes back is the RAW map, signed, on the grid `(h, w)` of the
layer unless the docstring says that it lies on the pixels `(H, W)`. Nothing here imports the rest of camzoo, so
that a mistake made there is not made here as well.
"""
