"""EventBridge, Lambda's asynchronous invocations, dead letters, and SNS."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from nightspot.aws.faults import NotYetError
from tests.simulation.calls import ACCOUNT, REGION, Call, Calls, client_error
from tests.simulation.clock import Clock
from tests.simulation.functions import Answer, Functions

# https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
RETRY_SECONDS = (60.0, 120.0)
MOST_ENTRY_BYTES = 256 * 1024


@dataclass(frozen=True)
class Rule:
    """Which events go to which function."""

    function: str
    wants: Callable[[Mapping[str, Any]], bool]


@dataclass
class DeadLetter:
    """An event that a function could not take. `injected`: of each of its tries."""

    function: str
    event: Mapping[str, Any]
    errors: list[Answer]
    at: float

    @property
    def is_excused(self) -> bool:
        """Whether faults alone have made it one.

        A try that came while the run was deciding and did not wait is no failure but what WakeRun is built for: it
        asks Lambda to bring the event back, and its last one drops the event, counted. Where the last try meets a
        fault instead, nothing that the function does could have kept the event from the queue; and the run needs
        no event, it looks by its timer. So tries that were not yet are excused where the last one met a fault, and
        an event that only ever was not yet must still not end here (seed 1108).
        """
        return self.errors[-1].injected and all(
            answer.injected or answer.error == NotYetError.__name__ for answer in self.errors
        )


@dataclass(frozen=True)
class Delivery:
    """How often and how much later an event arrives; no delays: never."""

    delays: tuple[float, ...] = (0.5,)


@dataclass
class EventBridge:
    """The default bus. `put_events` is boto3's; `emit` is AWS's own way in."""

    clock: Clock
    calls: Calls
    random: Random
    functions: Functions
    rules: list[Rule]
    # (event, whether AWS sends it as a best effort) -> how it arrives
    delivery: Callable[[Mapping[str, Any], bool], Delivery]
    away_until: Callable[[str], float]  # (service) -> when it is back; the past, where it is there
    fails_entry: Callable[[], bool] = lambda: False
    tell: Callable[[str, str], None] = lambda _who, _what: None
    sent: list[dict[str, Any]] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    on_the_way: int = 0
    _numbers: int = 0

    def put_events(self, *, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        return self.calls.make(
            "events", "put_events", {"Entries": Entries}, lambda call: self._put(call, Entries)
        )

    def _put(self, _call: Call, entries: list[dict[str, Any]]) -> dict[str, Any]:
        results: list[dict[str, Any]] = []
        for entry in entries:
            size = len(str(entry["Detail"]).encode()) + len(entry["Source"]) + len(entry["DetailType"])
            if size > MOST_ENTRY_BYTES:
                raise client_error(
                    "ValidationException", "Total size of the entries is over the limit", "PutEvents"
                )
            detail = json.loads(entry["Detail"])
            if self.fails_entry():
                self.tell("EventBridge", f"does not take {entry['DetailType']}")
                results.append({"ErrorCode": "InternalFailure", "ErrorMessage": "Unexpected error"})
                continue
            results.append(
                {"EventId": self.emit(entry["Source"], entry["DetailType"], detail, best_effort=False)}
            )
        failed = sum("ErrorCode" in result for result in results)
        return {"FailedEntryCount": failed, "Entries": results}

    def emit(self, source: str, detail_type: str, detail: Any, *, best_effort: bool = True) -> str:
        """Send an event on its way; its id."""
        self._numbers += 1
        event_id = f"event-{self._numbers:05d}"
        event = {
            "version": "0",
            "id": event_id,
            "detail-type": detail_type,
            "source": source,
            "account": ACCOUNT,
            "time": self.clock.moment().strftime("%Y-%m-%dT%H:%M:%SZ"),
            "region": REGION,
            "resources": [],
            "detail": json.loads(json.dumps(detail)),
        }
        self.sent.append(event)
        for rule in self.rules:
            if not rule.wants(event):
                continue
            delays = self.delivery(event, best_effort).delays
            if delays != Delivery().delays:
                self.tell("EventBridge", f"{detail_type} to {rule.function}: {_words(delays)}")
            for delay in delays:
                at = max(self.clock.now, self.away_until("events")) + delay
                self.clock.at(at, lambda rule=rule: self._deliver(rule.function, event, []))
        return event_id

    def deliver(self, function: str, event: Mapping[str, Any]) -> None:
        """Invoke a function as a service does: again after a failure, then dead letters."""
        self._deliver(function, event, [])

    def _deliver(self, function: str, event: Mapping[str, Any], errors: list[Answer]) -> None:
        back = self.away_until("lambda")
        if back > self.clock.now:
            # Lambda keeps what it has not tried for hours.
            self.clock.at(back + self.random.uniform(1, 30), lambda: self._deliver(function, event, errors))
            return
        answer = self.functions.invoke(function, event)
        if answer.error is None:
            return
        errors = [*errors, answer]
        if len(errors) > len(RETRY_SECONDS):
            self.tell("EventBridge", f"DEAD LETTER of {function}: {answer.error}")
            self.dead_letters.append(DeadLetter(function, event, errors, self.clock.now))
            return
        delay = RETRY_SECONDS[len(errors) - 1] * self.random.uniform(1.0, 1.2)
        self.clock.after(delay, lambda: self._deliver(function, event, errors))


def _words(delays: tuple[float, ...]) -> str:
    return "lost" if not delays else "arrives after " + ", ".join(f"{delay:.0f} s" for delay in delays)


@dataclass(frozen=True)
class Message:
    """What was published on a topic, by whom and on which event."""

    at: float
    topic: str
    subject: str | None
    text: str
    run_event: str
    run_id: str | None
    call: Call

    @property
    def is_in_doubt(self) -> bool:
        """Whether the function that sent it could not know, or not note, that it was sent."""
        return self.call.in_doubt or not self.call.invocation.succeeded


@dataclass
class Sns:
    """SNS's client."""

    clock: Clock
    calls: Calls
    tell: Callable[[str, str], None] = lambda _who, _what: None
    messages: list[Message] = field(default_factory=list)

    def publish(self, **given: Any) -> dict[str, Any]:
        return self.calls.make("sns", "publish", given, lambda call: self._publish(call, given))

    def _publish(self, call: Call, given: Mapping[str, Any]) -> dict[str, Any]:
        if len(given["Message"].encode()) > MOST_ENTRY_BYTES:
            raise client_error("InvalidParameter", "Invalid parameter: Message too long", "Publish")
        subject = given.get("Subject")
        if subject is not None and not (
            0 < len(subject) <= 100 and subject.isascii() and subject.isprintable()
        ):
            raise client_error("InvalidParameter", "Invalid parameter: Subject", "Publish")
        event = call.invocation.event if call.invocation is not None else {}
        detail = event.get("detail", {}) if isinstance(event, dict) else {}
        attributes = given.get("MessageAttributes", {})
        self.messages.append(
            Message(
                at=self.clock.now,
                topic=given["TopicArn"],
                subject=subject,
                text=given["Message"],
                run_event=attributes.get("happening", {}).get("StringValue", ""),
                run_id=detail.get("run_id"),
                call=call,
            )
        )
        self.tell("SNS", f"message: {subject}")
        return {"MessageId": f"message-{len(self.messages):05d}"}
