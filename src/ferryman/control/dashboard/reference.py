"""The page Reference: the admin API as its OpenAPI document describes it."""

from typing import Any

from ferryman.control.api.openapi import document
from ferryman.control.dashboard.desk import Asked, Desk, Page


def page(desk: Desk, asked: Asked) -> Page:
    """Every route, by what it is about."""
    said = document()
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, operations in said["paths"].items():
        for method, each in operations.items():
            row = {**each, "path": path, "method": method.upper(), "body": _body(each)}
            groups.setdefault(each["tags"][0], []).append(row)
    schemas = said["components"]["schemas"]
    values = {"groups": groups, "schemas": schemas, "about": said["info"]["description"]}
    return Page(template="reference.html", title="API reference", values=values)


def _body(operation: dict[str, Any]) -> str:
    """The name of what is sent; ``YAML`` where that is a configuration."""
    content = operation.get("requestBody", {}).get("content", {})
    if "application/yaml" in content:
        return "YAML"
    found: str = content.get("application/json", {}).get("schema", {}).get("$ref", "")
    return found.rpartition("/")[2]
