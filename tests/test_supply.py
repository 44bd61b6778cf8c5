"""What Ferryman stands on: its bill of materials, licences, and known vulnerabilities."""

import json
import re
from pathlib import Path

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


def test_records_of_osv_are_read_as_they_are_published(tmp_path: Path) -> None:
    def record(name: str, *spans: list[dict[str, str]], **more: object) -> dict[str, object]:
        ranges = [{"type": "ECOSYSTEM", "events": events} for events in spans]
        ranges.append({"type": "GIT", "events": [{"introduced": "0"}]})
        others = {"package": {"ecosystem": "npm", "name": "h11"}, "versions": ["0.16.0"]}
        affected = [{"package": {"ecosystem": "PyPI", "name": name}, "ranges": ranges}, others]
        return {"id": "GHSA-1", "aliases": ["CVE-2099-1"], "modified": "2099-01-01T00:00:00Z",
                "summary": "bad", "affected": affected} | more  # fmt: skip

    jinja = record("Jinja2", [{"introduced": "0"}, {"fixed": "3.1.6"}, {"introduced": "3.2"}])
    h11 = record("h11", [{"introduced": "0.9"}, {"last_affected": "0.14"}], aliases=[])
    named = record("h11", id="PYSEC-2", aliases=[])
    named["affected"][0]["versions"] = ["0.16.0"]  # type: ignore[index]
    gone = record("h11", [{"introduced": "0"}], withdrawn="2099-01-02T00:00:00Z")
    pins = supply.pins("jinja2==3.1.5 \\\nh11==0.16.0 \\\n")
    for number, each in enumerate((jinja, h11, named, gone)):
        (tmp_path / f"{number}.json").write_text(json.dumps(each))
    found = set(supply.vulnerable(pins, supply.stored_in(tmp_path)))
    assert found == {"jinja2 3.1.5: CVE-2099-1, bad", "h11 0.16.0: PYSEC-2, bad"}
    newer = supply.pins("jinja2==3.2.1 \\\nh11==0.14.0 \\\n")
    assert len(set(supply.vulnerable(newer, supply.stored_in(tmp_path)))) == 2
    fine = supply.pins("jinja2==3.1.6 \\\nh11==0.15.0 \\\n")
    assert not list(supply.vulnerable(fine, supply.stored_in(tmp_path)))
    listed = tmp_path / "list"
    listed.write_text(json.dumps({"vulns": [jinja]}))
    assert len(list(supply.advisories(listed))) == 0
