"""Random sequences of requests: plausible ones, and some that only a broken client would send."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from random import Random
from typing import Any

from tests.servers.differential import resources
from tests.servers.differential.resources import (
    SYSTEM,
    observation,
    organization,
    patient,
    practitioner,
)
from tests.servers.differential.steps import Step

UNKNOWN = "00000000-0000-4000-8000-000000000000"
PATIENT = "Patient/${pat}"
SNAPSHOT_MODES = ["TAG", "TAG, SECURITY_LABEL, PROFILE", "bogus"]
METAS: list[dict[str, Any]] = [
    {},
    {"tag": [{"system": "s", "code": "a"}]},
    {"tag": [{"system": "s", "code": "b", "display": "B"}]},
    {"security": [{"system": "s", "code": "R"}]},
    {"profile": ["https://example.com/p"]},
]
PATIENT_SEARCHES = [
    "",
    "_id=${u}",
    "_id=${u},${pat}",
    "_id=nope",
    f"identifier={SYSTEM}|M1",
    "identifier=M1",
    f"identifier={SYSTEM}|",
    f"identifier={SYSTEM}|M1,{SYSTEM}|M2",
    "identifier=|M1",
    "identifier:missing=true",
    "name=smith",
    "name=müller",
    "name=o'brien",
    "name=",
    "name:contains=mit",
    "family=Smi",
    "family:exact=Smith",
    "gender=female",
    "gender:not=male",
    "gender=female,male",
    "birthdate=ge1980-01-01",
    "birthdate=1980",
    "birthdate=ge1980",
    "birthdate=bogus",
    "active=true",
    "organization=Organization/${org}",
    "organization.name=Klinik",
    "_has:Observation:subject:code=8867-4",
    "_lastUpdated=gt2020-01-01",
    "_tag=https://example.com/t|a",
    "_tag=a",
    "_profile=https://example.com/p",
    "_security=R",
    "_revinclude=*",
    "_revinclude=Observation:subject",
    "_id=${u}&_revinclude=*",
    "_include=Patient:organization",
    "_include=*",
    "_include=Patient:bogus",
    "_count=1",
    "_count=0",
    "_count=abc",
    "_count=1&_sort=_id",
    "_count=1&_total=accurate",
    "_offset=1",
    "_summary=count",
    "_summary=true",
    "_summary=text",
    "_summary=data",
    "_elements=name",
    "_total=accurate",
    "_total=none",
    "_sort=_lastUpdated",
    "_sort=-_lastUpdated",
    "_sort=_id",
    "_sort=name",
    "_sort=bogus",
    "_format=json",
    "foo=bar",
]
OBSERVATION_SEARCHES = [
    f"subject={PATIENT}",
    "patient=${pat}",
    "subject=Patient/nope",
    "subject:Patient.name=smith",
    "subject:missing=false",
    "code=8867-4",
    "status=final",
    "date=ge2015-01-01",
    "value-quantity=gt50",
    "value-string=ok",
    "_include=Observation:subject",
]
MALFORMED = ['{"resourceType":', "", "[]", '"x"', "null"]
IF_MATCH = ['W/"0"', 'W/"1"', 'W/"2"', 'W/"9"', f'W/"{UNKNOWN}"', '"1"', "1", "*", ""]
Make = Callable[[Random], Step]


def generate(rng: Random) -> list[Step]:
    """Make a sequence: some resources to begin with, then a few random requests."""
    theme = rng.choices(["values", "changes", "bundles"], [8, 4, 4])[0]
    if theme == "values":
        beginning = base(rng)[rng.choice([0, 0, 2]) :]
        return beginning + [rng.choice(VALUE_STEPS)(rng) for _ in range(rng.randint(3, 9))]
    steps = base(rng)
    for _ in range(rng.randint(2, 7)):
        is_bundle = theme == "bundles" and rng.random() < 0.7
        steps.append(bundle(rng) if is_bundle else rng.choice(CHANGE_STEPS)(rng))
    return steps


def base(rng: Random) -> list[Step]:
    return [
        Step("create Organization", "POST", "Organization", organization(rng), save="org"),
        Step("create Practitioner", "POST", "Practitioner", practitioner(rng), save="prac"),
        Step("create Patient", "POST", "Patient", patient(rng), save="pat"),
    ]


def client_id(rng: Random) -> str:
    """An id that clients choose; both servers get the same."""
    return rng.choice(["${u1}", "${u2}"])


def own_patient(rng: Random, id_: str, **members: Any) -> dict[str, Any]:
    body = patient(rng, id=id_)
    body.pop("managingOrganization", None)
    return body | members


def search_kind(query: str) -> str:
    """A query without the values that vary: `_id=${u}` is about `_id=`."""
    return re.sub(r"\$\{\w+\}", "…", query)


# ------------------------------------------------ resources with ids of the client, odd values


def put_client_id(rng: Random) -> Step:
    id_ = client_id(rng)
    return Step("PUT client id", "PUT", f"Patient/{id_}", own_patient(rng, id_), save="u")


def put_with_reference(rng: Random) -> Step:
    id_ = client_id(rng)
    body = own_patient(rng, id_, managingOrganization={"reference": "Organization/${org}"})
    return Step("PUT with a reference", "PUT", f"Patient/{id_}", body, save="u")


def put_odd_id(rng: Random) -> Step:
    id_ = rng.choice(["123", "abc${salt}", "a_b", "x" * 65, "a.b-c${salt}", "ABC${salt}"])
    return Step("PUT odd id", "PUT", f"Patient/{id_}", own_patient(rng, id_))


def put_if_match(rng: Random) -> Step:
    id_, etag = client_id(rng), rng.choice(IF_MATCH)
    body = own_patient(rng, id_)
    headers = {"If-Match": etag}
    return Step(f"PUT If-Match {etag}", "PUT", f"Patient/{id_}", body, headers, save="u")


def put_if_none_match(rng: Random) -> Step:
    id_ = client_id(rng)
    headers = {"If-None-Match": "*"}
    return Step("PUT If-None-Match", "PUT", f"Patient/{id_}", own_patient(rng, id_), headers)


def put_same_again(rng: Random) -> Step:
    id_ = client_id(rng)
    body = {"resourceType": "Patient", "id": id_, "gender": "male"}
    return Step("PUT a constant body", "PUT", f"Patient/{id_}", body)


def put_meta(rng: Random) -> Step:
    id_ = client_id(rng)
    body = own_patient(rng, id_, meta=rng.choice(METAS))
    return Step("PUT meta", "PUT", f"Patient/{id_}", body)


def put_meta_snapshot(rng: Random) -> Step:
    id_, mode = client_id(rng), rng.choice(SNAPSHOT_MODES)
    body = own_patient(rng, id_, meta=rng.choice(METAS))
    headers = {"X-Meta-Snapshot-Mode": mode}
    return Step(f"PUT meta, snapshot {mode}", "PUT", f"Patient/{id_}", body, headers)


def put_odd_value(rng: Random) -> Step:
    id_, name = client_id(rng), rng.choice(list(resources.ODD_VALUES))
    body = own_patient(rng, id_) | resources.ODD_VALUES[name]
    return Step(f"PUT, {name}", "PUT", f"Patient/{id_}", body)


def post_odd_value(rng: Random) -> Step:
    name = rng.choice(list(resources.ODD_VALUES))
    body = patient(rng) | resources.ODD_VALUES[name]
    return Step(f"POST, {name}", "POST", "Patient", body)


def post_observation_of(rng: Random) -> Step:
    subject = rng.choice(resources.SUBJECTS)
    return Step(f"POST Observation of {subject}", "POST", "Observation", observation(rng, subject))


def read_client_id(rng: Random) -> Step:
    id_ = client_id(rng)
    suffix = rng.choice(["", "/_history", "/_history?_count=1", f"/_history/{rng.randint(1, 3)}"])
    return Step(f"GET {re.sub('[0-9]$', 'n', suffix)}", "GET", f"Patient/{id_}{suffix}")


def head_client_id(rng: Random) -> Step:
    return Step("HEAD", "HEAD", f"Patient/{client_id(rng)}")


def delete_client_id(rng: Random) -> Step:
    return Step("DELETE client id", "DELETE", f"Patient/{client_id(rng)}")


def delete_patient(rng: Random) -> Step:
    return Step("DELETE, perhaps referred to", "DELETE", PATIENT)


def search_patients(rng: Random) -> Step:
    query = rng.choice(PATIENT_SEARCHES)
    path = "Patient?" + query.replace("${u}", client_id(rng))
    return Step(f"search {search_kind(query)}", "GET", path)


def search_observations(rng: Random) -> Step:
    query = rng.choice(OBSERVATION_SEARCHES)
    return Step(f"search Observation {search_kind(query)}", "GET", f"Observation?{query}")


def next_page(rng: Random) -> Step:
    return Step("next page", "GET", "${next}")


def unknown_path(rng: Random) -> Step:
    path = rng.choice(["Foo", "Foo/1", "Patient/a/b/c", "Patient/$foo", "Patient/constructor"])
    return Step(f"GET {path}", "GET", path)


def bundle_of_client_ids(rng: Random) -> Step:
    id_ = client_id(rng)
    request = {"method": "PUT", "url": f"Patient/{id_}"}
    if rng.random() < 0.5:
        request["ifMatch"] = rng.choice(IF_MATCH)
    entries: list[dict[str, Any]] = [{"resource": own_patient(rng, id_), "request": request}]
    observed = observation(rng, f"Patient/{id_}", id="o${salt}")
    url = "Observation/o${salt}"
    entries += rng.choice(
        [
            [],
            [{"resource": observed, "request": {"method": "PUT", "url": url}}],
            [{"request": {"method": "DELETE", "url": PATIENT}}],
        ]
    )
    type_ = rng.choice(["transaction", "batch"])
    body = {"resourceType": "Bundle", "type": type_, "entry": entries}
    return Step(f"{type_} of client ids", "POST", "", body)


VALUE_STEPS: list[Make] = [
    *[put_client_id] * 2,
    put_with_reference,
    put_odd_id,
    *[put_if_match] * 2,
    put_if_none_match,
    put_same_again,
    put_meta,
    put_meta_snapshot,
    *[put_odd_value] * 2,
    post_odd_value,
    post_observation_of,
    *[read_client_id] * 3,
    head_client_id,
    delete_client_id,
    delete_patient,
    *[search_patients] * 2,
    search_observations,
    next_page,
    unknown_path,
    bundle_of_client_ids,
]

# ---------------------------------------------------------------- reads and changes of one patient


def read(rng: Random) -> Step:
    path = rng.choice(
        [
            PATIENT,
            f"{PATIENT}/_history/${{pat.v}}",
            f"{PATIENT}/_history/77",
            f"{PATIENT}/_history",
            f"{PATIENT}?_elements=name",
            f"{PATIENT}?_summary=true",
            f"{PATIENT}?_elements=name&_summary=true",
            f"Patient/{UNKNOWN}",
            f"Patient/{UNKNOWN}/_history",
            "Patient/abc",
            "Patient/1",
            "Patient/a_b",
            "Patiend/1",
        ]
    )
    return Step(f"GET {path}", "GET", path)


def read_if_none_match(rng: Random) -> Step:
    return Step("GET If-None-Match", "GET", PATIENT, headers={"If-None-Match": 'W/"${pat.v}"'})


def create(rng: Random) -> Step:
    kind = rng.choice(["Patient", "Observation"])
    body = patient(rng) if kind == "Patient" else observation(rng)
    return Step(f"create {kind}", "POST", kind, body)


def create_and_keep(rng: Random) -> Step:
    return Step("create and keep", "POST", "Patient", patient(rng), save="pat")


def create_wrong(rng: Random) -> Step:
    changes: list[tuple[str, dict[str, Any]]] = [
        ("unknown element", {"favouriteColour": "red"}),
        ("bad date", {"effectiveDateTime": "2021-13-01"}),
        ("number for a code", {"status": 5}),
        ("unknown code", {"status": "bogus"}),
        ("other type", {"resourceType": "Device"}),
        ("own id", {"id": "abc"}),
        ("object for list", {"identifier": {"value": "x"}}),
        ("empty object", {"text": {}}),
        ("no type", {"resourceType": None}),
    ]
    name, change = rng.choice(changes)
    return Step(f"create, {name}", "POST", "Observation", observation(rng) | change)


def create_malformed(rng: Random) -> Step:
    return Step("create, malformed", "POST", "Patient", rng.choice(MALFORMED))


def create_of_content_type(rng: Random) -> Step:
    content_type = rng.choice(["text/plain", "application/json", "text/json", "foo"])
    text = json.dumps(patient(rng)).replace("${org}", "x")
    headers = {"Content-Type": content_type}
    return Step(f"create, {content_type}", "POST", "Patient", text, headers)


def create_unknown_type(rng: Random) -> Step:
    return Step("create, unknown type", "POST", "Patiend", {"resourceType": "Patiend"})


def update(rng: Random) -> Step:
    return Step("update", "PUT", PATIENT, patient(rng, id="${pat}"), save="pat")


def update_if_match(rng: Random) -> Step:
    etag = rng.choice([*IF_MATCH, 'W/"${pat.v}"', '"${pat.v}"', "${pat.v}"])
    headers = {"If-Match": etag}
    body = patient(rng, id="${pat}")
    return Step(f"update If-Match {etag}", "PUT", PATIENT, body, headers, save="pat")


def update_prefer(rng: Random) -> Step:
    prefer = rng.choice(["return=minimal", "return=representation", "return=OperationOutcome"])
    body = patient(rng, id="${pat}")
    return Step(f"update, {prefer}", "PUT", PATIENT, body, {"Prefer": prefer})


def update_wrong_id(rng: Random) -> Step:
    members = rng.choice([{}, {"id": "abc"}])
    return Step(f"update with {members or 'no id'}", "PUT", PATIENT, patient(rng, **members))


def delete(rng: Random) -> Step:
    path, etag = rng.choice([PATIENT, PATIENT, f"Patient/{UNKNOWN}"]), rng.choice(IF_MATCH)
    headers = rng.choice([{}, {"If-Match": etag}])
    return Step(f"delete {path} {headers}", "DELETE", path, headers=headers)


def query(rng: Random) -> tuple[str, str]:
    """An identifier's value, and the query for it."""
    value = rng.choice(["M1", "M2", "zz"])
    return value, f"identifier={SYSTEM}|{value}"


def conditional_create(rng: Random) -> Step:
    text = query(rng)[1]
    condition = rng.choice(
        [text, text, "", "foo=bar", "identifier=", f"?{text}", f"Patient?{text}"]
    )
    kind = "conditional create" if condition == text else f"conditional create, {condition!r}"
    return Step(kind, "POST", "Patient", patient(rng), {"If-None-Exist": condition})


def conditional_update(rng: Random) -> Step:
    value, text = query(rng)
    body = patient(rng, identifier=resources.identifier(rng, value))
    kind = "conditional update"
    variant = rng.choice(["", "", "without identifier", "with another id", "with its id"])
    if variant == "without identifier":
        del body["identifier"]
    elif variant:
        body["id"] = "abc" if variant == "with another id" else "${pat}"
    return Step(f"{kind} {variant}".strip(), "PUT", f"Patient?{text}", body)


def conditional_delete(rng: Random) -> Step:
    return Step("conditional delete", "DELETE", f"Patient?{query(rng)[1]}")


def conditional_without_query(rng: Random) -> Step:
    if rng.random() < 0.5:
        return Step("conditional update, no query", "PUT", "Patient", patient(rng))
    return Step("conditional delete, no query", "DELETE", "Patient")


def post_search(rng: Random) -> Step:
    text = f"gender=female&identifier={SYSTEM}%7CM1"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return Step("_search", "POST", "Patient/_search", text, headers)


CHANGE_STEPS: list[Make] = [
    *[read] * 6,
    read_if_none_match,
    create,
    create_and_keep,
    *[create_wrong] * 2,
    create_malformed,
    create_of_content_type,
    create_unknown_type,
    *[update] * 2,
    *[update_if_match] * 2,
    update_prefer,
    update_wrong_id,
    *[delete] * 3,
    *[conditional_create] * 2,
    *[conditional_update] * 3,
    conditional_delete,
    conditional_without_query,
    post_search,
]

# ---------------------------------------------------------------- batches and transactions


def bundle(rng: Random) -> Step:
    """A batch or transaction of up to three entries, which often touch the same patient."""
    value = rng.choice(["M1", "M2", "zz"])
    chosen = [entry(rng, number, value) for number in range(rng.randint(1, 3))]
    type_ = rng.choice(["batch", "transaction"])
    body = {"resourceType": "Bundle", "type": type_, "entry": [data for _, data in chosen]}
    return Step(type_, "POST", "", body, labels=tuple(label for label, _ in chosen))


def entry(rng: Random, number: int, value: str) -> tuple[str, dict[str, Any]]:
    """An entry with a label for it."""
    condition = f"identifier={SYSTEM}|{value}"
    new = patient(rng, identifier=resources.identifier(rng, value))
    own = new | {"id": "${pat}"}
    if_match = rng.choice(['W/"0"', 'W/"1"', 'W/"${pat.v}"', 'W/"9"'])
    placeholder = "urn:uuid:3333333%d-0000-4000-8000-000000000000"

    def write(method: str, url: str, resource: dict[str, Any], **request: str) -> dict[str, Any]:
        return {"resource": resource, "request": {"method": method, "url": url, **request}}

    def simple(method: str, url: str) -> dict[str, Any]:
        return {"request": {"method": method, "url": url}}

    return rng.choice(
        [
            ("create", {"fullUrl": placeholder % number, **write("POST", "Patient", new)}),
            ("update", write("PUT", PATIENT, own)),
            (f"ifMatch {if_match}", write("PUT", PATIENT, own, ifMatch=if_match)),
            ("conditional PUT", write("PUT", f"Patient?{condition}", new)),
            ("ifNoneExist", write("POST", "Patient", new, ifNoneExist=condition)),
            ("GET", simple("GET", PATIENT)),
            ("GET search", simple("GET", "Patient?gender=male")),
            ("GET unknown", simple("GET", f"Patient/{UNKNOWN}")),
            ("DELETE", simple("DELETE", PATIENT)),
            ("conditional DELETE", simple("DELETE", f"Patient?{condition}")),
            ("invalid", write("POST", "Patient", {"resourceType": "Patient", "gender": 5})),
            (
                "conditional reference",
                write("POST", "Observation", observation(rng, f"Patient?{condition}")),
            ),
            ("placeholder", write("POST", "Observation", observation(rng, placeholder % 0))),
            ("no request", {"resource": new}),
        ]
    )
