"""``best.pt`` and ``last.pt`` of one trial, in a folder or under an fsspec URL.

A file is the output of ``torch.save`` (plain data and tensors: ``torch.load(path, weights_only=True)`` reads it)
followed by its SHA-256. It is written atomically. ``last.pt`` contains everything that is needed to resume, the best
model included, so the two files do not have to be consistent with each other.
"""

from __future__ import annotations

import hashlib
import io
import logging
import pickle
from pathlib import Path
from typing import Any

import torch

from tune_app.storage import LAST, Folder

FORMAT = 2
"""2: figures by name, and the metric that chose the best epoch. Training resumes only from this format."""
READABLE = (1, 2)

_CHECKSUM_BYTES = hashlib.sha256().digest_size
_log = logging.getLogger(__name__)

Payload = dict[str, Any]


class CorruptCheckpoint(ValueError):  # noqa: N818
    """A checkpoint file that is truncated, modified, or of another format."""


class CheckpointFolder:
    """The two checkpoints of a trial, identified by the digest of its config and the fingerprint of its data."""

    def __init__(self, folder: Path | str, digest: str, fingerprint: str) -> None:
        self._folder = folder
        self._identity = {"digest": digest, "fingerprint": fingerprint}

    def write(self, name: str, payload: Payload) -> None:
        """Write a checkpoint together with the trial's digest and fingerprint."""
        write_checkpoint(self._folder, name, {**self._identity, **payload})

    def read_last(self, device: torch.device) -> Payload | None:
        """Return the payload of ``last.pt``; None if there is none to resume from (logged if it is unusable)."""
        try:
            payload = read_checkpoint(self._folder, LAST, device)
        except FileNotFoundError:
            return None
        except CorruptCheckpoint as error:
            _log.warning("%s; training restarts from the first epoch", error)
            return None
        if payload["format"] != FORMAT:
            _log.warning(
                "%s/%s is of an earlier release; training starts again from the first epoch", self._folder, LAST
            )
            return None
        found = {key: payload.get(key) for key in self._identity}
        if found != self._identity:
            _log.warning(
                "%s/%s belongs to %s, not to %s; training starts from the first epoch and replaces it",
                *(self._folder, LAST, found, self._identity),
            )
            return None
        return payload


def write_checkpoint(folder: Path | str, name: str, payload: Payload) -> None:
    """Write ``folder/name`` atomically."""
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **payload}, buffer)
    data = buffer.getvalue()
    Folder(folder).write(name, data + hashlib.sha256(data).digest())


def read_checkpoint(folder: Path | str, name: str, device: torch.device) -> Payload:
    """Return the payload of ``folder/name`` with its tensors on ``device``.

    FileNotFoundError if there is no such file, CorruptCheckpoint if its content is not what was written.
    """
    content = Folder(folder).read(name)
    data, checksum = content[:-_CHECKSUM_BYTES], content[-_CHECKSUM_BYTES:]
    if hashlib.sha256(data).digest() != checksum:
        raise CorruptCheckpoint(f"{folder}/{name} is truncated or modified: its SHA-256 does not match")
    try:
        payload: Payload = torch.load(io.BytesIO(data), map_location=device, weights_only=True)
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise CorruptCheckpoint(f"{folder}/{name} is not a checkpoint: {error}") from error
    if payload.get("format") not in READABLE:
        raise CorruptCheckpoint(
            f"{folder}/{name} has format {payload.get('format')!r}, but this version reads {FORMAT}"
        )
    return payload
