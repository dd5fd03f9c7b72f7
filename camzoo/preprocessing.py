"""How a photo becomes what a model takes, in two steps: the view, which people see too, and the tensor."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as transforms

from camzoo import images
from camzoo.errors import RequestError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a photo becomes what a model takes: scaled, cut to its centre, normalised to `(x / 255 - mean) / std`.

    Attributes:
        size: side of the square that the model sees, or `(H, W)`.
        crop: the part of the scaled photo that is seen, as a fraction of its shorter side.
        mean: per channel, in 0..1; one number makes the model's input grey.
        std: per channel.
        interpolation: "nearest", "bilinear", "bicubic" or "lanczos".
        squash: whether the photo is scaled to the shape of the view, instead of keeping its own.
    """

    size: int | tuple[int, int] = 224
    crop: float = 0.875
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: str = "bilinear"
    squash: bool = False

    @property
    def image_size(self) -> tuple[int, int]:
        """`(H, W)` of the view."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    def view(self, photo: Image.Image) -> Image.Image:
        """The pixels that the model sees, on which its maps are drawn.

        Raises:
            RequestError: the photo is so elongated that it would be huge when scaled.
        """
        height, width = self._scaled(photo)
        if height * width > images.LARGEST:
            raise RequestError(f"a photo of {photo.width}x{photo.height} pixels is too elongated: crop it first")
        mode = "L" if len(self.mean) == 1 else "RGB"
        scaled = transforms.resize(photo.convert(mode), [height, width], InterpolationMode(self.interpolation))
        view: Image.Image = transforms.center_crop(scaled, list(self.image_size))
        return view

    def tensor(self, view: Image.Image) -> torch.Tensor:
        """A view as the model takes it, `(1, C, H, W)` in float32."""
        tensor: torch.Tensor = transforms.normalize(transforms.to_tensor(view), self.mean, self.std)
        return tensor[None]

    def sample(self) -> torch.Tensor:
        """A blank image as the model takes it, `(1, C, H, W)`, for asking the model about itself."""
        return torch.zeros(1, len(self.mean), *self.image_size)

    def _scaled(self, photo: Image.Image) -> tuple[int, int]:
        """`(H, W)` of the scaled photo: the shorter side is exact, the longer one is rounded down."""
        # A fraction such as 224/232 must give 232 back, whatever its last bit.
        height, width = (int(side / self.crop + 1e-6) for side in self.image_size)
        if self.squash:
            return height, width
        if photo.width * height >= width * photo.height:
            return height, photo.width * height // photo.height
        return photo.height * width // photo.width, width
