"""Photos of every kind come in upright and RGB; everything else gets one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import require
from PIL import Image

from camzoo import images
from camzoo.errors import NotInstalled, RequestError

RED, GREEN, WHITE = (255, 0, 0), (0, 128, 0), (255, 255, 255)


def refusal(path: Path) -> str:
    """The line with which a file is refused."""
    with pytest.raises(RequestError) as caught:
        images.read(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def noise(height: int = 40, width: int = 60) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def saved(tmp_path: Path, picture: Image.Image, name: str, **options: object) -> Path:
    path = tmp_path / name
    picture.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "ppm"])
def test_lossless_formats_come_back_to_the_bit(tmp_path, suffix):
    picture = noise()
    found = images.read(str(saved(tmp_path, picture, f"photo.{suffix}")))
    assert found.mode == "RGB"
    assert np.array_equal(np.asarray(found), np.asarray(picture))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    # Each orientation says how the stored picture was turned; this one has a red corner where its top left belongs.
    upright = Image.new("RGB", (32, 16), "white")
    upright.paste("red", (0, 0, 8, 8))
    turns = {
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    stored = upright
    for turn in turns.get(orientation, []):
        stored = stored.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = images.read(saved(tmp_path, stored, "photo.png", exif=exif))
    assert np.array_equal(np.asarray(found), np.asarray(upright))


@pytest.mark.parametrize(
    ("picture", "name", "expected"),
    [
        (Image.new("L", (4, 4), 77), "grey.png", (77, 77, 77)),
        (Image.new("1", (4, 4), 1), "bit.png", WHITE),
        (Image.new("1", (4, 4), 0), "bit.tiff", (0, 0, 0)),
        (Image.new("RGB", (4, 4), "red").quantize(), "palette.png", RED),
        (Image.new("RGBA", (4, 4), (255, 0, 0, 0)), "clear.png", WHITE),
        (Image.new("RGBA", (4, 4), (255, 0, 0, 128)), "half.png", (255, 127, 127)),
        (Image.new("LA", (4, 4), (0, 0)), "grey_alpha.png", WHITE),
        (Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "cmyk.tiff", RED),
    ],
)
def test_every_mode_becomes_rgb(tmp_path, picture, name, expected):
    found = images.read(saved(tmp_path, picture, name))
    assert found.mode == "RGB"
    assert found.getpixel((1, 1)) == expected


def test_cmyk_jpeg(tmp_path):
    found = images.read(saved(tmp_path, Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "photo.jpg", quality=100))
    assert np.abs(np.subtract(found.getpixel((8, 8)), RED)).max() <= 4


def test_a_transparent_palette_entry_lies_on_white(tmp_path):
    picture = Image.new("P", (4, 4), 1)
    picture.putpalette([0, 128, 0, 255, 0, 0])
    picture.putpixel((0, 0), 0)
    found = images.read(saved(tmp_path, picture, "palette.png", transparency=1))
    assert found.getpixel((0, 0)) == GREEN
    assert found.getpixel((1, 1)) == WHITE


@pytest.mark.parametrize("name", ["deep.png", "deep.tiff", "deep.pgm"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path, name):
    deep = np.array([[0, 257, 32896], [300 * 128, 65278, 65535]], dtype=np.uint16)
    found = np.asarray(images.read(saved(tmp_path, Image.fromarray(deep), name)))
    assert np.array_equal(found[..., 0], np.rint(deep / 257))
    assert np.array_equal(found[..., 0], found[..., 2])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 0.2], [0.4, 1]], dtype=np.float32), [[0, 51], [102, 255]]),
        (np.array([[-1, 0], [1, 3]], dtype=np.float32), [[0, 64], [128, 255]]),
        (np.array([[-5, 95], [45, -5]], dtype=np.int32), [[0, 255], [128, 0]]),
        (np.full((2, 2), 7, dtype=np.float32), [[0, 0], [0, 0]]),
    ],
)
def test_other_deep_values_are_scaled_from_their_own_range(tmp_path, values, expected):
    found = images.read(saved(tmp_path, Image.fromarray(values), "deep.tiff"))
    assert np.array_equal(np.asarray(found)[..., 0], expected)


def test_values_that_are_not_finite_are_refused(tmp_path):
    values = np.array([[0, np.nan], [1, 1]], dtype=np.float32)
    assert "not finite" in refusal(saved(tmp_path, Image.fromarray(values), "deep.tiff"))


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tiff"])
def test_an_animation_gives_its_first_frame(tmp_path, suffix):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if suffix == "webp" else {}
    path = saved(tmp_path, frames[0], f"film.{suffix}", save_all=True, append_images=frames[1:], **options)
    assert images.read(path).getpixel((4, 4)) == RED


def test_a_missing_file(tmp_path):
    assert "does not exist" in refusal(tmp_path / "nothing.png")


def test_a_directory(tmp_path):
    assert "is a directory" in refusal(tmp_path)


def test_a_device_is_not_waited_for():
    assert "no regular file" in refusal(Path("/dev/zero"))


def test_an_empty_file(tmp_path):
    path = tmp_path / "photo.png"
    path.touch()
    assert "is empty" in refusal(path)


@pytest.mark.parametrize("content", [b"just a text", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"])
def test_no_image(tmp_path, content):
    path = tmp_path / "photo.png"
    path.write_bytes(content)
    assert "is not an image" in refusal(path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "tiff", "webp"])
def test_a_truncated_file(tmp_path, suffix):
    path = saved(tmp_path, noise(100, 100), f"photo.{suffix}")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "truncated" in refusal(path)


def test_a_file_without_permission(tmp_path, monkeypatch):
    path = saved(tmp_path, noise(), "photo.png")

    def denied(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)  # root may read everything, so the bits of the file would not do
    assert "Permission denied" in refusal(path)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1)])
def test_too_small_to_explain(tmp_path, size):
    message = refusal(saved(tmp_path, Image.new("RGB", size), "photo.png"))
    assert f"{size[0]}x{size[1]} pixels, too small" in message


@pytest.mark.parametrize("side", [10_001, 14_000])  # Pillow warns of the first and refuses the second
def test_a_decompression_bomb(tmp_path, side):
    path = saved(tmp_path, Image.new("1", (side, side)), "bomb.png")
    assert path.stat().st_size < 100_000
    message = refusal(path)
    assert "too large to decode safely" in message
    assert "100,000,000 pixels" in message


def test_the_limit_itself_is_read_without_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "LARGEST", 2400)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)  # a warning of Pillow would be an error here
    assert images.read(saved(tmp_path, noise(40, 60), "photo.png")).size == (60, 40)
    assert "too large" in refusal(saved(tmp_path, noise(40, 61), "photo.png"))


@pytest.mark.parametrize("name", images.SAMPLES)
def test_samples_are_those_of_scikit_image(name):
    data = require("skimage.data")
    expected = getattr(data, name)()
    if name == "stereo_motorcycle":  # left, right and their disparity
        expected = expected[0]
    found = np.asarray(images.sample(name))
    assert np.array_equal(found if expected.ndim == 3 else found[..., 0], expected)


def test_an_unknown_sample_gets_the_closest_names():
    with pytest.raises(RequestError, match="unknown sample photo 'chelsae': did you mean chelsea"):
        images.sample("chelsae")


def test_samples_without_scikit_image(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(NotInstalled, match="pip install scikit-image"):
        images.sample("chelsea")


def test_a_sample_imports_no_scikit_image():
    require("skimage")
    code = "import sys; from camzoo import images; images.sample('chelsea'); sys.exit('skimage' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
