"""What job files name of their own: roles, prefixes in S3, KMS keys, subnets; what cannot be granted is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from nightspot.cdk.settings import BUCKET_NAME, KMS_KEY_ARN, ROLE_ARN
from nightspot.job.code_version import prefix_of
from nightspot.job.errors import InvalidJobError, PathPart, Problem, problem
from nightspot.job.model import Job, dig
from nightspot.job.request_shape import SAMPLES, team_of

OWN_ROLE = "${TrainingRoleArn}"
OWN_CHECKPOINTS = "${CheckpointBucket}"
OWN_MODELS = "${ModelBucket}"
OWN_PAGES = "${ReportBucket}"  # which no job file can name
ACCOUNT, REGION = "AWS::AccountId", "AWS::Region"
# The roles' ARNs stand in PlanRun's environment, which has 4 KB in all.
MOST_TEAMS = 15

_ROLE = ("RoleArn",)
_CHECKPOINTS = ("CheckpointConfig", "S3Uri")
_MODELS = ("OutputDataConfig", "S3OutputPath")
_OUTPUT_KEY = ("OutputDataConfig", "KmsKeyId")
_VOLUME_KEY = ("ResourceConfig", "VolumeKmsKeyId")
_INPUT = ("DataSource", "S3DataSource", "S3Uri")

# An id alone, such as 1234abcd-12ab-34cd-56ef-1234567890ab or mrk-1234abcd…
_KEY_ID = re.compile(r"(?:mrk-)?[0-9a-f][0-9a-f-]{7,}")
# IAM's own signs: in a policy they would stand for more than themselves.
_IAM_SIGNS = re.compile(r"[*?$]")


@dataclass(frozen=True, order=True)
class Prefix:
    """A place in S3. `bucket` may be `${CheckpointBucket}`, `${ModelBucket}` or `${ReportBucket}`.

    `key` begins with no slash; only that of an input or of code may end with one. In both, `${AWS::AccountId}` and
    `${AWS::Region}` may stand.
    """

    bucket: str
    key: str

    def holds(self, other: Prefix) -> bool:
        """Whether `other` is this place or lies in it."""
        inside = not self.key or f"{other.key}/".startswith(f"{self.key}/")
        return self.bucket == other.bucket and inside

    def below(self, pattern: str) -> str:
        """The key of what lies below, such as `nightly/*`."""
        return f"{self.key}/{pattern}" if self.key else pattern


@dataclass(frozen=True)
class Named:
    """What the requests of some jobs name, each thing once; with the placeholders of account and region.

    Keys are ARNs or bare ids.
    """

    roles: tuple[str, ...] = ()  # without the deployment's own and those of teams
    checkpoints: tuple[Prefix, ...] = ()
    models: tuple[Prefix, ...] = ()
    inputs: tuple[Prefix, ...] = ()
    code: tuple[Prefix, ...] = ()
    output_keys: tuple[str, ...] = ()
    volume_keys: tuple[str, ...] = ()
    subnet_ids: tuple[str, ...] = ()
    security_group_ids: tuple[str, ...] = ()


def read_named(jobs: Mapping[str, Job], account: str | None = None) -> Named:
    """What `jobs` name. `account`: the one that is deployed to, where it is known.

    Raises InvalidJobError, naming job, field, value and rule, for what no permission can be given on.
    """
    requests = {name: job.training_job for name, job in sorted(jobs.items())}
    problems = [
        Problem(f"{name}: {found.field}", found.value, found.rule)
        for name, request in requests.items()
        for found in _refusals(request, account)
    ]
    if problems:
        raise InvalidJobError(problems, "the jobs")

    def each(*path: str) -> list[str]:
        return [text for request in requests.values() if isinstance(text := dig(request, *path), str)]

    def lists(*path: str) -> list[str]:
        found = [dig(request, *path) for request in requests.values()]
        return [str(item) for items in found if isinstance(items, list) for item in items]

    inputs = [
        uri for request in requests.values() for _, uri in _inputs(request) if _broken_place(uri) is None
    ]
    return Named(
        roles=_once(role for role in each(*_ROLE) if role != OWN_ROLE and team_of(role) is None),
        checkpoints=_once(map(_prefix, each(*_CHECKPOINTS))),
        models=_once(map(_prefix, each(*_MODELS))),
        inputs=_once(map(_read_prefix, inputs)),
        code=_once(Prefix(OWN_PAGES, prefix_of(name)) for name, job in jobs.items() if job.code is not None),
        output_keys=_once(each(*_OUTPUT_KEY)),
        volume_keys=_once(each(*_VOLUME_KEY)),
        subnet_ids=_once(lists("VpcConfig", "Subnets")),
        security_group_ids=_once(lists("VpcConfig", "SecurityGroupIds")),
    )


def jobs_by_team(jobs: Mapping[str, Job]) -> dict[str | None, dict[str, Job]]:
    """The jobs that run as a role of the deployment's: by team, those of its training role under None."""
    found: dict[str | None, dict[str, Job]] = {}
    for name, job in sorted(jobs.items()):
        role = dig(job.training_job, *_ROLE)
        team = team_of(role) if isinstance(role, str) else None
        if team is not None or role == OWN_ROLE:
            found.setdefault(team, {})[name] = job
    return found


def check_teams(
    teams: Mapping[str, Mapping[str, Job]], buckets: Mapping[str, str], made: Collection[str]
) -> None:
    """Raises InvalidJobError for checkpoints or models of a team that lie in or above those of another team.

    Their roles could overwrite each other's. Of teams in `made` alone, whose roles the stack makes; `buckets`: what
    the placeholders of buckets stand for. And for more teams than PlanRun's environment has room for.
    """
    problems = []
    if len(teams) > MOST_TEAMS:
        *_, last = sorted(teams)
        rule = f"must be one of at most {MOST_TEAMS} teams: the job files name {len(teams)}"
        problems.append(Problem(f"{min(teams[last])}: training_job.RoleArn", f"'{last}'", rule))
    kept = [
        (team, name, path, uri, replace(place, bucket=buckets.get(place.bucket, place.bucket)))
        for team in sorted(made)
        for name, job in teams[team].items()
        for path in (_CHECKPOINTS, _MODELS)
        if isinstance(uri := dig(job.training_job, *path), str) and (place := _prefix(uri))
    ]
    for team, name, path, uri, place in kept:
        for other, its_job, _, its_uri, its_place in kept:
            if other != team and place.holds(its_place):
                rule = f"must not hold {its_uri} of {its_job}, which is of team {other} and not of {team}"
                found = problem(("training_job", *path), uri, rule)
                problems.append(Problem(f"{name}: {found.field}", found.value, rule))
    if problems:
        raise InvalidJobError(problems, "the jobs")


def ungranted_inputs(jobs: Mapping[str, Job]) -> Iterator[Problem]:
    """The inputs of jobs on a role of the deployment's that cannot be granted, such as an access point."""
    for name, job in sorted(jobs.items()):
        for path, uri in _inputs(job.training_job):
            if (rule := _broken_place(uri)) is not None:
                found = problem(("training_job", *path), uri, rule)
                yield Problem(f"{name}: {found.field}", found.value, found.rule, "warning")


def _once(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(sorted(set(values)))


def _inputs(request: Mapping[str, Any]) -> Iterator[tuple[tuple[PathPart, ...], str]]:
    channels = request.get("InputDataConfig")
    for n, channel in enumerate(channels if isinstance(channels, list) else ()):
        if isinstance(uri := dig(channel, *_INPUT), str):
            yield ("InputDataConfig", n, *_INPUT), uri


def _prefix(uri: str) -> Prefix:
    # Not by urlsplit: a bucket may be a ${placeholder}.
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return Prefix(bucket, key.strip("/"))


def _read_prefix(uri: str) -> Prefix:
    """Of an input, whose keys all begin so: it makes a difference whether there is a slash at the end."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return Prefix(bucket, key)


def _refusals(request: Mapping[str, Any], account: str | None) -> Iterator[Problem]:
    rules: tuple[tuple[tuple[str, ...], Callable[[str], str | None]], ...] = (
        (_ROLE, lambda text: _broken_role(text, account)),
        (_CHECKPOINTS, _broken_place),
        (_MODELS, _broken_place),
        (_OUTPUT_KEY, _broken_key),
        (_VOLUME_KEY, _broken_key),
    )
    for path, broken in rules:
        value = dig(request, *path)
        if isinstance(value, str) and (rule := broken(value)) is not None:
            yield problem(("training_job", *path), value, rule)


def _literal(text: str) -> str:
    """`text` with a sample in the place of account and region, which every deployment knows."""
    for name in (ACCOUNT, REGION):
        text = text.replace(f"${{{name}}}", SAMPLES[name])
    return text


def _broken_role(text: str, account: str | None) -> str | None:
    if text == OWN_ROLE or team_of(text) is not None:
        return None
    if not ROLE_ARN.fullmatch(_literal(text)) or _IAM_SIGNS.search(_literal(text)):
        own = f"{OWN_ROLE}, ${{TrainingRoleArn.TEAM}}"
        return f"must be {own} or the ARN of one IAM role, arn:aws:iam::ACCOUNT:role/NAME"
    its = text.split(":")[4]
    if account is not None and its not in {account, f"${{{ACCOUNT}}}"}:
        return (
            f"must be a role of account {account}, which is deployed to: no role of another one can be passed"
        )
    return None


def _broken_place(uri: str) -> str | None:
    place = _prefix(uri)
    if place.bucket not in {OWN_CHECKPOINTS, OWN_MODELS} and not BUCKET_NAME.fullmatch(
        _literal(place.bucket)
    ):
        return (
            f"must name its bucket, or {OWN_CHECKPOINTS} or {OWN_MODELS}: "
            "no permission can be derived from anything else"
        )
    if _IAM_SIGNS.search(_literal(place.key)):
        return "must have no * ? or $ in its prefix: a permission would take it for a wildcard"
    return None


def _broken_key(text: str) -> str | None:
    literal = _literal(text)
    if KMS_KEY_ARN.fullmatch(literal) or _KEY_ID.fullmatch(literal):
        return None
    return "must be the ARN of a KMS key, or its id: an alias can be moved to a key that nobody granted"
