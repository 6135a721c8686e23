"""The OpenAPI document tells the truth: what it allows is accepted, what it forbids is refused, nothing else comes."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.test import override_settings
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from schemathesis import Case
from schemathesis.checks import negative_data_rejection, positive_data_acceptance
from schemathesis.core.parameters import ParameterLocation

from ballast.auth import issue_token
from ballast.models import User
from tests.processes import Service

WAIT = ["/api/v1/long-query", "/api/v1/load-query/{n}"]
LONGEST_WAIT = 0.05
EXAMPLES = hypothesis_settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
# Right data may still meet the state of things: a version that changed, a key that was used.
ACCEPTED = ["2xx", "304", "401", "403", "404", "409", "412", "422"]

with override_settings(LONG_QUERY_MAX=LONGEST_WAIT):
    schema = schemathesis.openapi.from_dict(
        SchemaGenerator().get_schema(public=True),  # type: ignore[no-untyped-call]
        config=schemathesis.Config.from_dict({"checks": {"positive_data_acceptance": {"expected-statuses": ACCEPTED}}}),
    )


@pytest.fixture(scope="module")
def services(
    django_db_setup: None, _pools: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Service, Service]]:
    folder = tmp_path_factory.mktemp("services")
    quick = {"BALLAST_LONG_QUERY_MAX": str(LONGEST_WAIT), "BALLAST_LOAD_QUERY_WAIT": "0"}
    with Service("web", folder, **quick) as web, Service("wait", folder, **quick) as wait:
        yield web, wait


def sayable(case: Case[Any]) -> bool:
    """False where JSON Schema cannot say what is wrong: a simple password, a blank text, a cursor that is not ours."""
    body = case.body if isinstance(case.body, dict) else {}
    password, text = body.get("password"), body.get("text")
    return not (
        "cursor" in (case.query or {})
        or (isinstance(password, str) and len(set(password)) < 3)
        or (isinstance(text, str) and not text.strip())
    )


def validate(case: Case[Any], service: Service, **options: Any) -> None:
    excluded = options.pop("excluded_checks", []) + ([] if sayable(case) else [positive_data_acceptance])
    case.call_and_validate(base_url=service.url, excluded_checks=excluded, **options)


def wrong_body(case: Case[Any]) -> bool:
    body = case.meta.components.get(ParameterLocation.BODY) if case.meta else None
    return body is not None and body.mode.is_negative


@schema.exclude(path=WAIT).parametrize()
@EXAMPLES
def test_a_stranger_meets_what_is_documented(case: Case[Any], services: tuple[Service, Service]) -> None:
    validate(case, services[0])


@schema.include(path=WAIT).parametrize()
@EXAMPLES
def test_the_wait_service_does_what_is_documented(case: Case[Any], services: tuple[Service, Service]) -> None:
    validate(case, services[1])


@schema.include(path_regex="user_id|load-queries$").parametrize()
@EXAMPLES
def test_a_user_meets_what_is_documented(case: Case[Any], services: tuple[Service, Service]) -> None:
    user, _ = User.objects.get_or_create(username="alice", defaults={"password": "!"})
    token, _ = issue_token(user)
    if "user_id" in case.path_parameters:
        case.path_parameters["user_id"] = user.pk
    # The path and the token are right now, whatever they were meant to be.
    excluded = [] if wrong_body(case) else [negative_data_rejection]
    validate(case, services[0], headers={"Authorization": f"Bearer {token}"}, excluded_checks=excluded)
