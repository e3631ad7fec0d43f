import numpy as np
import pytest
from PIL import Image
from reports import report

from search_spaces.plan import make_plan
from search_spaces.study import StudySpec
from tune_app.tuning.jobs import cell_job
from tune_app.tuning.store.rows import TrialRecord

TINY = {
    "data": {"source": "digits", "train_size": 40, "validation_size": 40, "test_size": 40},
    "model": {"depth": 8, "width": 4},
    "batch_size": 20,
    "epochs": 2,
    "precision": "float32",
}


@pytest.fixture
def tiny_tree():
    """A study of two arms by two seeds that trains in a moment."""
    return {
        "name": "tiny",
        "baseline": TINY,
        "factors": {"model.norm": ["batch", "none"]},
        "seeds": 2,
        "checkpoint_seconds": 0,
    }


@pytest.fixture
def spec(tiny_tree):
    return StudySpec.model_validate(tiny_tree)


@pytest.fixture
def job(spec):
    cell = make_plan(spec).cells[0]
    return cell_job(cell, fingerprint="f" * 16, gpus=0.0)


@pytest.fixture
def record(job):
    found = TrialRecord(job, cpus=1.0)
    found.add(report(0.25, 0.75))
    return found


@pytest.fixture
def image_folder(tmp_path):
    """A folder source of two classes, 60 training and 20 test images of 8x8."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 30), ("test", 10)):
        for name, level in (("dark", 60), ("light", 160)):
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 90, (8, 8, 3)) + level
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i:02d}.png")
    return tmp_path / "images"
