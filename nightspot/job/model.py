"""What a job file can say: one frozen model per section, each field with the rule of its own value.

Rules that compare fields with each other are in `rules`; the request's own in `request_shape`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import AfterValidator, Discriminator, Field, PrivateAttr, Tag, model_validator

from nightspot.formats.figures import MINUTE_SECONDS, format_duration
from nightspot.formats.links import LINK_RULE, web_link
from nightspot.formats.run_ids import (
    ATTEMPT_DIGITS,
    JOB_NAME_CHARACTERS,
    RUN_ID_CHARACTERS,
    TRAINING_JOB_NAME_CHARACTERS,
)
from nightspot.job.markets import Concurrency, Fallback, Interruptible, Market, Policy
from nightspot.job.times import Deadline, Schedule, Seconds, Section, broken_rule

# Nightspot's own: a start takes minutes before it shows itself, so less would leave every type untried.
SHORTEST_PATIENCE_SECONDS = 5 * MINUTE_SECONDS

WANDB_URL = "https://wandb.ai"

_DEFAULT_CHECKPOINT_SECONDS = 30 * MINUTE_SECONDS


def _name_that_fits(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9](-*[a-z0-9])*", name):
        raise broken_rule(
            "must be lower-case letters, digits and hyphens, with a letter or digit at both ends"
        )
    if len(name) > JOB_NAME_CHARACTERS:
        raise broken_rule(
            f"must have at most {JOB_NAME_CHARACTERS} characters, because training jobs may be named "
            f"nightspot-<job>-<{RUN_ID_CHARACTERS}-character run id>-<attempt, up to "
            f"{ATTEMPT_DIGITS} digits> and SageMaker allows {TRAINING_JOB_NAME_CHARACTERS}"
        )
    return name


def _long_enough_to_wait(seconds: int) -> int:
    if seconds < SHORTEST_PATIENCE_SECONDS:
        raise broken_rule(f"must be at least {format_duration(SHORTEST_PATIENCE_SECONDS)}")
    return seconds


class InstanceType(Section):
    """One entry of the ladder: a SageMaker instance type, its pace and how long it may be waited for.

    `speed` is relative to the pace for which `work` is stated, that of a file's first rung.
    `patience_seconds` is how long this type may be waited for in its market before the next type gets its
    turn; None where history or a default decides. In the file, a bare name stands for a mapping with only
    `instance_type`.
    """

    instance_type: str = Field(min_length=1)
    speed: float = Field(default=1.0, gt=0, le=100, allow_inf_nan=False, strict=True)
    patience_seconds: Annotated[Seconds, AfterValidator(_long_enough_to_wait)] | None = Field(
        default=None, alias="patience"
    )

    @model_validator(mode="before")
    @classmethod
    def _from_a_name(cls, given: Any) -> Any:
        return {"instance_type": given} if isinstance(given, str) else given


class Capacity(Section):
    """The ladder: instance types per market, best first."""

    spot: tuple[InstanceType, ...] = ()
    on_demand: tuple[InstanceType, ...] = ()

    @model_validator(mode="after")
    def _somewhere_to_train(self) -> Capacity:
        if not self.spot and not self.on_demand:
            raise broken_rule("must name at least one instance type under spot or on_demand")
        return self

    def rungs_of(self, market: Market) -> tuple[InstanceType, ...]:
        return self.spot if market is Market.SPOT else self.on_demand

    @property
    def first_market(self) -> Market:
        """The market of the first rung: Spot where there is any."""
        return Market.SPOT if self.spot else Market.ON_DEMAND

    @property
    def first(self) -> InstanceType:
        """The first rung; in a file, the one for which `work` is stated."""
        return (self.spot or self.on_demand)[0]


Usd = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]


class ChangeOver(Section):
    """Upper estimates of start-up plus restore in each market, used until history takes over."""

    spot_seconds: Seconds = Field(default=10 * MINUTE_SECONDS, alias="spot")
    on_demand_seconds: Seconds = Field(default=15 * MINUTE_SECONDS, alias="on_demand")

    def of(self, market: Market) -> int:
        """The estimate of one market, in seconds."""
        return self.spot_seconds if market is Market.SPOT else self.on_demand_seconds


class Budget(Section):
    """The most that one run may cost over all its attempts, and all runs of a calendar month (UTC) together.

    None where there is no such limit; at least one of the two is given.
    """

    per_run_usd: Usd | None = None
    per_month_usd: Usd | None = None

    @model_validator(mode="after")
    def _some_limit(self) -> Budget:
        if self.per_run_usd is None and self.per_month_usd is None:
            raise broken_rule("must have at least one of per_run_usd and per_month_usd")
        return self


def _not_empty(types: tuple[InstanceType, ...]) -> tuple[InstanceType, ...]:
    # Not by Field: that counts the sound ones, and calls a list of nothing but mistakes empty.
    if not types:
        raise broken_rule("must not be empty")
    return types


_Types = Annotated[tuple[InstanceType, ...], AfterValidator(_not_empty)]


class MarketTypes(Section):
    """Instance types for each market by itself; of a market that is not named nothing is said."""

    spot: _Types | None = None
    on_demand: _Types | None = None

    @model_validator(mode="after")
    def _some_market(self) -> MarketTypes:
        if self.spot is None and self.on_demand is None:
            raise broken_rule("must name instance types under spot or on_demand")
        return self


def _list_or_mapping(given: object) -> str | None:
    if isinstance(given, list | tuple):
        return InstanceType.__name__
    return MarketTypes.__name__ if isinstance(given, Mapping | MarketTypes) else None


EitherTypes = Annotated[
    # The tags are the models' names: so a problem's path can leave them out again (see `errors`).
    Annotated[_Types, Tag(InstanceType.__name__)] | Annotated[MarketTypes, Tag(MarketTypes.__name__)],
    Discriminator(
        _list_or_mapping,
        custom_error_type="rule",
        custom_error_message="must be a list of instance types, or a mapping with such lists as spot and on_demand",
    ),
]
"""Instance types for both markets (a list) or for each (MarketTypes)."""


def types_of(
    given: tuple[InstanceType, ...] | MarketTypes | None, market: Market
) -> tuple[InstanceType, ...] | None:
    """The types that `given` names for `market`, as they were given; None where there are none."""
    if isinstance(given, MarketTypes):
        return given.spot if market is Market.SPOT else given.on_demand
    return given


OverrideName = Literal["market", "instance_types", "deadline", "hyperparameters", "budget", "fallback"]


class OverrideLimits(Section):
    """What the start of a run may change of its job, and how far (`nightspot.job.limits` applies it).

    `instance_types` may be bought beside those of the ladder, with their pace and patience. `per_run_usd`: the
    largest budget; None: the job's own. `deadline_seconds`: the longest deadline from the start; None: a day, or
    the job's own. `hyperparameters`: the names that may be set; None: all but SageMaker's own.
    """

    allow: tuple[OverrideName, ...] | None = None  # None: every override
    instance_types: EitherTypes | None = None
    per_run_usd: Usd | None = None
    deadline_seconds: Seconds | None = Field(default=None, alias="deadline")
    hyperparameters: tuple[Annotated[str, Field(min_length=1)], ...] | None = None


def _relative(path: str) -> str:
    if not path.strip() or path.startswith(("/", "~")) or "\\" in path or not path.isprintable():
        raise broken_rule("must be a path with / that does not begin with / or ~")
    return path


def _inside(path: str) -> str:
    if ".." in PurePosixPath(_relative(path)).parts:
        raise broken_rule("must be a file in source_dir, without ..")
    return str(PurePosixPath(path))


def _runnable(path: str) -> str:
    # The toolkit passes the name of a .sh file to a shell as it is.
    if not re.fullmatch(r"[A-Za-z0-9_./-]+\.(py|sh)", path):
        raise broken_rule("must end with .py or .sh, and have only letters, digits, and . _ - / before that")
    return path


class Code(Section):
    """The training script and the files beside it, which AWS's framework images fetch and run.

    Paths as the file has them: `source_dir` from the job file's folder, the others from `source_dir`.
    https://github.com/aws/sagemaker-training-toolkit ("script mode")
    """

    source_dir: Annotated[str, AfterValidator(_relative)]
    entry_point: Annotated[str, AfterValidator(_inside), AfterValidator(_runnable)]
    requirements: Annotated[str, AfterValidator(_inside)] | None = None  # becomes requirements.txt

    _job_folder: Path | None = PrivateAttr(None)

    def beside(self, job_folder: Path) -> Code:
        """The same, of a job file in this folder."""
        code = self.model_copy()
        code._job_folder = job_folder
        return code

    @property
    def job_folder(self) -> Path | None:
        """Where the job file is; None: it is not known, as in a deployment."""
        return self._job_folder


def _web_address(text: str) -> str:
    if web_link(text) is None:
        raise broken_rule(LINK_RULE)
    return text.rstrip("/")


def _without_password(uri: str) -> str:
    if "@" in uri.partition("?")[0]:
        raise broken_rule("must not hold a user or password: it would be in the request and in the record")
    return uri


_TrackerName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^/\\\s][^/\\]*$")]


class Wandb(Section):
    """A project of Weights & Biases. None where the container's own settings say it."""

    project: _TrackerName | None = None
    entity: _TrackerName | None = None
    url: Annotated[str, AfterValidator(_web_address)] = WANDB_URL


class Mlflow(Section):
    """An MLflow tracking server and experiment. None where the container's own settings say it."""

    uri: Annotated[str, AfterValidator(_without_password)] | None = Field(default=None, min_length=1)
    experiment: Annotated[str, Field(min_length=1, max_length=250)] | None = None


class Tracking(Section):
    """The trackers in which all attempts of a run are one run."""

    mlflow: Mlflow | None = None
    wandb: Wandb | None = None

    @model_validator(mode="after")
    def _some_tracker(self) -> Tracking:
        if self.mlflow is None and self.wandb is None:
            raise broken_rule("must name at least one of mlflow and wandb")
        return self

    def environment(self, job: str, run_id: str) -> dict[str, str]:
        """The variables by which the packages of the trackers find the run: the same for all its attempts.

        In a SageMaker container wandb makes up an id from the training job's name, also in place of one that the
        script names, unless WANDB_RUN_ID is set (wandb 0.31, integration/sagemaker/resources.py).
        An MLflow run has the id that its server gives. mlflow.start_run notes it at the experiment under the name
        in the last variable, which Databricks' jobs set too, and finds it there (mlflow/mlflow pull request 19015).
        """
        named: dict[str, str | None] = {}
        if self.wandb is not None:
            named |= {
                "WANDB_RUN_ID": run_id,
                "WANDB_RESUME": "allow",
                "WANDB_NAME": f"{job}-{run_id}",
                "WANDB_RUN_GROUP": job,
                "WANDB_PROJECT": self.wandb.project,
                "WANDB_ENTITY": self.wandb.entity,
                # The API of wandb.ai has another address than its pages; a server of one's own has one.
                "WANDB_BASE_URL": None if self.wandb.url == WANDB_URL else self.wandb.url,
            }
        if self.mlflow is not None:
            tags = {"nightspot.run_id": run_id, "nightspot.job": job, "mlflow.runName": f"{job}-{run_id}"}
            named |= {
                "MLFLOW_TRACKING_URI": self.mlflow.uri,
                "MLFLOW_EXPERIMENT_NAME": self.mlflow.experiment,
                "MLFLOW_RUN_CONTEXT": json.dumps(tags),
                "SERVERLESS_GPU_COMPUTE_ASSOCIATED_JOB_RUN_ID": run_id,
            }
        return {name: value for name, value in named.items() if value is not None}

    def links(self, run_id: str) -> dict[str, str]:
        """The pages of the run that are known beforehand, by the trackers' names."""
        found = self.wandb
        if found is None or found.project is None or found.entity is None:
            return {}
        return {"wandb": f"{found.url}/{quote(found.entity)}/{quote(found.project)}/runs/{quote(run_id)}"}


class Local(Section):
    """How to train the job on this machine.

    Without a `command` the job's code is run as its image would run it. `pass_hyperparameters`: append them to
    the command as arguments, as SageMaker's training toolkit does. `time_scale` is how many seconds of the story
    pass in one real second.
    """

    command: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    pass_hyperparameters: bool = Field(default=True, strict=True)
    time_scale: float = Field(default=1.0, ge=1, allow_inf_nan=False, strict=True)
    environment: dict[str, str] = Field(default_factory=dict)


def default_checkpoint_seconds(work_seconds: int) -> int:
    """`checkpoint_every` where a file does not say it: every 30 minutes, or once where the work is shorter."""
    return min(_DEFAULT_CHECKPOINT_SECONDS, work_seconds)


def _checkpoint_default(validated: dict[str, Any]) -> int:
    return default_checkpoint_seconds(validated.get("work_seconds", _DEFAULT_CHECKPOINT_SECONDS))


class Job(Section):
    """A training job as its job file describes it.

    `work_seconds` is the expected training time at speed 1.0, `training_job` a CreateTrainingJob
    request as AWS writes it, without what Nightspot sets for each attempt.
    """

    name: Annotated[str, AfterValidator(_name_that_fits)]
    schedule: Schedule | None = None
    deadline: Deadline
    work_seconds: Seconds = Field(alias="work")
    checkpoint_every_seconds: Seconds = Field(default_factory=_checkpoint_default, alias="checkpoint_every")
    capacity: Capacity
    change_over: ChangeOver = ChangeOver()
    fallback: Fallback = Fallback.ON_DEMAND
    interruptible: Interruptible = Interruptible.FROM_CHECKPOINT
    concurrency: Concurrency = Concurrency.FORBID
    policy: Policy = Policy.PATIENT
    budget: Budget | None = None
    overrides: OverrideLimits = OverrideLimits()
    tracking: Tracking | None = None
    training_job: dict[str, Any]
    code: Code | None = None
    local: Local | None = None

    @model_validator(mode="before")
    @classmethod
    def _code_trains_here(cls, given: Any) -> Any:
        """A job with code needs no `local`: its code says how to train it on any machine."""
        if isinstance(given, Mapping) and given.get("code") is not None and given.get("local") is None:
            return {**given, "local": {}}
        return given

    @property
    def instance_count(self) -> int:
        """How many instances an attempt has: ResourceConfig.InstanceCount, 1 where it is silent."""
        count = dig(self.training_job, "ResourceConfig", "InstanceCount")
        return count if isinstance(count, int) else 1

    @property
    def instance_types(self) -> tuple[str, ...]:
        """Every type that a run of the job may buy: the ladder's, then what a start may add; each once."""
        found = [
            rung.instance_type
            for market in Market
            for rung in (
                *self.capacity.rungs_of(market),
                *(types_of(self.overrides.instance_types, market) or ()),
            )
        ]
        return tuple(dict.fromkeys(found))


def dig(request: Any, *keys: str) -> Any:
    """The value below `keys` of nested mappings, or None where any of them is missing."""
    for key in keys:
        if not isinstance(request, dict):
            return None
        request = request.get(key)
    return request


def dump_jobs(jobs: Mapping[str, Job]) -> str:
    """The jobs as one JSON document, the same text for the same jobs."""
    document = {name: job.model_dump(mode="json", by_alias=True) for name, job in jobs.items()}
    return json.dumps(document, indent=1, sort_keys=True)


def read_jobs(document: str) -> dict[str, Job]:
    """The jobs that `dump_jobs` wrote. Raises pydantic.ValidationError where it is another document."""
    return {name: Job.model_validate(job) for name, job in json.loads(document).items()}
