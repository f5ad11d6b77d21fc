"""A folder of images, one subfolder for each class, read with Pillow."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from convscape.arithmetic.errors import InputError
from convscape.study.sources import Array, Raw


def read_folder(folder: Path, size: int) -> Raw:
    """Read `folder/<class>/*`, or `folder/train/<class>/*` and `folder/test/<class>/*`.

    Every image is turned upright, resized to size x size and kept in colour unless all of them
    are grey. Files that are not images by their suffix are passed over, hidden ones too.

    Args:
        folder: The folder.
        size: Side in pixels.

    Returns:
        uint8 images, (n, size, size) or (n, size, size, 3), and the class names as labels.

    Raises:
        InputError: There are no class folders or no images, or an image cannot be read.
    """
    parts = (folder / "train", folder / "test")
    if not all(part.is_dir() for part in parts):
        x, y = _read_classes(folder, size)
        return Raw(folder.resolve().name, x, y)
    (x, y), (test_x, test_y) = (_read_classes(part, size) for part in parts)
    if x.ndim != test_x.ndim:  # one part is grey and the other is not: colour for both
        x, test_x = (a if a.ndim == 4 else np.repeat(a[..., None], 3, axis=-1) for a in (x, test_x))
    return Raw(folder.resolve().name, x, y, test_x, test_y)


def _read_classes(folder: Path, size: int) -> tuple[Array, Array]:
    suffixes = {s for s, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    paths = [
        path
        for subfolder in sorted(folder.iterdir())
        if subfolder.is_dir() and not subfolder.name.startswith(".")
        for path in sorted(subfolder.iterdir())
        if path.suffix.lower() in suffixes and not path.name.startswith(".")
    ]
    if not paths:
        raise InputError(
            "a folder of images must hold one subfolder for each class, with images in it",
            f"{folder} without any",
            f"put the images into {folder / '<class>'}",
        )
    images = [_read_image(path, size) for path in paths]
    labels = np.array([path.parent.name for path in paths])
    pixels = np.stack(images)
    # Grey photographs are often stored as RGB; one channel then says it all.
    grey = bool((pixels == pixels[..., :1]).all())
    return (pixels[..., 0] if grey else pixels), labels


def _read_image(path: Path, size: int) -> Array:
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
            return np.asarray(upright.resize((size, size), Image.Resampling.BILINEAR))
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError) as error:
        raise InputError(
            "every image of the folder must be readable",
            f"{path}: {error}",
            "mend or remove that file",
        ) from error
