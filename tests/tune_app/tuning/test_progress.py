import pytest

from tune_app.tuning.progress import duration


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.44, "0.4 s"),
        (1.94, "1.9 s"),
        (1.96, "2 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (245, "4 min 05 s"),
        (7830, "2 h 10 min"),
    ],
)
def test_a_length_of_time_is_said_as_a_person_says_it(seconds, words):
    assert duration(seconds) == words
