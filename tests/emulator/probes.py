"""What ministack cannot do without our patches. Runs in its environment; prints {patch: still needed}."""

import asyncio
import inspect
import io
import json
import sys
import zipfile
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType
from typing import Any

from ministack import app
from ministack.core import iam_actions, iam_evaluator
from ministack.services import eventbridge, iam, lambda_svc, stepfunctions
from ministack.services.cloudformation import engine, provisioners

ROLE = "arn:aws:iam::000000000000:role/without-rights"


def sagemaker_is_simulated() -> bool:
    return "sagemaker" not in app.SERVICE_HANDLERS


def timeouts_may_be_jsonata() -> bool:
    waiting = {"Resource": "arn:aws:states:::events:putEvents.waitForTaskToken", "TimeoutSeconds": "{% 1 %}"}
    return _execution(waiting).get("error") != "States.Timeout"


def workflows_need_permissions() -> bool:
    assert app.AUTH
    return _execution({})["status"] == "SUCCEEDED"


def _execution(more: dict[str, Any]) -> dict[str, Any]:
    """A workflow of one task that puts an event, by a role without any right: its end."""
    entry = {"Source": "probe", "DetailType": "probe", "Detail": "{}"}
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::events:putEvents",
        "Arguments": {"Entries": [entry]},
        "End": True,
        **more,
    }
    definition = {"QueryLanguage": "JSONata", "StartAt": "Only", "States": {"Only": state}}
    principal = {"Service": "states.amazonaws.com"}
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    trusted = {"Version": "2012-10-17", "Statement": [statement]}
    asked = {
        "Action": ["CreateRole"],
        "RoleName": ["without-rights"],
        "AssumeRolePolicyDocument": [json.dumps(trusted)],
    }
    asyncio.run(iam.handle_request("POST", "/", {}, b"", asked))
    name = f"probe-{len(more)}"
    made = stepfunctions._create_state_machine(
        {"name": name, "definition": json.dumps(definition), "roleArn": ROLE, "type": "EXPRESS"}
    )
    assert made[0] == 200, made
    arn = json.loads(made[2])["stateMachineArn"]
    return json.loads(stepfunctions._start_sync_execution({"stateMachineArn": arn, "input": "{}"})[2])


def rules_retry_and_keep_what_failed() -> bool:
    retried: list[Any] = []
    kept = {
        name: getattr(lambda_svc, name)
        for name in (
            "_get_func_record_for_ref",
            "_execution_record_for_config",
            "_execute_function_with_config_scope",
            "invoke_async_with_retry",
        )
    }
    lambda_svc._get_func_record_for_ref = lambda _ref: ({"config": {}}, {"FunctionName": "f"}, "f")
    lambda_svc._execution_record_for_config = lambda function, _config: function
    lambda_svc._execute_function_with_config_scope = lambda *_: {}
    lambda_svc.invoke_async_with_retry = lambda *arguments: retried.append(arguments)
    try:
        eventbridge._dispatch_to_lambda("arn:aws:lambda:eu-west-1:123456789012:function:f", "{}")
    finally:
        for name, value in kept.items():
            setattr(lambda_svc, name, value)
    return not retried


def functions_run_under_awss_runtime_client() -> bool:
    code = "class InvalidInputError(Exception): pass\ndef handler(event, context): raise InvalidInputError('no')\n"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("probe.py", code)
    config = {
        "FunctionName": "probe",
        "FunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:probe",
        "Runtime": "python3.11",
        "Handler": "probe.handler",
        "Timeout": 10,
        "Role": ROLE,
    }
    found = lambda_svc._execute_function({"config": config, "code_zip": packed.getvalue()}, {})
    assert found["error"], found
    return found["body"]["errorType"] != "InvalidInputError"


def notices_have_a_source_to_authorise() -> bool:
    return not any(
        "events:source" in inspect.getsource(module).lower()
        for module in (app, iam_actions, iam_evaluator, eventbridge)
    )


def unknown_monitoring_is_left_out() -> bool:
    query = {"Resources": {"Q": {"Type": "AWS::Logs::QueryDefinition", "Properties": {}}}}
    alarm = {
        "Metrics": [{"Id": "m", "Expression": "1 + 1"}],
        "ComparisonOperator": "GreaterThanThreshold",
        "Threshold": 0,
        "EvaluationPeriods": 1,
    }
    return _refuses(lambda: engine.validate_template_support(query, {})) or _refuses(
        lambda: provisioners._cw_metric_alarm_record("alarm", alarm)
    )


def _refuses(call: Any) -> bool:
    try:
        call()
    except ValueError:
        return True
    return False


def one_port_is_taken() -> bool:
    return "443" in inspect.getsource(app.main)


def _patches(path: str) -> ModuleType:
    spec = spec_from_file_location("in_ministack", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    print(json.dumps({name: globals()[name]() for name in _patches(sys.argv[1]).PATCHES}))
