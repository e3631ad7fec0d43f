from __future__ import annotations

import hashlib

import torch

from tune_app.draws import keyed_generator, keyed_seed


def test_a_seed_is_the_first_eight_bytes_of_the_hash_of_its_key() -> None:
    digest = hashlib.sha256(b"3/2/order").hexdigest()
    assert keyed_seed(3, 2, "order") == int(digest[:16], 16) % 2**63


def test_each_part_of_a_key_changes_the_draws_and_nothing_else_does() -> None:
    torch.rand(3)
    keys = [(3, 2, "order"), (4, 2, "order"), (3, 1, "order"), (3, 2, "augmentation", "crop"), (3, 2, "augmentation")]
    drawn = [tuple(torch.rand(4, generator=keyed_generator(*key)).tolist()) for key in keys]
    assert len(set(drawn)) == len(keys)
    torch.rand(3)
    assert tuple(torch.rand(4, generator=keyed_generator(3, 2, "order")).tolist()) == drawn[0]


def test_streams_of_neighbouring_keys_are_uncorrelated() -> None:
    n = 4000
    drawn = torch.stack([torch.randn(n, generator=keyed_generator(seed, 1, "x")) for seed in range(8)])
    correlations = torch.corrcoef(drawn) - torch.eye(8)
    assert correlations.abs().max() < 4.5 / n**0.5
