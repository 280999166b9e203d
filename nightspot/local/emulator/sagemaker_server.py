"""The simulated SageMaker for processes that are not this one: by HTTP, as AWS's JSON protocol has it."""

from __future__ import annotations

import contextlib
import json
import queue
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from nightspot.local.sagemaker.request_rules import ServiceFaultError
from nightspot.local.sagemaker.sagemaker import SimulatedSageMaker

EVENT_SECONDS = 10.0  # so long a request for the next event waits; then it is made again


class SageMakerServer:
    """Answers at `url` for `simulator`, which is set later: it needs an S3, which is started after this."""

    def __init__(self) -> None:
        self.simulator: SimulatedSageMaker | None = None
        self._events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        # Who does not know the path is none of ours.
        self._path = f"/{secrets.token_urlsafe(16)}"
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}{self._path}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answer nothing more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)

    def put_event(self, event: dict[str, Any]) -> None:
        """Keep a training job's state change for the emulator, which fetches them one by one for its bus.

        No client of AWS may put events of AWS's own sources, so that they do not go through an API.
        """
        self._events.put(event)

    def answer(self, target: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """HTTP status and document of one call, `target` being its X-Amz-Target."""
        operation = self._operations().get(target.rpartition(".")[2])
        if operation is None:
            return _fault(
                "UnknownOperationException", f"{target}: not one of the simulated SageMaker's calls"
            )
        try:
            return 200, operation(json.loads(body or b"{}"))
        except ServiceFaultError as fault:
            return _fault(fault.code, fault.message, fault.status_code)

    def _operations(self) -> Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]]:
        simulator = self.simulator
        if simulator is None:
            return {}
        return {
            "CreateTrainingJob": simulator.create_training_job,
            "DescribeTrainingJob": simulator.describe_training_job,
            "StopTrainingJob": simulator.stop_training_job,
            "ListTrainingJobs": simulator.list_training_jobs,
            # Tags come with the request; ones that are added later are no part of what is simulated.
            "AddTags": lambda request: {"Tags": list(request.get("Tags", ()))},
        }

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.path == server._path:
                    status, document = server.answer(self.headers.get("X-Amz-Target", ""), body)
                else:
                    status, document = _fault("AccessDeniedException", "not an address of this server", 403)
                answer = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.1")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def do_GET(self) -> None:
                event = None
                if self.path == server._path:
                    with contextlib.suppress(queue.Empty):
                        event = server._events.get(timeout=EVENT_SECONDS)
                answer = b"" if event is None else json.dumps(event).encode()
                # The emulator may have ended meanwhile.
                with contextlib.suppress(ConnectionError):
                    self.send_response(200 if event is not None else 204)
                    self.send_header("Content-Length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)

            def log_message(self, *_arguments: object) -> None:
                """Nothing: the emulator's log has the calls."""

        return Handler


def _fault(code: str, message: str, status: int = 400) -> tuple[int, dict[str, Any]]:
    return status, {"__type": code, "Message": message, "message": message}


@contextmanager
def sagemaker_server() -> Iterator[SageMakerServer]:
    """Inside: it answers."""
    server = SageMakerServer()
    try:
        yield server
    finally:
        server.close()
