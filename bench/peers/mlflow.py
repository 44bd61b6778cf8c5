"""MLflow's gateway on its own (``mlflow gateway start``), which does the least per request.

The one built into ``mlflow server`` keeps its endpoints in a database and took four times the CPU.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from bench.gateways import PATH, Running, launched
from bench.peers import PythonPeer
from bench.procs import free_port, http

CONFIG = """\
endpoints:
  - name: bench-1
    endpoint_type: llm/v1/chat
    model:
      provider: openai
      name: bench-1
      config:
        openai_api_base: http://127.0.0.1:{upstream}/v1
        openai_api_key: sk-upstream
"""


class MLflow(PythonPeer):
    """In Python, FastAPI and aiohttp."""

    name = "mlflow"
    what = "`mlflow gateway start`, one worker, no key check, no usage records"
    package = "mlflow[gateway]"

    @property
    def program(self) -> Path:
        return self.home / "bin" / "mlflow"

    def version(self) -> str:
        return self.pip_version("mlflow")

    @contextlib.contextmanager
    def start(self, work: Path, upstream: int, *, streams: bool) -> Iterator[Running]:
        work.mkdir(parents=True, exist_ok=True)
        port = free_port()
        (work / "gateway.yaml").write_text(CONFIG.format(upstream=upstream))
        argv = [str(self.program), "gateway", "start", "--config-path", "gateway.yaml"]
        argv += ["--port", str(port), "--workers", "1"]
        env = {
            "MLFLOW_GATEWAY_API_BASE_ALLOW_PRIVATE_IPS": "true",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PATH": f"{self.home}/bin:/usr/bin:/bin",
        }
        url = f"http://127.0.0.1:{port}"
        ready = lambda: http(url + "/health")[0] == 200  # noqa: E731
        with launched(self.name, argv, work, ready=ready, env=env, seconds=180) as (proc, seconds):
            yield Running(self.name, url + PATH, "bench-1", proc, {}, seconds)
