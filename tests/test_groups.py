"""Tests that share something dear, such as a deployment, run in one process: pytest keeps their group together."""

import pytest


@pytest.mark.xdist_group("together")
def test_a_group_is_known_to_what_hands_out_the_tests(request):
    if not request.config.getoption("loadgroup", False):
        pytest.skip("not run with --dist loadgroup (make test is)")
    assert request.node.nodeid.endswith("@together")
