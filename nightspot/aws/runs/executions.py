"""Reaches executions of the state machine: whether one is alive, how it ended, how to wake or restart it."""

from __future__ import annotations

import json
import logging
from datetime import UTC
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from nightspot.aws.faults import NO_ANSWER, TransientAwsError, raise_if_transient
from nightspot.decide.audit import Execution, ExecutionState
from nightspot.failures.redaction import redact
from nightspot.run.model import Run

CONTINUE_RUN = "continue_run"  # of an execution's input: the run that it goes on with
MOST_SAID = 300  # characters of an execution's error and cause
_MOST_NAME = 80  # characters of an execution's name
_STATES = {state.value: state for state in ExecutionState}
_log = logging.getLogger(__name__)


class StepFunctionsClient(Protocol):
    """The part of boto3's Step Functions client that is used here."""

    def describe_execution(self, *, executionArn: str) -> dict[str, Any]: ...  # noqa: N803
    def send_task_success(self, *, taskToken: str, output: str) -> dict[str, Any]: ...  # noqa: N803
    def start_execution(self, *, stateMachineArn: str, name: str, input: str) -> dict[str, Any]: ...  # noqa: N803, A002


class Executions:
    """Executions of the state machine, by ARN."""

    def __init__(self, client: StepFunctionsClient) -> None:
        self._client = client

    def is_running(self, execution_arn: str) -> bool | None:
        """Whether the execution goes on. Raises nothing. None: AWS does not say; see `describe`."""
        state = self.describe(execution_arn).state
        return None if state is ExecutionState.NOT_SAID else state is ExecutionState.RUNNING

    def describe(self, execution_arn: str) -> Execution:
        """The execution as Step Functions shows it. Raises nothing.

        One that Step Functions does not know is over: it forgets them after 90 days. The answer may be some
        seconds old (https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeExecution.html).
        One that waits to be redriven is over.
        """
        try:
            found = self._client.describe_execution(executionArn=execution_arn)
        except (ClientError, BotoCoreError) as error:
            if _code(error) == "ExecutionDoesNotExist":
                return Execution(execution_arn, ExecutionState.FORGOTTEN)
            _log.warning("cannot tell whether %s is running: %s", execution_arn, redact(str(error)))
            return Execution(execution_arn, ExecutionState.NOT_SAID)
        status, ended_at = str(found["status"]), found.get("stopDate")
        return Execution(
            execution_arn,
            _STATES.get(status, ExecutionState.FAILED),
            None if ended_at is None else ended_at.astimezone(UTC),
            said(found.get("error"), found.get("cause")),
        )

    def restart(self, run: Run, number: int, *, like: str) -> str:
        """Start the execution that goes on with the run, in the state machine of the execution `like`; its ARN.

        The same number again starts nothing: an execution's name is taken for 90 days. Raises TransientAwsError
        where the call is worth repeating, ClientError for all else.
        """
        try:
            self._client.start_execution(
                stateMachineArn=state_machine_of(like),
                name=_restart_name(run, number),
                input=json.dumps({CONTINUE_RUN: run.run_id}),
            )
        except NO_ANSWER as error:
            raise TransientAwsError(str(error)) from error
        except ClientError as error:
            raise_if_transient(error)
            if _code(error) != "ExecutionAlreadyExists":
                raise
        return restart_arn(run, number, like=like)

    def wake(self, token: str) -> bool:
        """Let the execution that waits with this task token decide at once. Raises nothing.

        False where it does not wait any more, or AWS does not take the token: its next decision comes by itself.
        """
        try:
            self._client.send_task_success(taskToken=token, output="{}")
        except (ClientError, BotoCoreError) as error:
            _log.info("the run could not be woken: %s", redact(str(error)))
            return False
        return True


def restart_arn(run: Run, number: int, *, like: str) -> str:
    """The ARN of the run's restart of this number, an execution of the same state machine as `like`."""
    return ":".join([*like.split(":")[:7], _restart_name(run, number)])


def state_machine_of(execution_arn: str) -> str:
    """The ARN of the state machine that runs `execution_arn`. Raises ValueError where it is the ARN of none."""
    parts = execution_arn.split(":")
    if len(parts) != 8 or parts[:1] != ["arn"] or parts[5] != "execution":
        raise ValueError(f"execution_arn: {execution_arn!r}: must be the ARN of a standard execution")
    return ":".join([*parts[:5], "stateMachine", parts[6]])


def said(error: str | None, cause: str | None) -> str:
    """An execution's error and cause in a few words, redacted; empty where it has none."""
    words = redact(": ".join(part for part in (error, cause) if part))
    return words if len(words) <= MOST_SAID else f"{words[: MOST_SAID - 1]}…"


def _restart_name(run: Run, number: int) -> str:
    end = f"-{run.run_id}-r{number}"
    return f"{run.job[: _MOST_NAME - len(end)]}{end}"


def _code(error: ClientError | BotoCoreError) -> str | None:
    return error.response.get("Error", {}).get("Code") if isinstance(error, ClientError) else None
