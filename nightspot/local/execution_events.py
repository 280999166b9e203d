"""How executions end in the story's time: what EventBridge tells of it, and what Step Functions says."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from moto.stepfunctions.parser.asl.eval.program_state import (
    ProgramError,
    ProgramState,
    ProgramStopped,
    ProgramTimedOut,
)
from moto.stepfunctions.parser.backend.execution import Execution

from nightspot.local.clock import StoryClock


class InStoryTime:
    """boto3's Step Functions client, whose executions end in the story: moto's own times are real."""

    def __init__(self, client: Any, clock: StoryClock) -> None:
        self._client = client
        self._clock = clock

    def describe_execution(self, *, executionArn: str) -> dict[str, Any]:  # noqa: N803
        """With the story's `stopDate`, to the second or so."""
        answer: dict[str, Any] = self._client.describe_execution(executionArn=executionArn)
        if "stopDate" in answer:
            ago = (datetime.now(UTC) - answer["stopDate"]).total_seconds()
            answer["stopDate"] = self._clock.now() - timedelta(seconds=self._clock.story_seconds(ago))
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


def end_event(execution: Execution, started_at: datetime, now: datetime) -> dict[str, Any] | None:
    """The status change of an execution that is just ending (times: the story's, aware); None where it succeeds.

    https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
    """
    worker = execution.exec_worker
    end = None if worker is None or worker.env is None else _end(worker.env.program_state())
    if end is None:
        return None
    status, error, cause = end
    return {
        "version": "0",
        "id": f"{execution.name}-{status}",
        "detail-type": "Step Functions Execution Status Change",
        "source": "aws.states",
        "account": execution.account_id,
        "time": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": execution.region_name,
        "resources": [execution.exec_arn],
        "detail": {
            "executionArn": execution.exec_arn,
            "stateMachineArn": execution.state_machine.arn,
            "name": execution.name,
            "status": status,
            "startDate": round(started_at.timestamp() * 1000),
            "stopDate": round(now.timestamp() * 1000),
            "input": json.dumps(execution.input_data),
            "output": None,
            "error": error,
            "cause": cause,
        },
    }


def _end(state: ProgramState) -> tuple[str, str | None, str | None] | None:
    """Status, error and cause; None of a success."""
    if isinstance(state, ProgramStopped):
        return "ABORTED", state.error, state.cause
    if isinstance(state, ProgramError):
        details = state.error or {}
        return "FAILED", details.get("error"), details.get("cause")
    return ("TIMED_OUT", None, None) if isinstance(state, ProgramTimedOut) else None
