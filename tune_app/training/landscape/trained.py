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


def read_best(
    folder: Path | str, config: TrialConfig, arrays: ImageArrays, chosen: tuple[int, float] | None = None
) -> TrainedModel:
    """Return the model of the best epoch of the trial of ``config``, from ``best.pt`` in its folder of checkpoints.

    ``chosen`` is the best epoch of the trial's row and the value of the metric that chose it: two runs that wrote one
    store at the same time may have left the model of another epoch. StudyError if there is no such file, or if it is
    damaged, of another trial or of another epoch.
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
    found = (payload["epoch"], payload.get("value", payload.get("val_accuracy")))  # the latter: of the first release
    if chosen is not None and found != chosen:
        raise StudyError(
            f"{folder}/{BEST} is of epoch {found[0]} with the value {found[1]}, but the trial's row has its best epoch "
            f"{chosen[0]} with {chosen[1]}: two runs wrote this store; remove the row and the checkpoints of "
            f"{config.digest()}, and train it again"
        )
    _, height, _, channels = arrays.train_images.shape
    resolution = config.data.resolution or height
    return TrainedModel(config, channels, len(arrays.classes), resolution, payload["model"])
