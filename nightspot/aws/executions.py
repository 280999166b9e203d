"""Reaches another run's execution: whether it is still alive, as far as Step Functions says, and how to wake it."""

from __future__ import annotations

import logging
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from nightspot.redaction import redact

_log = logging.getLogger(__name__)


class StepFunctionsClient(Protocol):
    """The part of boto3's Step Functions client that is used here."""

    def describe_execution(self, *, executionArn: str) -> dict[str, Any]: ...  # noqa: N803
    def send_task_success(self, *, taskToken: str, output: str) -> dict[str, Any]: ...  # noqa: N803


class Executions:
    """Executions of the state machine, by ARN."""

    def __init__(self, client: StepFunctionsClient) -> None:
        self._client = client

    def is_running(self, execution_arn: str) -> bool | None:
        """Whether the execution goes on; one that waits to be redriven does not. Raises nothing.

        None: AWS does not say, and only the expiry of the run's lock tells. An execution that Step Functions does
        not know is over: it forgets them after 90 days. The answer may be some seconds old
        (https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeExecution.html).
        """
        try:
            status = self._client.describe_execution(executionArn=execution_arn)["status"]
        except (ClientError, BotoCoreError) as error:
            if _says_unknown(error):
                return False
            _log.warning("cannot tell whether %s is running: %s", execution_arn, redact(str(error)))
            return None
        return bool(status == "RUNNING")

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


def _says_unknown(error: ClientError | BotoCoreError) -> bool:
    return (
        isinstance(error, ClientError)
        and error.response.get("Error", {}).get("Code") == "ExecutionDoesNotExist"
    )
