"""Decides which pipelines are let in: whose tokens, for whom, and about which repository and refs of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from infra.settings import Settings

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


class TrustError(ValueError):
    """A pipeline cannot be let in like that; the text names the key, the value and the rule."""


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
    """Who is let in, None for nobody. Raises TrustError for settings that do not say it clearly."""
    _check_company(settings)
    trust = _github(settings) or _gitlab(settings)
    if trust is not None and settings.oidc_provider_arn is not None:
        given = settings.oidc_provider_arn
        found = _PROVIDER_ARN.fullmatch(given)
        if found is None or found[1] != trust.host:
            raise TrustError(
                f"nightspot:oidc_provider_arn: {given!r} must be the ARN of the account's OIDC provider for"
                f" {trust.host}, arn:aws:iam::<account>:oidc-provider/{trust.host}"
            )
    return trust


def _check_company(settings: Settings) -> None:
    """Which settings mean nothing without another one, or beside it."""
    github, gitlab = settings.github_repository, settings.gitlab_project
    if github is not None and gitlab is not None:
        raise TrustError(
            f"nightspot:gitlab_project: {gitlab!r} must not come with nightspot:github_repository:"
            " the role is for one repository"
        )
    either = "nightspot:github_repository or nightspot:gitlab_project"
    needs = {
        "github_subjects": (github, "nightspot:github_repository"),
        "gitlab_subjects": (gitlab, "nightspot:gitlab_project"),
        "oidc_provider_arn": (github or gitlab, either),
        "ci_jobs": (github or gitlab, either),
    }
    for name, (owner, words) in needs.items():
        value = getattr(settings, name)
        if value and owner is None:
            shown = ",".join(value) if isinstance(value, tuple) else value
            raise TrustError(f"nightspot:{name}: {shown!r} must come with {words}")
    if settings.api is False and (github or gitlab) is not None:
        key = "github_repository" if github is not None else "gitlab_project"
        raise TrustError(
            f"nightspot:{key}: {github or gitlab!r} must not come with nightspot:api=false:"
            " a pipeline starts and reads runs through the API"
        )


def _github(settings: Settings) -> Trust | None:
    given = settings.github_repository
    if given is None:
        return None
    if not _GITHUB_REPOSITORY.fullmatch(given):
        raise TrustError(
            f"nightspot:github_repository: {given!r} must be owner/name, without wildcards; or owner@1234/name@5678"
            " where the repository's tokens carry its ids"
        )
    # https://docs.github.com/actions/reference/openid-connect-reference: how a subject is written
    prefix = f"repo:{given}:"
    subjects = settings.github_subjects or (f"{prefix}ref:refs/heads/main",)
    _check_subjects("github_subjects", subjects, prefix)
    return Trust(GITHUB_HOST, AUDIENCE, subjects)


def _gitlab(settings: Settings) -> Trust | None:
    given, host, audience = settings.gitlab_project, settings.gitlab_host, settings.gitlab_audience
    if given is None:
        return None
    if not _GITLAB_PROJECT.fullmatch(given):
        raise TrustError(f"nightspot:gitlab_project: {given!r} must be group/project, without wildcards")
    if not _HOST.fullmatch(host):
        raise TrustError(
            f"nightspot:gitlab_host: {host!r} must be a host name in lower case, without https:// and port"
        )
    if not _TOKEN_AUDIENCE.fullmatch(audience):
        raise TrustError(
            f"nightspot:gitlab_audience: {audience!r} must be the `aud` of the pipeline's id_tokens, of letters,"
            " digits and . _ : / @ -"
        )
    # https://docs.gitlab.com/ci/secrets/id_token_authentication: how a subject is written
    prefix = f"project_path:{given}:"
    subjects = settings.gitlab_subjects or (f"{prefix}ref_type:branch:ref:main",)
    _check_subjects("gitlab_subjects", subjects, prefix)
    return Trust(host, audience, subjects)


def _check_subjects(key: str, subjects: tuple[str, ...], prefix: str) -> None:
    for subject in subjects:
        if not subject.startswith(prefix) or subject == prefix:
            raise TrustError(f"nightspot:{key}: {subject!r} must begin with {prefix} and go on with a ref")
        if not _SUBJECT_REST.fullmatch(subject.removeprefix(prefix)):
            raise TrustError(
                f"nightspot:{key}: {subject!r} must have only letters, digits, spaces and . _ / @ : + = , # % * -"
                f" after {prefix}"
            )
