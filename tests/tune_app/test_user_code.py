"""Which files are a study's code, and that what is trained is what the fingerprint names."""

import importlib
import os
import sys
import types
from pathlib import Path

import pytest
import yaml

import tune_app
from search_spaces.errors import StudyError
from tests.support.own_code import STUDY, TRAIN
from tune_app.function_objects import source_of, with_references
from tune_app.studies import read_study
from tune_app.user_code import code_source, require_unchanged

pytestmark = pytest.mark.slow

SMALL = """
def train(context, width: int = 4):
    yield {"val_loss": 1 / width}
    yield context.final({"test_loss": STEP / width})
"""


@pytest.fixture(autouse=True)
def _forgotten():
    yield
    for name in [name for name in sys.modules if name.split(".")[0] in ("own_code", "own_helpers", "own_top")]:
        del sys.modules[name]


def write(folder, files, **changes):
    """Write files by name, and a study of own_code:train; return the study's path."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    tree = STUDY | {"task": {"run": "own_code:train"}, "baseline": {"epochs": 1}} | changes
    (folder / "study.yaml").write_text(yaml.safe_dump(tree))
    return folder / "study.yaml"


def test_a_module_comes_before_a_folder_of_its_name_as_in_python(tmp_path):
    before = read_study(write(tmp_path, {"own_code.py": "STEP = 1.0" + SMALL, "own_code/images/a.txt": ""}))
    (tmp_path / "own_code.py").write_text("STEP = 2.0" + SMALL)
    after = read_study(tmp_path / "study.yaml")
    assert before.code.fingerprint != after.code.fingerprint
    assert code_source(after).modules == ("own_code",)


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"src/own_code.py": TRAIN}, {}),
        ({"own_code.py": TRAIN, "own_helpers.py": ""}, {"code": {"include": ["own_helpers.py"]}}),
    ],
)
def test_a_module_outside_the_code_is_refused(tmp_path, monkeypatch, files, code):
    study = write(tmp_path, files, **code)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'src'}{os.pathsep}{tmp_path}")
    with pytest.raises(StudyError, match=r"`own_code:train`: its module is not part of the study's code"):
        read_study(study)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ({"include": ["own_code/**.py"]}, r"`code.include` has 'own_code/\*\*.py', which is no pattern: "),
        ({"include": [""]}, r"`code.include` has '', which is no pattern: "),
        ({"root": "~no-such-user/x"}, r"`code.root` is '~no-such-user/x', which is no usable path: "),
    ],
)
def test_what_is_no_pattern_or_path_is_one_message(tmp_path, code, message):
    with pytest.raises(StudyError, match=message):
        read_study(write(tmp_path, {"own_code.py": TRAIN}, code=code))


def test_a_function_object_of_a_package_itself_is_imported_from_above_the_package(tmp_path, monkeypatch):
    write(tmp_path, {"own_top/__init__.py": "STEP = 1.0" + SMALL})
    monkeypatch.syspath_prepend(str(tmp_path))
    _, objects, root = with_references({"task": {"run": importlib.import_module("own_top").train}})
    assert (objects, root) == ({}, tmp_path.resolve())


def test_edited_helper_modules_are_imported_again_in_one_process(tmp_path, monkeypatch):
    helpers = {"own_code.py": "from own_helpers import STEP" + SMALL, "own_helpers.py": "STEP = 1.0\n"}
    study = write(tmp_path, helpers, code={"include": ["own_code.py", "own_helpers.py"]})
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module("own_code")  # as a notebook may have done
    for step in (3.25, 5.125):  # of other lengths: Python takes its bytecode for a file of the same size and second
        (tmp_path / "own_helpers.py").write_text(f"STEP = {step}\n")
        found = tune_app.run(str(study), tmp_path / f"results-{step}", executor="inline")
        assert found.trials.groupby("arm")["test_loss"].first().to_dict() == {"width=4": step / 4, "width=8": step / 8}


def test_code_that_changed_during_a_run_is_not_trained_under_the_old_fingerprint(tmp_path):
    study = write(tmp_path, {"own_code.py": "STEP = 1.0" + SMALL})
    source = code_source(read_study(study))
    (tmp_path / "own_code.py").write_text("STEP = 1.0  # a comment" + SMALL)
    require_unchanged(source)
    (tmp_path / "own_code.py").write_text("STEP = 2.0" + SMALL)
    with pytest.raises(StudyError, match=r"changed since this run began .* run the study again to train this cell"):
        require_unchanged(source)


@pytest.mark.parametrize(
    ("size", "overrides"),
    [("other", ()), (None, ["task.run=own_top:train"]), (None, ["task={run: own_top:train}"])],
)
def test_a_training_function_of_a_size_or_an_override_is_part_of_the_code(tmp_path, size, overrides):
    sizes = {"sizes": {"other": {"task.run": "own_top:train"}} if size else {}}
    study = write(tmp_path, {"own_code.py": "STEP = 1.0" + SMALL, "own_top.py": "STEP = 1.0" + SMALL}, **sizes)
    before = read_study(study, size, overrides)
    assert before.baseline.run == "own_top:train"
    with pytest.raises(StudyError, match=r"`args.widht` is 4, but own_top:train has no such parameter"):
        read_study(study, size, [*overrides, "factors={args.widht: [4]}"])
    (tmp_path / "own_top.py").write_text("STEP = 2.0" + SMALL)
    assert read_study(study, size, overrides).code.fingerprint != before.code.fingerprint


NOTEBOOK = """
LAYERS = [64, 64]
OPTIONS = {"lr": 0.1, "names": {"b", "a", "c"}}
def relu(x): return max(x, 0)
ACTS = (relu, len)
class Block:
    def forward(self): return 1
class Net(Block):
    @staticmethod
    def scale(): return SCALE
    @property
    def acts(self): return ACTS
SCALE = 2.0
def train(context):
    yield {"val_loss": len(LAYERS) + OPTIONS["lr"] + Net.scale()}
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[64, 64]", "[128, 128]"),
        ('"lr": 0.1', '"lr": 0.2'),
        ("return 1", "return 2"),
        ("SCALE = 2.0", "SCALE = 3.0"),
        ("max(x, 0)", "max(x, 1)"),
    ],
)
def test_what_a_function_of_a_notebook_uses_is_in_its_fingerprint(tmp_path, old, new):
    before = notebook_source(tmp_path / "before.py", NOTEBOOK)
    assert before == notebook_source(tmp_path / "before.py", NOTEBOOK)
    assert " at 0x" not in before
    assert before != notebook_source(tmp_path / "after.py", NOTEBOOK.replace(old, new))


def notebook_source(file: Path, text: str) -> str:
    file.write_text(text)
    module = types.ModuleType("own_notebook")
    module.__file__ = str(file)
    sys.modules["own_notebook"] = module
    try:
        exec(compile(text, str(file), "exec"), module.__dict__)
        return source_of(module.train)
    finally:
        del sys.modules["own_notebook"]


def test_a_container_that_holds_itself_has_an_end(tmp_path):
    text = "LOOP = []\nLOOP.append(LOOP)\ndef train(context):\n    yield {'val_loss': len(LOOP)}\n"
    assert "[...]" in notebook_source(tmp_path / "loop.py", text)
