"""The schema, its page, the landing page, the metrics."""

from typing import Any

import yaml
from django.test import Client
from drf_spectacular.validation import validate_schema


def _schema(client: Client) -> Any:
    return yaml.safe_load(client.get("/api/v1/schema").content)


def test_the_schema_is_valid_and_names_every_operation(client: Client) -> None:
    schema = _schema(client)
    validate_schema(schema)  # type: ignore[no-untyped-call]
    operations = {(path, method) for path, item in schema["paths"].items() for method in item}
    assert operations == {
        ("/api/v1/ping", "get"),
        ("/api/v1/long-query", "get"),
        ("/api/v1/load-query/{n}", "get"),
        ("/api/v1/load-queries", "post"),
        ("/api/v1/load-queries/{query_id}", "get"),
        ("/api/v1/users", "get"),
        ("/api/v1/users", "post"),
        ("/api/v1/users/{user_id}", "get"),
        ("/api/v1/users/{user_id}", "patch"),
        ("/api/v1/users/{user_id}", "delete"),
        ("/api/v1/users/{user_id}/messages", "get"),
        ("/api/v1/users/{user_id}/messages", "post"),
        ("/api/v1/tokens", "post"),
    }


def test_the_schema_shows_no_password(client: Client) -> None:
    schemas = _schema(client)["components"]["schemas"]
    assert "password" not in schemas["User"]["properties"]


def test_the_docs_page_is_served_with_its_scripts(client: Client) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    for name in ("swagger-ui-bundle.js", "swagger-ui.css"):
        path = f"/static/drf_spectacular_sidecar/swagger-ui-dist/{name}"
        assert path in page.content.decode()
        assert client.get(path).status_code == 200


def test_the_landing_page_says_what_this_is(client: Client) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert b"<h1>Ballast</h1>" in page.content


def test_requests_are_counted_by_route_not_by_path(client: Client) -> None:
    client.get("/api/v1/users/123456")
    client.get("/some/thing/random")
    text = client.get("/metrics").content.decode()
    assert 'ballast_request_seconds_count{method="GET",route="api/v1/users/<int:user_id>",status="404"}' in text
    assert 'route="unmatched"' in text
    assert "123456" not in text
    assert "random" not in text
