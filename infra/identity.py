"""Which environment a deployment is: by it, several in one account and region tell their training jobs apart."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from aws_cdk import Stack, Token
from constructs import Construct

from nightspot.cdk.permissions import arn
from nightspot.cdk.settings import Settings
from nightspot.formats.run_ids import ENVIRONMENT_CHARACTERS, NAME_PREFIX, is_environment, names_of

# Of a stack that is called Nightspot and no more.
MAIN = "main"
# How many job names a rule's pattern (2,048 characters) and a role's policies (10,240) hold with ease.
MOST_NAMED_JOBS = 20
_DIGEST_CHARACTERS = 4
# What the ids of runs begin with: a job called "x" shall not match the names of "x-large".
_CENTURY = "20"


@dataclass(frozen=True)
class Identity:
    """`environment`: what a deployment is called; `prefixes`: what the names of its training jobs begin with.

    `has_older_runs`: whether runs of an older version may still go on, with what they began with.
    """

    environment: str
    prefixes: tuple[str, ...]
    has_older_runs: bool = False

    def training_jobs(self, scope: Construct) -> tuple[str, ...]:
        """The ARNs of this environment's training jobs, and of nobody else's."""
        return tuple(arn(scope, "sagemaker", f"training-job/{prefix}*") for prefix in self.prefixes)

    @property
    def training_job_names(self) -> list[dict[str, str]]:
        """The same as EventBridge matches names."""
        return [{"prefix": prefix} for prefix in self.prefixes]

    def notices(self, executions_arn: str) -> dict[str, Any]:
        """What the detail of this environment's notices is like; `executions_arn` is that of its runs, to the `*`.

        An execution of a version that knew no environments tells of a crash in that version's words.
        """
        older = {
            "environment": [{"exists": False}],
            "execution_arn": [{"prefix": executions_arn.removesuffix("*")}],
        }
        return {"$or": [{"environment": [self.environment]}, older]}


def identity_of(scope: Construct, settings: Settings, jobs: Collection[str]) -> Identity:
    """The environment that the settings name, else that of the stack's name.

    A stack that was never given a name may have runs whose training jobs were named before there were environments.
    So it may use those names as well: of its own jobs alone, where they are few enough to be listed.
    """
    if settings.environment is not None:
        return Identity(settings.environment, (names_of(settings.environment),))
    stack = Stack.of(scope)
    # A nested stack gets its name at the deployment.
    name = stack.node.path if Token.is_unresolved(stack.stack_name) else stack.stack_name
    own = names_of(default_environment(name))
    older = [f"{NAME_PREFIX}{job}-{_CENTURY}" for job in sorted(jobs)]
    prefixes = (own, *older) if len(older) <= MOST_NAMED_JOBS else (NAME_PREFIX,)
    return Identity(default_environment(name), prefixes, has_older_runs=True)


def default_environment(stack_name: str) -> str:
    """ "main" of Nightspot, "prod" of Nightspot-prod; of any other name its letters and a digest, as "recok3ab".

    Two names never give the same one, but for digests of 20 bits that are the same.
    """
    rest = re.sub(r"^nightspot-?", "", stack_name, flags=re.IGNORECASE)
    if stack_name == "Nightspot":
        return MAIN
    if stack_name == f"Nightspot-{rest}" and is_environment(rest) and rest != MAIN:
        return rest
    letters = re.sub(r"[^a-z0-9]", "", rest.lower()).lstrip("0123456789") or "n"
    digest = base64.b32encode(hashlib.sha256(stack_name.encode()).digest()).decode().lower()
    return letters[: ENVIRONMENT_CHARACTERS - _DIGEST_CHARACTERS] + digest[:_DIGEST_CHARACTERS]
