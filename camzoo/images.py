"""Photos: a file of any kind becomes an RGB picture, upright, or one line that says why it cannot."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from camzoo.errors import NotInstalled, RequestError, unknown

LARGEST = 100_000_000
"""The most pixels that are decoded: 300 MB as RGB."""

SMALLEST = 2
"""The fewest pixels along a side."""

SAMPLES = {
    "astronaut": "astronaut.png",
    "brick": "brick.png",
    "camera": "camera.png",
    "chelsea": "chelsea.png",
    "clock": "clock_motion.png",
    "coffee": "coffee.png",
    "coins": "coins.png",
    "grass": "grass.png",
    "gravel": "gravel.png",
    "hubble_deep_field": "hubble_deep_field.jpg",
    "immunohistochemistry": "ihc.png",
    "moon": "moon.png",
    "page": "page.png",
    "retina": "retina.jpg",
    "rocket": "rocket.jpg",
    "stereo_motorcycle": "motorcycle_left.png",
    "text": "text.png",
}
"""The photos inside scikit-image's own distribution, by the names that it gives them."""


def read(path: str | Path) -> Image.Image:
    """Reads a photo as RGB, upright.

    The orientation in its EXIF data is applied, transparency lies on white, of an animation the first frame
    is taken. Deep integers are scaled from 0..65535 and floats from 0..1; values beyond that are scaled from
    their own range, so that nothing is clipped.

    Args:
        path: a file in any raster format that Pillow reads.

    Raises:
        RequestError: the file is missing, empty, not readable, no image, broken, too small or too large.
    """
    path = Path(path)
    _check_file(path)
    Image.init()
    with warnings.catch_warnings():
        # Pillow's remarks on odd metadata are of no use here, and the limit on size is our own.
        warnings.simplefilter("ignore")
        try:
            # EPS is a program: Pillow would run Ghostscript on it.
            with Image.open(path, formats=[name for name in Image.ID if name != "EPS"]) as image:
                _check_size(path, *image.size)
                return _rgb(ImageOps.exif_transpose(image))
        except RequestError:
            raise
        except UnidentifiedImageError as error:
            raise RequestError(f"{path} is not an image: give a PNG, JPEG, TIFF, WebP, GIF or BMP file") from error
        except Image.DecompressionBombError as error:
            raise _too_large(path, str(error)) from error
        except Exception as error:  # decoders raise whatever comes to their mind on broken data
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise RequestError(f"{path} is truncated or damaged ({reason}): give an intact image") from error


def sample(name: str) -> Image.Image:
    """One of the photos that scikit-image carries, read from its folder: no network, nothing imported.

    Args:
        name: one of `SAMPLES`, such as "chelsea".

    Raises:
        RequestError: there is no photo of that name.
        NotInstalled: scikit-image is absent.
    """
    if name not in SAMPLES:
        raise unknown("sample photo", name, SAMPLES)
    found = importlib.util.find_spec("skimage")
    if found is None or not found.submodule_search_locations:
        raise NotInstalled("the sample photos come with scikit-image: pip install scikit-image")
    return read(Path(found.submodule_search_locations[0]) / "data" / SAMPLES[name])


def _check_file(path: Path) -> None:
    try:
        if not path.exists():
            raise RequestError(f"{path} does not exist: give the path of an image file")
        if not path.is_file():
            kind = "a directory" if path.is_dir() else "no regular file"
            raise RequestError(f"{path} is {kind}: give the path of an image file")
        with path.open("rb") as file:
            if not file.read(1):
                raise RequestError(f"{path} is empty: give an image file that has something in it")
    except OSError as error:
        raise RequestError(f"{path} cannot be read ({error.strerror}): give a readable file") from error


def _check_size(path: Path, width: int, height: int) -> None:
    if min(width, height) < SMALLEST:
        raise RequestError(
            f"{path} is {width}x{height} pixels, too small to explain: give at least {SMALLEST}x{SMALLEST}"
        )
    if width * height > LARGEST:
        raise _too_large(path, f"{width}x{height} pixels")


def _too_large(path: Path, size: str) -> RequestError:
    return RequestError(f"{path} is too large to decode safely ({size}): give at most {LARGEST:,} pixels")


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bits(image)
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scales deep grey values to 0..255, where Pillow's own conversion would clip them."""
    values = np.asarray(image, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("it has values that are not finite")
    low, high = 0.0, 1.0 if image.mode == "F" else 65535.0
    if values.min() < low or values.max() > high:
        low, high = values.min(), values.max()
    spread = high - low or 1.0
    return Image.fromarray(np.rint((values - low) / spread * 255).astype(np.uint8))
