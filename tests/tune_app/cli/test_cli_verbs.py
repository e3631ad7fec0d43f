"""The verbs, called in this process."""

import json
import sys

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from bench.make_store import write_store
from search_spaces.errors import StudyError
from search_spaces.study_files import ready_studies
from tests.support.stored_search import write_search
from tune_app.cli import app

pytestmark = pytest.mark.slow


@pytest.fixture
def tune_app(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def call(*arguments, exit_code=0):
        done = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if isinstance(done.exception, StudyError):
            raise done.exception
        assert done.exit_code == exit_code, done.output
        return done.output

    return call


def test_studies_lists_every_ready_study(tune_app):
    output = tune_app("studies")
    assert all(name in output for name in ready_studies())


def test_every_verb_has_an_example_in_its_help(tune_app):
    for command in app.registered_commands:
        assert "Example: " in tune_app(command.callback.__name__.rstrip("_"), "--help")


def test_validate_says_how_large_the_study_is(tune_app):
    assert "quickstart: valid, 6 arms x 3 seeds = 18 cells" in tune_app("validate", "quickstart", "--set", "seeds=3")


def test_schema_is_json_schema_of_a_study(tune_app):
    schema = json.loads(tune_app("schema"))
    assert "baseline" in schema["properties"]
    assert "model.norm: normalization layer" in tune_app("schema", "--fields")


@pytest.mark.parametrize("family", ["resnet", "plain"])
@pytest.mark.parametrize(("depth", "total"), [(20, "270,410"), (56, "855,050"), (110, "1,732,010")])
def test_params_ends_with_the_exact_total(tune_app, family, depth, total):
    sets = [f"model.depth={depth}", "model.conv_bias=true", "model.shortcut=identity"]
    output = tune_app("params", family, *(word for path in sets for word in ("--set", path)))
    assert output.strip().splitlines()[-1] == f"total: {total} parameters"


def test_params_shows_what_the_rule_by_name_gets_wrong(tune_app):
    output = tune_app("params", "resnet", "--set", "model.shortcut=projection")
    assert "by_name misclassifies 2 tensors" in output
    assert "shortcut.1.weight" in output


def test_params_counts_the_three_groups_of_resnet18(tune_app):
    output = tune_app(
        *("params", "resnet18", "--set", "model.stem=large", "--classes", 1000, "--resolution", 224),
        *("--set", "weight_decay_grouping.policy=three_groups"),
    )
    assert output.strip().splitlines()[-1] == "total: 11,689,512 parameters"
    groups = {cells[2].strip(): cells for line in output.splitlines() if len(cells := line.split("│")) == 7}
    assert [cell.strip() for cell in groups["norm"][3:5]] == ["40", "9,600"]
    assert [cell.strip() for cell in groups["bias"][3:5]] == ["1", "1,000"]
    assert groups["rest"][4].strip() == "11,678,912"


def test_params_counts_a_torchvision_network(tune_app):
    output = tune_app("params", "resnet", "--set", "model.family=torchvision:resnet18", "--classes", 1000)
    assert output.strip().endswith("total: 11,689,512 parameters")


def test_params_imports_a_network_of_the_current_folder(tune_app, tmp_path, monkeypatch):
    source = (
        "from torch import nn\n\n\n"
        "def flat(channels, classes, resolution, width: int = 2):\n"
        "    if width < 1:\n"
        "        raise ValueError('too narrow')\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(channels * resolution**2, width), nn.Linear(width, classes))\n"
    )
    (tmp_path / "own_params_nets.py").write_text(source, encoding="utf-8")
    monkeypatch.setattr(sys, "path", list(sys.path))
    words = ("params", "own_params_nets:flat", "--channels", 1, "--resolution", 4, "--classes", 3)
    assert tune_app(*words).strip().endswith(f"total: {17 * 2 + 3 * 3} parameters")
    with pytest.raises(StudyError, match=r"^own_params_nets\.py, line 6, in flat: ValueError: too narrow$"):
        tune_app(*words, "--set", "model.args.width=0")


def test_params_of_no_family_names_the_families(tune_app):
    with pytest.raises(StudyError, match=r"`FAMILY` is 'resnett'.*did you mean 'resnet'"):
        tune_app("params", "resnett")


def test_plan_counts_cells_and_says_what_the_seeds_detect(tune_app):
    output = tune_app("plan", "quickstart", "--no-time")
    assert "60 cells, 0 done, 60 to train" in output
    assert "norm=torch_batch (reference)" in output
    assert "smallest difference in test_accuracy that 10 paired seeds detect" in output


def test_plan_estimates_the_time(tune_app):
    sets = ("--set", "seeds=1", "--set", "model.width=4", "--set", "factors.model.norm=[none]")
    assert " s on this machine, " in tune_app("plan", "quickstart", *sets)


def test_plan_shows_what_a_fraction_cannot_tell_apart(tune_app, tmp_path):
    (tmp_path / "f.yaml").write_text(
        "name: f\ndesign: {kind: fractional_factorial, generator: a b ab}\n"
        "factors: {model.norm: [none], batch_size: [64], optimizer.name: [adam]}\n"
    )
    output = tune_app("plan", "f.yaml", "--no-time")
    assert "cannot be distinguished: norm = batch_size:optimizer" in output


def test_plan_of_a_search_shows_its_space(tune_app, tmp_path):
    (tmp_path / "s.yaml").write_text("name: s\nmode: search\nspace: {optimizer.lr: {loguniform: [1e-3, 1]}}\n")
    output = tune_app("plan", "s.yaml", "--no-time")
    assert "loguniform: 0.001 to 1" in output
    assert "32 trials by tpe out of infinitely many configs, 0 done; ASHA from epoch 1" in output


def test_plan_of_a_search_over_images_counts_its_stored_trials(tune_app, tmp_path):
    tree = {"name": "s", "mode": "search", "space": {"data.source": ["digits", "synthetic"]}, "baseline": {"epochs": 1}}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(tree))
    write_search(tmp_path / "results", tree, [{"data.source": "synthetic"}])
    assert "2 trials by tpe out of 2 configs, 1 done" in tune_app("plan", "s.yaml", "--no-time")


def test_plan_of_a_search_counts_its_stored_trials_where_the_images_were_moved(tune_app, tmp_path):
    for name, level in (("dark", 60), ("light", 160)):
        for split in ("train", "test"):
            (tmp_path / "old" / split / name).mkdir(parents=True)
            for number in range(10):
                Image.new("L", (8, 8), level + number).save(tmp_path / "old" / split / name / f"{number}.png")
    data = {"source": "folder", "path": str(tmp_path / "old")}
    tree = {"name": "s", "mode": "search", "space": {"optimizer.lr": [0.1, 0.2]}, "baseline": {"data": data}}
    write_search(tmp_path / "results", tree, [{"optimizer.lr": 0.1}])
    (tmp_path / "old").rename(tmp_path / "new")
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(tree))
    output = tune_app("plan", "s.yaml", "--no-time", "--set", f"data.path={tmp_path / 'new'}")
    assert "2 trials by tpe out of 2 configs, 1 done" in output


def test_plan_of_a_grid_says_how_many_configs_it_leaves_out(tune_app, tmp_path):
    text = "name: s\nmode: search\nspace: {model.norm: [batch, none], batch_size: [8, 16, 32]}\n"
    (tmp_path / "s.yaml").write_text(f"{text}search: {{searcher: grid, asha: null, trials: 32}}\n")
    assert "6 trials by grid out of 6 configs, 0 done" in tune_app("plan", "s.yaml", "--no-time")
    output = tune_app("plan", "s.yaml", "--no-time", "--set", "search.trials=4")
    assert "note: 2 configs of the grid are not tried: raise `search.trials` to 6" in output


def test_report_of_a_store_by_name_takes_no_overrides(tune_app, tmp_path):
    write_store(tmp_path / "results" / "mine", extras=False)
    with pytest.raises(StudyError, match=r"'mine' names a results store.*leave `--size` and `--set` out"):
        tune_app("report", "mine", "--set", "rope=0.1")


def test_report_without_results_says_how_to_make_them(tune_app):
    with pytest.raises(StudyError, match=r"no results yet; `tune-app run quickstart` creates them"):
        tune_app("report", "quickstart")


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_run_then_report(tune_app, tmp_path):
    small = ("--set", "seeds=2", "--set", "model.width=4", "--set", "epochs=1", "--set", "data.train_size=40")
    output = tune_app("run", "quickstart", *small, "--set", "factors.model.norm=[none]", "--set", "resources.gpu=0.0")
    assert "trained 4 (4 completed); 0 were done before" in output
    assert "nothing to train; 4 were done before" in tune_app(
        "run", "quickstart", *small, "--set", "factors.model.norm=[none]", "--set", "resources.gpu=0.0"
    )
    page = tmp_path / "results" / "quickstart" / "report" / "report.html"
    output = tune_app("report", "quickstart")
    assert f"report: {page}" in output
    assert "norm=none" in output
    assert "norm=none" in page.read_text()


def test_augmentations_draws_the_sample(tune_app, tmp_path):
    assert "written to grid.png" in tune_app("augmentations", "--sample", "--out", "grid.png")
    with Image.open(tmp_path / "grid.png") as picture:
        assert min(picture.size) > 500
    with pytest.raises(StudyError, match="either an image file or --sample"):
        tune_app("augmentations")


def test_factorize_of_a_planted_matrix_passes_and_of_noise_says_what_it_is(tune_app, tmp_path):
    rng = np.random.default_rng(0)
    np.save("x.npy", rng.normal(size=(30, 2)) @ rng.normal(size=(2, 20)) + 0.01 * rng.normal(size=(30, 20)))
    output = tune_app("factorize", "--matrix", "x.npy", "--rank", 2, "--out", "found")
    assert "x.npy (30 x 20), rank 2" in output
    assert (tmp_path / "found" / "convergence.png").exists()
    with pytest.raises(StudyError, match="takes one of STUDY, --matrix FILE or --image FILE"):
        tune_app("factorize")


def test_compare_sets_studies_side_by_side(tune_app, tmp_path):
    for name in ("one", "two"):
        write_store(tmp_path / "results" / name, name=name, seeds=3, epochs=2)
    tune_app("compare", "one", "two", "--out", "both.html")
    assert "one" in (tmp_path / "both.html").read_text()
    assert (tmp_path / "both.html").stat().st_size > 10_000
