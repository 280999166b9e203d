"""Every call to AWS passes here: it takes time, others act meanwhile, it may fail before or after its effect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from random import Random
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
)

from tests.simulation.clock import Clock

ACCOUNT, REGION = "123456789012", "eu-west-1"
STEP_FUNCTIONS = "Step Functions"  # who makes the calls of a workflow's own states
READS = ("get_", "describe_", "list_", "query", "scan", "head_", "batch_get_")


class Died(BaseException):
    """The function's process is gone: no handler of its exceptions runs, and no call of it has any effect."""


class Then(StrEnum):
    """What befalls a call."""

    REFUSED = "refused"  # no effect, an error
    LOST = "answer lost"  # the effect, and an error
    REPEATED = "answer lost, the SDK repeats it"  # the effect twice, the second answer
    DIES_BEFORE = "the function dies before it"
    DIES_AFTER = "the function dies after it"


@dataclass(frozen=True)
class Verdict:
    """A fault of one call. `error` is what the caller gets, where it gets one."""

    then: Then
    why: str
    error: Callable[[], Exception] | None = None


@dataclass(eq=False)
class Call:
    """One call, with what is known of it afterwards."""

    service: str
    operation: str
    arguments: Mapping[str, Any]
    caller: str
    at: float
    in_doubt: bool = False  # it had its effect, and the caller does not know
    invocation: Any = None

    @property
    def name(self) -> str:
        return f"{self.service}.{self.operation}"

    @property
    def is_write(self) -> bool:
        return not self.operation.startswith(READS)


@dataclass
class Calls:
    """The way to all fakes. `verdict` is asked before each call; `tell` hears of each fault."""

    clock: Clock
    random: Random
    verdict: Callable[[Call], Verdict | None]
    tell: Callable[[Call, str], None]
    stretched_share: float = 0.0  # of the calls that take seconds, so that others act meanwhile
    invocations: list[Any] = field(default_factory=list)  # the running ones, the innermost last
    count: int = 0
    caller: str = ""  # where no function is at work

    def make(
        self,
        service: str,
        operation: str,
        arguments: Mapping[str, Any],
        effect: Callable[[Call], Any],
    ) -> Any:
        """The answer of `effect`, or the fault that befalls the call."""
        invocation = self.invocations[-1] if self.invocations else None
        if invocation is not None and invocation.is_dead:
            raise Died
        self.count += 1
        if invocation is not None:
            invocation.calls += 1
        self._take_time(invocation)
        caller = invocation.name if invocation is not None else self.caller
        call = Call(service, operation, arguments, caller, self.clock.now, invocation=invocation)
        verdict = self.verdict(call)
        if verdict is None:
            return effect(call)
        self.tell(call, f"{verdict.then.value} ({verdict.why})")
        if verdict.then is Then.REFUSED:
            raise _injected(verdict)
        if verdict.then is Then.DIES_BEFORE:
            invocation.die(verdict.why)
        return self._with_effect(call, verdict, effect)

    def _with_effect(self, call: Call, verdict: Verdict, effect: Callable[[Call], Any]) -> Any:
        try:
            if verdict.then is Then.REPEATED:
                effect(replace(call, in_doubt=True))
            answer = effect(call)
        except (ClientError, BotoCoreError):
            if verdict.then in {Then.LOST, Then.DIES_AFTER}:
                self._lose(call, verdict)
            raise
        if verdict.then in {Then.LOST, Then.DIES_AFTER}:
            call.in_doubt = True
            self._lose(call, verdict)
        return answer

    def _lose(self, call: Call, verdict: Verdict) -> None:
        if verdict.then is Then.DIES_AFTER:
            call.invocation.die(verdict.why)
        raise _injected(verdict)

    def _take_time(self, invocation: Any) -> None:
        seconds = self.random.uniform(0.004, 0.03)
        if self.stretched_share and self.random.random() < self.stretched_share:
            seconds = self.random.choice((0.3, 1.0, 3.0, 10.0))
        # What happens inside this call is not this invocation's.
        running, self.invocations = self.invocations, []
        caller, self.caller = self.caller, ""
        self.clock.pass_time(seconds)
        self.invocations, self.caller = running, caller
        if invocation is not None:
            invocation.check_time()


def _injected(verdict: Verdict) -> Exception:
    error = verdict.error() if verdict.error is not None else refusal("InternalFailure", "", 500)()
    error.injected = True  # type: ignore[attr-defined]
    return error


def is_injected(error: BaseException | None) -> bool:
    """Whether an error came out of a fault, directly or as its cause."""
    while error is not None:
        if getattr(error, "injected", False):
            return True
        error = error.__cause__ or error.__context__
    return False


def client_error(code: str, message: str, operation: str, status: int = 400, **more: Any) -> ClientError:
    """What boto3 raises where a service refuses."""
    response = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "RequestId": "00000000-0000-0000-0000-000000000000"},
        **more,
    }
    return ClientError(response, operation)  # type: ignore[arg-type]


def refusal(code: str, message: str, status: int = 400) -> Callable[[], Exception]:
    """A maker of refusals."""
    return lambda: client_error(code, message, "Operation", status)


_URL = "https://service.eu-west-1.amazonaws.com/"

NO_ANSWERS: tuple[Callable[[], Exception], ...] = (
    lambda: ReadTimeoutError(endpoint_url=_URL),
    lambda: ConnectionClosedError(endpoint_url=_URL),
)
UNREACHABLE: tuple[Callable[[], Exception], ...] = (
    lambda: EndpointConnectionError(endpoint_url=_URL),
    lambda: ConnectTimeoutError(endpoint_url=_URL),
    refusal("ServiceUnavailable", "Service is unable to handle request.", 503),
    refusal("InternalServerError", "Internal server error", 500),
    refusal("InternalFailure", "The request processing has failed because of an unknown error.", 500),
)
THROTTLED: Mapping[str, Callable[[], Exception]] = {
    "sagemaker": refusal("ThrottlingException", "Rate exceeded"),
    "dynamodb": refusal(
        "ProvisionedThroughputExceededException",
        "The level of configured provisioned throughput for the table was exceeded.",
    ),
    "s3": refusal("SlowDown", "Please reduce your request rate.", 503),
    "events": refusal("ThrottlingException", "Rate exceeded"),
    "sns": refusal("Throttling", "Rate exceeded"),
    "states": refusal("ThrottlingException", "Rate exceeded"),
}
