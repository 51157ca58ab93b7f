"""Plausible resources for random sequences, and values that a server may or may not accept."""

from __future__ import annotations

from random import Random
from typing import Any

SYSTEM = "https://example.com/mrn"
TAG = {"system": "https://example.com/t", "code": "a"}
FAMILIES = ["O'Brien", "Müller-Lüdenscheidt", "Smith", "van der Berg", "Łukasiewicz", "Smith-Jones"]
GIVEN = ["Anna", "Jean-Luc", "Zoë", "Mary Ann", "José"]
ORGANIZATIONS = ["St. Mary's", "Klinik Süd", "Children's-Clinic"]
XHTML = "http://www.w3.org/1999/xhtml"
EXTENSION_URL = "https://example.com/e"


def identifier(rng: Random, value: str = "") -> list[dict[str, str]]:
    return [{"system": SYSTEM, "value": value or f"M{rng.randint(1, 4)}"}]


def human_name(rng: Random) -> list[dict[str, Any]]:
    return [{"family": rng.choice(FAMILIES), "given": [rng.choice(GIVEN)]}]


def organization(rng: Random) -> dict[str, Any]:
    name = rng.choice(ORGANIZATIONS)
    return {"resourceType": "Organization", "name": name, "identifier": identifier(rng)}


def practitioner(rng: Random) -> dict[str, Any]:
    return {"resourceType": "Practitioner", "name": human_name(rng), "identifier": identifier(rng)}


def patient(rng: Random, **members: Any) -> dict[str, Any]:
    """A patient who may belong to the organization `${org}`."""
    telecom = [
        {"system": "phone", "value": "555-0100"},
        {"system": "email", "value": "a@example.com"},
    ]
    address = [{"city": "Köln", "postalCode": "50667", "line": ["Am Hof 1"]}]
    optional: list[list[dict[str, Any]]] = [
        [{}, {"active": True}, {"active": False}],
        [{}, {"telecom": telecom}],
        [{}, {"address": address}],
        [{}, {"managingOrganization": {"reference": "Organization/${org}"}}],
        [{}, {"meta": {"tag": [TAG]}}],
        [{}, {}, {"deceasedBoolean": True}],
    ]
    body: dict[str, Any] = {
        "resourceType": "Patient",
        "name": human_name(rng),
        "identifier": identifier(rng),
        "gender": rng.choice(["male", "female", "other"]),
        "birthDate": f"19{rng.randint(50, 99)}-02-03",
    }
    for choices in optional:
        body |= rng.choice(choices)
    return body | members


def observation(rng: Random, subject: str = "Patient/${pat}", **members: Any) -> dict[str, Any]:
    day = f"20{rng.randint(10, 24)}-0{rng.randint(1, 9)}-1{rng.randint(0, 9)}"
    coding = {"system": "http://loinc.org", "code": rng.choice(["8867-4", "29463-7", "718-7"])}
    quantity = {
        "value": rng.randint(40, 99),
        "unit": "kg",
        "system": "http://unitsofmeasure.org",
        "code": "kg",
    }
    body: dict[str, Any] = {
        "resourceType": "Observation",
        "status": rng.choice(["final", "preliminary"]),
        "code": {"coding": [coding], "text": rng.choice(["Puls", "weight"])},
        "subject": {"reference": subject},
        "effectiveDateTime": rng.choice([day, day + "T10:00:00Z", day + "T23:30:00+02:00"]),
    }
    body |= rng.choice([{"valueQuantity": quantity}, {"valueString": "ok"}])
    return body | members


# What to put into a patient, by a name for it: valid or not, as the real server decides.
ODD_VALUES: dict[str, dict[str, Any]] = {
    "date 2021-02-30": {"birthDate": "2021-02-30"},
    "date 0000": {"birthDate": "0000"},
    "date 1980-2-3": {"birthDate": "1980-2-3"},
    "date and time as a date": {"birthDate": "1980-02-03T10:00:00Z"},
    "date with spaces": {"birthDate": " 1980 "},
    "datetime without zone": {"deceasedDateTime": "2020-01-01T10:00:00"},
    "datetime without seconds": {"deceasedDateTime": "2020-01-01T10:00Z"},
    "datetime without seconds and zone": {"deceasedDateTime": "2020-01-01T10:00"},
    "hour 24": {"deceasedDateTime": "2020-01-01T24:00:00Z"},
    "leap second": {"deceasedDateTime": "2020-01-01T23:59:60Z"},
    "base64": {"photo": [{"data": "!!"}]},
    "base64 with spaces": {"photo": [{"data": "aG k="}]},
    "base64 without padding": {"photo": [{"data": "aGk"}]},
    "half a surrogate pair": {"name": [{"family": "a\ud83db"}]},
    "emoji": {"name": [{"family": "a😀"}]},
    "control character": {"name": [{"family": "a\u0001b"}]},
    "NUL": {"name": [{"family": "a\u0000b"}]},
    "newline": {"name": [{"family": "a\nb"}]},
    "blank": {"name": [{"family": "  "}]},
    "number for string": {"name": [{"family": 5}]},
    "string for boolean": {"active": "true"},
    "yes for boolean": {"active": "yes"},
    "1.5 for integer": {"multipleBirthInteger": 1.5},
    "1.0 for integer": {"multipleBirthInteger": 1.0},
    "string for integer": {"multipleBirthInteger": "3"},
    "big integer": {"multipleBirthInteger": 9999999999},
    "unknown code": {"gender": "unbekannt"},
    "code with spaces": {"gender": " male "},
    "empty string": {"gender": ""},
    "empty list": {"name": []},
    "null": {"gender": None},
    "null in list": {"name": [{"given": ["a", None]}]},
    "object for list": {"name": {"family": "x"}},
    "list for object": {"maritalStatus": [{"text": "a"}, {"text": "b"}]},
    "list of lists": {"name": [[{"family": "x"}]]},
    "two of a choice": {"deceasedBoolean": True, "deceasedDateTime": "2020"},
    "unknown element": {"foo": 1},
    "members named like those of every object": {"constructor": {"a": 1}, "toString": 5},
    "broken XHTML": {"text": {"status": "generated", "div": "<div>x"}},
    "XHTML": {"text": {"status": "generated", "div": f"<div xmlns='{XHTML}'><b>x</b>&nbsp;</div>"}},
    "XHTML attributes": {
        "text": {
            "status": "generated",
            "div": (
                f'<div class="c" xmlns="{XHTML}" id="i">'
                '<p lang="de" title="t" style="s">x<br></br></p></div>'
            ),
        }
    },
    "XHTML without namespace": {"text": {"status": "generated", "div": "<div>a &amp; b</div>"}},
    "narrative without tags": {"text": {"status": "generated", "div": "hello"}},
    "contained": {
        "contained": [
            {
                "resourceType": "Organization",
                "id": "o",
                "name": "x",
                "meta": {"tag": [{"code": "a"}]},
            }
        ],
        "managingOrganization": {"reference": "#o"},
    },
    "contained with #": {
        "contained": [{"resourceType": "Organization", "id": "#o", "name": "x"}],
        "managingOrganization": {"reference": "#o"},
    },
    "contained without type": {"contained": [{"id": "o", "name": "x"}]},
    "dangling contained": {"managingOrganization": {"reference": "#x"}},
    "extension without value": {"extension": [{"url": EXTENSION_URL}]},
    "extension without url": {"extension": [{"valueString": "x"}]},
    "extension with value and extension": {
        "extension": [{"url": EXTENSION_URL, "valueString": "x", "extension": [{"url": "a"}]}]
    },
    "extension as an object": {"extension": {"url": EXTENSION_URL, "valueString": "x"}},
    "extensions of many types": {
        "extension": [
            {"url": "dateTime", "valueDateTime": "2020-01-01T10:00:00Z"},
            {"url": "uuid", "valueUuid": "urn:uuid:6f1b1c3e-0000-4000-8000-00000000000f"},
            {"url": "oid", "valueOid": "urn:oid:1.2.3"},
            {"url": "instant", "valueInstant": "2020-01-01"},
            {"url": "time", "valueTime": "25:00"},
            {"url": "decimal", "valueDecimal": "1.50"},
            {"url": "concept", "valueCodeableConcept": {"coding": [{"code": "c"}]}},
        ]
    },
    "_birthDate": {
        "_birthDate": {"extension": [{"url": EXTENSION_URL, "valueString": "x"}]},
    },
    "_given": {
        "name": [
            {
                "given": ["a", None],
                "_given": [None, {"extension": [{"url": EXTENSION_URL, "valueCode": "c"}]}],
            }
        ]
    },
    "very long": {"name": [{"family": "x" * 2000}]},
    "spaces in a uri": {"implicitRules": "not a uri"},
    "profile, label, source": {
        "meta": {
            "profile": ["https://example.com/p"],
            "security": [{"system": "s", "code": "R"}],
            "source": "x",
        }
    },
    "meta of the server": {
        "meta": {
            "versionId": "7",
            "lastUpdated": "2001-01-01T00:00:00Z",
            "author": {"reference": "x"},
        }
    },
    "yesterday for an instant": {"meta": {"lastUpdated": "yesterday"}},
    "subsetted": {
        "meta": {
            "tag": [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
                    "code": "SUBSETTED",
                }
            ]
        }
    },
}

# What an Observation may refer to.
SUBJECTS = [
    "Patient/${pat}",
    "Patient/${u1}",
    "Patient/nope",
    "Patient/999999",
    "https://example.com/fhir/Patient/1",
    "urn:uuid:33333333-3333-4333-8333-333333333333",
    f"Patient?identifier={SYSTEM}|M1",
    "Patient/${pat}/_history/1",
    "Organization/${pat}",
    "patient/1",
    "Patient",
    "#x",
    "",
    "Group/${pat}",
]
