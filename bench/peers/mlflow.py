"""MLflow's gateway, as part of ``mlflow server``: an endpoint in its SQLite store, tracking off."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bench.gateways import Running, launched
from bench.peers import PythonPeer
from bench.procs import BenchError, free_port, http

SETUP = Path(__file__).with_name("mlflow_setup.py")


class MLflow(PythonPeer):
    """In Python, FastAPI and aiohttp."""

    name = "mlflow"
    what = "`mlflow server`, one worker, SQLite, no key check, usage tracking off"
    package = "mlflow[gateway]"

    @property
    def program(self) -> Path:
        return self.home / "bin" / "mlflow"

    def version(self) -> str:
        return self.pip_version("mlflow")

    @contextlib.contextmanager
    def start(self, work: Path, upstream: int, *, streams: bool) -> Iterator[Running]:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        argv = [str(self.program), "server", "--host", "127.0.0.1", "--port", str(port)]
        argv += ["--workers", "1", "--backend-store-uri", f"sqlite:///{work}/mlflow.db"]
        env = {
            "MLFLOW_GATEWAY_API_BASE_ALLOW_PRIVATE_IPS": "true",
            "MLFLOW_GATEWAY_API_BASE_ALLOWED_SCHEMES": "https,http",
            "MLFLOW_CRYPTO_KEK_PASSPHRASE": "a passphrase for the benchmark only",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_ENABLE_ASYNC_TRACE_LOGGING": "true",
            "PATH": f"{self.home}/bin:/usr/bin:/bin",
        }
        ready = lambda: http(url + "/health")[0] == 200  # noqa: E731
        with launched(self.name, argv, work, ready=ready, env=env, seconds=180) as (proc, seconds):
            made = subprocess.run(
                [
                    str(self.home / "bin" / "python"),
                    "-P",
                    str(SETUP),
                    url,
                    f"http://127.0.0.1:{upstream}/v1",
                ],
                capture_output=True,
                text=True,
            )
            if made.returncode:
                raise BenchError(f"mlflow's endpoint could not be made:\n{made.stderr[-2000:]}")
            path = "/gateway/openai/v1/chat/completions"
            yield Running(self.name, url + path, "bench-1", proc, {}, seconds)
