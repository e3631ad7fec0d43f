"""Parquet files in the layout of the Hugging Face hub: a column ``image`` of {bytes, path} and a column ``label``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from search_spaces.config.trial import DataConfig
from search_spaces.errors import StudyError
from tune_app.data.arrays import ImageArrays
from tune_app.data.sources.cache import cached
from tune_app.data.sources.decode import EncodedImage
from tune_app.data.sources.labelled import Labelled, content_key, decode_source
from tune_app.data.sources.places import named_folder

_CLASSES = "classes.txt"
_ROWS = 128
"""Rows that are read at once: Arrow has no array of structs with more than 2 GiB of bytes."""


def read_parquet(config: DataConfig, cache_dir: Path) -> ImageArrays:
    """Return the images of ``train*.parquet`` and ``test*.parquet`` in ``data.path``; cache them in ``cache_dir``.

    Class names are the lines of ``classes.txt`` in the same folder, or else those in the Hugging Face metadata of the
    files, or else the numbers of the labels.

    Raises StudyError, with the file and the row (counted from 0), for invalid data.
    """
    folder = named_folder(config)
    train_files, test_files = _files(folder, "train"), _files(folder, "test")
    named = [folder / _CLASSES] if (folder / _CLASSES).is_file() else []

    def decode() -> ImageArrays:
        names = _class_names(folder, train_files[0])
        train, test = _read(train_files, names), _read(test_files, names)
        classes = names or tuple(str(label) for label in range(int(train.labels.max()) + 1))
        if test.labels.max() >= len(classes):
            row = int(np.argmax(test.labels >= len(classes)))
            raise _bad_label(
                test.images[row].place, test.labels[row], f"the training files go up to {len(classes) - 1}"
            )
        return decode_source(train, test, classes, config.resolution)

    key = content_key(folder, [*train_files, *test_files, *named], config.resolution)
    return cached(cache_dir / "decoded" / key, decode)


def _files(folder: Path, split: str) -> list[Path]:
    files = sorted(folder.glob(f"{split}*.parquet"))
    if not files:
        raise StudyError(f"{folder}: there is no {split}*.parquet: name the files train*.parquet and test*.parquet")
    return files


def _class_names(folder: Path, file: Path) -> tuple[str, ...] | None:
    """Return the class names from ``classes.txt`` or the metadata, or None."""
    listed = folder / _CLASSES
    if listed.is_file():
        return tuple(line.strip() for line in listed.read_text("utf-8").splitlines() if line.strip())
    metadata = _open(file).schema_arrow.metadata or {}
    features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    names = features.get("label", {}).get("names")
    return tuple(names) if names else None


def _read(files: Sequence[Path], names: tuple[str, ...] | None) -> Labelled:
    images: list[EncodedImage] = []
    labels: list[np.ndarray] = []
    for file in files:
        table = _columns(file)
        labels.append(_labels(file, table["label"].combine_chunks(), names))
        images += _images(file, table["image"])
    if not images:
        raise StudyError(f"{files[0]}: there are no images: the files have no rows")
    return Labelled(images, np.concatenate(labels))


def _open(file: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(file)
    except (OSError, pa.ArrowException) as error:
        raise StudyError(f"{file}: not a Parquet file that can be read ({error}): write or copy it again") from None


def _columns(file: Path) -> pa.Table:
    opened = _open(file)
    schema = opened.schema_arrow
    for column in ("image", "label"):
        if column not in schema.names:
            raise StudyError(
                f"{file}: there is no column `{column}`, only {', '.join(schema.names)}; "
                "the columns must be `image` (a struct of bytes and path) and `label` (integers)"
            )
    image, label = schema.field("image").type, schema.field("label").type
    if not (pa.types.is_struct(image) and image.get_field_index("bytes") >= 0):
        raise StudyError(f"{file}: the column `image` is {image}, but must be a struct with a field `bytes`")
    if not pa.types.is_integer(label):
        raise StudyError(
            f"{file}: the column `label` is {label}, but must be integers from 0: write the number of the class"
        )
    wanted = pa.schema([field for field in schema if field.name in ("image", "label")])
    try:
        return pa.Table.from_batches(opened.iter_batches(_ROWS, columns=wanted.names), wanted)
    except (OSError, pa.ArrowException) as error:
        raise StudyError(f"{file}: damaged ({error}): write or copy it again") from None


def _labels(file: Path, column: pa.Array, names: tuple[str, ...] | None) -> np.ndarray:
    allowed = f"there are {len(names)} classes" if names else "labels are counted from 0"
    if column.null_count:
        row = int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
        raise _bad_label(_place(file, row), "null", allowed)
    labels: np.ndarray = column.to_numpy(zero_copy_only=False).astype(np.int64)
    wrong = (labels < 0) | (labels >= (len(names) if names else np.iinfo(np.int64).max))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise _bad_label(_place(file, row), labels[row], allowed)
    return labels


def _images(file: Path, column: pa.ChunkedArray) -> list[EncodedImage]:
    images: list[EncodedImage] = []
    for chunk in column.chunks:
        contents = chunk.field("bytes").to_pylist()
        for content, present in zip(contents, chunk.is_valid().to_pylist(), strict=True):
            place = _place(file, len(images))
            if not (present and content):
                raise StudyError(f"{place}: the image has no bytes: embed the file itself, not only its path")
            images.append(EncodedImage(content, place))
    return images


def _place(file: Path, row: int) -> str:
    return f"{file}, row {row}"


def _bad_label(place: str, label: object, allowed: str) -> StudyError:
    return StudyError(f"{place}: the label is {label}, but {allowed}: correct the label or the class names")
