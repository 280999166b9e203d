"""How the API is served on this machine: to whom, by which server, and with what behind it."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from werkzeug.serving import BaseWSGIServer, ThreadedWSGIServer, WSGIRequestHandler

from nightspot.aws.runs.executions import Starter
from nightspot.aws.runs.training_jobs import Stopper
from nightspot.job.model import Job
from nightspot.lambdas import api
from nightspot.lambdas.api_reads import ApiDependencies
from nightspot.local.sagemaker.markets import Market, Markets
from nightspot.local.serve.gateway import Authorise, Gateway, Identity, Refusal, Request
from nightspot.local.stage import staging
from nightspot.local.stage.emulated_aws import bound
from nightspot.local.stage.engine import Handler
from nightspot.local.stage.night_files import Night
from nightspot.local.stage.stage import Stage

HOST = "127.0.0.1"  # never anybody else's network
DAY_SECONDS = 86_400.0
# So long a script repeats itself; at 480 seconds of the story in one, half a year is nine hours.
DAYS = 180
_BACKLOG = 128  # connections that wait for the server to take them
IDLE_SECONDS = 10.0  # without a byte, and a connection is closed
# Not below "nightspot", whose logger writes what the functions log.
_log = logging.getLogger("local-api")


class PortError(Exception):
    """The port cannot be listened on."""


class NothingToServeError(ValueError):
    """None of the jobs can be trained on this machine."""


@dataclass(frozen=True)
class Playable:
    """The jobs that this machine can train, at the pace they all share, and those that it cannot."""

    jobs: Mapping[str, Job]
    left_out: tuple[str, ...]
    time_scale: float  # story seconds per real second


def playable(jobs: Mapping[str, Job], time_scale: float | None, seed: int | None = None) -> Playable:
    """The jobs with a local command, all at `time_scale`, or at the slowest of their own.

    `seed` goes into the hyperparameter `seed` of the jobs that have one. Raises NothingToServeError.
    """
    local = {name: job for name, job in jobs.items() if job.local is not None}
    if not local:
        named = ", ".join(sorted(jobs)) or "there is no job file"
        raise NothingToServeError(
            f"local: {named}: at least one job must say with local.command how to train it on this machine"
        )
    scale = time_scale or min(job.local.time_scale for job in local.values() if job.local is not None)
    ready = {name: staging.at_scale(job, scale) for name, job in local.items()}
    if seed is not None:
        ready = {name: _seeded(job, seed) for name, job in ready.items()}
    return Playable(ready, tuple(sorted(set(jobs) - set(local))), scale)


def every_day(night: Night) -> Night:
    """The night with its markets repeated every day of the story; a market that is longer than a day stays."""
    markets = night.markets
    return replace(
        night,
        markets=Markets(
            {name: _repeated(market) for name, market in markets.spot.items()},
            {name: _repeated(market) for name, market in markets.on_demand.items()},
            _repeated(markets.default_spot),
            _repeated(markets.default_on_demand),
        ),
    )


def own_addresses(port: int) -> frozenset[str]:
    """What the header Host may say: the names by which this machine knows itself."""
    return frozenset({f"localhost:{port}", f"{HOST}:{port}"})


def loopback_only(port: int, then: Authorise) -> Authorise:
    """Refuses what a web page of somebody else's could send through this machine's browser, then asks `then`.

    A page can point a name of its own at 127.0.0.1 (DNS rebinding), which shows in Host; and it can send simple
    requests across origins without asking, which shows in Origin.
    """
    own = own_addresses(port)
    origins = {f"http://{address}" for address in own}

    def authorise(request: Request) -> Identity | Refusal:
        host = (request.header("Host") or "").lower()
        if host not in own:
            return Refusal(421, f"Host: {host!r}: must be {' or '.join(sorted(own))}")
        origin = request.header("Origin")
        if origin is not None and origin.lower() not in origins:
            return Refusal(403, f"Origin: {origin!r}: other sites' pages may not use this API")
        return then(request)

    return authorise


def as_user(user: str) -> Authorise:
    """Lets everybody through, as "local: USER": whoever can reach the loopback address is this machine's user."""
    return lambda _request: Identity(f"local: {user}")


def listening(port: int) -> socket.socket:
    """A socket that listens on the loopback address; port 0 takes any that is free. Raises PortError."""
    wanted = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        wanted.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        wanted.bind((HOST, port))
        wanted.listen(_BACKLOG)
    except OSError as error:
        wanted.close()
        rule = "choose another one, or 0 for any that is free"
        raise PortError(f"--port: {port}: cannot be listened on ({error.strerror}); {rule}") from error
    return wanted


def api_of(stage: Stage) -> Handler:
    """The deployed API's handler, with collaborators that speak to the emulated AWS in the story's time."""
    table, executions = stage.dependencies.table, stage.dependencies.executions
    use = ApiDependencies(
        now=stage.clock.now,
        jobs=lambda: stage.jobs,
        table=table,
        starter=Starter(stage.workflows, stage.machine_arn, now=stage.clock.now),
        stopper=Stopper(table, stage.clients["sagemaker"], executions),
        executions=executions,
    )
    return bound({"Api": api.handler}, use, stage.one_at_a_time)["Api"]


@contextmanager
def serving(
    handler: Callable[[dict[str, Any]], Mapping[str, Any]],
    listener: socket.socket,
    authorise: Authorise,
    *,
    on_fault: Callable[[Exception], None] = lambda error: _log.error("the API failed", exc_info=error),
) -> Iterator[str]:
    """Inside: `handler` is served on `listener`, a thread for each request; gives the address.

    Afterwards no new request is taken, and the listener is closed.
    """
    port = int(listener.getsockname()[1])
    gateway = Gateway(handler, authorise=loopback_only(port, authorise), on_fault=on_fault)
    server = _server(gateway, listener)
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="local-api", daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{port}"
    finally:
        server.shutdown()
        thread.join(timeout=10)
        server.server_close()
        listener.close()


def _server(gateway: Gateway, listener: socket.socket) -> BaseWSGIServer:
    host, port = listener.getsockname()[:2]
    return ThreadedWSGIServer(host, port, gateway, _QuietHandler, fd=listener.fileno())


class _QuietHandler(WSGIRequestHandler):
    """Werkzeug's, without a line on the terminal for each request, and without its version in the answers."""

    timeout = IDLE_SECONDS

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - werkzeug's name
        if type != "info":
            _log.warning(message, *args)

    def version_string(self) -> str:
        return "nightspot"


def _seeded(job: Job, seed: int) -> Job:
    has_one = "seed" in job.training_job.get("HyperParameters", {})
    return staging.with_seed(job, seed) if has_one else job


def _repeated(market: Market) -> Market:
    if len(market.spans) == 1 or market.spans[-1].start_seconds >= DAY_SECONDS:
        return market
    return Market(
        tuple(
            replace(span, start_seconds=span.start_seconds + day * DAY_SECONDS)
            for day in range(DAYS)
            for span in market.spans
        )
    )
