"""The tests on a real account are made by nobody who did not ask for them."""

from __future__ import annotations

import pytest

from tests.contract.test_aws import ACCOUNT, why_not


@pytest.mark.parametrize(
    ("markers", "wanted", "made"),
    [
        ("aws", "123456789012", True),
        ("aws", None, False),
        ("", "123456789012", False),
        ("not long and not aws", "123456789012", False),
        ("not aws", "123456789012", False),
    ],
    ids=["asked for", "without the account", "no marker", "left out", "not"],
)
def test_only_who_asks_twice_asks_aws(markers, wanted, made):
    assert (why_not(markers, wanted) is None) is made


def test_the_reason_names_what_is_missing():
    assert ACCOUNT in why_not("aws", None)
    assert "-m aws" in why_not("not long", "123456789012")
