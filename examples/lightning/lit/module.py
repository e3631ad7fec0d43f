"""A lightning module that classifies wines."""

import lightning
import torch
from torch import Tensor, nn


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
