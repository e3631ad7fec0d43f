"""A lightning module that classifies scikit-learn's wines, trained through `lit.adapter`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import lightning
import torch
from sklearn.datasets import load_wine
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lit.adapter import TrainerState
from tune_app.tasks import Context


class WineModule(lightning.LightningModule):
    """A network with one hidden layer that logs ``train_loss`` and ``val_loss``."""

    def __init__(self, width: int, lr: float, norm: bool) -> None:
        super().__init__()
        hidden = nn.BatchNorm1d(width) if norm else nn.Identity()
        self.net, self.lr = nn.Sequential(nn.Linear(13, width), hidden, nn.ReLU(), nn.Linear(width, 3)), lr

    def training_step(self, batch: list[Tensor]) -> Tensor:
        """Return the loss of a batch; its mean over the epoch is logged."""
        loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log("train_loss", loss, on_epoch=True, on_step=False)
        return loss

    def validation_step(self, batch: list[Tensor]) -> None:
        """Log the loss of a batch."""
        self.log("val_loss", nn.functional.cross_entropy(self.net(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW."""
        return torch.optim.AdamW(self.parameters(), self.lr)


def train(context: Context, width: int = 32, lr: float = 1e-2, norm: bool = False) -> Iterator[Mapping[str, float]]:
    """Train one epoch at a time and yield what the module logged."""
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
        yield context.final({"test_loss": nn.functional.cross_entropy(logits, labels).item()})
