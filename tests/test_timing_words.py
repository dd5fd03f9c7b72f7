"""Figures as texts: three digits, the unit that suits, nothing in powers of ten."""

from __future__ import annotations

import pytest
from synthetic import row

from camzoo.timing import statistics, words
from camzoo.timing.statistics import Interval

NUMBERS = {
    0: "0.00",
    0.0123: "0.012",
    0.5: "0.50",
    1.066: "1.07",
    9.994: "9.99",
    9.996: "10.0",
    99.94: "99.9",
    99.96: "100",
}
SECONDS = {
    2e-5: "20.0 us",
    0.0123: "12.3 ms",
    0.9996: "1.00 s",
    119: "119 s",
    121: "2.02 min",
    7300: "2.03 h",
    2e5: "2.31 days",
}
SIZES = {0: "0 B", 999: "999 B", 1000: "0.98 KiB", 614400: "600 KiB", 5 * 1024**2: "5.00 MiB", 3 * 1024**4: "3,072 GiB"}
ERRORS = {0: "0", 2e-7: "2e-07", 0.34: "0.34", float("inf"): "inf"}


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        *((words.number, *each) for each in NUMBERS.items()),
        *((words.seconds, *each) for each in SECONDS.items()),
        *((words.size, *each) for each in SIZES.items()),
        *((words.error, *each) for each in ERRORS.items()),
    ],
)
def test_words(write, value, text) -> None:
    assert write(value) == text


def test_an_interval() -> None:
    assert words.interval(Interval(3046.2, 2999.6, 3100)) == "3,046 [3,000, 3,100]"


def test_too_few_samples_have_no_interval() -> None:
    few, enough = (statistics.summary(row(processes=count)) for count in (1, 2))
    assert "[" not in words.cost(few)
    assert words.cost(enough) == words.interval(enough.forwards)


def test_a_column_without_a_word_in_it_is_left_out() -> None:
    head, full, empty = ["a", "b", "c"], [["1", "2", "3"], ["4", "", "6"]], [["1", "", "3"]]
    assert words.filled("b", head, full) == [head, *full]
    assert words.filled("b", head, empty) == [["a", "c"], ["1", "3"]]
    assert words.filled("b", head, []) == [["a", "c"]]
