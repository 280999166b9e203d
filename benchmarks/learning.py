"""Whether learning pays: nights planned with what was recorded, beside the same nights planned with the job file.

Closed loop: each night's plan comes from `planning.plan_run` with the records of the nights before it, is played
through the ledger with the deployed rule on a made-up market, and is summed up as a record like any run. Nights 6
to 20 of each history count. `python benchmarks/learning.py` prints a table, `--json` the same for programs.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import time

import numpy as np

from nightspot.advise.markets import roaming
from nightspot.decide import durable
from nightspot.job.model import Capacity, ChangeOver, InstanceType, Job
from nightspot.job.times import Deadline
from nightspot.market.fitting import generate, profile
from nightspot.market.model import MarketAvailability, NightResult, Prices, Truth
from nightspot.market.night import MIDNIGHT, SimulatedNight
from nightspot.plan.planning import Known, plan_run
from nightspot.record.model import RunRecord
from nightspot.record.summary import summarise
from nightspot.run.model import Run, evolve
from tests.market.ledger_night import ledger_of_night

HOUR, MINUTE = 3600.0, 60.0
HISTORIES, NIGHTS, FIRST_COUNTED = 100, 20, 6
WORK_SECONDS, WINDOW_SECONDS, SPOT_RATIO = 4 * HOUR, 8 * HOUR, 0.35
TYPE, OTHER_TYPE = "ml.p4d.24xlarge", "ml.g5.12xlarge"
ZONES = 3
SPREAD = 0.2  # of the logarithm of a start


@dataclass(frozen=True)
class Case:
    """A kind of job and market. `work_seconds` (number of the night, randomness) is how long a night's work is."""

    name: str
    profile: str = "usual"
    shows_steps: bool = False
    work_seconds: Callable[[int, np.random.Generator], float] = lambda _night, _draw: WORK_SECONDS
    steps_share: float = 1.0  # of all steps that the script announces, those that it trains
    queue_seconds: Callable[[np.random.Generator], float] = lambda _draw: 0.0  # for an on-demand machine
    spot_types: int = 1
    # Nights whose input names another, three times slower type.
    overridden: frozenset[int] = frozenset()


def _mostly(usual: float, odd: float, share: float) -> Callable[[np.random.Generator], float]:
    return lambda draw: odd if draw.random() < share else usual


def _odd_work(_night: int, draw: np.random.Generator) -> float:
    return WORK_SECONDS * (1.9 if draw.random() < 1 / 15 else 1.0)


def _varying_work(_night: int, draw: np.random.Generator) -> float:
    return WORK_SECONDS * float(np.exp(0.05 * draw.standard_normal()))


CASES = (
    Case("no steps, usual market"),
    Case("no steps, scarce market", "scarce"),
    Case("steps, usual market", shows_steps=True),
    Case("steps, scarce market", "scarce", shows_steps=True),
    Case("no steps, calm market", "calm"),
    Case("work off by 5 %", work_seconds=_varying_work),
    Case("work off by 5 %, steps, scarce", "scarce", shows_steps=True, work_seconds=_varying_work),
    Case("one night in 15 twice as long", work_seconds=_odd_work),
    Case("one on-demand start in six 1 h", "scarce", queue_seconds=_mostly(MINUTE, HOUR, 1 / 6)),
    Case("stops at 40 % of its steps", shows_steps=True, steps_share=0.4),
    Case("stops at 40 %, scarce market", "scarce", shows_steps=True, steps_share=0.4),
    Case("overrides on a slower type", overridden=frozenset({3, 9, 12})),
    Case("two Spot types, waits cut short", "scarce", spot_types=2),
)


@dataclass(frozen=True)
class Played:
    """Nights 6 to 20 of all histories of a case. Costs are of an average night, over on-demand's."""

    name: str
    file_cost: float
    learnt_cost: float
    file_late_rate: float
    late_rate: float


def job_of(case: Case, *, overridden: bool = False) -> Job:
    spot = (OTHER_TYPE,) if overridden else (TYPE, "ml.p3dn.24xlarge")[: case.spot_types]
    return Job(
        name="recommender",
        deadline=Deadline(at=time(8)),
        work_seconds=int(WORK_SECONDS),
        checkpoint_every_seconds=int(30 * MINUTE),
        capacity=Capacity(
            spot=tuple(InstanceType(instance_type=name) for name in spot),
            on_demand=(InstanceType(instance_type=OTHER_TYPE if overridden else TYPE),),
        ),
        change_over=ChangeOver(spot_seconds=600, on_demand_seconds=900),
        training_job={
            "CheckpointConfig": {"S3Uri": "s3://checkpoints"},
            "ResourceConfig": {"InstanceCount": 1},
        },
    )


def play(case: Case, histories: int) -> Played:
    """The case, each history with nights of its own."""
    results: dict[str, list[NightResult]] = {"file": [], "learnt": []}
    for seed in range(histories):
        past: list[RunRecord] = []
        for number in range(1, NIGHTS + 1):
            draw = np.random.default_rng([seed, number, *case.name.encode()])
            night, overridden = night_of(case, number, draw), number in case.overridden
            for plan, known in (("learnt", tuple(past)), ("file", ())):
                if plan == "file" and number < FIRST_COUNTED:
                    continue
                run, result = _night(case, night, number, known, overridden=overridden)
                if plan == "learnt":
                    past.insert(0, summarise(run))
                if number >= FIRST_COUNTED and not overridden:
                    results[plan].append(result)
    by_file, learnt = results["file"], results["learnt"]
    return Played(case.name, _cost(by_file), _cost(learnt), _late_rate(by_file), _late_rate(learnt))


def night_of(case: Case, number: int, draw: np.random.Generator) -> SimulatedNight:
    seconds = 3 * WINDOW_SECONDS

    def market() -> MarketAvailability:
        zones = [generate(profile(case.profile), seconds=seconds, randomness=draw) for _ in range(ZONES)]
        return roaming(zones, draw)

    def starts(median: float) -> tuple[float, ...]:
        return tuple(float(each) for each in median * np.exp(SPREAD * draw.standard_normal(12)))

    slower = 3.0 if number in case.overridden else 1.0
    truth = Truth(
        market=market(),
        prices=Prices.flat(SPOT_RATIO),
        work_seconds=case.work_seconds(number, draw) * slower,
        window_seconds=WINDOW_SECONDS,
        spot_changeover_seconds=starts(5 * MINUTE),
        on_demand_changeover_seconds=starts(7 * MINUTE),
        on_demand_queue_seconds=(case.queue_seconds(draw),),
        checkpoint_seconds=30 * MINUTE,
        stop_seconds=120.0,
        detection_seconds=30.0,
    )
    markets = {"ml.p3dn.24xlarge": market()} if case.spot_types > 1 else {}
    return SimulatedNight(truth, markets=markets, shows_pace=case.shows_steps)


def _night(
    case: Case, night: SimulatedNight, number: int, history: tuple[RunRecord, ...], *, overridden: bool
) -> tuple[Run, NightResult]:
    run = plan_run(
        job_of(case, overridden=overridden),
        started_at=MIDNIGHT,
        execution_arn=f"night-{number}",
        region="eu-west-1",
        known=Known(lambda *_of: 33.0, history),
    )

    def fold(before: Run, run: Run) -> Run:
        progress = run.progress
        if progress is not None and not case.shows_steps:
            run = evolve(run, progress=None)  # nothing of the script is seen
        elif progress is not None and progress.total_steps and case.steps_share < 1:
            total = int(night.truth.work_seconds / case.steps_share)
            run = evolve(run, progress=evolve(progress, total_steps=total, fraction=progress.step / total))
        return durable.fold(before, run)

    return ledger_of_night(run, night, fold=fold)


def _cost(nights: list[NightResult]) -> float:
    return sum(night.cost for night in nights) / len(nights) / (WORK_SECONDS / HOUR)


def _late_rate(nights: list[NightResult]) -> float:
    return sum(night.late for night in nights) / len(nights)


def as_json(played: list[Played], histories: int) -> dict[str, object]:
    """What `--json` prints: costs over on-demand's, rates 0..1."""
    cases = [asdict(each) for each in played]
    return {"histories": histories, "nights": [FIRST_COUNTED, NIGHTS], "cases": cases}


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    parser.add_argument("--histories", type=int, default=HISTORIES, metavar="N", help="of each case")
    options = parser.parse_args()
    if options.histories < 1:
        parser.error(f"--histories: {options.histories}: must be at least 1")
    if options.json:
        played = [play(case, options.histories) for case in CASES]
        print(json.dumps(as_json(played, options.histories), indent=2))
        return
    of = f"nights {FIRST_COUNTED} to {NIGHTS} of {options.histories} histories of each case"
    print(f"4 h of work in 8 h, {of}: cost over on-demand's, by what is planned with")
    print(f"{'case':<34}{'job file':>9}{'learnt':>8}{'change':>9}{'late, file':>12}{'late, learnt':>14}")
    for case in CASES:
        each = play(case, options.histories)
        print(
            f"{each.name:<34}{each.file_cost:9.4f}{each.learnt_cost:8.4f}"
            f"{each.learnt_cost / each.file_cost - 1:>+9.2%}{each.file_late_rate:>12.2%}{each.late_rate:>14.2%}"
        )


if __name__ == "__main__":
    main()
