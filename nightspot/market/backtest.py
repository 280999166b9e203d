"""Plays many nights with every policy on the same markets and the same luck, and sums up what each costs.

Ours is the rule that is deployed, `rule.decide`, planned as the deployment plans it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import lru_cache

from nightspot.job.markets import Fallback, Market, Policy
from nightspot.market.engine import play_rule
from nightspot.market.model import Belief, NightResult, Truth
from nightspot.market.night import MIDNIGHT, Planned, SimulatedNight
from nightspot.market.omniscient import omniscient_of
from nightspot.market.rivals import RIVALS
from nightspot.market.samples import HOUR, INSTANCE_TYPE, BacktestSetting, Sample, Zone, check, samples_of
from nightspot.run.model import Run, Rung

DEFAULT = Policy.PATIENT.value  # the default policy of a job, under its name in the table
OMNISCIENT = "omniscient"
OURS = tuple(policy.value for policy in Policy)  # the default first
LABELS = {
    **{name: rival.label for name, rival in RIVALS.items()},
    Policy.PATIENT.value: "Spot while on-demand can repair it",
    Policy.EAGER.value: "Each Spot type once, then on-demand",
    Policy.ON_DEMAND.value: "On-demand from the start",
    OMNISCIENT: "Knows the whole market beforehand",
}


def needs_to_see_spot(name: str) -> bool:
    """Whether the policy of this name knows when Spot comes back, which SageMaker shows to nobody."""
    return name == OMNISCIENT or (name not in OURS and RIVALS[name].sees_spot_from_on_demand)


@dataclass(frozen=True)
class Score:
    """What a policy made of all nights. Costs are in hours of on-demand."""

    nights: int
    cost: float  # of a mean night
    cost_ratio: float  # over on-demand from the start, all nights together
    vs_omniscient: float
    late_rate: float  # 0..1
    interruptions: float  # of a mean night
    on_demand_hours: float  # paid, of a mean night
    nights_per_second: float  # of this process's own time


@dataclass
class _Tally:
    """The running sums of a policy."""

    nights: int = 0
    cost: float = 0.0
    late: int = 0
    interruptions: int = 0
    on_demand_seconds: float = 0.0
    seconds: float = 0.0

    def add(self, result: NightResult) -> None:
        self.nights += 1
        self.cost += result.cost
        self.late += result.late
        self.interruptions += result.interruptions
        self.on_demand_seconds += result.on_demand_seconds


Player = Callable[[Sample], NightResult]


def backtest(
    setting: BacktestSetting,
    zones: Sequence[Zone],
    *,
    run: Run | None = None,
    policies: Sequence[str] | None = None,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> dict[str, Score]:
    """Every policy's score by name, `OMNISCIENT` among them; the default policy comes first.

    `setting.starts` nights from each zone. `run`: the plan that ours plays, where it is not one Spot and one
    on-demand rung (its ladder, with every Spot type drawing on the zone's market). `on_progress(done, total)` is
    called after each policy of each zone. Raises BacktestError for what `check` does not let pass.
    """
    check(setting, zones)
    names = (*OURS, *(name for name in RIVALS if name not in OURS))
    players = {name: player(setting, name, run) for name in names if not policies or name in policies}
    tallies = {name: _Tally() for name in players}
    bound = alone = 0.0
    done, total = 0, len(zones) * (len(players) + 1)
    for zone in zones:
        samples = list(samples_of(setting, zone))
        alone += sum(_on_demand_hours(sample.truth) for sample in samples)
        bound += float(omniscient_of(setting, zone, samples).sum())
        done += 1
        on_progress(done, total)
        for name, plays in players.items():
            started = time.process_time()
            for sample in samples:
                tallies[name].add(plays(sample))
            tallies[name].seconds += time.process_time() - started
            done += 1
            on_progress(done, total)
    nights = setting.starts * len(zones)
    scores = {name: _score(tally, alone, bound) for name, tally in tallies.items()}
    scores[OMNISCIENT] = Score(nights, bound / nights, bound / alone, 1.0, 0.0, math.nan, math.nan, math.nan)
    return scores


def player(
    setting: BacktestSetting, name: str, run: Run | None = None, *, with_spans: bool = False
) -> Player:
    """What plays a night with the policy of this name. `run`: see `backtest`."""
    if name not in OURS:
        rule = RIVALS[name].rule
        return lambda sample: play_rule(rule(), sample.truth, sample.belief, with_spans=with_spans)
    policy = Policy(name)

    @lru_cache(maxsize=1)  # most settings plan all their nights alike
    def planned(belief: Belief) -> Planned:
        return Planned(plan(setting, belief, policy, run))

    def play(sample: Sample) -> NightResult:
        night = SimulatedNight(sample.truth, shows_pace=setting.work_error > 0, with_spans=with_spans)
        return planned(sample.belief).play(night)

    return play


def plan(setting: BacktestSetting, belief: Belief, policy: Policy, run: Run | None = None) -> Run:
    """The run that ours begins a night with; `run` gives its ladder, its fallback, and whether it saves."""
    planned = {
        Market.SPOT: math.ceil(belief.spot_changeover_seconds),
        Market.ON_DEMAND: math.ceil(belief.on_demand_changeover_seconds),
    }
    ladder = run.rungs if run else [Rung(m, INSTANCE_TYPE, "simulated", usd_per_hour=1.0) for m in Market]
    rungs = tuple(replace(rung, change_over_seconds=planned[rung.market]) for rung in ladder)
    return Run(
        job="simulated",
        run_id="simulated",
        execution_arn="simulated",
        started_at=MIDNIGHT,
        deadline=MIDNIGHT + timedelta(seconds=setting.window_seconds),
        rungs=rungs,
        work_seconds=setting.work_seconds,
        work_upper_seconds=belief.work_seconds,
        checkpoint_every_seconds=math.ceil(setting.checkpoint_seconds),
        checkpoint_s3_uri="s3://simulated/checkpoints" if run is None else run.checkpoint_s3_uri,
        training_job={},
        policy=policy,
        fallback=Fallback.ON_DEMAND if run is None else run.fallback,
        stop_seconds=math.ceil(setting.stop_seconds),
    )


def _on_demand_hours(truth: Truth) -> float:
    return (truth.work_seconds + truth.on_demand_changeover_seconds[0]) / HOUR


def _score(tally: _Tally, alone: float, bound: float) -> Score:
    nights = tally.nights
    return Score(
        nights=nights,
        cost=tally.cost / nights,
        cost_ratio=tally.cost / alone,
        vs_omniscient=tally.cost / bound,
        late_rate=tally.late / nights,
        interruptions=tally.interruptions / nights,
        on_demand_hours=tally.on_demand_seconds / nights / HOUR,
        nights_per_second=nights / tally.seconds if tally.seconds else math.inf,
    )
