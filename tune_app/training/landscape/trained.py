"""A trained model, read from its checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from search_spaces.config.trial import TrialConfig
from search_spaces.errors import StudyError
from tune_app.data import ImageArrays
from tune_app.models import ImageClassifier, build_model
from tune_app.storage import BEST
from tune_app.training.checkpoints import CorruptCheckpoint, read_checkpoint


@dataclass(frozen=True)
class TrainedModel:
    """Everything that is needed to rebuild a trained model, weights on the CPU."""

    config: TrialConfig
    channels: int
    classes: int
    resolution: int
    state: dict[str, Tensor]

    def build(self, device: torch.device) -> ImageClassifier:
        """Return the model on a device, in float32 and channels last. Draws no random numbers."""
        with torch.device("meta"):
            model = build_model(self.config.model, self.channels, self.classes, self.resolution)
        model.load_state_dict({name: tensor.clone() for name, tensor in self.state.items()}, assign=True)
        return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def read_best(folder: Path | str, config: TrialConfig, arrays: ImageArrays) -> TrainedModel:
    """Return the model of the best epoch of the trial of ``config``, from ``best.pt`` in its folder of checkpoints.

    StudyError if there is none, or if it is damaged or of another trial.
    """
    try:
        payload = read_checkpoint(folder, BEST, torch.device("cpu"))
    except FileNotFoundError:
        raise StudyError(
            f"{folder}/{BEST} does not exist: the study has no `keep: [best]`, or its results were moved without "
            "the checkpoints; train it again with `keep: [best]`"
        ) from None
    except CorruptCheckpoint as error:
        raise StudyError(f"{error}; train the trial again") from None
    if payload["digest"] != config.digest() or payload["fingerprint"] != arrays.fingerprint:
        raise StudyError(
            f"{folder}/{BEST} is of trial {payload['digest']} on data {payload['fingerprint']}, not of "
            f"{config.digest()} on {arrays.fingerprint}; use the data that it was trained on"
        )
    _, height, _, channels = arrays.train_images.shape
    resolution = config.data.resolution or height
    return TrainedModel(config, channels, len(arrays.classes), resolution, payload["model"])
