"""Classify scikit-learn's 178 wines with lightning, through `lit.adapter`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from sklearn.datasets import load_wine
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from tune_app import Context


def train(context: Context, width: int = 32, lr: float = 1e-2, norm: bool = False) -> Iterator[Mapping[str, float]]:
    """Train one epoch at a time and yield what the module logged."""
    from lit.adapter import TrainerState  # lightning takes seconds to import, and reading the study does not need it
    from lit.module import WineModule

    x, y = load_wine(return_X_y=True)
    data = TensorDataset(torch.tensor((x - x.mean(0)) / x.std(0), dtype=torch.float32), torch.tensor(y))
    parts = torch.utils.data.random_split(data, [90, 44, 44], context.generator("split"))
    with TemporaryDirectory() as folder:
        module = WineModule(width, lr, norm)
        state = TrainerState(module, Path(folder) / "trainer.ckpt", accelerator=context.device.type, devices=1)
        for epoch in range(context.register(trainer=state), context.epochs + 1):
            order = context.generator(f"order {epoch}")
            train_loader = DataLoader(parts[0], 16, shuffle=True, generator=order)
            logged = state.fit(epoch, train_loader, DataLoader(parts[1], 44))
            yield {name: logged[name] for name in ("train_loss", "val_loss")}
        context.load_best()
        inputs, labels = next(iter(DataLoader(parts[2], 44)))
        with torch.no_grad():
            logits = module.cpu().eval().net(inputs)
        yield context.final({"test_loss": cross_entropy(logits, labels).item()})
