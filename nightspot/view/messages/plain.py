"""How texts, moments, amounts and links are written in a message."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote
from zoneinfo import ZoneInfo

from nightspot.formats.figures import format_duration, visible

if TYPE_CHECKING:
    from nightspot.job.model import Job


UNKNOWN = "unknown"


def clean(text: object) -> str:
    """`text` on one line, without what a mail or chat program could be confused with.

    Control and format characters (marks that turn the reading direction among them) and halves of characters go.
    """
    return " ".join(visible(str(text)).split())


def shortened(text: str, most: int) -> str:
    """At most `most` characters, three dots where something is left out."""
    return text if len(text) <= most else f"{text[: most - 3].rstrip()}..."


def in_ascii(text: str) -> str:
    """Accents dropped, and a question mark for every other character that ASCII does not have."""
    letters = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return letters.encode("ascii", "replace").decode("ascii")


def usd(amount: float | None) -> str:
    """ "$1,234.50", "$0.0042", "unknown"."""
    if amount is None:
        return UNKNOWN
    sign = "-" if amount < 0 else ""
    digits = 4 if 0 < abs(amount) < 0.01 else 2
    return f"{sign}${abs(amount):,.{digits}f}"


def percent(value: float) -> str:
    return f"{value:.1f} %"


def span(seconds: float | None) -> str:
    """ "3 h 12 min", "unknown"."""
    return UNKNOWN if seconds is None else format_duration(seconds)


def moment(given: datetime | str | None, zone: str) -> str:
    """ "Sat 21 Nov 2026, 08:03 Europe/Paris (07:03 UTC)" of an aware time, or of ISO 8601 with an offset."""
    if given is None:
        return UNKNOWN
    utc = (datetime.fromisoformat(given) if isinstance(given, str) else given).astimezone(UTC)
    if zone == "UTC":
        return f"{utc:%a %d %b %Y, %H:%M} UTC"
    local = utc.astimezone(ZoneInfo(zone))
    in_utc = f"{utc:%H:%M}" if local.date() == utc.date() else f"{utc:%a %d %b, %H:%M}"
    return f"{local:%a %d %b %Y, %H:%M} {zone} ({in_utc} UTC)"


def zone_of(job: Job | None) -> str:
    """The zone in which a job's people think: the deadline's, else the schedule's, else UTC."""
    if job is None:
        return "UTC"
    if job.deadline.at is not None:
        return job.deadline.timezone
    return job.schedule.timezone if job.schedule is not None else "UTC"


LOG_GROUP = "/aws/sagemaker/TrainingJobs"
_CONSOLES = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
    "aws-eusc": "console.amazonaws-eusc.eu",
}


@dataclass(frozen=True)
class Link:
    """An address and what it leads to."""

    label: str
    url: str


@dataclass(frozen=True)
class Console:
    """The AWS console of a region."""

    region: str
    partition: str = "aws"

    @classmethod
    def of_arn(cls, arn: str) -> Console | None:
        """The console where `arn` can be looked at; None where the text is no ARN with a region."""
        parts = arn.split(":")
        if len(parts) < 6 or parts[0] != "arn" or not parts[3]:
            return None
        return cls(region=parts[3], partition=parts[1])

    def execution(self, arn: str) -> str:
        return f"{self._home('states')}#/v2/executions/details/{quote(arn, safe=':')}"

    def training_job(self, name: str) -> str:
        return f"{self._home('sagemaker')}#/jobs/{quote(name, safe='')}"

    def training_job_logs(self, name: str) -> str:
        """The log streams of a training job, one per machine and start.

        A stream is named `<job>/algo-<n>-<time>`: with the slash behind it, job 1 is not job 10 as well.
        """
        group, streams = _in_fragment(LOG_GROUP), _in_fragment(f"{name}/")
        return f"{self._home('cloudwatch')}#logsV2:log-groups/log-group/{group}$3FlogStreamNameFilter$3D{streams}"

    def s3_object(self, uri: str) -> str:
        """The page of an S3 object, from which it can be opened. `uri`: s3://bucket/key."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        region = quote(self.region, safe="")
        return f"https://{self._host}/s3/object/{quote(bucket)}?region={region}&prefix={quote(key)}"

    @property
    def _host(self) -> str:
        return f"{self.region}.{_CONSOLES.get(self.partition, _CONSOLES['aws'])}"

    def _home(self, service: str) -> str:
        return f"https://{self._host}/{service}/home?region={self.region}"


def _in_fragment(text: str) -> str:
    """As the CloudWatch console writes a value behind the #: percent-encoded twice, with $ for %."""
    return quote(quote(text, safe=""), safe="").replace("%", "$")
