from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from analysis.report.tables import effects_table, means_table, to_latex, to_markdown, write_table
from analysis.stats.effects import effects
from analysis.store.load import StudyResults
from search_spaces.errors import StudyError

AWKWARD = pd.DataFrame({"Arm": ["a_b|c", "50% & $x$"], "n": [1, 2]})


def test_effects_are_printed_in_points_with_the_sign(results: StudyResults) -> None:
    raw = effects(results).set_index("arm")
    table = effects_table(effects(results), results.metric_record()).set_index("Arm")
    expected = f"{raw.loc['norm=none', 'difference'] * 100:+.2f}".replace("-", "−")
    assert table.loc["norm=none", "Difference (points)"] == expected
    assert table.loc["norm=none", "Verdict"] == raw.loc["norm=none", "verdict"]


def test_means_have_half_an_interval_and_n(results: StudyResults) -> None:
    table = means_table(results.trials, results.metric_records(["val_accuracy", "test_accuracy"]).values()).set_index(
        "Arm"
    )
    of_arm = results.trials.query("arm == 'baseline'")["test_accuracy"] * 100
    assert table.loc["baseline", "Test accuracy (%)"].startswith(f"{of_arm.mean():.2f} ± ")
    assert table.loc["baseline", "n"] == 5


def test_markdown_escapes_bars_and_aligns_numbers() -> None:
    assert to_markdown(AWKWARD) == "| Arm | n |\n| --- | ---: |\n| a_b\\|c | 1 |\n| 50% & $x$ | 2 |\n"


def test_latex_has_booktabs_rules_and_escapes_commands() -> None:
    latex = to_latex(AWKWARD, "100 % & more", "tab:x")
    for part in (r"\toprule", r"\midrule", r"\bottomrule", r"a\_b|c", r"50\% \& \$x\$", r"\caption{100 \% \& more}"):
        assert part in latex


@pytest.mark.parametrize("kind", [".md", ".csv", ".tex"])
def test_a_table_is_written_by_its_ending(kind: str, tmp_path: Path) -> None:
    path = write_table(AWKWARD, tmp_path / "sub" / f"t{kind}")
    assert "a" in path.read_text(encoding="utf-8")


def test_csv_can_be_read_back(tmp_path: Path) -> None:
    pd.testing.assert_frame_equal(pd.read_csv(write_table(AWKWARD, tmp_path / "t.csv")), AWKWARD)


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"must end in .md, .csv or .tex"):
        write_table(AWKWARD, tmp_path / "t.xlsx")
