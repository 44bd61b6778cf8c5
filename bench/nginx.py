"""nginx in its two parts here: the upstream with a fixed reply, and the proxy to compare with."""

import json
import os
import shutil
import subprocess
from pathlib import Path

from bench.procs import BenchError, Proc, free_port, http, say, wait_until

REPLY = json.dumps(
    {
        "id": "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG",
        "object": "chat.completion",
        "created": 1790000000,
        "model": "bench-1",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "A ferryman takes people and goods across a river, and back again.",
                    "refusal": None,
                    "annotations": [],
                },
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 38,
            "completion_tokens": 15,
            "total_tokens": 53,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        },
        "service_tier": "default",
        "system_fingerprint": "fp_bench0001",
    },
    separators=(",", ":"),
)

FRAME = """\
{user}
daemon off;
master_process {master};
worker_processes 1;
worker_rlimit_nofile 65536;
pid {dir}/nginx.pid;
error_log {dir}/error.log warn;
events {{ worker_connections 32768; }}
http {{
  access_log off;
  default_type application/json;
  tcp_nodelay on;
  keepalive_timeout 300s;
  keepalive_requests 1000000000;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/f;
  uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  {http}
}}
"""

UPSTREAM = """\
server {{
    listen 127.0.0.1:{port} backlog=8192;
    location / {{ return 200 '{reply}'; }}
    location /v1/models {{ return 200 '{models}'; }}
  }}"""

MODELS = '{"object":"list","data":[{"id":"bench-1","object":"model","owned_by":"bench"}]}'

PROXY = """\
upstream behind {{ server 127.0.0.1:{upstream}; keepalive 8192; keepalive_requests 1000000000;
                   keepalive_timeout 300s; }}
  server {{
    listen 127.0.0.1:{port} backlog=8192;
    location / {{
      proxy_pass http://behind;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering {buffering};
      proxy_read_timeout 600s;
    }}
  }}"""


def binary() -> str | None:
    """Path of nginx, or None. Looks in the sbin directories too, which a user's PATH may lack."""
    return shutil.which(
        "nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/sbin"
    )


def version() -> str:
    path = binary()
    if path is None:
        return ""
    return (
        subprocess.run([path, "-v"], capture_output=True, text=True).stderr.strip().split("/")[-1]
    )


def require(tool: str, package: str) -> bool:
    """Install a Debian package when we may; otherwise say how. Returns whether it is there now."""
    if shutil.which(tool) or (tool == "nginx" and binary()):
        return True
    if os.geteuid() == 0 and shutil.which("apt-get"):
        say(f"installing {package} (apt-get)")
        env = dict(os.environ) | {"DEBIAN_FRONTEND": "noninteractive"}
        for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", package]):
            subprocess.run(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if shutil.which(tool) or (tool == "nginx" and binary()):
        return True
    say(f"{tool} is missing: install it with `sudo apt-get install {package}`")
    return False


def start_upstream(work: Path, core: int) -> tuple[Proc, int]:
    """The fixed-reply upstream; returns its process and port."""
    port = free_port()
    http_part = UPSTREAM.format(port=port, reply=REPLY, models=MODELS)
    return _start(work / "upstream", http_part, core, port, "nginx (upstream)")


def start_proxy(work: Path, upstream: int, core: int, *, buffering: bool) -> tuple[Proc, int]:
    """A plain reverse proxy with a keep-alive pool; buffering off for streams."""
    port = free_port()
    http_part = PROXY.format(port=port, upstream=upstream, buffering="on" if buffering else "off")
    return _start(work / "proxy", http_part, core, port, "nginx (proxy)")


def _start(dir_: Path, http_part: str, core: int, port: int, what: str) -> tuple[Proc, int]:
    path = binary()
    if path is None:
        raise BenchError("nginx is missing: install it with `sudo apt-get install nginx-light`.")
    dir_.mkdir(parents=True, exist_ok=True)
    conf = dir_ / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    # a master only supervises; without it there is one process to measure and to kill
    conf.write_text(FRAME.format(user=user, dir=dir_, http=http_part, master="off"))
    proc = Proc([path, "-p", str(dir_), "-c", str(conf)], core=core, log=dir_ / "log")
    try:
        wait_until(
            lambda: http(f"http://127.0.0.1:{port}/v1/models")[0] != 0, proc, what, seconds=10
        )
    except BaseException:
        proc.stop()
        raise
    return proc, port
