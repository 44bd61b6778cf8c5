"""What the resources have (RFC 7643): documents that clients ask for, and what is read off them.

``active``, names, addresses and groups mean something here; all else is kept for the directory.
"""

from typing import Any, Final

from ferryman.control.scim.error import wrong
from ferryman.control.scim.paths import CORE, ENTERPRISE, GROUP, USER, Json

MOST: Final = 200
"""Resources of one answer."""
SCHEMA: Final = "urn:ietf:params:scim:schemas:core:2.0:Schema"
RESOURCE_TYPE: Final = "urn:ietf:params:scim:schemas:core:2.0:ResourceType"
CONFIG: Final = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"
READ_ONLY: Final = frozenset(("id", "meta", "groups", "schemas"))
"""What a directory says of these is passed over."""


def _attribute(
    name: str, says: str, kind: str = "string", *, many: bool = False, sub: list[Json] | None = None
) -> Json:
    plain = {"caseExact": False, "uniqueness": "none"} if kind == "string" else {}
    base = {
        "name": name, "type": kind, "multiValued": many, "description": says, "required": False,
        "mutability": "readWrite", "returned": "default",
    }  # fmt: skip
    return base | plain | ({"subAttributes": sub} if sub is not None else {})


def _refers(name: str, says: str, to: str) -> Json:
    return _attribute(name, says, "reference") | {"referenceTypes": [to]}


def _list(name: str, says: str, of: str = "string") -> Json:
    """A list of values that have a type, of which one may be the primary one."""
    value = _attribute("value", "The value.", of)
    parts = [
        _refers("value", "The value.", "external") if of == "reference" else value,
        _attribute("display", "A name of it."),
        _attribute("type", "What it is for, such as work."),
        _attribute("primary", "Whether it is the first choice.", "boolean"),
    ]
    return _attribute(name, says, "complex", many=True, sub=parts)


_FIXED: Final = {"mutability": "readOnly"}
_LASTING: Final = {"mutability": "immutable"}
_NAMES: Final = {
    "formatted": "The whole name.", "familyName": "The family name.",
    "givenName": "The given name.", "middleName": "The middle name.",
    "honorificPrefix": "A title before the name.", "honorificSuffix": "What follows the name.",
}  # fmt: skip
_TEXTS: Final = {
    "displayName": "The name to show.", "nickName": "What they are called.",
    "title": "Their position.", "userType": "Such as Employee.",
    "preferredLanguage": "A language tag.", "locale": "A locale.", "timezone": "A time zone.",
}  # fmt: skip
_LISTS: Final = {
    "emails": "Addresses.", "phoneNumbers": "Telephone numbers.", "ims": "Messengers.",
    "entitlements": "Kept, and without effect.", "roles": "Kept, and without effect.",
    "x509Certificates": "Certificates.",
}  # fmt: skip
_ADDRESS: Final = {
    "formatted": "The whole address.", "streetAddress": "The street.", "locality": "The town.",
    "region": "The region.", "postalCode": "The postal code.", "country": "The country.",
    "type": "What it is for.",
}  # fmt: skip
_EXTERNAL: Final = _attribute("externalId", "The directory's id.") | {"caseExact": True}
_USER: Final = [
    _attribute("userName", "What they sign in with, and what virtual keys of theirs have as user.")
    | {"required": True, "uniqueness": "server"},
    _attribute("name", "The parts of the name.", "complex",
               sub=[_attribute(name, says) for name, says in _NAMES.items()]),
    *(_attribute(name, says) for name, says in _TEXTS.items()),
    _refers("profileUrl", "A page about them.", "external"),
    _attribute("active", "False ends their sessions, tokens and virtual keys.", "boolean"),
    *(_list(name, says, "binary" if name == "x509Certificates" else "string")
      for name, says in _LISTS.items()),
    _list("photos", "Pictures.", "reference"),
    _attribute("addresses", "Postal addresses.", "complex", many=True, sub=[
        *(_attribute(name, says) for name, says in _ADDRESS.items()),
        _attribute("primary", "Whether it is the first choice.", "boolean"),
    ]),
    _attribute("groups", "The groups that they are in.", "complex", many=True, sub=[
        _attribute("value", "The group's id.") | _FIXED,
        _refers("$ref", "Where it is.", "Group") | _FIXED,
        _attribute("display", "The group's name.") | _FIXED,
        _attribute("type", "Always direct.") | _FIXED,
    ]) | _FIXED,
]  # fmt: skip
_MANAGER: Final = [
    _attribute("value", "The id of the manager."),
    _refers("$ref", "Where they are.", "User"),
    _attribute("displayName", "The name of the manager.") | _FIXED,
]
_ENTERPRISE: Final = [
    *(_attribute(name, "Kept, and without effect.") for name in
      ("employeeNumber", "costCenter", "organization", "division", "department")),
    _attribute("manager", "Kept, and without effect.", "complex", sub=_MANAGER),
]  # fmt: skip
_GROUP: Final = [
    _attribute("displayName", "The name, by which identity.groups gives a role and a team.")
    | {"required": True},
    _attribute("members", "The users in it.", "complex", many=True, sub=[
        _attribute("value", "The user's id.") | _LASTING,
        _refers("$ref", "Where they are.", "User") | _LASTING,
    ]),
]  # fmt: skip
_OF: Final = {
    USER: ("User", "Somebody who may sign in.", _USER),
    GROUP: ("Group", "Several users.", _GROUP),
    ENTERPRISE: ("EnterpriseUser", "What companies keep of users.", _ENTERPRISE),
}
RESOURCES: Final = {USER: "User", GROUP: "Group"}
"""Schema → type of resource."""


def known(schema: str, name: str) -> Json | None:
    """What is known of an attribute of a schema, whatever its case; None = nothing."""
    folded = name.lower()
    if schema in CORE and folded == "externalid":
        return _EXTERNAL
    found = _OF[schema][2] if schema in _OF else []
    return next((each for each in found if each["name"].lower() == folded), None)


def part(of: Json | None, name: str) -> Json | None:
    """What is known of a part of an attribute."""
    parts = (of or {}).get("subAttributes", ())
    return next((each for each in parts if each["name"].lower() == name.lower()), None)


def tidied(schema: str, resource: Json) -> Json:
    """A resource as we keep it: names of attributes in their own case, truth values as such though
    they came as texts, and nothing that is null, read-only or secret."""
    found: Json = {}
    for name, value in resource.items():
        extends = name.lower() == ENTERPRISE.lower() and isinstance(value, dict)
        key, kept = (ENTERPRISE, _parts(value)) if extends else _named(schema, name, value)
        if kept not in (None, {}) and key.lower() not in READ_ONLY | {"password"}:
            found[key] = kept
    return found


def _parts(extension: Json) -> Json:
    pairs = [_named(ENTERPRISE, name, value) for name, value in extension.items()]
    return {name: value for name, value in pairs if value is not None}


def _named(schema: str, name: str, value: Any) -> tuple[str, Any]:
    """An attribute in its known form; None = it says nothing."""
    about = known(schema, name)
    return (about["name"] if about else name), _value(about, value)


def _value(about: Json | None, value: Any) -> Any:
    """A value in its known form; None = it says nothing."""
    if about is None:
        return value
    if about["multiValued"]:
        given = value if isinstance(value, list) else [value]
        return [one for each in given if (one := _one(about, each)) not in (None, {}, "")] or None
    return _one(about, value)


def _one(about: Json, value: Any) -> Any:
    if about["type"] == "boolean":
        truth = {"true": True, "false": False, "none": None}.get(str(value).lower(), value)
        if truth is not None and not isinstance(truth, bool):
            raise wrong("invalidValue", f"{about['name']}: give true or false.")
        return truth
    if about["type"] != "complex":
        if isinstance(value, dict | list):
            raise wrong("invalidValue", f"{about['name']}: give one plain value.")
        return value
    if isinstance(value, str):  # some send the id of a manager, or an address, alone
        return {"value": value}
    if not isinstance(value, dict):
        if value is not None:
            raise wrong("invalidValue", f"{about['name']}: give an object.")
        return None
    below = {}
    for key, one in value.items():
        inner = part(about, key)
        below[inner["name"] if inner else key] = _one(inner, one) if inner else one
    return {key: one for key, one in below.items() if one is not None} or None


def documents(location: str) -> list[Json]:
    """The schemas; ``location``: where they are."""
    return [
        {
            "schemas": [SCHEMA], "id": urn, "name": name, "description": says,
            "attributes": attributes,
            "meta": {"resourceType": "Schema", "location": f"{location}/Schemas/{urn}"},
        }
        for urn, (name, says, attributes) in _OF.items()
    ]  # fmt: skip


def types(location: str) -> list[Json]:
    """The types of resources."""
    return [
        {
            "schemas": [RESOURCE_TYPE], "id": name, "name": name, "endpoint": f"/{name}s",
            "description": _OF[urn][1], "schema": urn,
            "schemaExtensions": [{"schema": ENTERPRISE, "required": False}] if urn == USER else [],
            "meta": {"resourceType": "ResourceType",
                     "location": f"{location}/ResourceTypes/{name}"},
        }
        for urn, name in RESOURCES.items()
    ]  # fmt: skip


def config(location: str) -> Json:
    """What of the protocol there is here."""
    scheme = {
        "type": "oauthbearertoken", "name": "Token", "primary": True,
        "description": "A token of the admin API with the role provisioner.",
    }  # fmt: skip
    return {
        "schemas": [CONFIG],
        "patch": {"supported": True},
        "bulk": {"supported": False, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": True, "maxResults": MOST},
        "changePassword": {"supported": False},
        "sort": {"supported": False},
        "etag": {"supported": False},
        "authenticationSchemes": [scheme],
        "meta": {"resourceType": "ServiceProviderConfig",
                 "location": f"{location}/ServiceProviderConfig"},
    }  # fmt: skip
