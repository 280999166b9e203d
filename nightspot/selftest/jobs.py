"""Part C: live training jobs on one small machine, one question each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from botocore.exceptions import ClientError

from nightspot.aws.prices import Quotas, QuotasUnknownError
from nightspot.failures.classify import classify
from nightspot.formats.event_times import read_event_ms
from nightspot.formats.statuses import ENDED, Secondary, Status
from nightspot.job.markets import Market
from nightspot.job.request_shape import LARGEST_COUNT, LONGEST_VALUE
from nightspot.plan.planning import quota_name
from nightspot.selftest.lives import Life, Live
from nightspot.selftest.model import MACHINE, Check, Machine, NotTriedError, Seen
from nightspot.selftest.refusals import ACCEPTED
from nightspot.selftest.workspace import LONGEST_STOP_SECONDS, QUEUE_CALLS, Workspace, code_and_words

GPU = "ml.g4dn.xlarge"
MOST_PENDING_SECONDS = 1800  # the least that SageMaker takes
TRAINS = "Training"
SMALL_MB, LARGE_MB, MODEL_MB = 5, 1024, 500
_MINUTE = 60


def _trains(answer: Mapping[str, Any]) -> bool:
    return bool(answer["SecondaryStatus"] == TRAINS)


def _limit(seconds: int, wait: int | None = None) -> dict[str, Any]:
    spot = {} if wait is None else {"MaxWaitTimeInSeconds": wait}
    return {"MaxRuntimeInSeconds": seconds, **spot}


def _saw_all(seen: Seen, fact: str, values: Iterable[Any], life: Life, evidence: str = "") -> None:
    for value in values:
        seen.saw(fact, value, evidence, life.kept_as)


def _yes(is_so: bool) -> str:
    return "yes" if is_so else "no"


def checkpoints(workspace: Workspace, seen: Seen) -> None:
    """C1, with C10's request: how checkpoints travel, what Describe shows when, which events come."""
    story = {"seconds": 4 * _MINUTE, "counter": True, "small_mb": SMALL_MB, "large_mb": LARGE_MB}
    environment = {f"VARIABLE_{number}": "x" for number in range(LARGEST_COUNT - 1)}
    job = Live(
        workspace,
        "c1",
        story,
        StoppingCondition=_limit(10 * _MINUTE),
        Environment={**environment, "NIGHTSPOT_PROBE": json.dumps(story)},
        HyperParameters={"long": "x" * LONGEST_VALUE},
        ResourceConfig={"InstanceType": MACHINE, "InstanceCount": 1, "VolumeSizeInGB": 10},
    )
    job.start()
    workspace.shared["c10"] = ACCEPTED
    life = job.end("five minutes of saving")
    workspace.shared["c1"] = (job.prefix, life)
    started = next(life.said("started"), None)
    if started is None:
        raise NotTriedError(f"the probe has said nothing; the job is {life.end}")
    seen.saw("sagemaker.checkpoints.path", "there" if started["checkpoints"] else "absent", "", life.kept_as)
    _saw_all(seen, "sagemaker.checkpoints.lag.seconds", life.lags(r"small-\d+\.bin|counter\.json"), life)
    _saw_all(seen, "sagemaker.checkpoints.lag.large.seconds", life.lags(r"large\.bin"), life)
    drafts = {key for _, key, _ in life.stored() if key.endswith(".tmp")}
    seen.saw("sagemaker.checkpoints.partial", _yes(bool(drafts)), ", ".join(sorted(drafts)), life.kept_as)
    torn = life.torn()
    seen.saw("sagemaker.checkpoints.torn", _yes(bool(torn)), ", ".join(torn), life.kept_as)
    deleted = {str(note["file"]) for note in life.said("deleted")}
    uploaded = {key for _, key, _ in life.stored()} & deleted
    if uploaded:
        gone = {key for _, key, _ in life.stored("delete")}
        seen.saw("sagemaker.checkpoints.deleted", _yes(uploaded <= gone), "", life.kept_as)
    there = life.has_while(Status.IN_PROGRESS, "TrainingTimeInSeconds")
    seen.saw("sagemaker.describe.trainingtime", "present" if there else "absent", "", life.kept_as)
    _statuses(life, seen)
    _events(life, seen)


def _statuses(life: Life, seen: Seen) -> None:
    unknown = sorted({*life.statuses, life.answer["SecondaryStatus"]} - {each.value for each in Secondary})
    seen.saw(
        "sagemaker.status.names", ", ".join(unknown) or "all known", " ".join(life.statuses), life.kept_as
    )


def _events(life: Life, seen: Seen) -> None:
    events = life.events()
    ends = [detail for _, detail in events if detail.get("TrainingJobStatus") in ENDED]
    seen.saw("sagemaker.events.end", len(ends), f"{len(events)} events", life.kept_as)
    _saw_all(seen, "sagemaker.events.delay.seconds", life.event_delays(), life)
    # In a cassette a time that was read is an object; what was not stays as it came.
    for _, detail in events:
        time = detail.get("LastModifiedTime")
        is_read = isinstance(time, Mapping) or read_event_ms(time) is not None
        seen.saw(
            "sagemaker.events.time", "readable" if is_read else "unreadable", json.dumps(time), life.kept_as
        )


def stop_while_training(workspace: Workspace, seen: Seen) -> None:
    """C2, with C12's second stop: SIGTERM, its grace, the last file, the artefact."""
    story = {"seconds": 8 * _MINUTE, "counter": True, "model_mb": MODEL_MB, "linger": True}
    job = Live(workspace, "c2", story, StoppingCondition=_limit(10 * _MINUTE))
    job.start()
    if job.until(_trains):
        job.wait(90)
    job.stop()
    again = job.stop()
    if job.until(lambda answer: answer["SecondaryStatus"] == Secondary.UPLOADING):
        workspace.shared["c12"] = job.stop()
    life = job.end("stopped while it trains")
    seen.saw("sagemaker.stop.again", again, "", life.kept_as)
    _stopped(life, seen, "sagemaker.stop.training.seconds")
    seen.saw("sagemaker.stop.order", life.after_stop(), "", life.kept_as)
    seen.saw("sagemaker.stop.signal.arrives", _yes(any(life.said("sigterm"))), "", life.kept_as)
    if (seconds := life.term_seconds()) is not None:
        seen.saw("sagemaker.stop.signal.seconds", seconds, "", life.kept_as)
        saves = [note for note in life.said("wrote") if note["file"] == "last.json"]
        lags = life.lags(r"last\.json")
        if saves:
            seen.saw(
                "sagemaker.stop.lastfile",
                _yes(bool(lags)),
                f"{len(saves)} saves, {len(lags)} stored",
                life.kept_as,
            )
    seen.saw("sagemaker.stop.artifact", _yes(_has_model(workspace, job.name)), "", life.kept_as)
    _events(life, seen)


def most_parameters(workspace: Workspace, seen: Seen) -> None:
    """C10: C1's request had as many variables, and as long a hyperparameter, as a job file may have."""
    if "c10" not in workspace.shared:
        raise NotTriedError("needs C1's job")
    seen.saw("sagemaker.hyperparameters.count", workspace.shared["c10"])


def stop_while_uploading(workspace: Workspace, seen: Seen) -> None:
    """C12: C2's job was asked to stop again while it uploaded."""
    if "c12" not in workspace.shared:
        raise NotTriedError("C2's job was not seen to upload")
    seen.saw("sagemaker.stop.again", workspace.shared["c12"])


def _stopped(life: Life, seen: Seen, fact: str) -> None:
    seconds = life.stop_seconds()
    if seconds is not None:
        seen.saw(fact, seconds, " ".join(life.statuses), life.kept_as)


def _has_model(workspace: Workspace, name: str) -> bool:
    try:
        workspace.client("s3").head_object(
            Bucket=workspace.bucket(), Key=f"models/{name}/output/model.tar.gz"
        )
    except ClientError as error:
        if code_and_words(error)[0] in {"404", "NoSuchKey", "NotFound"}:
            return False
        raise
    return True


def stop_while_starting(workspace: Workspace, seen: Seen) -> None:
    """C3: one job is stopped at once, one a minute later, before it trains."""
    for part, seconds in (("c3-early", 1), ("c3-late", 60)):
        job = Live(workspace, part, {"seconds": _MINUTE}, StoppingCondition=_limit(2 * _MINUTE))
        job.start()
        job.until(lambda answer, s=seconds, j=job: _trains(answer) or _age(workspace, j) >= s)  # type: ignore[misc]
        job.stop()
        life = job.end(f"stopped {seconds} s after its creation")
        if TRAINS not in life.statuses:
            _stopped(life, seen, "sagemaker.stop.starting.seconds")
            seen.saw("sagemaker.stop.starting.billed.seconds", life.billed_seconds, "", life.kept_as)


def _age(workspace: Workspace, job: Live) -> float:
    return (workspace.now() - job.created_at).total_seconds()


def runtime_limit(workspace: Workspace, seen: Seen) -> None:
    """C4."""
    job = Live(workspace, "c4", {"seconds": 10 * _MINUTE}, StoppingCondition=_limit(60))
    job.start()
    life = job.end("into its MaxRuntimeInSeconds of 60")
    seen.saw("sagemaker.maxruntime.end", life.end, str(life.answer.get("FailureReason", "")), life.kept_as)
    seen.saw("sagemaker.maxruntime.overrun.seconds", max(0.0, life.billed_seconds - 60), "", life.kept_as)


def spot(workspace: Workspace, seen: Seen) -> None:
    """C5."""
    job = Live(
        workspace,
        "c5",
        {"seconds": 2 * _MINUTE, "counter": True},
        EnableManagedSpotTraining=True,
        StoppingCondition=_limit(5 * _MINUTE, 25 * _MINUTE),
    )
    job.start()
    life = job.end("on Spot, to its end")
    _statuses(life, seen)
    _events(life, seen)
    trained = float(life.answer.get("TrainingTimeInSeconds", 0))
    if not trained or life.answer["TrainingJobStatus"] != Status.COMPLETED:
        raise NotTriedError(f"there was no Spot machine to the end: {life.end}")
    seen.saw("sagemaker.spot.discount", round(life.billed_seconds / trained, 3), "", life.kept_as)


def no_spot_machine(workspace: Workspace, seen: Seen) -> None:
    """C6: a wait of one second, in which no machine can come."""
    job = Live(
        workspace, "c6", {"seconds": 1}, EnableManagedSpotTraining=True, StoppingCondition=_limit(1, 1)
    )
    job.start()
    life = job.end("Spot that waits for a second")
    seen.saw("sagemaker.spot.neverlaunched", _end_with_class(life), " ".join(life.statuses), life.kept_as)


def _end_with_class(life: Life) -> str:
    """Statuses at the end; of a failure with the classifier's answer."""
    if life.answer["TrainingJobStatus"] != Status.FAILED:
        return life.end
    failure = classify(status="Failed", failure_reason=str(life.answer.get("FailureReason", ""))).failure
    return f"{life.end} {failure.value}"


def failures(workspace: Workspace, seen: Seen) -> None:
    """C7: a script's own words, longer than AWS keeps, that sound like AWS's; and memory that ends."""
    for part, story, fact in (
        (
            "c7-exit",
            {"seconds": 5, "failure": "CapacityError: " + "mine " * 400, "exit": 1},
            "sagemaker.failure.exit",
        ),
        ("c7-memory", {"eat": True}, "sagemaker.failure.memory"),
    ):
        if workspace.emulator and "eat" in story:
            raise workspace.not_here("has this machine's memory")
        job = Live(workspace, part, story, StoppingCondition=_limit(5 * _MINUTE))
        job.start()
        life = job.end(f"fails: {part}")
        reason = str(life.answer.get("FailureReason", ""))
        failure = classify(status="Failed", secondary_status="Failed", failure_reason=reason).failure
        seen.saw(fact, failure.value, reason[:200], life.kept_as)
        seen.saw("sagemaker.failurereason.characters", len(reason), "", life.kept_as)


def restore(workspace: Workspace, seen: Seen) -> None:
    """C8: a second job on C1's prefix; an object is put there while it runs."""
    if "c1" not in workspace.shared:
        raise NotTriedError("needs C1's checkpoints")
    prefix, _ = workspace.shared["c1"]
    s3, bucket = workspace.client("s3"), workspace.bucket()
    before = {
        each["Key"].removeprefix(prefix): each["Size"]
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        for each in page.get("Contents", ())
    }
    job = Live(
        workspace, "c8", {"seconds": 3 * _MINUTE}, prefix=prefix, StoppingCondition=_limit(6 * _MINUTE)
    )
    job.start()
    if job.until(_trains):
        job.wait(10)
        s3.put_object(Bucket=bucket, Key=f"{prefix}put-later.bin", Body=b"later")
    life = job.end("resumes from another job's checkpoints")
    started, ended = next(life.said("started"), None), next(life.said("ended"), None)
    if started is None or ended is None:
        raise NotTriedError(f"the probe has not come to its end; the job is {life.end}")
    missing = sorted(name for name, size in before.items() if started["files"].get(name) != size)
    seen.saw("sagemaker.checkpoints.restored", _yes(not missing), ", ".join(missing), life.kept_as)
    pulled = "put-later.bin" in ended["files"]
    seen.saw("sagemaker.checkpoints.notpulled", _yes(pulled), "", life.kept_as)


def hosts(workspace: Workspace, seen: Seen) -> None:
    """C9: two machines on one prefix; one keeps an older progress file than the other writes."""
    if workspace.emulator:
        raise workspace.not_here("has one machine for a job")
    s3, bucket, prefix = workspace.client("s3"), workspace.bucket(), "checkpoints/c9/"
    s3.put_object(
        Bucket=bucket, Key=f"{prefix}progress.json", Body=json.dumps({"step": 100}).encode().ljust(512)
    )
    job = Live(
        workspace,
        "c9",
        {"seconds": 4 * _MINUTE, "hosts": True},
        ResourceConfig={"InstanceType": MACHINE, "InstanceCount": 2, "VolumeSizeInGB": 5},
        StoppingCondition=_limit(8 * _MINUTE),
    )
    job.start()
    if job.until(_trains):
        job.wait(90)
        job.stop()
    life = job.end("two machines on one prefix")
    found = s3.get_object(Bucket=bucket, Key=f"{prefix}progress.json")["Body"].read().rstrip(b"\0 ")
    step = json.loads(found).get("step")
    if len(list(life.said("host"))) < 2:
        raise NotTriedError(f"the two machines were not seen; the job is {life.end}")
    seen.saw("sagemaker.checkpoints.hosts", "newer" if step == 200 else "older", f"step {step}", life.kept_as)


def pending(workspace: Workspace, seen: Seen) -> None:
    """C11: how long an on-demand job of a scarce type waits, and how it ends where no machine comes.

    It is stopped as soon as it has one.
    """
    name = quota_name(Market.ON_DEMAND, GPU)
    try:
        limits = Quotas(workspace.client("service-quotas")).limits([name])
    except QuotasUnknownError as error:
        raise NotTriedError(str(error)) from error
    if not limits.get(name):
        raise NotTriedError(f"the account has no quota for {GPU}")
    job = Live(
        workspace,
        "c11",
        {"seconds": 10},
        ResourceConfig={"InstanceType": GPU, "InstanceCount": 1, "VolumeSizeInGB": 5},
        StoppingCondition={"MaxRuntimeInSeconds": 60, "MaxPendingTimeInSeconds": MOST_PENDING_SECONDS},
    )
    job.start()
    has_machine = job.until(
        lambda answer: (
            answer["TrainingJobStatus"] == Status.IN_PROGRESS
            and answer["SecondaryStatus"] not in {"Starting", "Pending"}
        ),
        MOST_PENDING_SECONDS + LONGEST_STOP_SECONDS,
    )
    waited = _age(workspace, job)
    if has_machine:
        job.stop()
    life = job.end("on-demand of a scarce type")
    seen.saw("sagemaker.capacity.pending.seconds", round(waited), " ".join(life.statuses), life.kept_as)
    # One that fails before has had its answer from the market.
    if not has_machine and (life.ended_after() or waited) >= MOST_PENDING_SECONDS - _MINUTE:
        seen.saw("sagemaker.maxpending.end", _end_with_class(life), " ".join(life.statuses), life.kept_as)
    _statuses(life, seen)


def key_refused(workspace: Workspace, seen: Seen) -> None:
    """C18: what S3 says to a reader of an object who may not use its key."""
    kms, s3, bucket = workspace.client("kms"), workspace.client("s3"), workspace.bucket()
    key = kms.create_key(Description="nightspot selftest; to be deleted")["KeyMetadata"]["KeyId"]
    workspace.made("key", key)
    s3.put_object(Bucket=bucket, Key="secret", Body=b"1", ServerSideEncryption="aws:kms", SSEKMSKeyId=key)
    arn = f"arn:{workspace.partition}:s3:::{bucket}/*"
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": arn}
    reader = workspace.as_caller({"Version": "2012-10-17", "Statement": [statement]})("s3")
    try:
        reader.get_object(Bucket=bucket, Key="secret")
    except ClientError as error:
        seen.saw("kms.denied.words", code_and_words(error)[0], ": ".join(code_and_words(error)))
        return
    if workspace.emulator:
        raise workspace.not_here("lets everybody use a key")
    seen.saw("kms.denied.words", ACCEPTED)


_JOB = (
    *("sagemaker:CreateTrainingJob", "sagemaker:AddTags", "sagemaker:StopTrainingJob"),
    *("sagemaker:DescribeTrainingJob", "logs:FilterLogEvents"),
    *("iam:CreateRole", "iam:PutRolePolicy", "iam:DeleteRolePolicy", "iam:DeleteRole", "iam:PassRole"),
    *(
        "s3:CreateBucket",
        "s3:PutBucketVersioning",
        "s3:ListBucketVersions",
        "s3:PutObject",
        "s3:DeleteObject",
    ),
    *("s3:DeleteObjectVersion", "s3:DeleteBucket"),
    *QUEUE_CALLS,
)
_READ = ("s3:GetObject", "s3:ListBucket")


def _facts(*names: str) -> tuple[str, ...]:
    return tuple(f"sagemaker.{name}" for name in names)


CHECKS = (
    Check(
        "C1",
        "How do checkpoints travel to S3, what does Describe show when, which events come?",
        _JOB,
        _facts(
            "checkpoints.path",
            "checkpoints.lag.seconds",
            "checkpoints.lag.large.seconds",
            "checkpoints.partial",
            "checkpoints.torn",
            "checkpoints.deleted",
            "describe.trainingtime",
            "status.names",
            "events.end",
            "events.delay.seconds",
            "events.time",
        ),
        checkpoints,
        minutes=9,
        jobs=(Machine(600),),
    ),
    Check(
        "C2",
        "What happens at a stop while it trains, and at a second one?",
        (*_JOB, *_READ),
        _facts(
            "stop.signal.arrives",
            "stop.signal.seconds",
            "stop.training.seconds",
            "stop.order",
            "stop.lastfile",
            "stop.artifact",
            "stop.again",
            "events.end",
            "events.delay.seconds",
            "events.time",
        ),
        stop_while_training,
        minutes=9,
        jobs=(Machine(600),),
    ),
    Check(
        "C3",
        "How long does a stop take before it trains, and is that billed?",
        _JOB,
        _facts("stop.starting.seconds", "stop.starting.billed.seconds"),
        stop_while_starting,
        minutes=8,
        jobs=(Machine(120), Machine(120)),
    ),
    Check(
        "C4",
        "How does a job end that runs into its limit?",
        _JOB,
        _facts("maxruntime.end", "maxruntime.overrun.seconds"),
        runtime_limit,
        minutes=6,
        jobs=(Machine(60),),
    ),
    Check(
        "C5",
        "What does a Spot job show, and what is billed?",
        _JOB,
        _facts("status.names", "events.end", "events.delay.seconds", "events.time", "spot.discount"),
        spot,
        minutes=9,
        jobs=(Machine(300),),
    ),
    Check(
        "C6",
        "How does Spot end that never had a machine?",
        _JOB,
        _facts("spot.neverlaunched"),
        no_spot_machine,
        minutes=3,
        jobs=(Machine(1),),
    ),
    Check(
        "C7",
        "How does AWS tell of a script that fails, and of memory that ends?",
        _JOB,
        _facts("failure.exit", "failure.memory", "failurereason.characters"),
        failures,
        minutes=10,
        jobs=(Machine(300), Machine(300)),
    ),
    Check(
        "C8",
        "Are all checkpoints there before the first process, and is anything pulled later?",
        (*_JOB, *_READ),
        _facts("checkpoints.restored", "checkpoints.notpulled"),
        restore,
        minutes=8,
        jobs=(Machine(360),),
        needs=("C1",),
    ),
    Check(
        "C9",
        "Whose progress file stands in S3 after two machines have stopped?",
        (*_JOB, *_READ),
        _facts("checkpoints.hosts"),
        hosts,
        minutes=8,
        jobs=(Machine(480, count=2),),
    ),
    Check(
        "C10",
        "Does AWS take 100 variables and a hyperparameter of 2,500 characters? (C1's job)",
        _JOB,
        _facts("hyperparameters.count"),
        most_parameters,
        needs=("C1",),
    ),
    Check(
        "C11",
        "What does an on-demand job of a scarce type show while it waits, and at the end of its longest wait?",
        (*_JOB, "servicequotas:ListServiceQuotas", "servicequotas:ListAWSDefaultServiceQuotas"),
        _facts("capacity.pending.seconds", "maxpending.end", "status.names"),
        pending,
        minutes=35,
        jobs=(Machine(60, instance_type=GPU),),
        opt_in="only",
    ),
    Check(
        "C12",
        "What does StopTrainingJob say while the job uploads? (C2's job)",
        _JOB,
        _facts("stop.again"),
        stop_while_uploading,
        needs=("C2",),
    ),
    Check(
        "C18",
        "What does S3 say to a reader who may not use the key?",
        (
            "kms:CreateKey",
            "kms:GenerateDataKey",
            "kms:ScheduleKeyDeletion",
            "sts:AssumeRole",
            "iam:CreateRole",
            "iam:PutRolePolicy",
            "iam:DeleteRolePolicy",
            "iam:DeleteRole",
            "s3:CreateBucket",
            "s3:PutBucketVersioning",
            "s3:ListBucketVersions",
            "s3:PutObject",
            "s3:GetObject",
            "s3:DeleteObject",
            "s3:DeleteObjectVersion",
            "s3:DeleteBucket",
        ),
        ("kms.denied.words",),
        key_refused,
        minutes=1,
        opt_in="kms",
    ),
)
