"""Whose account and which region a command asks, and what a job file's placeholders stand for there."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from botocore.exceptions import BotoCoreError, ClientError

from nightspot.aws.drill_plan import refusal
from nightspot.aws.runs.operating import Deployment, DeploymentError, read_deployment
from nightspot.cli._shared import fail
from nightspot.client.access import STACK, session_of
from nightspot.job.errors import nearest
from nightspot.job.model import Job
from nightspot.job.request_shape import SAMPLES, fill, placeholders

_REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-[0-9]+")

Region = Annotated[str | None, typer.Option(metavar="REGION", help="Instead of the configured one.")]
Profile = Annotated[str | None, typer.Option(metavar="NAME", help="The AWS profile whose credentials count.")]


@dataclass(frozen=True)
class Asked:
    """The options that say which account is asked, and what the placeholders stand for there."""

    placeholder: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="What ${NAME} in the job file stands for.")
    ] = None
    stack: Annotated[
        str | None, typer.Option(metavar="NAME", help=f"The stack that knows the placeholders [{STACK}].")
    ] = None
    region: Region = None
    profile: Profile = None

    @property
    def placeholders(self) -> dict[str, str]:
        """What --placeholder says, by name. Raises typer.BadParameter."""
        names: dict[str, str] = {}
        for text in self.placeholder or ():
            name, equals, value = text.partition("=")
            if not equals or not value:
                raise typer.BadParameter(f"--placeholder: {text!r}: must be NAME=VALUE")
            if name not in SAMPLES:
                rule = f"must be one of {', '.join(SAMPLES)}{nearest(name, SAMPLES)}"
                raise typer.BadParameter(f"--placeholder: {name!r}: {rule}")
            if name in names:
                raise typer.BadParameter(f"--placeholder: {name!r}: must be given only once")
            names[name] = value
        return names


@dataclass(frozen=True)
class Aws:
    """An account in a region: `client(service)` gives boto3's client of that service."""

    region: str
    client: Callable[[str], Any]
    profile: str | None = None


def localised(job: Job, aws: Aws, given: dict[str, str], stack: str | None) -> Job:
    """The job with its placeholders filled in: from --placeholder, then AWS itself, then the deployed stack."""
    text = json.dumps(job.training_job)
    needed = placeholders(text)
    names = {"AWS::Region": aws.region, **given}
    if "AWS::AccountId" in needed and "AWS::AccountId" not in names:
        names["AWS::AccountId"] = _account_id(aws)
    deployment, why = Deployment(), ""
    if stack is not None or not names.keys() >= set(needed):
        try:
            deployment = read_deployment(
                stack or STACK, cloudformation=aws.client("cloudformation"), lambdas=aws.client("lambda")
            )
        except DeploymentError as error:
            if stack is not None:
                fail(f"--stack: {error}")
            why = f": {error}"
    names = {**deployment.names, **names}
    if missing := [name for name in needed if name not in names]:
        way = f"give --placeholder {missing[0]}=VALUE, or --stack NAME"
        fail(*(f"training_job: ${{{name}}}: is not known here{why}; {way}" for name in missing))
    request = fill(job.training_job, names)
    if deployment.vpc_config is not None:
        # As a run has it.
        request.setdefault("VpcConfig", deployment.vpc_config)
    return job.model_copy(update={"training_job": request})


def _account_id(aws: Aws) -> str:
    try:
        return str(aws.client("sts").get_caller_identity()["Account"])
    except (ClientError, BotoCoreError) as error:
        fail(f"training_job: ${{AWS::AccountId}}: {refusal('AWS does not say whose account this is', error)}")


def check_region(region: str | None, named_by: str = "--region") -> None:
    """Raises typer.BadParameter where a region is given that cannot be one, before AWS is asked for it."""
    if region is not None and not _REGION.fullmatch(region):
        raise typer.BadParameter(f"{named_by}: {region!r}: must be the name of a region, such as eu-west-1")


def aws_of(profile: str | None, region: str | None) -> Aws:
    """The account of the configured credentials, or of a profile's. Raises typer.BadParameter."""
    check_region(region)
    session = session_named(profile, region)
    if session.region_name is None:
        raise typer.BadParameter("--region: no AWS region is configured: pass --region or set AWS_REGION")
    check_region(session.region_name, "the configured region")
    return Aws(session.region_name, session.client, profile)


def session_named(profile: str | None, region: str | None) -> Any:
    """As `session_of`; what boto3 cannot make a session of is the user's mistake. Raises typer.BadParameter."""
    try:
        return session_of(profile, region)
    except BotoCoreError as error:
        named_by = "--profile" if profile else "AWS_PROFILE"
        raise typer.BadParameter(
            f"{named_by}: {profile or os.environ.get('AWS_PROFILE')!r}: {error}"
        ) from error
