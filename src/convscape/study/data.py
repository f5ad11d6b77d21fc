"""The data of a study: one fixed split, and pixels scaled by the training part alone."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscape.arithmetic.errors import InputError
from convscape.study.config import Config
from convscape.study.sources import Array, Raw, read

Images = NDArray[np.float32]
Labels = NDArray[np.int64]

LEAST_PER_CLASS = 5


@dataclass(frozen=True, slots=True)
class Dataset:
    """Images ready to train on.

    Args:
        title: What to call them in a report.
        classes: The classes' names; a label is an index into them.
        train_x: (n, height, width, channels), float32, mean 0 and variance 1 for each channel.
        train_y: (n,), int64.
        test_x: (m, height, width, channels), scaled as the training part was.
        test_y: (m,), int64.
        fingerprint: SHA-256 of everything above; the same data have the same fingerprint.
    """

    title: str
    classes: tuple[str, ...]
    train_x: Images
    train_y: Labels
    test_x: Images
    test_y: Labels
    fingerprint: str

    def describe(self) -> dict[str, Any]:
        """What a report says of the data, as JSON values."""
        return {
            "title": self.title,
            "classes": list(self.classes),
            "train": len(self.train_x),
            "test": len(self.test_x),
            "image": list(self.train_x.shape[1:]),
            "largest_class_share": float(np.bincount(self.test_y).max() / len(self.test_y)),
            "fingerprint": self.fingerprint,
        }


def load(config: Config) -> Dataset:
    """Read, check, split and standardise the data that the configuration names.

    Raises:
        InputError: The data cannot be used: wrong shapes, values that are not finite, one class
            only, a class with too few images, fewer training images than a batch.
    """
    raw = read(config.data, config.image_size)
    x, y = _checked(raw.x, raw.y, raw.title)
    names, labels = np.unique(y, return_inverse=True)
    _check_classes(names, labels, raw.title)
    if raw.test_x is None or raw.test_y is None:
        train, test = split(labels, config.test_share, config.split_seed)
        train_x, train_y, test_x, test_y = x[train], labels[train], x[test], labels[test]
    else:
        train_x, train_y = x, labels
        test_x, test_y = _own_test_part(raw, x, names)
    if len(train_x) < config.batch_size:
        raise InputError(
            "a batch cannot be larger than the training part",
            f"--batch-size {config.batch_size} and {len(train_x)} training images",
            f"use --batch-size {len(train_x)} or less",
        )
    train_x, test_x = _standardised(train_x, test_x, raw.title)
    classes = tuple(str(name) for name in names)
    arrays = (train_x, train_y.astype(np.int64), test_x, test_y.astype(np.int64))
    return Dataset(raw.title, classes, *arrays, fingerprint=_fingerprint(classes, arrays))


def split(labels: Array, share: float, seed: int) -> tuple[Array, Array]:
    """Indices of a training and a test part, with `share` of every class in the test part.

    Args:
        labels: (n,), class indices.
        share: Share of each class to hold out; at least one image of each is held out and kept.
        seed: The same seed gives the same split.

    Returns:
        Two sorted arrays of indices that share nothing and together are all of them.

    Example:
        >>> train, test = split(np.array([0, 0, 0, 1, 1, 1]), 1 / 3, seed=0)
        >>> len(train), len(test)
        (4, 2)
    """
    random = np.random.default_rng(seed)
    held_out = []
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        count = min(max(round(share * len(members)), 1), len(members) - 1)
        held_out.append(members[:count])
    test = np.sort(np.concatenate(held_out))
    return np.setdiff1d(np.arange(len(labels)), test), test


def _checked(x: Array, y: Array, title: str) -> tuple[Images, Array]:
    """Images as float32 (n, height, width, channels), with as many labels."""
    if x.ndim not in (3, 4) or y.shape != (len(x),) or 0 in x.shape:
        raise InputError(
            "images must be (n, height, width) or (n, height, width, channels), labels (n,)",
            f"x of shape {x.shape} and y of shape {y.shape} in {title}",
            "reshape the arrays",
        )
    if x.dtype.kind not in "buif" or y.dtype.kind not in "biuUS":
        raise InputError(
            "images must be real numbers and labels integers or strings",
            f"x of {x.dtype} and y of {y.dtype} in {title}",
            "convert the arrays, and turn one-hot or float labels into class indices",
        )
    images = np.ascontiguousarray(x, dtype=np.float32)
    if not np.isfinite(images).all():
        raise InputError(
            "images must be finite",
            f"NaN or infinite values in {title}",
            "clean the data first",
        )
    return (images if x.ndim == 4 else images[..., None]), y


def _check_classes(names: Array, labels: Array, title: str) -> None:
    counts = np.bincount(labels)
    if len(names) < 2:
        raise InputError(
            "the data must hold at least two classes", f"{len(names)} in {title}", "add a class"
        )
    few = [f"{name} ({n})" for name, n in zip(names, counts, strict=True) if n < LEAST_PER_CLASS]
    if few:
        raise InputError(
            f"every class needs at least {LEAST_PER_CLASS} images",
            f"{', '.join(few[:5])}{' and others' if len(few) > 5 else ''} in {title}",
            "add images or drop those classes",
        )


def _own_test_part(raw: Raw, train_x: Images, names: Array) -> tuple[Images, Array]:
    assert raw.test_x is not None
    assert raw.test_y is not None
    test_x, test_y = _checked(raw.test_x, raw.test_y, f"the test part of {raw.title}")
    if test_x.shape[1:] != train_x.shape[1:]:
        raise InputError(
            "training and test images must have the same shape",
            f"{train_x.shape[1:]} and {test_x.shape[1:]} in {raw.title}",
            "resize one of them",
        )
    unknown = sorted(set(test_y.tolist()) - set(names.tolist()))
    if unknown:
        raise InputError(
            "every class of the test part must occur in the training part",
            f"{', '.join(map(str, unknown[:5]))} in the test part of {raw.title} alone",
            "drop those images or add them to the training part",
        )
    return test_x, np.searchsorted(names, test_y)


def _standardised(train: Images, test: Images, title: str) -> tuple[Images, Images]:
    """Both parts minus the mean and divided by the deviation of each channel of the first."""
    axes = (0, 1, 2)
    mean = train.mean(axis=axes, dtype=np.float64)
    deviation = train.std(axis=axes, dtype=np.float64)
    if not deviation.all():
        raise InputError(
            "every channel must vary over the training part",
            f"a channel that is {mean[deviation == 0][0]:g} everywhere in {title}",
            "drop that channel",
        )
    scaled = [((part - mean) / deviation).astype(np.float32) for part in (train, test)]
    return scaled[0], scaled[1]


def _fingerprint(classes: tuple[str, ...], arrays: tuple[Array, ...]) -> str:
    digest = hashlib.sha256("\0".join(classes).encode())
    for array in arrays:
        digest.update(str(array.shape).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
