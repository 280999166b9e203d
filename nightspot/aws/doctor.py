"""The checks of an account, its clock and what is deployed there, and the order in which all checks run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta

from botocore.exceptions import ClientError

from nightspot.aws import doctor_code, doctor_grants, doctor_jobs
from nightspot.aws.doctor_visit import Check, CheckFinding, CheckState, Visit, guarded, is_missing, unanswered
from nightspot.aws.faults import NO_ANSWER, code_of
from nightspot.aws.prices import KeptPrices, load_price_book, unlisted
from nightspot.aws.table.run_table import RunTable
from nightspot.failures.redaction import redact
from nightspot.formats.figures import format_duration

# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html
CLOCK_LIMIT = timedelta(minutes=5)
CLOCK_CARE = timedelta(minutes=1)

_REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-[0-9]+")
_LOG_IN = "aws sso login, or new keys with: aws configure"

# What is wrong, by STS's code, with its fix.
CREDENTIAL_FAULTS: Mapping[str, tuple[str, str]] = {
    "ExpiredToken": ("the credentials have expired", _LOG_IN),
    "ExpiredTokenException": ("the credentials have expired", _LOG_IN),
    "RequestExpired": ("the request was too old when it came", "set this machine's clock, then try again"),
    "InvalidClientTokenId": (
        "AWS does not know these credentials in this region",
        "aws configure; a region that is off until it is asked for: Account, AWS Regions in the console",
    ),
    "UnrecognizedClientException": ("AWS does not know these credentials", "aws configure"),
    "SignatureDoesNotMatch": ("the secret key is wrong, or this machine's clock", "aws configure"),
}
# How far CloudFormation has come, by the end of a stack's status; the first that fits counts.
STACK_STATES: Mapping[str, CheckState] = {
    "_IN_PROGRESS": CheckState.WARNING,
    "UPDATE_ROLLBACK_COMPLETE": CheckState.WARNING,  # the version before it works
    "IMPORT_ROLLBACK_COMPLETE": CheckState.WARNING,
    "ROLLBACK_COMPLETE": CheckState.PROBLEM,
    "DELETE_COMPLETE": CheckState.PROBLEM,
    "_COMPLETE": CheckState.OK,
    "_FAILED": CheckState.PROBLEM,
}


def region(visit: Visit) -> Iterator[CheckFinding]:
    """A region is configured, and looks like one."""
    if visit.region is None:
        yield CheckFinding(
            Check.REGION,
            CheckState.PROBLEM,
            "no region is configured",
            "--region REGION, AWS_DEFAULT_REGION (boto3 reads no AWS_REGION), or aws configure set region REGION",
        )
    elif not _REGION.fullmatch(visit.region):
        yield CheckFinding(
            Check.REGION,
            CheckState.PROBLEM,
            f"{visit.region!r} is no name of a region, such as eu-west-1",
            "aws configure set region REGION",
        )
    else:
        yield CheckFinding(Check.REGION, CheckState.OK, visit.region)


def credentials(visit: Visit) -> Iterator[CheckFinding]:
    """STS knows the credentials, and says whose they are."""
    who = visit.identity
    if who.error is None:
        yield CheckFinding(
            Check.CREDENTIALS, CheckState.OK, f"account {who.account}, as {who.arn.rpartition(':')[2]}"
        )
    elif isinstance(who.error, NO_ANSWER):
        found, fix = unanswered(who.error)
        yield CheckFinding(Check.CREDENTIALS, CheckState.NOT_CHECKED, found, fix)
    elif isinstance(who.error, ClientError):
        said = (f"AWS refused the credentials: {redact(str(who.error))}", _LOG_IN)
        yield CheckFinding(
            Check.CREDENTIALS, CheckState.PROBLEM, *CREDENTIAL_FAULTS.get(code_of(who.error), said)
        )
    else:
        yield CheckFinding(Check.CREDENTIALS, CheckState.PROBLEM, redact(str(who.error)), _LOG_IN)


def clock(visit: Visit) -> Iterator[CheckFinding]:
    """This machine's clock and AWS's, by the Date of its answer; AWS dates a refusal as well."""
    who = visit.identity
    if who.dated is None:
        yield CheckFinding(Check.CLOCK, CheckState.NOT_CHECKED, "no response of AWS had a date")
        return
    gap = who.at - who.dated
    # The header has whole seconds, and the answer was under way.
    if abs(gap) <= CLOCK_CARE:
        yield CheckFinding(Check.CLOCK, CheckState.OK, "agrees with AWS's within a minute")
        return
    way = "ahead of" if gap > timedelta() else "behind"
    off = format_duration(round(abs(gap).total_seconds()))
    state = CheckState.PROBLEM if abs(gap) > CLOCK_LIMIT else CheckState.WARNING
    rule = "AWS takes no signature that is more than 5 minutes off"
    yield CheckFinding(Check.CLOCK, state, f"{off} {way} AWS's; {rule}", "sudo timedatectl set-ntp true")


def stack(visit: Visit) -> Iterator[CheckFinding]:
    """The stack is there, CloudFormation is done with it, and it is of this version."""
    try:
        status: str = visit.described["StackStatus"]
    except ClientError as error:
        if not is_missing(error, "ValidationError"):
            raise
        yield CheckFinding(
            Check.STACK,
            CheckState.PROBLEM,
            f"there is no stack {visit.stack!r} in {visit.region}",
            "make deploy; --stack NAME where it has another name, --region where it is elsewhere",
        )
        return
    state = next((state for end, state in STACK_STATES.items() if status.endswith(end)), CheckState.WARNING)
    at = visit.described.get("LastUpdatedTime") or visit.described.get("CreationTime")
    when = f", since {at:%Y-%m-%d %H:%M} UTC" if at is not None else ""
    fix = f"aws cloudformation describe-stack-events --stack-name {visit.stack}{visit.options}"
    version = visit.output("Version")
    told = f"version {version}" if version else "deployed before stacks had a version"
    found = f"{visit.stack} is {status}{when}, {told}"
    if state is CheckState.OK and version and visit.version and version != visit.version:
        yield CheckFinding(
            Check.STACK, CheckState.WARNING, f"{found}; here it is {visit.version}", "make deploy"
        )
    else:
        yield CheckFinding(Check.STACK, state, found, "" if state is CheckState.OK else fix)


def state_machine(visit: Visit) -> Iterator[CheckFinding]:
    """What runs are executions of."""
    arn = visit.output("StateMachineArn")
    if arn is None:
        yield _no_output(Check.STATE_MACHINE, "StateMachineArn", visit)
        return
    try:
        status = (
            visit.client("stepfunctions").describe_state_machine(stateMachineArn=arn).get("status", "ACTIVE")
        )
    except ClientError as error:
        if not is_missing(error, "StateMachineDoesNotExist"):
            raise
        status = "gone"
    name = arn.rpartition(":")[2]
    if status == "ACTIVE":
        yield CheckFinding(Check.STATE_MACHINE, CheckState.OK, f"{name} is active")
    else:
        yield CheckFinding(
            Check.STATE_MACHINE, CheckState.PROBLEM, f"{name} is {status.lower()}", "make deploy"
        )


def notices(visit: Visit) -> Iterator[CheckFinding]:
    """Somebody hears of a run that went wrong."""
    arn = visit.output("NoticeTopicArn")
    if arn is None:
        yield _no_output(Check.NOTICES, "NoticeTopicArn", visit)
        return
    subscribe = (
        f"aws sns subscribe --topic-arn {arn} --protocol email --notification-endpoint ADDRESS{visit.options}"
    )
    try:
        pages = visit.client("sns").get_paginator("list_subscriptions_by_topic").paginate(TopicArn=arn)
        arns = [each["SubscriptionArn"] for page in pages for each in page["Subscriptions"]]
    except ClientError as error:
        if not is_missing(error, "NotFound", "NotFoundException"):
            raise
        yield CheckFinding(Check.NOTICES, CheckState.PROBLEM, "the topic is gone", "make deploy")
        return
    confirmed = [each for each in arns if each.startswith("arn:")]
    if confirmed:
        yield CheckFinding(Check.NOTICES, CheckState.OK, f"subscriptions of the topic: {len(confirmed)}")
    elif arns:
        fix = "follow the link in the mail of AWS Notifications"
        yield CheckFinding(
            Check.NOTICES, CheckState.WARNING, "nobody has confirmed the subscription yet", fix
        )
    else:
        yield CheckFinding(
            Check.NOTICES,
            CheckState.WARNING,
            "nobody is notified of a run: the topic has no subscriber",
            subscribe,
        )


def prices(visit: Visit) -> Iterator[CheckFinding]:
    """What plans count with: a price of AWS's list, of these days, for each type that a run may buy."""
    table = visit.output("TableName")
    if table is None:
        yield _no_output(Check.PRICES, "TableName", visit)
        return
    functions = [
        (logical, name) for kind, logical, name in visit.resources if kind == "AWS::Lambda::Function"
    ]
    asking = next((name for logical, name in functions if "AskPrices" in logical), None)
    if asking is None:
        yield CheckFinding(Check.PRICES, CheckState.OK, "of the shipped book: this stack does not ask AWS")
        return
    runs = RunTable(visit.client("dynamodb"), table)
    runs.price_records(str(visit.region))  # who may not read it is told so
    types = sorted({each for job in visit.jobs for each in job.instance_types})
    kept = KeptPrices(load_price_book(), runs, region=str(visit.region), now=visit.now)
    known = kept.known(types)
    missing = unlisted(known, types, visit.now())
    for each in missing:
        price = known.price(each, str(visit.region))
        counts = (
            f"the book's of {price.date} counts"
            if price
            else "costs are not known, and no budget can be kept"
        )
        fix = f"aws lambda invoke --function-name {asking} /dev/stdout{visit.options}, and read its log"
        found = f"AWS's Price List has said none in two days: {counts}"
        yield CheckFinding(Check.PRICES, CheckState.WARNING, found, fix, each)
    if not missing:
        yield CheckFinding(Check.PRICES, CheckState.OK, f"known of each type: {len(types)}")


def dead_letters(visit: Visit) -> Iterator[CheckFinding]:
    """No start of a run and no news was given up for good."""
    urls = [
        physical
        for kind, logical, physical in visit.resources
        if kind == "AWS::SQS::Queue" and "DeadLetters" in logical
    ]
    if not urls:
        yield CheckFinding(
            Check.DEAD_LETTERS, CheckState.WARNING, f"stack {visit.stack!r} has no such queue", "make deploy"
        )
    for url in urls:
        yield from guarded(Check.DEAD_LETTERS, lambda url=url: [_waiting(visit, url)])  # type: ignore[misc]


def _waiting(visit: Visit, url: str) -> CheckFinding:
    try:
        answer = visit.client("sqs").get_queue_attributes(
            QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"]
        )
    except ClientError as error:
        if not is_missing(error, "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"):
            raise
        return CheckFinding(Check.DEAD_LETTERS, CheckState.PROBLEM, "the queue is gone", "make deploy")
    count = int(answer["Attributes"]["ApproximateNumberOfMessages"])
    if count == 0:
        return CheckFinding(Check.DEAD_LETTERS, CheckState.OK, "the queue is empty")
    return CheckFinding(
        Check.DEAD_LETTERS,
        CheckState.PROBLEM,
        f"events that all retries failed for: about {count}; a run may not have started",
        f"aws sqs receive-message --queue-url {url} --max-number-of-messages 10{visit.options}",
    )


def _no_output(check: Check, name: str, visit: Visit) -> CheckFinding:
    return CheckFinding(
        check, CheckState.PROBLEM, f"stack {visit.stack!r} has no output {name}", "make deploy"
    )


__all__ = ["CHECKS", "Check", "CheckFinding", "CheckState", "Visit", "examine"]

# In the order in which one needs the other. The checks of this machine are the local run's own.
CHECKS: Mapping[Check, Callable[[Visit], Iterable[CheckFinding]]] = {
    Check.REGION: region,
    Check.CREDENTIALS: credentials,
    Check.CLOCK: clock,
    Check.JOBS: doctor_jobs.jobs,
    Check.STACK: stack,
    Check.STATE_MACHINE: state_machine,
    Check.SCHEDULES: doctor_jobs.schedules,
    Check.QUOTAS: doctor_jobs.quotas,
    Check.ROLE: doctor_jobs.role,
    Check.GRANTS: doctor_grants.grants,
    Check.BUCKETS: doctor_jobs.buckets,
    Check.KEYS: doctor_grants.keys,
    Check.IMAGE: doctor_jobs.image,
    Check.CODE: doctor_code.code,
    Check.PRICES: prices,
    Check.NOTICES: notices,
    Check.DEAD_LETTERS: dead_letters,
}
# What a check needs to be worth asking for.
_ASKS_NOBODY = frozenset({Check.REGION, Check.JOBS})
_OF_THE_STACK = frozenset(
    {
        Check.STATE_MACHINE,
        Check.SCHEDULES,
        Check.GRANTS,
        Check.KEYS,
        Check.CODE,
        Check.PRICES,
        Check.NOTICES,
        Check.DEAD_LETTERS,
    }
)
_OF_JOBS = frozenset(
    {
        Check.SCHEDULES,
        Check.QUOTAS,
        Check.ROLE,
        Check.GRANTS,
        Check.BUCKETS,
        Check.KEYS,
        Check.IMAGE,
        Check.CODE,
        Check.PRICES,
    }
)


def examine(visit: Visit) -> Iterator[CheckFinding]:
    """What each check finds, one after the other, so that the first can be shown while the next is asked for.

    Never raises what AWS answers: a check that may not ask, or gets no answer, is "not checked" and says why.
    """
    came: dict[Check, CheckState] = {}
    for check, look in CHECKS.items():
        why = _left_out(check, visit, came)
        findings = (
            [CheckFinding(check, CheckState.NOT_CHECKED, why)]
            if why
            else list(guarded(check, lambda: look(visit)))  # noqa: B023
        )
        came[check] = findings[0].state if findings else CheckState.OK
        yield from findings


def _left_out(check: Check, visit: Visit, came: Mapping[Check, CheckState]) -> str:
    """Why a check is not worth its calls; empty where it is."""
    if check in _ASKS_NOBODY:
        return ""
    if came[Check.REGION] is CheckState.PROBLEM:
        return "needs a region"
    if check in {Check.CREDENTIALS, Check.CLOCK}:
        return ""
    if came[Check.CREDENTIALS] is CheckState.PROBLEM:
        return "needs credentials that AWS takes"
    if came[Check.CREDENTIALS] is CheckState.NOT_CHECKED:
        return "AWS could not be reached"
    if check in _OF_JOBS and not visit.jobs:
        return "needs a valid job file"
    if check in _OF_THE_STACK and came[Check.STACK] is CheckState.PROBLEM:
        return "needs the stack in order"
    return ""
