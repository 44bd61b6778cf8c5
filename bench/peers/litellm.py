"""LiteLLM's proxy: master key on, no database, one worker, its quiet settings."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from bench.gateways import PATH, Running, launched
from bench.peers import PythonPeer
from bench.procs import free_port, http

CONFIG = """\
model_list:
  - model_name: bench-1
    litellm_params:
      model: openai/bench-1
      api_base: http://127.0.0.1:{upstream}/v1
      api_key: sk-upstream
litellm_settings:
  num_retries: 0
  set_verbose: false
general_settings:
  master_key: sk-benchmark-master-key
  disable_spend_logs: true
  background_health_checks: false
"""


class LiteLLM(PythonPeer):
    """In Python, FastAPI and its own SDK."""

    name = "litellm"
    what = "proxy with a master key, one worker, no database, no spend log"
    package = "litellm[proxy]"

    @property
    def program(self) -> Path:
        return self.home / "bin" / "litellm"

    def version(self) -> str:
        return self.pip_version("litellm")

    @contextlib.contextmanager
    def start(self, work: Path, upstream: int, *, streams: bool) -> Iterator[Running]:
        work.mkdir(parents=True, exist_ok=True)
        port = free_port()
        (work / "config.yaml").write_text(CONFIG.format(upstream=upstream))
        argv = [str(self.program), "--config", "config.yaml", "--host", "127.0.0.1"]
        argv += ["--port", str(port), "--num_workers", "1", "--telemetry", "False"]
        env = {
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_LOG": "ERROR",
            "LITELLM_MODE": "PRODUCTION",
        }
        url = f"http://127.0.0.1:{port}"
        headers = {"authorization": "Bearer sk-benchmark-master-key"}
        ready = lambda: http(url + "/health/liveliness")[0] == 200  # noqa: E731
        with launched(self.name, argv, work, ready=ready, env=env, seconds=180) as (proc, seconds):
            yield Running(self.name, url + PATH, "bench-1", proc, headers, seconds)
