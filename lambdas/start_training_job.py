"""Calls CreateTrainingJob with the botocore that the bundle brings, and returns what SageMaker said to it.

A refusal is an answer, and is returned: the next decision reads it by AWS's own code. Whatever ends this function
without an answer (its time, its memory, a fault of its own) leaves open whether the training job exists; the
workflow tells the decision so, which looks, and asks again under the same name.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError
from pydantic import BaseModel, Field

from nightspot.aws.faults import code_of
from nightspot.aws.runs.training_jobs import TrainingJobs
from nightspot.failures.codes import START_UNANSWERED
from nightspot.lambdas.dependencies import late_client
from nightspot.lambdas.observability import count, entry, logger

# One call, and a long wait for its answer. A repetition could be refused for what the call before it brought about
# (by the quota that its training job takes up), and would hide that there is one.
ASKED_ONCE: Mapping[str, Any] = {
    "connect_timeout": 2,
    "read_timeout": 40,
    "retries": {"mode": "standard", "total_max_attempts": 1},
}
# AWS's own words are short; a request is told field by field.
MOST_CAUSE_CHARACTERS = 2000


class StartRequest(BaseModel):
    """What the workflow passes: a whole CreateTrainingJob request."""

    request: dict[str, Any] = Field(min_length=1)


@entry("StartAsked")
def handler(
    event: dict[str, Any], context: LambdaContext, *, use: TrainingJobs | None = None
) -> dict[str, Any]:
    """`{"training_job_arn": ARN, "fault": null}`, or `{"training_job_arn": null, "fault": {"Error", "Cause"}}`.

    `Error` is `SageMaker.` and AWS's code, exactly (`SageMaker.ResourceInUse`), or botocore's ParamValidationError,
    which names the field and calls nobody; `Cause` ends with the HTTP status. Without an answer it is
    START_UNANSWERED. The same event again is refused as ResourceInUse: names are unique for ever. Raises nothing
    that SageMaker or botocore does.
    """
    request = StartRequest.model_validate(event).request
    name = request.get("TrainingJobName")
    try:
        arn = (use or training_jobs()).create(request)
    except (ClientError, BotoCoreError) as error:
        fault = fault_of(error)
        count("StartUnanswered" if fault["Error"] == START_UNANSWERED else "StartRefused")
        # Of the words of AWS, `error` is redacted.
        logger.warning("start failed", extra={"training_job": name, "error": ": ".join(fault.values())})
        return {"training_job_arn": None, "fault": fault}
    logger.info("training job asked for", extra={"training_job": name})
    return {"training_job_arn": arn, "fault": None}


def fault_of(error: ClientError | BotoCoreError) -> dict[str, str]:
    """What boto3 raised, as Step Functions would write it, but by AWS's own code."""
    if isinstance(error, ClientError):
        code, said = code_of(error), error.response.get("Error", {}).get("Message", "")
        meta = error.response.get("ResponseMetadata", {})
        parts = [
            "Service: SageMaker",
            f"Status Code: {meta.get('HTTPStatusCode', 0)}",
            f"Error Code: {code}",
            f"Request ID: {meta.get('RequestId', '')}",
        ]
        return {
            "Error": f"SageMaker.{code}",
            "Cause": f"{said[:MOST_CAUSE_CHARACTERS]} ({', '.join(parts)})".lstrip(),
        }
    said = str(error)[:MOST_CAUSE_CHARACTERS]
    if isinstance(error, ParamValidationError):
        return {"Error": "SageMaker.ParamValidationError", "Cause": said}
    return {"Error": START_UNANSWERED, "Cause": f"{type(error).__name__}: {said}"}


@cache
def training_jobs() -> TrainingJobs:
    """The deployed function's."""
    return TrainingJobs(late_client("sagemaker", config=ASKED_ONCE))
