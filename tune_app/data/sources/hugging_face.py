"""Data sets of the `datasets` library: ``hf:FOLDER`` on disk, ``hf:NAME`` in the library's cache; never online."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from search_spaces.errors import StudyError, nearest, shown
from tune_app.data.sources.decode import EncodedImage, decode_images
from tune_app.user_code import library

_OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
_ARGUMENTS = {
    "image": "column of the images",
    "label": "column of the labels",
    "train": "split to train on",
    "val": "split to validate on",
    "test": "split to test on",
    "config": "configuration of the data set",
}


def data_folder(reference: str, root: Path) -> Path | None:
    """Return the folder that ``hf:FOLDER`` names, relative to the code's root; None where there is none."""
    try:
        folder = (root / Path(reference.partition(":")[2]).expanduser()).absolute()
        return folder if folder.is_dir() else None
    except (RuntimeError, ValueError):  # the home folder of an unknown user, a null character
        return None


def read_hugging_face(
    reference: str, args: Mapping[str, Any], root: Path, resolution: int | None, scratch: Path
) -> dict[str, Any]:
    """Return train, test and where there is one val, each (images uint8 (N, H, W, C), labels), and the class names.

    Call it in a process where the library is not yet imported: it is set to use no network. ``scratch`` takes the
    files that the library writes. The columns are those of the features Image and ClassLabel unless ``args`` name
    them; the splits are "train", "test" and, if it exists, "validation". Raises StudyError for what is not there.
    """
    _check_arguments(args)
    os.environ.update(_OFFLINE)
    datasets = library(reference)
    splits = _splits(_opened(datasets, reference, args, root, scratch), args, reference)
    features = splits["train"].features
    image = _column(features, args, "image", reference, datasets.Image)
    label = _column(features, args, "label", reference, datasets.ClassLabel)
    rows = {name: _rows(split, image, label, datasets, f"`{reference}`, {name}") for name, split in splits.items()}
    pixels = decode_images([one for encoded, _ in rows.values() for one in encoded], resolution)
    found: dict[str, Any] = {"classes": getattr(features[label], "names", None)}
    start = 0
    for name, (encoded, labels) in rows.items():
        found[name] = (pixels[start : start + len(encoded)], labels)
        start += len(encoded)
    return found


def _check_arguments(args: Mapping[str, Any]) -> None:
    for name, value in args.items():
        if name not in _ARGUMENTS:
            known = ", ".join(f"{key} ({meaning})" for key, meaning in _ARGUMENTS.items())
            raise StudyError(f"`data.args.{name}` is no argument of hf{nearest(name, _ARGUMENTS)}; it takes {known}")
        if not isinstance(value, str):
            raise StudyError(f"`data.args.{name}` is {shown(value)}, but must be text: {_ARGUMENTS[name]}")


def _opened(datasets: Any, reference: str, args: Mapping[str, Any], root: Path, scratch: Path) -> Any:
    folder = data_folder(reference, root)
    try:
        if folder is None:
            return datasets.load_dataset(reference.partition(":")[2], args.get("config"))
        if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
            return datasets.load_from_disk(str(folder))
        return datasets.load_dataset(str(folder), args.get("config"), cache_dir=str(scratch))
    except Exception as error:  # the library raises many kinds, of its own and of pyarrow's
        where = "there is no such folder, and it is not in the cache of datasets" if folder is None else str(folder)
        raise StudyError(
            f"`{reference}` cannot be read without a network ({where}): {type(error).__name__}: {error}; "
            "save it to a folder with save_to_disk and name that folder, relative to `code.root`"
        ) from error


def _splits(dataset: Any, args: Mapping[str, Any], reference: str) -> dict[str, Any]:
    """Return the splits train, val (where there is one) and test."""
    names = list(dataset) if isinstance(dataset, dict) else []
    if not names:
        raise StudyError(f"`{reference}` has no splits, but needs one to train on and one to test on: a DatasetDict")
    chosen = {"train": args.get("train", "train"), "test": args.get("test", "test")}
    if "val" in args:
        chosen["val"] = args["val"]
    elif "validation" in names and "validation" not in chosen.values():
        chosen["val"] = "validation"
    for role, name in chosen.items():
        if name not in names:
            raise StudyError(
                f"`{reference}` has no split {name!r}, but {', '.join(names)}; name it as `data.args.{role}`"
            )
    if len(set(chosen.values())) < len(chosen):
        raise StudyError(f"`data.args` uses one split of `{reference}` twice: {shown(chosen)}")
    return {role: dataset[name] for role, name in chosen.items()}


def _column(features: Mapping[str, Any], args: Mapping[str, Any], role: str, reference: str, kind: type) -> str:
    """Return the column of a role: the one that is named, or the only one of its kind."""
    if role in args:
        if args[role] not in features:
            near = nearest(args[role], features)
            raise StudyError(f"`data.args.{role}` is {args[role]!r}, but `{reference}` has {', '.join(features)}{near}")
        return str(args[role])
    found = [name for name, feature in features.items() if isinstance(feature, kind)]
    if len(found) != 1:
        has = ", ".join(found) if found else f"none; its columns are {', '.join(features)}"
        raise StudyError(
            f"`{reference}` must have one column of the feature {kind.__name__}, but has {has}; "
            f"name one as `data.args.{role}`"
        )
    return found[0]


def _rows(split: Any, image: str, label: str, datasets: Any, place: str) -> tuple[Sequence[EncodedImage], np.ndarray]:
    """Return the encoded images and the labels of a split."""
    if not isinstance(split.features[image], datasets.Image):
        raise StudyError(f"{place}: column {image!r} is {split.features[image]}, but must be of the feature Image")
    encoded, labels = [], []
    columns = split.select_columns([image, label]).cast_column(image, datasets.Image(decode=False))
    for number, row in enumerate(columns):
        where = f"{place}, row {number}"
        stored = row[image] or {}
        content = stored.get("bytes") or (Path(stored["path"]) if stored.get("path") else None)
        if content is None:
            raise StudyError(f"{where}: there is no image; remove the row")
        if not isinstance(row[label], int) or row[label] < 0:
            raise StudyError(f"{where}: the label is {shown(row[label])}, but must be a whole number from 0")
        encoded.append(EncodedImage(content, where))
        labels.append(row[label])
    return encoded, np.array(labels, dtype=np.int64)
