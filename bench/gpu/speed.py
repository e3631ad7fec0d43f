"""Part `speed`: images per second of the bare step, of `fit` and of a textbook loop; what memory bandwidth allows.

The roofline is that of memory: every layer reads its input and writes its output in the forward pass, and moves twice
that in the backward pass; the optimizer reads weights, gradients and momentum and writes two of them. Sums with
shortcuts, augmentation and the second pass of norms are left out, so the share of the roofline is underestimated.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from time import perf_counter

import torch
from torch import Tensor, nn

from bench.gpu.results import Check, Measured
from bench.gpu.settings import Settings
from bench.norms import TORCH_NORMS, passes
from bench.training import (
    PilImages,
    bare_steps,
    interleaved,
    median_ratio,
    step,
    synthetic_arrays,
    textbook_epochs,
    trial_config,
    wait_for,
)
from search_spaces.config.sections import Norm
from search_spaces.config.trial import ModelConfig, TrialConfig
from tune_app.models.norms import NORMS
from tune_app.training import Probes, autocast
from tune_app.training.epoch import train_epoch
from tune_app.training.seeding import GlobalStreams
from tune_app.training.state import Training, start

STEPS = {8: 200, 128: 100, 1024: 25}
ROUNDS = 5


def checks(settings: Settings) -> Iterator[Check]:
    """Yield the measurements of speed."""
    yield Check("copy", "bandwidth of a copy on the device: bytes read and written", partial(_copy, settings))
    what = "training speed on noise images, crop and flip, SGD, torch's batch norm, precision auto; the textbook loop: "
    what += "DataLoader workers, torch's default precision (TF32 in convolutions), the loss read after each step"
    for depth in (8,) if settings.smoke else (14, 56):
        for batch in (16,) if settings.smoke else STEPS:
            yield Check(f"ResNet-{depth}, batch {batch}", what, partial(_loops, settings, depth, batch))
    what = "speed of the bare step as a CUDA graph and under torch.compile, over the bare step; not part of the product"
    for depth in (8,) if settings.smoke else (14, 56):
        yield Check(f"ResNet-{depth} as a CUDA graph", what, partial(_graph, settings, depth))
    yield Check("ResNet-14 under torch.compile", what, partial(_compiled, settings))
    what = "seconds of forward and backward of the hand-written norm over torch.nn's, on 16 x 32 x 32 activations"
    for name in TORCH_NORMS:
        yield Check(f"norm {name}", what, partial(_norm, settings, name))


def resnet(settings: Settings, depth: int, batch: int) -> TrialConfig:
    """Return the config whose speed is measured."""
    width = 4 if settings.smoke else 16
    return trial_config().with_values({"model.depth": depth, "model.width": width, "batch_size": batch})


def _training(settings: Settings, depth: int, batch: int) -> Training:
    images = batch * (4 if settings.smoke else STEPS[batch])
    return start(resnet(settings, depth, batch), synthetic_arrays(images), settings.device)


def _loops(settings: Settings, depth: int, batch: int) -> Mapping[str, Measured]:
    fitted, bare, strict, textbook = (_training(settings, depth, batch) for _ in range(4))
    steps = fitted.train.steps_per_epoch
    split, arrays = textbook.splits.train, textbook.arrays
    dataset = PilImages(arrays.train_images[split], arrays.train_labels[split])
    workers = 0 if settings.smoke else max(1, (os.cpu_count() or 1) // 2)
    strict_steps = bare_steps(strict, steps)

    def deterministic() -> float:
        with GlobalStreams(0, settings.device).active():
            return strict_steps()

    speeds = interleaved(
        {
            "bare step": bare_steps(bare, steps),
            "bare step, deterministic": deterministic,
            "fit": lambda: train_epoch(fitted, Probes()).images_per_second,
            "textbook loop": textbook_epochs(textbook.model, dataset, workers, batch, settings.device),
        },
        1 if settings.smoke else ROUNDS,
    )
    medians = {f": {name}": Measured(statistics.median(values), "images/s") for name, values in speeds.items()}
    seconds = batch / statistics.median(speeds["fit"])
    floor = bytes_of_step(fitted) / bandwidth(settings)
    return medians | {
        ": fit over bare step": Measured(median_ratio(speeds["fit"], speeds["bare step"])),
        ": fit over textbook loop": Measured(median_ratio(speeds["fit"], speeds["textbook loop"])),
        ": fit, share of the memory roofline": Measured(floor / seconds),
    }


def _copy(settings: Settings) -> Mapping[str, Measured]:
    return {"": Measured(bandwidth(settings) / 1e9, "GB/s")}


def bandwidth(settings: Settings) -> float:
    """Return the bytes per second that a copy on the device reads and writes, the best of some."""
    source = torch.ones((1 << 20) if settings.smoke else (1 << 30), dtype=torch.uint8, device=settings.device)
    target = torch.empty_like(source)

    def copy() -> float:
        began = perf_counter()
        target.copy_(source)
        wait_for(settings.device)
        return 2 * source.numel() / (perf_counter() - began)

    return max(copy() for _ in range(10))


def bytes_of_step(training: Training) -> float:
    """Return the bytes that a step moves at least, by the model at the head of this file."""
    moved: list[int] = []

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        moved.append(sum(tensor.numel() * tensor.element_size() for tensor in (inputs[0], output)))

    leaves = [module for module in training.model.modules() if not list(module.children())]
    handles = [leaf.register_forward_hook(hook) for leaf in leaves]
    x_NCHW, _ = next(training.train.epoch(1))
    with torch.no_grad(), autocast(training.precision, training.device):
        training.model(x_NCHW)
    for handle in handles:
        handle.remove()
    parameters = sum(parameter.numel() * parameter.element_size() for parameter in training.model.parameters())
    return 3 * sum(moved) + 5 * parameters


def _graph(settings: Settings, depth: int) -> Mapping[str, Measured]:
    """Capture forward, backward and optimizer step on one batch, and replay them."""
    if settings.device.type != "cuda":
        return {"": Measured(None)}
    training = _training(settings, depth, 128)
    x_NCHW, y_N = next(training.train.epoch(1))
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step(training, x_NCHW, y_N)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step(training, x_NCHW, y_N)
    steps = STEPS[128]

    def replay() -> float:
        began = perf_counter()
        for _ in range(steps):
            graph.replay()
        wait_for(settings.device)
        return steps * len(y_N) / (perf_counter() - began)

    return _over_bare(replay, _training(settings, depth, 128), steps)


def _compiled(settings: Settings) -> Mapping[str, Measured]:
    training = _training(settings, 8 if settings.smoke else 14, 16 if settings.smoke else 128)
    other = _training(settings, 8 if settings.smoke else 14, 16 if settings.smoke else 128)
    training.model = torch.compile(training.model, backend="eager" if settings.smoke else "inductor")  # type: ignore[assignment]
    steps = training.train.steps_per_epoch
    return _over_bare(bare_steps(training, steps), other, steps)


def _over_bare(round_: Callable[[], float], bare: Training, steps: int) -> Mapping[str, Measured]:
    speeds = interleaved({"this": round_, "bare": bare_steps(bare, steps)}, 3)
    return {
        "": Measured(statistics.median(speeds["this"]), "images/s"),
        ": over the bare step": Measured(median_ratio(speeds["this"], speeds["bare"])),
    }


def _norm(settings: Settings, name: Norm) -> Mapping[str, Measured]:
    shape = (4, 16, 8, 8) if settings.smoke else (1024, 16, 32, 32)
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        ours, theirs = NORMS[name](ModelConfig(norm=name), shape[1]), TORCH_NORMS[name](shape[1])
        seconds = interleaved(
            {
                "ours": passes(ours, dtype, settings.device, shape),
                "theirs": passes(theirs, dtype, settings.device, shape),
            },
            1 if settings.smoke else 7,
        )
        found[f": {str(dtype).removeprefix('torch.')}"] = Measured(median_ratio(seconds["ours"], seconds["theirs"]))
    return found
