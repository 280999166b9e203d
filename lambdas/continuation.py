"""Lets another execution go on with a run whose own has crashed: at the same step, with the same attempts.

The input is `{"continue_run": "20261121-d74a4a"}`. Of several executions that ask for one run, one takes it on.
"""

from __future__ import annotations

from nightspot.lambdas import turns
from nightspot.lambdas.dependencies import Dependencies
from nightspot.lambdas.run_input import InvalidInputError
from nightspot.aws.faults import TransientAwsError
from nightspot.aws.runs.executions import CONTINUE_RUN
from nightspot.job.errors import describe
from nightspot.run.model import Run, evolve
from nightspot.run.reasons import clock


def asked_for(given: object) -> str | None:
    """The id of the run that an execution's input wants to be gone on with; None for every other input.

    Raises InvalidInputError.
    """
    if not isinstance(given, dict) or CONTINUE_RUN not in given:
        return None
    run_id = given[CONTINUE_RUN]
    if not isinstance(run_id, str) or not run_id:
        raise InvalidInputError(f"{CONTINUE_RUN}: {describe(run_id)} must be the id of a run, as text")
    if others := sorted(given.keys() - {CONTINUE_RUN}):
        raise InvalidInputError(
            f"{others[0]}: must not stand beside {CONTINUE_RUN}: the run is planned already"
        )
    return run_id


def take_on(run_id: str, execution_arn: str, use: Dependencies) -> Run:
    """The run as its last decision left it, which the execution has from now on.

    Raises InvalidInputError with the rule where it must not be gone on with, TransientAwsError where AWS does not
    say.
    """
    run = use.table.run(run_id)
    if run is None:
        raise InvalidInputError(
            f"{CONTINUE_RUN}: {run_id!r} must be the id of a run on record, and there is none"
        )
    if run.outcome is not None:
        raise _refusal(run_id, f"it is over ({run.outcome.value}); retry it instead")
    noted = use.table.open_runs.get(run_id)
    if noted is None and run.steps == 0:
        raise _refusal(run_id, "its plan was not made to the end; start a new run instead")
    owner = run.execution_arn if noted is None else noted.execution_arn
    if owner != execution_arn:
        _check_that_it_is_over(run_id, owner, use)
    if not use.table.open_runs.take_on(run, execution_arn, from_arn=owner):
        raise _refusal(run_id, "another execution has just taken it on")
    taken = run if run.execution_arn == execution_arn else _restarted(run, execution_arn, use)
    taken = turns.keep(taken, use)
    use.table.record_promise(taken)
    return taken


def _restarted(run: Run, execution_arn: str, use: Dependencies) -> Run:
    said = f"Restarted at {clock(use.now())}, because its execution had crashed."
    return evolve(
        run,
        execution_arn=execution_arn,
        restarts=run.restarts + 1,
        plan_note=f"{run.plan_note} {said}" if run.plan_note else said,
    )


def _check_that_it_is_over(run_id: str, execution_arn: str, use: Dependencies) -> None:
    is_running = use.executions.is_running(execution_arn)
    if is_running is None:
        raise TransientAwsError(f"AWS does not say whether {execution_arn} goes on")
    if is_running:
        raise _refusal(run_id, f"its execution {execution_arn.rpartition(':')[2]} goes on")


def _refusal(run_id: str, why: str) -> InvalidInputError:
    return InvalidInputError(f"{CONTINUE_RUN}: run {run_id!r} cannot be gone on with: {why}")
