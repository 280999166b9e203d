"""The API holds its own OpenAPI document, whatever is sent: schemathesis, in process and with closed sockets."""

from __future__ import annotations

from collections import Counter

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks

from nightspot.lambdas import api as http_api
from nightspot.local.serving import NO_TOKEN, Gateway, RequestSender
from nightspot.local.stage.emulated_aws import LocalContext

# A rule that no schema can tell, such as that of time zones, may refuse what the schema lets pass.
HELD = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
    checks.negative_data_rejection,
    checks.allow_header_conformance,
]
POSITIVE, NEGATIVE = GenerationMode.POSITIVE, GenerationMode.NEGATIVE


class Served:
    """The API behind API Gateway's part, with a run that goes on, and what came of the requests."""

    def __init__(self, api, world):
        self.going_on = world.decide(world.plan()["run"])["run"]["run_id"]
        self.statuses = Counter()

        def answer(event):
            world.pass_time(seconds=1)
            return http_api.handler(event, LocalContext("Api"), use=api.use)

        def authorise(request):
            # Whether a signature is right is not asked here, but whether there is one.
            return NO_TOKEN if request.header("Authorization") is None else RequestSender(api.CALLER)

        gateway = Gateway(answer, authorise=authorise, stage_in_path=True)
        signed = {"Authorization": "AWS4-HMAC-SHA256"}
        self.schema = schemathesis.openapi.from_wsgi("/v1/openapi.json", gateway, headers=signed)

    def hold(self, operation_id, mode, **fixed):
        """Send many requests of a kind, parts of them `fixed`. Raises schemathesis's failures."""
        operation = self.schema.find_operation_by_id(operation_id)

        @given(case=operation.as_strategy(generation_mode=mode, **fixed))
        @settings(
            max_examples=settings.default.max_examples // 2,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def holds(case):
            self.statuses[case.call_and_validate(checks=HELD).status_code] += 1

        holds()


@pytest.fixture
def served(api, world):
    return Served(api, world)


@pytest.mark.parametrize("operation_id", ["listJobs", "listRuns", "getDocument"])
def test_what_the_document_allows_is_answered(served, operation_id):
    served.hold(operation_id, POSITIVE)
    assert served.statuses[200] or served.statuses[422]


@pytest.mark.parametrize("job", ["recommender", "another"])
def test_a_run_of_a_real_job_is_started_or_refused_by_the_rules(served, job):
    served.hold("startRun", POSITIVE, path_parameters={"job": job})
    # The one job has a run already, and allows no second one.
    assert served.statuses[409 if job == "recommender" else 202]


@pytest.mark.parametrize("operation_id", ["getRun", "stopRun", "retryRun"])
def test_a_real_run_is_read_and_stopped_and_not_retried(served, operation_id):
    served.hold(operation_id, POSITIVE, path_parameters={"id": served.going_on})
    assert served.statuses[{"getRun": 200, "stopRun": 202, "retryRun": 409}[operation_id]]


@pytest.mark.parametrize("operation_id", ["startRun", "getRun", "stopRun", "retryRun"])
def test_names_and_ids_of_any_kind_are_not_found(served, operation_id):
    served.hold(operation_id, POSITIVE)
    assert served.statuses[404]


@pytest.mark.parametrize(
    ("operation_id", "fixed"),
    [
        ("startRun", {"path_parameters": {"job": "another"}}),
        ("listRuns", {}),
    ],
)
def test_what_the_document_does_not_allow_is_refused(served, operation_id, fixed):
    served.hold(operation_id, NEGATIVE, **fixed)
    assert served.statuses[422]
