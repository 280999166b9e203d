"""SageMaker's training toolkit itself still answers what tests/local/toolkit/cases.json says."""

import json
import runpy
from pathlib import Path

import pytest

pytest.importorskip("sagemaker_training", reason="sagemaker-training is not installed: make frameworks")

FOLDER = Path(__file__).parents[1] / "toolkit"
CASES = json.loads((FOLDER / "cases.json").read_text())
ASK = runpy.run_path(str(FOLDER / "ask.py"))


@pytest.mark.parametrize("name", CASES)
def test_it_answers_as_is_written_down(name):
    # As text: NaN is no other NaN's equal.
    asked, known = ASK["ask"](CASES[name]), CASES[name]["answer"]
    assert json.dumps(asked, sort_keys=True) == json.dumps(known, sort_keys=True)
