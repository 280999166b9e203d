"""Every five minutes: looks at everything that is unfinished, and repairs what no loop and no event has dealt with.

With nothing unfinished it reads two partitions of the table and two lists of training jobs, and counts nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError

from nightspot.aws.faults import NotYetError, TransientAwsError
from nightspot.aws.runs.executions import InvalidStartError, NameTakenError
from nightspot.decide import audit
from nightspot.decide.audit import AuditFinding, Delivery, Pending, Repair, Snapshot
from nightspot.lambdas.dependencies import Dependencies, dependencies
from nightspot.lambdas.observability import count, emit, logger, uncounted_entry
from nightspot.lambdas.settling import free_lock, looks_of, settle
from nightspot.lambdas.start_run import ScheduledStart, start


@dataclass(frozen=True)
class Reconciled:
    """What was found, what of it was repaired, and what could not be (run id, lock or delivery -> why)."""

    found: tuple[AuditFinding, ...] = ()
    repaired: tuple[AuditFinding, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    postponed: Mapping[str, str] = field(default_factory=dict)  # until AWS answers, or somebody else is done

    def has_repaired(self, finding: AuditFinding) -> bool:
        """Whether this is right by now, however its sentence has changed."""
        about = (finding.kind, finding.run_id, finding.subject)
        return any((each.kind, each.run_id, each.subject) == about for each in self.repaired)


@uncounted_entry
def handler(
    event: dict[str, Any], context: LambdaContext, *, use: Dependencies | None = None
) -> dict[str, Any]:
    """`{"found": {kind: number}, "repaired": {kind: number}, "failed": number}`.

    What cannot be done now is done five minutes later: an outage of AWS is no error here.
    """
    use = use or dependencies()
    try:
        snapshot = looks_of(use).snapshot(use.now())
    except TransientAwsError as error:
        logger.warning("not reconciled", extra={"error": str(error)})
        return {"found": {}, "repaired": {}, "failed": 1}
    done = reconcile(snapshot, use)
    for finding in done.found:
        logger.info(
            finding.sentence,
            extra={"kind": finding.kind.value, "job": finding.job, "run": finding.run_id},
        )
    rings = sum(finding.rings for finding in done.found) + len(done.failed)
    if rings:
        # A metric is paid for by the hour in which it is sent.
        count("Reconciled", rings)
        emit()
    return {
        "found": _by_kind(done.found),
        "repaired": _by_kind(done.repaired),
        "failed": len(done.failed),
    }


def reconcile(snapshot: Snapshot, use: Dependencies) -> Reconciled:
    """Repair what can be repaired of what `snapshot` shows. A run that cannot be keeps nobody from the others."""
    found = audit.findings(snapshot)
    repaired: list[AuditFinding] = []
    failed: dict[str, str] = {}
    postponed: dict[str, str] = {}
    listed: dict[str, list[str]] = {}
    for job in snapshot.listed:
        listed.setdefault(job.run_id, []).append(job.name)
    pending = {each.subject: each for each in snapshot.pending}
    for finding in found:
        if finding.subject in pending:
            # First: what is to start is late already.
            with _apart(finding.subject, failed, postponed):
                if deliver(finding, pending[finding.subject], use):
                    repaired.append(finding)
    for run_id in dict.fromkeys(_unsettled(snapshot, found)):
        with _apart(run_id, failed, postponed):
            repaired += settle(run_id, use, listed=listed.get(run_id, ())).repaired
    for finding in found:
        if finding.repair is Repair.FREE_LOCK:
            with _apart(finding.subject, failed, postponed):
                free_lock(finding, use)
                repaired.append(finding)
    for lock in snapshot.done_plans:
        with _apart(lock.key, failed, postponed):
            use.table.open_runs.has_planned(lock.run_id, lock.key)
    return Reconciled(found, tuple(repaired), failed, postponed)


@contextmanager
def _apart(subject: str, failed: dict[str, str], postponed: dict[str, str]) -> Iterator[None]:
    """Inside one thing is repaired: whatever is wrong with it, the others are repaired too."""
    try:
        yield
    except NotYetError as error:
        postponed[subject] = str(error)
        logger.warning("not repaired just now", extra={"subject": subject, "error": str(error)})
    except Exception as error:
        failed[subject] = repr(error)
        logger.exception("not repaired", extra={"subject": subject})
    finally:
        # Each run's figures stand under its own job.
        emit()


def _unsettled(snapshot: Snapshot, found: tuple[AuditFinding, ...]) -> Iterator[str]:
    """The runs of which something can be repaired, and those that need not be looked at again."""
    for finding in found:
        if finding.repair not in {Repair.NONE, Repair.FREE_LOCK} and finding.run_id is not None:
            yield finding.run_id
    for look in snapshot.runs:
        if audit.is_finished(look, snapshot.at):
            yield look.run.run_id


def _by_kind(found: tuple[AuditFinding, ...]) -> dict[str, int]:
    return dict(Counter(finding.kind.value for finding in found))


MOST_LOGGED = 10_000  # characters of an event


def deliver(finding: AuditFinding, pending: Pending, use: Dependencies) -> bool:
    """Deliver it once more, or give it up. Whether nothing more is to be done about it.

    Raises TransientAwsError and StartRefusedError where it is left for later. What can never be started is given
    up, and why is raised.
    """
    if finding.repair is Repair.GIVE_UP:
        return _give_up(pending, finding.sentence, use)
    if pending.delivery is Delivery.NOTICE:
        return _send(pending, use)
    if use.starter is None:
        return False
    try:
        start(ScheduledStart.model_validate_json(pending.event), use.starter)
    except (NameTakenError, InvalidStartError, ValueError) as error:
        _give_up(pending, str(error), use)
        raise
    return use.table.pending.forget(pending.delivery, pending.name)


def _send(pending: Pending, use: Dependencies) -> bool:
    """It is Notify that knows whether everybody was told, and forgets it then."""
    try:
        use.notices.send_again(json.loads(pending.event))
    except (TransientAwsError, ClientError, BotoCoreError) as error:
        logger.warning("notice not sent again", extra={"notice": pending.name, "error": str(error)})
    return False


def _give_up(pending: Pending, why: str, use: Dependencies) -> bool:
    given = {"delivery": pending.subject, "why": why, "given": pending.event[:MOST_LOGGED]}
    logger.error("a delivery is given up", extra=given)
    return use.table.pending.forget(pending.delivery, pending.name)
