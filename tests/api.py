"""A client of the HTTP API that shows a user's token."""

from typing import Any

from django.http import HttpResponse
from django.test import Client

from portal.models import User
from portal.tokens import create_token


class Api:
    """Calls below `/api/v1`; every answer of 400 or more must be a problem."""

    def __init__(self, user: User | None = None) -> None:
        secret = create_token(user=user, name="tests")[1] if user else ""
        self.client = Client(headers={"Authorization": f"Bearer {secret}"} if secret else {})

    def __call__(self, method: str, path: str, body: Any = None) -> HttpResponse:
        sent = {"data": body, "content_type": "application/json"} if body is not None else {}
        answer = getattr(self.client, method)(f"/api/v1{path}", **sent)
        if answer.status_code >= 400:
            assert answer.headers["Content-Type"] == "application/problem+json"
            problem = answer.json()
            assert problem["status"] == answer.status_code
            assert problem["title"]
            assert problem["detail"].endswith((".", "…`.")), problem
        return answer  # type: ignore[no-any-return]
