"""The OpenAPI 3.1 document of the admin API, made from its routes and their types."""

from collections.abc import Iterator
from functools import cache
from typing import Any, Final, get_origin

import msgspec

from ferryman import __version__
from ferryman.client.documents import ErrorDocument
from ferryman.control.api.cursor import DEFAULT, MOST
from ferryman.control.api.route import CHOICES, PREFIX, Route, describe

Said = dict[str, Any]
_REF: Final = "#/components/schemas/{name}"
_YAML: Final = {"schema": {"type": "string"}, "example": "{ targets: [lab/large] }"}
_TITLES: Final = {
    400: "The request is wrong.", 401: "The token is missing or wrong.",
    403: "The caller lacks the permission.", 404: "There is no such thing.",
    409: "It does not fit the state of things.", 412: "Another version is in force.",
    413: "The body is too large.", 422: "What was sent can't be used.",
    429: "Too often: wait a moment.", 502: "The gateway broke off.",
    503: "What answers this is not there now.",
}  # fmt: skip
_PROBLEM: Final = {
    "type": "about:blank", "title": "Not Found", "status": 404, "code": "key_not_found",
    "detail": "No key has the id or name 'shop'.", "fix": "`ferryman keys list` shows them all.",
}  # fmt: skip


def document() -> Said:
    """This description, in OpenAPI 3.1."""
    return _document()


@cache
def _document() -> Said:
    from ferryman.control.api.serve import ROUTES

    kinds = {_key(kind): kind for route in ROUTES for kind in _kinds(route)}
    schemas, components = msgspec.json.schema_components(
        [*kinds.values(), ErrorDocument], ref_template=_REF
    )
    schema_of = dict(zip(kinds, schemas, strict=False))
    paths: Said = {}
    asked = set()
    for route in ROUTES:
        operation = _operation(route, schema_of, components)
        paths.setdefault(PREFIX + route.path, {})[route.method.lower()] = operation
        asked |= {_key(route.hints[n]) for n in ("query", "headers") if n in route.hints}
    for name in asked:
        components.pop(schema_of[name]["$ref"].rpartition("/")[2], None)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Ferryman admin API",
            "version": __version__,
            "description": "Everything that the dashboard and the commands do. Errors are problem "
            "documents (RFC 9457) with a stable `code`, and a `fix` that says what to do. Lists "
            "have pages: `cursor` takes the `next` of the page before.",
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "responses": {
                "Problem": {
                    "description": "A problem.",
                    "content": {
                        "application/problem+json": {
                            "schema": {"$ref": _REF.format(name="ErrorDocument")},
                            "example": _PROBLEM,
                        }
                    },
                }
            },
        },
    }


def _key(kind: Any) -> str:
    return repr(kind)


def _kinds(route: Route) -> Iterator[Any]:
    """The types that a route needs schemas of."""
    for name, kind in route.hints.items():
        if name not in ("admin", "pages", "where") and kind is not bytes and not _streams(kind):
            yield kind


def _streams(kind: Any) -> bool:
    return get_origin(kind) is not None and issubclass(get_origin(kind) or object, Iterator)


def _operation(route: Route, schema_of: dict[str, Said], components: Said) -> Said:
    summary, text = describe(route)
    gives = route.hints["return"]
    content: Said = {"application/json": {"schema": schema_of.get(_key(gives), {})}}
    if _streams(gives):
        content = {"application/x-ndjson": {"schema": {"type": "string"}}}
    good: Said = {"description": "Done.", "content": content}
    if route.tagged:
        good["headers"] = {"ETag": {"description": "The version.", "schema": {"type": "string"}}}
    bad = {str(s): _problem(s) for s in sorted({400, 401, 403, *route.errors, *_sizes(route)})}
    found: Said = {
        "operationId": route.handler.__name__,
        "tags": [route.path.split("/")[1].partition(".")[0]],
        "summary": summary,
        "description": f"{text}\n\nPermission: `{route.permission}`.".strip(),
        "x-permission": route.permission,
        "parameters": list(_parameters(route, schema_of, components)),
        "responses": {str(route.status): good, **bad, "default": _problem(0)},
    }
    if "body" in route.hints:
        found["requestBody"] = {"required": True, "content": _body(route, schema_of)}
    return found


def _sizes(route: Route) -> tuple[int, ...]:
    return (413,) if "body" in route.hints else ()


def _problem(status: int) -> Said:
    if not status:
        return {"$ref": "#/components/responses/Problem"}
    schema = {"$ref": _REF.format(name="ErrorDocument")}
    content = {"application/problem+json": {"schema": schema}}
    return {"description": _TITLES[status], "content": content}


def _body(route: Route, schema_of: dict[str, Said]) -> Said:
    if route.hints["body"] is bytes and route.example:
        return {"application/json": {"schema": {"type": "object"}, "example": route.example}}
    if route.hints["body"] is bytes:
        return {"application/yaml": _YAML, "application/json": {"schema": {}}}
    schema: Said = {"schema": schema_of[_key(route.hints["body"])]}
    return {"application/json": schema | ({"example": route.example} if route.example else {})}


def _parameters(route: Route, schema_of: dict[str, Said], components: Said) -> Iterator[Said]:
    for name, kind in route.places.items():
        yield {"name": name, "in": "path", "required": True, "schema": schema_of[_key(kind)]}
    for part, place in (("query", "query"), ("headers", "header")):
        if part in route.hints:
            name = schema_of[_key(route.hints[part])]["$ref"].rpartition("/")[2]
            fields = components[name]
            for field, schema in fields["properties"].items():
                text = schema.pop("description", "")
                row = {"name": field, "in": place, "schema": schema, "description": text}
                yield row | {"required": field in fields.get("required", ())}
    if "pages" in route.hints:
        size = {"type": "integer", "minimum": 1, "maximum": MOST, "default": DEFAULT}
        yield {"name": "limit", "in": "query", "description": "Rows on a page.", "schema": size}
        text = "The `next` of the page before."
        yield {"name": "cursor", "in": "query", "description": text, "schema": {"type": "string"}}
    if "where" in route.hints:
        text = f"What calls must be like, `-` = none: any of {', '.join(CHOICES)}."
        schema = {"type": "object", "additionalProperties": {"type": "string"}}
        yield {"name": "where", "in": "query", "description": text, "style": "form",
               "explode": True, "schema": schema}  # fmt: skip
