"""Everything that runs need, as one construct that a team can put into its own CDK app."""

from __future__ import annotations

import json
from collections.abc import Mapping

from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.api import Api
from infra.bundle import Bundle
from infra.functions import Functions
from infra.notices import NoticeTopic
from infra.observability import Observability
from infra.records import Records
from infra.settings import Settings
from infra.training_data import TrainingData
from infra.triggers import Closing, Reconciling, Schedules, WakeUp
from infra.workflow import Workflow
from nightspot.job.model import Job

_DLC_ACCOUNT = "${DlcAccountId}"  # in a job file, see nightspot.job.request_shape


class TrainingRuns(Construct):
    """`TrainingRuns(self, "Training", jobs=load_jobs(Path("jobs")), bundle=build_bundle(…))`.

    `workflow.state_machine` starts a run with `{"job": name}`; `records.table` is its record; `data` the buckets
    and the role of the training jobs; `notices.topic` what people subscribe to.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        jobs: Mapping[str, Job],
        bundle: Bundle,
        settings: Settings | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        chosen = settings or Settings()
        self.records = Records(self, "Records", settings=chosen)
        self.data = TrainingData(self, "Data", settings=chosen)
        self.functions = Functions(
            self, "Functions", bundle=bundle, records=self.records, data=self.data, settings=chosen
        )
        if any(_DLC_ACCOUNT in json.dumps(job.training_job) for job in jobs.values()):
            self.functions.let_it_name_aws_images(self.functions.plan_run)
        self.workflow = Workflow(
            self,
            "Workflow",
            functions=self.functions,
            records=self.records,
            data=self.data,
            settings=chosen,
        )
        self.schedules = Schedules(
            self,
            "Schedules",
            jobs=jobs,
            functions=self.functions,
            workflow=self.workflow,
            records=self.records,
        )
        self.api = Api.of(
            self,
            "Api",
            functions=self.functions,
            workflow=self.workflow,
            records=self.records,
            settings=chosen,
        )
        self.wake_up = WakeUp(self, "WakeUp", functions=self.functions, records=self.records)
        self.closing = Closing(
            self, "Closing", functions=self.functions, workflow=self.workflow, records=self.records
        )
        self.reconciling = Reconciling(
            self, "Reconciling", functions=self.functions, workflow=self.workflow, records=self.records
        )
        self.notices = NoticeTopic(
            self, "Notices", functions=self.functions, records=self.records, settings=chosen
        )
        # Alarms and dashboards cost money by the month; without jobs there is nothing to watch.
        self.observability = (
            Observability(
                self,
                "Observability",
                functions=self.functions,
                workflow=self.workflow,
                records=self.records,
                notices=self.notices,
            )
            if jobs
            else None
        )

    def grant_start(self, grantee: iam.IGrantable) -> None:
        """Let `grantee` start runs and read how they go."""
        self.workflow.state_machine.grant_start_execution(grantee)
        self.workflow.state_machine.grant_read(grantee)
        self.records.table.grant_read_data(grantee)
