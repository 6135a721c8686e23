"""OpenAPI: what drf-spectacular cannot see by itself."""

from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiSerializerExtension
from drf_spectacular.plumbing import build_bearer_security_scheme_object


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "ballast.auth.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> Any:
        return build_bearer_security_scheme_object("Authorization", "Bearer")


class StrictSchema(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    target_class = "ballast.serializers.StrictSerializer"
    match_subclasses = True

    def map_serializer(self, auto_schema: Any, direction: Any) -> Any:
        schema = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        return {**schema, "additionalProperties": False, **self.target.SCHEMA}


def only_the_api(endpoints: list[tuple[str, str, str, Any]], **_: Any) -> list[tuple[str, str, str, Any]]:
    return [endpoint for endpoint in endpoints if endpoint[0].startswith("/api/v1/")]


def bodies_are_needed(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """A change without required fields still needs a body."""
    for path in result["paths"].values():
        for operation in path.values():
            if "requestBody" in operation:
                operation["requestBody"]["required"] = True
    return result


def _parameter(where: str, name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {
        "in": where,
        "name": name,
        "required": where == "path",
        "schema": schema,
        "description": description,
    }


def _content(schema: dict[str, Any], kind: str = "application/json") -> dict[str, Any]:
    return {kind: {"schema": schema}}


def add_wait_service(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """The wait service's two endpoints are plain async views, described here by hand."""
    problem = {
        "description": "A problem",
        "content": _content({"$ref": "#/components/schemas/Problem"}, "application/problem+json"),
    }
    query = _content({"$ref": "#/components/schemas/LoadQuery"})
    location = {"Location": {"schema": {"type": "string"}, "description": "Where the outcome will be."}}
    retry_after = {"Retry-After": {"schema": {"type": "string"}, "description": "Seconds until it is worth looking."}}
    content_location = {"Content-Location": {"schema": {"type": "string"}, "description": "The query's own address."}}
    result["paths"]["/api/v1/long-query"] = {
        "get": {
            "operationId": "long_query",
            "summary": "Wait, then answer",
            "tags": ["waiting"],
            "parameters": [
                _parameter(
                    "query",
                    "seconds",
                    {
                        "type": "number",
                        "minimum": 0,
                        "maximum": settings.LONG_QUERY_MAX,
                        "default": min(20, settings.LONG_QUERY_MAX),
                    },
                    "How long to wait.",
                )
            ],
            "responses": {
                "200": {
                    "description": "After the wait",
                    "content": _content(
                        {
                            "type": "object",
                            "properties": {"waited": {"type": "number"}},
                            "required": ["waited"],
                        }
                    ),
                },
                "400": problem,
                "503": problem,
            },
        }
    }
    result["paths"]["/api/v1/load-query/{n}"] = {
        "get": {
            "operationId": "load_query_wait",
            "summary": "Calculate on a worker and wait for the result",
            "tags": ["load queries"],
            "parameters": [
                _parameter(
                    "path",
                    "n",
                    {"type": "integer", "minimum": 0, "maximum": settings.LOAD_QUERY_MAX_N},
                    "Which Fibonacci number, modulo 10037.",
                )
            ],
            "responses": {
                "200": {"description": "The outcome", "content": query, "headers": content_location},
                "202": {"description": "It takes longer", "content": query, "headers": {**location, **retry_after}},
                "400": problem,
                "502": {**problem, "description": "The calculation failed", "headers": content_location},
                "503": problem,
            },
        }
    }
    result["paths"] = dict(sorted(result["paths"].items()))
    return result
