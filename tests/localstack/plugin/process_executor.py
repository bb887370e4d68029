"""A Lambda runtime executor for LocalStack that needs no Docker: each execution environment is a process.

The process is PyPI's awslambdaric, the runtime that AWS's own Python images contain; it asks a small server here for
its invocations, by the Runtime API (Lambda Developer Guide, "Using the Lambda runtime API"). Like AWS: an environment
takes one invocation at a time, is used again by the next one, is killed when the function's time-out has passed, and
starts cold after that or after a crash. Unlike AWS: the memory size is told (AWS_LAMBDA_FUNCTION_MEMORY_SIZE) and
reported against, but not enforced.

It runs in LocalStack's Python, not in the project's; LAMBDA_RUNTIME_EXECUTOR=process selects it.
"""

from __future__ import annotations

import http.server
import json
import logging
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from localstack import config  # type: ignore[import-not-found]
from localstack.services.lambda_.invocation.executor_endpoint import (  # type: ignore[import-not-found]
    ShutdownDuringStartup,
    StatusErrorException,
)
from localstack.services.lambda_.invocation.lambda_models import InvocationResult  # type: ignore[import-not-found]
from localstack.services.lambda_.invocation.plugins import RuntimeExecutorPlugin  # type: ignore[import-not-found]
from localstack.services.lambda_.invocation.runtime_executor import (  # type: ignore[import-not-found]
    LambdaRuntimeException,
    RuntimeExecutor,
)

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
API = "/2018-06-01/runtime"


class StoppedError(Exception):
    """The environment is no more: its function was changed or deleted."""


class ProcessEndedError(Exception):
    """The runtime ended by itself; the message is its exit status."""


class Runtime:
    """One awslambdaric process and the server it asks for invocations."""

    def __init__(self, code: Path, environment: dict[str, str], output: Path) -> None:
        self.ready: Future[None] = Future()
        self._invocations: queue.Queue[tuple[dict[str, str], float] | None] = queue.Queue()
        self._result: Future[tuple[bytes, bool]] = Future()
        self._server = http.server.ThreadingHTTPServer((HOST, 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        with output.open("ab") as printed:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "awslambdaric", environment["_HANDLER"]],
                cwd=code,
                env=environment | {"AWS_LAMBDA_RUNTIME_API": f"{HOST}:{self._server.server_port}"},
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=printed,
            )
        threading.Thread(target=self._watch, daemon=True).start()

    def call(self, invocation: dict[str, str], timeout: float) -> tuple[bytes, bool]:
        """The answer and whether it is an error. Raises TimeoutError, ProcessEndedError, StoppedError."""
        self._result = Future()
        if self._process.poll() is not None:
            raise ProcessEndedError(f"exit status {self._process.returncode}")
        self._invocations.put((invocation, time.time() + timeout))
        return self._result.result(timeout)

    def peak_memory(self) -> int:
        """MiB, so far."""
        try:
            status = Path(f"/proc/{self._process.pid}/status").read_text()
            return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) // 1024
        except (OSError, StopIteration):
            return 0

    def end(self, why: Exception) -> None:
        """Kill the process; whoever waits for it gets `why`."""
        self._fail(why)
        self._process.kill()
        self._process.wait()
        self._invocations.put(None)
        self._server.shutdown()
        self._server.server_close()

    def _watch(self) -> None:
        self._fail(ProcessEndedError(f"exit status {self._process.wait()}"))

    def _fail(self, why: Exception) -> None:
        for future in (self.ready, self._result):
            if not future.done():
                future.set_exception(why)

    # what the runtime asks and says, each in a thread of the server's

    def next(self) -> tuple[dict[str, str], float] | None:
        if not self.ready.done():
            self.ready.set_result(None)
        return self._invocations.get()

    def failed_to_start(self, error: bytes) -> None:
        if not self.ready.done():
            self.ready.set_exception(StatusErrorException("the function cannot be imported", payload=error))

    def answered(self, body: bytes, *, error: bool) -> None:
        if not self._result.done():
            self._result.set_result((body, error))


def _handler(runtime: Runtime) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            taken = runtime.next()
            if taken is None:
                self.close_connection = True
                return
            invocation, deadline = taken
            self._answer(
                200,
                invocation["payload"].encode(),
                {
                    "Lambda-Runtime-Aws-Request-Id": invocation["invoke-id"],
                    "Lambda-Runtime-Invoked-Function-Arn": invocation["invoked-function-arn"],
                    "Lambda-Runtime-Trace-Id": invocation["trace-id"],
                    "Lambda-Runtime-Deadline-Ms": str(int(deadline * 1000)),
                },
            )

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.path == f"{API}/init/error":
                runtime.failed_to_start(body)
            else:
                runtime.answered(body, error=self.path.endswith("/error"))
            self._answer(202, b'{"status": "OK"}', {})

        def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name it has in the base class
            pass

    return Handler


class ProcessExecutor(RuntimeExecutor):  # type: ignore[misc] # its types are not here
    """An execution environment; LocalStack starts one when none is idle, and stops it when the function changes."""

    def __init__(self, id: str, function_version: Any) -> None:  # noqa: A002 - the name it has in the base class
        super().__init__(id=id, function_version=function_version)
        folder = Path(tempfile.gettempdir()) / "lambda" / "environments"
        folder.mkdir(parents=True, exist_ok=True)
        self._output = folder / f"{id}.log"
        self._read = 0
        self._environment: dict[str, str] = {}
        self._runtime: Runtime | None = None

    def start(self, env_vars: dict[str, Any]) -> None:
        code = self._code()
        self._environment = {
            "PATH": os.environ["PATH"],
            "LANG": "en_US.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            **{name: str(value) for name, value in env_vars.items()},
            "LAMBDA_TASK_ROOT": str(code),
        }
        self._cold_start()

    def _code(self) -> Path:
        location: Path = self.function_version.config.code.get_unzipped_code_location()
        return location

    def _cold_start(self) -> Runtime:
        runtime = Runtime(self._code(), self._environment, self._output)
        self._runtime = runtime
        try:
            runtime.ready.result(config.LAMBDA_RUNTIME_ENVIRONMENT_TIMEOUT)
        except Exception as error:
            runtime.end(error)
            self._runtime = None
            if isinstance(error, StoppedError):
                raise ShutdownDuringStartup("stopped while it started") from error
            if isinstance(error, ProcessEndedError | TimeoutError):
                said = {"errorType": "Runtime.ExitError", "errorMessage": f"{error} before it was ready"}
                raise StatusErrorException("the runtime did not start", payload=json.dumps(said).encode()) from error
            raise
        return runtime

    def invoke(self, payload: dict[str, str]) -> InvocationResult:
        request, timeout = payload["invoke-id"], self.function_version.config.timeout
        runtime = self._runtime or self._cold_start()
        started, memory = time.monotonic(), 0
        try:
            body, error = runtime.call(payload, timeout)
            memory = runtime.peak_memory()
        except (TimeoutError, ProcessEndedError) as problem:
            runtime.end(problem)
            self._runtime = None
            late = isinstance(problem, TimeoutError)
            said = f"Task timed out after {timeout:.2f} seconds" if late else f"Runtime exited with {problem}"
            kind = "Sandbox.Timedout" if late else "Runtime.ExitError"
            body = json.dumps({"errorType": kind, "errorMessage": f"RequestId: {request} Error: {said}"}).encode()
            error = True
        took = (time.monotonic() - started) * 1000
        version, size = self.function_version.id.qualifier, self.function_version.config.memory_size
        report = f"Duration: {took:.2f} ms\tMemory Size: {size} MB\tMax Memory Used: {memory} MB"
        logs = (
            f"START RequestId: {request} Version: {version}\n{self._new_output()}END RequestId: {request}\n"
            f"REPORT RequestId: {request}\t{report}\n"
        )
        return InvocationResult(request, body, is_error=error, logs=logs)

    def _new_output(self) -> str:
        """What was printed since the last call: by this invocation, and by the cold start before it."""
        with self._output.open("rb") as output:
            output.seek(self._read)
            new = output.read()
        self._read += len(new)
        text = new.decode(errors="replace")
        return text if text.endswith("\n") or not text else f"{text}\n"

    def stop(self) -> None:
        if self._runtime is not None:
            self._runtime.end(StoppedError("the environment was stopped"))
            self._runtime = None
        self._output.unlink(missing_ok=True)

    def get_logs(self) -> str:
        return self._output.read_text(errors="replace") if self._output.exists() else ""

    def get_address(self) -> str:
        return HOST

    def get_endpoint_from_executor(self) -> str:
        return HOST

    def get_runtime_endpoint(self) -> str:
        return f"http://{HOST}:{config.GATEWAY_LISTEN[0].port}/_localstack_lambda/{self.id}"

    @classmethod
    def prepare_version(cls, function_version: Any) -> None:
        runtime = function_version.config.runtime or ""
        if not runtime.startswith("python"):
            raise LambdaRuntimeException(f"only Python functions can run without Docker, not {runtime or 'images'}")
        function_version.config.code.prepare_for_execution()

    @classmethod
    def cleanup_version(cls, function_version: Any) -> None:
        """The code stays until LocalStack itself destroys it: another version may have the same."""


class ProcessExecutorPlugin(RuntimeExecutorPlugin):  # type: ignore[misc] # its types are not here
    name = "process"

    def load(self, *_: Any, **__: Any) -> type[ProcessExecutor]:
        return ProcessExecutor
