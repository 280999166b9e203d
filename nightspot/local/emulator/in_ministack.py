"""Starts ministack with what it lacks for this stack. Runs in ministack's own environment: imports nothing of ours.

Each patch is a function with its reason; `PATCHES` is all of them. A test for each fails once ministack can do
without it. Written for ministack 1.5.33.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import http.client
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ministack import app
from ministack.core import iam_actions, iam_evaluator, router
from ministack.core.responses import get_account_id, get_region
from ministack.services import eventbridge, lambda_svc, stepfunctions
from ministack.services.cloudformation import provisioners

# Where the simulated SageMaker answers, in Nightspot's own process. Functions get this process's environment.
SAGEMAKER_URL = urlsplit(os.environ.pop("NIGHTSPOT_SAGEMAKER_URL", ""))
SAGEMAKER_SECONDS = 30.0


def sagemaker_is_simulated() -> None:
    """ministack has no SageMaker: the training-job calls are answered by Nightspot's simulated one.

    They come from SDKs over the wire and from tasks of Step Functions, and are authorised like all others, with
    iam:PassRole and sagemaker:AddTags beside CreateTrainingJob as on AWS.
    """
    router.SERVICE_PATTERNS["sagemaker"] = {"target_prefixes": ["SageMaker."], "host_patterns": []}
    iam_actions.SERVICE_TO_IAM_NAMESPACE["sagemaker"] = "sagemaker"
    stepfunctions._AWS_SDK_SERVICE_MAP["sagemaker"] = {"target_prefix": "SageMaker", "protocol": "json"}
    stepfunctions._AWS_SDK_ERROR_PREFIX["sagemaker"] = "SageMaker"
    resource_arn = iam_actions.extract_resource_arn

    def with_training_jobs(service: str, *rest: Any) -> str:
        if service != "sagemaker":
            return str(resource_arn(service, *rest))
        name = _document(rest[3]).get("TrainingJobName")
        return f"arn:aws:sagemaker:{rest[5]}:{rest[6]}:training-job/{name}" if name else "*"

    iam_actions.extract_resource_arn = with_training_jobs
    app.SERVICE_HANDLERS["sagemaker"] = _sagemaker
    threading.Thread(target=_put_state_changes, name="state-changes", daemon=True).start()


async def _sagemaker(
    _method: str, _path: str, headers: Mapping[str, str], body: bytes | str, _query: Any
) -> tuple[int, dict[str, str], bytes]:
    target = headers.get("x-amz-target", "")
    if target == "SageMaker.CreateTrainingJob" and app.AUTH and not _task_role.get():
        denied = _denied_beside_create(headers, _document(body))
        if denied is not None:
            return denied
    return await asyncio.to_thread(_ask_the_simulation, target, body)


def _denied_beside_create(
    headers: Mapping[str, str], request: Mapping[str, Any]
) -> tuple[int, dict[str, str], bytes] | None:
    key = router.extract_access_key_id(headers)
    for action, resource, context in _beside_create(request):
        found = iam_evaluator.enforce(
            key, action, "sagemaker", get_region(), resource_arn=resource, service_context=context
        )
        if found is not None:
            who = getattr(found, "principal_arn", "")
            message = f"User: {who} is not authorized to perform: {action} on resource: {resource}"
            return _refusal("AccessDeniedException", message)
    return None


def _beside_create(request: Mapping[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """What CreateTrainingJob asks of its caller besides itself: action, resource, condition keys."""
    passed = {"iam:PassedToService": "sagemaker.amazonaws.com"}
    wanted = [("iam:PassRole", str(request.get("RoleArn")), passed)]
    if request.get("Tags"):
        job = f"arn:aws:sagemaker:{get_region()}:{get_account_id()}:training-job/{request.get('TrainingJobName')}"
        wanted.append(("sagemaker:AddTags", job, {}))
    return wanted


def _ask_the_simulation(target: str, body: bytes | str) -> tuple[int, dict[str, str], bytes]:
    try:
        status, answer = _exchange("POST", body, {"X-Amz-Target": target})
    except OSError as error:
        return _refusal("ServiceUnavailable", f"the simulated SageMaker is gone: {error}", 503)
    return status, {"Content-Type": "application/x-amz-json-1.1"}, answer


def _put_state_changes() -> None:
    """The simulation's events, one after the other, on the account's bus.

    Where the simulation is gone, however it ended, this ends the emulator and its functions: nothing is left.
    """
    with contextlib.suppress(OSError):
        while True:
            status, answer = _exchange("GET")
            if status != HTTPStatus.OK:
                continue
            event = json.loads(answer)
            entry = {
                "Source": event["source"],
                "DetailType": event["detail-type"],
                "Detail": json.dumps(event["detail"]),
                "Resources": event["resources"],
            }
            eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)


def _exchange(
    method: str, body: bytes | str = b"", headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    """A request to the simulated SageMaker: the answer's status and body. Raises OSError."""
    connection = http.client.HTTPConnection(SAGEMAKER_URL.netloc, timeout=SAGEMAKER_SECONDS)
    try:
        connection.request(method, SAGEMAKER_URL.path, body, dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _refusal(code: str, message: str, status: int = 400) -> tuple[int, dict[str, str], bytes]:
    body = json.dumps({"__type": code, "Message": message, "message": message}).encode()
    return status, {"Content-Type": "application/x-amz-json-1.1"}, body


def _document(body: bytes | str) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        found = json.loads(body or b"{}")
        if isinstance(found, dict):
            return found
    return {}


def timeouts_may_be_jsonata() -> None:
    """TimeoutSeconds may be a JSONata expression, which ministack compares with a number as it stands.

    In stories they pass faster, by NIGHTSPOT_TIMEOUT_SCALE: ministack's own SFN_WAIT_SCALE scales waits alone.
    https://docs.aws.amazon.com/step-functions/latest/dg/state-task.html
    """
    execute = stepfunctions._execute_task
    scale = float(os.environ.get("NIGHTSPOT_TIMEOUT_SCALE", "1"))

    def with_a_number(state: dict[str, Any], raw_input: Any, execution: Any, ctx: Any) -> Any:
        if isinstance(state.get("TimeoutSeconds"), str):
            seconds = stepfunctions._apply_jsonata_template(state["TimeoutSeconds"], raw_input, ctx)
            state = {**state, "TimeoutSeconds": max(1, round(seconds * scale))}
        return execute(state, raw_input, execution, ctx)

    stepfunctions._execute_task = with_a_number


def rules_retry_and_keep_what_failed() -> None:
    """EventBridge calls functions asynchronously: what fails is tried again, then goes where OnFailure says.

    ministack does both for other callers, and calls a rule's function once.
    """

    def dispatch(arn: str, payload: str) -> None:
        function, config, _name = lambda_svc._get_func_record_for_ref(arn)
        if function and config:
            record = lambda_svc._execution_record_for_config(function, config)
            lambda_svc.invoke_async_with_retry(record, json.loads(payload))

    eventbridge._dispatch_to_lambda = dispatch


def functions_run_under_awss_runtime_client() -> None:
    """A Python function is a process of its own under `awslambdaric`, AWS's own client of Lambda's runtime.

    ministack's own worker gives every exception the same errorType, so no Catch of a state machine would find its
    error's name. A custom runtime's `bootstrap` is how ministack starts a process that speaks Lambda's Runtime API.
    """
    execute, unpacked = lambda_svc._execute_function_dispatch, lambda_svc._provided_runtime_code_dir

    def as_a_custom_runtime(function: Any, config: dict[str, Any], *rest: Any) -> Any:
        if not str(config.get("Runtime", "")).startswith("python"):
            return execute(function, config, *rest)
        config = {**config, "Runtime": "provided.al2023"}
        return execute({**function, "config": config}, config, *rest)

    def with_bootstrap(code_zip: bytes) -> str:
        folder = str(unpacked(code_zip))
        bootstrap = Path(folder, "bootstrap")
        if not bootstrap.exists():
            script = f'#!/bin/sh\nexec "{sys.executable}" -m awslambdaric "$_HANDLER"\n'
            fresh = bootstrap.with_name(f"bootstrap.{os.getpid()}.{id(script)}")
            fresh.write_text(script, encoding="utf-8")
            fresh.chmod(0o755)
            fresh.rename(bootstrap)
        return folder

    lambda_svc._execute_function_dispatch = as_a_custom_runtime
    lambda_svc._provided_runtime_code_dir = with_bootstrap


def notices_have_a_source_to_authorise() -> None:
    """PutEvents' condition key events:source, by which every statement of ours says whose events may be put.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-conditions.html
    """
    tags_of = iam_actions.request_tag_context

    def with_source(service: str, action: str, body: bytes, params: Any) -> dict[str, Any]:
        found: dict[str, Any] = tags_of(service, action, body, params)
        return {**found, **_events_source(_document(body))} if action == "events:PutEvents" else found

    iam_actions.request_tag_context = with_source


def _events_source(request: Mapping[str, Any]) -> dict[str, Any]:
    sources = sorted({str(entry.get("Source")) for entry in request.get("Entries", ())})
    return {"events:source": sources[0] if len(sources) == 1 else sources}


_task_role: contextvars.ContextVar[str] = contextvars.ContextVar("nightspot_task_role", default="")


def workflows_need_permissions() -> None:
    """What a state machine calls is authorised by its own role; ministack asks for none."""
    execute = stepfunctions._execute_task

    def as_the_machine(state: dict[str, Any], raw_input: Any, execution: Any, ctx: Any) -> Any:
        machine = stepfunctions._state_machines.get(execution["stateMachineArn"]) or {}
        token = _task_role.set(str(machine.get("roleArn", "")) if app.AUTH else "")
        try:
            return execute(state, raw_input, execution, ctx)
        finally:
            _task_role.reset(token)

    stepfunctions._execute_task = as_the_machine
    invoke, sdk = stepfunctions._call_lambda, stepfunctions._invoke_aws_sdk_integration
    put_events = stepfunctions._invoke_events_put_events

    def invoke_if_allowed(reference: str, event: Any) -> Any:
        _, config, _name = lambda_svc._get_func_record_for_ref(reference)
        _authorise("Lambda", "lambda:InvokeFunction", str((config or {}).get("FunctionArn", reference)))
        return invoke(reference, event)

    def sdk_if_allowed(resource: str, arguments: Any) -> Any:
        service, action = resource.removesuffix(".waitForTaskToken").split(":")[-2:]
        operation = action[:1].upper() + action[1:]
        if service == "dynamodb":
            table = dynamodb_arn(str(arguments.get("TableName")))
            _authorise("DynamoDb", f"dynamodb:{operation}", table)
        elif service == "sagemaker":
            job = str(arguments.get("TrainingJobName"))
            arn = f"arn:aws:sagemaker:{get_region()}:{get_account_id()}:training-job/{job}"
            _authorise("SageMaker", f"sagemaker:{operation}", arn)
            if operation == "CreateTrainingJob":
                for needed, on, context in _beside_create(arguments):
                    _authorise("SageMaker", needed, on, context)
        return sdk(resource, arguments)

    def put_if_allowed(resource: str, arguments: Any) -> Any:
        for entry in arguments.get("Entries", ()):
            bus = str(entry.get("EventBusName") or "default").rpartition("/")[2]
            arn = f"arn:aws:events:{get_region()}:{get_account_id()}:event-bus/{bus}"
            _authorise("EventBridge", "events:PutEvents", arn, _events_source({"Entries": [entry]}))
        return put_events(resource, arguments)

    stepfunctions._call_lambda = invoke_if_allowed
    stepfunctions._invoke_aws_sdk_integration = sdk_if_allowed
    stepfunctions._invoke_events_put_events = put_if_allowed
    stepfunctions._SERVICE_DISPATCH["arn:aws:states:::events:putEvents"] = put_if_allowed


def dynamodb_arn(table: str) -> str:
    """The ARN of a table of this account and region."""
    return f"arn:aws:dynamodb:{get_region()}:{get_account_id()}:table/{table}"


def _authorise(prefix: str, action: str, resource: str, context: Mapping[str, Any] | None = None) -> None:
    """Raises the error of a task whose state machine's role may not do it."""
    role_arn = _task_role.get()
    if not role_arn:
        return
    account, name = role_arn.split(":")[4], role_arn.rpartition("/")[2]
    asked = iam_evaluator.EvalContext(
        principal_arn=f"arn:aws:sts::{account}:assumed-role/{name}/workflow",
        principal_type="AssumedRole",
        principal_account=account,
        action=action,
        resource_arn=resource,
        region=get_region(),
        service_context={key.lower(): value for key, value in (context or {}).items()},
    )
    found = iam_evaluator.evaluate(asked, iam_evaluator._gather_role_policies(name, account))
    if found.decision != "Allow":
        message = f"{asked.principal_arn} is not authorized to perform: {action} on resource: {resource}"
        raise stepfunctions._ExecutionError(f"{prefix}.AccessDeniedException", message)


def unknown_monitoring_is_left_out() -> None:
    """Log queries and alarms over several metrics are accepted and do nothing: ministack refuses both.

    Nothing else hangs on them. Alarms of one metric are made, and ring.
    """
    handlers = provisioners._RESOURCE_HANDLERS
    alarms = handlers["AWS::CloudWatch::Alarm"]

    def make(logical_id: str, _properties: dict[str, Any], stack: str) -> Any:
        return f"{stack}-{logical_id}", {}

    def change(physical_id: str, *_rest: Any) -> Any:
        return physical_id, {}

    def make_alarm(logical_id: str, properties: dict[str, Any], stack: str) -> Any:
        way = make if properties.get("Metrics") else alarms["create"]
        return way(logical_id, properties, stack)

    def change_alarm(physical_id: str, before: dict[str, Any], after: dict[str, Any], *rest: Any) -> Any:
        way = change if after.get("Metrics") else alarms["update"]
        return way(physical_id, before, after, *rest)

    handlers["AWS::Logs::QueryDefinition"] = {"create": make, "update": change, "delete": lambda *_: None}
    handlers["AWS::CloudWatch::Alarm"] = {**alarms, "create": make_alarm, "update": change_alarm}


def one_port_is_taken() -> None:
    """With TLS, ministack would also listen on port 443, which is not ours to take."""
    bindable = app._port_is_bindable
    app._port_is_bindable = lambda host, port: port != 443 and bindable(host, port)


PATCHES: Mapping[str, Callable[[], None]] = {
    each.__name__: each
    for each in (
        sagemaker_is_simulated,
        timeouts_may_be_jsonata,
        rules_retry_and_keep_what_failed,
        functions_run_under_awss_runtime_client,
        notices_have_a_source_to_authorise,
        workflows_need_permissions,
        unknown_monitoring_is_left_out,
        one_port_is_taken,
    )
}


def main() -> None:
    """Patch, then serve until SIGTERM."""
    for patch in PATCHES.values():
        patch()
    app.main()


if __name__ == "__main__":
    main()
