"""The CDK entry: reads jobs/, builds one stack. Needs no credentials and no Docker."""

from __future__ import annotations

import sys
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import Validations
from cdk_nag import AwsSolutionsChecks

from infra import BundleError, NightspotStack, SettingsError, build_bundle, read_settings
from nightspot.job.errors import InvalidJobError
from nightspot.job.reading import load_jobs

ROOT = Path(__file__).parent


def main() -> None:
    """Synthesise the stack. A mistake in a job file or a setting ends with its message alone."""
    app = cdk.App()
    try:
        jobs = load_jobs(ROOT / "jobs")
        settings = read_settings(app.node.try_get_context)
        bundle = build_bundle(ROOT, jobs, ROOT / "build")
        NightspotStack(
            app,
            app.node.try_get_context("nightspot:stack_name") or "Nightspot",
            jobs=jobs,
            bundle=bundle,
            settings=settings,
            description="Nightspot: nightly SageMaker training on Spot that is ready by the deadline",
        )
    except (InvalidJobError, SettingsError, BundleError) as error:
        sys.exit(f"error: {error}")
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    app.synth()


main()
