"""Passwords and tokens, and who may do what."""

import hashlib
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib.auth.hashers import Argon2PasswordHasher, check_password, make_password
from django.db.models.functions import Now
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from ballast.client import client_address
from ballast.models import Token, User
from ballast.routers import on_primary

if TYPE_CHECKING:  # at run time this would be a circle: DRF's views load these classes
    from rest_framework.views import APIView


class Argon2idHasher(Argon2PasswordHasher):
    """argon2id at OWASP's cost: 19 MiB, two passes, one lane; about 20 ms."""

    time_cost = 2
    memory_cost = 19 * 1024
    parallelism = 1


def password_problems(password: str) -> list[str]:
    """Why a password is refused. Length is what counts (NIST SP 800-63B)."""
    if len(password) < 8:
        return ["A password has at least 8 characters."]
    if len(set(password)) < 3:
        return ["A password has at least 3 different characters."]
    return []


def check_credentials(username: str, password: str) -> User | None:
    """The user, if the password is right. Takes as long for a name that does not exist."""
    with on_primary():
        user = User.objects.filter(username=username).first()
    if user is None:
        make_password(password)
        return None
    return user if check_password(password, user.password) else None


def issue_token(user: User) -> tuple[str, Token]:
    raw = secrets.token_urlsafe(32)
    token = Token.objects.create(digest=_digest(raw), user=user, expires_at=Now() + timedelta(days=settings.TOKEN_DAYS))
    return raw, token


def _digest(raw: str) -> bytes:
    return hashlib.sha256(raw.encode()).digest()


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer <token>`, looked up on the primary: a new token works and a revoked one does not."""

    def authenticate(self, request: Request) -> tuple[User, Token] | None:
        header = request.headers.get("Authorization")
        if header is None:
            return None
        scheme, _, raw = header.partition(" ")
        raw = raw.strip()
        if scheme.lower() != "bearer" or not raw or not raw.isascii():
            raise exceptions.AuthenticationFailed("The Authorization header must be 'Bearer <token>'.")
        token = (
            Token.objects.using("default")
            .select_related("user")
            .filter(digest=_digest(raw), expires_at__gt=Now())
            .first()
        )
        if token is None:
            raise exceptions.AuthenticationFailed("The token is unknown or has expired.")
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="ballast"'


class IsSelfOrStaff(BasePermission):
    """The user in the path's `user_id`, or staff."""

    message = "Only this user may do this."

    def has_permission(self, request: Request, view: "APIView") -> bool:
        if not isinstance(request.user, User):
            raise exceptions.NotAuthenticated("This needs a token.")
        return request.user.is_staff or request.user.pk == view.kwargs["user_id"]


def caller(request: Request) -> str:
    """Who is asking, as one string: the user, or the address for those who have no token."""
    user = request.user
    return f"user:{user.pk}" if isinstance(user, User) else f"ip:{client_address(request._request)}"
