"""The OpenAPI document: schemas come from the typed answers and the event contract, not from a second set of models."""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from contracts.events import Event
from contracts.experiments import Experiment, Experiments
from contracts.forgetting import Receipt
from contracts.rules import Rules
from serving import answers
from serving.admin import answers as admin_answers
from serving.control import answers as control_answers
from serving.credentials import scope_needed

__all__ = ["answers_with", "document", "events_body", "json_body"]

_TEMPLATE: Final = "#/components/schemas/{name}"
_STRUCTS: Final = (
    Event,
    Experiment,
    Experiments,
    Receipt,
    Rules,
    *(
        kind
        for module in (answers, control_answers, admin_answers)
        for name in module.__all__
        if issubclass(type(kind := getattr(module, name)), msgspec.StructMeta)
    ),
)
_STATUS: Final = {
    304: "not changed since the `If-None-Match` tag",
    400: "a parameter or the body cannot be read",
    401: "no valid API key",
    403: "the API key may not do this",
    404: "there is no such shop, item or version",
    408: "the request did not come whole in time",
    409: "it is not in a state for that, or another did it at the same time",
    412: "it was changed since the `If-Match` tag; read it again",
    413: "the body is too large",
    422: "it can be read, and none of it can be taken",
    428: "`If-Match` is missing",
    429: "too much for now; try again after `Retry-After` seconds",
    503: "a store or this process cannot take it now; try again",
}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _reference(kind: type) -> dict[str, Any]:
    return {"$ref": _TEMPLATE.format(name=kind.__name__)}


def answers_with(
    kind: type, *statuses: int, also: dict[int, type] | None = None, good: int = 200
) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route: ``kind`` for ``good``, errors for ``statuses``, other kinds in ``also``."""
    described: dict[int | str, dict[str, Any]] = {
        good: {"description": (kind.__doc__ or "").partition("\n")[0], "content": _json(_reference(kind))}
    }
    for status in statuses:
        described[status] = {"description": _STATUS[status]}
        if status != 304:
            described[status]["content"] = _json(_reference(answers.ErrorAnswer))
    for status, other in (also or {}).items():
        described[status] = {"description": _STATUS[status], "content": _json(_reference(other))}
    return described


def events_body() -> dict[str, Any]:
    """The request body of the collector, with an example that can be tried."""
    event = _reference(Event)
    many = {"type": "array", "items": event, "minItems": 1, "maxItems": 500}
    example = {
        "event_id": "0b6d2e5a-7b0f-4c0e-9d3a-5f0c8f6f3f11",
        "event_type": "view",
        "anonymous_id": "visitor-1",
        "item_id": "1",
        "occurred_at": "2026-01-01T00:00:00.000Z",
    }
    wrapped = {"type": "object", "properties": {"events": many}, "required": ["events"]}
    schema = {"oneOf": [event, many, wrapped]}
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema, "example": example}},
        }
    }


def json_body(kind: type) -> dict[str, Any]:
    """The request body of a route that reads it itself."""
    return {"requestBody": {"required": True, "content": _json(_reference(kind))}}


def document(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """A replacement of ``app.openapi`` that adds the schemas; built once."""

    def build() -> dict[str, Any]:
        if not app.openapi_schema:
            made = get_openapi(
                title=app.title,
                version=app.version,
                openapi_version="3.0.3",  # the newest that the bundled Swagger UI 4 draws
                description=app.description,
                routes=app.routes,
            )
            _, components = msgspec.json.schema_components(_STRUCTS, ref_template=_TEMPLATE)
            schemas = made.setdefault("components", {}).setdefault("schemas", {})
            schemas.update(components)
            _drop_validation_errors(made)
            _add_keys(made)
            app.openapi_schema = _nullable(made)
        return app.openapi_schema

    return build


def _drop_validation_errors(made: dict[str, Any]) -> None:
    """FastAPI documents its own 422, which this API never answers."""
    for operations in made["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
    for name in ("HTTPValidationError", "ValidationError"):
        made["components"]["schemas"].pop(name, None)


def _add_keys(made: dict[str, Any]) -> None:
    """The API key, and what every route that needs one may answer."""
    made["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "bearerFormat": "lsk_…"}}
    for path, operations in made["paths"].items():
        for operation in operations.values():
            if scope_needed(path) is not None:
                operation["security"] = [{"key": []}]
                for status in (401, 403, 429):
                    answer = {"description": _STATUS[status], "content": _json(_reference(answers.ErrorAnswer))}
                    operation["responses"].setdefault(str(status), answer)


def _nullable(node: Any) -> Any:
    """OpenAPI 3.0 has no type ``null`` and no ``const``.

    >>> _nullable({"anyOf": [{"type": "string"}, {"type": "null"}]}), _nullable({"const": 1})
    ({'type': 'string', 'nullable': True}, {'enum': [1]})
    """
    if isinstance(node, list):
        return [_nullable(part) for part in node]
    if not isinstance(node, dict):
        return node
    made = {name: _nullable(part) for name, part in node.items()}
    if "const" in made:
        made["enum"] = [made.pop("const")]
    kinds = made.get("anyOf")
    if isinstance(kinds, list) and {"type": "null"} in kinds:
        others = [kind for kind in made.pop("anyOf") if kind != {"type": "null"}]
        # A reference admits no neighbours in 3.0.
        only = others[0] if len(others) == 1 and "$ref" not in others[0] else {"anyOf": others}
        made = {**only, **made, "nullable": True}
    if isinstance(made.get("enum"), list) and None in made["enum"]:
        made["nullable"] = True
    return made
