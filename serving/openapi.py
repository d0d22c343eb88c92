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
    414: "the address is too long",
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


def json_body(kind: type, **further: Any) -> dict[str, Any]:
    """The request body of a route that reads it itself; ``further`` is what the type does not tell."""
    return {"requestBody": {"required": True, "content": _json(_reference(kind) | further)}}


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
            _add_tags(made)
            app.openapi_schema = _as_3_0(made)
        return app.openapi_schema

    return build


def _drop_validation_errors(made: dict[str, Any]) -> None:
    """FastAPI documents its own 422, which this API never answers; a route's own stays."""
    for operations in made["paths"].values():
        for operation in operations.values():
            if operation["responses"].get("422", {}).get("description") == "Validation Error":
                del operation["responses"]["422"]
    for name in ("HTTPValidationError", "ValidationError"):
        made["components"]["schemas"].pop(name, None)


def _add_keys(made: dict[str, Any]) -> None:
    """The API key, and what the guard before every route, and before those that need a key, may answer."""
    made["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "bearerFormat": "lsk_…"}}
    for path, operations in made["paths"].items():
        for operation in operations.values():
            keyed = scope_needed(path) is not None
            if keyed:
                operation["security"] = [{"key": []}]
            for status in (401, 403, 414, 429) if keyed else (414,):
                _add_error(operation["responses"], status)


def _add_error(responses: dict[str, Any], status: int) -> None:
    """An error beside what a route itself may answer with that status."""
    own = responses.setdefault(str(status), {"description": _STATUS[status]})
    schema, error = own.get("content", _json({}))["application/json"]["schema"], _reference(answers.ErrorAnswer)
    own["content"] = _json({"anyOf": [schema, error]} if schema not in ({}, error) else error)


def _add_tags(made: dict[str, Any]) -> None:
    """What a change has to name: the tag that was read. The routes read these headers from the request itself."""
    told = {
        "If-Match": "the `ETag` that was read; the change is refused (412) where it is no longer the one",
        "If-None-Match": "`*` instead of `If-Match` where there is nothing yet",
    }
    for operations in made["paths"].values():
        for operation in operations.values():
            if "428" in operation["responses"]:
                operation.setdefault("parameters", []).extend(
                    {"name": name, "in": "header", "required": False, "schema": {"type": "string"}, "description": text}
                    for name, text in told.items()
                )


def _as_3_0(node: Any) -> Any:
    """JSON Schema as it is today, in the words of OpenAPI 3.0.

    That has no type ``null`` and no ``const``; exclusive limits are flags beside the limit, a list of required
    properties is never empty, and a reference has no neighbours.

    >>> _as_3_0({"anyOf": [{"type": "string"}, {"type": "null"}]}), _as_3_0({"const": 1})
    ({'type': 'string', 'nullable': True}, {'enum': [1]})
    >>> _as_3_0({"exclusiveMinimum": 0}), _as_3_0({"$ref": "#/a", "default": {}}), _as_3_0({"required": []})
    ({'minimum': 0, 'exclusiveMinimum': True}, {'default': {}, 'allOf': [{'$ref': '#/a'}]}, {})
    """
    if isinstance(node, list):
        return [_as_3_0(part) for part in node]
    if not isinstance(node, dict):
        return node
    made = {name: _as_3_0(part) for name, part in node.items()}
    if "const" in made:
        made["enum"] = [made.pop("const")]
    if made.get("required") == []:
        del made["required"]
    for limit in ("minimum", "maximum"):
        flag = f"exclusive{limit.capitalize()}"
        if isinstance(made.get(flag), int | float) and not isinstance(made[flag], bool):
            made[limit], made[flag] = made.pop(flag), True
    if isinstance(made.get("$ref"), str) and len(made) > 1:
        made["allOf"] = [{"$ref": made.pop("$ref")}]
    return _nullable(made)


def _nullable(made: dict[str, Any]) -> dict[str, Any]:
    kinds = made.get("anyOf")
    if isinstance(kinds, list) and {"type": "null"} in kinds:
        others = [kind for kind in made.pop("anyOf") if kind != {"type": "null"}]
        # A reference admits no neighbours in 3.0.
        only = others[0] if len(others) == 1 and "$ref" not in others[0] else {"anyOf": others}
        made = {**only, **made, "nullable": True}
    if isinstance(made.get("enum"), list) and None in made["enum"]:
        made["nullable"] = True
    return made
