from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from tune_app.storage import LAST
from tune_app.training.checkpoints import (
    CheckpointFolder,
    CorruptCheckpoint,
    read_checkpoint,
    write_checkpoint,
)

CPU = torch.device("cpu")
PAYLOAD = {"model": {"w": torch.arange(5.0)}, "history": [{"loss": float("nan"), "epochs": (1, 2)}], "best": None}


def test_a_checkpoint_comes_back_as_it_was_and_torch_reads_it_too(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "trial", LAST, PAYLOAD)
    found = read_checkpoint(tmp_path / "trial", LAST, CPU)
    assert torch.equal(found["model"]["w"], torch.arange(5.0))
    assert repr(found["history"]) == repr(PAYLOAD["history"])
    assert torch.equal(torch.load(tmp_path / "trial" / LAST, weights_only=True)["model"]["w"], torch.arange(5.0))
    assert [path.name for path in (tmp_path / "trial").iterdir()] == [LAST]


def test_a_checkpoint_can_be_at_a_url() -> None:
    write_checkpoint("memory://training-checkpoints/trial", LAST, PAYLOAD)
    assert read_checkpoint("memory://training-checkpoints/trial", LAST, CPU)["best"] is None


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "appended"])
def test_a_damaged_checkpoint_is_detected_logged_and_not_resumed_from(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = CheckpointFolder(tmp_path, "d" * 16, "f" * 16)
    folder.write(LAST, PAYLOAD)
    content = bytearray((tmp_path / LAST).read_bytes())
    middle = len(content) // 2
    content[middle] ^= 1
    damaged = {"cut": content[:middle], "empty": b"", "flipped": content, "appended": content + b"x"}[damage]
    (tmp_path / LAST).write_bytes(damaged)
    with pytest.raises(CorruptCheckpoint, match="SHA-256"):
        read_checkpoint(tmp_path, LAST, CPU)
    with caplog.at_level(logging.WARNING):
        assert folder.read_last(CPU) is None
    assert "restarts from the first epoch" in caplog.text


def test_a_checkpoint_of_another_trial_or_other_data_is_ignored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    CheckpointFolder(tmp_path, "d" * 16, "f" * 16).write(LAST, PAYLOAD)
    assert CheckpointFolder(tmp_path, "d" * 16, "f" * 16).read_last(CPU) is not None
    with caplog.at_level(logging.WARNING):
        assert CheckpointFolder(tmp_path, "e" * 16, "f" * 16).read_last(CPU) is None
        assert CheckpointFolder(tmp_path, "d" * 16, "0" * 16).read_last(CPU) is None
    assert caplog.text.count("belongs to") == 2


def test_a_missing_checkpoint_is_not_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert CheckpointFolder(tmp_path / "none", "d" * 16, "f" * 16).read_last(CPU) is None
    assert not caplog.records


def test_a_write_that_fails_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_checkpoint(tmp_path, LAST, {"epoch": 1})

    def no_space(self: Path, target: Path) -> Path:
        raise OSError("no space left")

    monkeypatch.setattr(Path, "replace", no_space)
    with pytest.raises(OSError, match="no space"):
        write_checkpoint(tmp_path, LAST, {"epoch": 2})
    assert read_checkpoint(tmp_path, LAST, CPU)["epoch"] == 1


def test_code_in_a_checkpoint_is_not_run_and_other_formats_are_refused(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, LAST, {"path": Path("x")})
    with pytest.raises(CorruptCheckpoint, match="not a checkpoint"):
        read_checkpoint(tmp_path, LAST, CPU)
    write_checkpoint(tmp_path, LAST, {"format": 99})
    with pytest.raises(CorruptCheckpoint, match="has format 99"):
        read_checkpoint(tmp_path, LAST, CPU)
