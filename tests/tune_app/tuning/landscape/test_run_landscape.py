"""Landscapes of a study on a real Ray, by the verb and by the function."""

import pytest
import torch
from typer.testing import CliRunner

from analysis import load_study
from analysis.stats.landscape import flatness
from search_spaces.config.trial import TrialConfig
from search_spaces.errors import StudyError
from search_spaces.study_files import study_from
from tune_app.cli import app
from tune_app.data import load_source
from tune_app.training.landscape import (
    Surface,
    evaluation_images,
    plane_directions,
    read_best,
    top_eigenvalue,
)
from tune_app.tuning.landscape.compute import compute_landscapes
from tune_app.tuning.landscape.task import SurfaceSpec
from tune_app.tuning.runner import run_study

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]
SPEC = SurfaceSpec(points=3, reach=0.5, images=20)


@pytest.fixture
def trained(tiny_tree, tmp_path):
    """Two arms by two seeds, trained; returns the results folder."""
    run_study(study_from(tiny_tree | {"resources": {"gpu": 0.0}}), str(tmp_path))
    return tmp_path


def alone(folder, row):
    """Compute a trial's landscape in this process."""
    config = TrialConfig.model_validate_json(row.config)
    arrays = load_source(config.data)
    model = read_best(folder / f"tiny/checkpoints/{row.digest}-{row.fingerprint}", config, arrays)
    network = model.build(torch.device("cpu"))
    batches = evaluation_images(config, arrays, "test", 20).batches(100)
    surface = Surface(network, plane_directions(dict(network.named_parameters()), 0, row.digest), batches)
    points = [point for y in SPEC.axis for point in surface.points(SPEC.axis, y)]
    return points, top_eigenvalue(network, batches)


def test_a_studys_landscapes_are_computed_once_and_are_those_of_one_process(trained, capsys):
    command = ["landscape", "tiny", "--points", "3", "--range", "0.5", "--images", "20", "--results", str(trained)]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0
    assert "computed 18 points of 2 models; 0 were done before" in done.output
    assert "18/18 points" in done.output

    results = load_study(trained / "tiny")
    assert results.problems == ()
    flat = flatness(results)
    assert (flat.seed.tolist(), flat.points.tolist()) == ([0, 0], [9, 9])
    row = results.trials[results.trials.digest == flat.digest[0]].iloc[0]
    points, curvature = alone(trained, row)
    stored = results.landscape[results.landscape.digest == row.digest].sort_values(["y", "x"])
    assert stored[["x", "y"]].to_numpy().tolist() == [[p.x, p.y] for p in points]
    assert stored.loss.tolist() == pytest.approx([p.loss for p in points], rel=1e-5)
    assert stored.accuracy.tolist() == pytest.approx([p.accuracy for p in points])
    assert flat.centre_loss[0] == pytest.approx(points[4].loss, rel=1e-5)
    assert flat.top_eigenvalue[0] == pytest.approx(curvature.value, rel=1e-3)

    again = CliRunner().invoke(app, command, catch_exceptions=False)
    assert "nothing to compute of 2 models; 18 were done before" in again.output

    lost = next((trained / "tiny" / "landscape").glob("*-y0001.parquet"))
    before = lost.read_bytes()
    lost.unlink()
    resumed = compute_landscapes("tiny", str(trained), SPEC)
    assert (resumed.computed, resumed.already, resumed.curvatures) == (3, 15, 0)
    assert lost.read_bytes() == before

    more = compute_landscapes("tiny", str(trained), SPEC, all_seeds=True)
    assert (more.models, more.computed, more.already) == (4, 18, 18)
    results = load_study(trained / "tiny")
    for row in results.trials[results.trials.seed == 1].itertuples():  # normalised by its own training images
        stored = results.landscape[results.landscape.digest == row.digest].sort_values(["y", "x"])
        assert stored.loss.tolist() == pytest.approx([point.loss for point in alone(trained, row)[0]], rel=1e-5)

    (trained / "tiny/checkpoints" / lost.name[:33] / "best.pt").unlink()
    with pytest.raises(StudyError, match="does not exist"):
        compute_landscapes("tiny", str(trained), SurfaceSpec(points=3, shared=True), cell=lost.name[:16])
