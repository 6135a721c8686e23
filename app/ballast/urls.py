"""The web service."""

from django.urls import path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from ballast import views

API = "api/v1/"

urlpatterns = [
    path("", views.home),
    path("docs", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
    path("health/live", views.live),
    path("health/ready", views.ready),
    path("metrics", views.metrics_page),
    path(f"{API}schema", SpectacularAPIView.as_view(), name="schema"),
    path(f"{API}ping", views.Ping.as_view()),
    path(f"{API}load-queries", views.LoadQueries.as_view()),
    path(f"{API}load-queries/<uuid:query_id>", views.LoadQueryDetail.as_view()),
    path(f"{API}users", views.Users.as_view()),
    path(f"{API}users/<int:user_id>", views.UserDetail.as_view()),
    path(f"{API}users/<int:user_id>/messages", views.Messages.as_view()),
    path(f"{API}tokens", views.Tokens.as_view()),
]

handler400 = "ballast.problems.bad_request"
handler404 = "ballast.problems.not_found"
handler500 = "ballast.problems.server_error"
