"""Part C on the simulated SageMaker, with the probe as a real process: each question gets its answer."""

from __future__ import annotations

import json
import sys

import pytest
from botocore.exceptions import ClientError

from nightspot.cassettes.model import read_cassette
from nightspot.facts.files import read_facts_file, write_facts_file
from nightspot.facts.model import Verdict
from nightspot.local.sagemaker.markets import SimulatedMarket
from nightspot.selftest import jobs
from nightspot.selftest.checks import CHECKS
from nightspot.selftest.lives import PROBE
from nightspot.selftest.model import Choice, Seen
from nightspot.selftest.running import play

QUICK = {
    "spot_provisioning_seconds": 20,
    "on_demand_provisioning_seconds": 20,
    "download_seconds": 10,
    "upload_seconds": 20,
    "sync_interval_seconds": 20,
}


@pytest.fixture
def live(account, actions, monkeypatch):
    """live(ids): the checks on a simulated SageMaker that has machines; the report and what was opened."""
    for name in ("SMALL_MB", "LARGE_MB", "MODEL_MB"):
        monkeypatch.setattr(jobs, name, 1)

    def run(*ids, scale=60, quota=1.0, **options):
        opened = account(
            scale=scale,
            market=options.pop("market", SimulatedMarket.always()),
            command=[sys.executable, str(PROBE)],
            **{**QUICK, **options},
        )
        others = opened.workspace.client
        opened.workspace.client = lambda service: (
            Quotas(**{jobs.GPU: quota}) if service == "service-quotas" else others(service)
        )
        chosen = Choice(only=frozenset(ids)).of(CHECKS)
        report = play(opened.workspace, chosen, parallel=2)
        assert actions(opened.calls) <= {call for check in chosen for call in check.calls}
        return report, opened

    return run


class Quotas:
    """Service Quotas, which moto has for VPC alone; it lists no value that was never applied."""

    def __init__(self, **limits):
        self._limits = limits

    def get_paginator(self, operation):
        self._listed = self._limits if operation == "list_service_quotas" else {}
        return self

    def paginate(self, **asked):
        assert asked["ServiceCode"] == "sagemaker"
        name = "{} for training job usage"
        return [
            {"Quotas": [{"QuotaName": name.format(kind), "Value": n} for kind, n in self._listed.items()]}
        ]


def observed(report):
    return {each.id: each for each in report.file.facts}


def because(report):
    return {each.check.id: each.because for each in report.results if each.because}


@pytest.mark.long
def test_a_job_that_saves_shows_how_checkpoints_travel_and_the_next_one_what_is_restored(live):
    report, _ = live("C1", "C8", "C10")
    facts = observed(report)

    assert because(report) == {}
    assert facts["sagemaker.checkpoints.path"].observed == ("there",)
    lags = facts["sagemaker.checkpoints.lag.seconds"]
    assert len(lags.observed) >= 2
    # No upper bound: a busy second here is 60 s of the story.
    assert min(lags.observed) >= 0
    assert facts["sagemaker.checkpoints.torn"].observed == ("no",)
    assert facts["sagemaker.describe.trainingtime"].observed == ("absent",)
    assert facts["sagemaker.status.names"].observed == ("all known",)
    assert facts["sagemaker.hyperparameters.count"].observed == ("accepted",)
    assert facts["sagemaker.checkpoints.restored"].observed == ("yes",)
    assert facts["sagemaker.checkpoints.notpulled"].observed == ("no",)
    assert {each.verdict for each in facts.values()} <= {Verdict.AS_DESIGNED, Verdict.SAFE}
    assert report.file.usd > 0
    assert report.file.left_behind == ()


@pytest.mark.long
def test_a_stop_while_it_trains_shows_signal_grace_order_and_artefact(live):
    report, _ = live("C2", "C12")
    facts = observed(report)

    assert facts["sagemaker.stop.signal.arrives"].observed == ("yes",)
    (grace,) = facts["sagemaker.stop.signal.seconds"].observed
    assert grace > 0, "120 s by the simulation; a busy second here is 60 s of the story"
    assert facts["sagemaker.stop.artifact"].observed == ("yes",)
    assert facts["sagemaker.stop.order"].observed == ("Stopping Uploading Stopped",)
    assert facts["sagemaker.stop.training.seconds"].observed[0] > 100
    assert set(facts["sagemaker.stop.again"].observed) == {"stopped_by_person"}
    assert facts["sagemaker.stop.again"].verdict is Verdict.AS_DESIGNED


@pytest.mark.long
def test_a_stop_before_it_trains(live):
    report, _ = live("C3", on_demand_provisioning_seconds=600)
    facts = observed(report)

    assert len(facts["sagemaker.stop.starting.seconds"].observed) == 2
    assert len(facts["sagemaker.stop.starting.billed.seconds"].observed) == 2


@pytest.mark.long
def test_a_job_into_its_limit(live):
    report, _ = live("C4")

    assert observed(report)["sagemaker.maxruntime.end"].observed == ("Stopped MaxRuntimeExceeded",)


@pytest.mark.long
def test_spot_to_its_end_shows_the_discount(live):
    report, _ = live("C5", spot_discount=0.7)
    (share,) = observed(report)["sagemaker.spot.discount"].observed

    assert share == pytest.approx(0.3, abs=0.05)


@pytest.mark.long
def test_a_script_s_own_words_are_not_taken_for_aws_s(live):
    report, _ = live("C7")
    facts = observed(report)

    assert facts["sagemaker.failure.exit"].observed == ("user_code",)
    assert facts["sagemaker.failurereason.characters"].observed[0] <= 1024
    assert because(report)["C7"] == "the simulated SageMaker has this machine's memory"


def test_a_scarce_type_without_a_machine_shows_how_its_longest_wait_ends(live):
    # The 1,800 s of the limit pass in half a second.
    report, opened = live("C11", scale=3600, market=SimulatedMarket.never())
    facts = observed(report)

    assert because(report) == {}
    assert facts["sagemaker.maxpending.end"].observed == ("Stopped Stopped",)
    assert facts["sagemaker.maxpending.end"].verdict is Verdict.AS_DESIGNED
    assert facts["sagemaker.maxpending.end"].evidence == ("Starting Pending Stopping Stopped",)
    assert facts["sagemaker.capacity.pending.seconds"].observed[0] >= jobs.MOST_PENDING_SECONDS
    (job,) = opened.simulator.states()
    assert job.request["ResourceConfig"]["InstanceType"] == jobs.GPU
    assert report.file.usd == 0


def test_a_scarce_type_that_has_a_machine_is_stopped_at_once(live):
    report, _ = live("C11", scale=600)
    facts = observed(report)

    assert because(report) == {}
    assert "sagemaker.maxpending.end" not in facts
    assert facts["sagemaker.capacity.pending.seconds"].observed[0] >= QUICK["on_demand_provisioning_seconds"]
    assert facts["sagemaker.status.names"].observed == ("all known",)
    assert report.file.left_behind == ()


def test_a_scarce_type_that_aws_refuses_before_the_limit_says_nothing_of_the_limit(live):
    report, _ = live("C11", scale=3600, market=SimulatedMarket.never(), on_demand_fails_after_seconds=600.0)

    assert "sagemaker.maxpending.end" not in observed(report)
    assert observed(report)["sagemaker.capacity.pending.seconds"].observed[0] >= 600


def test_a_scarce_type_without_a_quota_starts_nothing(live):
    report, opened = live("C11", quota=0.0)

    assert because(report)["C11"] == f"the account has no quota for {jobs.GPU}"
    assert opened.simulator.states() == []


@pytest.mark.parametrize(
    ("check_id", "reason"),
    [("C9", "has one machine for a job"), ("C18", "lets everybody use a key")],
)
def test_what_the_simulation_cannot_show_is_not_tried(live, check_id, reason):
    report, _ = live(check_id)

    assert report.results[0].verdict is Verdict.NOT_TRIED
    assert because(report)[check_id] == f"the simulated SageMaker {reason}"


def test_spot_without_a_machine_is_the_market_s_end_and_is_kept_without_names(live, tmp_path):
    report, opened = live("C6", market=SimulatedMarket.never())

    (fact,) = report.file.facts
    (name,) = opened.workspace.cassettes
    text = opened.workspace.cassettes[name]
    path = write_facts_file(report.file, tmp_path)

    assert fact.observed == ("Stopped MaxWaitTimeExceeded",)
    assert fact.verdict is Verdict.AS_DESIGNED
    assert fact.cassette.startswith(f"{name}#")
    assert read_facts_file(path) == report.file
    assert read_cassette(text).description["SecondaryStatus"] == "MaxWaitTimeExceeded"
    assert json.loads(text)["origin"] == "simulation"
    for secret in ("123456789012", opened.workspace.token, opened.workspace.bucket()):
        assert secret not in text
        assert secret not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        ("AccessDenied", Verdict.AS_DESIGNED),
        ("KMS.DisabledException", Verdict.BREAKS),
        (None, Verdict.BREAKS),
    ],
    ids=["denied", "another code", "lets everybody read"],
)
def test_what_s3_says_of_a_key_that_may_not_be_used_is_what_reading_progress_rests_on(account, code, verdict):
    """The reader's answer is recorded: moto lets everybody use a key."""
    workspace, seen = account().workspace, Seen()
    workspace.emulator = ""

    class Reader:
        def get_object(self, **asked):
            assert asked == {"Bucket": workspace.bucket(), "Key": "secret"}
            if code is not None:
                raise ClientError({"Error": {"Code": code, "Message": "no kms:Decrypt"}}, "GetObject")

    allowed = []
    workspace.as_caller = lambda policy: allowed.append(policy) or (lambda _service: Reader())
    jobs.key_refused(workspace, seen)

    (fact,) = seen.observations(workspace.now())
    assert fact.observed == (code or "accepted",)
    assert fact.verdict is verdict
    (statement,) = allowed[0]["Statement"]
    assert statement["Action"] == "s3:GetObject"
    head = workspace.client("s3").head_object(Bucket=workspace.bucket(), Key="secret")
    assert head["ServerSideEncryption"] == "aws:kms"
    assert workspace.clean_up() == []


@pytest.mark.parametrize(("step", "whose"), [(200, "newer"), (100, "older")])
def test_of_two_machines_on_one_prefix_it_is_said_whose_file_stands_in_s3(account, step, whose):
    """What the two machines write is recorded: the simulation has one machine for a job."""
    opened = account(scale=3600, market=SimulatedMarket.always(), **QUICK)
    workspace, seen = opened.workspace, Seen()
    workspace.emulator = ""

    def lines(_job):
        progress = json.dumps({"step": step})
        workspace.client("s3").put_object(
            Bucket=workspace.bucket(), Key="checkpoints/c9/progress.json", Body=progress.ljust(512)
        )
        at = opened.clock.now().timestamp()
        return [json.dumps({"probe": "host", "at": at, "name": f"algo-{n}"}) for n in (1, 2)]

    workspace.logs = lines
    jobs.hosts(workspace, seen)

    facts = {each.id: each for each in seen.observations(workspace.now())}
    assert facts["sagemaker.checkpoints.hosts"].observed == (whose,)
    (job,) = opened.simulator.states()
    assert job.request["ResourceConfig"]["InstanceCount"] == 2
