"""Who may start and read runs from a pipeline: the tokens that are let in, and what their role may do."""

import aws_cdk as cdk
import pytest
from aws_cdk import Validations
from aws_cdk import aws_apigateway as apigateway
from aws_cdk.assertions import Template
from cdk_nag import AwsSolutionsChecks

from nightspot.api.routes import ROUTES
from nightspot.cdk import Settings, SettingsError
from nightspot.cdk.api import PipelineRole
from nightspot.cdk.settings import AUDIENCE, GITHUB_HOST, trust_of

pytestmark = pytest.mark.xdist_group("infra")

REPOSITORY = "acme/models"
MAIN = "repo:acme/models:ref:refs/heads/main"
TAGS = "repo:acme/models:ref:refs/tags/v*"
ENVIRONMENT = "repo:acme/models:environment:nightly"
PROVIDER = f"arn:aws:iam::123456789012:oidc-provider/{GITHUB_HOST}"
JOBS = ("recommender", "search")


def role_template(settings, jobs=JOBS):
    """A stack with an API of no account and the role alone, as (logical id without its hash -> resource)."""
    app = cdk.App()
    stack = cdk.Stack(app, "Stack")
    api = apigateway.RestApi(stack, "Api", cloud_watch_role=False)
    api.root.add_method("GET", apigateway.MockIntegration())
    PipelineRole(stack, "Ci", rest_api=api, trust=trust_of(settings), jobs=jobs, settings=settings)
    return Template.from_stack(stack).to_json()["Resources"]


def of_type(resources, kind):
    return [resource["Properties"] for resource in resources.values() if resource["Type"] == f"AWS::{kind}"]


def trusting(settings):
    """The statements of the trust policy."""
    (role,) = of_type(role_template(settings), "IAM::Role")
    return role["AssumeRolePolicyDocument"]["Statement"]


def invoked(settings, as_text, jobs=JOBS):
    """Method and path of everything that the role may call, below the API's stage."""
    resources = role_template(settings, jobs)
    (policy,) = of_type(resources, "IAM::Policy")
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert statement["Action"] == "execute-api:Invoke"
    (api,) = (n for n, resource in resources.items() if resource["Type"] == "AWS::ApiGateway::RestApi")
    (stage,) = (n for n, resource in resources.items() if resource["Type"] == "AWS::ApiGateway::Stage")
    prefix = f"arn:<AWS::Partition>:execute-api:<AWS::Region>:<AWS::AccountId>:<{api}>/<{stage}>/"
    arns = [as_text(resource) for resource in statement["Resource"]]
    assert all(arn.startswith(prefix) for arn in arns)
    return {arn.removeprefix(prefix) for arn in arns}


def test_only_the_main_branch_of_the_one_repository_is_let_in_by_default():
    (statement,) = trusting(Settings(github_repository=REPOSITORY, oidc_provider_arn=PROVIDER))
    assert statement == {
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Effect": "Allow",
        "Principal": {"Federated": PROVIDER},
        "Condition": {
            "StringEquals": {f"{GITHUB_HOST}:aud": "sts.amazonaws.com", f"{GITHUB_HOST}:sub": [MAIN]}
        },
    }


def test_a_star_is_a_wildcard_only_in_the_subject_that_has_it():
    exact, wild = trusting(
        Settings(
            github_repository=REPOSITORY,
            github_subjects=(TAGS, ENVIRONMENT),
            oidc_provider_arn=PROVIDER,
        )
    )
    aud, sub = f"{GITHUB_HOST}:aud", f"{GITHUB_HOST}:sub"
    assert exact["Condition"] == {"StringEquals": {aud: AUDIENCE, sub: [ENVIRONMENT]}}
    assert wild["Condition"] == {"StringEquals": {aud: AUDIENCE}, "StringLike": {sub: [TAGS]}}


def test_a_repository_whose_tokens_carry_ids_is_named_with_them():
    (statement,) = trusting(Settings(github_repository="acme@42/models@4711", oidc_provider_arn=PROVIDER))
    subject = statement["Condition"]["StringEquals"][f"{GITHUB_HOST}:sub"]
    assert subject == ["repo:acme@42/models@4711:ref:refs/heads/main"]


def test_a_project_on_gitlab_is_let_in_by_its_own_host_and_audience():
    (statement,) = trusting(
        Settings(
            gitlab_project="acme/teams/models",
            gitlab_host="git.example.com",
            gitlab_audience="https://git.example.com",
            oidc_provider_arn="arn:aws:iam::123456789012:oidc-provider/git.example.com",
        )
    )
    assert statement["Condition"] == {
        "StringEquals": {
            "git.example.com:aud": "https://git.example.com",
            "git.example.com:sub": ["project_path:acme/teams/models:ref_type:branch:ref:main"],
        }
    }


@pytest.mark.parametrize(
    "settings",
    [
        Settings(github_repository=REPOSITORY),
        Settings(
            github_repository=REPOSITORY, github_subjects=(MAIN, TAGS, ENVIRONMENT, f"repo:{REPOSITORY}:*")
        ),
        Settings(gitlab_project="acme/models"),
        Settings(
            gitlab_project="acme/models", gitlab_subjects=("project_path:acme/models:ref_type:tag:ref:*",)
        ),
    ],
    ids=["GitHub", "GitHub, many subjects", "GitLab", "GitLab, tags"],
)
def test_no_token_gets_in_without_this_repository_s_name_and_the_audience(settings):
    named = ("repo:acme/models:", "project_path:acme/models:")
    for statement in trusting(settings):
        conditions = {
            key.rpartition(":")[2]: value
            for operator in statement["Condition"].values()
            for key, value in operator.items()
        }
        assert conditions.keys() == {"aud", "sub"}
        assert conditions["aud"] == AUDIENCE
        assert all(subject.startswith(named) for subject in conditions["sub"])
        assert "aud" in str(statement["Condition"]["StringEquals"])


def test_a_session_lasts_as_long_as_a_role_can_allow():
    (role,) = of_type(role_template(Settings(github_repository=REPOSITORY)), "IAM::Role")
    assert role["MaxSessionDuration"] == 12 * 3600


def test_a_provider_is_made_without_a_function_where_the_account_has_none(as_text):
    resources = role_template(Settings(github_repository=REPOSITORY))
    (provider,) = of_type(resources, "IAM::OIDCProvider")
    assert provider == {"Url": f"https://{GITHUB_HOST}", "ClientIdList": [AUDIENCE]}
    assert not of_type(resources, "Lambda::Function")
    (role,) = of_type(resources, "IAM::Role")
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert as_text(statement["Principal"]["Federated"]).startswith("<CiProvider")


def test_the_account_s_own_provider_is_used_where_it_is_named():
    settings = Settings(github_repository=REPOSITORY, oidc_provider_arn=PROVIDER)
    assert not of_type(role_template(settings), "IAM::OIDCProvider")


def test_the_role_starts_and_reads_runs_and_cannot_stop_or_retry_them(as_text):
    assert invoked(Settings(github_repository=REPOSITORY), as_text) == {
        "GET/jobs",
        "GET/runs",
        "GET/runs/*",
        "POST/jobs/*/runs",
    }


def test_the_role_starts_only_the_jobs_that_are_named(as_text):
    settings = Settings(github_repository=REPOSITORY, ci_jobs=("search", "recommender", "search"))
    assert invoked(settings, as_text) == {
        "GET/jobs",
        "GET/runs",
        "GET/runs/*",
        "POST/jobs/recommender/runs",
        "POST/jobs/search/runs",
    }


@pytest.mark.parametrize("name", ["recomender", "*", "recommender/runs/../../search"])
def test_a_job_that_is_not_deployed_cannot_be_named(name):
    with pytest.raises(SettingsError) as caught:
        role_template(Settings(github_repository=REPOSITORY, ci_jobs=(name,)))
    assert str(caught.value) == (
        f"nightspot:ci_jobs: {name!r} must be one of the deployed jobs, recommender, search"
    )


@pytest.mark.parametrize(
    "settings",
    [Settings(github_repository=REPOSITORY), Settings(github_repository=REPOSITORY, ci_jobs=("search",))],
    ids=["all jobs", "one job"],
)
def test_every_finding_about_the_role_is_answered(settings):
    app = cdk.App()
    stack = cdk.Stack(app, "Stack")
    api = apigateway.RestApi(stack, "Api", cloud_watch_role=False)
    api.root.add_method("GET", apigateway.MockIntegration())
    PipelineRole(stack, "Ci", rest_api=api, trust=trust_of(settings), jobs=JOBS, settings=settings)
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    # The API is a bare one here: its own findings are open, and name it.
    with pytest.raises(RuntimeError) as caught:
        Template.from_stack(stack)
    assert "Stack/Api" in str(caught.value)
    assert "Stack/Ci" not in str(caught.value)


@pytest.fixture(scope="module")
def for_pipelines(synthesise):
    """A stack that lets one repository in. Its synthesis would raise at an open finding."""
    return synthesise(Settings(github_repository=REPOSITORY, ci_jobs=("search",)))


def test_the_stack_puts_out_the_role_that_pipelines_assume(for_pipelines, as_text):
    name, _ = for_pipelines.only("IAM::Role", "Pipelines")
    assert as_text(for_pipelines.template["Outputs"]["PipelineRoleArn"]["Value"]) == f"<{name}.Arn>"


def test_the_addresses_that_the_role_may_call_are_those_that_the_api_has(for_pipelines, as_text):
    (statement,) = for_pipelines.allowed_to("Pipelines")
    api, _ = for_pipelines.only("ApiGateway::RestApi")
    (stage,) = for_pipelines.of_type("ApiGateway::Stage")
    called = [resource.partition(f":<{api}>/<{stage}>/") for resource in statement.resources]
    routes = [(route.method, route) for route in ROUTES.values()]
    found = {
        (method, route.path)
        for _, _, call in called
        for method, route in routes
        if call.startswith(f"{method}/") and route.matches(call.removeprefix(method).replace("*", "some"))
    }
    assert len(called) == 4
    assert found == {("GET", "/jobs"), ("GET", "/runs"), ("GET", "/runs/{id}"), ("POST", "/jobs/{job}/runs")}


def test_a_stack_without_a_repository_lets_no_pipeline_in(deployed):
    assert not [name for name in deployed.of_type("IAM::Role") if "Pipelines" in name]
    assert not deployed.of_type("IAM::OIDCProvider")
    assert "PipelineRoleArn" not in deployed.template["Outputs"]
    assert "AssumeRoleWithWebIdentity" not in str(deployed.template)
