"""The lock of a job: one run holds it, the next one hears of it, and nobody holds it for ever."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from nightspot.aws.faults import TransientAwsError
from nightspot.aws.table.job_lock import Holder, JobLock
from nightspot.aws.table.run_table import RunTable
from nightspot.local.stage.emulated_aws import REGION, TABLE, create_resources

JOB = "recommender"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


def arn(run_id: str) -> str:
    return f"arn:aws:states:eu-west-1:123456789012:execution:nightspot:{run_id}"


def holder(
    run_id: str, until: datetime, wanted_by: str | None = None, taken_from: str | None = None
) -> Holder:
    return Holder(run_id, arn(run_id), until, wanted_by, taken_from)


@pytest.fixture
def dynamodb(emulated_aws):
    create_resources(())
    return boto3.client("dynamodb", region_name=REGION)


class Lock:
    """The job's lock as one run after the other uses it."""

    def __init__(self, client) -> None:
        self.client = client
        self._lock = JobLock(client, TABLE)

    def acquire(self, run_id, now=NOON, until=NOON + HOUR, job=JOB):
        return self._lock.acquire(job, run_id, arn(run_id), now=now, until=until)

    def take_over(self, run_id, from_run_id, now=NOON, until=NOON + HOUR):
        return self._lock.take_over(JOB, run_id, arn(run_id), from_run_id=from_run_id, now=now, until=until)

    def renew(self, run_id, now=NOON, until=NOON + HOUR):
        return self._lock.renew(JOB, run_id, arn(run_id), now=now, until=until)

    def ask_for(self, owner, by):
        return self._lock.ask_for(JOB, owner_run_id=owner, by_run_id=by)

    def release(self, run_id):
        return self._lock.release(JOB, run_id)

    def holder(self):
        return self._lock.holder(JOB)

    @property
    def item(self):
        return self.client.get_item(TableName=TABLE, Key=KEY).get("Item")

    def vanish(self):
        """What DynamoDB's TTL does to an expired item, some day."""
        self.client.delete_item(TableName=TABLE, Key=KEY)


KEY = {"pk": {"S": f"JOB#{JOB}"}, "sk": {"S": "LOCK"}}


@pytest.fixture
def lock(dynamodb) -> Lock:
    return Lock(dynamodb)


def test_the_first_run_gets_the_lock_and_the_second_hears_whose_it_is(lock):
    assert lock.acquire("one") is None
    assert lock.acquire("two", now=NOON + SECOND, until=NOON + 2 * HOUR) == holder("one", NOON + HOUR)
    assert lock.renew("one") == holder("one", NOON + HOUR)


def test_the_locks_of_two_jobs_are_two(lock):
    assert lock.acquire("one") is None
    assert lock.acquire("two", job="search") is None


def test_a_repeated_call_finds_the_lock_its_own(lock):
    lock.acquire("one")
    lock.ask_for("one", "two")
    assert lock.acquire("one", now=NOON + SECOND) is None
    assert lock.renew("one").wanted_by == "two"


@pytest.mark.parametrize(("after", "free"), [(HOUR - SECOND / 1000, False), (HOUR, True), (9 * HOUR, True)])
def test_a_lock_is_free_from_the_moment_of_its_expiry_on(lock, after, free):
    lock.acquire("one")
    there = lock.acquire("two", now=NOON + after, until=NOON + 10 * HOUR)
    assert there == (None if free else holder("one", NOON + HOUR))
    assert (lock.renew("one", now=NOON + after, until=NOON + 11 * HOUR) is None) is free


def test_an_expiry_within_a_second_is_that_second_s_end(lock):
    lock.acquire("one", until=NOON + SECOND / 2)
    assert lock.acquire("two", now=NOON + SECOND * 0.9) == holder("one", NOON + SECOND)
    assert lock.acquire("two", now=NOON + SECOND) is None


def test_times_of_another_zone_are_the_same_moments(lock):
    there = timezone(-timedelta(hours=7))
    lock.acquire("one", now=NOON.astimezone(there), until=(NOON + HOUR).astimezone(there))
    held = lock.acquire("two", now=(NOON + HOUR - SECOND).astimezone(there), until=NOON + 2 * HOUR)
    assert held == holder("one", NOON + HOUR)
    assert held.until.tzinfo is UTC
    assert lock.acquire("two", now=(NOON + HOUR).astimezone(there), until=NOON + 2 * HOUR) is None


def test_who_takes_an_expired_lock_does_not_inherit_who_wanted_it(lock):
    lock.acquire("one")
    lock.ask_for("one", "two")
    lock.acquire("three", now=NOON + HOUR, until=NOON + 2 * HOUR)
    there = holder("three", NOON + 2 * HOUR, taken_from="one")
    assert lock.renew("three", until=NOON + 2 * HOUR) == there


def test_a_dead_run_s_lock_is_taken_over_before_it_expires(lock):
    lock.acquire("one")
    lock.ask_for("one", "three")
    assert lock.take_over("two", "one", until=NOON + 2 * HOUR)
    assert lock.renew("two") == holder("two", NOON + 2 * HOUR, taken_from="one")
    assert lock.renew("one") is None


def test_a_lock_is_not_taken_over_from_a_run_that_has_it_no_more(lock):
    assert not lock.take_over("two", "one")
    assert lock.item is None
    lock.acquire("three")
    assert not lock.take_over("two", "one")
    assert lock.renew("three") == holder("three", NOON + HOUR)


def test_of_two_that_take_over_from_the_same_dead_run_the_first_gets_it(lock):
    lock.acquire("one")
    assert [lock.take_over(run_id, "one") for run_id in ("two", "three")] == [True, False]


def test_a_take_over_whose_answer_was_lost_may_be_repeated(lock):
    lock.acquire("one")
    assert [lock.take_over("two", "one") for _ in range(2)] == [True, True]


def test_the_owner_hears_at_its_next_heartbeat_who_wants_the_lock(lock):
    lock.acquire("one")
    assert lock.renew("one").wanted_by is None
    assert lock.ask_for("one", "two")
    assert lock.renew("one", until=NOON + 2 * HOUR) == holder("one", NOON + 2 * HOUR, "two")


def test_the_newest_to_ask_is_told(lock):
    lock.acquire("one")
    assert [lock.ask_for("one", by) for by in ("two", "three")] == [True, True]
    assert lock.renew("one").wanted_by == "three"
    assert lock.acquire("two").wanted_by == "three"


def test_nobody_is_asked_who_has_the_lock_no_more(lock):
    assert not lock.ask_for("one", "two")
    assert lock.item is None
    lock.acquire("three")
    assert not lock.ask_for("one", "two")
    assert lock.renew("three").wanted_by is None


def test_a_heartbeat_extends_the_lock_and_never_shortens_it(lock):
    lock.acquire("one", until=NOON + HOUR)
    assert lock.renew("one", until=NOON + 3 * HOUR).until == NOON + 3 * HOUR
    assert lock.renew("one", until=NOON + 2 * HOUR).until == NOON + 3 * HOUR
    assert lock.acquire("two", now=NOON + 3 * HOUR - SECOND, until=NOON + 9 * HOUR).run_id == "one"


def test_a_heartbeat_that_comes_late_keeps_a_lock_that_nobody_has_taken(lock):
    lock.acquire("one")
    late = NOON + 2 * HOUR
    assert lock.renew("one", now=late, until=late + HOUR) == holder("one", late + HOUR)
    assert lock.acquire("two", now=late, until=late + HOUR).run_id == "one"


def test_a_heartbeat_takes_a_vanished_lock_again(lock):
    lock.acquire("one")
    lock.vanish()
    late = NOON + 2 * HOUR
    assert lock.renew("one", now=late, until=late + HOUR) == holder("one", late + HOUR)
    assert lock.acquire("two", now=late, until=late + HOUR) == holder("one", late + HOUR)


class Overtaken:
    """DynamoDB in which another run acts right before a write of this kind."""

    def __init__(self, client, operation, act) -> None:
        self._client, self._operation, self._act = client, operation, act

    def __getattr__(self, operation):
        if operation == self._operation:
            self._act()
        return getattr(self._client, operation)


def test_a_vanished_lock_that_another_takes_in_between_is_that_one_s(lock, dynamodb):
    overtaken = Lock(Overtaken(dynamodb, "put_item", lambda: lock.acquire("two")))
    assert overtaken.renew("one") is None
    assert lock.renew("two") == holder("two", NOON + HOUR)


def test_a_released_lock_is_free(lock):
    lock.acquire("one")
    assert lock.release("one")
    assert lock.acquire("two") is None


def test_only_the_owner_releases_and_only_once(lock):
    lock.acquire("one")
    assert not lock.release("two")
    assert [lock.release("one") for _ in range(2)] == [True, False]


def test_a_run_that_comes_back_from_the_dead_does_not_release_the_lock_of_the_next(lock):
    lock.acquire("one")
    lock.acquire("two", now=NOON + HOUR, until=NOON + 2 * HOUR)
    assert not lock.release("one")
    assert lock.renew("two", until=NOON + 2 * HOUR) == holder("two", NOON + 2 * HOUR, taken_from="one")


@pytest.mark.parametrize("way", ["expired", "taken over"])
def test_on_whom_a_lock_was_taken_from_is_known_as_long_as_it_is_held(lock, way):
    """A plan whose answer was lost is made again, and must still see whose training job may go on."""
    lock.acquire("one")
    now = NOON + HOUR
    for _ in range(2):
        if way == "expired":
            assert lock.acquire("two", now=now, until=now + HOUR) is None
        else:
            assert lock.take_over("two", "one", now=now, until=now + HOUR)
        assert lock.holder() == holder("two", now + HOUR, taken_from="one")
    lock.renew("two", now=now, until=now + 2 * HOUR)
    assert lock.holder().taken_from == "one"
    lock.release("two")
    lock.acquire("three", now=now, until=now + HOUR)
    assert lock.holder() == holder("three", now + HOUR)


def test_a_lock_that_a_run_takes_from_itself_is_taken_from_nobody(lock):
    lock.acquire("one")
    lock.acquire("one", now=NOON + HOUR, until=NOON + 2 * HOUR)
    assert lock.holder().taken_from is None


def test_a_lock_can_be_looked_at_without_being_taken(lock):
    assert lock.holder() is None
    lock.acquire("one")
    assert lock.holder() == holder("one", NOON + HOUR)


def test_a_heartbeat_says_which_execution_has_the_run(lock):
    lock.acquire("one")
    lock._lock.renew(JOB, "one", arn("restart"), now=NOON, until=NOON + 2 * HOUR)
    assert lock.holder().execution_arn == arn("restart")


def test_the_table_forgets_the_lock_of_a_job_that_is_gone(lock):
    lock.acquire("one", until=NOON + HOUR)
    assert lock.item["expires"] == {"N": str(int((NOON + HOUR).timestamp()))}
    lock.renew("one", until=NOON + 2 * HOUR)
    assert lock.item["expires"] == {"N": str(int((NOON + 2 * HOUR).timestamp()))}
    assert lock.item["until"] == {"S": "2026-11-21T14:00:00+00:00"}
    assert lock.item["taken_at"] == {"S": "2026-11-21T12:00:00+00:00"}


def test_the_lock_is_no_part_of_the_job_s_history(lock, dynamodb):
    lock.acquire("one")
    assert RunTable(dynamodb, TABLE).history(JOB) == []


TAKING = [
    pytest.param(lambda lock, **times: lock.acquire("one", **times), id="acquire"),
    pytest.param(lambda lock, **times: lock.take_over("one", "two", **times), id="take_over"),
    pytest.param(lambda lock, **times: lock.renew("one", **times), id="renew"),
]


@pytest.mark.parametrize("call", TAKING)
@pytest.mark.parametrize(
    ("now", "until", "message"),
    [
        (NOON, NOON, "until: 2026-11-21T12:00:00+00:00 must be after now, 2026-11-21T12:00:00+00:00"),
        (NOON, datetime(2026, 11, 21), "until: 2026-11-21T00:00:00 must have a time zone"),  # noqa: DTZ001
        (datetime(2026, 11, 21), NOON, "now: 2026-11-21T00:00:00 must have a time zone"),  # noqa: DTZ001
    ],
)
def test_a_lock_for_no_time_is_refused_with_the_rule(lock, call, now, until, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call(lock, now=now, until=until)
    assert lock.item is None


class Refusing:
    """DynamoDB that refuses every call."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, operation):
        def refuse(**_arguments):
            raise self._error

        return refuse


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": ""}}, "Any")


CALLS = [
    *TAKING,
    pytest.param(lambda lock: lock.ask_for("one", "two"), id="ask_for"),
    pytest.param(lambda lock: lock.release("one"), id="release"),
    pytest.param(lambda lock: lock.holder(), id="holder"),
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "error", [refusal("ThrottlingException"), EndpointConnectionError(endpoint_url="https://example.org")]
)
def test_every_call_says_when_it_is_worth_repeating(call, error):
    with pytest.raises(TransientAwsError):
        call(Lock(Refusing(error)))


@pytest.mark.parametrize("call", CALLS)
def test_every_call_passes_a_refusal_on(call):
    with pytest.raises(ClientError, match="AccessDenied"):
        call(Lock(Refusing(refusal("AccessDeniedException"))))
