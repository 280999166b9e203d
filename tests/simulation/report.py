"""What the runner prints: tables by family, failing seeds, and one run as a story."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from tests.simulation.families import FAMILIES
from tests.simulation.invariants import Invariant, Verdict
from tests.simulation.world import World

_COLUMNS: Mapping[str, tuple[Invariant, ...]] = {
    "crashed": (Invariant.LOOP_KEPT,),
    "2 machines": (Invariant.ONE_MACHINE,),
    "open": (Invariant.CLOSED,),
    "locks": (Invariant.FREED,),
    "unrec. $": (Invariant.ON_RECORD,),
    "alone": (Invariant.NOT_ALONE,),
    "untold": (Invariant.NOTIFIED,),
    "told 2x": (Invariant.NOTIFIED_ONCE,),
    "dead": (Invariant.NO_DEAD_LETTER,),
    "other": (
        Invariant.NOTHING_BOUGHT,
        Invariant.HONEST,
        Invariant.WITHIN_BUDGET,
        Invariant.BOUNDED,
        Invariant.NO_ERROR,
    ),
}


def rows(verdicts: Iterable[Verdict]) -> list[dict[str, Any]]:
    """One row a family, in their order; a run is counted once in a column, however often it breaks the rule."""
    by_kind: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        by_kind[verdict.kind].append(verdict)
    order = [*FAMILIES, *sorted(by_kind.keys() - FAMILIES.keys())]
    return [_row(kind, by_kind[kind]) for kind in order if kind in by_kind]


def _row(kind: str, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    transitions = [verdict.transitions for verdict in verdicts]
    return {
        "kind": kind,
        "runs": len(verdicts),
        "on time": sum(verdict.in_time for verdict in verdicts),
        "late": sum(verdict.late for verdict in verdicts),
        "too late": sum(verdict.count(Invariant.IN_TIME) > 0 for verdict in verdicts),
        "no model": sum(verdict.no_model for verdict in verdicts),
        "excused": sum(verdict.excused for verdict in verdicts),
        **{
            name: sum(verdict.count(*invariants) > 0 for verdict in verdicts)
            for name, invariants in _COLUMNS.items()
        },
        "steps med": int(median(transitions)),
        "max": max(transitions),
        "failing": sum(bool(verdict.violations) for verdict in verdicts),
    }


def table(lines: Sequence[Mapping[str, Any]]) -> str:
    """A table with a line of sums."""
    if not lines:
        return ""
    names = list(lines[0])
    sums = {name: sum(line[name] for line in lines) for name in names[1:] if name not in {"steps med", "max"}}
    total = {names[0]: "all", "steps med": "", "max": max(line.get("max", 0) for line in lines), **sums}
    cells = [names, *([str(line[name]) for name in names] for line in (*lines, total))]
    widths = [max(len(row[number]) for row in cells) for number in range(len(names))]
    out = []
    for row in cells:
        first, *rest = (
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        out.append("  ".join((first, *rest)))
    out.insert(1, "-" * len(out[0]))
    out.insert(-1, "-" * len(out[0]))
    return "\n".join(out)


def failures(verdicts: Iterable[Verdict]) -> list[str]:
    """One line for each rule that a seed breaks, and how to see it."""
    return [
        f"seed {verdict.seed} ({verdict.kind}): {violation.invariant.value}: {violation.text}"
        for verdict in verdicts
        for violation in verdict.violations
    ]


def story(world: World) -> str:
    """The run, line by line, in virtual time."""
    lines = [
        f"{world.clock.moment(each.at):%d %H:%M:%S}  {each.who[:34]:34}  {each.what}" for each in world.story
    ]
    return "\n".join(lines)


def setting(world: World) -> str:
    """What kind of world it was."""
    scenario, job = world.scenario, world.scenario.job
    spot = ", ".join(f"{spec.instance_type} (speed {spec.speed:g})" for spec in job.capacity.spot)
    on_demand = ", ".join(f"{spec.instance_type} (speed {spec.speed:g})" for spec in job.capacity.on_demand)
    moment = world.clock.moment
    spans = {
        name: [(round(begin), round(end)) for begin, end in intervals[:6]]
        for name, intervals in scenario.market.spot.items()
    }
    return "\n".join(
        [
            f"seed {scenario.seed}, {scenario.kind}",
            f"job      {job.work_seconds / 3600:g} h of work stated, {scenario.workload.work_seconds / 3600:.2f} h"
            f" in truth, due {moment(scenario.deadline):%d %H:%M}, {job.policy.value}, fallback"
            f" {job.fallback.value}, budget {job.budget.per_run_usd if job.budget else None}",
            f"Spot     {spot}",
            f"         {spans}",
            f"on-dem.  {on_demand}; queues {scenario.market.queues}",
            f"safe     until {moment(scenario.last_safe_moment):%d %H:%M:%S}; had slack: {scenario.had_slack};"
            f" model expected: {scenario.model_expected}; late by {scenario.late_allowed / 60:.0f} min allowed",
            f"faults   {scenario.plan}",
        ]
    )
