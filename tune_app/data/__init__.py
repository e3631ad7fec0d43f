"""Images: sources decoded once into arrays, splits, and loaders that augment on the training device."""

from tune_app.data.arrays import ImageArrays
from tune_app.data.loaders import EvalLoader, TrainLoader
from tune_app.data.normalization import Normalization
from tune_app.data.sources.blanks import blank_source
from tune_app.data.sources.registry import SOURCES, load_source, source_key
from tune_app.data.splits import Splits, make_splits

__all__ = [
    "SOURCES",
    "EvalLoader",
    "ImageArrays",
    "Normalization",
    "Splits",
    "TrainLoader",
    "blank_source",
    "load_source",
    "make_splits",
    "source_key",
]
