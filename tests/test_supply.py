"""What Ferryman stands on: its bill of materials, licences, and known vulnerabilities."""

import json
import re

from scripts import supply

from tests import tree


def test_the_bill_has_every_pin_with_its_hashes_and_is_the_same_each_time() -> None:
    bill = supply.sbom()
    assert bill == supply.sbom()
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    found = {(each["name"], each["version"]): each for each in bill["components"]}
    lock = (tree.ROOT / "requirements/base.lock").read_text()
    named = set(re.findall(r"^([a-z0-9.-]+)==([^ ;]+)", lock, re.MULTILINE))
    assert len(named) > 20
    assert named <= set(found)
    assert found.keys() - named, "extras are there, too"
    for name, version in named:
        part = found[name, version]
        assert part["purl"] == part["bom-ref"] == f"pkg:pypi/{name}@{version}"
        assert part["scope"] == "required"
        assert part["hashes"]
    [tied] = bill["dependencies"]
    assert sorted(tied["dependsOn"]) == sorted(each["bom-ref"] for each in bill["components"])


def test_licences_are_allowed_and_others_would_be_found() -> None:
    assert list(supply.licences()) == []
    allowed = ["MIT", "ISC"]
    assert supply.may("MIT OR GPL-3.0-only", allowed)
    assert supply.may("MIT AND ISC", allowed)
    for wrong in ("GPL-3.0-only", "MIT AND GPL-3.0-only", "ISC AND (MIT OR X)", "unknown"):
        assert not supply.may(wrong, allowed), wrong


def test_no_pin_has_a_stored_advisory_and_one_that_had_would_be_found() -> None:
    file = supply.FOLDER / "advisories.json"
    assert list(supply.advisories(file)) == []
    stored = json.loads(file.read_text())
    old = "jinja2==3.1.5 \\\n    --hash=sha256:" + "0" * 64 + "\nh11==0.16.0 ; a == 'b' \\\n"
    pins = supply.pins(old)
    assert [(pin.name, pin.version, len(pin.hashes)) for pin in pins] == [
        ("jinja2", "3.1.5", 1), ("h11", "0.16.0", 0),
    ]  # fmt: skip
    [found] = supply.vulnerable(pins, stored)
    assert found.startswith("jinja2 3.1.5: CVE-2025-27516")
    known = {pin.name for lock in supply.LOCKS for pin in supply.locked(lock)}
    lost = [each["package"] for each in stored["advisories"] if each["package"] not in known]
    assert not lost, "an advisory about what is not locked helps nobody"
