"""The HTTP API: which addresses API Gateway lets through, to whom, how many, and how it refuses the others.

A CI system may start and read runs by it, and nothing else: there is a role for one repository's OIDC tokens.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import Any

from aws_cdk import Duration, Stack
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from nightspot.api.routes import MEDIA_TYPE, ROUTES
from nightspot.cdk.data import Records, let_it_use_the_key, make_log_group
from nightspot.cdk.identity import Identity
from nightspot.cdk.permissions import accept, accept_wildcard, allow, arn
from nightspot.cdk.settings import Settings, SettingsError, Trust
from nightspot.cdk.triggers import Workflow

STAGE = "v1"
# What API Gateway says itself, by its name for it, and with which status; None: it differs, and stays unsaid.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html
REFUSALS: Mapping[str, int | None] = {
    "ACCESS_DENIED": 403,
    "BAD_REQUEST_BODY": 400,
    "BAD_REQUEST_PARAMETERS": 400,
    "EXPIRED_TOKEN": 403,
    "INTEGRATION_FAILURE": 504,
    "INTEGRATION_TIMEOUT": 504,
    "INVALID_SIGNATURE": 403,
    # Also of an address that is not there: who is not known learns nothing of what there is.
    "MISSING_AUTHENTICATION_TOKEN": 403,
    "QUOTA_EXCEEDED": 429,
    "REQUEST_TOO_LARGE": 413,
    "THROTTLED": 429,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "DEFAULT_4XX": None,
    "DEFAULT_5XX": None,
}
# The longest that a role may allow. A pipeline waits for its model, and a session that is assumed by OIDC is not
# chained, so that the hour of chained roles is not its limit.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_terms-and-concepts.html (role chaining)
LONGEST_SESSION = Duration.hours(12)
READS = ("/jobs", "/runs", "/runs/*")
ANY_JOB = "/jobs/*/runs"
WHY_ANY: Mapping[str, str] = {
    "/runs/*": "Runs get their ids when they are started; a pipeline reads the one that it has started.",
    ANY_JOB: "A pipeline may start every job of the deployment, unless nightspot:ci_jobs names some.",
}
_LOGGED_FIELDS = (
    *("caller", "http_method", "ip", "protocol", "request_time"),
    *("resource_path", "response_length", "status", "user"),
)
_RETRY_SECONDS = 1  # the bucket of allowed requests fills again every second


class Api(Construct):
    """`url` is where the API is; every method of every route takes only who is allowed by IAM."""

    def __init__(
        self,
        scope: Construct,
        function: lambda_.Function,
        workflow: Workflow,
        records: Records,
        settings: Settings,
        identity: Identity,
    ) -> None:
        super().__init__(scope, "Api")
        self.rest_api = apigateway.RestApi(
            self,
            "Rest",
            rest_api_name=f"{Stack.of(self).stack_name}-runs",
            description="Starts, watches, stops and retries runs",
            endpoint_types=[apigateway.EndpointType.REGIONAL],
            # A setting of the whole account and region, which is no stack's to change.
            cloud_watch_role=False,
            default_method_options=apigateway.MethodOptions(
                authorization_type=apigateway.AuthorizationType.IAM
            ),
            deploy_options=apigateway.StageOptions(
                stage_name=STAGE,
                throttling_rate_limit=settings.api_rate,
                throttling_burst_limit=settings.api_burst,
                tracing_enabled=True,
                **self._access_logs(settings),
            ),
        )
        # CDK's own output of the address; ours has a name that commands know.
        self.rest_api.node.try_remove_child("Endpoint")
        stack = Stack.of(self)
        host = f"{self.rest_api.rest_api_id}.execute-api.{stack.region}.{stack.url_suffix}"
        self.url = f"https://{host}/{STAGE}"
        self._routes(function)
        self._refusals()
        _let_it_work(self, function, workflow, records, identity)
        let_it_use_the_key(function, self, settings, "dynamodb")
        self._answer_findings(settings)

    def _routes(self, function: lambda_.Function) -> None:
        # One permission for all methods.
        integration = apigateway.LambdaIntegration(function, scope_permission_to_method=False)
        validator = self.rest_api.add_request_validator(
            "Validator", validate_request_body=True, validate_request_parameters=True
        )
        for route in ROUTES.values():
            self.rest_api.root.resource_for_path(route.path).add_method(
                route.method,
                integration,
                request_validator=validator,
                request_parameters={f"method.request.querystring.{name}": False for name in route.query}
                or None,
            )

    def _refusals(self) -> None:
        for name, status in REFUSALS.items():
            headers = {"Content-Type": f"'{MEDIA_TYPE}'", "Cache-Control": "'no-store'"}
            if status == HTTPStatus.TOO_MANY_REQUESTS:
                headers["Retry-After"] = f"'{_RETRY_SECONDS}'"
            self.rest_api.add_gateway_response(
                f"Refusal{name.title().replace('_', '')}",
                type=apigateway.ResponseType.of(name),
                status_code=str(status) if status is not None else None,
                response_headers=headers,
                templates={"application/json": _problem(status)},
            )

    def _access_logs(self, settings: Settings) -> dict[str, Any]:
        if not settings.api_access_logs:
            return {}
        group = make_log_group(self, "AccessLogs", settings)
        return {
            "access_log_destination": apigateway.LogGroupLogDestination(group),
            "access_log_format": apigateway.AccessLogFormat.json_with_standard_fields(
                **dict.fromkeys(_LOGGED_FIELDS, True)
            ),
        }

    def _answer_findings(self, settings: Settings) -> None:
        stage = self.rest_api.deployment_stage
        for finding in ("APIG6",) if settings.api_access_logs else ("APIG1", "APIG6"):
            accept(
                stage,
                f"AwsSolutions-{finding}",
                "Such logs need a role that is set for the whole account; the function logs every request.",
            )
        accept(
            stage,
            "AwsSolutions-APIG3",
            "Only requests signed by principals of this account get through, and few of them a second.",
        )
        for method in self.rest_api.methods:
            accept(
                method, "AwsSolutions-COG4", "IAM decides who may call: machines and operators, no end users."
            )


def _problem(status: int | None) -> str:
    """A problem (RFC 9457) as a template of API Gateway, which fills in the $-names and knows no more than that."""
    phrase = HTTPStatus(status).phrase if status is not None else "The request was refused"
    fields = {"type": "about:blank", "title": phrase, **({"status": status} if status is not None else {})}
    text = json.dumps(fields).removesuffix("}")
    return f'{text}, "detail": $context.error.messageString, "instance": "$context.requestId"}}'


def _let_it_work(
    scope: Construct, function: lambda_.Function, workflow: Workflow, records: Records, identity: Identity
) -> None:
    """The function starts and looks at runs of this state machine, reads their table, and stops their jobs."""
    machine = workflow.state_machine
    executions = arn(scope, "states", f"execution:{machine.state_machine_name}:*")
    jobs = identity.training_jobs(scope)
    function.add_environment("NIGHTSPOT_STATE_MACHINE_ARN", machine.state_machine_arn)
    allow(function, ["sagemaker:DescribeTrainingJob", "sagemaker:StopTrainingJob"], *jobs)
    for actions, resource in (
        (["states:StartExecution"], machine.state_machine_arn),
        (["states:DescribeExecution"], executions),
        (["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query"], records.table.table_arn),
    ):
        allow(function, actions, resource)
    accept_wildcard(function.role, executions, "Executions are named by what starts them.")
    for each in jobs:
        accept_wildcard(function.role, each, "Training jobs are named by their runs.")


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
        allow(self.role, ["execute-api:Invoke"], *arns.values())
        for path, address in arns.items():
            if "*" in path:
                accept_wildcard(self.role, address, WHY_ANY[path])

    def _provider(self) -> iam.OidcProviderNative:
        # Of CloudFormation's own kind, without a function behind it. No thumbprints: AWS verifies an issuer by its
        # library of certificate authorities, and takes thumbprints only for one that none of them has signed.
        # https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateOpenIDConnectProvider.html
        return iam.OidcProviderNative(
            self, "Provider", url=f"https://{self.trust.host}", client_ids=[self.trust.audience]
        )


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
