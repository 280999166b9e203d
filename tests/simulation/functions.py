"""Lambda: invocations of the real handlers, each with its own clock, that may die at any call."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from nightspot.lambdas import observability
from nightspot.local.stage.emulated_aws import LocalContext, function_arn
from tests.simulation.calls import Calls, Died, is_injected
from tests.simulation.clock import Clock

__all__ = ["Answer", "Functions", "Invocation", "function_arn"]

TIMEOUT_SECONDS = 60.0  # of every function, see infra/functions.py
# What Step Functions may call the death of an invocation.
DEATHS = (
    "Lambda.Unknown",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.EC2ThrottledException",
    "Lambda.EC2UnexpectedException",
    "Lambda.ENILimitReachedException",
    "Lambda.KMSThrottlingException",
    "Lambda.ResourceNotReadyException",
    "Lambda.SnapStartTimeoutException",
    "Sandbox.Timedout",
    "States.Timeout",
    "Runtime.ExitError",
    "Runtime.OutOfMemory",
    "Runtime.ImportModuleError",
)


@dataclass
class Doom:
    """When an invocation is going to die: at its `call`-th call, 0 at its begin; beyond its last, at its end."""

    call: int
    after: bool  # after the call's effect
    error: str


@dataclass(eq=False)
class Invocation:
    """One invocation of a function."""

    name: str
    event: Any
    clock: Clock
    began_at: float
    doom: Doom | None = None
    calls: int = 0
    died_of: str | None = None
    succeeded: bool = False  # and has left nothing for later

    @property
    def is_dead(self) -> bool:
        return self.died_of is not None

    def die(self, error: str) -> None:
        """End the process here."""
        self.died_of = error
        raise Died

    def check_time(self) -> None:
        """Die where the function's own limit is over."""
        if self.clock.now - self.began_at > TIMEOUT_SECONDS:
            self.die("Sandbox.Timedout")


@dataclass(frozen=True)
class Answer:
    """What an invocation came to: a result, or an error with its name and cause."""

    result: Any = None
    error: str | None = None
    cause: str = ""
    injected: bool = False  # the error is a fault's, directly or indirectly
    raised: BaseException | None = None


@dataclass
class Functions:
    """The functions of the deployment, by name. A handler takes an event, a context and `use`."""

    clock: Clock
    calls: Calls
    random: Random
    doom: Callable[[str], Doom | None]  # (function) -> how its next invocation dies
    refused: Callable[[str], str | None]  # (function) -> why Lambda takes no call of it just now
    handlers: dict[str, tuple[Callable[..., Any], Callable[[str], Any]]] = field(default_factory=dict)
    tell: Callable[[str, str], None] = lambda _who, _what: None
    answered: Callable[[Invocation, Answer], None] = lambda _invocation, _answer: None

    def invoke(self, name: str, event: Any) -> Answer:
        """Invoke the function synchronously; raises nothing."""
        if name not in self.handlers:
            return Answer(error="Lambda.ResourceNotFoundException", cause=f"Function not found: {name}")
        if (why := self.refused(name)) is not None:
            self.tell(name, f"not invoked: {why}")
            return Answer(error=why, cause="The service is away.", injected=True)
        invocation = Invocation(name, event, self.clock, self.clock.now, self.doom(name))
        self.calls.invocations.append(invocation)
        try:
            with _own_metrics():
                answer = self._run(invocation)
        finally:
            self.calls.invocations.remove(invocation)
        self.answered(invocation, answer)
        return answer

    def _run(self, invocation: Invocation) -> Answer:
        handler, use = self.handlers[invocation.name]
        event = json.loads(json.dumps(invocation.event))
        try:
            if invocation.doom is not None and invocation.doom.call == 0:
                invocation.die(invocation.doom.error)
            result = handler(event, LocalContext(invocation.name), use=use(invocation.name))
            text = json.dumps(result)
            if invocation.doom is not None and invocation.doom.call > invocation.calls:
                invocation.die(invocation.doom.error)
        except Died:
            self.tell(invocation.name, f"DIED: {invocation.died_of}")
            return Answer(error=invocation.died_of, cause=_cause_of_death(invocation), injected=True)
        except Exception as error:  # whatever a handler raises is Lambda's to report
            said = {"errorMessage": str(error), "errorType": type(error).__name__, "stackTrace": []}
            name = type(error).__name__
            return Answer(error=name, cause=json.dumps(said), injected=is_injected(error), raised=error)
        invocation.succeeded = not (isinstance(result, dict) and result.get("pending"))
        return Answer(result=json.loads(text))


def _cause_of_death(invocation: Invocation) -> str:
    if invocation.died_of == "Sandbox.Timedout":
        return json.dumps({"errorMessage": "RequestId: 0 Error: Task timed out after 60.00 seconds"})
    return f"The Lambda function returned an unknown error ({invocation.died_of})."


@contextmanager
def _own_metrics() -> Iterator[None]:
    """Powertools collects the metrics of one invocation at a time, in one place; another one may run inside it."""
    provider = observability.metrics.provider
    sets: list[dict[str, Any]] = [provider.metric_set, provider.dimension_set, provider.metadata_set]
    kept = [dict(each) for each in sets]
    arrays = list(provider.dimension_sets)
    for each in sets:
        each.clear()
    provider.dimension_sets.clear()
    try:
        yield
    finally:
        for each, before in zip(sets, kept, strict=True):
            each.clear()
            each.update(before)
        provider.dimension_sets[:] = arrays
