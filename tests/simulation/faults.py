"""What goes wrong in a run: calls that fail, invocations that die, events that are lost, services that are away."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.simulation import odd
from tests.simulation.calls import NO_ANSWERS, STEP_FUNCTIONS, THROTTLED, UNREACHABLE, Call, Then, Verdict
from tests.simulation.clock import Clock
from tests.simulation.events import Delivery
from tests.simulation.functions import DEATHS, Doom

# What stands for itself when a whole service is away; Lambda's own is in `Faults.refused`.
SERVICES = ("sagemaker", "dynamodb", "s3", "events", "sns", "states", "lambda")


@dataclass(frozen=True)
class Outage:
    """A service that answers nothing between two moments."""

    service: str
    begin: float
    end: float

    def covers(self, now: float) -> bool:
        return self.begin <= now < self.end


@dataclass(frozen=True)
class Burst:
    """Calls of one operation that are refused in a row: `most` of them, between two moments."""

    service: str
    operation: str  # "" for all
    begin: float
    end: float
    most: int
    odd: str = ""  # the name of a refusal in `odd.REFUSALS`; "": throttled


@dataclass
class Plan:
    """The faults of a run. All shares are between 0 and 1."""

    kill_share: float = 0.0  # of invocations
    most_kills: int = 10**9
    dying: tuple[float, float] | None = None  # between these every invocation of `dying_functions` dies
    dying_functions: tuple[str, ...] = ()
    lost_share: float = 0.0  # of writes whose answer is lost
    throttled_share: float = 0.0  # of calls
    bursts: tuple[Burst, ...] = ()
    outages: tuple[Outage, ...] = ()
    doubt_share: float = 0.0  # of CreateTrainingJob whose answer is lost
    no_doubt_share: float = 0.0  # of CreateTrainingJob without an answer, and without an effect
    torn_bodies: float = 0.0  # of objects whose reading breaks off
    failed_entries: float = 0.0  # of events that EventBridge answers for, and has not taken
    lost_events: float = 0.0
    doubled_events: float = 0.0
    late_events: float = 0.0
    lost_ends: bool = False  # every event of an execution's end is lost
    stretched_share: float = 0.0
    skew_seconds: Mapping[str, float] = field(default_factory=dict)  # of functions' clocks


class Faults:
    """About each call, invocation and event; from `random` alone, so a seed is a run."""

    def __init__(self, plan: Plan, clock: Clock, random: Random) -> None:
        self.plan, self._clock, self._random = plan, clock, random
        self._used = dict.fromkeys(plan.bursts, 0)
        self.kills = 0
        self.injected: list[tuple[float, str]] = []  # what befell, for the verdict on lateness
        self.until = float("inf")  # from then on nothing goes wrong any more

    @property
    def _is_over(self) -> bool:
        return self._clock.now >= self.until

    def away_until(self, service: str) -> float:
        """When the service is back; the past where it is there."""
        ends = [o.end for o in self.plan.outages if o.service == service and o.covers(self._clock.now)]
        return max(ends, default=0.0)

    def refused(self, _function: str) -> str | None:
        """Why Lambda runs no function just now."""
        if self.away_until("lambda") > self._clock.now:
            return self._random.choice(
                ("Lambda.ServiceException", "Lambda.SdkClientException", "Lambda.Unknown")
            )
        return None

    def doom(self, function: str) -> Doom | None:
        """How the next invocation of a function dies."""
        plan, random = self.plan, self._random
        if plan.dying is not None and function in plan.dying_functions:
            begin, end = plan.dying
            if begin <= self._clock.now < end:
                return Doom(random.choice((0, 1, 3)), random.random() < 0.5, random.choice(DEATHS))
        if not plan.kill_share or self._is_over or self.kills >= plan.most_kills:
            return None
        if random.random() >= plan.kill_share:
            return None
        self.kills += 1
        self.injected.append((self._clock.now, f"{function} dies"))
        call = random.choice((0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 99))
        return Doom(call, random.random() < 0.5, random.choice(DEATHS))

    def verdict(self, call: Call) -> Verdict | None:
        """What befalls a call; None: nothing."""
        verdict = self._doomed(call) or self._by_service(call)
        if verdict is None and not self._is_over:
            verdict = self._by_chance(call)
        if verdict is not None:
            self.injected.append((call.at, f"{call.name}: {verdict.then.value}"))
        return verdict

    def _doomed(self, call: Call) -> Verdict | None:
        doom = call.invocation.doom if call.invocation is not None else None
        if doom is None or doom.call != call.invocation.calls:
            return None
        return Verdict(Then.DIES_AFTER if doom.after else Then.DIES_BEFORE, doom.error)

    def _by_service(self, call: Call) -> Verdict | None:
        random = self._random
        if self.away_until(call.service) > call.at:
            # Now and then the service did what it could not say any more.
            has_effect = call.is_write and random.random() < 0.1
            error = random.choice(UNREACHABLE)
            return Verdict(Then.LOST if has_effect else Then.REFUSED, f"{call.service} is away", error)
        for burst in self.plan.bursts:
            if (
                burst.service == call.service
                and burst.operation in {"", call.operation}
                and not (burst.odd and call.operation == "create_training_job")
                and burst.begin <= call.at < burst.end
                and self._used[burst] < burst.most
            ):
                self._used[burst] += 1
                if burst.odd:
                    return Verdict(Then.REFUSED, burst.odd, odd.REFUSALS[burst.odd])
                return Verdict(Then.REFUSED, "throttled", THROTTLED[call.service])
        return None

    def _by_chance(self, call: Call) -> Verdict | None:
        plan, random = self.plan, self._random
        if plan.throttled_share and random.random() < plan.throttled_share:
            return Verdict(Then.REFUSED, "throttled", THROTTLED[call.service])
        if call.operation == "create_training_job" and random.random() < plan.doubt_share:
            return Verdict(Then.LOST, "no answer", random.choice((*NO_ANSWERS, *UNREACHABLE[2:])))
        if call.operation == "create_training_job" and random.random() < plan.no_doubt_share:
            return Verdict(Then.REFUSED, "no answer", random.choice((*NO_ANSWERS, *UNREACHABLE)))
        if plan.lost_share and call.is_write and random.random() < plan.lost_share:
            if random.random() < 0.5 and call.caller != STEP_FUNCTIONS:
                return Verdict(Then.REPEATED, "no answer")
            return Verdict(Then.LOST, "no answer", random.choice(NO_ANSWERS))
        return None

    def tears_body(self) -> bool:
        """Whether the reading of the next object breaks off."""
        return not self._is_over and self._random.random() < self.plan.torn_bodies

    def fails_entry(self) -> bool:
        """Whether EventBridge does not take the next entry, in an answer that is no error."""
        return not self._is_over and self._random.random() < self.plan.failed_entries

    def delivery(self, event: Mapping[str, Any], best_effort: bool) -> Delivery:
        """How an event arrives. Only what AWS sends as a best effort is ever lost."""
        plan, random = self.plan, self._random
        if plan.lost_ends and event["source"] == "aws.states":
            return Delivery(())
        if self._is_over:
            return Delivery()
        if best_effort and plan.lost_events and random.random() < plan.lost_events:
            return Delivery(())
        delays = [0.5]
        if plan.doubled_events and random.random() < plan.doubled_events:
            delays.append(random.choice((0.5, 0.6, 30.0, 300.0)))
        if plan.late_events:
            delays = [
                delay
                + (random.choice((5.0, 60.0, 600.0, 3000.0)) if random.random() < plan.late_events else 0)
                for delay in delays
            ]
        return Delivery(tuple(delays))


Spoil = Callable[[bytes, int], bytes | None]
