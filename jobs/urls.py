"""The map of the pages about jobs and logs."""

from django.urls import path

from jobs import downloads, views

app_name = "jobs"
urlpatterns = [
    path("jobs/<int:pk>/", views.job_page, name="job"),
    path("jobs/<int:pk>/part/", views.job_part, name="job_part"),
    path("jobs/<int:pk>/cancel/", views.cancel, name="cancel"),
    path("jobs/<int:pk>/retry/", views.retry, name="retry"),
    path("streams/<int:pk>/lines/", views.lines, name="lines"),
    path("streams/<int:pk>.txt", downloads.download, name="download"),
    path("streams/<int:pk>/search/", views.search, name="search"),
]
