"""What botocore says of the Converse format's requests, replies and streams."""

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

import botocore.session
from botocore.eventstream import EventStream
from botocore.model import Shape
from botocore.parsers import EventStreamJSONParser, create_parser
from botocore.serialize import create_serializer
from botocore.validate import ParamValidator

_MODEL = botocore.session.Session().get_service_model("bedrock-runtime")
OPERATIONS = ("Converse", "ConverseStream")
MODEL_ID = "anthropic.claude-sonnet-4-5-20250929-v1:0"


def judge_request(body: bytes) -> dict[str, Any]:
    """The body as JSON, after botocore has found nothing wrong with it for both operations."""
    wire: dict[str, Any] = json.loads(body)
    for name in OPERATIONS:
        operation = _MODEL.operation_model(name)
        shape = operation.input_shape
        params = _params(wire, shape, "body") | {"modelId": MODEL_ID}
        report = ParamValidator().validate(params, shape)
        assert not report.has_errors(), report.generate_report()
        serializer = create_serializer("rest-json", include_validation=False)
        sent = serializer.serialize_to_request(params, operation)["body"]
        assert json.loads(sent) == wire
    return wire


def _params(value: Any, shape: Shape, at: str) -> Any:
    """``value`` as botocore takes it; enumerations and patterns, which it leaves to the service,
    are checked on the way."""
    kind = shape.type_name
    if kind == "structure" and not getattr(shape, "is_document_type", False):
        unknown = set(value) - set(shape.members)
        assert not unknown, f"{at} has no {unknown}"
        return {k: _params(v, shape.members[k], f"{at}.{k}") for k, v in value.items()}
    if kind == "list":
        return [_params(v, shape.member, f"{at}[{n}]") for n, v in enumerate(value)]
    if kind == "map":
        return {
            _params(k, shape.key, f"{at} key"): _params(v, shape.value, f"{at}.{k}")
            for k, v in value.items()
        }
    if kind == "blob":
        return base64.b64decode(value, validate=True)
    if kind == "string":
        assert not getattr(shape, "enum", None) or value in shape.enum, f"{at}: {value}"
        pattern = shape.metadata.get("pattern")
        assert not pattern or re.fullmatch(pattern, value), f"{at}: {value!r} is not {pattern}"
    return value


def judge_reply(body: bytes) -> dict[str, Any]:
    """What botocore makes of a whole reply."""
    shape = _MODEL.operation_model("Converse").output_shape
    response = {"headers": {}, "status_code": 200, "body": body}
    parsed: dict[str, Any] = create_parser("rest-json").parse(response, shape)
    return parsed


class _Body:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def stream(self) -> Iterator[bytes]:
        yield self._data

    def close(self) -> None:
        pass


def judge_stream(data: bytes) -> list[dict[str, Any]]:
    """What botocore makes of a stream; raises its error for an exception."""
    shape = _MODEL.operation_model("ConverseStream").output_shape.members["stream"]
    return list(EventStream(_Body(data), shape, EventStreamJSONParser(), "ConverseStream"))
