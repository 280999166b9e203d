"""The runner: `python -m tests.simulation --seeds 300`; `--seed N --trace` tells one run."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

from tests.simulation import report
from tests.simulation.families import FAMILIES, scenario_of
from tests.simulation.faults import SERVICES
from tests.simulation.invariants import Verdict
from tests.simulation.playing import OUTAGE_MINUTES, OUTAGE_RUNS, Task, played, verdicts_of

MOST_FAILURES = 60  # lines; `--json` has them all


def main(given: Sequence[str] | None = None) -> int:
    """The exit status: 1 where a rule did not hold."""
    options = _options(given)
    if options.seed is not None and options.trace:
        world, verdict = played(scenario_of(options.seed, options.kind))
        print(report.setting(world), report.story(world), "", sep="\n")
        print(*report.failures([verdict]) or ["No violation."], sep="\n")
        return int(bool(verdict.violations))
    began = time.monotonic()
    verdicts = list(verdicts_of(_tasks(options), options.processes))
    _print(verdicts, options)
    failing = sum(bool(verdict.violations) for verdict in verdicts)
    if not options.json:
        cpu = sum(verdict.seconds for verdict in verdicts)
        spent, each = time.monotonic() - began, 1000 * cpu / len(verdicts)
        slowest = max(verdict.seconds for verdict in verdicts)
        print(
            f"{spent:.0f} s with {options.processes} processes, {each:.0f} ms a run, the slowest {slowest:.2f} s"
        )
        print(f"{len(verdicts)} runs, {sum(len(v.violations) for v in verdicts)} violations")
    return int(failing > 0)


def _tasks(options: argparse.Namespace) -> list[Task]:
    if options.outages:
        kinds = [f"away: {service} {minutes}" for service in SERVICES for minutes in OUTAGE_MINUTES]
        return [(seed, kind) for kind in kinds for seed in range(OUTAGE_RUNS)]
    if options.seed is not None:
        return [(options.seed, options.kind)]
    return [(seed, options.kind) for seed in range(options.first, options.first + options.seeds)]


def _print(verdicts: Iterable[Verdict], options: argparse.Namespace) -> None:
    verdicts = list(verdicts)
    lines = report.rows(verdicts)
    if options.json:
        failing: list[dict[str, Any]] = [
            {"seed": v.seed, "kind": v.kind, "invariant": each.invariant.value, "text": each.text}
            for v in verdicts
            for each in v.violations
        ]
        print(json.dumps({"runs": len(verdicts), "rows": lines, "violations": failing}, indent=1))
        return
    found = report.failures(verdicts)
    for line in found[:MOST_FAILURES]:
        print(line)
    if len(found) > MOST_FAILURES:
        print(f"… and {len(found) - MOST_FAILURES} more")
    print(report.table(lines))


def _options(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, help="how many seeds to play (300)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (0)")
    parser.add_argument("--seed", type=int, help="play this seed alone")
    parser.add_argument("--trace", action="store_true", help="tell the run of --seed as a story")
    parser.add_argument("--kind", choices=list(FAMILIES), help="faults of this family alone")
    parser.add_argument(
        "--outages", action="store_true", help="each service away for 10 and 30 minutes, 40 runs each"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--processes", type=int, default=2, help="how many to use (2)")
    return parser.parse_args(given)


if __name__ == "__main__":
    sys.exit(main())
