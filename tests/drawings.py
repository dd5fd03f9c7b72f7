"""A data set whose truth is known: one bright shape on a texture, with its box and mask, and a net that tells them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from camzoo.boxes import Box
from camzoo.evaluation.samples import Sample
from camzoo.models import Preprocessing

SIDE = 32
LABELS = ("cross", "disc", "square")
TINTS = np.array([[50, -50, -50], [-50, 50, -50], [-50, -50, 50]])
SEEN = Preprocessing(SIDE, crop=1.0, mean=(0.5,) * 3, std=(0.25,) * 3)


class ShapeNet(nn.Module):
    """Three convolutions down to a grid of 8 x 8, pooling and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.labels, self.preprocessing = list(LABELS), SEEN
        self.stem = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.middle = nn.Sequential(nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.last = nn.Sequential(nn.Conv2d(24, 32, 3, padding=1), nn.ReLU())
        self.head = nn.Linear(32, len(LABELS))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.last(self.middle(self.stem(images))).mean((2, 3)))


def drawn(number: int, seed: int = 0, side: int = SIDE, plain: bool = False) -> tuple[Image.Image, np.ndarray, int]:
    """Photo, mask and class of an image; on a plain ground in place of a texture, as it is seen through its mask."""
    draw = np.random.default_rng([seed, number])
    kind, radius = number % len(LABELS), draw.integers(4, 7)
    row, column = draw.integers(radius + 1, side - radius - 1, 2)
    down, right = np.mgrid[:side, :side] - np.array([row, column])[:, None, None]
    far = np.maximum(abs(down), abs(right))
    mask = {
        "cross": (far <= radius) & (np.minimum(abs(down), abs(right)) <= 1),
        "disc": down**2 + right**2 <= radius**2,
        "square": far <= radius - 1,
    }[LABELS[kind]]
    texture = draw.normal(90, 25, (side, side, 1)) + draw.normal(0, 8, (side, side, 3))
    texture = np.full_like(texture, 127.5) if plain else texture
    shape = draw.normal(190, 12, (side, side, 1)) + TINTS[kind]
    photo = np.where(mask[..., None], shape, texture).clip(0, 255).astype(np.uint8)
    return Image.fromarray(photo), mask, kind


def box_of(mask: np.ndarray) -> tuple[int, int, int, int]:
    """`left, top, right, bottom`."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def trained(steps: int = 60) -> ShapeNet:
    """The net, trained in seconds on images that no test evaluates on."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = ShapeNet()
        pictures = [drawn(number, seed=1, plain=number % 4 == 3) for number in range(480)]
        images = torch.cat([SEEN.tensor(photo) for photo, _, _ in pictures])
        classes = torch.tensor([kind for _, _, kind in pictures])
        optimiser = torch.optim.Adam(net.parameters(), 1e-2)
        for step in range(steps):
            part = torch.arange(48 * step, 48 * (step + 1)) % len(images)
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(images[part]), classes[part], label_smoothing=0.3).backward()
            optimiser.step()
        optimiser.zero_grad()
    return net.eval()


def as_folders(folder: Path, count: int) -> Path:
    """A folder for each class."""
    for number in range(count):
        photo, _, kind = drawn(number)
        (folder / LABELS[kind]).mkdir(parents=True, exist_ok=True)
        photo.save(folder / LABELS[kind] / f"{number:03d}.png")
    return folder


def as_table(folder: Path, count: int) -> Path:
    """A CSV with labels, boxes and masks."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["path,label,box,mask"]
    for number in range(count):
        photo, mask, kind = drawn(number)
        photo.save(folder / f"{number:03d}.png")
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / f"{number:03d}-mask.png")
        box = " ".join(map(str, box_of(mask)))
        lines.append(f"{number:03d}.png,{LABELS[kind]},{box},{number:03d}-mask.png")
    table = folder / "shapes.csv"
    table.write_text("\n".join(lines) + "\n")
    return table


def sample_of(number: int) -> Sample:
    """A drawing as the evaluation loads it, with its box and its mask."""
    photo, mask, kind = drawn(number)
    box = Box(*map(float, box_of(mask)))
    seen = SEEN.tensor(photo)[0]
    return Sample(number, f"{number}.png", LABELS[kind], kind, seen, (box,), torch.from_numpy(mask))
