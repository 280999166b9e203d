"""What a deployment may choose, read from CDK context, and which pipelines it lets in by OIDC."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from aws_cdk import RemovalPolicy
from aws_cdk.aws_logs import RetentionDays

from nightspot.formats.run_ids import ENVIRONMENT_CHARACTERS, is_environment
from nightspot.job.request_shape import TEAM, TEAM_CHARACTERS

GITHUB_HOST = "token.actions.githubusercontent.com"
# What AWS's own GitHub action asks a token for; a token for AWS is of no use elsewhere.
# https://docs.github.com/actions/how-tos/secure-your-work/security-harden-deployments/oidc-in-aws
AUDIENCE = "sts.amazonaws.com"

# The ids are those of a repository made or renamed since July 2026, whose tokens carry them beside the names.
# https://github.blog/changelog/2026-04-23-immutable-subject-claims-for-github-actions-oidc-tokens/
_GITHUB_REPOSITORY = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}/(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}"
    r"|[A-Za-z0-9][A-Za-z0-9_-]{0,99}@[0-9]+/(?!\.{1,2}@)[A-Za-z0-9._-]{1,100}@[0-9]+"
)
_GITLAB_PROJECT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)+")
_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_TOKEN_AUDIENCE = re.compile(r"[A-Za-z0-9._:/@-]{1,255}")
# Of IAM's own signs in a condition, `*` alone may be meant; `?` and `${…}` stand in no ref's or environment's name.
_SUBJECT_REST = re.compile(r"[A-Za-z0-9 ._/@:+=,#%*-]+")
_PROVIDER_ARN = re.compile(r"arn:[\w-]+:iam::[0-9]{12}:oidc-provider/(\S+)")

# What CloudWatch Logs knows.
_LOG_RETENTION = {
    7: RetentionDays.ONE_WEEK,
    14: RetentionDays.TWO_WEEKS,
    30: RetentionDays.ONE_MONTH,
    60: RetentionDays.TWO_MONTHS,
    90: RetentionDays.THREE_MONTHS,
    180: RetentionDays.SIX_MONTHS,
    365: RetentionDays.ONE_YEAR,
    731: RetentionDays.TWO_YEARS,
}

# An account's own limit, for all its APIs in a region together.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-request-throttling.html
_MOST_REQUESTS = 10_000
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
ROLE_ARN = re.compile(r"arn:[\w-]+:iam::\d{12}:role/\S+")
# Of a key itself: an alias can be moved to a key that nobody granted.
KMS_KEY_ARN = re.compile(r"arn:[\w-]+:kms:[a-z0-9-]+:\d{12}:key/[0-9A-Za-z-]+")
_POLICY_ARN = re.compile(r"arn:[\w-]+:iam::(?:\d{12}|aws):policy/[\w+=,.@/-]+")
# https://docs.aws.amazon.com/tag-editor/latest/userguide/best-practices-and-strats.html
_TAG_NAME = re.compile(r"[\w .:/=+@-]{1,128}")
_TAG_VALUE = re.compile(r"[\w .:/=+@-]{0,256}")
# CreateTrainingJob takes 50: the rest is for the job file's and Nightspot's own.
_MOST_TAGS = 10
# A function's environment has 4 KB in all: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
_TAG_CHARACTERS = 500
_PAIRS = {"tags", "training_roles"}
# A plan of AWS Backup's keeps a copy so long.
_LONGEST_BACKUP_DAYS = 36_500


class SettingsError(ValueError):
    """A context value cannot be used; the text names the key, the value and the rule."""


@dataclass(frozen=True)
class Settings:
    """The choices of one deployment. Names in `cdk.json` or `-c` are `nightspot:<field>`."""

    # What this deployment is called among others of its account and region; None: after the stack's name.
    environment: str | None = None
    notice_email: str | None = (
        None  # gets a message per run that matters; None: subscribe to the topic yourself
    )
    chat_topic: bool = False  # whether there is a second topic, with the same messages in the form for chat
    tell_success: bool = False  # whether a success in time, with nothing to tell of, is told as well
    checkpoint_bucket_name: str | None = None  # an existing bucket; None: the stack makes one
    model_bucket_name: str | None = None
    report_bucket_name: str | None = None
    training_role_arn: str | None = None  # an existing role; None: the stack makes one
    training_roles: tuple[
        str, ...
    ] = ()  # each TEAM=ARN, an existing role; of other teams the stack makes one
    data_bucket_names: tuple[str, ...] = ()  # buckets that the training role may read
    kms_key_arn: str | None = None  # of all that the stack makes and that keeps data; None: AWS's own keys
    kms_key_arns: tuple[str, ...] = ()  # of your buckets' default encryption, where no job file names the key
    subnet_ids: tuple[str, ...] = ()  # for jobs that state no VpcConfig of their own
    security_group_ids: tuple[str, ...] = ()
    function_subnet_ids: tuple[str, ...] = ()  # where the functions run; none: outside a VPC
    function_security_group_ids: tuple[str, ...] = ()
    permissions_boundary_arn: str | None = None  # of every role that the stack makes
    tags: tuple[str, ...] = ()  # each NAME=VALUE, of the stack's resources and of the training jobs
    access_log_bucket_name: str | None = None  # an existing bucket, for S3's logs of the stack's buckets
    backup_days: int = 0  # how long AWS Backup keeps its daily copy of the table; 0: it makes none
    checkpoint_days: int = 30  # how long checkpoints of finished runs are kept
    checkpoint_version_days: int = 1  # how long checkpoints are kept that were deleted or overwritten
    log_days: int = 90
    reserved_concurrency: int = 0  # of each function; 0: none is taken out of the account's
    check_quotas: bool = False  # whether a plan asks Service Quotas, which takes it some seconds
    live_prices: bool = True  # whether AWS is asked for prices once a day; False: the shipped book alone
    harvest_cassettes: bool = False  # whether the recorded, redacted life of each training job is kept
    api: bool = True  # whether runs can be started and read over HTTP
    api_rate: int = 10  # requests a second that the API takes from all callers together
    api_burst: int = 20  # requests at once, likewise
    api_access_logs: bool = False  # needs API Gateway's CloudWatch role, a setting of the whole account
    github_repository: str | None = None  # owner/name, whose pipelines may start and read runs
    github_subjects: tuple[str, ...] = ()  # of its tokens, the `sub`; none: the branch main alone
    gitlab_project: str | None = None  # group/project, instead of a repository on GitHub
    gitlab_subjects: tuple[str, ...] = ()  # none: the branch main alone
    gitlab_host: str = "gitlab.com"
    gitlab_audience: str = AUDIENCE  # the `aud` of the pipeline's id_tokens
    oidc_provider_arn: str | None = None  # the account's, where it has one already; None: the stack makes one
    ci_jobs: tuple[str, ...] = ()  # the jobs that pipelines may start; none: all
    keep_data: bool = True  # False: `cdk destroy` takes table, buckets and logs along

    @property
    def log_retention(self) -> RetentionDays:
        """How long logs are kept, in CDK's words."""
        return _LOG_RETENTION[self.log_days]

    @property
    def bucket_keys(self) -> tuple[str, ...]:
        """The keys that objects may be encrypted with, where no job file names one."""
        return (*((self.kms_key_arn,) if self.kms_key_arn else ()), *self.kms_key_arns)

    @property
    def training_role_values(self) -> dict[str, str]:
        """The teams' existing roles by team."""
        return dict(_pair(each) for each in self.training_roles)

    @property
    def tag_values(self) -> dict[str, str]:
        """The tags by name."""
        return dict(_pair(tag) for tag in self.tags)

    @property
    def removal_policy(self) -> RemovalPolicy:
        """What `cdk destroy` does with what is kept. A first deployment that fails keeps nothing."""
        return RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE if self.keep_data else RemovalPolicy.DESTROY

    def __post_init__(self) -> None:
        for its in ("", "function_"):
            subnets, groups = getattr(self, f"{its}subnet_ids"), getattr(self, f"{its}security_group_ids")
            names = (f"{its}subnet_ids", f"{its}security_group_ids")
            named, absent = names if subnets else names[::-1]
            together = bool(subnets) == bool(groups)
            _check(together, named, ",".join(subnets or groups), f"must come with nightspot:{absent}")
        own, rule = self.environment, f"must be 1 to {ENVIRONMENT_CHARACTERS} lower-case letters and digits"
        is_environment_name = own is None or is_environment(own)
        _check(is_environment_name, "environment", own, f"{rule}, with a letter first")
        mail, role = self.notice_email, self.training_role_arn
        _check(mail is None or "@" in mail, "notice_email", mail, "must be an e-mail address")
        _check_bucket_names("checkpoint_bucket_name", self.checkpoint_bucket_name)
        _check_bucket_names("model_bucket_name", self.model_bucket_name)
        _check_bucket_names("report_bucket_name", self.report_bucket_name)
        _check_bucket_names("access_log_bucket_name", self.access_log_bucket_name)
        _check_bucket_names("data_bucket_names", *self.data_bucket_names)
        is_role = role is None or ROLE_ARN.fullmatch(role)
        _check(is_role, "training_role_arn", role, "must be the ARN of an IAM role")
        _check_training_roles(self.training_roles)
        _check_keys(self)
        boundary = self.permissions_boundary_arn
        is_policy = boundary is None or _POLICY_ARN.fullmatch(boundary)
        _check(is_policy, "permissions_boundary_arn", boundary, "must be the ARN of an IAM policy")
        _check_tags(self.tags)
        backup = self.backup_days
        is_days = 0 <= backup <= _LONGEST_BACKUP_DAYS
        _check(is_days, "backup_days", backup, f"must be 0 (none) to {_LONGEST_BACKUP_DAYS:,}")
        for name in ("checkpoint_days", "checkpoint_version_days"):
            _check(getattr(self, name) >= 1, name, getattr(self, name), "must be at least 1")
        reserved = self.reserved_concurrency
        _check(reserved >= 0, "reserved_concurrency", reserved, "must be 0 (none) or more")
        for name, value in (("api_rate", self.api_rate), ("api_burst", self.api_burst)):
            _check(1 <= value <= _MOST_REQUESTS, name, value, f"must be 1 to {_MOST_REQUESTS:,}")
        known = ", ".join(str(days) for days in _LOG_RETENTION)
        _check(self.log_days in _LOG_RETENTION, "log_days", self.log_days, f"must be one of {known}")
        trust_of(self)


def _check(is_right: object, key: str, given: object, rule: str) -> None:
    if not is_right:
        raise SettingsError(f"nightspot:{key}: {given!r} {rule}")


def _check_bucket_names(key: str, *names: str | None) -> None:
    for name in names:
        is_name = name is None or BUCKET_NAME.fullmatch(name)
        _check(is_name, key, name, "must be the name of an S3 bucket, without s3://")


def _check_training_roles(pairs: tuple[str, ...]) -> None:
    teams = [_pair(each)[0] for each in pairs]
    for each, team in zip(pairs, teams, strict=True):
        is_pair = TEAM.fullmatch(team) and ROLE_ARN.fullmatch(_pair(each)[1])
        rule = f"must be TEAM=ARN of an IAM role; a team is named by {TEAM_CHARACTERS}"
        _check(is_pair, "training_roles", each, rule)
        _check(teams.count(team) == 1, "training_roles", each, "must have a team of its own")


def _check_keys(settings: Settings) -> None:
    own, others = settings.kms_key_arn, settings.kms_key_arns
    rule = "must be the ARN of a KMS key, not of an alias"
    _check(own is None or KMS_KEY_ARN.fullmatch(own), "kms_key_arn", own, rule)
    for key in others:
        _check(KMS_KEY_ARN.fullmatch(key), "kms_key_arns", key, rule)
        twice = "must not be that of nightspot:kms_key_arn, whose users may use it for your buckets as well"
        _check(key != own, "kms_key_arns", key, twice)


def key_region(key_arn: str) -> str:
    """The region in a KMS key's ARN."""
    return key_arn.split(":")[3]


def _pair(tag: str) -> tuple[str, str]:
    name, _, value = tag.partition("=")
    return name, value


def _check_tags(tags: tuple[str, ...]) -> None:
    names = [_pair(tag)[0] for tag in tags]
    for tag, name in zip(tags, names, strict=True):
        characters = "letters, digits, spaces and . _ : / = + @ -"
        rule = f"must be NAME=VALUE, at most 128 and 256 characters out of {characters}"
        is_pair = "=" in tag and _TAG_NAME.fullmatch(name) and _TAG_VALUE.fullmatch(_pair(tag)[1])
        _check(is_pair, "tags", tag, rule)
        is_free = not name.lower().startswith(("aws:", "nightspot:"))
        _check(is_free, "tags", tag, "must not start with aws: or nightspot:, which are taken")
        _check(names.count(name) == 1, "tags", tag, "must have a name of its own")
    _check(len(tags) <= _MOST_TAGS, "tags", ",".join(tags), f"must be at most {_MOST_TAGS}")
    length = sum(map(len, tags))
    together = f"characters together must be at most {_TAG_CHARACTERS}: a function's environment holds them"
    _check(length <= _TAG_CHARACTERS, "tags", length, together)


def read_settings(context: Callable[[str], Any]) -> Settings:
    """The settings in a CDK node's context (`node.try_get_context`).

    Lists may be comma-separated text, and lists of pairs mappings.

    Raises SettingsError for a value of the wrong kind.
    """
    given = {}
    for field in fields(Settings):
        value = context(f"nightspot:{field.name}")
        if value is not None:
            given[field.name] = _read(field.name, field.default, value)
    return Settings(**given)


def _read(name: str, default: object, value: Any) -> Any:
    if isinstance(default, bool):
        _check(value in (True, "true", False, "false"), name, value, "must be true or false")
        return value in (True, "true")
    if isinstance(default, int):
        try:
            # By its text: int() alone would take 30.5 and true.
            return int(str(value))
        except ValueError as error:
            raise SettingsError(f"nightspot:{name}: {value!r} must be a whole number") from error
    if name in _PAIRS and isinstance(value, Mapping):
        return tuple(f"{key}={text}" for key, text in value.items())
    if isinstance(default, tuple):
        _check(isinstance(value, str | list | tuple), name, value, "must be a list, or text with commas")
        parts = value.split(",") if isinstance(value, str) else value
        return tuple(str(part).strip() for part in parts if str(part).strip())
    return str(value)


@dataclass(frozen=True)
class Trust:
    """What a token must say: its issuer's host, its audience, and one of the subjects, in some of which `*` stands.

    Of one repository, always.
    """

    host: str
    audience: str
    subjects: tuple[str, ...]

    @property
    def exact(self) -> tuple[str, ...]:
        """The subjects without a `*`."""
        return tuple(subject for subject in self.subjects if "*" not in subject)

    @property
    def patterns(self) -> tuple[str, ...]:
        """The subjects with one."""
        return tuple(subject for subject in self.subjects if "*" in subject)


def trust_of(settings: Settings) -> Trust | None:
    """Who is let in, None for nobody. Raises SettingsError for settings that do not say it clearly."""
    _check_company(settings)
    trust = _github(settings) or _gitlab(settings)
    if trust is not None and settings.oidc_provider_arn is not None:
        given = settings.oidc_provider_arn
        found = _PROVIDER_ARN.fullmatch(given)
        rule = f"for {trust.host}, arn:aws:iam::<account>:oidc-provider/{trust.host}"
        is_its = found is not None and found[1] == trust.host
        _check(is_its, "oidc_provider_arn", given, f"must be the ARN of the account's OIDC provider {rule}")
    return trust


def _check_company(settings: Settings) -> None:
    """Which settings mean nothing without another one, or beside it."""
    github, gitlab = settings.github_repository, settings.gitlab_project
    beside = "must not come with nightspot:github_repository: the role is for one repository"
    _check(github is None or gitlab is None, "gitlab_project", gitlab, beside)
    either = "nightspot:github_repository or nightspot:gitlab_project"
    needs = {
        "github_subjects": (github, "nightspot:github_repository"),
        "gitlab_subjects": (gitlab, "nightspot:gitlab_project"),
        "oidc_provider_arn": (github or gitlab, either),
        "ci_jobs": (github or gitlab, either),
    }
    for name, (owner, words) in needs.items():
        value = getattr(settings, name)
        shown = ",".join(value) if isinstance(value, tuple) else value
        _check(not value or owner is not None, name, shown, f"must come with {words}")
    key = "github_repository" if github is not None else "gitlab_project"
    without = "must not come with nightspot:api=false: a pipeline starts and reads runs through the API"
    _check(settings.api or (github or gitlab) is None, key, github or gitlab, without)


def _github(settings: Settings) -> Trust | None:
    given = settings.github_repository
    if given is None:
        return None
    ids = "or owner@1234/name@5678 where the repository's tokens carry its ids"
    rule = f"must be owner/name, without wildcards; {ids}"
    _check(_GITHUB_REPOSITORY.fullmatch(given), "github_repository", given, rule)
    # https://docs.github.com/actions/reference/openid-connect-reference: how a subject is written
    prefix = f"repo:{given}:"
    subjects = settings.github_subjects or (f"{prefix}ref:refs/heads/main",)
    _check_subjects("github_subjects", subjects, prefix)
    return Trust(GITHUB_HOST, AUDIENCE, subjects)


def _gitlab(settings: Settings) -> Trust | None:
    given, host, audience = settings.gitlab_project, settings.gitlab_host, settings.gitlab_audience
    if given is None:
        return None
    rule = "must be group/project, without wildcards"
    _check(_GITLAB_PROJECT.fullmatch(given), "gitlab_project", given, rule)
    rule = "must be a host name in lower case, without https:// and port"
    _check(_HOST.fullmatch(host), "gitlab_host", host, rule)
    rule = "must be the `aud` of the pipeline's id_tokens, of letters, digits and . _ : / @ -"
    _check(_TOKEN_AUDIENCE.fullmatch(audience), "gitlab_audience", audience, rule)
    # https://docs.gitlab.com/ci/secrets/id_token_authentication: how a subject is written
    prefix = f"project_path:{given}:"
    subjects = settings.gitlab_subjects or (f"{prefix}ref_type:branch:ref:main",)
    _check_subjects("gitlab_subjects", subjects, prefix)
    return Trust(host, audience, subjects)


def _check_subjects(key: str, subjects: tuple[str, ...], prefix: str) -> None:
    for subject in subjects:
        begins = subject.startswith(prefix) and subject != prefix
        _check(begins, key, subject, f"must begin with {prefix} and go on with a ref")
        rest = subject.removeprefix(prefix)
        rule = f"must have only letters, digits, spaces and . _ / @ : + = , # % * - after {prefix}"
        _check(_SUBJECT_REST.fullmatch(rest), key, subject, rule)
