"""The notebooks run from top to bottom on invented stores, and are committed clean."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from bench.make_store import Truth, write_store

NOTEBOOKS = Path(__file__).resolve().parents[3] / "analysis" / "notebooks"
NAMES = (
    "ablation_walkthrough",
    "factorization_and_svd",
    "loss_landscapes_and_quantiles",
    "search_and_pruning_audit",
)
SPACE = {
    "optimizer.lr": {"loguniform": [0.001, 1.0]},
    "model.norm": ["batch", "group", "none"],
    "batch_size": [32, 128],
}
LIGHT = "import sys; print('heavy:', sorted({'torch', 'ray', 'tune_app'} & set(sys.modules)))"

# Jupyter's own warnings (sockets left to the garbage collector, event loops, moved folders) are not ours.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

Outputs = dict[str, str]
Execute = Callable[..., Outputs]


def notebook(name: str) -> Any:
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=nbformat.NO_CONVERT)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NotebookClient]:
    """One kernel for all notebooks, so that the packages are imported once; nothing of the person's own Jupyter."""
    folder = tmp_path_factory.mktemp("jupyter")
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setenv(name, str(folder / name.lower()))
        patch.setenv("PYTHONPATH", str(NOTEBOOKS.parents[1]))
        patch.setenv("PYTHONWARNINGS", "ignore:IProgress not found")  # Optuna's progress bar, which nobody asked for
        made = NotebookClient(
            nbformat.v4.new_notebook(),
            timeout=120,
            kernel_name="python3",
            resources={"metadata": {"path": str(folder)}},
        )
        with made.setup_kernel():
            yield made


@pytest.fixture
def execute(client: NotebookClient) -> Execute:
    """Run a notebook's cells in a cleared namespace and return each code cell's output as text, by the cell's id."""

    def run(name: str, parameters: str, only: tuple[str, ...] = ()) -> Outputs:
        document = notebook(name)
        code = [cell for cell in document.cells if cell.cell_type == "code" and (not only or cell.id in only)]
        code[0].source = parameters
        first, last = (nbformat.v4.new_code_cell(text, id=i) for i, text in (("reset", "%reset -f"), ("light", LIGHT)))
        client.nb = nbformat.v4.new_notebook(cells=[first, *code, last], metadata=document.metadata)
        for place, cell in enumerate(client.nb.cells):
            client.execute_cell(cell, place)
        return {cell.id: _text(cell.outputs) for cell in client.nb.cells}

    return run


def _text(outputs: list[Any]) -> str:
    """Return what a reader sees: streams and, of what is displayed, HTML where there is some."""
    said = []
    for output in outputs:
        assert output.output_type != "stream" or output.name == "stdout", output.text
        data = output.get("data", {})
        said.append(output.get("text") or data.get("text/html") or data.get("text/plain", ""))
    return "\n".join(said)


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Path:
    truth = Truth(score=lambda values: 0.02 * (values["model.norm"] == "group") - 0.3 * values["optimizer.lr"])
    folder = tmp_path_factory.mktemp("search")
    return write_store(folder, truth=truth, space=SPACE, trials=60, epochs=9, extras=False, compact=True)


def test_there_are_these_and_no_others() -> None:
    assert tuple(sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_committed_clean(name: str) -> None:
    document = notebook(name)
    assert (document.nbformat, document.nbformat_minor) == (4, 5)
    nbformat.validate(document)
    assert document.metadata.kernelspec.name == "python3"
    ids = [cell.id for cell in document.cells]
    assert len(set(ids)) == len(ids)
    code = [cell for cell in document.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    tagged = [cell for cell in document.cells if "parameters" in cell.metadata.get("tags", [])]
    assert tagged == code[:1]
    assert 'store = "results/' in tagged[0].source
    assert "tune-app run" in tagged[0].source


def test_the_ablation_shows_every_arm_its_effect_and_its_verdict(execute: Execute, ablation: Path) -> None:
    found = execute("ablation_walkthrough", f"store = {str(ablation)!r}")
    for arm in ("norm=group", "norm=none", "batch_size=32"):
        assert all(arm in found[cell] for cell in ("statuses", "differences", "pairing", "effects", "power", "noise"))
        assert arm in found["by-hand"]
    assert "baseline" not in found["effects"]
    assert "worse" in found["effects"].split("norm=none")[1].split("</tr>")[0]
    for picture in ("every-seed", "forest", "curves", "power-curve"):
        assert "<svg" in found[picture]
    assert found["light"] == "heavy: []\n"


def test_the_search_names_the_winner_the_rungs_and_the_fields(execute: Execute, search: Path) -> None:
    found = execute("search_and_pruning_audit", f"store = {str(search)!r}")
    assert "rungs at epochs (1, 3)" in found["stopped"]
    assert all(name in found["best"] for name in SPACE)
    assert found["best"].count("<tr") <= 11
    assert "same_order" in found["ranks"]
    assert "pruned trials" in found["ends"]
    assert "within two errors of the winner" in found["doubtful"]
    assert all(name in found["importance"] for name in SPACE)
    for picture in ("history", "stopped-picture", "curves", "parallel", "importance-picture"):
        assert "<svg" in found[picture]
    assert found["light"] == "heavy: []\n"


def test_the_factorization_reaches_the_optimum_and_says_what_is_not_unique(execute: Execute, ablation: Path) -> None:
    found = execute("factorization_and_svd", f"store = {str(ablation)!r}\nrank = 2")
    assert "passed: True" in found["checks"]
    assert "the product AB is unique" in found["checks"]
    assert "failed" not in found["checks"]
    assert "share of energy" in found["spectrum"]
    assert "objective gap" in found["rates"]
    assert "eta2 by chance" in found["meaning"]
    assert "norm=none" in found["meaning-arms"]
    assert "by effects alone" in found["complete"]
    for picture in ("convergence", "spectrum-picture", "rates-picture"):
        assert "<svg" in found[picture]
    assert found["light"] == "heavy: []\n"


def test_the_landscape_has_the_bends_it_was_made_with(execute: Execute, ablation: Path) -> None:
    found = execute("loss_landscapes_and_quantiles", f"store = {str(ablation)!r}")
    assert "81" in found["surfaces"]
    row = found["bends"].split("baseline")[1]
    assert "<td>2.0</td>" in row
    assert "<td>4.0</td>" in row
    assert "4.0" in found["curvature"]
    assert "features" in found["layers"]
    assert "norm=none" in found["spread"]
    for picture in ("landscapes", "surface", "quantiles"):
        assert "<svg" in found[picture]
    assert found["light"] == "heavy: []\n"


def test_a_store_without_surfaces_and_quantiles_is_told_so(execute: Execute, tmp_path: Path) -> None:
    bare = write_store(tmp_path / "bare", extras=False, epochs=2, seeds=2)
    found = execute("loss_landscapes_and_quantiles", f"store = {str(bare)!r}")
    assert "no surfaces yet" in found["landscapes"]
    assert "no quantiles" in found["quantiles"]


def test_a_notebook_reads_an_object_store(execute: Execute, ablation: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    boto3 = pytest.importorskip("boto3")
    server_module = pytest.importorskip("moto.server")
    keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}
    server = server_module.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        keys["AWS_ENDPOINT_URL"] = f"http://{host}:{port}"
        for name, value in keys.items():
            monkeypatch.setenv(name, value)
        bucket = boto3.resource("s3").create_bucket(Bucket="bucket")
        for path in sorted(ablation.rglob("*")):
            if path.is_file():
                bucket.upload_file(str(path), f"results/study/{path.relative_to(ablation).as_posix()}")
        parameters = f"import os\nos.environ.update({keys!r})\nstore = 's3://bucket/results/study'"
        steps = ("parameters", "load", "trials", "statuses", "differences")
        found = execute("ablation_walkthrough", parameters, only=steps)
    finally:
        server.stop()
    assert "Everything in the store could be read." in found["load"]
    assert "norm=none" in found["differences"]
    assert found["light"] == "heavy: []\n"
