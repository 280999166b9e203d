"""What becomes of a request's hyperparameters and code, held against answers of SageMaker's own training toolkit.

tests/local/toolkit/cases.json was answered by sagemaker-training 5.1.4 (ask.py beside it asks again).
"""

import json
import runpy
from pathlib import Path

import pytest

from nightspot.local.sagemaker import toolkit
from nightspot.local.sagemaker.toolkit import EntryPointError

FOLDER = Path(__file__).parent / "toolkit"
CASES = json.loads((FOLDER / "cases.json").read_text())
ASK = runpy.run_path(str(FOLDER / "ask.py"))


def request_of(case):
    return {"HyperParameters": case["hyperparameters"]}


def variables_of(case):
    own = case.get("environment", {})
    return toolkit.environment(
        toolkit.parameters(request_of(case)),
        base="/opt/ml",
        resources=ASK["RESOURCES"],
        channels=case.get("channels", {}),
        job_name="job",
        entry_point=own.get("SAGEMAKER_PROGRAM"),
        framework_module=own.get("SAGEMAKER_TRAINING_MODULE"),
    )


def readable(variables):
    """With JSON decoded, so that a difference can be read."""
    return {name: json.loads(text) if text[:1] in {"{", "["} else text for name, text in variables.items()}


@pytest.mark.parametrize("name", CASES)
def test_hyperparameters_become_the_same_arguments(name):
    given = toolkit.parameters(request_of(CASES[name]))
    assert toolkit.arguments(given.own) == CASES[name]["answer"]["arguments"]


@pytest.mark.parametrize("name", [name for name in CASES if "variables" in CASES[name]["answer"]])
def test_the_script_finds_the_same_variables(name, monkeypatch):
    monkeypatch.setattr(toolkit.os, "cpu_count", lambda: 4)
    monkeypatch.setattr(toolkit, "gpus", lambda: 0)
    monkeypatch.setattr(toolkit, "neurons", lambda: 0)
    known = CASES[name]["answer"]["variables"]
    assert readable(variables_of(CASES[name])) == readable(known)
    assert variables_of(CASES[name])["SM_HPS"] == known["SM_HPS"]


@pytest.mark.parametrize("name", CASES)
def test_the_archive_is_unpacked_and_run_in_the_same_way(name, tmp_path):
    case = CASES[name]
    given = toolkit.parameters(request_of(case))
    program = case.get("environment", {}).get("SAGEMAKER_PROGRAM") or given.program
    toolkit.unpack(ASK["archive"](case["archive"]), tmp_path / "code", "s3://bucket/sourcedir.tar.gz")
    assert ASK["files_of"](tmp_path / "code") == case["answer"]["files"]
    words = toolkit.arguments(given.own)
    if case["answer"]["command"] == "refused":
        with pytest.raises(EntryPointError, match=r"^sagemaker_program: "):
            toolkit.entry_command(tmp_path / "code", program, words, "python")
    else:
        made = toolkit.entry_command(tmp_path / "code", program, words, "python")
        assert made == case["answer"]["command"]


def test_a_program_that_is_not_in_the_archive_is_said_with_what_is(tmp_path):
    toolkit.unpack(ASK["archive"]([["main.py", ""], ["src/a.py", ""]]), tmp_path, "s3://bucket/code.tar.gz")
    with pytest.raises(EntryPointError, match=r"'train.py': is not in the archive, which has main.py, src"):
        toolkit.entry_command(tmp_path, "train.py", [], "python")


@pytest.mark.parametrize(
    "archive", [b"", b"PK\x03\x04 a zip", b"\x1f\x8b cut off"], ids=["empty", "zip", "cut"]
)
def test_what_is_no_archive_is_refused_by_its_address(archive, tmp_path):
    with pytest.raises(EntryPointError, match=r"'s3://bucket/code.tar.gz': must be a .tar.gz archive"):
        toolkit.unpack(archive, tmp_path, "s3://bucket/code.tar.gz")


def test_the_drivers_of_model_trainer_pass_json_in_the_requests_order():
    # basic_script_driver.py of sagemaker-train 1.27 (hyperparameters_to_cli_args)
    request = {
        "HyperParameters": {"zeta": "true", "n": "1", "alpha": '{"b": [1]}', "name": '"adam"', "no": "null"}
    }
    words = toolkit.driver_arguments(toolkit.parameters(request).own)
    assert words == ["--zeta", "true", "--n", "1", "--alpha", '{"b": [1]}', "--name", "adam", "--no", "null"]


def test_the_machines_own_gpus_are_counted(monkeypatch, tmp_path):
    lister = tmp_path / "nvidia-smi"
    lister.write_text("#!/bin/sh\necho 'GPU 0: A (UUID: x)'\necho 'GPU 1: A (UUID: y)'\necho '  MIG 1g'\n")
    lister.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    toolkit.gpus.cache_clear()
    assert toolkit.gpus() == 2
    toolkit.gpus.cache_clear()
    monkeypatch.setenv("PATH", "")
    assert toolkit.gpus() == 0
    toolkit.gpus.cache_clear()
