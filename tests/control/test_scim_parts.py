"""SCIM's filter language and PATCH on plain JSON: as RFC 7644 shows, and as directories send."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.control.scim.error import ScimError
from ferryman.control.scim.filters import DEEPEST, LONGEST, matches, parse, parse_path
from ferryman.control.scim.patch import patched
from ferryman.control.scim.paths import ENTERPRISE, GROUP, USER
from ferryman.control.scim.schemas import tidied

ANNA: dict[str, Any] = {
    "id": "usr_1", "externalId": "E1", "userName": "Anna@Acme.example", "title": "Lead",
    "name": {"familyName": "O'Malley", "givenName": "Anna"}, "active": True, "level": 3,
    "emails": [
        {"type": "work", "value": "anna@acme.example", "primary": True},
        {"type": "home", "value": "anna@home.example"},
    ],
    "nickName": "", "members": [{"value": "usr_9"}], "phoneNumbers": [],
    "meta": {"resourceType": "User", "lastModified": "2026-05-13T04:42:34Z"},
    ENTERPRISE: {"department": "Sales", "manager": {"value": "usr_7"}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "found"),
    [
        # The filters of RFC 7644, figure 2.
        ('userName eq "anna@acme.EXAMPLE"', True),
        ('name.familyName co "O\'Malley"', True),
        ('userName sw "ANNA"', True),
        ('urn:ietf:params:scim:schemas:core:2.0:User:userName sw "J"', False),
        ("title pr", True),
        ('meta.lastModified gt "2011-05-13T04:42:34Z"', True),
        ('meta.lastModified ge "2026-05-13T06:42:34+02:00"', True),
        ('meta.lastModified lt "2026-05-13T04:42:34Z"', False),
        ('meta.lastModified le "2026-05-13T04:42:34.000Z"', True),
        ('title pr and userType eq "Employee"', False),
        ('title pr or userType eq "Intern"', True),
        ('userType ne "Employee" and not (emails co "example.com" or emails.value co "x.org")',
         True),
        ('emails[type eq "work" and value co "@acme.example"]', True),
        ('emails[type eq "home" and value co "@acme.example"]', False),
        ('emails[type eq "work" and value co "@example.com"] or ims[type eq "xmpp"]', False),
        # What binds closer, and what stands in what.
        ("title pr or level pr and nothing pr", True),
        ("(title pr or level pr) and nothing pr", False),
        ("not (title pr)", False),
        ("not(not (title pr))", True),
        ("NOT (nothing PR) AND title PR", True),
        ('EMAILS[TYPE EQ "WORK"]', True),
        # Values.
        ("active eq true", True),
        ("active eq True", True),
        ('active eq "true"', True),
        ("active ne true", False),
        ("active eq false", False),
        ("level gt 2.5 and level lt 4 and level eq 3.0", True),
        ('level eq "3"', False),
        ('level co "3"', False),
        ("nothing eq null", True),
        ("title eq null", False),
        ("title ne null", True),
        ("nickName pr", False),
        ("phoneNumbers pr", False),
        ("emails pr", True),
        ('title ew "EAD"', True),
        ('title gt "a" and title lt "M"', True),
        ('nothing gt "a"', False),
        # Ids have a case; what the directory calls them too.
        ('id eq "usr_1"', True),
        ('id eq "USR_1"', False),
        ('externalId eq "e1"', False),
        ('members.value eq "usr_9"', True),
        ('members[value eq "usr_8"]', False),
        ('emails eq "anna@home.example"', True),
        # Extensions.
        (f'{ENTERPRISE}:department eq "sales"', True),
        (f'{ENTERPRISE.upper()}:manager.value eq "usr_7"', True),
        (f'{ENTERPRISE}[department eq "sales"]', False),
        ('urn:example:other:thing pr', False),
        ('userName eq "a\\"b"', False),
        ('userName eq "\\u0041nna@acme.example"', True),
    ],
)  # fmt: skip
def test_a_filter_finds(text: str, found: bool) -> None:
    assert matches(parse(text), ANNA) is found


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "userName", "userName eq", 'userName is "a"', 'userName eq "a', "userName eq 'a'",
        "userName eq a", 'eq "a"', "(title pr", "title pr)", "title pr and", "and title pr",
        "not title pr", "title pr title pr", 'emails[type eq "a"', 'emails]type eq "a"[',
        "emails[]", 'emails.value[type eq "a"]', "emails[type pr].value pr", 'a..b eq "c"',
        'a.b.c eq "d"', ".a pr", "a. pr", '9a eq "b"', "active gt true", "level co 3",
        "level gt null",
        "level eq 01", "level eq 1e999", "level eq NaN", "level eq Infinity", 'urn:: eq "a"',
        'userName eq "\\x"', 'userName eq "\\ud800"', 'a eq "\n"', "a" * (LONGEST + 1),
        "(" * (DEEPEST + 2) + "title pr" + ")" * (DEEPEST + 2), "not (" * 100 + "a pr" + ")" * 100,
        "a[" * 100 + "b pr" + "]" * 100, "'; DROP TABLE users; --",
    ],
)  # fmt: skip
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(ScimError) as error:
        parse(text)
    assert (error.value.status, error.value.kind) == (400, "invalidFilter")
    with pytest.raises(ScimError) as error:
        parse_path(text + " x x")
    assert error.value.kind == "invalidPath"


@given(st.text(alphabet='ab.[]()"\\ eqnotrdp:1-truel\n', max_size=60))
def test_any_text_is_a_filter_or_is_refused(text: str) -> None:
    try:
        matches(parse(text), ANNA)
    except ScimError as error:
        assert error.status == 400


def change(*operations: Any) -> dict[str, Any]:
    return {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [*operations],
    }


WORK = 'emails[type eq "work"]'
BOB: dict[str, Any] = {
    "userName": "bob", "active": True, "name": {"givenName": "Bob", "familyName": "B"},
    "emails": [{"type": "work", "value": "b@w", "primary": True}, {"type": "home", "value": "b@h"}],
}  # fmt: skip
MAILS = BOB["emails"]


@pytest.mark.parametrize(
    ("operations", "now"),
    [
        # RFC 7644, section 3.5.2.
        ([{"op": "add", "path": "nickName", "value": "Bo"}], {"nickName": "Bo"}),
        ([{"op": "add", "value": {"nickName": "Bo", "emails": [{"value": "b@x"}]}}],
         {"nickName": "Bo", "emails": [*MAILS, {"value": "b@x"}]}),
        ([{"op": "add", "path": "emails", "value": [{"type": "home", "value": "b@h"}]}], {}),
        ([{"op": "add", "path": "emails", "value": {"value": "b@x", "primary": True}}],
         {"emails": [MAILS[0] | {"primary": False}, MAILS[1], {"value": "b@x", "primary": True}]}),
        ([{"op": "add", "path": "name", "value": {"givenName": "Rob"}}],
         {"name": {"givenName": "Rob", "familyName": "B"}}),
        ([{"op": "replace", "path": "name.givenName", "value": "Rob"}],
         {"name": {"givenName": "Rob", "familyName": "B"}}),
        ([{"op": "replace", "path": "emails", "value": [{"value": "b@x"}]}],
         {"emails": [{"value": "b@x"}]}),
        ([{"op": "replace", "path": f"{WORK}.value", "value": "b@x"}],
         {"emails": [MAILS[0] | {"value": "b@x"}, MAILS[1]]}),
        ([{"op": "replace", "path": WORK, "value": {"type": "work", "value": "b@x"}}],
         {"emails": [MAILS[0] | {"value": "b@x"}, MAILS[1]]}),
        ([{"op": "remove", "path": WORK}], {"emails": [MAILS[1]]}),
        ([{"op": "remove", "path": f"{WORK}.primary"}],
         {"emails": [{"type": "work", "value": "b@w"}, MAILS[1]]}),
        ([{"op": "remove", "path": "emails"}], {"emails": None}),
        ([{"op": "remove", "path": "name.givenName"}], {"name": {"familyName": "B"}}),
        ([{"op": "remove", "path": "nickName"}], {}),
        ([{"op": "remove", "path": 'emails[type eq "nothing"]'}], {}),
        ([{"op": "replace", "path": 'emails[value eq "b@h"].primary', "value": True}],
         {"emails": [MAILS[0] | {"primary": False}, MAILS[1] | {"primary": True}]}),
        ([{"op": "replace", "path": "userName", "value": "x"},
          {"op": "replace", "path": "userName", "value": "y"}], {"userName": "y"}),
        # Okta.
        ([{"op": "replace", "value": {"active": False}}], {"active": False}),
        ([{"op": "replace", "value": {"id": "usr_1", "userName": "robert"}}],
         {"userName": "robert"}),
        # Entra ID.
        ([{"op": "Replace", "path": "active", "value": "False"}], {"active": False}),
        ([{"op": "Add", "path": "active", "value": "True"}], {"active": True}),
        ([{"op": "Replace", "value": {"name.givenName": "Rob", "active": "false", "title": "T",
           f"{ENTERPRISE}:department": "Sales"}}],
         {"name": {"givenName": "Rob", "familyName": "B"}, "active": False, "title": "T",
          ENTERPRISE: {"department": "Sales"}}),
        ([{"op": "Add", "path": 'phoneNumbers[type eq "mobile"].value', "value": "+1"}],
         {"phoneNumbers": [{"type": "mobile", "value": "+1"}]}),
        ([{"op": "Replace", "path": 'addresses[type eq "work"].locality', "value": "Ulm"},
          {"op": "Replace", "path": 'addresses[type eq "work"].country', "value": "DE"}],
         {"addresses": [{"type": "work", "locality": "Ulm", "country": "DE"}]}),
        ([{"op": "Add", "path": 'roles[primary eq "True"].value', "value": "x"}],
         {"roles": [{"primary": True, "value": "x"}]}),
        ([{"op": "Add", "value": {f"{WORK}.value": "b@x"}}],
         {"emails": [MAILS[0] | {"value": "b@x"}, MAILS[1]]}),
        ([{"op": "Add", "path": f"{ENTERPRISE}:manager", "value": "usr_7"}],
         {ENTERPRISE: {"manager": {"value": "usr_7"}}}),
        ([{"op": "Replace", "path": f"{ENTERPRISE}:manager.value", "value": "usr_7"}],
         {ENTERPRISE: {"manager": {"value": "usr_7"}}}),
        ([{"op": "Replace", "path": "displayName", "value": [{"$ref": None, "value": "Bo"}]}],
         {"displayName": "Bo"}),
        ([{"op": "Replace", "path": "DISPLAYNAME", "value": "Bo"}], {"displayName": "Bo"}),
        ([{"op": "Replace", "path": "title", "value": None}], {}),
        ([{"op": "add", "path": ENTERPRISE, "value": {"costCenter": "7"}},
          {"op": "add", "value": {ENTERPRISE: {"division": "d"}}}],
         {ENTERPRISE: {"costCenter": "7", "division": "d"}}),
        ([{"op": "add", "path": f"{ENTERPRISE}:division", "value": "d"},
          {"op": "remove", "path": f"{ENTERPRISE}:division"}], {}),
        ([{"op": "remove", "path": ENTERPRISE}], {}),
        ([{"op": "add", "path": "schemas", "value": [ENTERPRISE]}], {}),
        ([{"op": "add", "path": "urn:example:ours:2.0:User:badge", "value": 5}],
         {"urn:example:ours:2.0:User": {"badge": 5}}),
        ([{"op": "replace", "value": {"password": "secret"}}], {}),
    ],
)  # fmt: skip
def test_a_user_is_patched(operations: list[Any], now: dict[str, Any]) -> None:
    before = json.dumps(BOB)
    found = tidied(USER, patched(USER, BOB, change(*operations)))
    wanted = {name: value for name, value in (BOB | now).items() if value is not None}
    assert found == wanted
    assert json.dumps(BOB) == before, "what was given stays as it was"


TWO = {"displayName": "red", "members": [{"value": "usr_1"}, {"value": "usr_2"}]}


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ({"op": "add", "path": "members", "value": [{"value": "usr_2"}, {"value": "usr_3"}]},
         "123"),
        ({"op": "Add", "value": {"members": [{"value": "usr_3", "display": "c"}]}}, "123"),
        ({"op": "remove", "path": 'members[value eq "usr_1"]'}, "2"),
        ({"op": "Remove", "path": "members", "value": [{"value": "usr_1"}, {"value": "usr_9"}]},
         "2"),
        ({"op": "remove", "path": 'members[value eq "usr_1" or value eq "usr_2"]'}, ""),
        ({"op": "remove", "path": "members"}, ""),
        ({"op": "replace", "path": "members", "value": [{"value": "usr_3"}]}, "3"),
        ({"op": "replace", "path": "members", "value": []}, ""),
        ({"op": "replace", "value": {"id": "grp_1", "displayName": "red"}}, "12"),
        ({"op": "add", "path": 'members[value eq "usr_3"]', "value": {"display": "c"}}, "123"),
    ],
)  # fmt: skip
def test_a_group_is_patched(operation: Any, members: str) -> None:
    found = tidied(GROUP, patched(GROUP, TWO, change(operation)))
    assert [each["value"] for each in found.get("members", [])] == [f"usr_{n}" for n in members]


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        ({"op": "move", "path": "title"}, "invalidSyntax"),
        ({"path": "title", "value": "x"}, "invalidSyntax"),
        ("replace", "invalidSyntax"),
        ({"op": "remove"}, "noTarget"),
        ({"op": "replace", "value": "x"}, "invalidValue"),
        ({"op": "replace", "path": "emails[", "value": "x"}, "invalidPath"),
        ({"op": "replace", "path": "emails[type]", "value": "x"}, "invalidPath"),
        ({"op": "replace", "path": 5, "value": "x"}, "invalidPath"),
        ({"op": "replace", "path": "a.b.c", "value": "x"}, "invalidPath"),
        ({"op": "replace", "path": "userName.first", "value": "x"}, "invalidPath"),
        ({"op": "replace", "path": f"{WORK}x", "value": "x"}, "invalidPath"),
        ({"op": "replace", "path": 'emails[type sw "x"].value', "value": "x"}, "noTarget"),
        ({"op": "replace", "path": WORK, "value": "x"}, "invalidValue"),
        ({"op": "replace", "path": "id", "value": "x"}, "mutability"),
        ({"op": "remove", "path": "groups"}, "mutability"),
        ({"op": "add", "path": "groups[value eq \"x\"]", "value": {}}, "mutability"),
        ({"op": "add", "path": "meta.created", "value": "x"}, "mutability"),
        ({"op": "replace", "path": "active", "value": "perhaps"}, "invalidValue"),
        ({"op": "replace", "path": "displayName", "value": {"a": 1}}, "invalidValue"),
        ({"op": "replace", "path": ENTERPRISE, "value": "x"}, "invalidValue"),
    ],
)  # fmt: skip
def test_a_patch_that_can_not_be_is_refused(operation: Any, kind: str) -> None:
    with pytest.raises(ScimError) as error:
        tidied(
            USER,
            patched(USER, BOB, change({"op": "add", "path": "title", "value": "T"}, operation)),
        )
    assert (error.value.status, error.value.kind) == (400, kind)


@pytest.mark.parametrize("said", [None, [], {}, {"Operations": []}, {"Operations": {}}])
def test_a_patch_without_operations_is_refused(said: Any) -> None:
    with pytest.raises(ScimError, match="Operations"):
        patched(USER, BOB, said)
