"""Packages of users outside the repository, as the tests write them: a training function; images and a network."""

from pathlib import Path

import yaml

# The module imports torch where it trains: the child process that reads its parameters then starts four times as fast.
TRAIN = """
from dataclasses import dataclass

STEP = 0.1  # a constant of the training


@dataclass(frozen=True)
class Config:
    width: int = 4
    lr: float = 0.05
    fail: str = ""


def train(config: Config, context):
    import torch
    from torch import nn

    data = context.generator("data")
    x = torch.randn(64, 3, generator=data)
    y = x.sum(1, keepdim=True) + STEP
    net = nn.Sequential(nn.Linear(3, config.width), nn.ReLU(), nn.Dropout(0.1), nn.Linear(config.width, 1))
    opt = torch.optim.Adam(net.parameters(), config.lr)
    first = context.register(net=net, opt=opt)
    for epoch in range(first, context.epochs + 1):
        if config.fail == "raise" and epoch == 2:
            raise ValueError("the data has no column 'age'")
        net.train()
        loss = (net(x) - y).square().mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        net.eval()
        with torch.no_grad():
            val = (net(x) - y).square().mean()
        yield {"train_loss": loss, "val_loss": float("nan") if config.fail == "nan" else val}
    context.load_best()
    with torch.no_grad():
        yield context.final({"test_loss": (net(x) - y).square().mean(), "parameters": sum(p.numel() for p in net.parameters())})
"""

STUDY = {
    "name": "own",
    "question": "Does width matter?",
    "task": {"run": "own_pkg.train:train"},
    "baseline": {"args": {"lr": 0.05}, "epochs": 4},
    "factors": {"args.width": [4, 8]},
    "metrics": {"val_loss": {"better": "lower", "unit": "nats"}, "test_loss": {"better": "lower", "unit": "nats"}},
    "metric": "test_loss",
    "rope": 0.0,
    "seeds": 2,
    "resources": {"gpu": 0.0},
    "checkpoint_seconds": 0.0,
}


def write_package(folder: Path, code: str = TRAIN, **changes) -> Path:
    """Write the package and a study file that refers to it; return the study file."""
    package = folder / "own_pkg"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").touch()
    (package / "train.py").write_text(code)
    study = folder / "own.yaml"
    study.write_text(yaml.safe_dump(STUDY | changes))
    return study


IMAGES = """
import numpy as np
from torch import nn


def load(n: int = 60):
    rng = np.random.default_rng(0)

    def split(count):
        labels = np.arange(count) % 3
        images = rng.integers(0, 100, (count, 8, 8))
        for label in range(3):
            images[labels == label, 2 * label : 2 * label + 2] += 120
        return images.astype(np.uint8), labels

    return {"train": split(n), "test": split(30), "classes": ["top", "middle", "bottom"]}


def linear(channels, classes, resolution, hidden: int = 8):
    size = channels * resolution**2
    return nn.Sequential(nn.Flatten(), nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, classes))
"""

IMAGE_STUDY = {
    "name": "own-images",
    "baseline": {
        "data": {"source": "own_images_pkg.images:load", "validation_fraction": 0.2},
        "model": {"family": "own_images_pkg.images:linear"},
        "optimizer": {"lr": 0.05},
        "batch_size": 16,
        "epochs": 2,
        "precision": "float32",
    },
    "factors": {"model.args.hidden": [4, 8]},
    "seeds": 1,
    "resources": {"gpu": 0.0},
}


def write_image_package(folder: Path) -> Path:
    """Write a package with images and a network, and a study of them; return the study file."""
    package = folder / "own_images_pkg"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").touch()
    (package / "images.py").write_text(IMAGES)
    study = folder / "own-images.yaml"
    study.write_text(yaml.safe_dump(IMAGE_STUDY))
    return study
