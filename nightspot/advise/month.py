"""What a worked month says: its spread over ten months, and what another interval or deadline would do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median

from nightspot.advise.case import Case, windows_to_try
from nightspot.advise.filters import count, usd
from nightspot.advise.nights import NightsPlan, PlayedMonth, with_nightspot
from nightspot.advise.question import Figure
from nightspot.checkpoint.core.schedule import LEAST_COSTS
from nightspot.formats.figures import HOUR_SECONDS, MINUTE_SECONDS, format_duration
from nightspot.job.markets import Market

INTERVALS_SECONDS = tuple(minutes * MINUTE_SECONDS for minutes in (5, 10, 15, 20, 30, 60, 120))
# A deadline is late enough when a later one would save less than this share of the month's cost.
NOTHING_MORE = 0.02
NO_CHANGE = 0.005  # below the noise of ten months


@dataclass(frozen=True)
class Trial:
    """The same nights with one thing changed; `hours` of on-demand that a month costs then, skipped nights too."""

    seconds: float
    words: str
    usd: Figure
    hours: float
    fallen_back: float  # share of nights
    is_own: bool  # as the job file has it


@dataclass(frozen=True)
class WorkedMonth:
    """Ten months of played nights. Counts are of a month on average; `late_nights` have no model in time.

    Of these `skipped_nights` have none at all. `late_at_most`: see `PlayedMonth`.
    """

    median_usd: Figure
    best_usd: Figure
    worst_usd: Figure
    median_hours: float
    nights: float
    late_nights: float
    late_at_most: float
    skipped_nights: float
    on_demand_nights: float
    interruptions: float
    intervals: tuple[Trial, ...]
    best_interval: Trial | None  # None: no interval fits into the work
    deadlines: tuple[Trial, ...]
    best_deadline: Trial
    advice: tuple[str, ...]  # sentences

    @property
    def late_words(self) -> str:
        """How many nights have no model in time, as far as the played ones can tell: never "none"."""
        if not self.late_nights:
            return f"under {count(100 * self.late_at_most)} % late at 95 % confidence"
        what = "without a model in time" if self.skipped_nights else "late"
        most = count(self.late_at_most * self.nights)
        return f"{count(self.late_nights)} {what} (under {most} at 95 % confidence)"


def worked_month(case: Case, stage: NightsPlan, ours: PlayedMonth) -> WorkedMonth:
    """The month of `case`, whose nights were played as `ours`."""
    hours = sorted(ours.month_hours)
    intervals = _intervals(case, stage, ours)
    deadlines = _deadlines(case, stage, ours)
    own_hours = next(trial.hours for trial in deadlines if trial.is_own)
    enough = (1 + NOTHING_MORE) * min(trial.hours for trial in deadlines)
    best_deadline = next(trial for trial in deadlines if trial.hours <= enough)
    best_interval = _best_interval(intervals)
    return WorkedMonth(
        median_usd=case.simulated_usd(median(hours)),
        best_usd=case.simulated_usd(hours[0]),
        worst_usd=case.simulated_usd(hours[-1]),
        median_hours=median(hours),
        nights=ours.nights,
        late_nights=ours.late * ours.nights,
        late_at_most=ours.late_at_most,
        skipped_nights=ours.without_model * ours.nights,
        on_demand_nights=ours.fallen_back * ours.nights,
        interruptions=ours.interruptions * ours.nights,
        intervals=intervals,
        best_interval=best_interval,
        deadlines=deadlines,
        best_deadline=best_deadline,
        advice=(
            *_about_deadlines(case, own_hours, deadlines, best_deadline),
            *_about_intervals(case, own_hours, best_interval),
            *_about_skipped(case, ours),
        ),
    )


def _best_interval(trials: Sequence[Trial]) -> Trial | None:
    """The cheapest; the job's own where that is next to nothing more expensive."""
    if not trials:
        return None
    best = min(trials, key=lambda trial: trial.hours)
    own = next((trial for trial in trials if trial.is_own), best)
    return own if own.hours <= (1 + NOTHING_MORE) * best.hours else best


def _deadlines(case: Case, stage: NightsPlan, ours: PlayedMonth) -> tuple[Trial, ...]:
    trials = []
    for window in windows_to_try(case):
        is_own = window == case.window_seconds
        played = ours if is_own else with_nightspot(stage.with_window(window))
        trials.append(_trial(case, window, _deadline_words(case, window), played, is_own=is_own))
    return tuple(trials)


def _intervals(case: Case, stage: NightsPlan, ours: PlayedMonth) -> tuple[Trial, ...]:
    """Each interval with the time that its saves take; the stated work has those of the stated interval in it."""
    own = case.run.checkpoint_every_seconds if case.saves else None
    save, work = case.question.save_seconds, case.run.work_seconds
    bare = work / (1 + save / own) if own else work
    candidates = {s for s in INTERVALS_SECONDS if LEAST_COSTS * save <= s <= bare} | ({own} if own else set())
    trials = []
    for every in sorted(candidates):
        if every == own:
            trials.append(_trial(case, every, format_duration(every), ours, is_own=True))
            continue
        with_saves = bare * (1 + save / every)
        if with_saves + stage.setting.changeover_of(Market.ON_DEMAND) > stage.setting.window_seconds:
            continue  # what its saves take does not fit into the night
        try_out = stage.with_checkpoints(every, with_saves)
        trials.append(_trial(case, every, format_duration(every), with_nightspot(try_out), is_own=False))
    return tuple(trials)


def _trial(case: Case, seconds: float, words: str, played: PlayedMonth, *, is_own: bool) -> Trial:
    hours = played.mean_hours + case.skipped_hours * played.without_model * played.nights
    return Trial(seconds, words, case.simulated_usd(hours), hours, played.fallen_back, is_own)


def _about_deadlines(case: Case, own_hours: float, trials: tuple[Trial, ...], best: Trial) -> list[str]:
    lead = "by" if case.job.deadline.at is not None else "within"
    own = _deadline_words(case, case.window_seconds)
    said = []
    for shift in (HOUR_SECONDS, -HOUR_SECONDS):
        trial = next((t for t in trials if t.seconds == case.window_seconds + shift), None)
        if trial is not None:
            saved = own_hours - trial.hours
            words = f"Finishing {lead} {trial.words} instead of {own} would"
            said.append(f"{words} {_change(case, saved, own_hours)}.")
    if best.seconds <= case.window_seconds:
        said.append("The deadline is late enough: more time saves next to nothing.")
    else:
        change = _change(case, own_hours - best.hours, own_hours)
        said.append(
            f"The best deadline of those tried is {best.words}: it would {change}, a later one hardly more."
        )
    return said


def _change(case: Case, saved_hours: float, of_hours: float) -> str:
    if abs(saved_hours) < NO_CHANGE * of_hours:
        return "change next to nothing"
    return f"{'save' if saved_hours > 0 else 'cost'} another {amount(case, abs(saved_hours))} a month"


def _about_intervals(case: Case, own_hours: float, best: Trial | None) -> list[str]:
    if best is None:
        return []
    if best.is_own:
        return [f"A checkpoint every {best.words}, as now, is as good as any that was tried."]
    gain = amount(case, max(0.0, own_hours - best.hours))
    now = f"every {format_duration(case.run.checkpoint_every_seconds)}" if case.saves else "none"
    return [
        f"A checkpoint every {best.words} instead of {now} would save {gain} a month"
        f" ({format_duration(case.question.save_seconds)} a save, assumed)."
    ]


def _about_skipped(case: Case, ours: PlayedMonth) -> list[str]:
    if not ours.without_model:
        return []
    return [f"In these comparisons a night without a model costs {amount(case, case.skipped_hours)}."]


def amount(case: Case, hours: float) -> str:
    """So many hours of on-demand as money, where a price is known."""
    if case.hourly.value is None:
        return f"{hours:.1f} hours of on-demand"
    return usd(hours * case.hourly.value)


def _deadline_words(case: Case, window_seconds: float) -> str:
    """ "09:00 UTC" where the job's deadline is a time of day, else "9 h"."""
    deadline = case.job.deadline
    if deadline.at is None:
        return format_duration(window_seconds)
    own = datetime.combine(datetime(2026, 1, 15, tzinfo=UTC).date(), deadline.at)
    moment = own + timedelta(seconds=window_seconds - case.window_seconds)
    return f"{moment:%H:%M} {deadline.timezone}"
