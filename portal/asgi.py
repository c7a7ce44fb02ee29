"""The ASGI application: pages go to Django, sockets to `jobs/consumers.py` once it is known whose they are."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
pages = get_asgi_application()  # sets Django up, so before anything that imports models

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402

from jobs.consumers import urlpatterns  # noqa: E402
from portal.identity import Credentials  # noqa: E402
from portal.turns import InTurn  # noqa: E402

application = ProtocolTypeRouter({"http": InTurn(pages), "websocket": Credentials(URLRouter(urlpatterns))})
