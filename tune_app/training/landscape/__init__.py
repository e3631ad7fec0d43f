"""The loss landscape of a trained model: directions, the surface on their plane, the curvature at its centre."""

from tune_app.training.landscape.curvature import Eigenvalue, top_eigenvalue
from tune_app.training.landscape.directions import Directions, filter_normalized, plane_directions
from tune_app.training.landscape.images import EvaluationImages, evaluation_images
from tune_app.training.landscape.surface import Batch, Point, Surface
from tune_app.training.landscape.trained import TrainedModel, read_best

__all__ = [
    "Batch",
    "Directions",
    "Eigenvalue",
    "EvaluationImages",
    "Point",
    "Surface",
    "TrainedModel",
    "evaluation_images",
    "filter_normalized",
    "plane_directions",
    "read_best",
    "top_eigenvalue",
]
