"""What the other known ways to use Spot do at each moment of a night.

`NSDI'24` is "Can't Be Late" (Wu et al., usenix.org/conference/nsdi24/presentation/wu-zhanghao), whose R and C are
the time and the work left. Its change-over d stands here for what it is spent on: 2 d for a start on Spot, the stop
of a Spot job, and a start on on-demand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nightspot.market.engine import RivalDecision, Rule, SimulatedState, View
from nightspot.market.model import Doing

# Moments this close together are one: a look at a computed moment must find that it has come.
ROUNDING_SECONDS = 1e-7
TIGHT = 0.7  # the work over the time left from which a deadline is tight (NSDI'24, §A.8)

ON_DEMAND = RivalDecision(SimulatedState.ON_DEMAND)
SPOT = RivalDecision(SimulatedState.SPOT)


def on_demand(_view: View) -> RivalDecision:
    """On-demand from the start.

    What every saving is measured against. Sees nothing.
    """
    return ON_DEMAND


def spot_once(view: View) -> RivalDecision:
    """Spot if there is one at the start, until it is interrupted; then on-demand from the checkpoint, for good.

    What a retry with another market does: AWS's sample of Step Functions with SageMaker Spot, Batch's second job
    queue. Sees Spot when the night starts, and its own interruption. Late where the window does not hold the work,
    both change-overs, the stop and what an interruption loses.
    """
    if view.wanted is SimulatedState.ON_DEMAND or view.interruptions:
        return ON_DEMAND
    is_refused = view.wanted is SimulatedState.IDLE and not view.spot_up
    return ON_DEMAND if is_refused else SPOT


def spot_once_scratch(view: View) -> RivalDecision:
    """As `spot_once`, for a job without checkpoints: on-demand begins with nothing.

    Late, by construction, when Spot is lost after more than the window's spare time.
    """
    decision = spot_once(view)
    begins_again = decision is ON_DEMAND and view.state is not SimulatedState.ON_DEMAND
    return RivalDecision(SimulatedState.ON_DEMAND, restart=True) if begins_again else decision


def spot_whenever(view: View) -> RivalDecision:
    """Spot whenever it is up, on-demand whenever it is not, and back again.

    The best there is where a change-over takes no time (NSDI'24, §3.2, and the first rule that comes to mind), with
    that paper's safety net: no way back to Spot while R < C + 2 d. Sees Spot come back while it is on on-demand.
    """
    if view.state is SimulatedState.SPOT:
        return _on_spot(view)
    is_safe = _spare_for_spot(view) >= -ROUNDING_SECONDS
    return SPOT if view.spot_up and is_safe else ON_DEMAND


def max_wait_safe(view: View) -> RivalDecision:
    """One managed Spot job with the longest MaxWaitTimeInSeconds that is always in time, then on-demand.

    Decided once: the window less the whole work, a start on on-demand and the stop. SageMaker counts waiting and
    running, and ends the job at that moment though it trains
    (docs.aws.amazon.com/sagemaker/latest/APIReference/API_StoppingCondition.html). Sees the time.
    """
    belief = view.belief
    whole = belief.work_seconds + belief.on_demand_changeover_seconds + belief.stop_seconds
    return _until(view, view.now_seconds + view.left_seconds - whole)


def max_wait_unsafe(view: View) -> RivalDecision:
    """One managed Spot job with MaxWaitTimeInSeconds equal to the expected work, then on-demand.

    As walk-throughs of managed Spot set it. Ends a job that is nearly done as it does one that never began.
    Sees the time. Late, by construction, where Spot brought too little: in a window of twice the work, less than
    the start on on-demand takes.
    """
    return _until(view, view.belief.work_seconds)


def greedy(view: View) -> RivalDecision:
    """Spot, or waiting for it, while R >= C + 2 d; without a machine past that moment, on-demand to the end.

    NSDI'24, §3.4, with the authors' public simulator where the paper is silent. A Spot machine that works is kept
    to its end however little time is left, as R - C no longer falls (exploitation rule); one that still starts is
    kept while on-demand could be in time after it, R >= C + d, so beyond the net unless it starts slower than
    believed. At R = C + 2 d exactly Spot is taken if it is up. Sees Spot only while waiting for it.
    """
    if view.wanted is SimulatedState.ON_DEMAND:
        return ON_DEMAND
    if view.state is SimulatedState.SPOT:
        return _on_spot(view)
    return _wait_while_safe(view)


class UniformProgress:
    """Never behind an even pace: on-demand as soon as waiting falls behind it, Spot again once well ahead.

    NSDI'24, §5.2.2. Without a machine: Spot if it is up, however far behind; else on-demand once the progress lies
    below the line from the first look to all work at the deadline. On on-demand: until the progress has reached the
    line of 2 d later and Spot is up; it never goes idle from there (the authors' simulator). On Spot, and past the
    safety net, as `greedy`. Sees Spot come back while it is on on-demand.
    """

    def __init__(self) -> None:
        self._line: tuple[float, float] | None = None  # seconds and fraction done where it begins

    def __call__(self, view: View) -> RivalDecision:
        """The decision at one look."""
        if self._line is None:
            self._line = (view.now_seconds, view.fraction_done)
        if view.state is SimulatedState.SPOT:
            return _on_spot(view)
        spare = _spare_for_spot(view)
        if spare < -ROUNDING_SECONDS:
            return ON_DEMAND
        since, fraction = self._line
        end = view.now_seconds + view.left_seconds
        # What an even pace takes for each second of work; more than 1 short of the safety net.
        pace = (end - since) / (view.belief.work_seconds * (1 - fraction))
        line_at = since + (view.fraction_done - fraction) * view.belief.work_seconds * pace
        ahead = line_at - view.now_seconds
        if view.wanted is not SimulatedState.ON_DEMAND:
            return _wait_while_safe(view, at_most_seconds=ahead)
        enough = ahead - _seconds_to_try_spot(view)
        if not view.spot_up:
            return ON_DEMAND
        if enough >= -ROUNDING_SECONDS:
            return SPOT
        if pace > 1:
            return RivalDecision(SimulatedState.ON_DEMAND, -enough / (pace - 1))
        return ON_DEMAND


class GreedyThenUniform:
    """Greedy while the deadline is far, uniform progress over what is left from C >= 0.7 R on.

    NSDI'24, §A.8, for loose deadlines. C / R rises while the job waits and while a machine starts. The even pace
    is that of the work and the time left at the change of rule. Sees what both see.
    """

    def __init__(self) -> None:
        self._uniform: UniformProgress | None = None

    def __call__(self, view: View) -> RivalDecision:
        """The decision at one look."""
        loose = view.left_seconds - view.work_left_seconds / TIGHT
        if self._uniform is None and loose <= ROUNDING_SECONDS:
            self._uniform = UniformProgress()
        if self._uniform is not None:
            return self._uniform(view)
        decision = greedy(view)
        again = decision.look_again_seconds
        return decision if again is None else RivalDecision(decision.want, min(again, loose))


@dataclass(frozen=True)
class Rival:
    """A rule with a name. `rule` makes it for one night.

    `sees_spot_from_on_demand`: it goes back to Spot when that comes up again. Nobody sees that on SageMaker
    short of asking, so what such a rule costs is a bound there, not a rival.
    """

    name: str
    rule: Callable[[], Rule]
    sees_spot_from_on_demand: bool
    label: str


RIVALS: Mapping[str, Rival] = {
    rival.name: rival
    for rival in (
        Rival("on_demand", lambda: on_demand, False, "On-demand from the start"),
        Rival("spot_once", lambda: spot_once, False, "Spot once, else on-demand"),
        Rival("spot_once_scratch", lambda: spot_once_scratch, False, "Spot once, without checkpoints"),
        Rival("spot_whenever", lambda: spot_whenever, True, "Spot whenever it is up, else on-demand"),
        Rival("max_wait_safe", lambda: max_wait_safe, False, "Static MaxWait that is always in time"),
        Rival("max_wait_unsafe", lambda: max_wait_unsafe, False, "Static MaxWait of the expected work"),
        Rival("uniform_progress", UniformProgress, True, "Uniform Progress (NSDI'24)"),
        Rival("greedy", lambda: greedy, False, "Greedy with safety net (NSDI'24)"),
        Rival("greedy_then_uniform", GreedyThenUniform, True, "Greedy, then Uniform Progress (NSDI'24)"),
    )
}


def _until(view: View, limit_seconds: float) -> RivalDecision:
    left = limit_seconds - view.now_seconds
    if view.wanted is SimulatedState.ON_DEMAND or left <= ROUNDING_SECONDS:
        return ON_DEMAND
    return RivalDecision(SimulatedState.SPOT, left)


def _on_spot(view: View) -> RivalDecision:
    """Keep a Spot machine that works; one that starts, while on-demand could still take over in time."""
    if view.doing is Doing.TRAINING:
        return SPOT
    belief = view.belief
    spare = view.left_seconds - view.work_left_seconds
    spare -= belief.stop_seconds + belief.on_demand_changeover_seconds
    if spare < -ROUNDING_SECONDS:
        return ON_DEMAND
    return RivalDecision(SimulatedState.SPOT, spare + 2 * ROUNDING_SECONDS)


def _wait_while_safe(view: View, at_most_seconds: float | None = None) -> RivalDecision:
    """Ask for Spot, and wait for it while it is safe and for at most so many seconds."""
    spare = _spare_for_spot(view)
    if spare < -ROUNDING_SECONDS:
        return ON_DEMAND
    if view.spot_up:
        return SPOT
    wait = spare if at_most_seconds is None else min(spare, at_most_seconds)
    return ON_DEMAND if wait <= ROUNDING_SECONDS else RivalDecision(SimulatedState.SPOT, wait)


def _spare_for_spot(view: View) -> float:
    """How long a try of Spot can be put off, and on-demand still be in time should it fail: R - C - 2 d."""
    return view.left_seconds - view.work_left_seconds - _seconds_to_try_spot(view)


def _seconds_to_try_spot(view: View) -> float:
    """What a start on Spot that fails at its end costs in time, with the way out of on-demand: 2 d."""
    belief = view.belief
    stops = 2 if view.wanted is SimulatedState.ON_DEMAND else 1
    return stops * belief.stop_seconds + belief.spot_changeover_seconds + belief.on_demand_changeover_seconds
