import itertools

import numpy as np
import pytest
from matplotlib.text import Text

from analysis.plots.landscape import (
    NO_LOSS,
    draw_landscape_contour,
    draw_landscape_surface,
    draw_landscapes,
    two_digits,
)


@pytest.mark.parametrize(
    ("value", "text"), [(0.0468, "0.047"), (1.24, "1.2"), (108.0, "110"), (1345.0, "1,300"), (3e7, "3e+07"), (0.0, "0")]
)
def test_a_loss_is_written_to_two_digits_as_people_read_it(value, text):
    assert two_digits(value) == text


def test_titles_of_maps_side_by_side_do_not_overlap():
    x = np.linspace(-1, 1, 5)
    names = [f"network=resnet-{depth}-with-a-long-name" for depth in (8, 14, 26, 56, 110)]
    surfaces = dict.fromkeys(names, (x, x, 1 + x[:, None] ** 2 + x**2))
    figure = draw_landscapes(surfaces).figure
    figure.draw_without_rendering()
    found = [text for text in figure.findobj(Text) if text.get_text().startswith("network")]
    titles = [text.get_window_extent() for text in found]
    assert len(titles) == 5
    assert not any(one.overlaps(other) for one, other in itertools.combinations(titles, 2))


AXIS = np.linspace(-1, 1, 5)


@pytest.mark.parametrize("odd", [np.inf, np.nan])
def test_a_point_without_a_finite_loss_leaves_heights_and_words_to_the_others(odd):
    loss = 1 + AXIS[:, None] ** 2 + AXIS**2
    loss[0, 0] = odd
    picture = draw_landscape_surface(AXIS, AXIS, loss)
    picture.figure.draw_without_rendering()
    ticks = [label.get_text() for label in picture.figure.axes[0].get_zticklabels()]
    assert ticks == ["1", "1.4", "2.1", "3"]
    assert picture.alt.endswith("from 1 nats at its lowest point to 3.")


@pytest.mark.parametrize("odd", [np.inf, np.nan])
def test_a_surface_without_any_finite_loss_says_so(odd):
    loss = np.full((5, 5), odd)
    surface, contour = draw_landscape_surface(AXIS, AXIS, loss), draw_landscape_contour(AXIS, AXIS, loss)
    assert [text.get_text() for text in surface.figure.texts] == [NO_LOSS]
    for picture in (surface, contour):
        picture.figure.draw_without_rendering()
        assert picture.alt.endswith(f"of the loss: {NO_LOSS}.")
