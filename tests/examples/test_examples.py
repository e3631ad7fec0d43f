"""Each example is a user's project: its study is run at size smoke by the command line, and its store is judged."""

import ast
from pathlib import Path

import pytest
from typer.testing import CliRunner

from analysis import effects, load_study
from search_spaces.plan import make_plan
from search_spaces.study_files import read_study
from tune_app.cli import app

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/study.yaml"))
METRICS = {
    "language_model": ["train_loss", "val_loss", "test_loss", "tokens_per_second"],
    "lightning": ["train_loss", "val_loss", "test_loss"],
    "own_model": ["val_accuracy", "test_accuracy"],
    "sklearn_model": ["val_log_loss", "test_log_loss", "test_accuracy"],
    "tabular": ["train_rmse", "val_rmse", "test_rmse"],
}


def test_every_folder_is_an_example_with_a_readme():
    folders = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())
    assert folders == NAMES == sorted(METRICS)
    assert all((EXAMPLES / name / "README.md").is_file() for name in NAMES)


@pytest.mark.filterwarnings("default")  # libraries that an example uses warn of their own
@pytest.mark.parametrize("name", NAMES)
def test_example_runs_and_has_a_verdict_for_each_arm(name, tmp_path, monkeypatch):
    if name == "lightning":
        pytest.importorskip("lightning")
    monkeypatch.chdir(tmp_path)
    file = EXAMPLES / name / "study.yaml"
    done = CliRunner().invoke(app, ["run", str(file), "--size", "smoke", "--inline", "--results", str(tmp_path)])
    assert done.exit_code == 0, f"{done.output}\n{done.exception}"
    plan = make_plan(read_study(file, "smoke"))
    found = load_study(str(tmp_path / read_study(file).name))
    assert list(found.trials.status) == ["completed"] * len(plan.cells)
    assert found.trials[METRICS[name]].notna().all(axis=None)
    verdicts = effects(found)
    assert set(verdicts.arm) == {arm.name for arm in plan.arms} - {plan.reference_arm}
    assert verdicts.verdict.str.len().gt(0).all()


@pytest.mark.parametrize("name", NAMES)
def test_example_has_at_most_60_lines_of_user_code(name):
    files = list(EXAMPLES.glob(f"{name}/*/*.py"))
    assert 0 < sum(_code_lines(path.read_text(encoding="utf-8")) for path in files) <= 60


def _code_lines(source):
    """Return how many lines hold code: without imports, blank lines, comments and docstrings."""
    tree = ast.parse(source)
    imports = (ast.Import, ast.ImportFrom)
    with_docstrings = (ast.Module, ast.ClassDef, ast.FunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, with_docstrings) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [
                ast.Pass(lineno=getattr(node, "lineno", 1), end_lineno=getattr(node, "lineno", 1))
            ]
    kept = {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt) and not isinstance(node, imports)
        for line in _lines(node)
    }
    return len({line for line in kept if source.splitlines()[line - 1].strip()})


def _lines(node):
    inner = getattr(node, "body", None)
    last = inner[0].lineno - 1 if inner else node.end_lineno
    return range(node.lineno, max(node.lineno, last) + 1)
