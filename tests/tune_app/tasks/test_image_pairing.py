from __future__ import annotations

from typing import Any

import pytest
import torch

from search_spaces.config.trial import TrialConfig
from search_spaces.study_files import study_from
from tune_app.data import load_source, source_key
from tune_app.models import build_model
from tune_app.models.registry import describe_networks
from tune_app.tasks.image_pairing import operations, pairing_notes, shared_weights

SMALL = {"model": {"depth": 8, "width": 4}, "data": {"source": "digits"}}


def notes(factors: dict[str, Any], **changes: Any) -> list[str]:
    spec = study_from({"name": "x", "baseline": SMALL, "factors": factors, "seeds": 3, **changes})
    data = spec.baseline.data
    return pairing_notes(spec, {source_key(data): load_source(data)})


def test_arms_that_share_all_are_one_sentence() -> None:
    assert notes({"model.norm": ["batch", "layer", "none"], "optimizer.lr": [0.1, 0.2, 0.3]}) == [
        "shared with baseline at each seed: all initial weights, split, order "
        "(norm=layer, norm=none, lr=0.2 and 1 more)"
    ]


def test_a_deeper_arm_shares_the_blocks_of_the_shallower_one() -> None:
    (note,) = notes({"model.depth": [8, 14]})
    assert note.startswith("shared with depth=8 at each seed: 8 of 14 initial weight tensors (")
    (note,) = notes({"model.depth": [8, 14]}, baseline=SMALL | {"model": {"depth": 14, "width": 4}})
    assert note == "shared with depth=14 at each seed: all initial weights, split, order (depth=8)"


def test_policies_name_the_operations_that_both_have() -> None:
    factors = {"augmentation.policy": ["randaugment", "crop_flip", "none"]}
    found = notes(factors, baseline=SMALL | {"augmentation": {"policy": "randaugment"}})
    assert [note.split(": ", 1)[1] for note in found] == [
        "all initial weights, split, order, crop and flip of the augmentation (augmentation=crop_flip)",
        "all initial weights, split, order (augmentation=none)",
    ]


def test_other_images_share_no_order() -> None:
    (note,) = notes({"data.train_size": [200, 100]})
    assert "all initial weights, no split, order or augmentation (other images)" in note


def test_what_is_said_of_weights_is_what_two_networks_of_one_seed_have() -> None:
    configs = [
        TrialConfig().with_values({"model.width": 4, **values}).model
        for values in ({"model.depth": 8}, {"model.depth": 14}, {"model.family": "plain", "model.conv_bias": True})
    ]
    described = [answer["weights"] for answer in describe_networks([(c.model_dump(), 1, 8, 10) for c in configs])]
    networks = [dict(build_model(config, 1, 10, 8, seed=3).named_parameters()) for config in configs]
    for i, one in enumerate(networks):
        for j, other in enumerate(networks):
            equal = [n for n in described[i] if n in other and torch.equal(one[n], other[n])]
            share = sum(one[n].numel() for n in equal) / sum(one[n].numel() for n in described[i])
            assert shared_weights(described[i], described[j]) == (len(equal), pytest.approx(share))


def test_operations_are_those_that_a_policy_draws() -> None:
    def of(**fields: Any) -> dict[str, Any]:
        return operations(TrialConfig.model_validate({"augmentation": fields}))

    assert of(policy="none") == {}
    assert of(policy="crop_flip", padding=0, flip=False) == {}
    assert set(of(policy="randaugment", operations=2)) == {"round 1", "round 2", "crop", "flip"}


def test_one_seed_and_a_search_have_no_pairs() -> None:
    assert notes({"model.norm": ["batch", "none"]}, seeds=1) == []
    spec = study_from({"name": "x", "mode": "search", "baseline": SMALL, "space": {"model.depth": [8, 14]}})
    assert pairing_notes(spec, {}) == []
