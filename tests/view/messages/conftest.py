"""Notices to tell of, made from the reference story's ledgers as the handlers make them."""

from __future__ import annotations

import pytest

from nightspot.failures.codes import FailureClass
from nightspot.record.events import OF_OUTCOME, RunEvent, of_run
from nightspot.record.summary import summarise
from nightspot.run.model import Outcome, Run
from nightspot.view.messages.content import Notice

ARN = "arn:aws:states:eu-west-1:123456789012:execution:nightspot-recommender:x"


class Notices:
    """Builders of notices; a test names only what it is about."""

    def __init__(self, story) -> None:
        self.story = story

    def fallen_back(self, ready: str = "07:03", **changes) -> Run:
        """Two interruptions on Spot, then on-demand from the checkpoint; ready at `ready`."""
        story = self.story
        spot = story.ended(
            FailureClass.STOPPED_BY_NIGHTSPOT,
            ended_at=story.at("05:00"),
            status="Stopped",
            waited_seconds=7200.0,
            trained_seconds=10_800.0,
            billable_seconds=3240.0,
            interruptions=2,
        )
        on_demand = story.ended(
            None,
            story.on_demand,
            number=2,
            training_job_name="nightspot-recommender-20261121-abc123-2",
            asked_at=story.at("05:01"),
            ended_at=story.at(ready),
            status="Completed",
            waited_seconds=120.0,
            trained_seconds=5400.0,
            billable_seconds=5400.0,
        )
        return self.over(Outcome.SUCCEEDED, attempts=[spot, on_demand], **changes)

    def quiet(self, **changes) -> Run:
        """One Spot job that went through."""
        story = self.story
        attempt = story.ended(
            None,
            ended_at=story.at("04:10"),
            status="Completed",
            waited_seconds=300.0,
            trained_seconds=14_400.0,
            billable_seconds=4320.0,
            **changes,
        )
        return self.over(Outcome.SUCCEEDED, attempts=[attempt])

    def failed(
        self, failure: FailureClass = FailureClass.USER_CODE, reason: str = "AlgorithmError: exit code 1"
    ) -> Run:
        """One Spot job that ended so after an hour."""
        attempt = self.story.ended(
            failure,
            status="Failed",
            ended_at=self.story.at("01:10"),
            failure_reason=reason,
            trained_seconds=3600.0,
            billable_seconds=1080.0,
        )
        ended = f"Spot ml.p4d.24xlarge ended as {failure.value}: {reason}"
        because = f"{ended}; not a capacity problem: no retry, no on-demand."
        return self.over(Outcome.FAILED, attempts=[attempt], outcome_because=because)

    def over(self, outcome: Outcome, **changes) -> Run:
        fields = {"outcome": outcome, "outcome_because": "the reason.", "execution_arn": ARN, **changes}
        return self.story.run(**fields)

    def closing(self, run: Run, *, zone: str = "UTC", **detail) -> Notice:
        """As `record_outcome` sends it."""
        summary = {**summarise(run).to_json(), **detail.pop("summary", {})}
        told = {
            "notice_id": f"{run.run_id}/9/{OF_OUTCOME[run.outcome].value}",
            "job": run.job,
            "run_id": run.run_id,
            "execution_arn": run.execution_arn,
            "deadline": run.deadline.isoformat(),
            "because": run.outcome_because,
            "happened": [run_event.value for run_event in of_run(run)],
            "summary": summary,
            **detail,
        }
        return Notice(OF_OUTCOME[run.outcome], told, zone)

    def at_once(self, run_event: RunEvent, **detail) -> Notice:
        """As `decide_next_step` sends it."""
        told = {
            "notice_id": f"20261121-abc123/4/{run_event.value}",
            "job": "recommender",
            "run_id": "20261121-abc123",
            "execution_arn": ARN,
            "deadline": "2026-11-21T08:00:00+00:00",
            "step": 4,
            "action": "watch",
            "because": "on-demand is starting; it should finish by 09:12 UTC, after 08:00 UTC.",
            "attempt": 2,
            "training_job_name": "nightspot-recommender-20261121-abc123-2",
            "market": "on_demand",
            "instance_type": "ml.p4d.24xlarge",
            "failure_class": None,
            **detail,
        }
        return Notice(run_event, told)

    def crash(self, **detail) -> Notice:
        """As the state machine sends it."""
        told = {
            "job": "recommender",
            "run_id": "20261121-abc123",
            "error": "KeyError",
            "cause": '{"errorMessage": "the ledger has no rungs", "errorType": "KeyError", "stackTrace": []}',
            "training_jobs_left_running": ["nightspot-recommender-20261121-abc123-1"],
            "execution_arn": ARN,
            **detail,
        }
        return Notice(RunEvent.DECISION_CRASHED, told)

    def any_of(self, run_event: RunEvent) -> Notice:
        """A notice of each event that can be told."""
        outcomes = {told: outcome for outcome, told in OF_OUTCOME.items()}
        if run_event is RunEvent.RUN_SUCCEEDED:
            return self.closing(self.fallen_back())
        if run_event is RunEvent.RUN_FAILED:
            return self.closing(self.failed())
        if run_event in outcomes:
            return self.closing(self.over(outcomes[run_event]))
        if run_event is RunEvent.DECISION_CRASHED:
            return self.crash()
        return self.at_once(run_event)


@pytest.fixture(scope="session")
def notices(story) -> Notices:
    return Notices(story)
