"""The rule, a pure function of a `Situation`: wait for Spot while a failed start can still be repaired in time.

Greedy with a safety net (Wu et al., "Can't Be Late", NSDI'24), with SageMaker's job as the unit: let R be the
time left, W the upper estimate of the work left from the durable checkpoint, d the change-over onto a rung, l the
work that a reclaim can take. Spot is asked for, and waited for, while R >= W + l + d_spot + stop + d_on_demand;
past that moment on-demand takes over from the checkpoint. A Spot job that trains as fast as on-demand would is left
alone, because its slack does not shrink. A slower one is left at the last checkpoint from which the next one would
come too late.

The policy makes the situation of a ledger, the simulator of a night. Both make many: they are tuples, which cost a
tenth of what a frozen dataclass does.
"""

from __future__ import annotations

from functools import cache
from math import inf
from typing import NamedTuple

from nightspot.job.markets import Market, Policy
from nightspot.run.model import Action, AttemptState, Rung
from nightspot.run.reasons import Reason

LEAST_SECONDS = 1  # Step Functions waits for whole seconds; what is nearer than one has come
ROUNDING_SECONDS = 1e-6  # what sums of floats may be off by, and a datetime cannot hold
SHORTEST_LOOK_SECONDS = 15 * 60  # while training: an event may be lost
LONGEST_LOOK_SECONDS = 60 * 60
LAST_SAFE_MOMENT_SECONDS = 60  # how near to it a stop may come
PENDING_LOOK_SECONDS = 30 * 60  # on-demand without a machine, where no other type is to be had
STOPPING_LOOK_SECONDS = 5 * 60  # StopTrainingJob takes two minutes and the upload

# Python 3.11 takes as long for one `Enum.MEMBER` as for a dozen sums.
SPOT, ON_DEMAND = Market.SPOT, Market.ON_DEMAND
WAITING, STARTING, TRAINING = AttemptState.WAITING, AttemptState.STARTING, AttemptState.TRAINING
START, WATCH, STOP = Action.START, Action.WATCH, Action.STOP
IS_WAITING, ON_TRACK, LATE = Reason.WAITING, Reason.ON_TRACK, Reason.LATE
EAGER = Policy.EAGER


class Terms(NamedTuple):
    """What holds until a training job ends or wears out: the rungs in turn, and what is planned with."""

    spot: tuple[Rung, ...]  # that may be asked for, in the order of their turn
    on_demand: tuple[Rung, ...]  # the same; none where the job forbids on-demand
    policy: Policy
    stop_seconds: float
    interval_seconds: float  # the most work that a reclaim takes; inf: all of it
    give_up_seconds: float  # so long after the deadline nothing more is waited for
    may_fall_back: bool = True  # the job does not forbid on-demand
    has_spot: bool = True  # the ladder has Spot rungs, whether or not they may still be asked for
    spot_is_over: bool = False  # the policy gives Spot no (further) turn
    resume_is_broken: bool = False  # nothing that is saved can be counted on
    is_worn: bool = False  # a Spot rung has worn out
    was_too_slow: bool = False  # the last job was stopped because it was
    # The last on-demand job had no machine to give: the next rung gets its turn, late or not.
    next_on_demand: bool = False
    # So long Spot is waited for, late or not, while no on-demand type has a machine; 0: one may have.
    meanwhile_seconds: float = 0.0
    is_spots_turn: bool = False  # a whole round of on-demand has just had none


class Decision(NamedTuple):
    """What is done next, and why. Its numbers are the situation's."""

    action: Action  # START, WATCH or STOP; FINISH where nothing may be asked for any more
    reason: Reason
    wait_seconds: int  # until the next look
    rung: Rung | None = None  # start: what is asked for; stop: whose turn it is then, where that is known
    is_late: bool = False  # the model is expected after the deadline


class Situation(NamedTuple):
    """All that the rule knows."""

    left_seconds: float  # R: to the deadline, below 0 past it
    work_seconds: float  # an upper estimate of W, at speed 1
    terms: Terms
    # Of the training job that is open.
    rung: Rung | None = None  # None: no job is
    state: AttemptState | None = None  # WAITING, STARTING or TRAINING
    age_seconds: float = 0.0  # in this state
    running_left_seconds: float = 0.0  # training time left on its machine, if nothing happens to it
    # The same from the durable checkpoint on, and how soon the next one is expected (0: at any moment).
    machine_seconds: float = 0.0
    checkpoint_in_seconds: float = 0.0
    others: tuple[Rung, ...] = ()  # of its market, which may be asked for instead, the next in turn first
    is_worn_out: bool = False
    is_in_vain: bool = False  # worn out, and it has used up more machine time than waiting is worth
    expected_work_seconds: float = inf  # W as expected, where that is less

    def seconds_needed(self, rung: Rung) -> float:
        """Upper estimate from asking for `rung` to the model."""
        return self.work_seconds / rung.speed + rung.change_over_seconds

    def lost_seconds(self, rung: Rung) -> float:
        """l: the most work that a reclaim on `rung` can take."""
        left, interval = self.work_seconds / rung.speed, self.terms.interval_seconds
        return min(interval, left)

    def is_in_time(self, rung: Rung) -> bool:
        """Whether the model would be, were `rung` asked for now."""
        return self.seconds_needed(rung) <= self.left_seconds + ROUNDING_SECONDS

    def slack_seconds(self, repair: Rung) -> float:
        """How long a Spot job that trains may still go on, for `repair` to be in time from the checkpoint."""
        return self.left_seconds - self.terms.stop_seconds - self.seconds_needed(repair)

    def shrinks(self, repair: Rung) -> bool:
        """Whether each checkpoint of the Spot job that trains leaves less slack than the one before.

        Its machine takes longer over the work left than `repair` would: a slower type, or a slow pace.
        """
        return self.machine_seconds > self.work_seconds / repair.speed + ROUNDING_SECONDS

    def net(self) -> Rung | None:
        """The on-demand rung that a Spot job which trains falls back on; None where none could be in time any more.

        Of those that would be, were the job stopped now, the first in turn whose slack shrinks, so that the job has
        a last safe moment, or lasts until the next checkpoint, and so until the end. Else the first of them.
        """
        found = None
        for rung in self.terms.on_demand:
            slack = self.slack_seconds(rung)
            if slack < 0:
                continue
            if slack >= self.checkpoint_in_seconds - ROUNDING_SECONDS or self.shrinks(rung):
                return rung
            found = found or rung
        return found

    def shrinks_until_seconds(self, repair: Rung) -> float:
        """How long until the Spot job that trains must be left for `repair`, to which its slack shrinks.

        At the first checkpoint from which the slack does not last until the next one; not above 0: now.
        """
        interval, soon = self.terms.interval_seconds, self.checkpoint_in_seconds
        spare = self.slack_seconds(repair) - soon - LAST_SAFE_MOMENT_SECONDS
        if spare <= 0 or interval == inf:
            return spare if spare <= 0 else soon
        good = spare / (1 - self.work_seconds / repair.speed / self.machine_seconds)
        # A checkpoint that is due already, or none that can be seen: the work left falls at any moment.
        return soon + (good if soon == 0 else good // interval * interval)

    def repair(self) -> Rung | None:
        """The on-demand rung that a failed Spot start would be repaired with; None where that is not possible.

        The first in turn that would still be in time, because it is the one that the job's author likes best; where
        none would be, the one that is done first. After one that had no machine to give, the next gets its turn.
        """
        rungs = self.terms.on_demand
        for rung in rungs:
            if self.seconds_needed(rung) <= self.left_seconds + ROUNDING_SECONDS:
                return rung
        if self.terms.next_on_demand:
            return rungs[0] if rungs else None
        return min(rungs, key=self.seconds_needed, default=None)

    def leave_before_seconds(self, rung: Rung, repair: Rung | None, *, has_machine: bool = False) -> float:
        """How long before the deadline the last safe moment for a Spot job on `rung` is.

        After it, a Spot start that is reclaimed just before its next checkpoint could no longer be repaired by
        `repair` before the deadline. A job that has its machine already has no start to wait for any more.
        """
        if repair is None:
            # Nothing else may be bought, so that waiting costs nothing: until not even the expected work fits.
            work = min(self.work_seconds, self.expected_work_seconds) / rung.speed
            return work if has_machine else work + rung.change_over_seconds
        before = self.seconds_needed(repair) + self.terms.stop_seconds + self.lost_seconds(rung)
        if rung.speed < repair.speed:
            before += LAST_SAFE_MOMENT_SECONDS  # else it would be left as soon as it trains
        return before if has_machine else before + rung.change_over_seconds

    def job_leaves_before_seconds(self, rung: Rung, repair: Rung | None) -> float:
        """The same for the open Spot job, on `rung`, while it waits or starts.

        A machine that came back after the last safe moment, too soon after its reclaim for anybody to see the job
        wait, is no reason to stay: it could be reclaimed once more before its next checkpoint.
        """
        before = self.leave_before_seconds(rung, repair)
        if self.state is not STARTING:
            return before
        came_late = self.left_seconds + self.age_seconds < before - ROUNDING_SECONDS
        return before if came_late else self.leave_before_seconds(rung, repair, has_machine=True)

    def finish_seconds(self, rung: Rung) -> float:
        """When the model of the open job, on `rung`, is expected, from now, if its machine is kept."""
        if rung.market is ON_DEMAND and self.state is not TRAINING:
            return self.running_left_seconds + rung.change_over_seconds
        return self.running_left_seconds


def decide(situation: Situation) -> Decision:
    """The next step of a run in which nothing but its market and its deadline has a say."""
    rung = situation.rung
    if rung is None:
        return _start(situation)
    if rung.market is ON_DEMAND:
        return _while_on_demand(situation, rung)
    if situation.terms.resume_is_broken and (repair := situation.repair()) is not None:
        return _while_nothing_is_safe(situation, repair)
    if situation.state is TRAINING:
        return _while_spot_trains(situation, rung)
    return _while_spot_waits(situation, rung)


def whole_seconds(seconds: float) -> int:
    """Down, so that a wait for a last safe moment ends before it and not behind; at least one."""
    return max(LEAST_SECONDS, int(seconds + ROUNDING_SECONDS))


def has_come(seconds: float) -> bool:
    """Whether a moment that lies so far ahead is not worth a wait."""
    return seconds < LEAST_SECONDS - ROUNDING_SECONDS


def _start(now: Situation) -> Decision:
    spot, repair = next(iter(now.terms.spot), None), now.repair()
    if spot is not None and not (repair is not None and now.terms.spot_is_over):
        left = now.left_seconds - now.leave_before_seconds(spot, repair)
        if not has_come(left):
            look = whole_seconds(min(_first_look_seconds(now, spot), left))
            return Decision(START, Reason.WAIT_FOR_SPOT, look, spot)
    if spot is not None and now.terms.is_spots_turn:
        look = whole_seconds(min(now.terms.meanwhile_seconds, LONGEST_LOOK_SECONDS))
        return Decision(START, Reason.NO_ON_DEMAND, look, spot, not now.is_in_time(spot))
    if repair is None:
        reason = Reason.NO_RUNG_LEFT if now.terms.may_fall_back else Reason.FALLBACK_FORBIDDEN
        return Decision(Action.FINISH, reason, 0)
    look = whole_seconds(_first_look_seconds(now, repair))
    return Decision(START, _why_on_demand(now, spot), look, repair, not now.is_in_time(repair))


def _first_look_seconds(now: Situation, rung: Rung) -> float:
    """How long after asking for `rung` to look again: sooner where another type may have capacity."""
    turns = now.terms.spot if rung.market is SPOT else now.terms.on_demand
    has_others = now.terms.policy is EAGER or len(turns) > 1
    return min(rung.patience_seconds, LONGEST_LOOK_SECONDS) if has_others else LONGEST_LOOK_SECONDS


def _why_on_demand(now: Situation, spot: Rung | None) -> Reason:
    """Why on-demand is started, although a run prefers Spot. `spot`: the Spot rung whose turn it would be."""
    terms = now.terms
    if not terms.has_spot or terms.policy is Policy.ON_DEMAND:
        return Reason.ON_DEMAND_ONLY
    if terms.resume_is_broken:
        return Reason.RESUME_BROKEN
    if spot is None:
        return Reason.THRASHING if terms.is_worn else Reason.NO_SPOT_LEFT
    if terms.spot_is_over:
        return Reason.PATIENCE_OVER
    return Reason.TOO_SLOW if terms.was_too_slow else Reason.LAST_SAFE_MOMENT


def _while_spot_waits(now: Situation, rung: Rung) -> Decision:
    repair = now.repair()
    left = now.left_seconds - now.job_leaves_before_seconds(rung, repair)
    if has_come(left):
        if now.terms.meanwhile_seconds and repair is not None:
            return _while_on_demand_has_none(now, repair)
        return _stop(Reason.LAST_SAFE_MOMENT)
    another = now.others[0] if now.others else repair
    if now.is_worn_out and another is not None and (now.others or now.is_in_vain):
        return _stop(Reason.THRASHING, another)
    look = min(LONGEST_LOOK_SECONDS, left)
    if now.state is STARTING:
        return _watch(Reason.STARTING, whole_seconds(look))
    # In a hurry even the only type has its patience, and then on-demand its turn.
    if another is not None and (now.others or now.terms.policy is EAGER):
        patience = rung.patience_seconds - now.age_seconds
        if has_come(patience):
            return _stop(Reason.PATIENCE_OVER, another)
        look = min(look, patience)
    return _watch(IS_WAITING, whole_seconds(look))


def _while_on_demand_has_none(now: Situation, repair: Rung) -> Decision:
    """Spot past its last safe moment, asked for because no on-demand type had a machine: whoever has one first."""
    is_late = not now.is_in_time(repair)
    if now.state is STARTING:
        return _watch(Reason.STARTING, LONGEST_LOOK_SECONDS, is_late)
    left = now.terms.meanwhile_seconds - now.age_seconds
    if has_come(left):
        return _stop(Reason.PATIENCE_OVER, repair)
    return _watch(Reason.NO_ON_DEMAND, whole_seconds(min(left, LONGEST_LOOK_SECONDS)), is_late)


def _while_spot_trains(now: Situation, rung: Rung) -> Decision:
    is_late = now.running_left_seconds > now.left_seconds + ROUNDING_SECONDS
    rungs = now.terms.on_demand
    repair = rungs[0] if len(rungs) == 1 else now.net()
    slack = -1.0 if repair is None else now.slack_seconds(repair)
    if repair is None or slack < 0:
        return _leave_alone(SHORTEST_LOOK_SECONDS if rungs and not is_late else LONGEST_LOOK_SECONDS, is_late)
    half = int((slack - now.lost_seconds(rung)) / 2 + ROUNDING_SECONDS)
    look = SHORTEST_LOOK_SECONDS if half < SHORTEST_LOOK_SECONDS else min(half, LONGEST_LOOK_SECONDS)
    if not now.shrinks(repair):
        return _watch(ON_TRACK, look)
    left = now.shrinks_until_seconds(repair)
    if left <= 0 and now.terms.meanwhile_seconds:
        return _leave_alone(LONGEST_LOOK_SECONDS, is_late)
    if left <= 0:
        return _stop(Reason.TOO_SLOW if is_late else Reason.LAST_SAFE_MOMENT, repair)
    # Behind the checkpoint, and in time even if training hangs and no other comes.
    hangs = max(slack - LAST_SAFE_MOMENT_SECONDS, LAST_SAFE_MOMENT_SECONDS)
    look = min(look, whole_seconds(left) + LEAST_SECONDS, whole_seconds(hangs))
    return _watch(Reason.FALLING_BEHIND if is_late else ON_TRACK, look)


def _while_nothing_is_safe(now: Situation, repair: Rung) -> Decision:
    """On Spot, after a resume that failed: every reclaim costs all the work, so no saving is worth one."""
    if now.state is not TRAINING or now.slack_seconds(repair) >= -ROUNDING_SECONDS:
        return _stop(Reason.RESUME_BROKEN, repair)
    is_late = now.running_left_seconds > now.left_seconds + ROUNDING_SECONDS
    return Decision(WATCH, Reason.RESUME_BROKEN, LONGEST_LOOK_SECONDS, repair, is_late)


def _while_on_demand(now: Situation, rung: Rung) -> Decision:
    is_late = now.finish_seconds(rung) > now.left_seconds + ROUNDING_SECONDS
    look = LONGEST_LOOK_SECONDS
    if now.state is WAITING:
        patience = rung.patience_seconds - now.age_seconds
        if now.others and has_come(patience):
            return _stop(Reason.PATIENCE_OVER, now.others[0])
        if now.left_seconds <= -now.terms.give_up_seconds:
            return _stop(Reason.GAVE_UP_WAITING)
        look = min(whole_seconds(patience), LONGEST_LOOK_SECONDS) if now.others else PENDING_LOOK_SECONDS
    return _leave_alone(look, is_late)


def _leave_alone(look_seconds: int, is_late: bool = False) -> Decision:
    return _watch(LATE if is_late else ON_TRACK, look_seconds, is_late)


@cache  # there are no more of them than seconds in the longest look
def _watch(reason: Reason, look_seconds: int, is_late: bool = False) -> Decision:
    return Decision(WATCH, reason, look_seconds, None, is_late)


def _stop(reason: Reason, following: Rung | None = None) -> Decision:
    return Decision(STOP, reason, STOPPING_LOOK_SECONDS, following)
