"""The stack as the CDK CLI deploys it, and a run that goes through on it."""

import importlib
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from lambdas.dependencies import dependencies
from nightspot.local import moto_sagemaker
from nightspot.local.clock import StoryClock
from nightspot.local.emulated_aws import states_entered, wait_for_end
from nightspot.local.engine import interpreter
from nightspot.local.functions import AsyncInvoker, DeadLetters, bound
from nightspot.local.markets import Markets
from nightspot.local.options import SimulationOptions
from nightspot.local.sagemaker import SimulatedSageMaker

pytestmark = [
    pytest.mark.deployment,
    pytest.mark.xdist_group("deployment"),
    # Policies, schedules, alarms: the template's tests look at those.
    pytest.mark.filterwarnings("ignore:Tried to parse AWS.*not supported by moto:UserWarning"),
]

SCALE = 1800.0
TRAINER = """
import os, time
from pathlib import Path
from nightspot.checkpoint import Checkpointer
checkpoints = Checkpointer(total_steps=24)
restored = checkpoints.restore()
for step in range(restored.step + 1 if restored else 1, 25):
    time.sleep(0.1)
    checkpoints.save(step, b"state")
Path(os.environ["SM_MODEL_DIR"], "model.txt").write_text("24")
"""


def test_a_run_succeeds_on_the_deployed_stack(deployment, tmp_path, monkeypatch):
    functions = deployment.functions
    plan = next(f for f in functions if f["Handler"] == "lambdas.plan_run.handler")
    for name, value in plan["Environment"]["Variables"].items():
        monkeypatch.setenv(name, value)
    _put_the_bundles_jobs_where_the_function_looks(plan, tmp_path, monkeypatch)
    clock = StoryClock(datetime(2026, 11, 21, tzinfo=UTC), SCALE)
    dependencies.cache_clear()
    use = replace(dependencies(), now=clock.now)
    handlers = bound({f["FunctionName"]: _handler(f) for f in functions}, use)
    wake = AsyncInvoker(
        next(handlers[f["FunctionName"]] for f in functions if f["Handler"] == "lambdas.wake_run.handler"),
        clock,
        DeadLetters(),
    )
    trainer = tmp_path / "trainer.py"
    trainer.write_text(TRAINER)
    simulator = SimulatedSageMaker(
        clock,
        Markets(),
        scratch=tmp_path / "scratch",
        command=["python", str(trainer)],
        environment={},
        on_event=wake,
        options=SimulationOptions(),
    )
    machine = deployment.state_machine_arn
    workflows = deployment.client("stepfunctions")
    with simulator, moto_sagemaker.installed(simulator), interpreter(clock, handlers):
        started = workflows.start_execution(
            stateMachineArn=machine, name="by-hand", input=json.dumps({"job": "recommender"})
        )
        execution = wait_for_end(workflows, started["executionArn"], 60)
    wake.close()
    dependencies.cache_clear()

    assert execution["status"] == "SUCCEEDED", execution
    output = json.loads(execution["output"])
    assert output["outcome"] == "succeeded"
    items = deployment.client("dynamodb").scan(TableName=deployment.table_name)["Items"]
    keys = {(item["pk"]["S"], item["sk"]["S"]) for item in items}
    assert (f"RUN#{output['run_id']}", "RUN") in keys
    assert (f"RUN#{output['run_id']}", "ATTEMPT#001") in keys
    (job,) = simulator.states()
    assert job.request["RoleArn"] == plan["Environment"]["Variables"]["NIGHTSPOT_TRAINING_ROLE_ARN"]
    assert len(states_entered(workflows, started["executionArn"])) <= 40


def _put_the_bundles_jobs_where_the_function_looks(plan, tmp_path, monkeypatch):
    from infra.bundle import JOBS_FILE
    from nightspot.job import dump_jobs, load_jobs

    assert plan["Environment"]["Variables"]["NIGHTSPOT_JOBS_FILE"] == JOBS_FILE
    task_root = tmp_path / "var-task"
    task_root.mkdir()
    from pathlib import Path

    jobs = load_jobs(Path(__file__).parents[2] / "jobs")
    (task_root / JOBS_FILE).write_text(dump_jobs(jobs))
    monkeypatch.chdir(task_root)


def _handler(function):
    module, _, name = function["Handler"].rpartition(".")
    return getattr(importlib.import_module(module), name)
