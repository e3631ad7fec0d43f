from __future__ import annotations

import io
import itertools

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from analysis.plots.style import DARK, LIGHT, Theme, arm_styles, literal, shorten, themed

# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
DEFICIENCIES = {
    "none": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(color: str) -> np.ndarray:
    srgb = np.array(mpl.colors.to_rgb(color))
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def cielab(rgb: np.ndarray) -> np.ndarray:
    t = TO_XYZ @ rgb.clip(0, 1) / [0.9505, 1.0, 1.089]
    f = np.where(t > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_colors_stay_apart_in_colour_blindness(theme: Theme, deficiency: str) -> None:
    seen = [cielab(np.asarray(DEFICIENCIES[deficiency]) @ linear(color)) for color in (*theme.palette, theme.ink)]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 15


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_colors_stand_out_from_their_background(theme: Theme) -> None:
    def luminance(color: str) -> float:
        return float(TO_XYZ[1] @ linear(color))

    def contrast(a: str, b: str) -> float:
        high, low = sorted((luminance(a), luminance(b)), reverse=True)
        return (high + 0.05) / (low + 0.05)

    assert all(contrast(color, theme.surface) >= 3 for color in theme.palette)
    assert all(contrast(text, theme.surface) >= 4.5 for text in (theme.ink, theme.muted))


def test_an_arm_keeps_its_color_whatever_is_drawn_beside_it() -> None:
    arms = ["baseline", *(f"arm {i}" for i in range(9))]
    alone, among = arm_styles(arms, "baseline"), arm_styles([*arms, "later"], "baseline")
    assert {arm: among[arm].color(LIGHT) for arm in arms} == {arm: alone[arm].color(LIGHT) for arm in arms}


def test_arms_past_the_palette_differ_by_dash_or_marker() -> None:
    styles = arm_styles([f"arm {i}" for i in range(25)])
    looks = {(style.hue, str(style.dash), style.marker) for style in styles.values()}
    assert len(looks) == 25


def test_the_reference_arm_is_ink_in_both_themes() -> None:
    style = arm_styles(["a", "b"], "b")["b"]
    assert (style.color(LIGHT), style.color(DARK)) == (LIGHT.ink, DARK.ink)
    assert style.role == "ink"


def test_drawing_leaves_the_global_settings_alone() -> None:
    before = mpl.rcParams.copy()

    @themed
    def draw(*, theme: Theme = LIGHT) -> str:
        return str(mpl.rcParams["text.color"])

    assert draw(theme=DARK) == DARK.ink
    assert draw() == LIGHT.ink
    assert mpl.rcParams == before


def test_dollar_signs_are_printed_not_set_as_mathematics() -> None:
    figure = Figure()
    text = figure.text(0, 0, literal(r"cost=$5, $\frac{"))
    figure.savefig(io.BytesIO(), format="svg")
    assert text.get_text() == r"cost=\$5, \$\frac{"


@pytest.mark.parametrize(
    ("name", "length", "shown"), [("short", 5, "short"), ("abcdefgh", 5, "ab…gh"), ("abcd", 2, "…d")]
)
def test_long_names_are_cut_in_the_middle(name: str, length: int, shown: str) -> None:
    assert shorten(name, length) == shown
