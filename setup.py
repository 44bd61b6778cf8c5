"""Compiles the request path to C with mypyc when ``FERRYMAN_COMPILE=1``; see pyproject.toml else.

The same sources run interpreted without it: a compiler is never needed, it makes a call cheaper.
A module listed here defines no msgspec Struct (mypyc drops the keywords of a class statement).
"""

import os

from setuptools import setup

HOT = [
    "catalog/reply_headers.py",
    "catalog/request_ids.py",
    "edge/routes.py",
    "flow/asking.py",
    "flow/attempts.py",
    "flow/bounds.py",
    "flow/call.py",
    "flow/charges.py",
    "flow/choice.py",
    "flow/considered.py",
    "flow/counting.py",
    "flow/deliver.py",
    "flow/headers.py",
    "flow/limit_words.py",
    "flow/limiting.py",
    "flow/owing.py",
    "flow/pictures.py",
    "flow/reading.py",
    "flow/spine.py",
    "flow/together.py",
    "flow/turns.py",
    "flow/window.py",
    "http1/client.py",
    "http1/connection.py",
    "http1/drive.py",
    "http1/head.py",
    "http1/intake.py",
    "http1/outbox.py",
    "http1/pool.py",
    "http1/reply.py",
    "http1/server.py",
    "ir/fixed.py",
    "ir/tally.py",
    "meter/cost.py",
    "meter/keytable.py",
    "meter/limits.py",
    "meter/spending.py",
    "meter/throttle.py",
    "meter/window.py",
    "routing/health.py",
    "routing/plan.py",
    "store/journal.py",
    "telemetry/metrics.py",
    "upstream/fleet.py",
    "upstream/reply.py",
    "wire/anthropic_messages/decoder.py",
    "wire/anthropic_messages/encoder.py",
    "wire/anthropic_messages/tap.py",
    "wire/bedrock_converse/stream.py",
    "wire/cohere_chat/stream.py",
    "wire/envelope.py",
    "wire/formats.py",
    "wire/framing.py",
    "wire/gemini_generate/encoder.py",
    "wire/gemini_generate/stream.py",
    "wire/gemini_generate/tap.py",
    "wire/invoke.py",
    "wire/openai_chat/chunks.py",
    "wire/openai_chat/media_relay.py",
    "wire/openai_chat/relay.py",
    "wire/openai_chat/stream.py",
    "wire/openai_chat/usage.py",
    "wire/openai_responses/relay.py",
    "wire/openai_responses/stream.py",
    "wire/openai_responses/writer.py",
    "wire/splice.py",
    "wire/tap.py",
    "wire/translate.py",
    "wire/watch.py",
]

if os.environ.get("FERRYMAN_COMPILE") == "1":
    from mypyc.build import mypycify

    os.environ["MYPYPATH"] = "src"  # names modules ferryman.http1.server, not server
    compiled = mypycify(
        ["--explicit-package-bases", *(f"src/ferryman/{name}" for name in HOT)],
        opt_level=os.environ.get("FERRYMAN_OPT", "2"),  # 0 compiles in half the time, for tests
        debug_level="0",
        group_name="ferryman",
    )
    for each in compiled:  # calls of our own functions, and of Python's, go straight there
        each.extra_compile_args += ["-fno-semantic-interposition", "-fno-plt"]
else:
    compiled = []

setup(ext_modules=compiled)
