"""One execution of a compiled workflow in virtual time."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from tests.simulation import asl
from tests.simulation.asl import Catcher, Machine, Rule, State, StateError, Template, evaluated, size_of
from tests.simulation.clock import Clock, Planned
from tests.simulation.jsonata import Surroundings

MOST_EVENTS = 25_000
MOST_WAIT_SECONDS = 99_999_999
# History events of a state beside its own begin and end, roughly as the console lists them.
_TASK_EVENTS, _TOKEN_EVENTS, _TRY_EVENTS = 3, 4, 3


class Services(Protocol):
    """What an execution needs of the world around it."""

    def perform(self, execution: Execution, visit: Visit, arguments: Any) -> Any:
        """The result of a task. Raises StateError."""

    def token(self, visit: Visit) -> str:
        """A new task token, which wakes the visit."""

    def stalled_until(self) -> float:
        """Until when Step Functions does not go on; now, or earlier, where it works."""

    def on_state(self, execution: Execution, state: State) -> None:
        """A state was entered."""

    def on_error(self, execution: Execution, state: State, error: StateError, then: str) -> None:
        """A state has failed; `then` says what follows."""

    def on_end(self, execution: Execution) -> None:
        """The execution is over."""


@dataclass(eq=False)
class Visit:
    """One stay in a state, repetitions included."""

    state: State
    input: Any
    entered_at: float
    retries: dict[int, int] = field(default_factory=dict)
    token: str | None = None
    is_over: bool = False  # this try, not the stay
    timer: Planned | None = None
    execution: Execution | None = None
    number: int = 0

    @property
    def retry_count(self) -> int:
        return sum(self.retries.values())


class Execution:
    """A run of the state machine."""

    def __init__(
        self,
        machine: Machine,
        arn: str,
        run_input: Any,
        clock: Clock,
        services: Services,
        around: Surroundings,
    ) -> None:
        self.machine, self.arn, self.input = machine, arn, run_input
        self.name = arn.rpartition(":")[2]
        self._clock, self._services, self._around = clock, services, around
        self.status = "RUNNING"
        self.variables: dict[str, Any] = {}
        self.started_at, self.ended_at = clock.now, 0.0
        self.error: str | None = None
        self.cause: str | None = None
        self.output: Any = None
        self.transitions = 0
        self.events = 1
        self.most_bytes = 0
        self.state_name = ""
        self.states_entered: list[str] = []
        self.visit: Visit | None = None
        self.was_crashed_by_hand = False

    @property
    def is_running(self) -> bool:
        return self.status == "RUNNING"

    def start(self) -> None:
        """Enter the first state, a moment from now."""
        if self.machine.timeout_seconds is not None:
            self._clock.after(self.machine.timeout_seconds, self._time_out, background=True)
        self._go(self.machine.start_at, self.input)

    def stop(self, status: str, error: str | None = None, cause: str | None = None) -> None:
        """End it from outside, or by its own failure."""
        if not self.is_running:
            return
        self.status, self.error, self.cause = status, error, cause
        self.ended_at = self._clock.now
        if self.visit is not None:
            self._leave_try(self.visit)
        self.events += 1
        self._services.on_end(self)

    def _time_out(self) -> None:
        self.stop("TIMED_OUT", asl.TIMEOUT, "The execution ran into its time limit.")

    def _go(self, name: str, given: Any) -> None:
        self._clock.after(0.02, lambda: self._enter(name, given))

    def _enter(self, name: str, given: Any) -> None:
        if not self.is_running:
            return
        stalled = self._services.stalled_until()
        if stalled > self._clock.now:
            self._clock.at(stalled, lambda: self._enter(name, given))
            return
        state = self.machine.states[name]
        self.state_name = name
        self.transitions += 1
        self.states_entered.append(name)
        if not self._count(1):
            return
        self._services.on_state(self, state)
        visit = Visit(state, given, self._clock.now, execution=self, number=self.transitions)
        self.visit = visit
        try:
            self._check_size(given, "The state's input")
            getattr(self, f"_{state.type.lower()}")(visit)
        except StateError as error:
            self._failed(visit, error)

    def _count(self, events: int) -> bool:
        self.events += events
        if self.events >= MOST_EVENTS:
            self.stop(
                "FAILED",
                asl.RUNTIME,
                f"The execution reached the maximum number of history events ({MOST_EVENTS}).",
            )
            return False
        return True

    # --- states -------------------------------------------------------------------------------------------

    def _task(self, visit: Visit) -> None:
        state = visit.state
        visit.is_over = False
        self._count(_TOKEN_EVENTS if state.waits_for_token else _TASK_EVENTS)
        if not self.is_running:
            return
        if state.waits_for_token:
            visit.token = self._services.token(visit)
        arguments = self._value(visit, state.arguments) if state.arguments is not None else visit.input
        self._check_size(arguments, "The state's arguments")
        limit = self._timeout(visit, state.timeout)
        if limit is not None:
            visit.timer = self._clock.after(limit, lambda: self._try_timed_out(visit))
        try:
            result = self._services.perform(self, visit, arguments)
        except StateError as error:
            if not visit.is_over and self.is_running:
                self._leave_try(visit)
                self._failed(visit, error)
            return
        if not state.waits_for_token:
            self.succeed(visit, result)

    def _timeout(self, visit: Visit, given: Template | None) -> float | None:
        if given is None:
            return None
        limit = self._value(visit, given)
        if not isinstance(limit, int | float) or isinstance(limit, bool) or limit != int(limit) or limit < 1:
            raise StateError(asl.QUERY, f"TimeoutSeconds must be a positive integer, and is {limit!r}")
        return float(limit)

    def _try_timed_out(self, visit: Visit) -> None:
        if visit.is_over or not self.is_running:
            return
        self._leave_try(visit)
        self._failed(visit, StateError(asl.TIMEOUT, ""))

    def succeed(self, visit: Visit, result: Any) -> None:
        """The task of this visit has its result. What comes after its end changes nothing."""
        if visit.is_over or not self.is_running:
            return
        self._leave_try(visit)
        try:
            self._check_size(result, "The task's result")
            self._leave(visit, visit.state.assign, visit.state.output, result, {"result": result})
        except StateError as error:
            self._failed(visit, error)

    def fail(self, visit: Visit, error: StateError) -> None:
        """The task of this visit has failed."""
        if visit.is_over or not self.is_running:
            return
        self._leave_try(visit)
        self._failed(visit, error)

    def _leave_try(self, visit: Visit) -> None:
        visit.is_over = True
        self._clock.cancel(visit.timer)

    def _choice(self, visit: Visit) -> None:
        state = visit.state
        for rule in state.rules:
            answer = self._value(visit, rule.condition)
            if not isinstance(answer, bool):
                raise StateError(asl.QUERY, f"The condition must be true or false, and is {answer!r}")
            if answer:
                self._follow(visit, rule)
                return
        if state.default is None:
            raise StateError("States.NoChoiceMatched", f"No choice of {state.name} matched.")
        self._leave(visit, state.assign, state.output, visit.input, {}, following=state.default)

    def _follow(self, visit: Visit, rule: Rule) -> None:
        self._leave(visit, rule.assign, rule.output, visit.input, {}, following=rule.following)

    def _wait(self, visit: Visit) -> None:
        state = visit.state
        if state.seconds is not None:
            seconds = self._value(visit, state.seconds)
            is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
            if not is_number or seconds != int(seconds) or not 0 <= seconds <= MOST_WAIT_SECONDS:
                raise StateError(
                    asl.QUERY, f"Seconds must be an integer of 0 to {MOST_WAIT_SECONDS}: {seconds!r}"
                )
            until = self._clock.now + seconds
        else:
            stamp = self._value(visit, state.timestamp) if state.timestamp is not None else None
            until = (datetime.fromisoformat(str(stamp)) - self._clock.moment(0)).total_seconds()

        def over() -> None:
            if self.is_running:
                self._leave_or_fail(visit)

        self._clock.at(until, over)

    def _pass(self, visit: Visit) -> None:
        self._leave(visit, visit.state.assign, visit.state.output, visit.input, {})

    def _succeed(self, visit: Visit) -> None:
        output = visit.input if visit.state.output is None else self._value(visit, visit.state.output)
        self._check_size(output, "The output")
        self.output = output
        self.stop("SUCCEEDED")

    def _fail(self, visit: Visit) -> None:
        state = visit.state
        error = None if state.error is None else str(self._value(visit, state.error))
        cause = None if state.cause is None else str(self._value(visit, state.cause))
        self.stop("FAILED", error, cause)

    # --- on to the next -----------------------------------------------------------------------------------

    def _leave_or_fail(self, visit: Visit) -> None:
        try:
            self._leave(visit, visit.state.assign, visit.state.output, visit.input, {})
        except StateError as error:
            self._failed(visit, error)

    def _leave(
        self,
        visit: Visit,
        assign: Template | None,
        output: Template | None,
        default: Any,
        extra: dict[str, Any],
        *,
        following: str | None = None,
    ) -> None:
        """Both templates see the variables as they were."""
        assigned = self._value(visit, assign, **extra) if assign is not None else {}
        value = self._value(visit, output, **extra) if output is not None else default
        self._check_size(value, "The state's output")
        if assigned:
            self._check_size(assigned, "What the state assigns")
            self.variables.update(copy.copy(assigned))
        if not self._count(1):
            return
        target = following or visit.state.following
        if target is None:
            self.output = value
            self.stop("SUCCEEDED")
        else:
            self._go(target, value)

    def _failed(self, visit: Visit, error: StateError) -> None:
        """Again, elsewhere, or the end of the execution."""
        if not self.is_running:
            return
        self._leave_try(visit)
        state = visit.state
        for number, retrier in enumerate(state.retriers):
            if asl.matches(retrier.errors, error.error):
                tries = visit.retries.get(number, 0)
                if tries >= retrier.most:
                    break  # the first retrier that matches decides
                visit.retries[number] = tries + 1
                delay = retrier.delay(tries + 1, self._around.random)
                self._services.on_error(self, state, error, f"again in {delay:.0f} s")
                self._clock.after(delay, lambda: self._again(visit))
                return
        for catcher in state.catchers:
            if asl.matches(catcher.errors, error.error):
                self._services.on_error(self, state, error, catcher.following)
                try:
                    self._caught(visit, catcher, error)
                except StateError as another:
                    self.stop("FAILED", another.error, another.cause)
                return
        self._services.on_error(self, state, error, "the execution fails")
        self.stop("FAILED", error.error, error.cause)

    def _again(self, visit: Visit) -> None:
        if not self.is_running:
            return
        stalled = self._services.stalled_until()
        if stalled > self._clock.now:
            self._clock.at(stalled, lambda: self._again(visit))
            return
        # A repetition is billed as a transition.
        self.transitions += 1
        if not self._count(_TRY_EVENTS):
            return
        try:
            self._task(visit)
        except StateError as error:
            self._failed(visit, error)

    def _caught(self, visit: Visit, catcher: Catcher, error: StateError) -> None:
        extra = {"errorOutput": error.output}
        self._leave(visit, catcher.assign, catcher.output, error.output, extra, following=catcher.following)

    # --- values -------------------------------------------------------------------------------------------

    def _value(self, visit: Visit, part: Template | None, **extra: Any) -> Any:
        if part is None:
            return None
        states = {"input": visit.input, "context": self._context(visit), **extra}
        return evaluated(part, {**self.variables, "states": states}, self._around)

    def _context(self, visit: Visit) -> dict[str, Any]:
        machine_name = self.arn.split(":")[-2]
        context: dict[str, Any] = {
            "Execution": {
                "Id": self.arn,
                "Input": self.input,
                "Name": self.name,
                "RoleArn": "arn:aws:iam::123456789012:role/nightspot-workflow",
                "StartTime": _stamp(self._clock.moment(self.started_at)),
                "RedriveCount": 0,
            },
            "State": {
                "EnteredTime": _stamp(self._clock.moment(visit.entered_at)),
                "Name": visit.state.name,
                "RetryCount": visit.retry_count,
            },
            "StateMachine": {"Id": self.arn.replace(":execution:", ":stateMachine:"), "Name": machine_name},
        }
        if visit.token is not None:
            context["Task"] = {"Token": visit.token}
        return context

    def _check_size(self, value: Any, what: str) -> None:
        size = size_of(value)
        self.most_bytes = max(self.most_bytes, size)
        if size > asl.MOST_BYTES:
            raise StateError(asl.LIMIT, f"{what} is {size:,} bytes, and may be {asl.MOST_BYTES:,}.")


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def as_json(value: Any, default: Callable[[Any], Any] = str) -> Any:
    """A copy of `value` as JSON carries it."""
    return json.loads(json.dumps(value, default=default))
