"""The study's data: sources, the split's laws, the scale, and what is refused."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from convscape.arithmetic.errors import InputError
from convscape.study import sources
from convscape.study.config import Config
from convscape.study.data import load, split
from tests.study_support import write_npz


@settings(deadline=None, max_examples=100)
@given(
    counts=st.lists(st.integers(2, 30), min_size=1, max_size=6),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**32),
)
def test_a_split_shares_nothing_loses_nothing_and_keeps_the_classes(
    counts: list[int], share: float, seed: int
) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    train, test = split(labels, share, seed)
    assert sorted([*train, *test]) == list(range(len(labels)))
    held_out = np.bincount(labels[test], minlength=len(counts))
    for count, out in zip(counts, held_out, strict=True):
        assert 1 <= out < count
        assert abs(out - share * count) <= 1
    again = split(labels, share, seed)
    assert np.array_equal(test, again[1])


def test_digits_are_scaled_by_the_training_part_alone() -> None:
    data = load(Config())
    assert data.train_x.dtype == np.float32
    assert data.train_x.shape[1:] == (8, 8, 1)
    assert len(data.train_x) + len(data.test_x) == 1797
    np.testing.assert_allclose([data.train_x.mean(), data.train_x.std()], [0, 1], atol=1e-5)
    assert abs(float(data.test_x.mean())) > 1e-5  # its own mean is another
    assert load(Config()).fingerprint == data.fingerprint
    assert load(Config(split_seed=1)).fingerprint != data.fingerprint


def test_an_archive_may_bring_its_own_test_part_and_labels_may_be_names(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    names = np.array(["cat", "dog"] * 10)
    path = tmp_path / "pets.npz"
    x, test_x = random.normal(size=(20, 6, 5, 3)), random.normal(size=(4, 6, 5, 3))
    np.savez(path, x_train=x, y_train=names, x_test=test_x, y_test=names[1:5])
    data = load(Config(data=str(path), batch_size=8))
    assert data.classes == ("cat", "dog")
    assert data.test_y.tolist() == [1, 0, 1, 0]
    np.testing.assert_allclose(data.train_x.mean(axis=(0, 1, 2)), 0, atol=1e-6)
    scaled = (test_x - x.mean(axis=(0, 1, 2))) / x.std(axis=(0, 1, 2))
    np.testing.assert_allclose(data.test_x, scaled, rtol=1e-5)


def _save(path: Path, colour: object, size: tuple[int, int] = (9, 7)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB" if isinstance(colour, tuple) else "L", size, colour).save(path)  # type: ignore[arg-type]


def test_a_folder_of_images_is_resized_and_labelled_by_its_subfolders(tmp_path: Path) -> None:
    for i in range(6):
        _save(tmp_path / "red" / f"{i}.png", (200 + i, 10, 10))
        _save(tmp_path / "blue" / f"{i}.JPG", (10, 10, 200 + i))
    (tmp_path / "red" / "notes.txt").write_text("no image")
    (tmp_path / ".hidden").mkdir()
    data = load(Config(data=str(tmp_path), batch_size=2, image_size=5))
    assert data.classes == ("blue", "red")
    assert data.train_x.shape == (8, 5, 5, 3)
    assert data.test_x[data.test_y == 1][..., 0].min() > data.test_x[data.test_y == 0][..., 0].max()


def test_grey_images_have_one_channel_and_train_and_test_folders_are_kept_apart(
    tmp_path: Path,
) -> None:
    for part, count in (("train", 6), ("test", 2)):
        for i in range(count):
            _save(tmp_path / part / "dark" / f"{i}.png", 10 + i)
            _save(tmp_path / part / "light" / f"{i}.png", 200 + i)
    data = load(Config(data=str(tmp_path), batch_size=4, image_size=4))
    assert data.train_x.shape == (12, 4, 4, 1)
    assert data.test_x.shape == (4, 4, 4, 1)


def _idx(path: Path, values: np.ndarray) -> None:
    header = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    path.write_bytes(gzip.compress(header + values.astype(np.uint8).tobytes()))


def test_idx_files_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    arrays = [random.integers(0, 256, (20, 6, 6)), np.arange(20) % 2]
    arrays += [random.integers(0, 256, (4, 6, 6)), np.arange(4) % 2]
    for name, values in zip(sources.FASHION_FILES, arrays, strict=True):
        _idx(tmp_path / name, values)
    raw = sources.read(str(tmp_path), 32)
    assert raw.test_x is not None
    for found, values in zip((raw.x, raw.y, raw.test_x, raw.test_y), arrays, strict=True):
        assert np.array_equal(found, values)  # type: ignore[arg-type]
    (tmp_path / sources.FASHION_FILES[1]).write_bytes(b"not gzipped")
    with pytest.raises(InputError, match="IDX"):
        sources.read(str(tmp_path), 32)


def test_fashion_mnist_that_is_not_installed_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "FASHION", tmp_path)
    with pytest.raises(InputError, match="apt install dataset-fashion-mnist"):
        sources.locate("fashion-mnist")


def test_fashion_mnist_as_it_is_installed() -> None:
    if not sources.FASHION.is_dir():
        pytest.skip("dataset-fashion-mnist is not installed")
    raw = sources.read("fashion-mnist", 32)
    assert raw.test_x is not None
    assert (raw.x.shape, raw.test_x.shape) == ((60000, 28, 28), (10000, 28, 28))
    assert np.bincount(raw.y).tolist() == [6000] * 10


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"digits, fashion-mnist, .*--data mnist"):
        sources.locate("mnist")


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "readme.txt").write_text("none yet")
    with pytest.raises(InputError, match="one subfolder for each class"):
        load(Config(data=str(tmp_path)))


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    _save(tmp_path / "a" / "0.png", 3)
    (tmp_path / "a" / "1.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"1\.png"):
        load(Config(data=str(tmp_path)))


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"x": np.zeros((48, 6))}, "images must be"),
        ({"y": np.zeros(5, int)}, "labels"),
        ({"y": np.zeros(48, int)}, "at least two classes"),
        ({"y": np.linspace(0, 1, 48)}, "class indices"),
        ({"x": np.full((48, 6, 6), np.nan)}, "finite"),
        ({"x": np.ones((48, 6, 6))}, "must vary"),
        ({"y": np.r_[np.zeros(46, int), 1, 1]}, r"at least 5 images; got 1 \(2\)"),
        ({"x": np.zeros((48, 6, 6), complex)}, "real numbers"),
    ],
)
def test_arrays_that_cannot_be_trained_on_are_refused(
    change: dict[str, np.ndarray], rule: str, tmp_path: Path
) -> None:
    path = write_npz(tmp_path)
    arrays = {**np.load(path), **change}
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=rule):
        load(Config(data=str(path), batch_size=8))


def test_an_archive_without_the_arrays_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, images=np.zeros(3))
    with pytest.raises(InputError, match="must hold x and y"):
        load(Config(data=str(path)))
    np.savez(path, x=np.array([{}], object), y=np.zeros(1))
    with pytest.raises(InputError, match="no pickled objects"):
        load(Config(data=str(path)))


def test_a_batch_larger_than_the_training_part_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--batch-size 64 and 33 training images"):
        load(Config(data=str(write_npz(tmp_path))))


def test_a_class_that_only_the_test_part_has_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    x, y = np.random.default_rng(0).normal(size=(20, 4, 4)), np.arange(20) % 2
    np.savez(path, x_train=x, y_train=y, x_test=x[:2], y_test=np.array([0, 2]))
    with pytest.raises(InputError, match="2 in the test part"):
        load(Config(data=str(path), batch_size=4))
