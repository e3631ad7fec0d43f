"""Landscapes of a user's own networks on the user's own images: the code is that of the store, not of the folder."""

import sys

import pytest
import torch

from analysis import load_study
from search_spaces.config.trial import TrialConfig
from search_spaces.errors import StudyError
from tests.support.own_code import write_image_package, write_package
from tune_app.data import load_source
from tune_app.studies import read_study
from tune_app.training.landscape import Surface, evaluation_images, plane_directions, read_best
from tune_app.tuning.landscape.compute import compute_landscapes
from tune_app.tuning.landscape.task import SurfaceSpec
from tune_app.tuning.runner import run_study
from tune_app.user_code import CodeSource

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray", "clean_imports")]
SPEC = SurfaceSpec(points=3, reach=0.5, images=20)


@pytest.fixture
def clean_imports(monkeypatch):
    """Training in this process imports the user's package; forget it afterwards."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in [name for name in sys.modules if name.split(".")[0] in ("own_pkg", "own_images_pkg")]:
        del sys.modules[name]


def test_networks_and_images_of_the_user_have_landscapes_after_their_code_has_gone(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNE_APP_DATA", str(tmp_path / "cache"))
    study = write_image_package(tmp_path / "code")
    run_study(read_study(str(study)), str(tmp_path), executor="inline")
    (tmp_path / "code").rename(tmp_path / "kept")  # only the store's archive remains
    monkeypatch.setenv("TUNE_APP_DATA", str(tmp_path / "other-cache"))

    done = compute_landscapes("own-images", str(tmp_path), SPEC)

    assert (done.models, done.computed, done.curvatures) == (2, 18, 2)
    results = load_study(tmp_path / "own-images")
    assert results.curvature["top_eigenvalue"].notna().all()
    row = results.trials.iloc[0]
    config = TrialConfig.model_validate_json(row.config)
    arrays = load_source(config.data, tmp_path / "third-cache", CodeSource(str(tmp_path / "kept")))
    model = read_best(tmp_path / f"own-images/checkpoints/{row.digest}-{row.fingerprint}", config, arrays)
    network = model.build(torch.device("cpu"))
    batches = evaluation_images(config, arrays, "test", 20).batches(100)
    plane = Surface(network, plane_directions(dict(network.named_parameters()), 0, row.digest), batches)
    expected = [point.loss for y in SPEC.axis for point in plane.points(SPEC.axis, y)]
    stored = results.landscape[results.landscape.digest == row.digest].sort_values(["y", "x"])
    assert stored.loss.tolist() == pytest.approx(expected, rel=1e-5)


def test_a_store_without_the_archive_and_a_training_function_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNE_APP_DATA", str(tmp_path / "cache"))
    run_study(read_study(str(write_image_package(tmp_path / "code"))), str(tmp_path), executor="inline")
    for archive in (tmp_path / "own-images/code").glob("*.zip"):
        archive.unlink()
    with pytest.raises(StudyError, match=r"\.zip does not exist, but it has the code"):
        compute_landscapes("own-images", str(tmp_path), SPEC)
    run_study(read_study(str(write_package(tmp_path / "function"))), str(tmp_path), executor="inline")
    with pytest.raises(StudyError, match="trains a function of the user"):
        compute_landscapes("own", str(tmp_path), SPEC)
