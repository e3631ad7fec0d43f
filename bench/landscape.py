"""Measure the speed of a loss landscape: the points of a grid on Ray against a plain loop in one process."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Sequence
from time import perf_counter

import ray
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.training import interleaved, median_ratio, synthetic_arrays
from search_spaces.config.trial import TrialConfig
from tune_app.models import build_model
from tune_app.training import keep_freed_memory
from tune_app.training.landscape import EvaluationImages, TrainedModel, evaluation_images, plane_directions
from tune_app.tuning.landscape.task import SurfaceSpec, landscape_part
from tune_app.tuning.session import ray_session
from tune_app.user_code import CodeSource

WORKERS = 2
IMAGES = 500


def measure(points: int = 7, repeats: int = 3) -> dict[str, float]:
    """Return the medians over interleaved rounds, of a ResNet-14 on 500 images of 32 x 32.

    ``landscape.over_serial``: points per second with two workers of one thread each, over those of a straightforward
    loop in this process: a state dict loaded for each point, batches of 128 in torch's default memory format, a
    synchronisation after each batch, torch's default number of threads. ``landscape.over_serial_keeping_memory``: the
    same if this process also retains the memory that it frees, which is most of the difference. Ray's start is not
    included, since it does not depend on the number of points; each worker has its model before the clock starts.
    """
    config = TrialConfig().with_values({"model.depth": 14, "model.norm": "torch_batch", "data.test_size": IMAGES})
    arrays = synthetic_arrays(4 * IMAGES)
    torch.set_num_threads(os.cpu_count() or 1)
    trained = trained_model(config)
    images = evaluation_images(config, arrays, "test", IMAGES)
    spec = SurfaceSpec(points=points, images=IMAGES)
    with ray_session():
        refs = (ray.put(trained), ray.put(images), ray.put(CodeSource()))
        remote = ray.remote(num_cpus=1, max_calls=0)(landscape_part)
        ray.get([remote.remote(refs, spec, "", row) for row in range(2 * WORKERS)])
        rounds = {
            "serial": lambda: 2 * points / _timed(lambda: serial_points(trained, plain_batches(images), spec, rows=2)),
            "ray": lambda: (
                points
                * (points - 1)
                / _timed(lambda: ray.get([remote.remote(refs, spec, "", row) for row in range(points - 1)]))
            ),
        }
        plain = interleaved(rounds, repeats)
        keep_freed_memory()
        keeping = interleaved(rounds, repeats)
    return {
        "landscape.points_per_second": statistics.median(plain["ray"]),
        "landscape.serial_points_per_second": statistics.median(plain["serial"]),
        "landscape.over_serial": median_ratio(plain["ray"], plain["serial"]),
        "landscape.over_serial_keeping_memory": median_ratio(keeping["ray"], keeping["serial"]),
    }


def trained_model(config: TrialConfig) -> TrainedModel:
    """Return a model with its initial weights: the time of a point does not depend on the weights."""
    torch.manual_seed(0)
    state = build_model(config.model, 3, 10, 32).state_dict()
    return TrainedModel(config, 3, 10, 32, state)


def plain_batches(images: EvaluationImages) -> list[tuple[Tensor, Tensor]]:
    """Return batches of 128 images (B, C, H, W) in torch's default memory format, in memory already."""
    return [(x_NCHW.contiguous(), y_N) for x_NCHW, y_N in images.batches(128)]


def serial_points(
    trained: TrainedModel, batches: Sequence[tuple[Tensor, Tensor]], spec: SurfaceSpec, rows: int
) -> list[float]:
    """Return the losses of the first rows of a grid, the straightforward way."""
    model = build_model(trained.config.model, trained.channels, trained.classes, trained.resolution)
    model.load_state_dict(trained.state)
    first, second = plane_directions(dict(model.named_parameters()), spec.seed)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    losses = []
    for y in spec.axis[:rows]:
        for x in spec.axis:
            moved = {
                name: tensor + x * first[name] + y * second[name] if name in first else tensor
                for name, tensor in state.items()
            }
            model.load_state_dict(moved)
            losses.append(_mean_loss(model, batches))
    return losses


def _mean_loss(model: nn.Module, batches: Sequence[tuple[Tensor, Tensor]]) -> float:
    model.eval()
    total, images = 0.0, 0
    with torch.no_grad():
        for x, y in batches:
            logits = model(x)
            total += F.cross_entropy(logits, y, reduction="sum").item()
            images += len(y)
            (logits.argmax(1) == y).sum().item()
    return total / images


def _timed(action: Callable[[], object]) -> float:
    began = perf_counter()
    action()
    return perf_counter() - began
