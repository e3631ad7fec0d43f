from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from written import train

from analysis import effects, load_study, write_report
from analysis.report.pairing import correlation_sentence, image_table
from analysis.stats.per_image import COLUMNS, paired_standard_error
from search_spaces.plan import make_plan
from tune_app.tuning.store.writer import parquet_bytes

pytestmark = pytest.mark.slow

N = 500
TREE = {"name": "pairs", "factors": {"model.norm": ["batch", "none"]}, "seeds": 4}


def store_with_images(folder: Path) -> Path:
    """Write a study whose arms share most of the images that they classify correctly."""
    root = train(folder, TREE)
    (root / "correct").mkdir()
    spec = load_study(root).spec
    assert spec is not None
    for cell in make_plan(spec).cells:
        rng = np.random.default_rng(cell.config.seed)
        right = rng.random(N) < 0.9
        if cell.arm.name == "norm=none":
            right &= np.random.default_rng(50 + cell.config.seed).random(N) < 0.95
        row = {"digest": cell.digest, "fingerprint": "f" * 16, "split": "test", "images": "a" * 16, "n": N}
        content = parquet_bytes("correct", [row | {"bits": np.packbits(right).tobytes()}])
        (root / "correct" / f"{cell.digest}-{'f' * 16}.parquet").write_bytes(content)
    return root


def test_effects_and_report_show_the_sampling_error_of_the_test_set(tmp_path: Path) -> None:
    results = load_study(store_with_images(tmp_path))
    assert results.problems == ()
    table = effects(results)
    row = table.iloc[0]
    right = [np.random.default_rng(seed).random(N) < 0.9 for seed in range(4)]
    kept = [np.random.default_rng(50 + seed).random(N) < 0.95 for seed in range(4)]
    both = [one & other for one, other in zip(right, kept, strict=True)]
    assert row["test_images"] == N
    assert row["test_error"] == pytest.approx(1.96 * paired_standard_error(np.stack(both), np.stack(right)), rel=1e-3)
    assert row["agreement"] == pytest.approx(np.mean([(a == b).mean() for a, b in zip(both, right, strict=True)]))
    assert (row["mcnemar_pairs"], row["mcnemar_different"]) == (4, 4)
    page = write_report(results, tmp_path / "page").read_text(encoding="utf-8")
    assert f"±{100 * row['test_error']:.2f}" in page
    assert "4 of 4" in page
    assert correlation_sentence(table) in page


def test_without_single_images_or_for_another_metric_there_are_no_such_figures(tmp_path: Path) -> None:
    bare = effects(load_study(train(tmp_path / "bare", TREE)))
    assert bare[list(COLUMNS)].isna().all(axis=None)
    assert image_table(bare) is None
    other = effects(load_study(store_with_images(tmp_path)), metric="val_accuracy")
    assert other[list(COLUMNS)].isna().all(axis=None)


@pytest.mark.parametrize(
    "change",
    [{"bits": b"\xff"}, {"bits": None}, {"n": None}, {"n": 0}, {"images": "b" * 16}, {"split": "val"}],
    ids=str,
)
def test_damaged_rows_and_rows_of_other_images_are_left_out(tmp_path: Path, change: dict[str, object]) -> None:
    root = store_with_images(tmp_path)
    file = sorted((root / "correct").iterdir())[0]
    row = pq.read_table(file).to_pylist()[0]
    file.write_bytes(parquet_bytes("correct", [row | change]))
    assert effects(load_study(root))["mcnemar_pairs"].tolist() == [3]


def frame(*correlations: float, n: int = 8) -> pd.DataFrame:
    return pd.DataFrame({"correlation": correlations, "n": n})


def test_the_correlation_is_said_with_n_and_what_pairing_gains() -> None:
    assert correlation_sentence(frame(0.75)) == (
        "Correlation with the reference arm over 8 seeds: 0.75, so by this estimate pairing by seed makes the standard "
        "error of a difference 0.50 times that of unpaired seeds."
    )
    assert "over 8 seeds: 0.30 on average (0.10 to 0.50), so" in correlation_sentence(frame(0.1, np.nan, 0.5))
    negative = correlation_sentence(frame(-0.2, 0.0))
    assert "−0.10 on average (−0.20 to 0.00), so by this estimate pairing by seed gains no precision" in negative
    assert correlation_sentence(frame(np.nan)) == ""


def test_what_pairing_gains_is_not_said_from_fewer_than_6_common_seeds() -> None:
    assert correlation_sentence(frame(0.9, n=5), "repeat") == (
        "Correlation with the reference arm over 5 repeats: 0.90; fewer than 6 repeats are too few to tell what pairing "
        "gains."
    )
    mixed = correlation_sentence(pd.concat([frame(0.9, n=5), frame(0.75, n=6), frame(0.75, n=7)]))
    assert mixed.startswith("Correlation with the reference arm over 6 to 7 seeds: 0.75 on average (0.75 to 0.75), so")
