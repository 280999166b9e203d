"""What a person is told about a failure: what its class means, what a run does, what they can do."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from nightspot.failures.classify import Failure
from nightspot.failures.codes import FailureClass
from nightspot.failures.texts import quota_name


@dataclass(frozen=True)
class Explanation:
    """One class of failure in whole sentences."""

    meaning: str
    answer: str
    advice: str


EXPLANATIONS: dict[FailureClass, Explanation] = {
    FailureClass.NO_CAPACITY: Explanation(
        meaning="AWS had no machine of this type in this market when it was asked for, or none came within "
        "MaxPendingTimeInSeconds.",
        answer="Tries again on the rung that the deadline still allows, after a pause that grows; it never "
        "counts "
        "as a retry, and on-demand takes over from the last checkpoint while there is time.",
        advice="Name a second instance type under capacity.spot, and more subnets in other zones if the job runs "
        "in a VPC; if on-demand is empty as well, add another type under capacity.on_demand.",
    ),
    FailureClass.INTERRUPTED: Explanation(
        meaning="The Spot machine was interrupted. Work since the last checkpoint is lost, the rest is safe.",
        answer="Tries again from the last checkpoint on the rung that the deadline still allows; a rung that is "
        "interrupted three times without a new checkpoint gives way to the next Spot type.",
        advice="Nothing has to be done. If it happens often, save checkpoints more often (checkpoint_every) "
        "or put "
        "another instance type first.",
    ),
    FailureClass.WAIT_LIMIT: Explanation(
        meaning="Spot capacity did not come, or did not come back, before MaxWaitTimeInSeconds was used up. AWS "
        "calls that Stopped; it is not a success.",
        answer="Tries again from the last checkpoint on the rung that the deadline still allows, on-demand "
        "included. A Spot rung that used its time for training, more than for waiting, and saved nothing new is "
        "left out for the rest of the run.",
        advice="Nothing has to be done for tonight. If it happens every night, start earlier or name a second "
        "instance type under capacity.spot. If the job file has a MaxWaitTimeInSeconds, leave it out: a run sets "
        "one from its deadline.",
    ),
    FailureClass.RUNTIME_LIMIT: Explanation(
        meaning="The training ran longer than the time it was given: MaxRuntimeInSeconds, or the time limit "
        "of the "
        "state machine's task. Interruptions repeat work, so it may have come close to its end.",
        answer="Continues from the newest checkpoint, as after an interruption, if the attempt saved one. "
        "Without one it ends the run, because the same again would end alike. It also ends once the attempts "
        "together have used up the paid time, which is the job file's MaxRuntimeInSeconds.",
        advice="Raise StoppingCondition.MaxRuntimeInSeconds (28 days at most) and `work` in the job file; "
        "`nightspot validate` says how much is enough. If no checkpoint was saved, save them more often, or find "
        "out in the training job's log why it became slower. `nightspot retry` continues from the last "
        "checkpoint.",
    ),
    FailureClass.QUOTA_TEMPORARY: Explanation(
        meaning="Other jobs of this account use up the quota for this instance type at the moment.",
        answer="Tries again on the rung that the deadline still allows, after a pause that grows; another job "
        "may "
        "have ended by then.",
        advice="In Service Quotas, under Amazon SageMaker, ask for a higher quota for this instance type; "
        "Spot and "
        "on-demand have one each ('… for spot training job usage', '… for training job usage'). Or let the jobs "
        "run at different hours.",
    ),
    FailureClass.QUOTA_PERMANENT: Explanation(
        meaning="The account's quota is 0 or lower than what the job asks for, or the type does not exist in "
        "this "
        "region. Waiting never helps.",
        answer="Leaves the rung out for the rest of the run and goes on with the others.",
        advice="In Service Quotas, under Amazon SageMaker, ask for a quota of at least InstanceCount for this "
        "instance type; Spot and on-demand have one each ('… for spot training job usage', '… for training job "
        "usage'). A type that the region does not have must leave the job file.",
    ),
    FailureClass.THROTTLED: Explanation(
        meaning="Too many calls to AWS's API at once. Nothing is wrong with the job.",
        answer="Asks again, later and later with jitter, on the same rung.",
        advice="Nothing has to be done. If it happens every night, let several jobs start some minutes apart.",
    ),
    FailureClass.SERVICE_FAULT: Explanation(
        meaning="AWS failed inside, or could not be reached.",
        answer="Tries the same again, at most twice without a new checkpoint; the same reason in the same "
        "phase a "
        "second time ends the run.",
        advice="Look at the AWS Health Dashboard. If it comes back in the same phase, suspect the checkpoints: "
        "saving or restoring very big ones is known to end so. Make them smaller, keep fewer, or ask AWS "
        "Support.",
    ),
    FailureClass.USER_CODE: Explanation(
        meaning="The training script or its container ended with an error. What stands behind AlgorithmError is "
        "its own text. Exit code 137 is a kill, most often for want of memory; 139 is a crash in native code.",
        answer="Ends the run: another machine would fail alike. No retry, no on-demand.",
        advice="Read the training job's log in CloudWatch (/aws/sagemaker/TrainingJobs), fix the script, and "
        "try it with `nightspot run FILE --local` first.",
    ),
    FailureClass.OUT_OF_MEMORY: Explanation(
        meaning="The machine, or its GPU, had too little memory for the job.",
        answer="Ends the run: the same type would run out again. No retry, no on-demand.",
        advice="Name an instance type with more memory on every rung of the ladder, or make batches and the data "
        "that is held in memory smaller.",
    ),
    FailureClass.CONFIGURATION: Explanation(
        meaning="AWS refused the request, or could not use what it names: image, data, network, a parameter.",
        answer="Ends the run: the same request would be refused again. No retry, no on-demand. A request for "
        "Spot "
        "that is refused before there is a training job only takes its rung out: the fault may be in what Spot "
        "alone has, such as MaxWaitTimeInSeconds. On-demand is then asked once, which costs nothing if it is "
        "refused too.",
        advice="The text names the field or the resource. Fix the job file and check it with `nightspot "
        "validate`; check that image, S3 prefix, subnets and security groups exist in this region.",
    ),
    FailureClass.PERMISSION: Explanation(
        meaning="A role may not do what the job needs, cannot be assumed, or its credentials are not valid.",
        answer="Ends the run: asking again changes no policy. No retry, no on-demand.",
        advice="Check, in this order: that the training role trusts sagemaker.amazonaws.com; that the caller may "
        "pass it (iam:PassRole); that the role may read the data and the image and write to both buckets; that "
        "bucket, KMS key and ECR repository policies let it. Data buckets of your own go into "
        "nightspot:data_bucket_names.",
    ),
    FailureClass.STOPPED_BY_PERSON: Explanation(
        meaning="Somebody, or some other program, stopped the training job. It is not a success.",
        answer="Ends the run as stopped: whoever stopped it did not want it to go on. No retry, no on-demand.",
        advice="CloudTrail (StopTrainingJob) says who it was. Start the run again by hand if it was a mistake.",
    ),
    FailureClass.STOPPED_BY_NIGHTSPOT: Explanation(
        meaning="Nightspot itself stopped the training job, to continue from its checkpoint elsewhere.",
        answer="Tries again on the rung for which it was stopped, from the last checkpoint.",
        advice="Nothing has to be done; the decision before the stop says why.",
    ),
    FailureClass.UNKNOWN: Explanation(
        meaning="Nightspot does not know this text or status, so its cause is not known.",
        answer="Ends the run, loudly (metric, notice and alarm UnknownFailure): an unknown failure never buys "
        "anything.",
        advice="Read the text and the training job's log. If it should have been understood, report the text "
        "as it "
        "stands here; it is redacted.",
    ),
}


# Quotas by their names in Service Quotas, first match wins: what each counts, and what helps but a higher one.
_QUOTAS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), advice)
    for pattern, advice in (
        (
            r"processing job",
            "It counts processing jobs, not training: the rules of SageMaker's Debugger and Profiler run as such "
            "beside a training job. Take DebugRuleConfigurations and ProfilerRuleConfigurations out of "
            "training_job, or "
            "ask for a higher quota of this name in Service Quotas, under Amazon SageMaker.",
        ),
        (
            r"warm pool",
            "It counts machines that stay warm after a training job. Take KeepAlivePeriodInSeconds out of "
            "training_job "
            "(Spot has no warm pools), or ask for a higher quota of this name in Service Quotas, under Amazon "
            "SageMaker.",
        ),
        (
            r"run ?time",
            "It is the longest that a training job may run here. Lower StoppingCondition.MaxRuntimeInSeconds, "
            "or ask "
            "for a higher quota of this name in Service Quotas, under Amazon SageMaker.",
        ),
        (
            r"volume|\bEBS\b|storage",
            "It is the size of an instance's volume. Lower ResourceConfig.VolumeSizeInGB, or ask for a higher "
            "quota of "
            "this name in Service Quotas, under Amazon SageMaker.",
        ),
        (
            r"tuning job|parallel",
            "It counts tuning jobs or their trials. Let fewer run at once, or ask for a higher quota of this "
            "name in "
            "Service Quotas, under Amazon SageMaker.",
        ),
        (
            r"across all|total number",
            "It counts the instances of all such jobs of the account in this region, whatever their type: "
            "another "
            "instance type does not help. Let the jobs run at different hours, or ask for a higher quota of "
            "this name in "
            "Service Quotas, under Amazon SageMaker.",
        ),
        (
            r"per training job|for a training job",
            "It is how many instances one training job may have. Lower ResourceConfig.InstanceCount, or ask "
            "for a "
            "higher quota of this name in Service Quotas, under Amazon SageMaker.",
        ),
        (
            r"endpoint|transform job|notebook|cluster|studio|\bapps?\b|hosting",
            "It does not count training jobs. Ask for a higher quota of this name in Service Quotas, under "
            "Amazon "
            "SageMaker, or end what uses it up.",
        ),
        (
            r"training plan|reserved capacity",
            "It counts capacity that was reserved ahead. Ask for a higher quota of this name in Service "
            "Quotas, under "
            "Amazon SageMaker.",
        ),
    )
)
_EC2_QUOTA = (
    "It is a quota of Amazon EC2, by vCPUs, which SageMaker's own training jobs do not count against: look "
    "whose call "
    "it was, and ask for more in Service Quotas, under Amazon Elastic Compute Cloud."
)
# What AWS says of a failed job where the general advice would send its reader to the wrong place.
_DETAILS: tuple[tuple[FailureClass, re.Pattern[str], str], ...] = (
    (
        FailureClass.CONFIGURATION,
        re.compile(r"failed archive status|archiv\w* .{0,40}fail|fail\w* .{0,40}\barchiv", re.IGNORECASE),
        "SageMaker could not pack what the training wrote: it packs /opt/ml/model and /opt/ml/output on the "
        "instance's "
        "own volume, so that volume was most likely full. Raise ResourceConfig.VolumeSizeInGB, write less "
        "there (old "
        "checkpoints and data belong into /opt/ml/checkpoints or are deleted), and write no files while the "
        "training "
        "ends. Image and network are not at fault.",
    ),
    (
        FailureClass.CONFIGURATION,
        re.compile(
            r"no space left|disk (?:is )?full|insufficient disk|not enough (?:disk )?space", re.IGNORECASE
        ),
        "The instance's volume was full. Raise ResourceConfig.VolumeSizeInGB, or read the data as FastFile or "
        "Pipe "
        "(InputMode), which keeps none of it on the volume.",
    ),
    (
        FailureClass.CONFIGURATION,
        re.compile(r"Artifact upload failed", re.IGNORECASE),
        "The training ended, and what it wrote could not be stored: the text says why. Check that "
        "S3OutputPath names "
        "a bucket of this region that the training role may write to, and that subnets have a way to S3.",
    ),
)


_NO_REASON = "It failed, or is in a state that Nightspot does not know, and nothing here says why."
_ASK_FOR_REASON = (
    "Ask for the reason: aws sagemaker describe-training-job --training-job-name NAME | nightspot explain -"
)


def explain(failure: Failure) -> Explanation:
    """The explanation of its class, its advice made as particular as the failure's text allows."""
    explained = EXPLANATIONS[failure.failure]
    if failure.failure is FailureClass.UNKNOWN and not failure.reason:
        return replace(explained, meaning=_NO_REASON, advice=_ASK_FOR_REASON)
    if failure.failure in {FailureClass.QUOTA_TEMPORARY, FailureClass.QUOTA_PERMANENT}:
        return replace(explained, advice=_quota_lead(failure) + (_of_quota(failure) or explained.advice))
    detail = next(
        (
            advice
            for of, pattern, advice in _DETAILS
            if of is failure.failure and pattern.search(failure.reason)
        ),
        None,
    )
    if detail is not None:
        return replace(explained, advice=detail)
    action = re.search(r"(?:perform: |allows the |has )([a-z0-9-]{2,40}:[A-Z][A-Za-z]{2,60})", failure.reason)
    if failure.failure is FailureClass.PERMISSION and action:
        return replace(explained, advice=f"The permission that is missing is {action[1]}. {explained.advice}")
    return explained


def _of_quota(failure: Failure) -> str | None:
    """The advice about the quota that the text names; None for those of training by instance type."""
    if re.search(r"\bvCPU", failure.reason):
        return _EC2_QUOTA
    name = quota_name(failure.reason)
    if name is None:
        return None
    return next((advice for pattern, advice in _QUOTAS if pattern.search(name)), None)


def _quota_lead(failure: Failure) -> str:
    name = quota_name(failure.reason)
    if name:
        return f"The quota is '{name}'. "
    return f"It is a {failure.quota_market.label} quota. " if failure.quota_market else ""
