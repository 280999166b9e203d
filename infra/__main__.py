"""`python -m nightspot.cdk`: one stack of the jobs in jobs/ here. Needs no credentials and no Docker."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import Validations
from cdk_nag import AwsSolutionsChecks

from nightspot.cdk import BundleError, NightspotStack, SettingsError, build_bundle, read_settings
from nightspot.cdk.bundle import target_named
from nightspot.cdk.byte_code import missing_note
from nightspot.cdk.placement import TooManySchedulesError
from nightspot.job.errors import InvalidJobError
from nightspot.job.reading import load_jobs

FLAGS = Path(__file__).with_name("flags.json")  # how CDK is to behave; cdk.json and -c have the last word


def main() -> None:
    """Synthesise the stack. A mistake in a job file or a setting ends with its message alone."""
    app = cdk.App(context=json.loads(FLAGS.read_text(encoding="utf-8")))
    try:
        jobs = load_jobs(Path("jobs"))
        settings = read_settings(app.node.try_get_context)
        # Not one of the stack's settings: for another machine than Lambda's, the stack runs in an emulator alone.
        python_version, platform = target_named(app.node.try_get_context("nightspot:bundle_for"))
        bundle = build_bundle(jobs, Path("build"), python_version=python_version, platform=platform)
        if not bundle.has_byte_code:
            print(missing_note(python_version), file=sys.stderr)  # noqa: T201 - the CDK CLI passes it on
        NightspotStack(
            app,
            app.node.try_get_context("nightspot:stack_name") or "Nightspot",
            jobs=jobs,
            bundle=bundle,
            settings=settings,
            description="Nightspot: nightly SageMaker training on Spot that is ready by the deadline",
        )
    except (InvalidJobError, SettingsError, BundleError, TooManySchedulesError) as error:
        sys.exit(f"error: {error}")
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    app.synth()


if __name__ == "__main__":
    main()
