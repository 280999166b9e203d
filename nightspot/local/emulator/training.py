"""An emulated account in which training jobs run: processes of this machine, in real time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nightspot.job.model import Job
from nightspot.local.clock import StoryClock
from nightspot.local.emulator.account import EmulatedAccount, emulated_account
from nightspot.local.emulator.sagemaker_server import sagemaker_server
from nightspot.local.sagemaker.launch import TrainingCommand
from nightspot.local.sagemaker.markets import Markets, SimulationOptions
from nightspot.local.sagemaker.process import CommandError
from nightspot.local.sagemaker.sagemaker import SimulatedSageMaker
from nightspot.local.stage.session import JOB_TAG, NoLocalCommandError, local_command_of

# Functions read the real clock, so that nothing can be faster than it is; machines come sooner than AWS's.
SIMULATION = SimulationOptions(
    spot_provisioning_seconds=3.0,
    on_demand_provisioning_seconds=3.0,
    download_seconds=1.0,
    upload_seconds=1.0,
    sync_interval_seconds=1.0,
    stop_grace_seconds=30.0,
)


@contextmanager
def account_that_trains(
    python: Path,
    scratch: Path,
    command_of: Callable[[Mapping[str, Any]], TrainingCommand],
    *,
    port: int,
    region: str,
    options: SimulationOptions = SIMULATION,
    **of_account: Any,
) -> Iterator[tuple[EmulatedAccount, SimulatedSageMaker]]:
    """Inside: the account is there, and what its SageMaker is asked to train runs `command_of` the request.

    Spot and on-demand machines can always be had. `of_account`: see `emulated_account`. Raises EmulatorError.
    """
    with ExitStack() as stack:
        server = stack.enter_context(sagemaker_server())
        account = stack.enter_context(
            emulated_account(
                python, scratch, port=port, region=region, sagemaker_url=server.url, **of_account
            )
        )
        s3 = account.client("s3")
        stack.callback(s3.close)
        simulator = SimulatedSageMaker(
            StoryClock(datetime.now(UTC), 1.0),
            Markets(),
            scratch=scratch / "training",
            command_of=command_of,
            on_event=server.put_event,
            region=region,
            options=options,
            s3=s3,
        )
        server.simulator = stack.enter_context(simulator)
        yield account, simulator


def command_of_jobs(
    jobs: Mapping[str, Job], directory: Path
) -> Callable[[Mapping[str, Any]], TrainingCommand]:
    """What runs for a CreateTrainingJob request: `local.command` of the job that its tag names, in `directory`."""

    def command_of(request: Mapping[str, Any]) -> TrainingCommand:
        tags = {tag["Key"]: tag["Value"] for tag in request.get("Tags", ())}
        name = str(tags.get(JOB_TAG))
        if name not in jobs:
            raise CommandError(
                f"the request's tag {JOB_TAG} is {name!r}, which is no job file of this folder"
            )
        try:
            local = local_command_of(jobs, name)
        except NoLocalCommandError as error:
            raise CommandError(str(error)) from error
        return TrainingCommand.of(local, directory)

    return command_of
