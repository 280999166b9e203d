"""Planning with what was recorded costs no more than planning with the job file: nights played one after another.

Everything is drawn from seeds, so that a history is the same at every run. `python benchmarks/learning.py` has the
whole table.
"""

import pytest

from benchmarks.learning import CASES, play

QUICK = ("no steps, usual market", "steps, scarce market", "overrides on a slower type")


@pytest.mark.parametrize("case", [case for case in CASES if case.name in QUICK], ids=lambda case: case.name)
def test_what_is_learnt_costs_no_more_than_the_job_file(case):
    played = play(case, histories=15)
    assert played.learnt_cost <= played.file_cost
    assert played.late_rate <= played.file_late_rate + 0.01


@pytest.mark.long
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_fifty_histories_of_every_case_cost_no_more_than_the_job_file(case):
    played = play(case, histories=50)
    assert played.learnt_cost <= played.file_cost
    assert played.late_rate <= played.file_late_rate + 0.002
