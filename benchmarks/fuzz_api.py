"""Property-based requests: what the service's own OpenAPI document allows, and what it forbids, on every route of it.

Where :mod:`benchmarks.fuzz_cases` knows what is hostile, this one reads the document: schemathesis makes parameters
and bodies that fit the schemas (and so reach the stores) and ones that do not. No answer may be a 5xx, and each has to
be one that the document tells of: status, kind of content and schema.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final
from zlib import crc32

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

__all__ = ["EXCLUDED", "KNOWN", "Explored", "explore"]

EXCLUDED: Final = {
    "/v1/users/{user_id}/recommendations/stream": "server-sent events: the answer does not end",
    "/v1/visitors/{anonymous_id}/recommendations/stream": "server-sent events: the answer does not end",
}
KNOWN: Final = {"item_id": "i1", "user_id": "7", "anonymous_id": "visitor-1"}
"""Names of which the service has the first in its catalogue."""
_CHECKS: Final = [status_code_conformance, content_type_conformance, response_schema_conformance]
_TIMEOUT_S: Final = 60.0
_TAGGED: Final = {
    "/v1/admin/catalogue": "/v1/admin/catalogue",
    "/v1/admin/rules": "/v1/admin/rules",
    "/v1/admin/experiments/{experiment_id}": "/v1/admin/experiments",
}
"""Routes that change a document, and where its tag is read: without the tag none of them gets beyond 412."""


@dataclass
class Explored:
    """What came back: statuses by operation, and what no request may get."""

    statuses: dict[str, Counter[int]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    @property
    def sent(self) -> int:
        """All requests."""
        return sum(counts.total() for counts in self.statuses.values())

    @property
    def total(self) -> Counter[int]:
        """Statuses of all operations together."""
        return sum(self.statuses.values(), Counter())

    def note(self, label: str, status: int, sent: str, fault: str = "") -> None:
        """Take an answer in; status 0 is none."""
        self.statuses.setdefault(label, Counter())[status] += 1
        if fault:
            self.faults.append(f"{label}: {status} {fault} to {sent}")


def explore(url: str, key: str | None, examples: int) -> Explored:
    """Send ``examples`` requests of either kind to each operation of the document at ``url``; always the same ones.

    Without ``key`` no key is sent.

    Raises:
        jsonschema_rs.ValidationError: the document is no valid OpenAPI.
        ValueError: a route that is excluded is not in the document, or an operation was never asked.
    """
    session = requests.Session()
    session.trust_env = False
    if key:
        session.headers["Authorization"] = f"Bearer {key}"
    document = session.get(f"{url}/openapi.json", timeout=_TIMEOUT_S).json()
    if gone := EXCLUDED.keys() - document["paths"].keys():
        message = f"excluded routes {sorted(gone)} are not in the document; expected only ones that are"
        raise ValueError(message)
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=url)
    schema.validate()
    explored = Explored()
    for found in schema.exclude(path=list(EXCLUDED)).get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()
        for mode in _modes(operation):
            _ask(operation, mode, examples, session, url, explored)
        if operation.label not in explored.statuses:
            message = f"{operation.label} was never asked; expected {examples} requests of either kind"
            raise ValueError(message)
    return explored


def _modes(operation: Any) -> list[GenerationMode]:
    """What takes nothing cannot be asked wrongly."""
    takes = any(True for _ in operation.iter_parameters()) or bool(len(operation.body))
    return [GenerationMode.POSITIVE, GenerationMode.NEGATIVE] if takes else [GenerationMode.POSITIVE]


def _ask(
    operation: Any, mode: GenerationMode, examples: int, session: requests.Session, url: str, explored: Explored
) -> None:
    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        if mode is GenerationMode.POSITIVE:
            _reach(case)
            if operation.path in _TAGGED:
                _name_tag(case, session, url + _TAGGED[operation.path])
        told = f"{mode.value} {case.formatted_path[:200]} {case.query!r:.200} {case.headers!r:.200} {case.body!r:.300}"
        try:
            answer = case.call(session=session, timeout=_TIMEOUT_S)
        except requests.RequestException as exc:
            explored.note(operation.label, 0, told, repr(exc)[:200])
        else:
            explored.note(operation.label, answer.status_code, told, _fault(case, answer))

    ask()


def _fault(case: Any, answer: Any) -> str:
    """What is wrong with an answer; empty where nothing is."""
    if answer.status_code >= 500:
        return repr(answer.text[:200])
    try:
        case.validate_response(answer, checks=_CHECKS)
    except FailureGroup as exc:
        return " ".join(str(exc).split())[:300]
    return ""


def _reach(case: Any) -> None:
    """Ask for the shop that there is, and every other time for what it knows: any other name ends in a 404."""
    for name in ("shop", "x-shop"):
        (case.query or {}).pop(name, None)
        case.headers.pop(name, None)
    if crc32(repr((case.path_parameters, case.query, case.body)).encode()) % 2:
        for part in (case.path_parameters, case.body):
            if isinstance(part, dict):
                part.update({name: known for name, known in KNOWN.items() if isinstance(part.get(name), str)})


def _name_tag(case: Any, session: requests.Session, address: str) -> None:
    """Name the tag that stands, and the experiment that the body holds."""
    tag = session.get(address, timeout=_TIMEOUT_S).headers.get("ETag")
    for name in ("If-Match", "If-None-Match"):
        case.headers.pop(name, None)
    case.headers["If-Match" if tag else "If-None-Match"] = tag or "*"
    if isinstance(case.body, dict) and "experiment_id" in case.path_parameters and case.body.get("id"):
        case.path_parameters["experiment_id"] = case.body["id"]
