"""The web service's views."""

import re
from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.db import IntegrityError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotModified, JsonResponse
from django.shortcuts import render
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import generics
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import SAFE_METHODS, AllowAny, BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ballast import auth, db, health, load_queries, metrics, rates, serializers, users
from ballast.changes import written
from ballast.db import write_transaction
from ballast.models import LoadQuery, Message, User
from ballast.problems import Problem
from ballast.routers import current

NO_STORE = {"Cache-Control": "no-store"}
PROBLEM = OpenApiResponse(serializers.ProblemSerializer, description="A problem")
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def _header(name: str, description: str, pattern: str = "", **kwargs: Any) -> OpenApiParameter:
    kind = {"type": "string", "pattern": f"^{pattern}$"} if pattern else OpenApiTypes.STR
    return OpenApiParameter(name, kind, OpenApiParameter.HEADER, description=description, **kwargs)


def _answer_header(name: str, description: str, *codes: int) -> OpenApiParameter:
    return _header(name, description, response=list(codes))


def _problems(*codes: int) -> dict[Any, Any]:
    return {(code, "application/problem+json"): PROBLEM for code in codes}


# --- Outside the API.


def home(request: HttpRequest) -> HttpResponse:
    return render(request, "home.html", {"max_n": settings.LOAD_QUERY_MAX_N})


def live(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"status": "ok"})


def ready(request: HttpRequest) -> HttpResponse:
    status, body, headers = health.readiness()
    return JsonResponse(body, status=status, headers=headers)


def metrics_page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(metrics.exposition(), content_type=metrics.CONTENT_TYPE)


# --- The API.


class PublicView(APIView):
    """Open to everybody: no token is looked at."""

    authentication_classes = []
    permission_classes = [AllowAny]


class Ping(PublicView):
    @extend_schema(
        operation_id="ping",
        summary="Answer at once",
        tags=["basics"],
        responses={200: serializers.PongSerializer},
    )
    def get(self, request: Request) -> HttpResponse:
        return HttpResponse(b'{"pong": true}', content_type="application/json", headers=NO_STORE)


class LoadQueries(APIView):
    @extend_schema(
        operation_id="load_query_submit",
        summary="Have something calculated",
        tags=["load queries"],
        request=serializers.NewLoadQuerySerializer,
        parameters=[
            _header("Idempotency-Key", "The same key is the same query.", _KEY.pattern),
            _answer_header("Location", "Where the outcome will be.", 202),
            _answer_header("Retry-After", "Seconds until it is worth looking.", 202),
        ],
        responses={202: serializers.LoadQuerySerializer, **_problems(400, 401, 411, 413, 415, 422, 503)},
    )
    def post(self, request: Request) -> Response:
        key = request.headers.get("Idempotency-Key")
        if key is not None and not _KEY.fullmatch(key):
            raise Problem(
                400,
                "invalid",
                "Idempotency-Key: 1 to 255 visible ASCII characters without spaces are needed.",
            )
        given = serializers.NewLoadQuerySerializer(data=request.data)
        given.is_valid(raise_exception=True)
        query = load_queries.submit(n=given.validated_data["n"], caller=auth.caller(request), key=key)
        return Response(
            serializers.LoadQuerySerializer(query).data,
            status=202,
            headers={**NO_STORE, "Location": f"/api/v1/load-queries/{query.pk}", "Retry-After": "1"},
        )


class LoadQueryDetail(PublicView):
    @extend_schema(
        operation_id="load_query_read",
        summary="How far a calculation is",
        tags=["load queries"],
        responses={200: serializers.LoadQuerySerializer, **_problems(404, 503)},
    )
    def get(self, request: Request, query_id: Any) -> Response:
        # A replica may be behind, but what is finished there is finished.
        query = LoadQuery.objects.filter(pk=query_id).first()
        if query is None or not query.finished:
            try:
                query = LoadQuery.objects.using("default").filter(pk=query_id).first()
            except OperationalError:
                if query is None:
                    raise
                # Without a primary no query makes progress: what the replica says is as good as any answer.
                db.discard_connections()
        if query is None:
            raise Http404
        headers = dict(NO_STORE) if query.finished else {**NO_STORE, "Retry-After": "1"}
        return Response(serializers.LoadQuerySerializer(query).data, headers=headers)


class Users(generics.ListAPIView[User]):
    serializer_class = serializers.UserSerializer
    authentication_classes = []
    throttle_classes = [rates.SignupThrottle]
    queryset = User.objects.only("id", "username", "name", "created_at")

    @extend_schema(
        operation_id="users_list",
        summary="All users",
        tags=["users"],
        responses={200: serializers.UserSerializer(many=True), **_problems(400, 503)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        with current("users"):
            return self.list(request, *args, **kwargs)

    @extend_schema(
        operation_id="users_sign_up",
        summary="Sign up",
        tags=["users"],
        request=serializers.SignupSerializer,
        parameters=[_answer_header("Location", "The new user.", 201)],
        responses={201: serializers.UserSerializer, **_problems(400, 409, 411, 413, 415, 429, 503)},
    )
    def post(self, request: Request) -> HttpResponse:
        given = serializers.SignupSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        user = User(
            username=given.validated_data["username"],
            name=given.validated_data.get("name", ""),
            password=make_password(given.validated_data["password"]),
        )
        try:
            with written("users"):
                user.save(force_insert=True)
        except IntegrityError as error:
            raise Problem(409, "username-taken", "This username is taken.") from error
        return HttpResponse(
            users.body_of(user),
            status=201,
            content_type="application/json",
            headers={"Location": f"/api/v1/users/{user.pk}", "ETag": users.etag(user.version)},
        )


class OwnedView(APIView):
    """Everybody reads; only the user in the path, or staff, writes."""

    def get_authenticators(self) -> list[BaseAuthentication]:
        return [] if self._reads else super().get_authenticators()

    def get_permissions(self) -> list[BasePermission]:
        return [] if self._reads else [auth.IsSelfOrStaff()]

    @property
    def _reads(self) -> bool:
        """True if no token is needed: to read, or for a method that the view lacks, which is a 405 for everybody."""
        method = self.request.method if self.request else None
        return method in SAFE_METHODS or method not in self.allowed_methods


class UserDetail(OwnedView):
    @extend_schema(
        operation_id="users_read",
        summary="One user",
        tags=["users"],
        auth=[],
        parameters=[
            _header("If-None-Match", "ETags that the client knows: 304 if one is current."),
            _answer_header("ETag", "The user's version.", 200),
            _answer_header("X-Cache", "hit, miss or bypass.", 200),
        ],
        responses={200: serializers.UserSerializer, 304: None, **_problems(404, 503)},
    )
    def get(self, request: Request, user_id: int) -> HttpResponse:
        user = users.read(user_id)
        if user is None:
            raise Http404
        headers = {"ETag": users.etag(user.version), "Cache-Control": "no-cache", "X-Cache": user.outcome}
        known = request.headers.get("If-None-Match")
        if known and users.etag_matches(known, user.version, weak=True):
            return HttpResponseNotModified(headers=headers)
        return HttpResponse(user.body, content_type="application/json", headers=headers)

    @extend_schema(
        operation_id="users_change",
        summary="Change one's own user",
        tags=["users"],
        request=serializers.UserChangeSerializer,
        parameters=[
            _header("If-Match", "Change only this version (an ETag)."),
            _answer_header("ETag", "The new version.", 200),
        ],
        responses={200: serializers.UserSerializer, **_problems(400, 401, 403, 404, 412, 411, 413, 415, 503)},
    )
    def patch(self, request: Request, user_id: int) -> HttpResponse:
        given = serializers.UserChangeSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        password = given.validated_data.get("password")
        digest = make_password(password) if password is not None else None
        with written("users") as write:
            user = _locked_user(request, user_id)
            user.name = given.validated_data.get("name", user.name)
            user.version += 1
            if digest:
                user.password = digest
                user.tokens.exclude(pk=getattr(request.auth, "pk", None)).delete()
            user.save(update_fields=["name", "password", "version"])
            write.changes(user.pk, user.version)
        return HttpResponse(
            users.body_of(user), content_type="application/json", headers={"ETag": users.etag(user.version)}
        )

    @extend_schema(
        operation_id="users_delete",
        summary="Delete one's own user",
        tags=["users"],
        parameters=[_header("If-Match", "Delete only this version (an ETag).")],
        responses={204: None, **_problems(401, 403, 404, 411, 412, 413, 503)},
    )
    def delete(self, request: Request, user_id: int) -> HttpResponse:
        with written("users") as write:
            user = _locked_user(request, user_id)
            write.changes(user_id, user.version + 1)
            user.delete()
        return HttpResponse(status=204)


def _locked_user(request: Request, user_id: int) -> User:
    """The user's row, ours until the transaction ends. 404 if there is none, 412 if If-Match names another version."""
    user = User.objects.using("default").select_for_update().filter(pk=user_id).first()
    if user is None:
        raise Http404
    wanted = request.headers.get("If-Match")
    if wanted is not None and not users.etag_matches(wanted, user.version, weak=False):
        raise Problem(
            412,
            "changed-meanwhile",
            "The user is not at the version in If-Match any more.",
            headers={"ETag": users.etag(user.version)},
        )
    return user


class Messages(OwnedView, generics.ListAPIView[Message]):
    serializer_class = serializers.MessageSerializer
    queryset = Message.objects.none()

    def get_queryset(self) -> Any:
        return Message.objects.filter(user_id=self.kwargs["user_id"])

    @extend_schema(
        operation_id="messages_list",
        summary="A user's messages, oldest first",
        tags=["messages"],
        auth=[],
        responses={200: serializers.MessageSerializer(many=True), **_problems(400, 404, 503)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        with current("users", f"messages:{self.kwargs['user_id']}"):
            page = self.list(request, *args, **kwargs)
            if not page.data["results"] and not User.objects.filter(pk=self.kwargs["user_id"]).exists():
                raise Http404
        return page

    @extend_schema(
        operation_id="messages_send",
        summary="Send a message as oneself",
        tags=["messages"],
        request=serializers.NewMessageSerializer,
        responses={201: serializers.MessageSerializer, **_problems(400, 401, 403, 404, 411, 413, 415, 503)},
    )
    def post(self, request: Request, user_id: int) -> Response:
        given = serializers.NewMessageSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        try:
            with written(f"messages:{user_id}"):
                message = Message.objects.create(user_id=user_id, text=given.validated_data["text"])
        except IntegrityError as error:  # staff, writing for a user who does not exist
            raise Http404 from error
        return Response(serializers.MessageSerializer(message).data, status=201)


class Tokens(PublicView):
    throttle_classes = [rates.TokenThrottle]

    @extend_schema(
        operation_id="tokens_create",
        summary="Exchange a password for a token",
        tags=["users"],
        request=serializers.CredentialsSerializer,
        responses={201: serializers.TokenSerializer, **_problems(400, 401, 411, 413, 415, 429, 503)},
    )
    def post(self, request: Request) -> Response:
        given = serializers.CredentialsSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        user = auth.check_credentials(given.validated_data["username"], given.validated_data["password"])
        if user is None:
            raise Problem(
                401,
                "wrong-credentials",
                "The username or the password is wrong.",
                headers={"WWW-Authenticate": 'Bearer realm="ballast"'},
            )
        with write_transaction():
            raw, token = auth.issue_token(user)
        return Response(
            {"token": raw, "user_id": user.pk, "expires_at": token.expires_at}, status=201, headers=NO_STORE
        )
