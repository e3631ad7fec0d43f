"""Images that a user's function returns, and data sets of the datasets library: checked, cached, split, trained on."""

from __future__ import annotations

import importlib
import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from search_spaces.config.trial import DataConfig, TrialConfig
from search_spaces.errors import StudyError
from tune_app.data import ImageArrays, load_source, make_splits, source_key
from tune_app.data.arrays import image_arrays
from tune_app.data.loaders import EvalLoader
from tune_app.data.normalization import Normalization
from tune_app.data.sources import own as own_source
from tune_app.data.sources.own import save_arrays
from tune_app.training import fit
from tune_app.user_code import CodeSource, make_importable

pytestmark = pytest.mark.slow

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")  # before the import, which reads them
datasets: Any = importlib.import_module("datasets")

LOAD = """
import dataclasses
from pathlib import Path

import numpy as np


def load(n: int = 12, val: int = 0, log: str = "", fault: str = ""):
    if log:
        with Path(log).open("a") as file:
            file.write("called ")
    if fault:
        raise RuntimeError(fault)
    rng = np.random.default_rng(0)

    def split(count):
        labels = np.arange(count) % 3
        images = rng.integers(0, 100, (count, 8, 8))
        for label in range(3):
            images[labels == label, 2 * label : 2 * label + 2] += 120
        return images.astype(np.uint8), labels

    found = {"train": split(n), "test": split(6), "classes": ["top", "middle", "bottom"]}
    return found | ({"val": split(val)} if val else {})


@dataclasses.dataclass(frozen=True)
class Settings:
    n: int = 12


def load_settings(settings: Settings):
    return load(settings.n)
"""

NETS = """
from torch import nn


def linear(channels, classes, resolution, hidden: int = 8):
    size = channels * resolution**2
    return nn.Sequential(nn.Flatten(), nn.Linear(size, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, classes))
"""

IMAGES = np.arange(6 * 4 * 5, dtype=np.uint8).reshape(6, 4, 5)
LABELS = np.arange(6) % 2


@pytest.fixture
def code(tmp_path: Path) -> CodeSource:
    package = tmp_path / "code" / "own_arrays_pkg"
    package.mkdir(parents=True)
    (package / "data.py").write_text(LOAD, encoding="utf-8")
    (package / "nets.py").write_text(NETS, encoding="utf-8")
    return CodeSource(str(package.parent), fingerprint="1")


@pytest.fixture
def no_child(code: CodeSource, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Do in this process what the child process does, which takes seconds to import torch."""

    def here(what: str, root: Path, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        assert what == "load"
        return own_source.load_arrays({**request, "root": str(root)})

    monkeypatch.setattr(own_source, "in_child", here)
    monkeypatch.setattr(sys, "path", list(sys.path))
    make_importable(code)
    yield
    for name in [name for name in sys.modules if name.startswith("own_arrays_pkg")]:
        del sys.modules[name]


def own(name: str = "load", **fields: Any) -> DataConfig:
    args = {key: fields.pop(key) for key in ("n", "val", "log", "fault") if key in fields}
    return DataConfig(source=f"own_arrays_pkg.data:{name}", args=args, **fields)


def saved(folder: Path, found: object) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
    manifest = save_arrays(found, folder, "my_pkg.data:load")
    names = ("train_images", "train_labels", "test_images", "test_labels")
    arrays = [np.load(folder / f"{name}.npy") for name in names]
    return arrays[0], arrays[1], arrays[2], arrays[3], json.loads(json.dumps(manifest))


def pair(images: Any = IMAGES, labels: Any = LABELS) -> tuple[Any, Any]:
    return images, labels


def test_the_arrays_of_a_function_are_loaded_and_fingerprinted_by_content(code: CodeSource, tmp_path: Path) -> None:
    arrays = load_source(own(n=15), tmp_path / "kept", code)
    assert (arrays.train_images.shape, arrays.train_images.dtype) == ((15, 8, 8, 1), np.uint8)
    assert (arrays.train_labels.tolist(), arrays.train_labels.dtype) == ([0, 1, 2] * 5, np.int64)
    assert arrays.test_images.shape == (6, 8, 8, 1)
    assert arrays.classes == ("top", "middle", "bottom")
    assert arrays.validation == 0
    same = image_arrays(
        arrays.train_images, arrays.train_labels, arrays.test_images, arrays.test_labels, arrays.classes
    )
    assert arrays.fingerprint == same.fingerprint
    assert "own_arrays_pkg" not in sys.modules


@pytest.mark.usefixtures("no_child")
def test_a_function_may_take_a_config_class(code: CodeSource, tmp_path: Path) -> None:
    arrays = load_source(own("load_settings", n=15), tmp_path, code)
    assert arrays.fingerprint == load_source(own(n=15), tmp_path, code).fingerprint


@pytest.mark.usefixtures("no_child")
def test_a_function_is_called_again_only_for_other_arguments_or_other_code(code: CodeSource, tmp_path: Path) -> None:
    log = tmp_path / "log"

    def calls() -> int:
        return log.read_text().count("called")

    first = load_source(own(log=str(log)), tmp_path / "kept", code)
    again = load_source(own(log=str(log)), tmp_path / "kept", code)
    assert calls() == 1
    assert not again.train_images.flags.writeable
    assert again.fingerprint == first.fingerprint
    larger = load_source(own(log=str(log), n=18), tmp_path / "kept", code)
    assert calls() == 2
    assert larger.fingerprint != first.fingerprint
    load_source(own(log=str(log)), tmp_path / "kept", CodeSource(code.root, fingerprint="2"))
    assert calls() == 3
    assert not list((tmp_path / "kept").rglob(".load-*"))


def test_an_error_of_the_function_names_its_own_line(code: CodeSource, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"^own_arrays_pkg/data\.py, line 13, in load: RuntimeError: no disk$"):
        load_source(own(fault="no disk"), tmp_path / "kept", code)


def test_a_function_object_is_called_in_this_process(tmp_path: Path) -> None:
    def load() -> dict[str, Any]:
        return {"train": pair(), "test": pair()}

    source = CodeSource("", fingerprint="3", objects=(("notebook:load", load),))
    arrays = load_source(DataConfig(source="notebook:load"), tmp_path, source)
    assert np.array_equal(arrays.train_images[..., 0], IMAGES)


def test_the_key_of_a_source_holds_the_reference_and_its_arguments_alone() -> None:
    config = DataConfig(source="a.b:load", args={"n": 3, "m": [1]}, train_size=5, split_seed=3, resolution=8)
    assert source_key(config) == 'a.b:load {"m": [1], "n": 3}'
    assert source_key(DataConfig(source="a.b:load")) == "a.b:load {}"
    assert source_key(DataConfig(source="hf:x", resolution=8)) == "hf:x {}@8"


@pytest.mark.parametrize(
    "images",
    [
        IMAGES,
        IMAGES[..., None],
        torch.from_numpy(IMAGES),
        IMAGES / 255,
        (IMAGES / 255).astype(np.float32),
        torch.from_numpy(IMAGES / 255).float(),
        np.asfortranarray(IMAGES),
    ],
    ids=["uint8", "channel", "tensor", "float64", "float32", "float tensor", "fortran"],
)
def test_images_of_every_allowed_kind_become_the_same_bytes(images: Any, tmp_path: Path) -> None:
    labels = torch.from_numpy(LABELS).int() if isinstance(images, torch.Tensor) else LABELS.tolist()
    train, train_labels, test, test_labels, manifest = saved(tmp_path, {"train": pair(images, labels), "test": pair()})
    assert np.array_equal(train, IMAGES[..., None])
    assert train.dtype == np.uint8
    assert np.array_equal(test, IMAGES[..., None])
    assert (train_labels.dtype, train_labels.tolist(), test_labels.tolist()) == (
        np.int64,
        LABELS.tolist(),
        LABELS.tolist(),
    )
    assert manifest == {"classes": ["0", "1"], "validation": 0}


def test_a_float_becomes_the_nearest_of_256_levels(tmp_path: Path) -> None:
    levels = np.array([0, 0.4 / 255, 0.6 / 255, 254.4 / 255, 254.6 / 255, 1]).reshape(6, 1, 1)
    train, *_ = saved(tmp_path, {"train": pair(levels), "test": pair(levels)})
    assert train.ravel().tolist() == [0, 0, 1, 254, 255, 255]


def test_colour_images_keep_their_channels(tmp_path: Path) -> None:
    colour = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), dtype=np.uint8)
    train, *_ = saved(tmp_path, {"train": pair(colour), "test": pair(colour)})
    assert np.array_equal(train, colour)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ((pair(), pair()), r"`my_pkg\.data:load` returned a tuple, but it must return a mapping with `train` and `test`"),
        ({"train": pair()}, r"returned no `test`, but it must return"),
        ({"train": pair(), "test": pair(), "vla": pair()}, r"returned the key 'vla' \(did you mean 'val'\?\)"),
        ({"train": IMAGES, "test": pair()}, r"train: it is uint8 of shape \(6, 4, 5\), but must be a pair"),
        ({"train": pair(), "test": (IMAGES,)}, r"test: it is a tuple of 1, but must be a pair"),
        (
            {"train": pair(np.zeros((6, 3, 8, 8), np.uint8)), "test": pair()},
            r"train images: their shape is \(6, 3, 8, 8\), .*C is 1 or 3; channels come last: use numpy\.moveaxis",
        ),
        ({"train": pair(IMAGES.reshape(6, 20)), "test": pair()}, r"train images: their shape is \(6, 20\)"),
        ({"train": pair(IMAGES.astype(int)), "test": pair()}, r"train images: their type is int64, .*astype"),
        ({"train": pair(IMAGES / 1.0), "test": pair()}, r"train images: .*go from 0 to 119, but must be from 0 to 1"),
        ({"train": pair(IMAGES / 255 - 0.2), "test": pair()}, r"train images: .*go from -0\.2 to"),
        ({"train": pair(IMAGES / np.nan), "test": pair()}, r"train images: .*go from nan to nan"),
        ({"train": pair([[1, 2], [1]]), "test": pair()}, r"train images: they are not one array"),
        ({"train": pair(), "test": pair(IMAGES[:, :3])}, r"test images: their size \(H, W, C\) is \(3, 5, 1\)"),
        ({"train": pair(labels=LABELS / 1.0), "test": pair()}, r"train labels: they are float64 of shape \(6,\)"),
        ({"train": pair(labels=np.eye(6, dtype=int)), "test": pair()}, r"train labels: .*argmax\(1\)"),
        ({"train": pair(labels=LABELS[:5]), "test": pair()}, r"train: there are 6 images but 5 labels"),
        ({"train": pair(labels=LABELS * 2 - 1), "test": pair()}, r"train labels: label 0 \(counted from 0\) is -1"),
        ({"train": pair(labels=LABELS * 2), "test": pair()}, r"train labels: class 1 \('1'\) has no image"),
        ({"train": pair(), "test": pair(labels=LABELS * 0)}, r"test labels: class 1 \('1'\) has no image"),
        ({"train": pair(), "test": pair(labels=LABELS * 2)}, r"test labels: label 1 .* is 2, but there are 2 classes"),
        ({"train": pair(labels=LABELS * 0), "test": pair()}, r"has one class, '0', but a classifier needs at least two"),
        ({"train": pair(IMAGES[:0], LABELS[:0]), "test": pair()}, r"train: there are no images"),
        ({"train": pair(), "test": pair(), "classes": "ab"}, r"classes: they are 'ab', but must be a list"),
        ({"train": pair(), "test": pair(), "classes": ["a", "a"]}, r"classes: .* must be a list of different names"),
        ({"train": pair(), "test": pair(), "classes": ["a", "b", "c"]}, r"train labels: class 2 \('c'\) has no image"),
    ],
)  # fmt: skip
def test_arrays_that_cannot_be_used_are_explained(found: object, message: str, tmp_path: Path) -> None:
    with np.errstate(invalid="ignore"), pytest.raises(StudyError, match=message):
        save_arrays(found, tmp_path, "my_pkg.data:load")


@pytest.mark.usefixtures("no_child")
def test_validation_images_of_the_function_validate(code: CodeSource, tmp_path: Path) -> None:
    arrays = load_source(own(n=12, val=9), tmp_path / "kept", code)
    assert arrays.validation == 9
    assert len(arrays.train_labels) == 21
    splits = make_splits(arrays, own(), seed=0)
    assert sorted(splits.train) == list(range(12))
    assert sorted(splits.val) == list(range(12, 21))
    assert sorted(splits.test) == list(range(6))
    smaller = make_splits(arrays, own(validation_size=3, train_size=6), seed=0)
    assert smaller.val.tolist() == splits.val[:3].tolist()
    assert smaller.train.tolist() == splits.train[:6].tolist()
    assert sorted(arrays.train_labels[smaller.val]) == [0, 1, 2]
    loader = EvalLoader(
        arrays, splits.val, "val", TrialConfig(), Normalization((0.0,), (1 / 255,)), torch.device("cpu")
    )
    ((x_NCHW, y_N),) = loader
    order = splits.val
    assert np.array_equal(x_NCHW[:, 0].round().numpy().astype(np.uint8), arrays.train_images[order, :, :, 0])
    assert y_N.tolist() == arrays.train_labels[order].tolist()
    with pytest.raises(
        StudyError, match=r"`data\.validation_fraction` is 0\.3, but own_arrays_pkg\.data:load has valid"
    ):
        make_splits(arrays, own(validation_fraction=0.3), seed=0)


def test_the_size_of_the_validation_split_is_in_the_fingerprint() -> None:
    def arrays(validation: int) -> ImageArrays:
        return image_arrays(IMAGES[..., None], LABELS, IMAGES[..., None], LABELS, ("a", "b"), validation)

    assert len({arrays(count).fingerprint for count in (0, 2, 4)}) == 3
    assert arrays(0).fingerprint == "33158060b795f640"  # as in the first release


@pytest.mark.usefixtures("no_child")
def test_a_users_network_trains_on_a_users_arrays(code: CodeSource, tmp_path: Path) -> None:
    values = {
        "model.family": "own_arrays_pkg.nets:linear",
        "model.args.hidden": 12,
        "data.source": "own_arrays_pkg.data:load",
        "data.args.n": 240,
        "data.args.val": 60,
        "batch_size": 24,
        "epochs": 1,
        "precision": "float32",
        "augmentation.policy": "none",
    }
    config = TrialConfig().with_values(values)
    arrays = load_source(config.data, tmp_path / "kept", code)
    runs = [list(fit(config, arrays)) for _ in range(2)]
    (epoch,), (again,) = runs
    assert epoch.status == "completed"
    assert epoch.val.accuracy > 0.9
    assert epoch.test is not None
    assert (epoch.val.loss, epoch.test.loss) == (again.val.loss, again.test.loss)


# Data sets of the datasets library


def png(value: int, side: int = 4) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((side, side), value, np.uint8)).save(file, "PNG")
    return file.getvalue()


def data_set(count: int, offset: int = 0, **renamed: str) -> Any:
    image, label = renamed.get("image", "image"), renamed.get("label", "label")
    features = datasets.Features(
        {image: datasets.Image(), label: datasets.ClassLabel(names=["even", "odd"]), "row": datasets.Value("int64")}
    )
    rows = {
        image: [{"bytes": png(offset + i), "path": None} for i in range(count)],
        label: [i % 2 for i in range(count)],
        "row": list(range(count)),
    }
    return datasets.Dataset.from_dict(rows, features=features)


def hf(name: str, resolution: int | None = None, **args: Any) -> DataConfig:
    return DataConfig(source=f"hf:{name}", args=args, resolution=resolution)


def test_a_saved_data_set_is_read_by_its_features(tmp_path: Path) -> None:
    splits = {"train": data_set(6, image="img", label="fine"), "test": data_set(4, 100, image="img", label="fine")}
    datasets.DatasetDict(splits).save_to_disk(str(tmp_path / "saved"))
    arrays = load_source(hf("saved"), tmp_path / "kept", CodeSource(str(tmp_path)))
    assert arrays.train_images.shape == (6, 4, 4, 1)
    assert arrays.train_images[:, 0, 0, 0].tolist() == list(range(6))
    assert arrays.test_images[:, 0, 0, 0].tolist() == [100, 101, 102, 103]
    assert arrays.train_labels.tolist() == [0, 1] * 3
    assert arrays.classes == ("even", "odd")


@pytest.mark.usefixtures("no_child")
def test_changed_files_of_a_data_set_are_read_again(tmp_path: Path) -> None:
    for offset in (0, 50):
        splits = {"train": data_set(4, offset), "test": data_set(4, 100)}
        datasets.DatasetDict(splits).save_to_disk(str(tmp_path / f"version {offset}"))
    (tmp_path / "saved").symlink_to("version 0")
    first = load_source(hf("saved"), tmp_path / "kept", CodeSource(str(tmp_path)))
    (tmp_path / "saved").unlink()
    (tmp_path / "saved").symlink_to("version 50")
    second = load_source(hf("saved"), tmp_path / "kept", CodeSource(str(tmp_path)))
    assert (first.train_images[0, 0, 0, 0], second.train_images[0, 0, 0, 0]) == (0, 50)
    resized = load_source(hf(str(tmp_path / "saved"), resolution=8), tmp_path / "kept")
    assert resized.train_images.shape == (4, 8, 8, 1)


@pytest.mark.usefixtures("no_child")
def test_columns_and_splits_are_named_by_arguments_and_validation_is_used(tmp_path: Path) -> None:
    names = {"train": data_set(6), "validation": data_set(4, 50), "held": data_set(4, 100)}
    datasets.DatasetDict(names).save_to_disk(str(tmp_path / "saved"))
    code = CodeSource(str(tmp_path))
    arrays = load_source(hf("saved", test="held"), tmp_path / "kept", code)
    assert arrays.validation == 4
    assert arrays.train_images[6:, 0, 0, 0].tolist() == [50, 51, 52, 53]
    with pytest.raises(
        StudyError, match=r"has no split 'test', but train, validation, held; name it as `data\.args\.test`"
    ):
        load_source(hf("saved"), tmp_path / "kept", code)
    with pytest.raises(
        StudyError, match=r"`data\.args\.image` is 'imge', but `hf:saved` has image, label, row \(did you"
    ):
        load_source(hf("saved", test="held", image="imge"), tmp_path / "kept", code)
    with pytest.raises(StudyError, match=r"`data\.args\.tset` is no argument of hf \(did you mean 'test'\?\)"):
        load_source(hf("saved", tset="held"), tmp_path / "kept", code)


@pytest.mark.usefixtures("no_child")
def test_a_folder_of_image_files_is_read_through_the_library(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for number, label in enumerate(("cat", "dog")):
            folder = tmp_path / "pets" / split / label
            folder.mkdir(parents=True)
            (folder / "one.png").write_bytes(png(10 + number))
    arrays = load_source(hf("pets"), tmp_path / "kept", CodeSource(str(tmp_path)))
    assert arrays.classes == ("cat", "dog")
    assert dict(zip(arrays.train_labels.tolist(), arrays.train_images[:, 0, 0, 0].tolist(), strict=True)) == {
        0: 10,
        1: 11,
    }


@pytest.mark.usefixtures("no_child")
def test_data_sets_that_are_not_here_or_have_no_splits_are_explained(tmp_path: Path) -> None:
    code = CodeSource(str(tmp_path))
    with pytest.raises(
        StudyError, match=r"`hf:nobody/nothing` cannot be read without a network \(there is no such folder"
    ):
        load_source(hf("nobody/nothing"), tmp_path / "kept", code)
    data_set(4).save_to_disk(str(tmp_path / "single"))
    with pytest.raises(StudyError, match=r"`hf:single` has no splits, but needs one to train on"):
        load_source(hf("single"), tmp_path / "kept", code)
    with pytest.raises(StudyError, match=r"`data\.source` is 'timm:resnet18', but timm has networks: use hf:FOLDER"):
        load_source(DataConfig(source="timm:resnet18"), tmp_path / "kept", code)


def test_a_data_function_that_never_answers_is_said_and_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hanging_images.py").write_text("import threading\n\n\ndef load():\n    threading.Event().wait()\n")
    monkeypatch.setattr(own_source, "QUIET_SECONDS", 0.1)
    monkeypatch.setattr(own_source, "LOAD_SECONDS", 2.0)
    config = DataConfig(source="hanging_images:load")
    with pytest.raises(StudyError, match=r"within 2 s; see why hanging_images:load takes longer"):
        load_source(config, cache_dir=tmp_path / "cache", code=CodeSource(str(tmp_path), fingerprint="f" * 16))
    said = "waiting for the images of `data.source` hanging_images:load; it is ended 2 s after its start"
    assert said in capfd.readouterr().err
