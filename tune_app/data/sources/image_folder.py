"""A folder of image files, one folder per class: ``train/<class>/*.png``, ``test/<class>/*.png``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from search_spaces.config.trial import DataConfig
from search_spaces.errors import StudyError
from tune_app.data.arrays import ImageArrays
from tune_app.data.sources.cache import cached
from tune_app.data.sources.decode import EncodedImage
from tune_app.data.sources.labelled import Labelled, content_key, decode_source
from tune_app.data.sources.places import named_folder

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".pgm", ".ppm", ".tif", ".tiff"})


def read_image_folder(config: DataConfig, cache_dir: Path) -> ImageArrays:
    """Return the images below ``data.path``; decoded images are cached in ``cache_dir``.

    Classes are the names of the folders in ``train``, in order, and must be those of ``test``. Files without an image
    suffix (.png, .jpg, .jpeg, .bmp, .gif, .webp, .pgm, .ppm, .tif, .tiff) are ignored.

    Raises StudyError for a missing folder, a class without images and an image that cannot be used: .pgm and .ppm are
    not among the formats that are decoded.
    """
    folder = named_folder(config)
    classes = _class_names(folder / "train")
    _check_same(folder, classes, _class_names(folder / "test"))
    train, test = _list(folder / "train", classes), _list(folder / "test", classes)
    files = [image.content for split in (train, test) for image in split.images if isinstance(image.content, Path)]
    key = content_key(folder, files, config.resolution)
    return cached(cache_dir / "decoded" / key, lambda: decode_source(train, test, classes, config.resolution))


def _class_names(split: Path) -> tuple[str, ...]:
    if not split.is_dir():
        raise StudyError(
            f"there is no folder {split}: a folder source needs train/<class>/ and test/<class>/, one image per file"
        )
    names = sorted(entry.name for entry in split.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not names:
        raise StudyError(f"{split}: there are no images: put one folder per class there, with the images in it")
    return tuple(names)


def _check_same(folder: Path, train: tuple[str, ...], test: tuple[str, ...]) -> None:
    for split, missing in (("test", set(train) - set(test)), ("train", set(test) - set(train))):
        if missing:
            raise StudyError(
                f"{folder / split}: there is no folder for {', '.join(map(repr, sorted(missing)))}, "
                "but train and test must have the same classes: add it, or remove the other one"
            )


def _list(split: Path, classes: tuple[str, ...]) -> Labelled:
    images: list[EncodedImage] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        paths = sorted(path for path in (split / name).iterdir() if _is_image(path))
        if not paths:
            raise StudyError(f"{split / name}: the class has no images: add some, or remove it from both splits")
        images += [EncodedImage(path, str(path)) for path in paths]
        labels += [label] * len(paths)
    return Labelled(images, np.array(labels, dtype=np.int64))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")
