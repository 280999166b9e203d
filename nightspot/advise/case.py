"""Gathers what the filters and the options work with: the plan, the night, the pool, and the prices."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from nightspot.advise import nights as playing
from nightspot.advise.markets import MOST_MACHINES, made_up, of_traces
from nightspot.advise.nights import nights_a_month
from nightspot.advise.pool import PROFILE_OF, Pool, pool_of
from nightspot.advise.question import Figure, PlanRoom, Question, derived, priced, unknown
from nightspot.advise.spread import Spread, spread_of
from nightspot.job.cautions import window_seconds
from nightspot.job.markets import Market, Policy
from nightspot.job.model import Job
from nightspot.learn.history import expected_spot_discount
from nightspot.learn.identity import work_key_in
from nightspot.market import samples
from nightspot.market.samples import BacktestError, BacktestSetting
from nightspot.plan.planning import Known, plan_run
from nightspot.run.model import STOP_SECONDS, Run
from nightspot.run.pricing import Basis

HOUR = 3600.0
# Deadlines that are tried beside the job's own, and the longest night that is.
WINDOW_SHIFTS_SECONDS = (-2 * HOUR, -1 * HOUR, 1 * HOUR, 2 * HOUR, 4 * HOUR)
_START = datetime(2026, 1, 1, tzinfo=UTC)  # decides nothing that is read here
LEAST_PRICE_RATIO = 0.01


@dataclass(frozen=True)
class Case:
    """A question, made ready. `stage` is None where not even on-demand could be in time: no night is played.

    `hourly` is USD for an hour of all instances of the first on-demand rung; `nights` those of a month.
    `least_hourly` is what such an hour adds to the bill while the commitment of an active Savings Plan is idle;
    None without a plan, or where other work uses it up.

    Several machines have two bounds. `stage` has the worse one: each of them comes and goes by itself. `best_stage`
    has the other: one event gives and takes all of them, as if they were one. Where the worse one cannot be played,
    `unknown_machines` says why, and `stage` has the better.
    """

    question: Question
    job: Job  # with rungs in both markets
    run: Run
    pool: Pool
    hourly: Figure
    least_hourly: Figure | None
    spot_ratio: Figure
    nights: Figure
    spread: Spread
    window_seconds: float
    stage: playing.NightsPlan | None
    notes: tuple[str, ...]
    best_stage: playing.NightsPlan | None = None
    unknown_machines: str | None = None

    @property
    def saves(self) -> bool:
        return self.run.checkpoint_s3_uri is not None

    def change_over_seconds(self, market: Market) -> float:
        """What is planned from asking for a machine of the first rung to its first step."""
        return float(self.run.rungs_of(market)[0].change_over_seconds)

    @property
    def night_hours(self) -> float:
        """A night's work on the first on-demand rung, in hours."""
        return self.run.work_seconds / HOUR / self.run.rungs_of(Market.ON_DEMAND)[0].speed

    @property
    def skipped_hours(self) -> float:
        """What a night without any model counts as beside others, in hours of on-demand: the failed night's cost.

        Without a price the night's own work: else the cheapest night would be one that is skipped.
        """
        if not self.hourly.value:
            return self.night_hours
        return self.question.economics.night_usd / self.hourly.value

    @property
    def on_demand_usd(self) -> Figure:
        """What on-demand alone costs in a month: its training, as the accounts count it."""
        return self.usd(
            (self.nights.value or 0.0) * self.night_hours, "training hours of a month at the price"
        )

    def usd(self, hours: float, source: str) -> Figure:
        """So many hours of on-demand, in USD: as weak as the price."""
        price = self.hourly.value or 0.0
        return derived(hours * price, [self.hourly], f"{source}; {self.hourly.source}")

    def simulated_usd(self, hours: float) -> Figure:
        """So many hours of on-demand, found by playing nights: as weak as market, discount and price."""
        source = f"nights played on {self.market_words}; {self.spot_ratio.source}; {self.hourly.source}"
        inputs = [self.hourly, self.spot_ratio, self.market_figure]
        return derived(hours * (self.hourly.value or 0.0), inputs, source)

    @property
    def market_figure(self) -> Figure:
        """How well the markets are known: of several machines at once nothing is measured."""
        return Figure(1.0, self.pool.basis if self.job.instance_count == 1 else Basis.ASSUMED, "the market")

    @property
    def market_words(self) -> str:
        """Which markets the nights are played on."""
        return f"{self._market_words}{self._machines_words}"

    @property
    def _machines_words(self) -> str:
        count = self.job.instance_count
        if count == 1:
            return ""
        if self.unknown_machines is not None:
            return f", as if the {count} machines were one"
        return f", each of the {count} machines by itself"

    @property
    def _market_words(self) -> str:
        if self.question.zones:
            has_hours = self.job.schedule is not None and self.job.schedule.cron is not None
            dated = sum(zone.start is not None for zone in self.question.zones) if has_hours else 0
            hours = f", {dated} of them with a date: from the job's hours on" if dated else ""
            return f"your traces ({len(self.question.zones)}{hours})"
        zones_ = f"{self.pool.zones} zone{'s' if self.pool.zones > 1 else ''}"
        return f'made-up markets ({zones_} of the fitted profile "{PROFILE_OF[self.pool.depth]}")'


def case_of(question: Question) -> Case:
    """Everything but the answers. Raises BacktestError where a night cannot be told from the job file."""
    job, notes = _with_both_markets(question.job)
    run = plan_run(
        job,
        started_at=_START,
        execution_arn=job.name,
        region=question.region,
        known=Known(
            lambda *of: p.usd_per_hour if (p := question.price(*of)) else None,
            question.history,
            work_key=work_key_in(question.history),
        ),
    )
    window = question.window_seconds or window_seconds(job)
    if window is None:
        raise BacktestError(
            "window_seconds: must be given, because no schedule starts the job at one time of day and its"
            " deadline has no `within`"
        )
    pool = pool_of(question)
    ratio = _spot_ratio(question, run)
    nights = (
        nights_a_month(job.schedule) if question.nights is None else priced(question.nights, "given by you")
    )
    case = Case(
        question=question,
        job=job,
        run=run,
        pool=pool,
        hourly=_hourly(question, run),
        least_hourly=_least_hourly(question, run),
        spot_ratio=ratio,
        nights=nights,
        spread=spread_of(question, run),
        window_seconds=window,
        stage=None,
        notes=tuple(notes),
        unknown_machines=_unknown_machines(question),
    )
    if window < least_window_seconds(case):
        return case
    count = job.instance_count
    if count == 1 or case.unknown_machines:
        return replace(case, stage=_stage(case, 1))
    return replace(case, stage=_stage(case, count), best_stage=_stage(case, 1))


def _unknown_machines(question: Question) -> str | None:
    """Why nobody can say what several machines at once would meet; None where it is played."""
    count = question.job.instance_count
    if count > 1 and question.zones:
        return (
            f"your traces tell of one machine at a time, and nothing of {count} that can be lost one by one"
        )
    if count > MOST_MACHINES:
        return (
            f"the markets are fitted to single machines, and tell nothing of {count} at once"
            f" (more than {MOST_MACHINES})"
        )
    return None


def least_window_seconds(case: Case) -> float:
    """The shortest night in which on-demand alone is in time, on the rung that is done first.

    As `ladder.repair_rung` chooses; a simulated night's on-demand start takes as long as those of the past.
    """
    stated = max(float(case.job.change_over.on_demand_seconds), case.spread.on_demand_start_seconds)
    return min(
        case.run.work_seconds / rung.speed + max(rung.change_over_seconds, stated)
        for rung in case.run.rungs_of(Market.ON_DEMAND)
    )


def windows_to_try(case: Case) -> tuple[float, ...]:
    """The job's own window and those around it in which on-demand alone is in time, shortest first."""
    shifted = {case.window_seconds + shift for shift in (0.0, *WINDOW_SHIFTS_SECONDS)}
    return tuple(sorted(window for window in shifted if window >= least_window_seconds(case)))


def _stage(case: Case, machines: int) -> playing.NightsPlan:
    setting = _setting(case)
    count = playing.nights_played(case.nights.value or 1.0)
    longest, seed = windows_to_try(case)[-1], case.question.seed
    if case.question.zones:
        months = of_traces(
            case.question.zones, case.job.schedule, nights=count, night_seconds=longest, seed=seed
        )
    else:
        months = made_up(case.pool, nights=count, night_seconds=longest, seed=seed, machines=machines)
    # The job's own, unless it asks for no Spot at all: that is the question.
    policy = Policy.PATIENT if case.job.policy is Policy.ON_DEMAND else case.job.policy
    return playing.stage_of(setting, case.run, policy, months, case.nights.value or 1.0)


def _setting(case: Case) -> BacktestSetting:
    job, spread = case.job, case.spread
    return BacktestSetting(
        work_seconds=case.run.work_seconds,
        window_seconds=case.window_seconds,
        changeover_seconds=spread.spot_start_seconds,
        on_demand_changeover_seconds=spread.on_demand_start_seconds,
        checkpoint_seconds=float(job.checkpoint_every_seconds) if case.saves else samples.NEVER_SAVED_SECONDS,
        stop_seconds=float(STOP_SECONDS),
        spot_ratio=case.spot_ratio.value,
        on_demand_speed=max(rung.speed for rung in case.run.rungs_of(Market.ON_DEMAND)),
        random_changeover=True,
        work_error=spread.work_error.value or 0.0,
        on_demand_waits_seconds=spread.waits_seconds,
        seed=case.question.seed,
    )


def _with_both_markets(job: Job) -> tuple[Job, list[str]]:
    """The job as it would be with Spot first and on-demand behind it, and what had to be added for that."""
    capacity, notes = job.capacity, []
    if not capacity.spot:
        capacity = capacity.model_copy(update={"spot": capacity.on_demand})
        notes.append("The job file names no Spot types; its on-demand types are taken for them.")
    if not capacity.on_demand:
        capacity = capacity.model_copy(update={"on_demand": capacity.spot})
        notes.append("The job file names no on-demand types; its Spot types are taken for them.")
    if job.budget is not None:
        notes.append(
            "The job's budget is left out: it may keep a night from on-demand, which then has no model."
        )
    if job.policy is Policy.ON_DEMAND:
        notes.append("The job file asks for no Spot (policy: on_demand); the nights are played with patient.")
    return job.model_copy(update={"capacity": capacity}), notes


def _hourly(question: Question, run: Run) -> Figure:
    rung = run.rungs_of(Market.ON_DEMAND)[0]
    unpriced = [r.instance_type for r in run.rungs if r.usd_per_hour is None]
    price = question.price(rung.instance_type, question.region)
    if price is None or unpriced:
        names = ", ".join(dict.fromkeys(unpriced or [rung.instance_type]))
        return unknown(f"no price of {names} in {question.region} is known")
    value = price.usd_per_hour * rung.instance_count
    source = f"{rung.instance_type} {price.words(question.today)} ({price.source})"
    return Figure(value, price.basis, source)


def _least_hourly(question: Question, run: Run) -> Figure | None:
    """See `Case`. A plan that only the user tells of is taken to cover the whole job."""
    rung, room = run.rungs_of(Market.ON_DEMAND)[0], question.hints.plan_room
    price = question.price(rung.instance_type, question.region)
    least = price.least_usd_per_hour(rung.instance_count) if price else None
    if price is not None and least == price.usd_per_hour:
        least = None  # other work is known to use the plans up
    if room is PlanRoom.USED or (room is None and least is None):
        return None
    if least is None:
        return priced(0.0, "your Savings Plan, as given by you, taken to cover the whole job")
    return priced(least * rung.instance_count, "your active Savings Plans, whose commitment is paid already")


def _spot_ratio(question: Question, run: Run) -> Figure:
    """Spot's price over on-demand's, as far as it is measured, hinted or assumed."""
    instance_type = run.rungs_of(Market.SPOT)[0].instance_type
    discount = expected_spot_discount(question.history, instance_type, question.hints.spot_discount)
    value = max(LEAST_PRICE_RATIO, 1 - discount.value)
    return Figure(
        value, discount.basis, f"Spot saves {100 * discount.value:.0f} % of an hour, {discount.words}"
    )
