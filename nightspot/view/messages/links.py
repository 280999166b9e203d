"""Decides where a message leads: pages of the AWS console, by partition and region.

Their addresses are documented nowhere; these are the ones that the console itself shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

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
        """The page of a Step Functions execution."""
        return f"{self._home('states')}#/v2/executions/details/{quote(arn, safe=':')}"

    def training_job(self, name: str) -> str:
        """The page of a SageMaker training job."""
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
