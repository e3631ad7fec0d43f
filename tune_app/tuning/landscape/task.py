"""What a worker process computes of a loss landscape: a row of the grid, or the curvature at its centre."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import ray
import torch

from search_spaces.errors import StudyError
from tune_app.models import ImageClassifier
from tune_app.training import full_float32, keep_freed_memory, resolve_device, set_threads
from tune_app.training.landscape import (
    Batch,
    EvaluationImages,
    Surface,
    TrainedModel,
    plane_directions,
    top_eigenvalue,
)
from tune_app.tuning.cell import is_out_of_memory
from tune_app.user_code import CodeSource, make_importable

IMAGES_AT_ONCE = {"cpu": 50, "cuda": 2000}
"""On a CPU the activations of a few images stay in its cache, on a GPU many images keep it busy."""


@dataclass(frozen=True)
class SurfaceSpec:
    """Which plane through the weights, and how it is sampled: ``points`` x ``points`` from -reach to reach."""

    points: int = 51
    reach: float = 1.0
    split: str = "test"
    images: int | None = None
    seed: int = 0
    orthogonal: bool = False
    shared: bool = False

    def __post_init__(self) -> None:
        """Raise StudyError for a grid that has no point at the trained weights, or no extent."""
        if self.points < 3 or self.points % 2 == 0:
            raise StudyError(
                f"`--points` is {self.points}, but must be odd and at least 3: the trained weights are the middle one"
            )
        if not 0 < self.reach < math.inf:
            raise StudyError(f"`--range` is {self.reach:g}, but must be above 0 and finite")

    @property
    def name(self) -> str:
        """Name of the surface in the store: all that it depends on beside the model."""
        options = {f"images{self.images}": self.images, "orthogonal": self.orthogonal, "shared": self.shared}
        chosen = [name for name, is_set in options.items() if is_set]
        return "-".join([f"seed{self.seed}", f"range{self.reach!r}", f"points{self.points}", self.split, *chosen])

    @property
    def axis(self) -> tuple[float, ...]:
        """Return the grid's coordinates, exactly symmetric, with an exact zero in the middle."""
        half = self.points // 2
        return tuple(self.reach * (step / half) for step in range(-half, half + 1))


def landscape_part(refs: tuple[Any, Any, Any], spec: SurfaceSpec, stream: str, row: int | None) -> list[dict[str, Any]]:
    """Return, in a worker process, the table rows of one row of the grid, or of the curvature for None.

    Where a GPU that is shared has too little memory, the batches are halved, also for what this process computes later:
    sums over images do not depend on them but for rounding.
    """
    prepared = _prepared(refs, spec, stream)
    batches = prepared[1]
    while True:
        try:
            return _part(*prepared, spec, row)
        except RuntimeError as error:  # whose traceback keeps the memory: the next attempt is outside
            if not is_out_of_memory(error) or len(batches[0][1]) == 1:
                raise
        batches[:] = _halved(batches)


def _part(
    model: ImageClassifier, batches: list[Batch], surface: Surface, spec: SurfaceSpec, row: int | None
) -> list[dict[str, Any]]:
    with full_float32(next(model.parameters()).device):
        if row is None:
            found = top_eigenvalue(model, batches, seed=spec.seed)
            return [{"top_eigenvalue": found.value, "iterations": found.iterations, "residual": found.residual}]
        return [{**asdict(point), "split": spec.split} for point in surface.points(spec.axis, spec.axis[row])]


def _halved(batches: list[Batch]) -> list[Batch]:
    """Return the same images in batches of half the size, without a copy."""
    size = (len(batches[0][1]) + 1) // 2
    split = ((torch.split(images, size), torch.split(labels, size)) for images, labels in batches)
    return [half for images, labels in split for half in zip(images, labels, strict=True)]


@lru_cache(maxsize=1)
def _prepared(
    refs: tuple[Any, Any, Any], spec: SurfaceSpec, stream: str
) -> tuple[ImageClassifier, list[Batch], Surface]:
    """Return a model, its images on the device, and its plane, which has the same list of batches.

    They are kept until this process turns to another model.
    """
    set_threads(1)
    keep_freed_memory()
    device = resolve_device("auto" if ray.get_gpu_ids() else "cpu")
    trained, images, code = ray.get(list(refs))
    assert isinstance(trained, TrainedModel)
    assert isinstance(images, EvaluationImages)
    assert isinstance(code, CodeSource)
    make_importable(code)
    model = trained.build(device)
    batches = images.batches(IMAGES_AT_ONCE[device.type], device)
    plane = plane_directions(dict(model.named_parameters()), spec.seed, stream, spec.orthogonal)
    return model, batches, Surface(model, plane, batches)
