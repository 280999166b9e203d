"""Gathers what the filters and the options work with: the plan, the night, the pool, and the prices."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from nightspot.advise import nights as playing
from nightspot.advise.nights import nights_a_month
from nightspot.advise.pool import PROFILE_OF, Pool, made_up, of_traces, pool_of
from nightspot.advise.question import Figure, Question, derived, priced, unknown
from nightspot.job.cautions import window_seconds
from nightspot.job.markets import Market, Policy
from nightspot.job.model import Job
from nightspot.learn.history import expected_spot_discount
from nightspot.market import samples
from nightspot.market.samples import BacktestError, BacktestSetting
from nightspot.plan.planning import Known, plan_run
from nightspot.run.model import STOP_SECONDS, Run

HOUR = 3600.0
# Deadlines that are tried beside the job's own, and the longest night that is.
WINDOW_SHIFTS_SECONDS = (-2 * HOUR, -1 * HOUR, 1 * HOUR, 2 * HOUR, 4 * HOUR)
_START = datetime(2026, 1, 1, tzinfo=UTC)  # decides nothing that is read here
LEAST_PRICE_RATIO = 0.01


@dataclass(frozen=True)
class Case:
    """A question, made ready. `stage` is None where not even on-demand could be in time: no night is played.

    `hourly` is USD for an hour of all instances of the first on-demand rung; `nights` those of a month.
    """

    question: Question
    job: Job  # with rungs in both markets
    run: Run
    pool: Pool
    hourly: Figure
    spot_ratio: Figure
    nights: Figure
    window_seconds: float
    stage: playing.NightsPlan | None
    notes: tuple[str, ...]

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
        inputs = [self.hourly, self.spot_ratio, Figure(1.0, self.pool.basis, "the market")]
        return derived(hours * (self.hourly.value or 0.0), inputs, source)

    @property
    def market_words(self) -> str:
        """Which markets the nights are played on."""
        if self.question.zones:
            return f"your traces ({len(self.question.zones)})"
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
        known=Known(lambda *of: p.usd_per_hour if (p := question.price(*of)) else None, question.history),
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
        spot_ratio=ratio,
        nights=nights,
        window_seconds=window,
        stage=None,
        notes=tuple(notes),
    )
    if window < least_window_seconds(case):
        return case
    return replace(case, stage=_stage(case))


def least_window_seconds(case: Case) -> float:
    """The shortest night in which on-demand alone is in time, on the rung that is done first.

    As `ladder.repair_rung` chooses; a simulated night's on-demand takes what the job file states, at least.
    """
    stated = float(case.job.change_over.on_demand_seconds)
    return min(
        case.run.work_seconds / rung.speed + max(rung.change_over_seconds, stated)
        for rung in case.run.rungs_of(Market.ON_DEMAND)
    )


def windows_to_try(case: Case) -> tuple[float, ...]:
    """The job's own window and those around it in which on-demand alone is in time, shortest first."""
    shifted = {case.window_seconds + shift for shift in (0.0, *WINDOW_SHIFTS_SECONDS)}
    return tuple(sorted(window for window in shifted if window >= least_window_seconds(case)))


def _stage(case: Case) -> playing.NightsPlan:
    setting = _setting(case)
    count = playing.nights_played(case.nights.value or 1.0)
    longest, seed = windows_to_try(case)[-1], case.question.seed
    if case.question.zones:
        months = of_traces(case.question.zones, nights=count, night_seconds=longest, seed=seed)
    else:
        months = made_up(case.pool, nights=count, night_seconds=longest, seed=seed)
    # The job's own, unless it asks for no Spot at all: that is the question.
    policy = Policy.PATIENT if case.job.policy is Policy.ON_DEMAND else case.job.policy
    return playing.stage_of(setting, case.run, policy, months, case.nights.value or 1.0)


def _setting(case: Case) -> BacktestSetting:
    job, saves = case.job, case.saves
    return BacktestSetting(
        work_seconds=case.run.work_seconds,
        window_seconds=case.window_seconds,
        changeover_seconds=float(job.change_over.spot_seconds),
        on_demand_changeover_seconds=float(job.change_over.on_demand_seconds),
        checkpoint_seconds=float(job.checkpoint_every_seconds) if saves else samples.NEVER_SAVED_SECONDS,
        stop_seconds=float(STOP_SECONDS),
        spot_ratio=case.spot_ratio.value,
        on_demand_speed=max(rung.speed for rung in case.run.rungs_of(Market.ON_DEMAND)),
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


def _spot_ratio(question: Question, run: Run) -> Figure:
    """Spot's price over on-demand's, as far as it is measured, hinted or assumed."""
    instance_type = run.rungs_of(Market.SPOT)[0].instance_type
    discount = expected_spot_discount(question.history, instance_type, question.hints.spot_discount)
    value = max(LEAST_PRICE_RATIO, 1 - discount.value)
    return Figure(
        value, discount.basis, f"Spot saves {100 * discount.value:.0f} % of an hour, {discount.words}"
    )
