"""Run a lightning Trainer one epoch at a time, with all of its state in one object that can be registered."""

import logging
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # a Trainer for each epoch would repeat its notes

QUIET = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)


class TrainerState:
    """A module and the file of lightning's checkpoint: weights, optimizers, schedules, loops and callbacks."""

    def __init__(self, module: lightning.LightningModule, file: Path, **options: Any) -> None:
        self.module, self.file, self._options = module, file, QUIET | options

    def fit(self, epoch: int, *loaders: Any) -> dict[str, float]:
        """Train up to and including an epoch (from 1), and return the metrics that the module logged."""
        trainer = lightning.Trainer(max_epochs=epoch, **self._options)
        trainer.fit(self.module, *loaders, ckpt_path=self.file if self.file.exists() else None, weights_only=False)
        trainer.save_checkpoint(self.file)
        return {name: float(value) for name, value in trainer.callback_metrics.items()}

    def state_dict(self) -> dict[str, Tensor]:
        """Return the checkpoint's bytes as a tensor."""
        return {"file": torch.frombuffer(bytearray(self.file.read_bytes()), dtype=torch.uint8)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Write the checkpoint back, and load its weights into the module."""
        self.file.write_bytes(state["file"].numpy().tobytes())
        self.module.load_state_dict(torch.load(self.file, map_location="cpu", weights_only=False)["state_dict"])
