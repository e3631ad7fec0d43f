"""The ready studies, run at their smallest size, and the verb that runs them all."""

import re

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from analysis import load_study
from search_spaces.config.trial import DataConfig
from search_spaces.errors import StudyError
from search_spaces.plan import make_plan
from search_spaces.study_files import read_study, ready_studies
from tune_app.cli import app
from tune_app.cli.reproduce import read_all
from tune_app.data import blank_source
from tune_app.models import build_model
from tune_app.tuning.runner import run_study

pytestmark = pytest.mark.slow

READY = {name: read_study(name) for name in ready_studies()}
SMOKE = [name for name, spec in READY.items() if "smoke" in spec.sizes and spec.tune is None]
ON_CPU = ["resources.gpu=0", "resources.cpu=2"]  # one process for all of a study's trials
# On Ray are the searches, whose trials Ray's scheduler stops, and one ablation; a worker's start takes longer than the others.
RUNS = [
    pytest.param(name, "ray", marks=pytest.mark.ray) if spec.mode == "search" or name == "e-cnn" else (name, "inline")
    for name, spec in READY.items()
    if name in SMOKE
]
COUNTS = {
    "e-resnet-depth": {"depth=20": 270_410, "depth=56": 855_050, "depth=110": 1_732_010},
    "e-plain-depth": {"depth=20": 270_410, "depth=56": 855_050, "depth=110": 1_732_010},
    "b-normalization": {"norm=torch_batch": 172_506, "norm=batch": 172_506, "norm=group": 172_506},
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Return the folder that the studies of this file share, so that none is trained twice."""
    return tmp_path_factory.mktemp("results")


@pytest.fixture
def tune_app(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        done = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if isinstance(done.exception, StudyError):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.output

    return call


@pytest.mark.parametrize(("name", "executor"), RUNS)
def test_every_ready_study_trains_at_its_smallest_size(name, executor, results, request):
    if executor == "ray":
        request.getfixturevalue("local_ray")
    spec = read_study(name, "smoke", ON_CPU if executor == "ray" else ["resources.gpu=0"])
    summary = run_study(spec, str(results / "smoke"), executor=executor)
    assert summary.failed == []
    trials = load_study(results / "smoke" / name).trials
    if spec.mode == "search":
        assert len(trials) == spec.search.trials
        assert set(trials["status"]) <= {"completed", "pruned"}
    else:
        assert set(trials["status"]) == {"completed"}
        assert len(trials) == len(make_plan(spec).cells)


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_reproduce_trains_what_is_missing_and_writes_the_summary(tune_app, results, tmp_path):
    command = [
        "reproduce",
        "b-batchnorm-check",
        "e-cnn",
        "--size",
        "smoke",
        "--results",
        results,
        "--data-name",
        "Digits",
    ]
    sets = [part for override in ON_CPU for part in ("--set", override)]
    said = tune_app(*command, *sets, "--out", tmp_path / "summary")
    assert "[2/2] e-cnn" in said
    again = tune_app(*command, *sets, "--out", tmp_path / "summary")
    assert again.count("trained 0, 4 were done before") == 2
    figures = pd.read_parquet(tmp_path / "summary" / "figures.parquet")
    assert set(figures["study"]) == {"b-batchnorm-check", "e-cnn"}
    assert figures["n"].eq(2).all()
    claims = pd.read_parquet(tmp_path / "summary" / "claims.parquet")
    assert claims["expect"].tolist() == ["equivalent", "equivalent"]
    text = (tmp_path / "summary" / "reproduction.md").read_text()
    assert "2 studies, size smoke, 8 trials. Data: Digits (fingerprint" in text
    assert (tmp_path / "summary" / "reproduction.html").exists()


def test_all_ready_studies_of_a_size_are_meant_where_none_is_named():
    specs = read_all((), "small", ["data.path=images"])
    assert [spec.name for spec in specs] == SMOKE
    assert {spec.baseline.data.path for spec in specs} == {"images"}


def test_seeds_for_all_ready_studies_leave_a_search_its_one():
    seeds = {spec.mode: len(spec.seeds) for spec in read_all((), "smoke", ["seeds=2"])}
    assert seeds == {"ablation": 2, "search": 1}


def test_a_missing_data_folder_and_an_unknown_size_are_said_before_anything_is_trained():
    with pytest.raises(StudyError, match=r"`--data` is missing: a-block-details at size small reads a parquet source"):
        read_all((), "small", ())
    with pytest.raises(StudyError, match="no ready study has a size of that name; use smoke, small, medium or full"):
        read_all((), "tiny", ())


@pytest.mark.parametrize("name", COUNTS)
def test_the_arms_of_the_sources_have_their_exact_parameter_counts(name):
    arms = {arm.name: arm.config.model for arm in make_plan(read_study(name, "full")).arms}
    for arm, count in COUNTS[name].items():
        with torch.device("meta"):
            model = build_model(arms[arm], 3, 10, 32)
        assert sum(parameter.numel() for parameter in model.parameters()) == count


def test_the_weight_decay_study_s_network_has_torchvisions_groups():
    from tune_app.training import parameter_groups

    config = read_study("a-weight-decay").baseline
    with torch.device("meta"):
        model = build_model(config.model.model_copy(update={"stem": "large"}), 3, 1000, 224)
    decay = config.weight_decay_grouping.model_copy(update={"policy": "three_groups"})
    groups = parameter_groups(model, config.optimizer, decay)
    sizes = {(len(group["params"]), sum(p.numel() for p in group["params"])) for group in groups}
    assert {(40, 9_600), (1, 1_000)} <= sizes
    assert sum(count for _, count in sizes) == 11_689_512


def test_a_plan_downloads_nothing_and_names_what_decay_by_name_gets_wrong(tune_app, tmp_path):
    said = " ".join(tune_app("plan", "a-weight-decay", "--no-time", "--set", f"data.path={tmp_path}").split())
    assert "20 cells, 0 done, 20 to train" in said
    assert "cifar10 is not downloaded yet" in said
    assert "by_name misclassifies 3 tensors: features.layer2.0.shortcut.1.weight" in said
    assert list(tmp_path.iterdir()) == []


def test_a_plan_of_a_search_says_so_too(tune_app, tmp_path):
    said = " ".join(tune_app("plan", "search", "--no-time", "--set", f"data.path={tmp_path}").split())
    assert "128 trials by tpe out of 3,360 configs" in said
    assert "cifar10 is not downloaded yet" in said


@pytest.mark.parametrize(
    ("source", "shape", "classes"), [("cifar100", (50_000, 32, 32, 3), 100), ("fashion_mnist", (60_000, 28, 28, 1), 10)]
)
def test_blank_images_have_the_shape_of_the_data_set_until_it_is_there(tmp_path, source, shape, classes):
    config = DataConfig(source=source, path=str(tmp_path))
    arrays = blank_source(config)
    assert arrays.train_images.shape == shape
    assert len(arrays.classes) == classes == len(set(arrays.train_labels.tolist()))
    assert len(arrays.test_images) == 10_000
    (tmp_path / ("cifar-100-python" if source == "cifar100" else "FashionMNIST/raw")).mkdir(parents=True)
    assert blank_source(config) is None
    assert blank_source(DataConfig(source="digits")) is None


def test_studies_are_listed_with_source_and_sizes(tune_app):
    said = tune_app("studies")
    for name in SMOKE:
        line = next(line for line in said.splitlines() if f" {name} " in line)
        assert re.search("smoke, small, (medium, )?full", line)
        reference = read_study(name).reference
        assert reference is None or f" {reference.source} " in line
