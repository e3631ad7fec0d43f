"""The 8x8 digits that come with scikit-learn: 1,797 gray images, no download."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np

from search_spaces.config.trial import DataConfig
from search_spaces.errors import StudyError
from tune_app.data.arrays import ImageArrays, image_arrays
from tune_app.data.sources.cache import cached
from tune_app.data.splits import stratified_order

_TEST_IMAGES = 300  # about a sixth


def load_digits(config: DataConfig, cache_dir: Path) -> ImageArrays:
    """Return scikit-learn's digits, their values 0 to 16 rescaled to 0 to 255.

    The source has no test split: 300 images, stratified, form a fixed test split, the same for every config.
    """
    try:
        return cached(cache_dir / f"digits-{version('scikit-learn')}", _read)
    except StudyError:  # no folder to cache it in, which costs a second
        return _read()


def _read() -> ImageArrays:
    from sklearn.datasets import load_digits as read_digits  # takes a second, the cache a few milliseconds

    raw = read_digits()
    images = np.rint(raw.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = raw.target.astype(np.int64)
    order = stratified_order(labels, np.random.default_rng(0))
    test, train = np.sort(order[:_TEST_IMAGES]), np.sort(order[_TEST_IMAGES:])
    return image_arrays(images[train], labels[train], images[test], labels[test], tuple("0123456789"))
