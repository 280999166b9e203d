"""Step Functions' client and its executions, and the calls that a workflow's own states make."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import UUID

from botocore.exceptions import BotoCoreError, ClientError

from tests.simulation import asl
from tests.simulation.asl import Machine, State, StateError
from tests.simulation.calls import ACCOUNT, REGION, STEP_FUNCTIONS, Call, Calls, client_error, is_injected
from tests.simulation.clock import Clock
from tests.simulation.execution import Execution, Visit, as_json
from tests.simulation.functions import Functions
from tests.simulation.jsonata import Surroundings
from tests.simulation.paging import Paged, page_of

OLD_SECONDS = 2.0  # how old an answer of DescribeExecution may be
MACHINE_ARN = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:nightspot"
# What Step Functions calls a service in its error names.
_PREFIXES = {
    "sagemaker": "SageMaker",
    "dynamodb": "DynamoDb",
    "events": "EventBridge",
    "sns": "Sns",
    "sfn": "Sfn",
}
# Errors with a name of their own; all others are "<Prefix>.<Prefix>Exception".
_MODELLED = frozenset(
    {
        "ResourceInUse",
        "ResourceLimitExceeded",
        "ResourceNotFound",
        "ConflictException",
        "ConditionalCheckFailedException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "TransactionCanceledException",
        "ItemCollectionSizeLimitExceededException",
    }
)


@dataclass
class StepFunctions(Paged):
    """The state machine's executions. The methods with keyword arguments are boto3's."""

    clock: Clock
    calls: Calls
    functions: Functions
    random: Random
    machine: Machine
    clients: Mapping[str, Any]  # boto3's, by the service's name in a Resource
    on_end: Callable[[Execution], None]
    stalled: Callable[[], float] = lambda: 0.0
    tell: Callable[[str, str], None] = lambda _who, _what: None
    executions: dict[str, Execution] = field(default_factory=dict)
    _tokens: dict[str, Visit] = field(default_factory=dict)

    # --- boto3's ------------------------------------------------------------------------------------------

    def start_execution(self, **given: Any) -> dict[str, Any]:
        return self.calls.make("states", "start_execution", given, lambda _call: self._start(given))

    def describe_execution(self, **given: Any) -> dict[str, Any]:
        return self.calls.make("states", "describe_execution", given, lambda _call: self._describe(given))

    def stop_execution(self, **given: Any) -> dict[str, Any]:
        def stop(_call: Call) -> dict[str, Any]:
            execution = self._find(given, "StopExecution")
            execution.stop("ABORTED", given.get("error"), given.get("cause"))
            return {"stopDate": self.clock.moment()}

        return self.calls.make("states", "stop_execution", given, stop)

    def list_executions(self, **given: Any) -> dict[str, Any]:
        return self.calls.make("states", "list_executions", given, lambda _call: self._list(given))

    def send_task_success(self, **given: Any) -> dict[str, Any]:
        def send(_call: Call) -> dict[str, Any]:
            visit = self._waiting(given["taskToken"], "SendTaskSuccess")
            visit.execution.succeed(visit, json.loads(given["output"]))  # type: ignore[union-attr]
            return {}

        return self.calls.make("states", "send_task_success", given, send)

    def send_task_failure(self, **given: Any) -> dict[str, Any]:
        def send(_call: Call) -> dict[str, Any]:
            visit = self._waiting(given["taskToken"], "SendTaskFailure")
            visit.execution.fail(visit, StateError(given.get("error", ""), given.get("cause", "")))  # type: ignore[union-attr]
            return {}

        return self.calls.make("states", "send_task_failure", given, send)

    def _start(self, given: Mapping[str, Any]) -> dict[str, Any]:
        name, text = given["name"], given.get("input", "{}")
        if given["stateMachineArn"] != MACHINE_ARN:
            raise client_error("StateMachineDoesNotExist", "State Machine Does Not Exist", "StartExecution")
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,80}", name):
            raise client_error("InvalidName", f"Invalid Name: '{name}'", "StartExecution")
        if len(text.encode()) > asl.MOST_BYTES:
            raise client_error("ValidationException", "input is too long", "StartExecution")
        arn = f"{MACHINE_ARN.replace(':stateMachine:', ':execution:')}:{name}"
        known = self.executions.get(arn)
        if known is not None:
            if not known.is_running or json.loads(text) != known.input:
                raise client_error(
                    "ExecutionAlreadyExists", f"Execution Already Exists: '{arn}'", "StartExecution"
                )
            return {"executionArn": arn, "startDate": self.clock.moment(known.started_at)}
        execution = Execution(self.machine, arn, json.loads(text), self.clock, self, self._around())
        self.executions[arn] = execution
        execution.start()
        return {"executionArn": arn, "startDate": self.clock.moment()}

    def _around(self) -> Surroundings:
        return Surroundings(
            self.clock.moment, lambda: UUID(int=self.random.getrandbits(128), version=4), self.random.random
        )

    def _find(self, given: Mapping[str, Any], operation: str) -> Execution:
        execution = self.executions.get(given["executionArn"])
        is_new = execution is not None and self.clock.now - execution.started_at < OLD_SECONDS
        if execution is None or (is_new and operation == "DescribeExecution" and self._may_be_old()):
            raise client_error(
                "ExecutionDoesNotExist", f"Execution Does Not Exist: '{given['executionArn']}'", operation
            )
        return execution

    def _may_be_old(self) -> bool:
        """DescribeExecution is eventually consistent."""
        return self.random.random() < 0.3

    def _describe(self, given: Mapping[str, Any]) -> dict[str, Any]:
        execution = self._find(given, "DescribeExecution")
        is_old = self._may_be_old() and self.clock.now - execution.ended_at < OLD_SECONDS
        status = "RUNNING" if is_old and not execution.is_running else execution.status
        answer = {
            "executionArn": execution.arn,
            "stateMachineArn": MACHINE_ARN,
            "name": execution.name,
            "status": status,
            "startDate": self.clock.moment(execution.started_at),
            "input": json.dumps(execution.input),
        }
        if status != "RUNNING":
            answer["stopDate"] = self.clock.moment(execution.ended_at)
            for key in ("error", "cause"):
                if getattr(execution, key) is not None:
                    answer[key] = getattr(execution, key)
        if status == "SUCCEEDED":
            answer["output"] = json.dumps(execution.output)
        return answer

    def _list(self, given: Mapping[str, Any]) -> dict[str, Any]:
        found = sorted(self.executions.values(), key=lambda each: -each.started_at)
        if "statusFilter" in given:
            found = [each for each in found if each.status == given["statusFilter"]]
        page, following = page_of(found, given.get("nextToken"), int(given.get("maxResults") or 100))
        wanted = ("executionArn", "stateMachineArn", "name", "status", "startDate", "stopDate")
        listed = []
        for each in page:
            whole = self._describe({"executionArn": each.arn})
            listed.append({key: whole[key] for key in wanted if key in whole})
        return {"executions": listed, **({} if following is None else {"nextToken": following})}

    def _waiting(self, token: str, operation: str) -> Visit:
        visit = self._tokens.get(token)
        if visit is None:
            raise client_error("InvalidToken", "Invalid Token: 'Invalid token'", operation)
        if visit.is_over or visit.token != token or visit.execution is None or not visit.execution.is_running:
            raise client_error(
                "TaskTimedOut", "Task Timed Out: 'Provided task does not exist anymore'", operation
            )
        return visit

    # --- what an execution needs --------------------------------------------------------------------------

    def token(self, visit: Visit) -> str:
        token = f"AQB8-{len(self._tokens) + 1:06d}"
        self._tokens[token] = visit
        return token

    def stalled_until(self) -> float:
        return self.stalled()

    def perform(self, execution: Execution, visit: Visit, arguments: Any) -> Any:
        state = visit.state
        if (state.service, state.operation) == ("lambda", "invoke"):
            return self._invoke(arguments)
        return self._call(state, arguments)

    def _invoke(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        name = str(arguments["FunctionName"]).rpartition(":")[2]
        answer = self.functions.invoke(name, arguments.get("Payload"))
        if answer.error is not None:
            raise StateError(answer.error, answer.cause, injected=answer.injected)
        return {"ExecutedVersion": "$LATEST", "StatusCode": 200, "Payload": answer.result}

    def _call(self, state: State, arguments: Mapping[str, Any]) -> Any:
        client = self.clients.get(state.service)
        operation = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", state.operation).lower()
        call = getattr(client, operation, None)
        if call is None:
            raise StateError(asl.RUNTIME, f"The simulation has no {state.service}:{state.operation}")
        caller, self.calls.caller = self.calls.caller, STEP_FUNCTIONS
        try:
            answer = as_json(call(**as_json(arguments)))
        except ClientError as error:
            raise _state_error(state, error) from error
        except BotoCoreError as error:
            name = f"{_PREFIXES.get(state.service, state.service)}.SdkClientException"
            cause = f"Unable to execute HTTP request: {error}"
            raise StateError(name, cause, injected=is_injected(error)) from error
        finally:
            self.calls.caller = caller
        if state.service == "events" and answer.get("FailedEntryCount"):
            raise StateError("EventBridge.FailedEntry", json.dumps(answer))
        return answer

    def on_state(self, execution: Execution, state: State) -> None:
        self.tell(execution.name, f"> {state.name}")

    def on_error(self, execution: Execution, state: State, error: StateError, then: str) -> None:
        self.tell(execution.name, f"! {state.name}: {error.error}: {error.cause[:160]} -> {then}")


def _state_error(state: State, error: ClientError) -> StateError:
    details, meta = error.response["Error"], error.response.get("ResponseMetadata", {})
    prefix, code = _PREFIXES.get(state.service, state.service), details.get("Code", "")
    name = code if code in _MODELLED else prefix
    name = name if name.endswith("Exception") else f"{name}Exception"
    service = {"SageMaker": "SageMaker", "DynamoDb": "DynamoDb"}.get(prefix, prefix)
    status = meta.get("HTTPStatusCode", 400)
    cause = f"{details.get('Message')} (Service: {service}, Status Code: {status}, Request ID: 0000-0000)"
    return StateError(f"{prefix}.{name}", cause, injected=is_injected(error))
