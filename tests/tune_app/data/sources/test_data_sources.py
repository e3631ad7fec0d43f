from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torchvision.datasets
from sklearn.datasets import load_digits

from search_spaces.config.trial import DataConfig, Source
from search_spaces.errors import StudyError
from tune_app.data import SOURCES, ImageArrays, load_source, source_key
from tune_app.data.arrays import image_arrays


def is_well_formed(arrays: ImageArrays) -> bool:
    return (
        arrays.train_images.dtype == arrays.test_images.dtype == np.uint8
        and arrays.train_labels.dtype == arrays.test_labels.dtype == np.int64
        and arrays.train_images.shape[1:] == arrays.test_images.shape[1:]
        and set(arrays.train_labels) == set(arrays.test_labels) == set(range(len(arrays.classes)))
        and len(arrays.fingerprint) == 16
    )


def test_sources_are_those_of_the_vocabulary() -> None:
    assert set(SOURCES) == set(get_args(Source))


def test_the_error_for_an_unknown_source_lists_the_sources(tmp_path: Path) -> None:
    config = DataConfig.model_construct(source="cifar")
    with pytest.raises(
        StudyError, match=r"`data.source` is 'cifar', but must be one of digits, .*did you mean 'cifar1"
    ):
        load_source(config, tmp_path)


def test_digits_are_all_of_scikit_learns_images_with_a_stratified_test_split(tmp_path: Path) -> None:
    arrays = load_source(DataConfig(source="digits"), tmp_path)
    assert is_well_formed(arrays)
    assert arrays.train_images.shape == (1497, 8, 8, 1)
    assert arrays.test_images.shape == (300, 8, 8, 1)
    raw = load_digits()
    found = np.concatenate([arrays.train_images, arrays.test_images])[..., 0]
    assert sorted(map(bytes, found)) == sorted(map(bytes, np.rint(raw.images * 255 / 16).astype(np.uint8)))
    assert np.bincount(arrays.test_labels).tolist() == pytest.approx((np.bincount(raw.target) / 1797 * 300), abs=1)
    assert load_source(DataConfig(source="digits"), tmp_path).fingerprint == arrays.fingerprint


def test_synthetic_images_are_always_the_same_balanced_and_learnable(tmp_path: Path) -> None:
    arrays = load_source(DataConfig(source="synthetic"), tmp_path)
    assert is_well_formed(arrays)
    assert arrays.train_images.shape == (1000, 32, 32, 3)
    assert np.bincount(arrays.train_labels).tolist() == [100] * 10
    assert np.bincount(arrays.test_labels).tolist() == [20] * 10
    assert load_source(DataConfig(source="synthetic"), tmp_path).fingerprint == arrays.fingerprint
    train, test = (
        images.reshape(len(images), -1) - images.mean(axis=(1, 2, 3), dtype=float)[:, None]
        for images in (arrays.train_images, arrays.test_images)
    )
    means = np.stack([train[arrays.train_labels == label].mean(0) for label in range(10)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    accuracy = ((test @ means.T).argmax(1) == arrays.test_labels).mean()
    assert accuracy > 0.8


def test_the_fingerprint_is_of_images_labels_and_classes() -> None:
    images = np.zeros((4, 2, 2, 1), np.uint8)
    labels = np.array([0, 1, 0, 1])
    plain = image_arrays(images, labels, images, labels, ("a", "b")).fingerprint
    changed = images.copy()
    changed[3, 1, 1, 0] = 1
    assert plain == image_arrays(images.copy(), labels.copy(), images, labels, ("a", "b")).fingerprint
    others = [
        image_arrays(changed, labels, images, labels, ("a", "b")),
        image_arrays(images, labels[::-1].copy(), images, labels, ("a", "b")),
        image_arrays(images, labels, changed, labels, ("a", "b")),
        image_arrays(images, labels, images, labels, ("b", "a")),
    ]
    assert len({plain, *(other.fingerprint for other in others)}) == 5


def test_source_keys_identify_the_arrays_that_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert source_key(DataConfig(source="digits", resolution=16, train_size=50)) == "digits"
    assert source_key(DataConfig(source="digits", path="ignored")) == "digits"
    assert source_key(DataConfig(source="cifar10", resolution=16)) == "cifar10"
    assert source_key(DataConfig(source="cifar10", path="x")) == f"cifar10:{tmp_path}/x"
    assert source_key(DataConfig(source="parquet", path="x")) == f"parquet:{tmp_path}/x"
    assert source_key(DataConfig(source="parquet", path=f"{tmp_path}/y/../x", resolution=64)) == (
        f"parquet:{tmp_path}/x@64"
    )


def write_cifar(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, key: str, classes: list[str]) -> np.ndarray:
    """Write a data set of two training images and one test image as torchvision keeps it; return the images."""
    dataset = getattr(torchvision.datasets, name)
    base = folder / dataset.base_folder
    base.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)

    def put(file: str, content: Any) -> list[str]:
        (base / file).write_bytes(pickle.dumps(content))
        return [file, hashlib.md5((base / file).read_bytes()).hexdigest()]

    rows = images.transpose(0, 3, 1, 2).reshape(3, -1)
    monkeypatch.setattr(dataset, "train_list", [put("train", {"data": rows[:2], key: [1, 0]})])
    monkeypatch.setattr(dataset, "test_list", [put("test", {"data": rows[2:], key: [1]})])
    meta_key = dataset.meta["key"]
    filename, md5 = put("meta", {meta_key: classes})
    monkeypatch.setattr(dataset, "meta", {"filename": filename, "key": meta_key, "md5": md5})
    return images


@pytest.mark.parametrize(
    ("source", "name", "key"), [("cifar10", "CIFAR10", "labels"), ("cifar100", "CIFAR100", "fine_labels")]
)
def test_cifar_is_read_in_the_layout_of_torchvision(
    source: Any, name: str, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = write_cifar(tmp_path / "torchvision", monkeypatch, name, key, ["cat", "dog"])
    arrays = load_source(DataConfig(source=source), tmp_path)
    assert np.array_equal(arrays.train_images, images[:2])
    assert np.array_equal(arrays.test_images, images[2:])
    assert (arrays.train_labels.tolist(), arrays.test_labels.tolist()) == ([1, 0], [1])
    assert arrays.classes == ("cat", "dog")
    named = load_source(DataConfig(source=source, path=str(tmp_path / "torchvision")), tmp_path / "other")
    assert named.fingerprint == arrays.fingerprint
    monkeypatch.setenv("TUNE_APP_DATA", str(tmp_path))
    assert load_source(DataConfig(source=source)).fingerprint == arrays.fingerprint


def test_a_read_only_folder_is_read_without_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path, monkeypatch, "CIFAR10", "labels", ["cat", "dog"])
    monkeypatch.setattr("tune_app.data.sources.downloads.os.access", lambda path, mode: False)
    load_source(DataConfig(source="cifar10", path=str(tmp_path)))
    assert not (tmp_path / ".lock").exists()


def test_a_server_that_never_answers_ends_a_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    import torchvision.datasets as datasets

    with socket.socket() as server:  # accepts connections in its queue, and says nothing
        server.bind(("127.0.0.1", 0))
        server.listen()
        monkeypatch.setattr(datasets.CIFAR10, "url", f"http://127.0.0.1:{server.getsockname()[1]}/cifar.tar.gz")
        monkeypatch.setattr("tune_app.data.sources.downloads.SOCKET_SECONDS", 0.2)
        with pytest.raises(StudyError, match=r"CIFAR10 cannot be read from .*, nor downloaded to it \(.*timed out"):
            load_source(DataConfig(source="cifar10"), tmp_path)
    assert socket.getdefaulttimeout() is None


def idx(array: np.ndarray) -> bytes:
    """Return the array in the IDX format of the MNIST files."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


def test_fashion_mnist_is_gray(tmp_path: Path) -> None:
    raw = tmp_path / "torchvision" / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    for prefix, part in (("train", slice(0, 3)), ("t10k", slice(3, 5))):
        for kind, array in (("images-idx3-ubyte", images[part]), ("labels-idx1-ubyte", np.arange(5)[part])):
            (raw / f"{prefix}-{kind}").write_bytes(idx(array))
            (raw / f"{prefix}-{kind}.gz").write_bytes(gzip.compress(idx(array)))
    arrays = load_source(DataConfig(source="fashion_mnist"), tmp_path)
    assert np.array_equal(arrays.train_images[..., 0], images[:3])
    assert np.array_equal(arrays.test_images[..., 0], images[3:])
    assert arrays.test_labels.tolist() == [3, 4]
    assert arrays.classes[0] == "T-shirt/top"
    (raw / "train-images-idx3-ubyte").write_bytes(idx(images[:3])[:100])
    with pytest.raises(StudyError, match="FashionMNIST cannot be read from"):
        load_source(DataConfig(source="fashion_mnist"), tmp_path)


@pytest.mark.parametrize("source", ["cifar10", "cifar100", "fashion_mnist"])
def test_without_a_network_the_error_gives_the_folder_and_the_command_to_run(
    source: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> io.BytesIO:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    with pytest.raises(StudyError) as caught:
        load_source(DataConfig(source=source), tmp_path)
    message = str(caught.value)
    assert f"cannot be read from {tmp_path}/torchvision" in message
    assert "python -c" in message
    assert "TUNE_APP_DATA" in message
