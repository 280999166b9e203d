"""The five filters between a job and Spot: each a verdict, its numbers, and the reason in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from nightspot.advise.case import Case, least_window_seconds
from nightspot.advise.nights import PlayedMonth
from nightspot.advise.pool import Depth
from nightspot.formats.figures import format_duration
from nightspot.job.markets import LONGEST_WITHOUT_CHECKPOINTS_SECONDS, Fallback, Market
from nightspot.run.estimates import lost_work_seconds, work_left_seconds
from nightspot.run.model import Resume

Numbers = Mapping[str, float | int | str | bool | None]
SMALL_USD = 100  # below it cents matter


class Filter(StrEnum):
    """The questions between a job and Spot, in the order in which they are asked."""

    RESUME = "resume"
    DEADLINE = "deadline"
    POOL = "pool"
    FAILED_NIGHT = "failed_night"
    WORTH = "worth"


class FilterVerdict(StrEnum):
    """What a filter says to Spot."""

    YES = "yes"
    WITH_CARE = "with care"
    NO = "no"
    UNKNOWN = "unknown"


QUESTIONS: Mapping[Filter, str] = {
    Filter.RESUME: "Can it be interrupted and resumed?",
    Filter.DEADLINE: "Does the deadline leave slack?",
    Filter.POOL: "Is the Spot pool deep enough?",
    Filter.FAILED_NIGHT: "Can a failed night be borne?",
    Filter.WORTH: "Does the saving pay for the work?",
}


@dataclass(frozen=True)
class FilterFinding:
    """One filter's answer."""

    filter: Filter
    verdict: FilterVerdict
    reason: str
    numbers: Numbers = field(default_factory=dict)


@dataclass(frozen=True)
class Money:
    """A month in USD, None where it is not known. `saving` is before `work`, which is what it takes to have it.

    The saving is the lower of its bounds, `best_saving_usd` the higher. `missed_nights` is the most that is to be
    expected at 95 % confidence, beyond what on-demand from the start would miss; `seen_missed_nights` what was
    played.
    """

    saving_usd: float | None
    work_usd: float
    missed_nights: float | None
    night_usd: float
    best_saving_usd: float | None = None
    seen_missed_nights: float = 0.0
    why: str = ""  # the saving is not known, or what its lower bound rests on


def usd(value: float) -> str:
    """ "$1,240", "$41.30": cents only where they matter."""
    # Not "-$0".
    rounded = round(value, 2) if abs(value) < SMALL_USD else round(value)
    digits = 0 if float(rounded).is_integer() else 2
    return f"{'-' if rounded < 0 else ''}${abs(rounded):,.{digits}f}"


def count(number: float) -> str:
    """ "2", "0.3", "30"."""
    return f"{number:.1f}".removesuffix(".0")


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


# The share of nights on on-demand from which Spot is the exception, and from which it has no turn.
OFTEN_ON_DEMAND, MOSTLY_ON_DEMAND = 0.25, 0.75
RARELY_LATE = 0.01
HALF = 0.5
SMALL_SHARE = 0.1  # of the saving
COMFORTABLE = 2.0  # times its cost that the saving brings


def resume_filter(case: Case) -> FilterFinding:
    """Whether a reclaim costs a checkpoint interval or everything: the file's word, and what proves it."""
    work, every = case.run.work_seconds, case.run.checkpoint_every_seconds
    proof = _proof(case)
    numbers: Numbers = {
        "work_seconds": work,
        "checkpoint_every_seconds": float(every) if case.saves else None,
        "proof": proof,
    }

    def say(verdict: FilterVerdict, reason: str) -> FilterFinding:
        return FilterFinding(Filter.RESUME, verdict, reason, numbers)

    if proof in ("drill failed", "resume broken"):
        return say(
            FilterVerdict.NO,
            f"{_PROOF_WORDS[proof]}: after an interruption the work begins again from nothing.",
        )
    if not case.saves:
        lost = f"it writes no checkpoints, so an interruption costs all that was trained, {format_duration(work)}"
        if work <= LONGEST_WITHOUT_CHECKPOINTS_SECONDS:
            return say(FilterVerdict.WITH_CARE, f"{capital(lost)}; short enough to begin again.")
        return say(
            FilterVerdict.NO, f"{capital(lost)}. Checkpoints first (docs/checkpoints.md), then ask once more."
        )
    said = f"it saves every {format_duration(every)} of {format_duration(work)}"
    if proof is None:
        return say(
            FilterVerdict.WITH_CARE,
            f"{capital(said)}, says the job file; nothing proves yet that it resumes: run `nightspot drill`.",
        )
    return say(FilterVerdict.YES, f"{capital(said)}, and {_PROOF_WORDS[proof]}.")


_PROOF_WORDS = {
    "drill failed": "The drill failed",
    "resume broken": "The newest run that was interrupted did not resume",
    "drill passed": "the drill passed",
    "drill inexact": "the drill has shown that it resumes, not to the bit",
    "resume proven": "past runs have proven that it resumes",
}


def _proof(case: Case) -> str | None:
    """What is known of resuming. A failure beats a success, and the newest run speaks for the history."""
    drill = case.question.drill
    outcome = str(drill.get("outcome", "")).upper() if drill is not None else ""
    verdicts = {Resume.PROVEN: "resume proven", Resume.BROKEN: "resume broken"}
    runs = sorted(case.question.history, key=lambda run: run.started_at, reverse=True)
    past = next((verdicts[run.resume] for run in runs if run.resume in verdicts), None)
    if outcome == "FAIL":
        return "drill failed"
    if past == "resume broken":
        return past
    return {"PASS": "drill passed", "INEXACT": "drill inexact"}.get(outcome, past)


def needed_seconds(case: Case) -> float:
    """How long a night must be for Spot to have one safe try: work, what a reclaim takes, and the changes."""
    spot, on_demand = (case.run.rungs_of(market)[0] for market in Market)
    return (
        work_left_seconds(case.run, on_demand)
        + lost_work_seconds(case.run, spot)
        + spot.change_over_seconds
        + case.run.stop_seconds
        + on_demand.change_over_seconds
    )


def deadline_filter(case: Case, played: PlayedMonth | None) -> FilterFinding:
    """The time that is left over once Spot has failed once, and how many nights need on-demand."""
    window, needed = case.window_seconds, needed_seconds(case)
    nights = case.nights.value or 0.0
    numbers: dict[str, float | int | str | bool | None] = {
        "window_seconds": window,
        "needed_seconds": needed,
        "slack_seconds": window - needed,
        "on_demand_share": played.fallen_back if played else None,
        "late_share": played.late if played else None,
    }
    sums = (
        f"{format_duration(window)} from start to deadline, and {format_duration(needed)} are needed to try Spot"
        " once and still repair it"
    )
    if played is None:
        reason = (
            f"Not even on-demand is in time: {format_duration(window)} from start to deadline, and it needs"
            f" {format_duration(least_window_seconds(case))}. Start earlier, or make the deadline later."
        )
        return FilterFinding(Filter.DEADLINE, FilterVerdict.NO, reason, numbers)
    then = "be skipped" if case.job.fallback is Fallback.NEVER else "need on-demand"
    words = f"{sums}; {_nights(nights * played.fallen_back, nights)} would {then}"
    if case.best_stage is not None:
        words += f" if each of {case.job.instance_count} machines comes and goes by itself"
    if window < needed or played.fallen_back >= MOSTLY_ON_DEMAND:
        return FilterFinding(Filter.DEADLINE, FilterVerdict.NO, f"No slack: {words}.", numbers)
    if played.fallen_back >= OFTEN_ON_DEMAND or played.late > RARELY_LATE:
        return FilterFinding(Filter.DEADLINE, FilterVerdict.WITH_CARE, f"Little slack: {words}.", numbers)
    return FilterFinding(Filter.DEADLINE, FilterVerdict.YES, f"{capital(words)}.", numbers)


def pool_filter(case: Case, played: PlayedMonth | None) -> FilterFinding:
    """How likely a machine is, from what is known of the pool and what the job file makes of it."""
    pool = case.pool
    interruptions = played.interruptions if played else None
    numbers: Numbers = {
        "depth": pool.depth.value,
        "zones": pool.zones,
        "spot_types": pool.instance_types,
        "machines_at_once": pool.instance_count,
        "interruptions_a_night": interruptions,
    }
    known = "; ".join(evidence.words for evidence in pool.evidence)
    tight = tuple(_bottlenecks(case))
    words = known or "not measured: no runs, no placement score, no interruption band"
    because = f"{capital(words)}{'; ' if tight else ''}{' and '.join(tight)}."
    shallow = pool.depth is Depth.SHALLOW
    if shallow and played and played.fallen_back >= HALF:
        return FilterFinding(Filter.POOL, FilterVerdict.NO, because, numbers)
    if shallow or tight:
        return FilterFinding(Filter.POOL, FilterVerdict.WITH_CARE, because, numbers)
    if not known:
        return FilterFinding(
            Filter.POOL, FilterVerdict.UNKNOWN, f"{because} A pool of usual depth is assumed.", numbers
        )
    return FilterFinding(Filter.POOL, FilterVerdict.YES, because, numbers)


def _bottlenecks(case: Case) -> list[str]:
    pool = case.pool
    found = []
    if pool.zones == 1:
        found.append("one subnet is one zone's pool: name subnets in every zone")
    if pool.instance_count > 1:
        unknown = f", and {case.unknown_machines}" if case.unknown_machines else ""
        found.append(
            f"{pool.instance_count} machines must be had at once, and are lost with any of them{unknown}"
        )
    return found


_ASSUMED_NIGHT = "assumed: two hours of an engineer, and nothing for yesterday's model serving a day more"


def failed_night_filter(case: Case, money: Money) -> FilterFinding:
    """What nights without a model in time cost, against what Spot saves."""
    numbers: Numbers = {
        "failed_night_usd": money.night_usd,
        "missed_nights_a_month": money.seen_missed_nights,
        "most_missed_nights_a_month": money.missed_nights,
        "saving_usd_a_month": money.saving_usd,
    }
    given = "failed_night_usd" in case.question.economics.are_given
    source = "given by you" if given else _ASSUMED_NIGHT
    night = f"a failed night costs {usd(money.night_usd)} ({source})"

    def say(verdict: FilterVerdict, reason: str) -> FilterFinding:
        return FilterFinding(Filter.FAILED_NIGHT, verdict, reason, numbers)

    if money.missed_nights is None or money.saving_usd is None:
        return say(FilterVerdict.UNKNOWN, f"{capital(night)}; what Spot saves is not known.")
    cost, saving = money.missed_nights * money.night_usd, money.saving_usd
    cause = " (fallback: never)" if case.job.fallback is Fallback.NEVER else ""
    seen = f"{count(money.seen_missed_nights)} a month" if money.seen_missed_nights else "none"
    most = "one" if money.missed_nights == 1 else count(money.missed_nights)
    words = (
        f"{capital(night)}; {seen} in the nights that were played{cause}, so under {most} a month at 95 %"
        " confidence"
    )
    if money.missed_nights and cost >= max(0.0, saving):
        return say(
            FilterVerdict.NO,
            f"{words}: up to {usd(cost)}, more than the {usd(max(0.0, saving))} that Spot surely saves.",
        )
    if saving <= 0:
        return say(FilterVerdict.WITH_CARE, f"{words}, and Spot saves nothing to set against one.")
    if money.night_usd >= saving:
        return say(
            FilterVerdict.WITH_CARE,
            f"{words}; a single one is as expensive as the month's saving of {usd(saving)}.",
        )
    if cost > SMALL_SHARE * saving:
        return say(
            FilterVerdict.WITH_CARE, f"{words}: up to {usd(cost)} of the {usd(saving)} that Spot saves."
        )
    return say(FilterVerdict.YES, f"{words}, against {usd(saving)} that Spot saves.")


def worth_filter(case: Case, money: Money) -> FilterFinding:
    """The month's saving against the hours that it takes to have it."""
    economics = case.question.economics
    numbers: Numbers = {
        "saving_usd_a_month": money.saving_usd,
        "best_saving_usd_a_month": money.best_saving_usd,
        "work_usd_a_month": money.work_usd,
        "engineer_usd_per_hour": economics.engineer_usd_per_hour,
        "setup_hours": economics.setup_hours,
        "operate_hours_a_month": economics.operate_hours,
    }
    work = (
        f"{usd(money.work_usd)} a month of work ({economics.setup_hours:g} h to set up, spread over a year, and"
        f" {economics.operate_hours:g} h a month, at {usd(economics.engineer_usd_per_hour)} an hour)"
    )
    saving, best = money.saving_usd, money.best_saving_usd

    def say(verdict: FilterVerdict, reason: str) -> FilterFinding:
        return FilterFinding(Filter.WORTH, verdict, reason, numbers)

    if saving is None:
        at_best = "" if best is None else f"; {usd(best)} a month at best"
        return say(
            FilterVerdict.UNKNOWN, f"{capital(money.why or case.hourly.source)}{at_best}; it takes {work}."
        )
    more = f", {usd(best)} at best" if best is not None and best - saving >= 1 else ""
    because = f": {money.why}" if money.why else ""
    if saving <= 0:
        at_best = f", or save {usd(best or 0.0)}" if more else ""
        cost = f"; Spot may cost {usd(-saving)} more a month than on-demand{at_best}"
        return say(FilterVerdict.NO, f"Nothing is surely saved{because}{cost if saving <= -1 else ''}.")
    words = f"{usd(saving)} a month are saved{more}, against {work}{because}"
    if saving < money.work_usd:
        return say(FilterVerdict.NO, f"Only {words}.")
    if saving < COMFORTABLE * money.work_usd:
        return say(FilterVerdict.WITH_CARE, f"{words}.")
    return say(FilterVerdict.YES, f"{words}.")


def _nights(number: float, of: float) -> str:
    return f"{count(number)} of {count(of)} nights a month"
