import pytest

from analysis.plots.landscape import two_digits


@pytest.mark.parametrize(
    ("value", "text"), [(0.0468, "0.047"), (1.24, "1.2"), (108.0, "110"), (1345.0, "1,300"), (3e7, "3e+07"), (0.0, "0")]
)
def test_a_loss_is_written_to_two_digits_as_people_read_it(value, text):
    assert two_digits(value) == text
