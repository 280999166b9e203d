"""The API in the template: IAM on every method, the handler's routes and no other, limits, refusals as problems."""

import json

import pytest

from nightspot.api.routes import ROUTES
from nightspot.cdk import Settings, SettingsError
from nightspot.cdk.api import REFUSALS
from nightspot.lambdas.api import app

pytestmark = pytest.mark.xdist_group("infra")


@pytest.fixture(scope="session")
def without_api(synthesise):
    return synthesise(Settings(api=False))


@pytest.fixture(scope="session")
def with_access_logs(synthesise):
    return synthesise(Settings(api_access_logs=True, api_rate=3, api_burst=5, log_days=7))


def paths(synthesised):
    """The logical id of every resource of the API, with its path."""
    resources = synthesised.of_type("ApiGateway::Resource")

    def path_of(name):
        parent = resources[name]["ParentId"].get("Ref")
        return f"{path_of(parent) if parent in resources else ''}/{resources[name]['PathPart']}"

    return {name: path_of(name) for name in resources}


def methods(synthesised):
    found = paths(synthesised)
    return {
        (method["HttpMethod"], found[method["ResourceId"]["Ref"]]): method
        for method in synthesised.of_type("ApiGateway::Method").values()
    }


def the_resolver_s():
    """What the handler itself answers; Powertools names no public way to its routes."""
    routes = [*app._dynamic_routes, *app._static_routes]
    return {(route.method, route.openapi_path) for route in routes}


def test_the_addresses_are_the_handler_s_and_those_of_the_table(deployed):
    table = {(route.method, route.path) for route in ROUTES.values()}
    assert set(methods(deployed)) == table == the_resolver_s()


def test_every_method_is_for_those_alone_whom_iam_allows(deployed):
    assert {method["AuthorizationType"] for method in methods(deployed).values()} == {"AWS_IAM"}
    assert not any(method.get("ApiKeyRequired") for method in methods(deployed).values())


def test_no_page_of_another_origin_is_let_in(deployed):
    assert not [name for name in methods(deployed) if name[0] == "OPTIONS"]
    headers = [
        name
        for response in deployed.of_type("ApiGateway::GatewayResponse").values()
        for name in response["ResponseParameters"]
    ]
    assert headers
    assert not [name for name in headers if "access-control" in name.lower()]


def test_every_method_calls_the_api_s_function_with_the_whole_request(deployed, as_text):
    function, _ = deployed.only("Lambda::Function", "FunctionsApi")
    for method in methods(deployed).values():
        assert method["Integration"]["Type"] == "AWS_PROXY"
        assert f"<{function}.Arn>" in as_text(method["Integration"]["Uri"])
        assert "RequestValidatorId" in method


def test_the_function_is_called_by_this_api_alone_and_not_by_the_console_s_test(deployed, as_text):
    api, _ = deployed.only("ApiGateway::RestApi")
    function, _ = deployed.only("Lambda::Function", "FunctionsApi")
    (permission,) = (
        one
        for one in deployed.of_type("Lambda::Permission").values()
        if as_text(one["FunctionName"]) == f"<{function}.Arn>"
    )
    assert permission["Principal"] == "apigateway.amazonaws.com"
    assert f":<{api}>/*" in as_text(permission["SourceArn"])
    assert "test-invoke" not in as_text(permission["SourceArn"])


def test_few_requests_a_second_are_let_through(deployed, with_access_logs):
    def limits(synthesised):
        _, stage = synthesised.only("ApiGateway::Stage")
        (every,) = stage["MethodSettings"]
        assert (every["HttpMethod"], every["ResourcePath"]) == ("*", "/*")
        return every["ThrottlingRateLimit"], every["ThrottlingBurstLimit"]

    assert limits(deployed) == (10, 20)
    assert limits(with_access_logs) == (3, 5)


def test_the_stage_is_traced_and_keeps_no_bodies(deployed):
    _, stage = deployed.only("ApiGateway::Stage")
    assert (stage["StageName"], stage["TracingEnabled"]) == ("v1", True)
    assert not any(setting["DataTraceEnabled"] for setting in stage["MethodSettings"])


def test_the_account_s_own_setting_of_logs_is_left_alone(deployed, with_access_logs):
    for synthesised in (deployed, with_access_logs):
        assert not synthesised.of_type("ApiGateway::Account")


def test_access_logs_are_kept_where_they_are_wished_for(deployed, with_access_logs):
    _, stage = with_access_logs.only("ApiGateway::Stage")
    assert "requestId" in stage["AccessLogSetting"]["Format"]
    _, group = with_access_logs.only("Logs::LogGroup", "AccessLogs")
    assert group["RetentionInDays"] == 7
    assert "AccessLogSetting" not in deployed.only("ApiGateway::Stage")[1]


@pytest.mark.parametrize("name", sorted(REFUSALS))
def test_what_the_gateway_refuses_is_a_problem(deployed, name):
    (response,) = (
        one for one in deployed.of_type("ApiGateway::GatewayResponse").values() if one["ResponseType"] == name
    )
    template = response["ResponseTemplates"]["application/json"]
    # The gateway writes the message with its quotes.
    problem = json.loads(template.replace("$context.error.messageString", '"Forbidden"'))
    assert {"type", "title", "detail", "instance"} <= problem.keys()
    status = REFUSALS[name]
    assert problem.get("status") == status
    assert response.get("StatusCode") == (str(status) if status else None)
    headers = response["ResponseParameters"]
    assert headers["gatewayresponse.header.Content-Type"] == "'application/problem+json'"
    assert ("gatewayresponse.header.Retry-After" in headers) is (status == 429)


def test_the_function_may_start_look_read_and_stop_and_nothing_else(deployed, as_text):
    statements = deployed.allowed_to("FunctionsApiRole")
    machine, _ = deployed.only("StepFunctions::StateMachine")
    table, _ = deployed.only("DynamoDB::Table")
    allowed = {action: statement.resources for statement in statements for action in statement.actions}
    own = {name for name in allowed if not name.startswith(("logs:", "xray:"))}
    assert own == {
        "dynamodb:GetItem",
        "dynamodb:PutItem",  # who wants the end of a run
        "dynamodb:Query",
        "sagemaker:DescribeTrainingJob",
        "sagemaker:StopTrainingJob",
        "states:DescribeExecution",
        "states:SendTaskSuccess",  # wakes the run that is to stop
        "states:StartExecution",
    }
    assert allowed["states:StartExecution"] == (f"<{machine}>",)
    assert allowed["dynamodb:Query"] == allowed["dynamodb:PutItem"] == (f"<{table}.Arn>",)
    jobs = allowed["sagemaker:StopTrainingJob"]
    assert jobs[0].endswith(":training-job/nightspot-main-*")
    assert all(each.endswith("-20*") for each in jobs[1:])
    (executions,) = allowed["states:DescribeExecution"]
    assert executions.endswith(f":execution:<{machine}.Name>:*")


def test_the_function_knows_its_state_machine_and_answers_before_the_gateway_gives_up(deployed):
    machine, _ = deployed.only("StepFunctions::StateMachine")
    _, function = deployed.only("Lambda::Function", "FunctionsApi")
    assert function["Environment"]["Variables"]["NIGHTSPOT_STATE_MACHINE_ARN"] == {"Ref": machine}
    assert function["Handler"] == "nightspot.lambdas.api.handler"
    assert function["Timeout"] == 29


def test_the_address_is_an_output_and_there_is_one_only(deployed, as_text):
    api, _ = deployed.only("ApiGateway::RestApi")
    urls = {name for name, output in deployed.template["Outputs"].items() if "execute-api" in str(output)}
    assert urls == {"ApiUrl"}
    value = as_text(deployed.template["Outputs"]["ApiUrl"]["Value"])
    assert value == f"https://<{api}>.execute-api.<AWS::Region>.<AWS::URLSuffix>/v1"


def test_a_deployment_can_do_without(without_api):
    assert not [
        resource
        for resource in without_api.template["Resources"].values()
        if resource["Type"].startswith("AWS::ApiGateway::")
    ]
    assert "ApiUrl" not in without_api.template["Outputs"]
    assert not [name for name in without_api.of_type("Lambda::Function") if "FunctionsApi" in name]


@pytest.mark.parametrize("name", ["api_rate", "api_burst"])
@pytest.mark.parametrize("value", [0, -1, 10_001])
def test_limits_must_be_numbers_that_api_gateway_takes(name, value):
    with pytest.raises(SettingsError, match=f"nightspot:{name}: {value} must be 1 to 10,000"):
        Settings(**{name: value})
