"""Images from where they are kept: a built-in set, a folder, an .npz file or IDX files.

`locate` checks cheaply that there is something to read; `read` reads it. A source knows nothing
of splits and scales: that is `convscape.study.data`.
"""

import gzip
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscape.arithmetic.errors import InputError

Array = NDArray[Any]

KNOWN = ("digits", "fashion-mnist")
# Where Debian's package dataset-fashion-mnist puts the files.
FASHION = Path("/usr/share/datasets/fashion-mnist")
FASHION_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


@dataclass(frozen=True, slots=True)
class Raw:
    """Images as they were found.

    Args:
        title: What to call them in a report.
        x: Images, (n, height, width) or (n, height, width, channels), any real dtype.
        y: Labels, (n,), integers or strings.
        test_x: The source's own test images, or None when it has no test part.
        test_y: Their labels.
    """

    title: str
    x: Array
    y: Array
    test_x: Array | None = None
    test_y: Array | None = None


def locate(name: str) -> Path | None:
    """Check that `name` is a known data set or a path of the right kind; reads nothing.

    Args:
        name: A known name, or the path of a folder or an .npz file.

    Returns:
        The path to read, or None for a data set that comes with a library.

    Raises:
        InputError: The name is neither known nor a path of a readable kind.

    Example:
        >>> locate("digits") is None
        True
    """
    if name == "digits":
        return None
    if name == "fashion-mnist":
        return _idx_folder(FASHION)
    path = Path(name).expanduser()
    if path.is_dir():
        return _idx_folder(path) if (path / FASHION_FILES[0]).is_file() else path
    if path.is_file() and path.suffix == ".npz":
        return path
    raise InputError(
        f"data must be one of {', '.join(KNOWN)}, a folder with one subfolder of images for each "
        "class, or an .npz file",
        f"--data {name}" + (" (no such path)" if not path.exists() else ""),
        "check the spelling or the path",
    )


def read(name: str, image_size: int) -> Raw:
    """Read the images that `name` stands for.

    Args:
        name: As for `locate`.
        image_size: Side in pixels to which a folder's images are resized.

    Raises:
        InputError: What is there cannot be used.
    """
    path = locate(name)
    if path is None:
        return _digits()
    if path.is_file():
        return _npz(path)
    if (path / FASHION_FILES[0]).is_file():
        return _idx(path, "Fashion-MNIST" if name == "fashion-mnist" else path.name)
    from convscape.study.folder import read_folder  # Pillow is needed for folders only

    return read_folder(path, image_size)


def _digits() -> Raw:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return Raw("scikit-learn's digits", bunch.images, bunch.target)


def _idx_folder(folder: Path) -> Path:
    missing = [name for name in FASHION_FILES if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"the four IDX files of the data set must lie in {folder}",
            f"{', '.join(missing)} missing",
            "install them with `apt install dataset-fashion-mnist`, or download them from "
            "github.com/zalandoresearch/fashion-mnist into a folder and give --data FOLDER",
        )
    return folder


def _idx(folder: Path, title: str) -> Raw:
    x, y, test_x, test_y = (read_idx(folder / name) for name in FASHION_FILES)
    return Raw(title, x, y, test_x, test_y)


def read_idx(path: Path) -> Array:
    """An array of bytes from a gzipped IDX file.

    Two zero bytes, the type (8 is unsigned byte), the rank, the big-endian sizes, the values.

    Raises:
        InputError: The file is damaged or of another type.

    Source: Y. LeCun, C. Cortes and C. Burges, "The MNIST database", the IDX file format.
    """
    try:
        raw = gzip.decompress(path.read_bytes())
        zero, kind, rank = struct.unpack(">HBB", raw[:4])
        shape = struct.unpack(f">{rank}I", raw[4 : 4 + 4 * rank])
        if zero or kind != 8:
            raise ValueError(f"magic number {raw[:4].hex()}")
        return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)
    except (OSError, EOFError, ValueError, struct.error) as error:
        raise InputError(
            "an IDX file must be gzipped, of unsigned bytes, and whole",
            f"{path}: {error}",
            "fetch the file again",
        ) from error


def _npz(path: Path) -> Raw:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError) as error:
        raise InputError(
            "an .npz file must hold plain arrays (no pickled objects)",
            f"{path}: {error}",
            "write it with numpy.savez(path, x=images, y=labels)",
        ) from error
    if {"x_train", "y_train", "x_test", "y_test"} <= arrays.keys():
        parts = (arrays[name] for name in ("x_train", "y_train", "x_test", "y_test"))
        return Raw(path.name, *parts)
    if {"x", "y"} <= arrays.keys():
        return Raw(path.name, arrays["x"], arrays["y"])
    raise InputError(
        "an .npz file must hold x and y, or x_train, y_train, x_test and y_test",
        f"{path} with {', '.join(sorted(arrays)) or 'no arrays'}",
        "write it with numpy.savez(path, x=images, y=labels)",
    )
