from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from search_spaces.config.trial import TrialConfig
from tune_app.data import ImageArrays
from tune_app.training import EpochMetrics, fit

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.mark.parametrize("family", ["resnet", "cnn", "resnet18", "resnext", "densenet"])
def test_a_run_on_cuda_repeats_and_resumes_to_the_bit(
    arrays: ImageArrays,
    config_with: Callable[..., TrialConfig],
    figures: Callable[[list[EpochMetrics]], str],
    tmp_path: Path,
    family: str,
) -> None:
    config = config_with(model__family=family, model__width=None, augmentation__policy="crop_flip", epochs=2)
    undisturbed = figures(list(fit(config, arrays, device="cuda")))
    next(fit(config, arrays, device="cuda", checkpoints=tmp_path))
    assert figures(list(fit(config, arrays, device="cuda", checkpoints=tmp_path))) == undisturbed
