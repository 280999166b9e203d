"""One run in MLflow and in Weights & Biases for all attempts of a Nightspot run, as one curve.

    from nightspot.checkpoint.trackers import MlflowTracker, WandbTracker

    checkpointer = Checkpointer(total_steps=24, trackers=[MlflowTracker()])
    ...
    checkpointer.log(step, {"loss": loss})

Each needs its own package only, and only when it is made.
"""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .core.curve import Point

RUN_TAG = "nightspot.run_id"

# https://mlflow.org/docs/latest/rest-api.html#request-limits
_MLFLOW_BATCH = 1000
_MLFLOW_NAME = re.compile(r"[^\w\-. :/]", re.ASCII)
_MLFLOW_NAME_CHARACTERS = 250


def start_mlflow_run(environ: Mapping[str, str] = os.environ) -> Any:
    """`mlflow.start_run`, which in a Nightspot run is the one MLflow run of all its attempts.

    The first attempt makes it in the active experiment, with the tag `nightspot.run_id`; later ones find it there.
    Returns MLflow's ActiveRun. Raises what MLflow raises.
    """
    import mlflow  # noqa: PLC0415 - this library needs nothing of its own

    run_id = environ.get("NIGHTSPOT_RUN_ID") or ""
    if environ.get("MLFLOW_RUN_ID") or not re.fullmatch(r"[\w-]+", run_id):
        return mlflow.start_run()
    found = mlflow.search_runs(
        filter_string=f"tags.`{RUN_TAG}` = '{run_id}'",
        order_by=["attributes.start_time ASC"],
        max_results=1,
        output_format="list",
    )
    if found:
        return mlflow.start_run(run_id=found[0].info.run_id)
    # Its name may come from `tracking` in the job file.
    name = None if environ.get("MLFLOW_RUN_CONTEXT") else f"nightspot-{run_id}"
    return mlflow.start_run(run_name=name, tags={RUN_TAG: run_id})


class MlflowTracker:
    """Sends a Checkpointer's points to MLflow.

    run_id: of an MLflow run that there is. Default: the active run, else that of `start_mlflow_run`.
    """

    name = "mlflow"

    def __init__(self, run_id: str | None = None, *, environ: Mapping[str, str] = os.environ) -> None:
        import mlflow  # noqa: PLC0415

        active = None if run_id else mlflow.active_run()
        self._run_id: str | None = active.info.run_id if active else run_id
        self._is_ours = self._run_id is None
        self._environ = environ
        self._logged: dict[str, int] = {}  # the last step of each metric
        self._url: str | None = None

    def open(self) -> None:
        """Find the run or make it, and read how far each metric goes."""
        import mlflow  # noqa: PLC0415

        if self._run_id is None:
            # The run is the active one of this thread alone, which ends without ending the run.
            self._run_id = str(start_mlflow_run(self._environ).info.run_id)
        client = mlflow.MlflowClient()
        run = client.get_run(self._run_id)
        # All points and not the latest alone: that is the latest by time.
        self._logged = {
            name: max(each.step for each in client.get_metric_history(self._run_id, name))
            for name in run.data.metrics
        }
        uri = mlflow.get_tracking_uri().rstrip("/")
        self._url = web_link(f"{uri}/#/experiments/{run.info.experiment_id}/runs/{self._run_id}")

    def send(self, points: Sequence[Point]) -> None:
        """Log the points that are beyond the last step of their metric when the run was opened."""
        import mlflow  # noqa: PLC0415

        metrics = [
            mlflow.entities.Metric(name, value, int(point.at * 1000), point.step)
            for point in points
            for name, value in ((_mlflow_name(name), value) for name, value in point.values.items())
            if point.step > self._logged.get(name, -1)
        ]
        client = mlflow.MlflowClient()
        for start in range(0, len(metrics), _MLFLOW_BATCH):
            client.log_batch(self._run_id, metrics=metrics[start : start + _MLFLOW_BATCH])

    def url(self) -> str | None:
        """The run's page on a tracking server; None of a folder or a database."""
        return self._url

    def finish(self) -> None:
        """End the run, where the script has not started it by itself."""
        import mlflow  # noqa: PLC0415

        if self._is_ours:
            mlflow.MlflowClient().set_terminated(self._run_id)


class WandbTracker:
    """Sends a Checkpointer's points to Weights & Biases.

    run: what `wandb.init` returned. Default: the script's own run where it has begun one, else one that is begun
        here, with `init`'s arguments and the Nightspot run's id.
    """

    name = "wandb"

    def __init__(
        self, run: Any = None, *, environ: MutableMapping[str, str] = os.environ, **init: Any
    ) -> None:
        import wandb  # noqa: PLC0415

        run_id = environ.get("NIGHTSPOT_RUN_ID")
        if run_id:
            # Not as an argument: in a SageMaker container wandb.init replaces that by an id of its own.
            environ.setdefault("WANDB_RUN_ID", run_id)
            environ.setdefault("WANDB_RESUME", "allow")
        self._run: Any = run or wandb.run
        self._is_ours = self._run is None
        self._init = init
        self._begins_at = 0

    def open(self) -> None:
        """Begin or resume the run, and ask at which step it goes on."""
        import wandb  # noqa: PLC0415

        if self._run is None:
            self._run = wandb.init(**self._init)
        self._begins_at = int(self._run.step)
        if self._run.offline:  # there is no server that wandb could ask
            found = offline_points(Path(self._run.settings.wandb_dir), self._run.id)
            self._begins_at = max([self._begins_at, *(point.step + 1 for point in found)])

    def send(self, points: Sequence[Point]) -> None:
        """Log the points from the step on that the run was at when it was opened."""
        rows: dict[int, dict[str, float]] = {}
        for point in points:
            if point.step >= self._begins_at:
                rows.setdefault(point.step, {}).update(point.values)
        for step, row in rows.items():
            # At once: a row is stored with the next one otherwise, which a kill may take away.
            self._run.log(row, step=step, commit=True)

    def url(self) -> str | None:
        """The run's page; None offline."""
        return web_link(getattr(self._run, "url", None))

    def finish(self) -> None:
        """End the run, where the script has not started it by itself."""
        if self._is_ours:
            self._run.finish()


def offline_points(folder: Path, run_id: str) -> list[Point]:
    """What is in the files of the offline runs with this id below wandb's folder, in the order of the files' names.

    wandb writes them a while after `log` (15 s in wandb 0.31), so a kill takes the last rows away.
    """
    from wandb.proto import wandb_internal_pb2  # noqa: PLC0415

    points = []
    for path in sorted(folder.glob(f"offline-run-*-{run_id}/run-{run_id}.wandb")):
        for entry in _entries(path.read_bytes()):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(entry)
            if record.WhichOneof("record_type") != "history":
                continue
            row = {
                item.key or ".".join(item.nested_key): json.loads(item.value_json)
                for item in record.history.item
            }
            values = {
                name: float(each)
                for name, each in row.items()
                if isinstance(each, (int, float)) and not name.startswith("_")
            }
            points.append(Point(record.history.step.num, float(row.get("_timestamp", 0)), values))
    return points


# The file is a log as LevelDB writes it, after seven bytes of wandb's own:
# https://github.com/google/leveldb/blob/main/doc/log_format.md
_WANDB_HEAD_BYTES = 7
_BLOCK_BYTES = 32768
_ENTRY_HEAD = struct.Struct("<IHB")  # checksum, length, and which part of an entry it is
_WHOLE, _LAST = 1, 4


def _entries(data: bytes) -> Iterator[bytes]:
    """The entries of the log, up to the first that is cut off."""
    at, entry = _WANDB_HEAD_BYTES, b""
    while True:
        left = _BLOCK_BYTES - at % _BLOCK_BYTES
        if left < _ENTRY_HEAD.size:
            at += left
        if at + _ENTRY_HEAD.size > len(data):
            return
        _, length, part = _ENTRY_HEAD.unpack_from(data, at)
        at += _ENTRY_HEAD.size
        if part == 0 or at + length > len(data):
            return
        entry += data[at : at + length]
        at += length
        if part in (_WHOLE, _LAST):
            yield entry
            entry = b""


def web_link(text: object) -> str | None:
    """The address, if a browser can open it and no password is in it; None otherwise."""
    try:
        parts = urlsplit(text) if isinstance(text, str) else None
    except ValueError:
        return None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        return None
    return str(text)


def _mlflow_name(name: str) -> str:
    """The name as MLflow takes it: with others than these characters it refuses the whole batch."""
    return _MLFLOW_NAME.sub("_", name)[:_MLFLOW_NAME_CHARACTERS]
