"""Measure the training speed: `fit` against the bare step (an upper bound) and against a textbook training loop.

All use a ResNet-14 (torch's batch norm), batches of 128, synthetic images of 32 x 32 x 3, crop and flip, SGD. Rounds
are interleaved, so that other load on the machine affects all of them; results are medians over rounds.

    python -m bench.training [--quick]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from time import perf_counter

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from search_spaces.config.trial import TrialConfig
from tune_app.data import ImageArrays
from tune_app.training import Probes, autocast, set_threads
from tune_app.training.epoch import train_epoch
from tune_app.training.state import Training, start

BATCH = 128
CPU = torch.device("cpu")
Sample = tuple[Tensor, int]


def synthetic_arrays(images: int, classes: int = 10, seed: int = 0) -> ImageArrays:
    """Return noise images of CIFAR's size; a fifth is held out for validation, and as many are added for the test."""
    rng = np.random.default_rng(seed)
    train, test = images * 5 // 4, images // 4
    pixels = rng.integers(0, 256, (train + test, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(train + test) % classes
    names = tuple(str(label) for label in range(classes))
    return ImageArrays(pixels[:train], labels[:train], pixels[train:], labels[train:], names, "0" * 16)


def trial_config() -> TrialConfig:
    return TrialConfig().with_values(
        {
            "model.depth": 14,
            "model.norm": "torch_batch",
            "optimizer.lr": 0.01,
            "augmentation.policy": "crop_flip",
            "batch_size": BATCH,
            "epochs": 1000,
        }
    )


def bare_steps(training: Training, steps: int) -> Callable[[], float]:
    """Return a function that repeats forward, backward and step on one loaded batch and returns images per second."""
    model = training.model
    x_NCHW, y_N = next(training.train.epoch(1))

    def round_() -> float:
        model.train()
        started = perf_counter()
        for _ in range(steps):
            step(training, x_NCHW, y_N)
        wait_for(training.device)
        return steps * len(y_N) / (perf_counter() - started)

    return round_


def step(training: Training, x_NCHW: Tensor, y_N: Tensor) -> None:
    """Take one step: forward, backward, optimizer, and nothing that `fit` does beside."""
    with autocast(training.precision, training.device):
        logits = training.model(x_NCHW)
    F.cross_entropy(logits.float(), y_N).backward()  # type: ignore[no-untyped-call]
    training.optimizer.step()
    training.optimizer.zero_grad(set_to_none=True)


def wait_for(device: torch.device) -> None:
    """Wait for a GPU; the CPU has nothing to wait for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class PilImages(Dataset[Sample]):
    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self._images = [Image.fromarray(image) for image in images]
        self._labels = labels.tolist()
        self._transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize((0.5, 0.5, 0.5), (0.29, 0.29, 0.29)),
            ]
        )

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Sample:
        return self._transform(self._images[index]), self._labels[index]


def textbook_epochs(
    model: nn.Module, dataset: PilImages, workers: int, batch: int = BATCH, device: torch.device = CPU
) -> Callable[[], float]:
    """Return a function that runs one epoch of a usual loop: DataLoader of PIL images, loss read after each step.

    Its precision is torch's default: float32, on CUDA with TF32 in convolutions.
    """
    model = model.to(memory_format=torch.contiguous_format)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    loader = DataLoader(dataset, batch_size=batch, shuffle=True, num_workers=workers)

    def round_() -> float:
        model.train()
        total_loss, correct = 0.0, 0
        started = perf_counter()
        for x_NCHW, y_N in loader:
            x_NCHW, y_N = x_NCHW.to(device), y_N.to(device)
            optimizer.zero_grad()
            logits = model(x_NCHW)
            loss = F.cross_entropy(logits, y_N)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total_loss += loss.item() * len(y_N)
            correct += (logits.argmax(1) == y_N).sum().item()
        return len(dataset) / (perf_counter() - started)

    return round_


def interleaved(rounds: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Return the results of each function, called in turns; the first call of each is a warm-up and is discarded."""
    figures: dict[str, list[float]] = {name: [] for name in rounds}
    for repeat in range(repeats + 1):
        for name, round_ in rounds.items():
            figure = round_()
            if repeat:
                figures[name].append(figure)
    return figures


def median_ratio(over: list[float], under: list[float]) -> float:
    """Return the median over rounds of one figure over the other of the same round."""
    return statistics.median(a / b for a, b in zip(over, under, strict=True))


def measure_training(images: int = 6400, repeats: int = 5, workers: int = 2) -> dict[str, float]:
    """Return images per second of the three loops and their ratios."""
    arrays = synthetic_arrays(images)
    fitted, bare, textbook = (start(trial_config(), arrays, CPU) for _ in range(3))
    split = bare.splits.train
    dataset = PilImages(arrays.train_images[split], arrays.train_labels[split])
    figures = interleaved(
        {
            "bare": bare_steps(bare, images // BATCH),
            "fit": lambda: train_epoch(fitted, Probes()).images_per_second,
            "textbook": textbook_epochs(textbook.model, dataset, workers),
        },
        repeats,
    )
    medians = {f"training.{name}_images_per_second": statistics.median(values) for name, values in figures.items()}
    return {
        **medians,
        "training.fit_over_bare": median_ratio(figures["fit"], figures["bare"]),
        "training.fit_over_textbook": median_ratio(figures["fit"], figures["textbook"]),
    }


def measure_probes(images: int = 3200, repeats: int = 5) -> dict[str, float]:
    """Return an epoch's seconds with the default probes over those without."""
    arrays = synthetic_arrays(images)
    probed, plain = (start(trial_config(), arrays, CPU) for _ in range(2))
    without = Probes(quantiles=False, norm_inputs=False, norms=False)
    figures = interleaved(
        {
            "probed": lambda: train_epoch(probed, Probes()).seconds,
            "plain": lambda: train_epoch(plain, without).seconds,
        },
        repeats,
    )
    return {"probes.overhead": median_ratio(figures["probed"], figures["plain"])}


def measure_side_by_side(images: int = 3200, repeats: int = 3) -> dict[str, float]:
    """Return the images per second of two trials at once, one thread each, over those of one trial on two threads."""
    figures = interleaved(
        {
            "together": lambda: sum(_images_per_second_of_processes([1, 1], images)),
            "alone": lambda: sum(_images_per_second_of_processes([2], images)),
        },
        repeats,
    )
    return {"training.two_trials_over_one": median_ratio(figures["together"], figures["alone"])}


def _images_per_second_of_processes(threads: list[int], images: int) -> Iterator[float]:
    program = [sys.executable, "-m", "bench.training", "--one-trial", str(images)]
    commands = [[*program, "--threads", str(n)] for n in threads]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    for process in processes:
        output, _ = process.communicate()
        assert process.returncode == 0
        yield float(output)


def one_trial(images: int, epochs: int = 3) -> float:
    """Return the median training speed of one trial's epochs after the first."""
    training = start(trial_config(), synthetic_arrays(images), CPU)
    speeds = [train_epoch(training, Probes()).images_per_second for _ in range(epochs + 1)]
    return statistics.median(speeds[1:])


def measure(quick: bool = False) -> dict[str, float]:
    """Return all figures of this file."""
    if quick:
        return {**measure_training(1280, repeats=3), **measure_probes(1280, repeats=3)}
    return {**measure_training(), **measure_probes(), **measure_side_by_side()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer images and rounds, one process")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--one-trial", type=int, metavar="IMAGES", help=argparse.SUPPRESS)
    options = parser.parse_args()
    set_threads(options.threads)
    if options.one_trial:
        print(one_trial(options.one_trial))
    else:
        print(json.dumps(measure(options.quick), indent=2))


if __name__ == "__main__":
    main()
