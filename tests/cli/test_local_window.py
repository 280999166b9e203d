"""`nightspot run --local` of a job with a schedule, whole, and of a script that raises; and what is shown of it."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

JOB = f"""
name: raiser
schedule: {{cron: "30 2 ? * MON-FRI *", timezone: Europe/Dublin, paused: true}}
deadline: {{at: "08:00", timezone: Europe/Dublin}}
work: 1h
capacity: {{spot: [ml.g5.xlarge], on_demand: [ml.g5.xlarge]}}
training_job:
  RoleArn: arn:aws:iam::123456789012:role/raiser
  AlgorithmSpecification: {{TrainingImage: "raiser:1", TrainingInputMode: File}}
  OutputDataConfig: {{S3OutputPath: s3://raiser-models/nightly/}}
  CheckpointConfig: {{S3Uri: s3://raiser-checkpoints/nightly/}}
  ResourceConfig: {{InstanceCount: 1, VolumeSizeInGB: 10}}
  StoppingCondition: {{MaxRuntimeInSeconds: 7200}}
local: {{command: [{sys.executable}, train.py], time_scale: 200}}
"""


@pytest.mark.workflow
def test_a_failed_run_in_the_job_s_own_window_is_shown_and_watched(nightspot, tmp_path):
    (tmp_path / "job.yaml").write_text(JOB, encoding="utf-8")
    (tmp_path / "train.py").write_text('raise ValueError("no data today")', encoding="utf-8")
    command = [sys.executable, "-m", "nightspot", "run", "job.yaml", "--local", "--night", "interrupted"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120)
    assert (done.returncode, done.stderr) == (1, "")
    [path] = (tmp_path / "build" / "runs").glob("*.json")
    record = json.loads(path.read_text(encoding="utf-8"))
    began, due = (
        datetime.fromisoformat(record[name]).astimezone(ZoneInfo("Europe/Dublin"))
        for name in ("story_started_at", "deadline")
    )
    assert (f"{began:%H:%M}", f"{due:%H:%M}", due.date()) == ("02:30", "08:00", began.date())
    assert began.isoweekday() <= 5
    assert record["scheduled_at"] == record["story_started_at"] <= record["started_at"]
    assert record["outcome"] == "failed"
    for name, status, words in (
        ("show", 0, "1 h of work expected"),
        ("watch", 1, "FINISH failed"),
        ("logs", 0, "ValueError: no data today"),
    ):
        answer, as_json = nightspot(name), nightspot(name, "--json")
        assert (answer.status, answer.err, as_json.status, as_json.err) == (status, "", status, "")
        assert words in answer.out
