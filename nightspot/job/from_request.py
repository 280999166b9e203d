"""How a training job that exists already reads as a job file: out of its request, or of what AWS answers of it."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any

import yaml

from nightspot.formats.figures import (
    HOUR_SECONDS,
    MINUTE_SECONDS,
    DurationError,
    format_duration,
    parse_duration,
)
from nightspot.formats.run_ids import JOB_NAME_CHARACTERS, read_training_job_name
from nightspot.formats.statuses import Status
from nightspot.job.code_version import CODE_PARAMETERS, PROGRAM, SUBMIT_DIRECTORY
from nightspot.job.errors import WHOLE_FILE, InvalidJobError, Problem, describe, problem
from nightspot.job.markets import LONGEST_WITHOUT_CHECKPOINTS_SECONDS
from nightspot.job.model import ChangeOver, Mlflow, Tracking, Wandb, dig
from nightspot.job.rules import HETEROGENEOUS
from nightspot.job.times import LONGEST_SECONDS

# The fields of a CreateTrainingJob request; a test holds both tables against botocore's model.
# fmt: off
REQUEST_FIELDS = frozenset({
    "AlgorithmSpecification", "CheckpointConfig", "DebugHookConfig",
    "DebugRuleConfigurations", "EnableInterContainerTrafficEncryption",
    "EnableManagedSpotTraining", "EnableNetworkIsolation", "Environment",
    "ExperimentConfig", "HyperParameters", "InfraCheckConfig", "InputDataConfig",
    "MlflowConfig", "ModelPackageConfig", "OutputDataConfig", "ProfilerConfig",
    "ProfilerRuleConfigurations", "RemoteDebugConfig", "ResourceConfig",
    "RetryStrategy", "RoleArn", "ServerlessJobConfig", "SessionChainingConfig",
    "StoppingCondition", "Tags", "TensorBoardOutputConfig", "TrainingJobName", "VpcConfig",
})
# What DescribeTrainingJob says beside them: what became of the job, and nothing to ask for.
ANSWER_FIELDS = frozenset({
    "AutoMLJobArn", "BillableTimeInSeconds", "BillableTokenCount", "CreationTime",
    "DebugRuleEvaluationStatuses", "FailureReason", "FinalMetricDataList",
    "LabelingJobArn", "LastModifiedTime", "MlflowDetails", "ModelArtifacts",
    "OutputModelPackageArn", "ProfilerRuleEvaluationStatuses", "ProfilingStatus",
    "ProgressInfo", "SecondaryStatus", "SecondaryStatusTransitions", "TrainingEndTime",
    "TrainingJobArn", "TrainingJobStatus", "TrainingStartTime", "TrainingTimeInSeconds",
    "TuningJobArn", "WarmPoolStatus",
})
# fmt: on
# What the SDK's sagemaker.workflow.airflow.training_config(estimator) says beside the request of an estimator.
_UPLOADS = "S3Operations"
_WRAPPERS = frozenset({"ResponseMetadata"})  # boto3's own, around every answer

# The SDK's unique names end in a moment: recommender-2026-11-20-03-12-45-123.
_MOMENT = re.compile(r"-\d{4}-\d{2}-\d{2}-\d{2}-\d{2}-\d{2}(-\d{3})?$")
_JOB = "training_job"
_PREFIX = ("CheckpointConfig", "S3Uri")
_GROUPS = ("ResourceConfig", "InstanceGroups")
_SUBMITTED = f"{_JOB}.HyperParameters.{SUBMIT_DIRECTORY}"


@dataclass(frozen=True)
class Wishes:
    """What the author says beside the request, in the words of a job file; None where a guess is welcome.

    `schedule` is a time of day, a cron or a rate; `deadline` a time of day or a duration; `instance_types` are
    the ladder of both markets; `on_demand` False is `fallback: never`; `command` trains on this machine.
    """

    name: str | None = None
    schedule: str | None = None
    deadline: str | None = None
    timezone: str | None = None
    work: str | None = None
    instance_types: tuple[str, ...] = ()
    on_demand: bool = True
    command: tuple[str, ...] = ()


@dataclass(frozen=True)
class DraftedJob:
    """A job file before it is text: its document, one comment per top key that deserves one, and notes on what
    was changed or left out (each with field, value and reason)."""

    document: dict[str, Any]
    comments: dict[str, str] = field(default_factory=dict)
    notes: tuple[Problem, ...] = ()


def draft_job(
    given: object, wishes: Wishes | None = None, *, source: str = "<string>", named_after: str = ""
) -> DraftedJob:
    """The job file of the request or description `given` (plain data, as JSON or YAML reads it).

    `named_after` names the job where neither a wish nor the request does. The draft has not been held
    against the rules of job files: `parse_job` does that. Raises InvalidJobError where `given` is neither,
    where nothing names the job or its machine, and where a wish means nothing.
    """
    wishes = wishes or Wishes()
    found = _tidy(_described(given, source))
    outside = _not_asked(found)
    request = {key: value for key, value in found.items() if key not in outside}
    measured = _measured(found)
    name = wishes.name or name_of(request.get("TrainingJobName")) or named_after
    types = wishes.instance_types or _types(request)
    work = wishes.work or guessed_work_seconds(request, measured)
    problems = [*_missing(name, types, work, request), *_timeless_zone(wishes)]
    if problems:
        raise InvalidJobError(problems, source)
    # What a newer SageMaker answers may be left out; what a plain request asks for is for the rules to refuse.
    notes = [_unknown(key) for key in sorted(outside - ANSWER_FIELDS - _WRAPPERS)] + _changed(request)
    comments = {"work": work_comment(measured, said=bool(wishes.work))}
    return DraftedJob(_document(name, list(types), work or 0, request, wishes), comments, tuple(notes))


def with_code(draft: DraftedJob, code: Mapping[str, str]) -> DraftedJob:
    """The draft with files of this machine as its section `code`, in place of those that the request was given.

    `code` is source_dir, entry_point and perhaps requirements, as a job file has them.
    """
    document = dict(draft.document)
    request, local = dict(document.pop(_JOB)), document.pop("local", None)
    parameters = {
        name: value
        for name, value in request.get("HyperParameters", {}).items()
        if name not in CODE_PARAMETERS
    }
    if "HyperParameters" in request:
        request["HyperParameters"] = parameters
    document |= {"code": dict(code), _JOB: request}
    document["local"] = local or {"time_scale": time_scale_of(document["work"])}
    comment = "The folder of the training script, from this file's; it travels with the deployment."
    notes = tuple(note for note in draft.notes if note.field != _SUBMITTED)
    return DraftedJob(document, {**draft.comments, "code": comment}, notes)


def _missing(
    name: str, types: tuple[str, ...], work: str | int | None, request: Mapping[str, Any]
) -> Iterator[Problem]:
    """What no job file can do without, and neither the author nor the request says."""
    if not name:
        yield Problem("name", "nothing", "is required: the request has no name, so give one with --name")
    groups = dig(dict(request), *_GROUPS)
    if groups is not None:
        yield problem((_JOB, *_GROUPS), groups, HETEROGENEOUS)
    elif not types:
        rule = "is required: it is the first rung of the ladder under capacity"
        yield problem((_JOB, "ResourceConfig", "InstanceType"), None, rule)
    if work is None:
        rule = (
            "is required: neither a measured training nor MaxRuntimeInSeconds says how long it takes, "
            "so say it with --work"
        )
        yield Problem("work", "nothing", rule)


def _document(
    name: str, types: list[str], work: str | int, request: dict[str, Any], wishes: Wishes
) -> dict[str, Any]:
    document: dict[str, Any] = {"name": name}
    if wishes.schedule:
        document["schedule"] = schedule_of(wishes.schedule, wishes.timezone)
    document["deadline"] = deadline_of(wishes.deadline, wishes.timezone, work)
    document["work"] = work if isinstance(work, str) else duration_text(work)
    document["capacity"] = {"spot": types, "on_demand": types} if wishes.on_demand else {"spot": types}
    document["fallback"] = "on_demand" if wishes.on_demand else "never"
    document["interruptible"] = "from_start" if dig(request, *_PREFIX) is None else "from_checkpoint"
    document[_JOB] = request
    if wishes.command:
        document["local"] = {"command": list(wishes.command), "time_scale": time_scale_of(work)}
    return document


def _timeless_zone(wishes: Wishes) -> Iterator[Problem]:
    if wishes.timezone and not wishes.schedule and "at" not in deadline_of(wishes.deadline, None, 1):
        rule = "means nothing here: it is the zone of a schedule or of a deadline at a time of day"
        yield problem(("timezone",), wishes.timezone, rule)


def _unknown(key: str) -> Problem:
    if key == _UPLOADS:
        rule = "was left out: it is what the SDK would upload before the job; upload the code there yourself"
        return _note((key,), "uploads", rule)
    return _note((key,), key, "was left out: it is not a field of CreateTrainingJob that this version knows")


def name_of(training_job_name: object) -> str:
    """A job's name out of a training job's: lower case, without the moment that the SDK or Nightspot adds, and no
    longer than a job's may be; empty where nothing is left of it."""
    text = training_job_name if isinstance(training_job_name, str) else ""
    own = read_training_job_name(text)
    text = own.job if own else _MOMENT.sub("", text)
    plain = re.sub("[^a-z0-9]+", "-", text.lower()).strip("-")
    return plain[:JOB_NAME_CHARACTERS].strip("-")


def _described(given: object, source: str) -> Mapping[str, Any]:
    rule = "must be a CreateTrainingJob request, or what DescribeTrainingJob answers"
    if not isinstance(given, Mapping) or not REQUEST_FIELDS & given.keys():
        raise InvalidJobError([Problem(WHOLE_FILE, describe(given), rule)], source)
    return given


def _tidy(value: Any) -> Any:
    """A copy without what says nothing: null, empty lists and mappings, and empty key ids, which AWS answers with
    and its own model refuses."""
    if isinstance(value, Mapping):
        inner = {key: _tidy(item) for key, item in value.items()}
        return {
            key: item
            for key, item in inner.items()
            if item not in (None, [], {}) and not (str(key).endswith("KmsKeyId") and item == "")
        }
    return [_tidy(item) for item in value] if isinstance(value, list) else value


def _not_asked(found: Mapping[str, Any]) -> set[str]:
    """The top keys of a description that are no part of its request; none in a plain request."""
    answered = found.keys() & (ANSWER_FIELDS | _WRAPPERS)
    return {key for key in found if key not in REQUEST_FIELDS} if answered else found.keys() & {_UPLOADS}


def _types(request: Mapping[str, Any]) -> tuple[str, ...]:
    """The instance types in the order that the request prefers them."""
    one = dig(request, "ResourceConfig", "InstanceType")
    several = dig(request, "ResourceConfig", "InstancePreferences")
    preferred = [dig(entry, "InstanceType") for entry in several] if isinstance(several, list) else []
    return tuple(dict.fromkeys(name for name in (one, *preferred) if isinstance(name, str)))


def _measured(found: Mapping[str, Any]) -> Measured:
    trained, billed = found.get("TrainingTimeInSeconds"), found.get("BillableTimeInSeconds")
    return Measured(
        completed=found.get("TrainingJobStatus") == Status.COMPLETED,
        trained_seconds=trained if isinstance(trained, int) and trained > 0 else None,
        billed_seconds=billed if isinstance(billed, int) and billed > 0 else None,
    )


def _changed(request: dict[str, Any]) -> list[Problem]:
    """Takes out of `request` (its own copy) what Nightspot sets or cannot use, and says so."""
    return [
        *_without_own_names(request),
        *_without_own_settings(request),
        *_machines(request),
        *_checkpoints(request),
    ]


def _without_own_settings(request: dict[str, Any]) -> Iterator[Problem]:
    for key in ("TrainingJobName", "EnableManagedSpotTraining"):
        request.pop(key, None)
    stopping = _below(request, "StoppingCondition")
    wait = stopping.get("MaxWaitTimeInSeconds")
    short = wait in range(1, LONGEST_WITHOUT_CHECKPOINTS_SECONDS + 1) and dig(request, *_PREFIX) is None
    # It may be a built-in algorithm, for which SageMaker takes no longer one.
    if wait is not None and not short:
        del stopping["MaxWaitTimeInSeconds"]
        rule = "was left out: the deadline decides how long Spot is waited for"
        yield _note((_JOB, "StoppingCondition", "MaxWaitTimeInSeconds"), wait, rule)
    if "StoppingCondition" in request and not stopping:
        del request["StoppingCondition"]


def _machines(request: dict[str, Any]) -> Iterator[Problem]:
    resources = _below(request, "ResourceConfig")
    for key in ("InstanceType", "SelectedInstanceType", "SelectedInstanceCount"):
        resources.pop(key, None)
    several = resources.pop("InstancePreferences", None)
    if several is not None:
        rule = "became the ladder under capacity; say the speed of each type there, relative to the first"
        yield _note((_JOB, "ResourceConfig", "InstancePreferences"), several, rule)
    keep = resources.pop("KeepAlivePeriodInSeconds", None)
    if keep:
        rule = "was left out: warm pools exclude managed Spot"
        yield _note((_JOB, "ResourceConfig", "KeepAlivePeriodInSeconds"), keep, rule)


def _checkpoints(request: dict[str, Any]) -> Iterator[Problem]:
    config = _below(request, "CheckpointConfig")
    uri, path = config.get("S3Uri"), (_JOB, *_PREFIX)
    if uri is None:
        rule = (
            "is missing, so the job starts over after each interruption (interruptible: from_start); "
            "where the script saves checkpoints, name a prefix and say from_checkpoint"
        )
        yield _note(path, None, rule)
    else:
        rule = "each run gets a prefix of its own below it and starts fresh; its attempts share it"
        yield _note(path, uri, rule)


def _without_own_names(request: dict[str, Any]) -> Iterator[Problem]:
    """Nightspot's own marks on a job it started, and the name that the SDK hands to the script."""
    environment = _below(request, "Environment")
    run_id = environment.get("NIGHTSPOT_RUN_ID")
    for key in [key for key in environment if str(key).upper().startswith("NIGHTSPOT_")]:
        del environment[key]
    if run_id and environment:
        # What `tracking` in its job file has set for the one run.
        own = Tracking(mlflow=Mlflow(), wandb=Wandb()).environment("job", str(run_id))
        for key in own.keys() & environment.keys():
            del environment[key]
    config = _below(request, "CheckpointConfig")
    if run_id and str(config.get("S3Uri", "")).endswith(f"/{run_id}"):
        config["S3Uri"] = config["S3Uri"].removesuffix(run_id)
    if "Environment" in request and not environment:
        del request["Environment"]
    if isinstance(request.get("Tags"), list):
        request["Tags"] = [tag for tag in request["Tags"] if not _is_taken(dig(tag, "Key"))]
    parameters = _below(request, "HyperParameters")
    if parameters.pop("sagemaker_job_name", None) is not None:
        rule = "was left out: it is the name of the one job that was described"
        yield Problem(f"{_JOB}.HyperParameters.sagemaker_job_name", "a text", rule, "warning")
    if SUBMIT_DIRECTORY in parameters:
        rule = (
            "is the code as it was uploaded for that job: to train with files of yours instead, say --code "
            f"FILE, or leave out {PROGRAM} and this one and write code: {{source_dir, entry_point}}"
        )
        yield Problem(_SUBMITTED, "a text", rule, "warning")
    if environment:
        rule = "is copied as it stands: see that it holds no secret before the file is committed"
        yield _note((_JOB, "Environment"), environment, rule)


def _is_taken(key: object) -> bool:
    return isinstance(key, str) and key.lower().startswith(("nightspot:", "aws:"))


def _below(request: dict[str, Any], key: str) -> dict[str, Any]:
    """The section of `request`; an empty one of nobody's where it is missing or no mapping."""
    section = request.get(key)
    return section if isinstance(section, dict) else {}


def _note(path: tuple[str, ...], value: object, rule: str) -> Problem:
    return replace(problem(path, value, rule), severity="warning")


# A limit is commonly half as much again as the work: what is left of it is the guess.
LIMIT_OVER_WORK = 1.5
# A night on this machine: its work passes in about so long.
LOCAL_WORK_SECONDS = 30

_TIME_OF_DAY = re.compile(r"[0-9]{1,2}:.*", re.DOTALL)
_CLOCK = re.compile(r"([0-9]{1,2}):([0-9]{2})")


@dataclass(frozen=True)
class Measured:
    """What a described job came to, in seconds; None where it does not say. A job that did not complete has not
    measured the work."""

    completed: bool = False
    trained_seconds: int | None = None
    billed_seconds: int | None = None


def guessed_work_seconds(request: Mapping[str, Any], measured: Measured) -> int | None:
    """The work in seconds: what a completed job took, rounded up to five minutes and not beyond its own limit;
    else two thirds of MaxRuntimeInSeconds. None where neither is known."""
    limit = dig(dict(request), "StoppingCondition", "MaxRuntimeInSeconds")
    known = limit if isinstance(limit, int) and not isinstance(limit, bool) and limit > 0 else None
    if measured.completed and measured.trained_seconds is not None:
        rounded = _rounded_up(measured.trained_seconds, 5 * MINUTE_SECONDS)
        return rounded if known is None else min(rounded, known)
    return None if known is None else max(1, int(known / LIMIT_OVER_WORK))


def work_comment(measured: Measured, *, said: bool) -> str:
    """Where the work comes from, and what the described job trained and billed."""
    if said:
        first = "Training time on the first rung. A first guess: history takes over."
    elif measured.completed and measured.trained_seconds is not None:
        first = "As long as the described job trained; history takes over."
    else:
        first = "A guess: two thirds of MaxRuntimeInSeconds. Say what training takes; history takes over."
    if measured.trained_seconds is None:
        return first
    ending = "completed" if measured.completed else "did not complete"
    told = f"The described job {ending}: it trained {format_duration(measured.trained_seconds)}"
    if measured.billed_seconds is not None:
        told += f" and was billed {format_duration(measured.billed_seconds)}"
    return f"{first}\n{told}."


def schedule_of(text: str | None, timezone: str | None) -> dict[str, str]:
    """The schedule that `text` means: `02:30` every day, `cron(…)` or six fields, `rate(…)` or `12 hours`.

    Empty for no text. The values are for the rules of job files to judge.
    """
    words = (text or "").strip()
    if not words:
        return {}
    clock = _CLOCK.fullmatch(words)
    zone = {"timezone": timezone or "UTC"}
    if clock:
        return {"cron": f"{int(clock[2])} {int(clock[1])} * * ? *", **zone}
    is_rate = words.startswith("rate(") or len(words.split()) == 2
    return {"rate" if is_rate else "cron": words, **zone}


def deadline_of(text: str | None, timezone: str | None, work: str | int) -> dict[str, str | int]:
    """The deadline that `text` means: `08:00`, or so long after the start.

    Without text there is time to train twice, once in each market, in whole hours: the least that never makes
    a reclaim near the end late.
    """
    if text is not None and _TIME_OF_DAY.fullmatch(text.strip()):
        return {"at": text.strip(), "timezone": timezone or "UTC"}
    if text is not None:
        return {"within": text.strip()}
    change_over = ChangeOver()
    twice = 2 * _seconds(work) + change_over.spot_seconds + change_over.on_demand_seconds
    return {"within": duration_text(min(LONGEST_SECONDS, _rounded_up(twice, HOUR_SECONDS)))}


def time_scale_of(work: str | int) -> int:
    """How fast a night on this machine passes: its work in about half a minute, and never slower than real."""
    return max(1, _seconds(work) // LOCAL_WORK_SECONDS)


def duration_text(seconds: int) -> str | int:
    """`seconds` as a job file says them, "3h12min"; a bare number where two units do not say all."""
    text = format_duration(seconds).replace(" ", "")
    return text if parse_duration(text) == seconds else seconds


def _seconds(work: str | int) -> int:
    try:
        return parse_duration(work)
    except DurationError:
        # A mistake in the work has its own problem: the deadline beside it only has to be readable.
        return HOUR_SECONDS


def _rounded_up(seconds: int, step_seconds: int) -> int:
    return ceil(seconds / step_seconds) * step_seconds


_COMMENT_CHARACTERS = 100
_REQUEST = "training_job"

# One comment for each top key that a draft can hold; the draft's own go first.
COMMENTS = {
    "name": "Training jobs are called nightspot-<environment>-<name>-<run>-<attempt>.",
    "schedule": "When runs start by themselves, in EventBridge Scheduler's syntax; leave out to start by hand.",
    "deadline": "When the model must be ready: at a time of day, or within a time from the start.",
    "work": "Training time on the first instance type.",
    "capacity": "The ladder, best first. Add more types with their speed relative to the first, such as "
    "{instance_type: ml.g5.48xlarge, speed: 0.45}.",
    "fallback": "on_demand: buy on-demand when Spot can no longer make the deadline. never: skip the run.",
    "interruptible": "Where training goes on after an interruption: from_checkpoint or from_start.",
    _REQUEST: "A CreateTrainingJob request as AWS writes it, less what Nightspot sets for each attempt: the name, "
    "the Spot flag, the instance type and a checkpoint prefix of the run's own.",
    "local": "How to train on this machine, with nightspot run FILE --local; time_scale is how many seconds of the "
    "night pass in a real one.",
}
_HEAD = (
    "A job of Nightspot's, written by `nightspot init`. docs/job-file.md says what each field means; "
    "`nightspot validate` checks this file. Whoever starts a run may choose among what the file has and spend "
    "less; `overrides` allows more, or less."
)


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper with lists indented below their key, and without anchors."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - PyYAML's own signature
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's own signature
        return True


def _text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    # PyYAML writes Unicode's own line breaks bare, and reads them back as spaces.
    style = '"' if any(character in value for character in "\x85\u2028\u2029") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def job_file_text(draft: DraftedJob) -> str:
    """The draft as YAML with comments; read again, it is the draft's document."""
    parts = [_comment(_HEAD)]
    for key, value in draft.document.items():
        said = draft.comments.get(key) or COMMENTS[key]
        parts.append(_comment(said) + _yaml(key, value))
    return "\n".join(parts)


def _yaml(key: str, value: Any) -> str:
    # Small mappings and lists on one line; the request as people know it from AWS.
    compact = isinstance(value, dict) and key != _REQUEST
    return yaml.dump(
        {key: value},
        Dumper=_Dumper,
        default_flow_style=None if compact else False,
        sort_keys=False,
        allow_unicode=True,
        width=10**6,  # an image or a prefix stays on one line, to be searched
    )


def _comment(text: str) -> str:
    lines = [
        line
        for paragraph in text.split("\n")
        for line in textwrap.wrap(paragraph, _COMMENT_CHARACTERS, break_long_words=False)
    ]
    return "".join(f"# {line}\n" for line in lines)
