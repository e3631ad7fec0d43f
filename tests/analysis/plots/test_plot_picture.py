from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from analysis.plots.picture import Picture, save, to_svg
from search_spaces.errors import StudyError
from search_spaces.metrics import IMAGE_METRICS, metric_named


def figure() -> Figure:
    drawn = Figure(figsize=(2, 1))
    ax = drawn.subplots()
    ax.plot([0, 1], [1, 0], label="<b>&")
    ax.legend()
    return drawn


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_the_same_figure_is_saved_as_the_same_bytes(kind: str, tmp_path: Path) -> None:
    first, second = (save(figure(), tmp_path / name / f"f.{kind}") for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


def test_an_unknown_kind_of_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"`f.bmp` .* must end in .png, .svg or .pdf"):
        save(figure(), tmp_path / "f.bmp")


def test_svg_keeps_words_as_text_and_escapes_them() -> None:
    svg = to_svg(figure())
    assert svg.startswith("<svg")
    assert "&lt;b&gt;&amp;" in svg
    assert "<text" not in to_svg(figure(), text=False)


def test_a_notebook_shows_figure_caption_and_description_escaped() -> None:
    shown = Picture(figure(), "A & B", "n = 3 <seeds>", 'says "x"')._repr_html_()
    assert "A &amp; B" in shown
    assert "n = 3 &lt;seeds&gt;" in shown
    assert "says &quot;x&quot;" in shown


@pytest.mark.parametrize(
    ("metric", "axis", "shown"),
    [
        ("test_accuracy", "test accuracy (%)", "89.57%"),
        ("val_f1_macro", "validation macro F1 (%)", "89.57%"),
        ("train_loss", "training loss (nats)", "0.8957 nats"),
        ("seconds", "training time (s)", "0.9 s"),
        ("some_thing", "some thing", "0.896"),
    ],
)
def test_units_name_the_axis_and_write_the_value(metric: str, axis: str, shown: str) -> None:
    assert metric_named(metric, IMAGE_METRICS).axis == axis
    assert metric_named(metric, IMAGE_METRICS).show(0.8957) == shown
