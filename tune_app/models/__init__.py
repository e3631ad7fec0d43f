"""The networks: norm layers, families, and ``build_model``."""

from tune_app.models.layers import ImageClassifier
from tune_app.models.norms import NORM_TYPES, NORMS, project_parameters
from tune_app.models.registry import MODELS, build_model

__all__ = ["MODELS", "NORMS", "NORM_TYPES", "ImageClassifier", "build_model", "project_parameters"]
