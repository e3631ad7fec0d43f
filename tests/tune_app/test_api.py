"""The Python API: studies as plain data with function objects, trained in this process."""

import subprocess
import sys

import pytest

import tune_app
from analysis import effects
from search_spaces.errors import StudyError
from tests.support.own_code import TRAIN, write_package
from tune_app import api
from tune_app.function_objects import source_of, with_references

pytestmark = pytest.mark.slow

SCALE = 2.0


def scaled(value):
    return SCALE * value


def train(context, width: int = 4):
    for epoch in range(1, context.epochs + 1):
        yield {"val_loss": scaled(1 / width) / epoch}
    yield context.final({"test_loss": 1 / width})


STUDY = {
    "name": "notebook",
    "task": {"run": train},
    "baseline": {"epochs": 2},
    "factors": {"args.width": [4, 8]},
    "metrics": {"val_loss": {"better": "lower"}, "test_loss": {"better": "lower"}},
    "metric": "test_loss",
    "seeds": 2,
    "resources": {"gpu": 0.0},
}


def test_a_study_of_a_function_object_runs_in_this_process_and_returns_loaded_results(tmp_path):
    results = tune_app.run(STUDY, tmp_path, executor="inline")
    assert results.trials.groupby("arm").test_loss.first().to_dict() == {"width=4": 0.25, "width=8": 0.125}
    assert len(tune_app.plan(STUDY).cells) == 4


def test_a_function_of_a_script_is_fingerprinted_by_its_source_and_what_it_uses(tmp_path):
    """Run as a script, so that the function lives in __main__."""
    script = tmp_path / "script.py"
    text = """
import sys
import tune_app
FACTOR = 3.0
def half(x):
    return x / FACTOR
def train(context, width: int = 4):
    yield {"val_loss": half(width)}
    yield context.final({"test_loss": half(width)})
study = {"name": "s", "task": {"run": train}, "baseline": {"epochs": 1}, "factors": {"args.width": [4, 8]}, "seeds": 1,
         "metrics": {"val_loss": {"better": "lower"}, "test_loss": {"better": "lower"}}, "metric": "test_loss"}
print(*sorted(cell.digest for cell in tune_app.plan(study).cells))
"""

    def digests(code):
        script.write_text(code)
        done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    first = digests(text)
    assert digests(text.replace("FACTOR = 3.0", "FACTOR = 3.0  # three")) == first
    assert not set(digests(text.replace("FACTOR = 3.0", "FACTOR = 4.0"))) & set(first)
    assert not set(digests(text.replace("x / FACTOR", "x / FACTOR + 1"))) & set(first)


def test_what_cannot_be_fingerprinted_is_refused_with_the_remedy():
    rate = 3

    def closure(context):
        yield {"val_loss": rate}

    with pytest.raises(StudyError, match=r"closure uses rate of the function around it.*pass these as arguments"):
        with_references({"task": {"run": closure}})
    exec(compile("def typed(context): yield {}", "<typed>", "exec"), namespace := {"__name__": "__main__"})
    with pytest.raises(StudyError, match="source of typed cannot be read; put it into a module"):
        source_of(namespace["typed"])


def test_an_edited_package_and_one_of_the_same_name_are_imported_again(tmp_path):
    losses = []
    for folder, code in (("a", TRAIN), ("a", TRAIN.replace("STEP = 0.1", "STEP = 3.0")), ("b", TRAIN)):
        study = write_package(tmp_path / folder, code, seeds=1, factors={"args.width": [4, 8]})
        found = tune_app.run(study, tmp_path / f"results-{len(losses)}", executor="inline")
        losses.append(found.trials["test_loss"].tolist())
    assert losses[0] == losses[2]
    assert losses[0] != losses[1]


def test_an_unknown_executor_is_refused(tmp_path):
    with pytest.raises(StudyError, match="`executor` is 'thread', but must be 'ray' or 'inline'"):
        tune_app.run("quickstart", tmp_path, executor="thread")


def test_the_public_names_are_those_of_the_documentation():
    assert set(tune_app.__all__) == {"Client", "Context", "confirm", "plan", "read_study", "run"}
    assert all(getattr(tune_app, name) for name in tune_app.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        tune_app.nothing  # noqa: B018


def test_no_bytecode_of_a_users_package_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    tune_app.run(write_package(tmp_path / "a", TRAIN, seeds=1), tmp_path / "results", executor="inline")
    assert not list((tmp_path / "a").rglob("*.pyc"))


def test_a_continuous_domain_of_a_whole_number_is_refused_though_its_ends_are_whole():
    search = {"mode": "search", "factors": None, "space": {"args.width": {"loguniform": [16, 256]}}, "seeds": 1}
    with pytest.raises(StudyError, match=r"`args.width` is \d+\.\d+, but must be a whole number .*space.args.width"):
        tune_app.run(STUDY | search, executor="inline")


def read(tree):
    return api._read(tree, None, ())[0]


def test_without_a_rope_only_a_metric_from_0_to_1_has_one():
    assert read(STUDY).rope == 0.0
    assert read(STUDY | {"rope": 0.1}).rope == 0.1
    share = STUDY["metrics"] | {"test_loss": {"better": "lower", "bounds": [0.0, 1.0]}}
    assert read(STUDY | {"metrics": share}).rope == 0.005


def test_a_large_difference_in_a_small_unit_is_not_equivalent(tmp_path):
    results = tune_app.run(
        STUDY | {"seeds": 8, "factors": {"args.width": [400, 800]}, "baseline": {"args": {"width": 400}, "epochs": 1}},
        tmp_path,
        executor="inline",
    )
    (row,) = effects(results).itertuples()
    assert (row.difference, row.verdict) == (pytest.approx(-0.00125), "better")
