"""The networks: norm layers, families, and the one way to build them."""

from tune_app.models.layers import ImageClassifier
from tune_app.models.norms import NORM_TYPES, NORMS, project_parameters
from tune_app.models.parameters import ParameterRow, is_attention_bias, parameter_rows
from tune_app.models.registry import MODELS, build_model, model_notes

__all__ = [
    "MODELS",
    "NORMS",
    "NORM_TYPES",
    "ImageClassifier",
    "ParameterRow",
    "build_model",
    "is_attention_bias",
    "model_notes",
    "parameter_rows",
    "project_parameters",
]
