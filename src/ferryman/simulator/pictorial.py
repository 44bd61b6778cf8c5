"""Images made and changed: https://platform.openai.com/docs/api-reference/images."""

from collections.abc import Iterator
from typing import Any

import msgspec

from ferryman.simulator import forms
from ferryman.simulator.answer import Answer
from ferryman.simulator.ask import Ask, RefusedError, Request, words
from ferryman.simulator.chat import CREATED
from ferryman.simulator.event import Event
from ferryman.simulator.pictures import PNG

MOST = 10
"""Images that one request may ask for."""


def read(request: Request) -> Ask:
    """A request for images from a text."""
    return _ask(request, request.json(), "")


def read_edit(request: Request) -> Ask:
    """A form with images to change."""
    fields = forms.read(request)
    images = [*fields.get("image", []), *fields.get("mask", [])]
    if not images or not all(isinstance(image, forms.File) for image in images):
        raise RefusedError(
            "Missing required parameter: 'image'.", code="missing_required_parameter"
        )
    body = {name: values[0] for name, values in fields.items() if name not in ("image", "mask")}
    if "n" in body:
        body["n"] = int(body["n"])
    body["stream"] = body.get("stream") == "true"
    return _ask(request, body, "".join(image.told for image in images))


def _ask(request: Request, body: dict[str, Any], seen: str) -> Ask:
    prompt = body.get("prompt")
    if not isinstance(prompt, str) or not prompt:
        raise RefusedError(
            "Missing required parameter: 'prompt'.", code="missing_required_parameter"
        )
    count = body.get("n") or 1
    if not 1 <= count <= MOST:
        raise RefusedError(f"Invalid 'n': expected a value from 1 to {MOST}.", code="invalid_value")
    model = request.model or str(body.get("model") or "dall-e-2")
    return Ask(
        model=model,
        body=body,
        behaviour=request.wishes(model, body.get("sim")),
        stream=body.get("stream") is True,
        prompt=len(words(prompt)),
        last=prompt + seen,
        choices=count,
    )


def _usage(ask: Ask, found: Answer) -> dict[str, Any]:
    output = 16 * found.choices
    return {
        "input_tokens": found.prompt,
        "input_tokens_details": {"text_tokens": found.prompt, "image_tokens": 0},
        "output_tokens": output,
        "total_tokens": found.prompt + output,
    }


def _shape(ask: Ask) -> dict[str, Any]:
    wanted = {"size": "1024x1024", "quality": "low", "background": "opaque", "output_format": "png"}
    return {name: ask.body.get(name) or usual for name, usual in wanted.items()}


def whole(ask: Ask, found: Answer, ident: str) -> dict[str, Any]:
    """The images: in base64, or by an address that leads nowhere."""
    image: dict[str, Any] = {"b64_json": PNG}
    if ask.body.get("response_format") == "url":
        image = {"url": f"https://example.com/{ident}.png"}
    if "echo" in ask.behaviour:
        image["revised_prompt"] = ask.last
    reply = {"created": CREATED, "data": [image] * found.choices, **_shape(ask)}
    if "no-usage" not in ask.behaviour:
        reply["usage"] = _usage(ask, found)
    return reply


def _events(kind: str, ask: Ask, found: Answer) -> Iterator[Event]:
    for index in range(int(ask.body.get("partial_images") or 0)):
        name = f"{kind}.partial_image"
        body = {"type": name, "partial_image_index": index, "b64_json": PNG}
        yield Event(msgspec.json.encode({**body, "created_at": CREATED, **_shape(ask)}), name, 1)
    name = f"{kind}.completed"
    body = {"type": name, "b64_json": PNG, "usage": _usage(ask, found)}
    body |= {"created_at": CREATED, **_shape(ask)}
    yield Event(msgspec.json.encode(body), name, 1, last=True)


def stream(ask: Ask, found: Answer, _ident: str) -> Iterator[Event]:
    """The events of an image that comes bit by bit."""
    return _events("image_generation", ask, found)


def stream_edit(ask: Ask, found: Answer, _ident: str) -> Iterator[Event]:
    """The same for an image that is changed."""
    return _events("image_edit", ask, found)
