"""The wait service."""

from django.urls import path

from ballast import waiting

urlpatterns = [
    path("health/live", waiting.live),
    path("health/ready", waiting.ready),
    path("metrics", waiting.metrics_page),
    path("api/v1/long-query", waiting.long_query),
    path("api/v1/load-query/<str:n>", waiting.load_query),
]

handler400 = "ballast.problems.bad_request"
handler404 = "ballast.problems.not_found"
handler500 = "ballast.problems.server_error"
