"""The 'web' service: every endpoint that does work, on threads (gunicorn gthread)."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ballast.settings")
os.environ.setdefault("BALLAST_SERVICE", "web")

application = get_wsgi_application()

from ballast.requests import WebRequest  # noqa: E402 - Django has its settings now

application.request_class = WebRequest
