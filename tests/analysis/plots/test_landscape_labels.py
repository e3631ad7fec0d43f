import itertools

import numpy as np
import pytest
from matplotlib.text import Text

from analysis.plots.landscape import draw_landscapes, two_digits


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
