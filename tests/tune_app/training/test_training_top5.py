"""Top-5 accuracy is one entry of IMAGE_QUANTITIES, and then a metric of every split."""

import torch
from torch.nn import functional as F

from search_spaces.metrics import IMAGE_METRICS
from search_spaces.study_files import study_from
from tune_app.training.metrics import Tally


def test_top5_accuracy_counts_the_images_whose_class_is_among_the_five_best():
    logits = torch.randn(50, 12, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(50) % 12
    tally = Tally(12, torch.device("cpu"))
    for part in (slice(0, 20), slice(20, 50)):
        tally.add(logits[part], labels[part], F.cross_entropy(logits[part], labels[part]))
    among = (logits.topk(5).indices == labels[:, None]).any(1)
    assert tally.result().top5_accuracy == among.double().mean().item()
    assert tally.result().top5_accuracy > tally.result().accuracy


def test_a_study_can_be_about_it_and_chooses_by_its_validation_figure():
    spec = study_from({"name": "x", "factors": {"model.norm": ["none"]}, "metric": "test_top5_accuracy"})
    assert spec.choose_by_metric() == "val_top5_accuracy"
    assert IMAGE_METRICS["val_top5_accuracy"].axis == "validation top-5 accuracy (%)"
