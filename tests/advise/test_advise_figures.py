"""A figure is as good as the weakest of what it is made from."""

import pytest

from nightspot.advise.filters import count, usd
from nightspot.advise.question import Figure, assumed, derived, priced, unknown
from nightspot.run.pricing import Basis

MEASURED = Figure(1, Basis.MEASURED, "m")


@pytest.mark.parametrize(
    ("inputs", "word"),
    [
        ([MEASURED], "measured"),
        ([MEASURED, priced(1, "p")], "priced"),
        ([priced(1, "p"), assumed(1, "a"), MEASURED], "assumed"),
        ([MEASURED, unknown("nobody knows")], "unknown"),
    ],
)
def test_what_is_reckoned_is_as_weak_as_its_weakest_input(inputs, word):
    assert derived(2, inputs, "computed").word == word


def test_what_is_unknown_says_why():
    found = derived(2, [priced(1, "p"), unknown("nobody knows")], "computed")
    assert (found.value, found.source) == (None, "nobody knows")


@pytest.mark.parametrize(("value", "basis"), [(None, Basis.ASSUMED), (1.0, None)])
def test_no_figure_is_half_known(value, basis):
    with pytest.raises(ValueError, match="must be None exactly where value is"):
        Figure(value, basis, "x")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (1240.4, "$1,240"),
        (41.304, "$41.30"),
        (40.0, "$40"),
        (-248.2, "-$248"),
        (-0.001, "$0"),
        (99.999, "$100"),
    ],
)
def test_cents_are_written_where_they_matter(value, words):
    assert usd(value) == words


@pytest.mark.parametrize(("value", "words"), [(2.0, "2"), (0.33, "0.3"), (30.04, "30")])
def test_counts_have_a_decimal_only_where_it_says_something(value, words):
    assert count(value) == words
