"""The cases of single states of the workflow: what each must come to, on AWS as in the local interpreters.

The cases stand in state_cases.json; `python -m tests.selftest.golden` writes them again from the simulation's
interpreter, and moto's is held against them as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

import nightspot
from nightspot.failures.redaction import redact
from nightspot.selftest.workspace import Workspace

WORKFLOW_FILE = Path(nightspot.__file__).parent / "statemachine" / "training_run.asl.json"
CASES_FILE = Path(__file__).with_name("state_cases.json")
STOPPING = "Stop the training job"  # the one call of SageMaker that the workflow itself makes
# Expressions that read the clock: what they give is not compared.
CLOCK_KEYS = frozenset({":now", ":expires"})
CLOCK = "<clock>"
# A Wait is waited out.
LONGEST_WAIT_SECONDS = 60


class After(BaseModel):
    """What a state comes to, in TestState's words. `arguments`: of a task, after its expressions."""

    model_config = ConfigDict(frozen=True)

    status: str  # SUCCEEDED, FAILED, RETRIABLE or CAUGHT_ERROR
    next: str | None = None
    output: Any = None
    error: str | None = None
    cause: str | None = None
    variables: dict[str, Any] = Field(default_factory=dict)
    arguments: Any = None


class StateCase(BaseModel):
    """One case. `result` of a task that succeeds, or `error`; `retries`: how often it was tried again already."""

    model_config = ConfigDict(frozen=True)

    name: str
    state: str
    variables: dict[str, Any]
    input: Any = Field(default_factory=dict)
    result: Any = None
    error: dict[str, str] | None = None
    retries: int = 0
    waits_seconds: int = 0
    then: After


def read_cases() -> tuple[StateCase, ...]:
    """Every case of the file. It has the variables of all cases once, and of each what is different."""
    given = json.loads(CASES_FILE.read_text(encoding="utf-8"))
    return tuple(_read(each, given["variables"]) for each in given["cases"])


def _read(given: dict[str, Any], usual: Mapping[str, Any]) -> StateCase:
    variables = {} if given.pop("without_variables", False) else {**usual, **given.pop("changes", {})}
    then = given.pop("then")
    after = {**variables, **then.pop("assigned", {})}
    return StateCase(**given, variables=variables, then=After(**then, variables=after))


def dump_cases(cases: Iterable[StateCase], usual: Mapping[str, Any]) -> str:
    """The file's text; `usual`: the variables that most cases have."""
    shown = []
    for case in cases:
        each = case.model_dump(mode="json", exclude_defaults=True, exclude={"variables"})
        each["then"].pop("variables", None)
        if changes := _changed(usual, case.variables):
            each["changes"] = changes
        if not case.variables:
            each["without_variables"] = True
        if assigned := _changed(case.variables, case.then.variables):
            each["then"]["assigned"] = assigned
        shown.append(each)
    return json.dumps({"variables": usual, "cases": shown}, indent=1, ensure_ascii=False) + "\n"


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in after.items() if name not in before or before[name] != value}


def definition(names: Mapping[str, str]) -> dict[str, Any]:
    """The workflow with the names of a deployment filled in, as CloudFormation does it. KeyError without one."""
    text = WORKFLOW_FILE.read_text(encoding="utf-8")
    filled: dict[str, Any] = json.loads(re.sub(r"\$\{(\w+)\}", lambda match: names[match[1]], text))
    return filled


def placeholders() -> set[str]:
    """The names that the workflow file leaves open."""
    return set(re.findall(r"\$\{(\w+)\}", WORKFLOW_FILE.read_text(encoding="utf-8")))


def sample_names(region: str, account_id: str) -> dict[str, str]:
    """Names such as a deployment has, of things that need not be there."""
    function = f"arn:aws:lambda:{region}:{account_id}:function:nightspot-selftest-"
    known = {"TableName": "nightspot-selftest", "EventBusName": "default", "Environment": "selftest"}
    return {name: known.get(name, f"{function}{name.removesuffix('FunctionArn')}") for name in placeholders()}


def context(execution_arn: str) -> dict[str, Any]:
    """The context object of every case."""
    return {
        "Execution": {
            "Id": execution_arn,
            "Input": {"job": "recommender"},
            "Name": "nightly",
            "StartTime": "2026-11-21T01:30:00.000Z",
        },
        "Task": {"Token": "token-of-the-task"},
    }


def question(
    case: StateCase, workflow: Mapping[str, Any], execution_arn: str, role_arn: str
) -> dict[str, Any]:
    """TestState's arguments for a case."""
    asked: dict[str, Any] = {
        "definition": json.dumps(workflow),
        "stateName": case.state,
        "roleArn": role_arn,
        "input": json.dumps(case.input),
        "variables": json.dumps(case.variables),
        "inspectionLevel": "TRACE",
    }
    if workflow["States"][case.state]["Type"] != "Task":
        # Step Functions takes a context only beside a mock, and a mock only of a task.
        # https://docs.aws.amazon.com/step-functions/latest/apireference/API_TestState.html
        return asked
    asked["context"] = json.dumps(context(execution_arn))
    if case.error is not None:
        said = {
            "error": case.error["Error"],
            **({"cause": case.error["Cause"]} if "Cause" in case.error else {}),
        }
        asked["mock"] = {"errorOutput": said, "fieldValidationMode": "NONE"}
        asked["stateConfiguration"] = {"retrierRetryCount": case.retries}
    else:
        asked["mock"] = {"result": json.dumps(case.result), "fieldValidationMode": "NONE"}
    return asked


def really_tested(
    workspace: Workspace, state: Mapping[str, Any], variables: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """TestState's answer for a state whose call is made, and whose error is neither retried nor caught.

    `$states.context` is empty: Step Functions takes one only beside a mock. Raises ClientError.
    """
    alone = {name: value for name, value in state.items() if name not in {"Next", "Retry", "Catch"}}
    said: dict[str, Any] = workspace.client("stepfunctions").test_state(
        definition=json.dumps({"QueryLanguage": "JSONata", **alone, "End": True}),
        roleArn=workspace.role_arn(),
        input="{}",
        variables=json.dumps(variables or {}),
    )
    return said


def stopped_by_the_workflow(workspace: Workspace, job: str) -> tuple[str, str]:
    """Error and Cause of the workflow's own state that stops a training job, ("", "") where it is stopped."""
    state = definition(sample_names(workspace.region, workspace.account_id))["States"][STOPPING]
    said = really_tested(workspace, state, {"step": {"training_job_name": job}})
    return str(said.get("error", "")), redact(str(said.get("cause", "")))


def answer(said: Mapping[str, Any]) -> After:
    """What TestState has answered."""
    inspected = said.get("inspectionData", {})
    return After(
        status=said["status"],
        next=said.get("nextState"),
        output=_json(said.get("output")),
        error=said.get("error"),
        cause=said.get("cause"),
        variables=_json(inspected.get("variables")) or {},
        arguments=_json(inspected.get("afterArguments")),
    )


def _json(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def differences(wanted: After, got: After, *, is_task: bool) -> list[str]:
    """In which fields two answers differ; what the clock says, and arguments of what is no task, do not count.

    Of a state that will be tried again only that is compared.
    """
    fields = ["status"]
    if wanted.status != "RETRIABLE":
        fields += ["next", "variables"]
        fields += ["error", "cause"] if wanted.status == "FAILED" else ["output"]
        fields += ["arguments"] if is_task and wanted.status == "SUCCEEDED" else []
    return [name for name in fields if _timeless(getattr(wanted, name)) != _timeless(getattr(got, name))]


def _timeless(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: CLOCK if key in CLOCK_KEYS else _timeless(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_timeless(inner) for inner in value]
    # JSON has one kind of number.
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
