from django.apps import AppConfig


class BallastConfig(AppConfig):
    name = "ballast"

    def ready(self) -> None:
        from ballast import schema  # noqa: F401 - registers the token scheme with drf-spectacular
