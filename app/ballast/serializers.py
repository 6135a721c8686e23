"""What comes in and goes out. Types are strict: a number in quotes is a mistake, not a number."""

from typing import Any

from django.conf import settings
from rest_framework import serializers

from ballast.auth import password_problems
from ballast.models import LoadQuery, Message, User


class StrictCharField(serializers.CharField):
    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            raise serializers.ValidationError("A string is needed.")
        return super().to_internal_value(data)


class StrictIntegerField(serializers.IntegerField):
    def to_internal_value(self, data: Any) -> int:
        if not isinstance(data, int) or isinstance(data, bool):
            raise serializers.ValidationError("A whole number is needed.")
        return super().to_internal_value(data)


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses fields that it does not know: a misspelt name must not be silently ignored."""

    SCHEMA: dict[str, Any] = {}  # what OpenAPI is to say beside the fields

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict) and (unknown := set(data) - set(self.fields)):
            raise serializers.ValidationError({name: ["There is no such field."] for name in sorted(unknown)})
        return super().to_internal_value(data)


class PasswordField(StrictCharField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            min_length=8,
            max_length=128,
            trim_whitespace=False,
            write_only=True,
            help_text="At least three different characters.",
            **kwargs,
        )

    def run_validation(self, data: Any = serializers.empty) -> Any:
        value = super().run_validation(data)
        if isinstance(value, str) and (problems := password_problems(value)):
            raise serializers.ValidationError(problems)
        return value


class SignupSerializer(StrictSerializer):
    username = serializers.RegexField(
        r"^[a-z0-9][a-z0-9_.-]*\Z",
        min_length=3,
        max_length=30,
        trim_whitespace=False,
        help_text="Lower-case letters, digits, and _ . - after the first character.",
    )
    password = PasswordField()
    name = StrictCharField(max_length=100, allow_blank=True, required=False, help_text="As others see it.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(self.initial_data.get("username"), str):
            raise serializers.ValidationError({"username": ["A string is needed."]})
        return attrs


class UserChangeSerializer(StrictSerializer):
    SCHEMA = {"minProperties": 1}

    name = StrictCharField(max_length=100, allow_blank=True, required=False)
    password = PasswordField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not attrs:
            raise serializers.ValidationError("Nothing to change: give a name or a password.")
        return attrs


class UserSerializer(serializers.ModelSerializer[User]):
    class Meta:
        model = User
        fields = ["id", "username", "name", "created_at"]


class CredentialsSerializer(StrictSerializer):
    username = StrictCharField(min_length=1, max_length=30, trim_whitespace=False)
    password = StrictCharField(min_length=1, max_length=128, trim_whitespace=False, write_only=True)


class TokenSerializer(serializers.Serializer[Any]):
    token = serializers.CharField(help_text="Send it as `Authorization: Bearer <token>`. It is shown once.")
    user_id = serializers.IntegerField()
    expires_at = serializers.DateTimeField()


class NewMessageSerializer(StrictSerializer):
    text = StrictCharField(min_length=1, max_length=2000, help_text="Not only white space.")


class MessageSerializer(serializers.ModelSerializer[Message]):
    class Meta:
        model = Message
        fields = ["id", "user_id", "text", "created_at"]


class NewLoadQuerySerializer(StrictSerializer):
    n = StrictIntegerField(min_value=0, max_value=settings.LOAD_QUERY_MAX_N)


class LoadQuerySerializer(serializers.ModelSerializer[LoadQuery]):
    class Meta:
        model = LoadQuery
        fields = ["id", "n", "state", "result", "error", "created_at", "started_at", "finished_at"]


class PongSerializer(serializers.Serializer[Any]):
    pong = serializers.BooleanField()


class ProblemErrorSerializer(serializers.Serializer[Any]):
    field = serializers.CharField()
    detail = serializers.CharField()


class ProblemSerializer(serializers.Serializer[Any]):
    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    request_id = serializers.CharField()
    errors = ProblemErrorSerializer(many=True, required=False)  # type: ignore[assignment]
