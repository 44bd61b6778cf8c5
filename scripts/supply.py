"""What Ferryman stands on: a bill of materials, licences, and known vulnerabilities of its pins.

All of it from the lock files in ``requirements/`` and the packages that are installed: no network.

The stored advisories (``requirements/advisories.json``, kept by hand from https://osv.dev) are
``{"as_of": date, "advisories": [{"id", "package", "vulnerable", "summary"}]}``; ``vulnerable`` is a
version specifier as in PEP 440, one range to an entry. Others may be of that form, or of OSV's
(https://ossf.github.io/osv-schema/): a record, a list of them, or a folder, as its archives unpack.
"""

import hashlib
import json
import re
import sys
import tomllib
import uuid
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata
from pathlib import Path
from typing import Any, NamedTuple

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "requirements"
LOCKS = ("base", "dev", "local")


class Pin(NamedTuple):
    """A package as a lock file has it."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]
    """SHA-256 of its files."""


def pins(lock: str) -> list[Pin]:
    """What the text of a lock file pins."""
    found = []
    for block in re.split(r"^(?=[a-z0-9])", lock, flags=re.MULTILINE)[1:]:
        head, _, _ = block.partition("\\\n")
        requirement, _, marker = head.partition(";")
        name, _, version = requirement.strip().partition("==")
        hashes = tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})", block))
        found.append(Pin(canonicalize_name(name), version.strip(), marker.strip(), hashes))
    return found


def locked(name: str) -> list[Pin]:
    """The pins of one of :data:`LOCKS`."""
    return pins((FOLDER / f"{name}.lock").read_text("utf-8"))


def shipped() -> list[Pin]:
    """What an installation runs on: the base, and the extras that are not for development."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [each for name, group in extras.items() if name != "dev" for each in group]
    more = {canonicalize_name(Requirement(each).name) for each in wanted} | {"psycopg-binary"}
    base = locked("base")
    have = {pin.name for pin in base}
    return base + [pin for pin in locked("dev") if pin.name in more and pin.name not in have]


def _about(pin: Pin) -> PackageMetadata | None:
    try:
        return metadata(pin.name)
    except PackageNotFoundError:
        return None


def licence_of(about: PackageMetadata, names: dict[str, str]) -> str:
    """The licence that a package's metadata states, as SPDX where ``names`` knows it."""
    kinds = [each.rpartition("::")[2].strip() for each in about.get_all("Classifier") or ()
             if each.startswith("License ::")]  # fmt: skip
    [given] = [each.strip() for each in (about.get_all("License") or [""])[:1]]
    [said] = (about.get_all("License-Expression") or [given if len(given) < 60 else ""])[:1]
    said = said or " OR ".join(names.get(each, each) for each in kinds) or "unknown"
    return names.get(said, said)


def may(expression: str, allowed: Sequence[str]) -> bool:
    """Whether an SPDX expression without brackets can be met by what is allowed."""
    if "(" in expression:
        return False
    ways = [way.split(" AND ") for way in expression.split(" OR ")]
    return any(all(each in allowed for each in way) for way in ways)


def licences() -> Iterator[str]:
    """What is wrong with the licences of what is shipped."""
    rules = tomllib.loads((FOLDER / "supply.toml").read_text())
    for pin in shipped():
        about = _about(pin)
        if about is None:
            if not pin.marker or Marker(pin.marker).evaluate():
                yield f"{pin.name} is not installed: run `make install`"
            continue
        found = licence_of(about, rules["names"])
        excepted = rules["excepted"].get(pin.name, {}).get("licence")
        if not may(found, rules["allowed"]) and found != excepted:
            yield f"{pin.name} {pin.version}: {found} is not allowed (requirements/supply.toml)"


def vulnerable(found: Sequence[Pin], stored: dict[str, Any]) -> Iterator[str]:
    """Pins that a stored advisory is about."""
    for pin in found:
        for each in stored["advisories"]:
            same = canonicalize_name(each["package"]) == pin.name
            specifier = SpecifierSet(each["vulnerable"], prereleases=True)
            if same and specifier.contains(pin.version):
                yield f"{pin.name} {pin.version}: {each['id']}, {each['summary']}"


def stored_in(place: Path) -> dict[str, Any]:
    """The advisories in a file or a folder, in our form."""
    if place.is_dir():
        records = [json.loads(each.read_text("utf-8")) for each in sorted(place.glob("*.json"))]
    else:
        records = json.loads(place.read_text("utf-8"))
        if "advisories" in records:
            return dict(records)
        records = records if isinstance(records, list) else records.get("vulns", [records])
    live = [each for each in records if "withdrawn" not in each]
    found = [row for each in live for row in _of_osv(each)]
    return {"as_of": max((each["modified"] for each in live), default="never"), "advisories": found}


def _of_osv(record: dict[str, Any]) -> Iterator[dict[str, str]]:
    """Our entries for a record of OSV: one for each range, and each version that it names."""
    ids = [record["id"], *record.get("aliases", ())]
    told = {"id": next((each for each in ids if each.startswith("CVE-")), ids[0]),
            "summary": record.get("summary", "")}  # fmt: skip
    for each in record.get("affected", ()):
        package = each.get("package", {})
        if package.get("ecosystem") != "PyPI":
            continue
        about = told | {"package": package["name"]}
        for span in each.get("ranges", ()):
            if span["type"] != "ECOSYSTEM":
                continue
            since = ""
            for event in span["events"]:
                if "introduced" in event:
                    since = f">={event['introduced']}"
                    continue
                mark, last = ("<", "fixed") if "fixed" in event else ("<=", "last_affected")
                yield about | {"vulnerable": f"{since},{mark}{event[last]}"}
                since = ""
            if since:
                yield about | {"vulnerable": since}
        yield from (about | {"vulnerable": f"==={version}"} for version in each.get("versions", ()))


def advisories(file: Path) -> Iterator[str]:
    """What the advisories in ``file`` say of all that is locked."""
    stored = stored_in(file)
    print(f"{len(stored['advisories'])} advisories, as of {stored['as_of']}", file=sys.stderr)
    every = {pin[:2]: pin for lock in LOCKS for pin in locked(lock)}
    return vulnerable(list(every.values()), stored)


def sbom() -> dict[str, Any]:
    """A bill of materials, CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json/): the same for the
    same locks."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = tomllib.loads((FOLDER / "supply.toml").read_text())["names"]
    found = sorted(shipped())
    base = {pin.name for pin in locked("base")}
    digest = hashlib.sha256(repr(found).encode()).hexdigest()
    components = [_component(pin, names, pin.name in base) for pin in found]
    me = f"pkg:pypi/{project['name']}@{project['version']}"
    about = {
        "type": "application", "bom-ref": me, "name": project["name"],
        "version": project["version"], "purl": me,
        "licenses": [{"expression": project["license"]}],
    }  # fmt: skip
    refs = [each["bom-ref"] for each in components]
    return {
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, digest)}",
        "metadata": {"component": about}, "components": components,
        "dependencies": [{"ref": me, "dependsOn": refs}],
    }  # fmt: skip


def _component(pin: Pin, names: dict[str, str], required: bool) -> dict[str, Any]:
    ref = f"pkg:pypi/{pin.name}@{pin.version}"
    about = _about(pin)
    said = "unknown" if about is None else licence_of(about, names)
    known = [] if said == "unknown" else [{"expression": said}]
    return {
        "type": "library", "bom-ref": ref, "name": pin.name, "version": pin.version, "purl": ref,
        "scope": "required" if required else "optional",
        "hashes": [{"alg": "SHA-256", "content": each} for each in pin.hashes],
        **({"licenses": known} if known else {}),
    }  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """``sbom [FILE]``, ``licences`` or ``advisories [FILE]``. Returns the exit code."""
    command, *rest = arguments or [""]
    if command == "sbom":
        text = json.dumps(sbom(), indent=1) + "\n"
        if rest:
            Path(rest[0]).write_text(text, "utf-8")
        else:
            sys.stdout.write(text)
        return 0
    if command not in ("licences", "advisories"):
        print(main.__doc__, file=sys.stderr)
        return 2
    checks = licences() if command == "licences" else advisories(
        Path(rest[0]) if rest else FOLDER / "advisories.json"
    )  # fmt: skip
    wrong = list(checks)
    print("\n".join(wrong) or f"{command}: nothing found")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
