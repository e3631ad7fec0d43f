from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.plots.effects import draw_effects
from analysis.plots.style import arm_styles
from analysis.report.tables import (
    effects_table,
    escaped_markdown,
    means_table,
    to_csv,
    to_latex,
    to_markdown,
    write_table,
)
from analysis.report.words import check_table, effect_rows
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


FORMULAS = ["=cmd|' /C calc'!A0", "@SUM(A1)", "+cmd|x", "-2+3+cmd|x", "\t=1", "\r=1", " =1", "＝1", "-cmd", "=1"]
NUMBERS = ["+0.31", "-0.5", "−0.50", "-1.2e-05", "+3 %", "-0.5 to +0.2", "norm=none", "a-b", "", "–"]


def test_no_text_in_a_csv_begins_like_a_formula() -> None:
    table = pd.DataFrame({"=Arm": FORMULAS + NUMBERS, "n": range(len(FORMULAS + NUMBERS))})
    written = pd.read_csv(io.StringIO(to_csv(table)), keep_default_na=False, skip_blank_lines=False)
    assert list(written.columns) == ["'=Arm", "n"]
    for before, after in zip(table["=Arm"], written["'=Arm"], strict=True):
        assert after == (f"'{before}" if before in FORMULAS else before).replace("\r", "\n")
    assert written["n"].tolist() == table["n"].tolist()


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("<script>alert(1)</script>", "&lt;script>alert(1)&lt;/script>"),
        ("<!-- x", "&lt;!-- x"),
        ("[x](javascript:alert(1))", "[x\\](javascript:alert(1))"),
        ("![x] (http://h)", "![x\\](http://h)"),
        ("one\ntwo\r\n| three", "one two | three"),
        ("p < 0.001, [a, b]", "p < 0.001, [a, b]"),
    ],
)
def test_markdown_finds_no_html_and_no_link_in_text(text: str, escaped: str) -> None:
    assert escaped_markdown(text) == escaped
    assert "<script" not in to_markdown(pd.DataFrame({text: [text]}))


def test_other_tests_and_intervals_stand_beside_the_paired_comparison(results: StudyResults) -> None:
    raw = effects(results)
    table = check_table(raw, results.metric_record())
    row = dict(zip(table["heads"], table["rows"][0], strict=True))
    first = raw.iloc[0]
    ends = [f"{end * 100:+.2f}".replace("-", "−") for end in (first["welch_low"], first["welch_high"])]
    assert row["Unpaired (Welch)"] == f"{ends[0]} to {ends[1]}"
    ends = [f"{end * 100:+.2f}".replace("-", "−") for end in (first["max_t_low"], first["max_t_high"])]
    assert row["All arms at once (max-t)"] == f"{ends[0]} to {ends[1]}"
    assert row["Correlation"] == f"{first['correlation']:.2f}".replace("-", "−")
    assert "Collapsed" not in row
    counted = check_table(raw.assign(collapsed=2, runs=5, reference_runs=5, collapsed_p=0.44), results.metric_record())
    assert counted["rows"][0][list(counted["heads"]).index("Collapsed")] == "2 of 5, 0 of 5 (p = 0.44)"


def test_the_column_of_sign_flips_is_empty_where_too_many_pairs_have_no_exact_test(results: StudyResults) -> None:
    raw = effects(results).head(2).assign(n=[12, 13], p=[0.0005, 0.2])
    table = check_table(raw, results.metric_record())
    place = table["heads"].index("p sign flips")
    assert [row[place] for row in table["rows"]] == ["< 0.001", "–"]
    assert "up to 12 pairs" in table["note"]


def test_an_equivalent_line_shows_the_interval_that_its_test_rests_on(results: StudyResults) -> None:
    raw = effects(results).assign(verdict="equivalent", low90=-0.001, high90=0.002)
    [row, *_] = effect_rows(raw, results.metric_record())
    assert row["interval"] == "−0.10 to +0.20 (90 %)"
    styles = arm_styles(results.arms, results.reference_arm)
    assert "(-0.10 to +0.20), equivalent" in draw_effects(raw, styles, metric=results.metric_record()).alt


def test_the_words_of_the_effects_picture_leave_out_what_is_not_known(results: StudyResults) -> None:
    raw, styles = effects(results), arm_styles(results.arms, results.reference_arm)
    one = raw.assign(difference=[0.01, np.nan, np.nan], low=np.nan, high=np.nan, verdict="undecided")
    alt = draw_effects(one, styles, metric=results.metric_record()).alt
    assert alt == "Forest plot of differences in points: batch_size=32 +1.00, undecided."


def test_an_equivalent_line_shows_the_p_of_the_equivalence_test(results: StudyResults) -> None:
    raw = effects(results).assign(p_holm=0.7, equivalent_holm=0.02)
    for verdict, shown in (("equivalent", "0.020"), ("undecided", "0.700"), ("worse", "0.700")):
        table = effects_table(raw.assign(verdict=verdict), results.metric_record())
        assert set(table["p (Holm)"]) == {shown}
