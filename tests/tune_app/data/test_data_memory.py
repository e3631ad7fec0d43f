"""Images that do not fit are refused before training, with the size and the remedy."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from search_spaces.config.trial import DataConfig
from search_spaces.errors import StudyError
from search_spaces.study_files import study_from
from tune_app.data import load_source, memory
from tune_app.data.memory import available_memory, require_gpu_memory, require_memory
from tune_app.data.resident import resident_images
from tune_app.tasks import task_of
from tune_app.user_code import CodeSource


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with 10,000 bytes left."""
    monkeypatch.setattr(memory, "available_memory", lambda: 10_000.0)


def test_eighty_per_cent_of_the_memory_is_the_limit(small: None) -> None:
    require_memory(8, 10, 100, 1, "x")
    with pytest.raises(StudyError, match=r"x: 9 images of 100 x 10 pixels take .* GiB, but .*`data.resolution`"):
        require_memory(9, 10, 100, 1, "x")


def test_images_that_do_not_fit_are_refused_before_they_are_decoded(small: None, tmp_path: Path) -> None:
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True)
            Image.new("L", (60, 60)).save(folder / "0.png")
    config = DataConfig(source="folder", path=str(tmp_path / "images"))
    with pytest.raises(StudyError, match=r"4 images of 60 x 60 pixels take .* set a lower `data.resolution`"):
        load_source(config, tmp_path / "cache")
    fits = config.model_copy(update={"resolution": 40})
    assert load_source(fits, tmp_path / "cache").train_images.shape == (2, 40, 40, 1)


def test_a_run_refuses_a_source_that_does_not_fit(small: None) -> None:
    spec = study_from({"name": "x", "baseline": {"data": {"source": "digits"}}, "factors": {"batch_size": [64]}})
    with pytest.raises(StudyError, match=r"`data.source` digits: 1,797 images of 8 x 8 pixels"):
        task_of(spec).prepare(spec, CodeSource())


def test_a_split_larger_than_the_gpu_is_refused_with_its_size_after_resizing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "gpu_memory", lambda device: 10 * 3 * 16 * 16)
    cuda, images = torch.device("cuda"), np.zeros((20, 32, 32, 3), np.uint8)
    with pytest.raises(StudyError, match=r"the images of a split take .*cuda has .*`resources: \{gpu: 0\}`"):
        resident_images(images, np.zeros(20, np.int64), np.arange(9), cuda, 16)
    require_gpu_memory(8 * 3 * 16 * 16, cuda)


@pytest.mark.parametrize("prefix", ["", "total_"])
def test_the_memory_of_a_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    assert available_memory() > 5000
    (tmp_path / "max").write_text("5000\n")
    (tmp_path / "current").write_text("2000\n")
    files = *(str(tmp_path / name) for name in ("max", "current", "stat")), prefix
    monkeypatch.setattr(memory, "_CGROUPS", (files,))
    assert available_memory() == 3000
    (tmp_path / "max").write_text("max\n")
    assert available_memory() > 5000


@pytest.mark.parametrize("prefix", ["", "total_"])
def test_files_in_the_page_cache_of_a_container_leave_its_memory_available(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    (tmp_path / "max").write_text("5000\n")
    (tmp_path / "current").write_text("4000\n")
    lines = ["anon 1000", f"{prefix}inactive_file 1200", f"{prefix}active_file 300", f"{prefix}active_anon 900"]
    (tmp_path / "stat").write_text("\n".join(lines) + "\n")
    files = *(str(tmp_path / name) for name in ("max", "current", "stat")), prefix
    monkeypatch.setattr(memory, "_CGROUPS", (files,))
    assert available_memory() == 2500
    (tmp_path / "current").write_text("1000\n")
    assert available_memory() == 5000
