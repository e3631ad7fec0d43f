"""A small network predicts the progression of diabetes from ten measurements (data bundled with scikit-learn)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from sklearn.datasets import load_diabetes
from torch import Tensor, nn

from tune_app import Context


@dataclass(frozen=True)
class Config:
    """What a study can set under ``args``."""

    width: int = 32
    norm: Literal["none", "batch"] = "none"
    dropout: float = 0.0
    lr: float = 3e-3
    batch_size: int = 32


def splits(generator: torch.Generator) -> dict[str, tuple[Tensor, Tensor]]:
    """Return 262 training, 90 validation and 90 test patients; the target has mean 0 and deviation 1."""
    x, y = (torch.tensor(array, dtype=torch.float32) for array in load_diabetes(return_X_y=True))
    x, y = x / x.std(0), (y - y.mean()) / y.std()
    order = torch.randperm(len(x), generator=generator)
    return {name: (x[i], y[i]) for name, i in zip(("val", "test", "train"), order.split([90, 90, 262]), strict=True)}


def network(config: Config) -> nn.Sequential:
    """Return a network with two hidden layers."""
    layers: list[nn.Module] = []
    for inputs in (10, config.width):
        norm = [nn.BatchNorm1d(config.width)] if config.norm == "batch" else []
        layers += [nn.Linear(inputs, config.width), *norm, nn.ReLU(), nn.Dropout(config.dropout)]
    return nn.Sequential(*layers, nn.Linear(config.width, 1), nn.Flatten(0))


def train(config: Config, context: Context) -> Iterator[Mapping[str, float]]:
    """Train and yield the losses of each epoch; the seed also draws the split, the same for all arms."""
    parts = splits(context.generator("split"))
    data = {name: (x.to(context.device), y.to(context.device)) for name, (x, y) in parts.items()}
    net = network(config).to(context.device)
    optimizer = torch.optim.AdamW(net.parameters(), config.lr)
    first = context.register(net=net, optimizer=optimizer)
    x, y = data["train"]
    for epoch in range(first, context.epochs + 1):
        net.train()
        for batch in torch.randperm(len(x), generator=context.generator(f"order {epoch}")).split(config.batch_size):
            optimizer.zero_grad()
            nn.functional.mse_loss(net(x[batch]), y[batch]).backward()
            optimizer.step()
        yield {"train_rmse": rmse(net, *data["train"]), "val_rmse": rmse(net, *data["val"])}
    context.load_best()
    yield context.final({"test_rmse": rmse(net, *data["test"])})


@torch.no_grad()
def rmse(net: nn.Module, x: Tensor, y: Tensor) -> float:
    """Return the root mean squared error in standard deviations of the target."""
    return float(nn.functional.mse_loss(net.eval()(x), y).sqrt())
