"""Random draws by key: what a draw is for determines its values, not what was drawn before it.

Two trainings with one seed therefore share every draw that they have in common, whatever else differs between them: the
initial values of a parameter of one name and shape, the order of an epoch, the crops of an epoch. Nothing needs to be
stored to resume.
"""

from __future__ import annotations

import hashlib

import torch


def keyed_seed(*key: int | str) -> int:
    """Return a seed below 2^63 for a key such as ``(trial seed, epoch, "order")``: SHA-256 of the key, cut."""
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return int.from_bytes(digest[:8], "big") % 2**63


def keyed_generator(*key: int | str, device: str | torch.device = "cpu") -> torch.Generator:
    """Return a torch generator seeded by `keyed_seed`.

    Torch's CPU generator uses 32 bits of a seed, so two of 100 keys share a stream with a probability of about 1e-6.
    """
    return torch.Generator(device).manual_seed(keyed_seed(*key))
