"""Images: sources decoded once into arrays, splits, and loaders that augment on the training device.

The loaders are in `tune_app.data.loaders`: they need torch, which the driver does not import.
"""

from tune_app.data.arrays import ImageArrays
from tune_app.data.sources.blanks import blank_source
from tune_app.data.sources.registry import SOURCES, load_source, source_key
from tune_app.data.splits import Splits, covering, make_splits

__all__ = [
    "SOURCES",
    "ImageArrays",
    "Splits",
    "blank_source",
    "covering",
    "load_source",
    "make_splits",
    "source_key",
]
