"""A deployment that is changed while a run waits, removed, and made again."""

import hashlib
import json
import shutil

import pytest

pytestmark = [pytest.mark.emulator, pytest.mark.long, pytest.mark.xdist_group("emulator")]


def test_a_run_outlives_an_update_and_the_stack_can_be_removed_and_made_again(staging, account):
    arn = staging.start({"job": "held"})
    staging.training_job_of(arn)
    _changed(account)
    account.cdk("deploy", "Staging", "--require-approval", "never", assembly="changed.out")
    function = staging.client("lambda").get_function_configuration(
        FunctionName=staging.function("DecideNextStep")
    )
    assert function["Environment"]["Variables"]["POWERTOOLS_LOG_LEVEL"] == "DEBUG"
    account.release_file.touch()
    try:
        execution = staging.end_of(arn)
    finally:
        account.release_file.unlink()
    assert execution["status"] == "SUCCEEDED", (execution.get("cause"), staging.failures())

    assert _scheduled_by("Staging", staging)
    account.cdk("destroy", "Staging", "--force")
    # Those of nested stacks as well.
    assert not _scheduled_by("Staging", staging)
    kept = staging.outputs["ModelBucket"]
    key = json.loads(execution["output"])["model_artifact"].removeprefix(f"s3://{kept}/")
    # What people have is kept: nightspot:keep_data.
    assert staging.client("s3").head_object(Bucket=kept, Key=key)["ContentLength"] > 0
    names = [each["FunctionName"] for each in staging.client("lambda").list_functions()["Functions"]]
    assert not [name for name in names if name.startswith("Staging-")]

    account.cdk("deploy", "Staging", "--require-approval", "never")
    again = account.read_stack("Staging")
    assert again.outputs["ModelBucket"] != kept
    execution = again.end_of(again.start({"job": "quick"}))
    assert execution["status"] == "SUCCEEDED", (execution.get("cause"), again.failures())


def _scheduled_by(name, stack):
    """The schedules that call a function of the environment of this name."""
    pages = stack.client("scheduler").get_paginator("list_schedules").paginate()
    found = [each for page in pages for each in page["Schedules"]]
    return [each["Name"] for each in found if f":function:{name}-" in each["Target"]["Arn"]]


def _changed(account):
    """The synthesised assembly with another log level in all functions, and another comment in the workflow.

    The CDK CLI publishes a template under the name of its digest, once.
    """
    changed = account.folder / "changed.out"
    shutil.copytree(account.folder / "cdk.out", changed)
    path = changed / "Staging.template.json"
    text = path.read_text()
    level, comment = '"POWERTOOLS_LOG_LEVEL": "INFO"', "One run of one job"
    assert level in text
    assert comment in text
    path.write_text(text.replace(level, level.replace("INFO", "DEBUG")).replace(comment, "A run of a job"))
    assets = json.loads((changed / "Staging.assets.json").read_text())
    (digest,) = (name for name, each in assets["files"].items() if each["source"]["path"] == path.name)
    for name in ("Staging.assets.json", "manifest.json"):
        file = changed / name
        file.write_text(file.read_text().replace(digest, hashlib.sha256(path.read_bytes()).hexdigest()))
