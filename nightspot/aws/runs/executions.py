"""Executions of the state machine: how one is started (once, by its name), woken, restarted, and how it ended."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn

from botocore.exceptions import BotoCoreError, ClientError

from nightspot.aws.faults import NO_ANSWER, TransientAwsError, asking_aws, code_of, raise_if_transient
from nightspot.decide.audit import Execution, ExecutionState
from nightspot.failures.redaction import redact
from nightspot.formats.run_ids import run_id_of
from nightspot.run.model import Run

CONTINUE_RUN = "continue_run"  # of an execution's input: the run that it goes on with
MOST_SAID = 300  # characters of an execution's error and cause
# fact: stepfunctions.name.characters
_MOST_NAME = 80  # characters of an execution's name
_STATES = {state.value: state for state in ExecutionState}
# SendTaskSuccess where the execution does not wait any more.
# https://docs.aws.amazon.com/step-functions/latest/apireference/API_SendTaskSuccess.html
# fact: stepfunctions.token.codes
WAIT_IS_OVER = frozenset({"TaskTimedOut", "TaskDoesNotExist", "InvalidToken"})
_log = logging.getLogger(__name__)


class Executions:
    """Executions of the state machine, by ARN. `wake_refused` is called where AWS forbids to wake one."""

    def __init__(self, client: Any, wake_refused: Callable[[], None] = lambda: None) -> None:
        self._client = client
        self._wake_refused = wake_refused

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
            if code_of(error) == _UNKNOWN:
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
        """Start the execution that continues the run, in the state machine of the execution `like`; its ARN.

        The same number again starts nothing: an execution's name is taken for 90 days. Raises TransientAwsError
        where the call is worth repeating, ClientError for all else.
        """
        try:
            with asking_aws():
                self._client.start_execution(
                    stateMachineArn=state_machine_of(like),
                    name=_restart_name(run, number),
                    input=json.dumps({CONTINUE_RUN: run.run_id}),
                )
        except ClientError as error:
            if code_of(error) != _TAKEN:
                raise
        return restart_arn(run, number, like=like)

    def wake(self, token: str) -> bool:
        """Let the execution that waits with this task token decide at once. Raises nothing.

        False where it does not wait any more, or AWS does not take the token: its next decision comes by itself.
        """
        try:
            with asking_aws():
                self._client.send_task_success(taskToken=token, output="{}")
        except (TransientAwsError, BotoCoreError) as error:
            _log.info("the run could not be woken: %s", redact(str(error)))
            return False
        except ClientError as error:
            if code_of(error) in WAIT_IS_OVER:
                _log.info("the run does not wait any more: %s", redact(str(error)))
            else:
                _log.error("AWS does not let runs be woken: %s", redact(str(error)))
                self._wake_refused()
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


# Of StartExecution's input, in UTF-8.
# fact: stepfunctions.payload.bytes
MOST_INPUT_BYTES = 256 * 1024
# More characters are allowed, but the ARN of a run is written into links and file names.
# fact: stepfunctions.name.characters
_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")
_TAKEN, _UNKNOWN = "ExecutionAlreadyExists", "ExecutionDoesNotExist"
# Who asks is not what is asked for: another session of the same pipeline asks for the same run.
_WHO_ASKS = "requested_by"


class StartRefusedError(Exception):
    """AWS did not let the run be started; the text, redacted, tells why."""


class InvalidStartError(StartRefusedError):
    """What was asked for cannot be a run; AWS was not called."""


class NameTakenError(Exception):
    """An execution of this name was started with another input."""


@dataclass(frozen=True)
class Started:
    """A run that has been started, now or by an earlier call with the same name and input."""

    run_id: str
    execution_arn: str
    started_at: datetime  # aware UTC
    is_new: bool  # False: the name was there already, with the same input


def scheduled_name(job: str, scheduled_at: datetime) -> str:
    """The execution of the job's night of `scheduled_at` (aware): "recommender-2026-11-21T0000Z"."""
    return f"{job}-{_utc('scheduled_at', scheduled_at):%Y-%m-%dT%H%MZ}"


def keyed_name(job: str, idempotency_key: str) -> str:
    """The same for every call with this job and key: "recommender-key-" and 16 hexadecimal digits."""
    return f"{job}-key-{hashlib.sha256(idempotency_key.encode()).hexdigest()[:16]}"


def fresh_name(job: str, now: datetime, token_hex6: str) -> str:
    """One that nobody else takes: "recommender-20261121T000000-ab12cd". `now` is aware, the token random."""
    return f"{job}-{_utc('now', now):%Y%m%dT%H%M%S}-{token_hex6}"


class Starter:
    """Starts runs as executions of one state machine. `step_functions` is boto3's client.

    `now`: the clock of a local emulation, whose story has another date than its executions. Such an emulation keeps
    one Starter for as long as it lives, which remembers when the story's runs began.
    """

    def __init__(
        self,
        step_functions: Any,
        state_machine_arn: str,
        *,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self._client = step_functions
        self._machine_arn = state_machine_arn
        self._now = now
        self._story: dict[str, datetime] = {}

    def start(
        self,
        job: str,
        overrides: Mapping[str, Any],
        *,
        name: str,
        scheduled_at: datetime | None = None,
        resume_from: str | None = None,
        requested_by: str | None = None,
    ) -> Started:
        """Start a run of `job` as the execution `name`, once: the same again is the same run, even after its end.

        `overrides` are JSON-ready, as in an execution's input; `scheduled_at` is aware. Whether the job exists and
        takes the overrides is for the run's plan to say. Of two first calls at once both may be told `is_new`.
        Raises InvalidStartError, NameTakenError, StartRefusedError, and TransientAwsError where the same call may
        go through later.
        """
        _check_name(name)
        given = _input(job, overrides, scheduled_at, resume_from, requested_by)
        arn = self._execution_arn(name)
        if (known := self._known(arn, given, name)) is not None:
            return known
        before = self._now() if self._now is not None else None
        try:
            answer = self._client.start_execution(
                stateMachineArn=self._machine_arn, name=name, input=_text_of(given)
            )
        except (ClientError, BotoCoreError) as error:
            if code_of(error) != _TAKEN:
                _raise_for(error)
            if (known := self._known(arn, given, name)) is None:
                # DescribeExecution may be some seconds behind:
                # https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeExecution.html
                why = "is taken by an execution that cannot be looked at yet"
                raise TransientAwsError(f"name: {name!r} {why}") from error
            return known
        return self._started(answer, before, is_new=True)

    def known(
        self,
        job: str,
        overrides: Mapping[str, Any],
        *,
        name: str,
        scheduled_at: datetime | None = None,
        resume_from: str | None = None,
    ) -> Started | None:
        """The run that `start` would find with these arguments, whoever asks; None where it would start one.

        For some seconds after its start AWS may not show a run yet. Raises what `start` raises.
        """
        _check_name(name)
        given = _input(job, overrides, scheduled_at, resume_from, None)
        return self._known(self._execution_arn(name), given, name)

    def _known(self, arn: str, given: Mapping[str, Any], name: str) -> Started | None:
        """The run that has this name already; None where there is none. Raises NameTakenError."""
        try:
            execution = self._client.describe_execution(executionArn=arn)
        except (ClientError, BotoCoreError) as error:
            if code_of(error) == _UNKNOWN:
                return None
            _raise_for(error)
        if not _is_same(given, execution.get("input")):
            raise NameTakenError(f"name: {name!r} is taken by an execution with another input ({arn})")
        return self._started(execution, self._now() if self._now is not None else None, is_new=False)

    def _started(self, execution: Mapping[str, Any], story: datetime | None, *, is_new: bool) -> Started:
        arn = str(execution["executionArn"])
        started_at = execution["startDate"] if story is None else self._story.setdefault(arn, story)
        started_at = started_at.astimezone(UTC)
        return Started(run_id_of(arn, started_at), arn, started_at, is_new)

    def _execution_arn(self, name: str) -> str:
        # arn:PARTITION:states:REGION:ACCOUNT:stateMachine:NAME, perhaps with a version or an alias behind it.
        parts = self._machine_arn.split(":")
        return ":".join([*parts[:5], "execution", parts[6], name])


def _utc(field: str, moment: datetime) -> datetime:
    if moment.utcoffset() is None:
        raise InvalidStartError(f"{field}: {moment.isoformat()} must have a time zone")
    return moment.astimezone(UTC)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        rule = "must have 1 to 80 characters, of letters, digits, - and _"
        raise InvalidStartError(f"name: {name!r} {rule}")


def _input(
    job: str,
    overrides: Mapping[str, Any],
    scheduled_at: datetime | None,
    resume_from: str | None,
    requested_by: str | None,
) -> dict[str, Any]:
    at = None if scheduled_at is None else _utc("scheduled_at", scheduled_at)
    about = {
        "job": job,
        "scheduled_at": None if at is None else at.isoformat().replace("+00:00", "Z"),
        "resume_from": resume_from,
        _WHO_ASKS: requested_by,
    }
    if taken := sorted(about.keys() & overrides.keys()):
        raise InvalidStartError(f"{taken[0]}: {overrides[taken[0]]!r} must not be among the overrides")
    given = {name: value for name, value in about.items() if value is not None}
    # The job first, as a person writes it into the console; the rest in one order, by which AWS knows a repetition.
    given |= {name: overrides[name] for name in sorted(overrides)}
    size = len(_text_of(given).encode())
    if size > MOST_INPUT_BYTES:
        rule = f"must be at most {MOST_INPUT_BYTES:,} bytes as JSON, the longest input of an execution"
        raise InvalidStartError(f"overrides: the input of {size:,} bytes {rule}")
    return given


def _text_of(given: Mapping[str, Any]) -> str:
    try:
        return json.dumps(given, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidStartError(f"overrides: {error}; they must be values of JSON") from error


def _is_same(given: Mapping[str, Any], text: str | None) -> bool:
    try:
        there = json.loads(text or "")
    except ValueError:
        return False
    return isinstance(there, dict) and _without_who_asks(there) == _without_who_asks(
        json.loads(_text_of(given))
    )


def _without_who_asks(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name != _WHO_ASKS}


def _raise_for(error: ClientError | BotoCoreError) -> NoReturn:
    if isinstance(error, NO_ANSWER):
        raise TransientAwsError(str(error)) from error
    if isinstance(error, ClientError):
        raise_if_transient(error)
    raise StartRefusedError(redact(str(error))) from error
