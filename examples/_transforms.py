"""Raw augmentations of photographs, before the backbone sees them.

`FIXED` transforms do the same to every image; those of `RANDOM` draw their strength, side and place
from the generator that they are given, and from nothing else.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

__all__ = ["FIXED", "RANDOM", "Transform", "blur", "brighten", "crop", "flip", "generator_for"]

Transform = Callable[[Image.Image, np.random.Generator], Image.Image]
# the mean colour of ImageNet, for what a rotation leaves empty
_GREY = (124, 116, 104)


def flip(image: Image.Image) -> Image.Image:
    """Left becomes right."""
    return ImageOps.mirror(image)


def crop(image: Image.Image, share: float, x: float = 0.5, y: float = 0.5) -> Image.Image:
    """A window of so large a share of both sides, made as large as the image was.

    Parameters
    ----------
    image : PIL.Image.Image
    share : float
        Between 0 and 1.
    x, y : float
        Place of the window: 0 is left or top, 1 right or bottom.

    Returns
    -------
    PIL.Image.Image
    """
    width, height = image.size
    w, h = share * width, share * height
    left, top = x * (width - w), y * (height - h)
    box = (left, top, left + w, top + h)
    return image.resize((width, height), Image.Resampling.BILINEAR, box=box)


def rotate(image: Image.Image, degrees: float) -> Image.Image:
    """Turned counter-clockwise about the middle; corners that become empty are grey."""
    return image.rotate(degrees, Image.Resampling.BILINEAR, fillcolor=_GREY)


def brighten(image: Image.Image, brightness: float, contrast: float) -> Image.Image:
    """Times a brightness, then with so much of its contrast."""
    return ImageEnhance.Contrast(ImageEnhance.Brightness(image).enhance(brightness)).enhance(
        contrast
    )


def blur(image: Image.Image, radius: float) -> Image.Image:
    """Gaussian blur with a standard deviation of so many pixels."""
    return image.filter(ImageFilter.GaussianBlur(radius))


FIXED: dict[str, Transform] = {
    "flip": lambda image, _: flip(image),
    "crop": lambda image, _: crop(image, 0.65),
    "rotation": lambda image, _: rotate(image, 25),
    "brightness": lambda image, _: brighten(image, 0.55, 0.7),
    "blur": lambda image, _: blur(image, 2.5),
}


def _random_crop(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    return crop(image, generator.uniform(0.5, 0.8), *generator.uniform(size=2))


def _random_rotation(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    return rotate(image, generator.uniform(10, 35) * generator.choice([-1, 1]))


def _random_brightness(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    brightness, contrast = np.exp(generator.uniform(-0.7, 0.7, size=2))
    return brighten(image, brightness, contrast)


def _random_blur(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    return blur(image, generator.uniform(1, 3.5))


RANDOM: dict[str, Transform] = {
    "flip": lambda image, _: flip(image),
    "crop": _random_crop,
    "rotation": _random_rotation,
    "brightness": _random_brightness,
    "blur": _random_blur,
}


def generator_for(seed: int, number: int) -> np.random.Generator:
    """Randomness of one image, the same whichever images are transformed beside it."""
    return np.random.default_rng([seed, number])
