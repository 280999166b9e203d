"""How long a training job may run, and what it means when one of SageMaker's limits has ended it.

The user's MaxRuntimeInSeconds caps what a run pays for, over all its attempts. The MaxRuntimeInSeconds of one
attempt comes from the work that is left: interruptions repeat work, and what they repeat must not end the job.
"""

from __future__ import annotations

from math import ceil, fsum

from nightspot.failures.classify import RESPONSES, Response
from nightspot.failures.codes import FailureClass
from nightspot.job.markets import Market
from nightspot.run import estimates
from nightspot.run.model import Attempt, Run, Rung

# fact: sagemaker.runtime.default.seconds
DEFAULT_RUNTIME_SECONDS = 24 * 3600  # SageMaker's own, where a request states none
# fact: sagemaker.runtime.most.seconds
LONGEST_SECONDS = 28 * 24 * 3600  # SageMaker's most, for running and for waiting
# Where nothing is learnt yet; Spot machines in the traces of "Can't Be Late" (NSDI'24) lived 3.2 hours.
DEFAULT_MEAN_LIFE_SECONDS = 3 * 3600.0
# With less than this of paid time left, no machine comes as far as training.
LEAST_PAID_SECONDS = 60


def paid_cap_seconds(run: Run) -> int | None:
    """The most machine time that `run` may pay for: the user's MaxRuntimeInSeconds; None: not stated."""
    limit: int | None = run.training_job.get("StoppingCondition", {}).get("MaxRuntimeInSeconds")
    return limit


def spent_seconds(run: Run) -> float:
    """The paid time of `run` so far: what SageMaker bills of its attempts, else all that they have trained.

    BillableTimeInSeconds is already discounted for Spot.
    """
    return fsum(a.trained_seconds if a.billable_seconds is None else a.billable_seconds for a in run.attempts)


def paid_left_seconds(run: Run) -> float | None:
    """What is left of the cap on paid time; None where there is none."""
    cap = paid_cap_seconds(run)
    return None if cap is None else max(0.0, cap - spent_seconds(run))


def is_paid_time_used_up(run: Run) -> bool:
    """True where what is left of the cap on paid time is of no use to another attempt."""
    left = paid_left_seconds(run)
    return left is not None and left < min(LEAST_PAID_SECONDS, paid_cap_seconds(run) or 0)


def runtime_needed_seconds(run: Run, rung: Rung) -> float:
    """Upper estimate of the machine time of an attempt on `rung`: the work left, and what has to be done again.

    On Spot, each interruption that is expected repeats a checkpoint interval and a start-up. One more of both is
    for the attempt's own start, and a margin.
    """
    work = estimates.work_left_seconds(run, rung)
    lost = estimates.lost_work_seconds(run, rung)
    interruptions = 0
    if rung.market is Market.SPOT:
        life = rung.mean_life_seconds or DEFAULT_MEAN_LIFE_SECONDS
        interruptions = ceil(work / life)
        lost = min(lost, life)
    return work + (interruptions + 1) * (lost + rung.change_over_seconds)


def runtime_limit_seconds(run: Run, rung: Rung) -> float:
    """The MaxRuntimeInSeconds of an attempt on `rung`, before the budget has its say.

    Spot may run longer than what is left of the cap on paid time, because it is billed less than it runs; what it
    was billed counts before the next attempt. On-demand is billed as it runs, so the cap is its limit.
    """
    left, needed = paid_left_seconds(run), runtime_needed_seconds(run, rung)
    if left is None:
        left = max(DEFAULT_RUNTIME_SECONDS, needed)
    return min(LONGEST_SECONDS, max(left, needed) if rung.market is Market.SPOT else left)


def response_to(attempt: Attempt, run: Run) -> Response:
    """What `run` does about the failure of `attempt`: the answer of its class, and where that depends, on what."""
    failure = attempt.failure or FailureClass.UNKNOWN
    answer = RESPONSES[failure]
    if answer is Response.IF_PROGRESS:
        return Response.MARKET if _went_on(attempt, run) else Response.FINISH
    if is_refusal_of_spot(attempt) or (attempt.rung.market is Market.SPOT and _trained_in_vain(attempt)):
        return Response.WITHOUT_RUNG
    return answer


def is_refusal_of_spot(attempt: Attempt) -> bool:
    """Whether AWS refused the request for Spot as such, before there was a training job.

    It may be for what Spot alone has: nothing in a request says that its algorithm cannot checkpoint, and may wait
    for an hour at most; nobody publishes the words for a type that Spot does not have. Asking for another rung
    tells, and costs nothing where that is refused as well.
    """
    is_spot = attempt.rung.market is Market.SPOT
    return is_spot and attempt.failure is FailureClass.CONFIGURATION and not attempt.was_created


def _has_newer_checkpoint(attempt: Attempt) -> bool:
    """Whether a checkpoint became durable during `attempt` that is newer than the one it began with."""
    if attempt.step_after is not None:
        return attempt.step_after > (attempt.step_before or 0)
    return attempt.safe_seconds > 0


def _went_on(attempt: Attempt, run: Run) -> bool:
    """Whether the same again would come further.

    Where no steps are visible, that is an estimate by training time; a script that hangs has done all its work by
    then, and has no model all the same.
    """
    return _has_newer_checkpoint(attempt) and (
        attempt.step_after is not None or estimates.durable_fraction(run) < 1.0
    )


def _trained_in_vain(attempt: Attempt) -> bool:
    """Whether MaxWaitTimeInSeconds went into training more than into waiting, without a new checkpoint."""
    ended_training = attempt.failure is FailureClass.WAIT_LIMIT and not attempt.ended_waiting
    trained_most = attempt.trained_seconds > attempt.waited_seconds
    return ended_training and trained_most and not _has_newer_checkpoint(attempt)
