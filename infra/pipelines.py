"""What lets a CI system start and read runs, and nothing else: a role for one repository's OIDC tokens."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from aws_cdk import Duration
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.findings import accept_wildcard
from infra.oidc import Trust
from infra.settings import Settings, SettingsError

# The longest that a role may allow. A pipeline waits for its model, and a session that is assumed by OIDC is not
# chained, so that the hour of chained roles is not its limit.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_terms-and-concepts.html (role chaining)
LONGEST_SESSION = Duration.hours(12)
READS = ("/jobs", "/runs", "/runs/*")


class PipelineRole(Construct):
    """`role`, which one repository's pipelines assume by OIDC, and `trust`, which tokens that are.

    The account's provider is that of `oidc_provider_arn`, else one is made: an account has one for each issuer.
    Raises SettingsError for a job of `ci_jobs` that is not deployed.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        rest_api: apigateway.RestApi,
        trust: Trust,
        jobs: Collection[str],
        settings: Settings,
    ) -> None:
        super().__init__(scope, construct_id)
        self.trust = trust
        provider_arn = settings.oidc_provider_arn or self._provider().oidc_provider_arn
        self.role = iam.Role(
            self,
            "Role",
            description="Lets the pipelines of one repository start and read runs",
            assumed_by=_principal(trust, provider_arn),
            max_session_duration=LONGEST_SESSION,
        )
        started = _started(settings.ci_jobs, jobs)
        stage = rest_api.deployment_stage.stage_name
        arns = {
            path: rest_api.arn_for_execute_api(method, path, stage)
            for method, paths in {"GET": READS, "POST": started}.items()
            for path in paths
        }
        self.role.add_to_policy(
            iam.PolicyStatement(actions=["execute-api:Invoke"], resources=list(arns.values()))
        )
        for path, arn in arns.items():
            if "*" in path:
                accept_wildcard(self.role, arn, WHY_ANY[path])

    def _provider(self) -> iam.OidcProviderNative:
        # Of CloudFormation's own kind, without a function behind it. No thumbprints: AWS verifies an issuer by its
        # library of certificate authorities, and takes thumbprints only for one that none of them has signed.
        # https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateOpenIDConnectProvider.html
        return iam.OidcProviderNative(
            self, "Provider", url=f"https://{self.trust.host}", client_ids=[self.trust.audience]
        )


ANY_JOB = "/jobs/*/runs"
WHY_ANY: Mapping[str, str] = {
    "/runs/*": "Runs get their ids when they are started; a pipeline reads the one that it has started.",
    ANY_JOB: "A pipeline may start every job of the deployment, unless nightspot:ci_jobs names some.",
}


def _started(wanted: tuple[str, ...], deployed: Collection[str]) -> tuple[str, ...]:
    """The addresses at which runs are started."""
    for name in wanted:
        if name not in deployed:
            raise SettingsError(
                f"nightspot:ci_jobs: {name!r} must be one of the deployed jobs, {', '.join(sorted(deployed))}"
            )
    return tuple(f"/jobs/{name}/runs" for name in sorted(set(wanted))) or (ANY_JOB,)


def _principal(trust: Trust, provider_arn: str) -> iam.IPrincipal:
    """Tokens for `audience` about one of the subjects; a `*` is a wildcard only where one was written."""
    audience, subject = f"{trust.host}:aud", f"{trust.host}:sub"
    conditions = []
    if trust.exact:
        conditions.append({"StringEquals": {audience: trust.audience, subject: list(trust.exact)}})
    if trust.patterns:
        conditions.append(
            {"StringEquals": {audience: trust.audience}, "StringLike": {subject: list(trust.patterns)}}
        )
    return iam.CompositePrincipal(*(iam.WebIdentityPrincipal(provider_arn, each) for each in conditions))
