"""The CDK entry: reads jobs/, builds one stack. Needs no credentials and no Docker."""

from __future__ import annotations

from pathlib import Path

import aws_cdk as cdk
from aws_cdk import Validations
from cdk_nag import AwsSolutionsChecks

from infra import NightspotStack, build_bundle, read_settings
from nightspot.job import load_jobs

ROOT = Path(__file__).parent

app = cdk.App()
jobs = load_jobs(ROOT / "jobs")
stack_name = app.node.try_get_context("nightspot:stack_name") or "Nightspot"
NightspotStack(
    app,
    stack_name,
    jobs=jobs,
    bundle=build_bundle(ROOT, jobs, ROOT / "build"),
    settings=read_settings(app.node.try_get_context),
    description="Nightspot: nightly SageMaker training on Spot that is ready by the deadline",
)
Validations.of(app).add_plugins(AwsSolutionsChecks(app))
app.synth()
