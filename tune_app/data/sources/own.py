"""Images that the user's own function returns, or that a data set library reads: checked, converted, cached on disk.

Both run in a child process, which writes the arrays as .npy files. Shapes: N images, H rows, W columns, C channels.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from search_spaces.code import module_of
from search_spaces.config.trial import DataConfig
from search_spaces.errors import StudyError
from tune_app.data.arrays import ImageArrays, image_arrays
from tune_app.data.sources.cache import cached
from tune_app.data.sources.checks import checked_splits, write_images
from tune_app.data.sources.hugging_face import data_folder, read_hugging_face
from tune_app.data.sources.labelled import content_key
from tune_app.signatures import config_class
from tune_app.timers import if_longer_than
from tune_app.user_code import CodeSource, in_child, is_adapter, make_importable, resolve

LOAD_SECONDS = 3600.0
"""How long a data function may take: it runs once, then its arrays are read from the cache."""
QUIET_SECONDS = 60.0
"""After so long a line says what is waited for."""

_FILES = ("train_images", "train_labels", "test_images", "test_labels")


def read_own(config: DataConfig, kept: Path, code: CodeSource) -> ImageArrays:
    """Return the images of the function or data set that ``data.source`` refers to; keep them in ``kept``.

    They are read again when the reference, its arguments or the code's fingerprint differ; for a data set in a folder,
    also when its files or ``data.resolution`` differ. Raises StudyError for what cannot be had or used.
    """
    folder = kept / "own" / _key(config, code)
    with ExitStack() as until_cached:

        def load() -> ImageArrays:
            written = Path(until_cached.enter_context(TemporaryDirectory(prefix=".load-", dir=folder)))
            return _opened(written, _load(config, code, written))

        return cached(folder, load)


def _key(config: DataConfig, code: CodeSource) -> str:
    """Return 32 hexadecimal digits of what determines the arrays."""
    parts = [config.source, json.dumps(config.args, sort_keys=True), code.fingerprint]
    if is_adapter(config.source):
        folder = data_folder(config.source, Path(code.root))
        files = [] if folder is None else [path for path in folder.rglob("*") if path.is_file()]
        parts.append(content_key(folder, files, config.resolution) if folder else str(config.resolution))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _load(config: DataConfig, code: CodeSource, folder: Path) -> Mapping[str, Any]:
    request = {
        "reference": config.source,
        "args": config.args,
        "resolution": config.resolution,
        "folder": str(folder),
    }
    if config.source in dict(code.objects):  # a function of this process alone, such as one of a notebook
        make_importable(code)
        return load_arrays({**request, "root": code.root})
    with if_longer_than(QUIET_SECONDS, partial(_say_what, config.source)):
        return dict(in_child("load", Path(code.root or ".").absolute(), request, LOAD_SECONDS))


def _say_what(source: str) -> None:
    print(
        f"waiting for the images of `data.source` {source}; it is ended {LOAD_SECONDS:.0f} s after its start",
        file=sys.stderr,
        flush=True,
    )


def _opened(folder: Path, manifest: Mapping[str, Any]) -> ImageArrays:
    train, train_labels, test, test_labels = (
        np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r")) for name in _FILES
    )
    return image_arrays(train, train_labels, test, test_labels, tuple(manifest["classes"]), manifest["validation"])


def load_arrays(request: Mapping[str, Any]) -> dict[str, Any]:
    """Call a data function, or read a data set, and write its arrays: what the child process does.

    The request has the ``reference``, its ``args``, the ``root`` of the code, the ``resolution`` to decode to or None,
    and the ``folder`` to write to.
    """
    reference, folder = request["reference"], Path(request["folder"])
    if not is_adapter(reference):
        return save_arrays(_called(resolve(reference), request["args"]), folder, reference)
    if module_of(reference) != "hf":
        raise StudyError(f"`data.source` is {reference!r}, but {module_of(reference)} has networks: use hf:FOLDER")
    with TemporaryDirectory(prefix=".hf-", dir=folder) as scratch:
        found = read_hugging_face(
            reference, request["args"], Path(request["root"]), request["resolution"], Path(scratch)
        )
        return save_arrays(found, folder, reference)


def _called(function: Any, args: Mapping[str, Any]) -> Any:
    config = config_class(function)
    return function(**args) if config is None else function(TypeAdapter(config).validate_python(dict(args)))


def save_arrays(found: object, folder: Path, reference: str) -> dict[str, Any]:
    """Check what a data function returned, write it as .npy files, and return the class names and validation size.

    Validation images are written after the training images. Raises StudyError that says what was returned and what
    is allowed.
    """
    splits, classes = checked_splits(found, reference)
    test = splits.pop("test")
    write_images(folder / "train_images.npy", list(splits.values()))
    np.save(folder / "train_labels.npy", np.concatenate([split.labels for split in splits.values()]))
    write_images(folder / "test_images.npy", [test])
    np.save(folder / "test_labels.npy", test.labels)
    return {"classes": classes, "validation": len(splits["val"].labels) if "val" in splits else 0}
