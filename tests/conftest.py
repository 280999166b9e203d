"""The reference story to vary: midnight to 08:00, four hours of work, one Spot and one on-demand rung at $33.

Every builder takes changes by field name; a test names only what it is about.
"""

import functools
import itertools
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import botocore.session
import pytest
from hypothesis import HealthCheck, settings
from moto import mock_aws
from moto.core.serialize import ResponseSerializer

from nightspot.decide.ledger import JobView, Observation, Transition
from nightspot.failures.codes import FailureClass
from nightspot.job.markets import Market
from nightspot.run.model import Attempt, AttemptState, Progress, Run, Rung

MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)
P4D = "ml.p4d.24xlarge"
REQUEST = {
    "RoleArn": "arn:aws:iam::123456789012:role/training",
    "AlgorithmSpecification": {"TrainingImage": "training:latest", "TrainingInputMode": "File"},
    "OutputDataConfig": {"S3OutputPath": "s3://models/nightly/"},
    "CheckpointConfig": {"S3Uri": "s3://checkpoints/nightly/"},
    "ResourceConfig": {"InstanceCount": 1, "VolumeSizeInGB": 50},
    "StoppingCondition": {"MaxRuntimeInSeconds": 21_600},
}


# The one profile of all properties: the same examples at every run, and nothing that fails on a busy machine
# (too_slow measures real seconds as well). "long" tries more of them (make test-long).
settings.register_profile(
    "nightspot",
    max_examples=50,
    derandomize=True,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("long", settings.get_profile("nightspot"), max_examples=150)
settings.load_profile("nightspot")


class Story:
    """Builders of the reference story. The ledger's arithmetic on it, with nothing measured yet:

    W = 4 h times 1.2 = 4 h 48 min, l = 30 min, d_spot = 10 min, d_on_demand = 15 min, stop = 3 min; so Spot may be
    waited for until 08:00 - 5 h 46 min = 02:14, and on-demand must start by 08:00 - 5 h 03 min = 02:57.
    """

    midnight = MIDNIGHT
    deadline = MIDNIGHT + timedelta(hours=8)
    spot = Rung(Market.SPOT, P4D, "eu-west-1", usd_per_hour=33.0, change_over_seconds=600)
    on_demand = Rung(Market.ON_DEMAND, P4D, "eu-west-1", usd_per_hour=33.0, change_over_seconds=900)

    @staticmethod
    def at(clock: str) -> datetime:
        """ "04:31" or "04:31:07" of the night; "32:00" is 08:00 of the day after."""
        hours, minutes, *seconds = (int(part) for part in clock.split(":"))
        return MIDNIGHT + timedelta(hours=hours, minutes=minutes, seconds=sum(seconds))

    def run(self, **changes: Any) -> Run:
        """Planned at midnight; nothing asked for yet."""
        fields = {
            "job": "recommender",
            "run_id": "20261121-abc123",
            "execution_arn": "arn:aws:states:eu-west-1:123456789012:execution:nightspot-recommender:x",
            "started_at": MIDNIGHT,
            "deadline": self.deadline,
            "rungs": (self.spot, self.on_demand),
            "work_seconds": 14_400.0,
            "work_upper_seconds": 17_280.0,
            "checkpoint_every_seconds": 1800,
            "checkpoint_s3_uri": "s3://checkpoints/nightly/20261121-abc123",
            "training_job": REQUEST,
        }
        run = Run(**{**fields, **changes})
        return replace(run, attempts=tuple(run.attempts))

    def attempt(self, rung: Rung | None = None, *, number: int = 1, **changes: Any) -> Attempt:
        """An open Spot attempt that has waited since it was asked for at midnight."""
        fields = {
            "number": number,
            "rung": rung or self.spot,
            "training_job_name": f"nightspot-recommender-20261121-abc123-{number}",
            "asked_at": MIDNIGHT,
            "state": AttemptState.WAITING,
            "status": "InProgress",
            "secondary_status": "Starting",
            "state_since": changes.get("asked_at", MIDNIGHT),
        }
        return Attempt(**{**fields, **changes})

    def training(self, rung: Rung | None = None, *, since: str, **changes: Any) -> Attempt:
        """An attempt that has been training since `since`."""
        state = {
            "state": AttemptState.TRAINING,
            "secondary_status": "Training",
            "state_since": self.at(since),
        }
        return self.attempt(rung, **{**state, **changes})

    def ended(self, failure: FailureClass | None, rung: Rung | None = None, **changes: Any) -> Attempt:
        """An attempt that ended so at once, at midnight if nothing else is said."""
        state = {"state": AttemptState.ENDED, "ended_at": MIDNIGHT, "failure": failure}
        return self.attempt(rung, **{**state, **changes})

    def progress(self, step: int, saved_at: str, **changes: Any) -> Progress:
        """`step` of 24 is safe."""
        fields = {"step": step, "saved_at": self.at(saved_at), "total_steps": 24}
        return Progress(**{**fields, **changes})

    def view(
        self, *history: tuple[str, str, str | None], status: str = "InProgress", **changes: Any
    ) -> JobView:
        """What DescribeTrainingJob says; `history` is (secondary status, from, to), its last one the present."""
        transitions = tuple(
            Transition(name, self.at(start), None if end is None else self.at(end))
            for name, start, end in history
        )
        fields = {
            "training_job_name": self.attempt().training_job_name,
            "status": status,
            "secondary_status": transitions[-1].status if transitions else "Starting",
            "transitions": transitions,
        }
        return JobView(**{**fields, **changes})

    def look(self, view: JobView | None, **changes: Any) -> Observation:
        """One look at the first attempt's training job; None: SageMaker does not know it."""
        return Observation(jobs={self.attempt().training_job_name: view}, **changes)


@pytest.fixture(scope="session")
def story() -> Story:
    return Story()


@pytest.fixture(scope="session", autouse=True)
def moto_starts_fast() -> Iterator[None]:
    """What moto would do again at each of its many starts is done once, or not at all.

    It forgets boto3's session, and with it what was read of botocore's large JSON files; it lists a thousand
    patterns for a library, requests, with which nothing here calls AWS; and it looks under several names for each
    of the ten kinds of value that a DynamoDB attribute may have.
    """
    value_of = ResponseSerializer.get_value

    def value_at_once(self: ResponseSerializer, value: Any, key: str, shape: Any) -> Any:
        is_attribute = type(value) is dict and getattr(shape, "parent", None) is not None
        if is_attribute and shape.parent.name == "AttributeValue":
            return value.get(key)
        return value_of(self, value, key, shape)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.session.create_loader", functools.cache(botocore.session.create_loader))
        patch.setattr("moto.core.models.RESPONSES_METHODS", ())
        patch.setattr(ResponseSerializer, "get_value", value_at_once)
        yield


@pytest.fixture(scope="session")
def kept_client() -> Callable[..., Any]:
    """boto3.client, with one client of a kind for all tests: making one takes longer than most of them."""
    return functools.cache(boto3.client)


@pytest.fixture
def emulated_aws(kept_client: Callable[..., Any]) -> Iterator[None]:
    """An empty AWS in moto, for tests that change nothing of a client."""
    with mock_aws(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(boto3, "client", kept_client)
        yield


# Every test of this session by its id, in order, before -m and -k leave some out: for tests/test_collection.py.
COLLECTED = pytest.StashKey[list[str]]()
LONGEST_NAME = 48
LANES_OF_NIGHTS = 2
REAL_NIGHTS = {"play", "look_at"}  # what plays one, in tests/workflow/conftest.py


def pytest_configure() -> None:
    """A program that a shell starts in the background ignores Ctrl-C, and so does what it starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Names a case in a test's id: short, printable, and the same in every process, at every time.

    pytest by itself writes whole values there: bytes that hold the time they were made at, 300,000 brackets.
    """
    if isinstance(val, bytes):
        return argname
    text = val.pattern if isinstance(val, re.Pattern) else val
    if isinstance(text, bytes) or not isinstance(text, str):
        return None
    if len(text) <= LONGEST_NAME and text.isascii() and text.isprintable():
        return text
    return "_".join(re.findall(r"[A-Za-z0-9.]+", text[: 10 * LONGEST_NAME]))[:LONGEST_NAME] or argname


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The nights go first, or they would be a tail on one core; each may be played three times.

    A night's hours pass in real seconds, with real processes in it: a machine that is busy for half a second is
    late by minutes of the story. So one that fails is played again at half the pace, then at a quarter. What is
    wrong fails at every pace. Most of a night is waiting: two processes play them all, and leave the processor to
    the others. After them come the groups, the longest pieces of work.
    """
    lanes = itertools.cycle(range(LANES_OF_NIGHTS))
    for item in items:
        if REAL_NIGHTS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.workflow)
        if item.path.parent.name == "frameworks":
            item.add_marker(pytest.mark.framework)
        if item.get_closest_marker("workflow"):
            lane = 0 if "look_at" in item.fixturenames else next(lanes)
            item.add_marker(pytest.mark.xdist_group(f"nights {lane}"))
        # A drill takes a pause of 50 ms for the end of a save: on a machine that is busy enough, that is wrong.
        if item.get_closest_marker("workflow") or {"night", "drilled"} & set(
            getattr(item, "fixturenames", ())
        ):
            item.add_marker(pytest.mark.flaky(reruns=2))
        elif item.get_closest_marker("browser") or item.get_closest_marker("emulator"):
            # The time-outs of a page, and of an emulated account's processes, are in real seconds as well.
            item.add_marker(pytest.mark.flaky(reruns=1))
    items.sort(
        key=lambda item: (
            item.get_closest_marker("workflow") is None,
            item.get_closest_marker("xdist_group") is None,
        )
    )
    config.stash[COLLECTED] = [item.nodeid for item in items]


@pytest.fixture
def collected(request: pytest.FixtureRequest) -> list[str]:
    """The ids of all tests of this session, in order; of those that -m and -k leave out as well."""
    return request.config.stash[COLLECTED]


@pytest.fixture
def slower(request: pytest.FixtureRequest) -> int:
    """How many times slower than at first the story is to pass: 1, and 2 and 4 when the test is tried again."""
    return 2 ** (getattr(request.node, "execution_count", 1) - 1)
