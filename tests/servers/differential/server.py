"""One of the two servers, and what it called the resources of the present sequence."""

from __future__ import annotations

import http.client
import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from tests.servers.differential.steps import Step

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
RECENT_TIME = re.compile(r"20(?:2[6-9]|[3-9]\d)-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)")
ADDRESS = re.compile(r"https?://(?:localhost|127\.0\.0\.1|\[::1\]):\d+/fhir/?")
PLACEHOLDER = re.compile(r"\$\{([\w.]+)\}")
LOCATION = re.compile(r"([A-Z]\w+)/([^/]+)/_history/([^/]+)$")
SHOWN_HEADERS = ("etag", "location", "content-location", "content-type")
TYPES = ("Observation", "Patient", "Practitioner", "Organization")
LONG_ID = 12  # characters: such an id means nothing else where it appears in a text


@dataclass(frozen=True)
class Answer:
    """An answer in which ids, versions of the sequence, times and addresses have names instead."""

    status: int
    headers: dict[str, Any]
    body: Any  # parsed JSON, or text


@dataclass
class Server:
    """A FHIR server at `base_url`, which ends without a slash."""

    base_url: str
    ids: dict[str, str] = field(default_factory=dict)  # the name of a placeholder -> the id here
    names: dict[str, str] = field(default_factory=dict)  # an id here -> its name in answers
    created: set[str] = field(default_factory=set)  # `Type/id`
    connection: http.client.HTTPConnection | None = None

    def begin(self, ids: dict[str, str]) -> None:
        """Forget the sequence before; `ids` are those that both servers are given."""
        self.ids = dict(ids)
        self.names = {value: f"#{name}" for name, value in ids.items()}
        self.created = set()

    def send(self, step: Step, index: int) -> Answer | None:
        """Send a step; None if it needs an id that this server did not give."""
        given = self._fill([step.path, step.headers, step.body])
        if given is None:
            return None
        path, headers, body = given
        status, received, text = self.request(step.method, path, body, headers)
        try:
            parsed = json.loads(text)
        except ValueError:
            parsed = text
        self._learn(step, index, parsed, received)
        shown: dict[str, Any] = {name: received.get(name) for name in SHOWN_HEADERS}
        shown["last-modified"] = "last-modified" in received
        return Answer(status, self.plain(shown), self.plain(parsed))

    def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], str]:
        """Send one request over the open connection; open a broken connection again once."""
        url = urlsplit(self.base_url)
        target = path if path.startswith("/fhir") else f"{url.path}/{path}".rstrip("/")
        target = quote(target, safe="/?&=%:|,$+'()*!~@;\\")
        text = body if isinstance(body, (str, type(None))) else json.dumps(body)
        data = None if text is None else text.encode("utf-8", "surrogatepass")
        sent = {
            "Content-Type": "application/fhir+json",
            "Cache-Control": "no-cache",
            **(headers or {}),
        }
        for is_last_attempt in (False, True):
            try:
                self.connection = self.connection or http.client.HTTPConnection(
                    url.netloc, timeout=60
                )
                self.connection.request(method, target, data, sent)
                response = self.connection.getresponse()
                content = response.read().decode("utf-8", "replace")
                received = {name.lower(): value for name, value in response.getheaders()}
                return response.status, received, content
            except (OSError, http.client.HTTPException):
                self.close()
                if is_last_attempt:
                    raise
        raise AssertionError("unreachable")

    def close(self) -> None:
        if self.connection:
            self.connection.close()
            self.connection = None

    def clean_up(self) -> None:
        """Delete what the sequence created, resources that refer to others first."""
        waiting = sorted(self.created, key=lambda reference: TYPES.index(reference.split("/")[0]))
        for _ in range(3):
            waiting = [one for one in waiting if self.request("DELETE", one)[0] != http.client.OK]

    def is_empty(self) -> bool:
        """Return whether the server has no resources of TYPES; sequences also delete by search."""
        for type_ in TYPES:
            _, _, text = self.request("GET", f"{type_}?_summary=count")
            if json.loads(text).get("total"):
                return False
        return True

    def plain(self, value: Any) -> Any:
        """Replace what differs from server to server by names."""
        text = json.dumps(value, ensure_ascii=False)
        text = ADDRESS.sub("<base>/", text)
        for id_, name in self.names.items():
            text = (
                text.replace(id_, name) if len(id_) > LONG_ID else _replace_short(text, id_, name)
            )
        text = UUID.sub("<uuid>", RECENT_TIME.sub("<now>", text))
        return json.loads(text, object_hook=_with_sorted_tags)

    def _fill(self, value: Any) -> Any:
        """Put this server's ids in the place of placeholders; None if one is unknown."""
        text = json.dumps(value)
        if set(PLACEHOLDER.findall(text)) - set(self.ids):
            return None
        return json.loads(PLACEHOLDER.sub(lambda found: json.dumps(self.ids[found[1]])[1:-1], text))

    def _learn(self, step: Step, index: int, body: Any, headers: dict[str, str]) -> None:
        if not isinstance(body, dict):
            return
        place = headers.get("content-location") or headers.get("location") or ""
        location = LOCATION.search(place)
        is_resource = body.get("resourceType") not in (None, "OperationOutcome", "Bundle")
        id_ = body.get("id") if is_resource else location and location[2]
        if id_ and body.get("resourceType") != "Bundle":
            self.names.setdefault(id_, f"#{step.save or index}")
            if location and location[1] in TYPES:
                self.created.add(f"{location[1]}/{id_}")
        if step.save and id_:
            self.ids[step.save] = id_
            version = (body.get("meta") or {}).get("versionId")
            if version:
                self.ids[f"{step.save}.v"] = version
        self._learn_entries(index, body)

    def _learn_entries(self, index: int, body: dict[str, Any]) -> None:
        for number, entry in enumerate(body.get("entry") or []):
            location = LOCATION.search((entry.get("response") or {}).get("location") or "")
            if location and location[1] in TYPES:
                self.created.add(f"{location[1]}/{location[2]}")
                self.names.setdefault(location[2], f"#{index}.{number}")
        for link in body.get("link") or []:
            if isinstance(link, dict) and link.get("relation") == "next":
                self.ids["next"] = re.sub(r"^https?://[^/]+", "", link["url"])


def _replace_short(text: str, id_: str, name: str) -> str:
    """Replace a short id where it can be nothing else: in a reference or address, or as an id."""
    id_pattern = re.escape(id_)
    in_path = rf'(?<=[A-Za-z]/){id_pattern}(?=["/\\\s?&,]|$)'
    as_id = rf'(?<="id": "){id_pattern}(?=")'
    return re.sub(f"{in_path}|{as_id}", lambda _: name, text)


def _with_sorted_tags(value: dict[str, Any]) -> dict[str, Any]:
    """HAPI returns tags in any order."""
    meta = value.get("meta")
    if isinstance(meta, dict):
        for name in ("tag", "security", "profile"):
            if isinstance(meta.get(name), list):
                meta[name].sort(key=str)
    return value
