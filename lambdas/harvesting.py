"""Keeps the recorded life of a training job that has ended, where a deployment wants that.

Nothing of a run hangs on it: what goes wrong here is logged and counted, and that is all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nightspot.cassettes.harvest import SeenEvent, StoredFile, harvested
from nightspot.failures.redaction import redact
from nightspot.formats.run_ids import read_training_job_name
from nightspot.formats.statuses import ENDED
from nightspot.lambdas.dependencies import Dependencies
from nightspot.lambdas.observability import count, logger


def keep_cassette(training_job_name: str, event: Mapping[str, Any], use: Dependencies) -> str | None:
    """The S3 URI of the training job's cassette; None where none is wanted, or where it could not be made.

    Raises nothing. `event`: EventBridge's, of its end, which came now.
    """
    if not use.harvest_cassettes or use.reports is None:
        return None
    try:
        return _kept(training_job_name, event, use)
    # Whatever it is: a cassette is worth no dead letter and no late decision.
    except Exception as error:
        count("CassetteLost")
        said = {"training_job": training_job_name, "error": redact(repr(error))}
        logger.warning("the cassette was not kept", extra=said)
        return None


def _kept(training_job_name: str, event: Mapping[str, Any], use: Dependencies) -> str | None:
    named = read_training_job_name(training_job_name)
    run = None if named is None or named.is_drill else use.table.run(named.run_id)
    if run is None or use.reports is None:
        return None
    attempt = next((each for each in run.attempts if each.training_job_name == training_job_name), None)
    description = use.training_jobs.description(training_job_name)
    if attempt is None or description is None or description["TrainingJobStatus"] not in ENDED:
        return None
    uri = run.checkpoint_s3_uri
    cassette = harvested(
        description,
        run,
        attempt,
        steps=use.table.steps(run.run_id),
        files=() if uri is None else [StoredFile(*each) for each in use.checkpoints.files(uri)],
        events=(SeenEvent(event, use.now()),),
    )
    return use.reports.write_cassette(run.run_id, attempt.number, cassette.dump())
