"""ROAD's imputer from pytorch-grad-cam."""

from __future__ import annotations

import warnings

import torch


def impute(image: torch.Tensor, removed: torch.Tensor) -> torch.Tensor:
    """Removed pixels filled in as weighted means of their neighbours, by `NoisyLinearImputer` with its noise at 0.

    It solves in double precision on the host and rounds to single. Its own noise comes from PyTorch's global generator,
    which is left as it was; whoever wants noise adds it.

    Args:
        image: `(C, H, W)`.
        removed: `(H, W)`, bool: some pixels, and not all.
    """
    from pytorch_grad_cam.metrics.road import NoisyLinearImputer

    # A draw times 0 is a draw all the same; and it hands tensors to NumPy, which warns of the way they come back.
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        filled: torch.Tensor = NoisyLinearImputer(noise=0)(image.detach().cpu().float(), (~removed).cpu().float())
    return filled.to(image)
