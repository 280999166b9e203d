"""`nightspot audit`: the checks of the reconciler by hand, and its repairs where a person wants them now."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from nightspot.aws.notices import Notices
from nightspot.aws.runs.checkpoints import Checkpoints
from nightspot.aws.runs.executions import Executions
from nightspot.aws.runs.operating import DeploymentError, output_of
from nightspot.aws.runs.training_jobs import TrainingJobs
from nightspot.aws.table.job_lock import JobLock
from nightspot.cli._shared import ExitStatus, Json, fail, grouped, mistakes, note, print_json, utc_now
from nightspot.cli.runs.place import Place, Where, operating_mistakes
from nightspot.decide.audit import AuditFinding, Repair, Snapshot, findings
from nightspot.lambdas.dependencies import Dependencies
from nightspot.lambdas.observability import writing_to
from nightspot.lambdas.reconcile import Reconciled, reconcile
from nightspot.lambdas.settling import looks_of
from nightspot.terminal.lines import console_for

BUS = "default"  # see infra.functions
_INDENT = "  "


@grouped
def audit(
    *,
    fix: Annotated[bool, typer.Option("--fix", help="Repair what can be repaired.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    where: Annotated[Where, ("table", "stack", "region", "profile")],
    as_json: Json = False,
) -> None:
    """Check a deployment's runs, jobs and locks; --fix repairs them."""
    if fix and as_json and not yes:
        raise typer.BadParameter("--json needs --yes, because nobody is asked")
    with mistakes(), operating_mistakes():
        place = where.deployed()
        snapshot = looks_of(_dependencies(place)).snapshot(utc_now(), thorough=True)
        found = findings(snapshot)
        if not as_json:
            _show(console_for(), place, snapshot, found)
        done = _fixed(place, snapshot, found, ask=not yes) if fix else None
        if as_json:
            print_json(_as_json(place, snapshot, found, done))
        elif done is not None:
            _show_done(console_for(), found, done)
    left = [finding for finding in found if done is None or not done.has_repaired(finding)]
    if any(finding.is_wrong for finding in left):
        raise typer.Exit(ExitStatus.USER)
    if snapshot.unseen:
        fail("AWS did not show everything; look again later", status=ExitStatus.SERVICE)


def _fixed(
    place: Place, snapshot: Snapshot, found: tuple[AuditFinding, ...], *, ask: bool
) -> Reconciled | None:
    """What came of the repairs; None where nothing can be repaired."""
    count = sum(finding.repair is not Repair.NONE for finding in found)
    if not count:
        return None
    if ask:
        things = "this" if count == 1 else f"these {count}"
        typer.confirm(f"Repair {things} in {place.words}?", abort=True, err=True)
    # What a repair logs and counts goes to CloudWatch from a function, and from here nowhere.
    with writing_to(io.StringIO()):
        return reconcile(snapshot, _dependencies(place))


def _dependencies(place: Place) -> Dependencies:
    """What the deployed functions work with, by this person's own permissions."""
    if place.aws is None or place.table_name is None:
        raise ValueError("only a deployment can be audited")
    client = place.aws.client
    step_functions = client("stepfunctions")
    return Dependencies(
        region=place.aws.region,
        now=utc_now,
        jobs=dict,
        localise=lambda job, _execution_arn: job,
        price=lambda _instance_type, _region: None,
        table=place.table(),
        lock=JobLock(client("dynamodb"), place.table_name),
        executions=Executions(step_functions),
        quotas=None,
        training_jobs=TrainingJobs(client("sagemaker")),
        checkpoints=Checkpoints(client("s3")),
        notices=Notices(client("events"), BUS),
        step_functions=step_functions,
        environment=_environment(place),
    )


def _environment(place: Place) -> str:
    """What the stack is called in the names of its training jobs; "": no stack was named, or an older one."""
    if place.aws is None or place.stack is None:
        return ""
    with suppress(DeploymentError):
        return output_of(place.stack, "Environment", cloudformation=place.aws.client("cloudformation"))
    return ""


def _show(console: Console, place: Place, snapshot: Snapshot, found: tuple[AuditFinding, ...]) -> None:
    for finding in found:
        head = Text(f"{finding.kind.value.replace('_', ' ')}", "bold red" if finding.is_wrong else "bold")
        head.append(f"  {finding.subject}", "not bold default")
        console.print(head, soft_wrap=True)
        console.print(Text(f"{_INDENT}{finding.sentence}"), soft_wrap=True)
        console.print(Text(f"{_INDENT}to do: {finding.remedy}"), soft_wrap=True)
    for what, why in snapshot.unseen.items():
        note(f"{what} cannot be looked at just now: {why}")
    console.print(Text(_sum(place, snapshot, found)), soft_wrap=True)


def _sum(place: Place, snapshot: Snapshot, found: tuple[AuditFinding, ...]) -> str:
    wrong = sum(finding.is_wrong for finding in found)
    says = (
        "Nothing is wrong" if not wrong else "1 thing is wrong" if wrong == 1 else f"{wrong} things are wrong"
    )
    looked_at = ", ".join(f"{what}: {count}" for what, count in _looked_at(snapshot).items())
    return f"{says} in {place.words} ({looked_at})."


def _looked_at(snapshot: Snapshot) -> dict[str, int]:
    return {
        "runs": len(snapshot.runs) + len(snapshot.unreadable),
        "training jobs that go on": len(snapshot.listed),
        "locks": len(snapshot.locks),
    }


def _show_done(console: Console, found: tuple[AuditFinding, ...], done: Reconciled) -> None:
    for finding in found:
        if done.has_repaired(finding):
            console.print(Text(f"repaired: {finding.sentence}"), soft_wrap=True)
    for run_id, why in (*done.failed.items(), *done.postponed.items()):
        note(f"run {run_id} is not repaired: {why}")


def _as_json(
    place: Place, snapshot: Snapshot, found: tuple[AuditFinding, ...], done: Reconciled | None
) -> dict[str, Any]:
    return {
        "table": place.table_name,
        "at": snapshot.at.isoformat(timespec="seconds"),
        "looked_at": {what.replace(" ", "_"): count for what, count in _looked_at(snapshot).items()},
        "findings": [
            {
                "kind": finding.kind.value,
                "run_id": finding.run_id,
                "job": finding.job,
                "subject": finding.subject,
                "sentence": finding.sentence,
                "is_wrong": finding.is_wrong,
                "repair": finding.repair.value,
                "to_do": finding.remedy,
                "repaired": done is not None and done.has_repaired(finding),
            }
            for finding in found
        ],
        "not_seen": dict(snapshot.unseen),
        "not_repaired": {} if done is None else {**done.failed, **done.postponed},
    }
