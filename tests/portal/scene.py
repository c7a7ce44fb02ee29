"""Everything that a page or an operation may be asked about, with marks that show whose eyes it is for."""

from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.test import Client
from django.utils import timezone

from jobs import streams
from jobs.models import Job, Stream
from portal import services, tokens
from portal.models import ApiToken, Invitation, User
from servers.models import (
    AuditEvent,
    Blueprint,
    FileChange,
    HostReport,
    Installation,
    Layer,
    Membership,
    Node,
    Server,
    ServerFile,
    ServerPort,
    StackEntry,
    Upload,
)
from servers.provenance.below import CONFIG
from tests.conftest import PASSWORD
from tests.portal.matrix import RIGHTS, ROLES, STAFF, VIEWERS

# What shows where, and to whom it may: nobody else may find it in an answer.
MARKS: dict[str, tuple[str, ...]] = {
    "m-server": VIEWERS,
    "m-job": VIEWERS,
    "m-last-job": ("owner", *STAFF),
    "m-settings": ("settings", "owner", *STAFF),
    "m-password": ("settings", "owner", *STAFF),
    "m-hand": ("files", "owner", *STAFF),
    "m-change": ("files", "owner", *STAFF),
    "m-layer": ("files", "owner", *STAFF),
    "m-console": ("console", "owner", *STAFF),
    "m-victim": ("members", "owner", *STAFF),
    "m-note": STAFF,
    "m-token": ("owner",),
    "m-upload": ("owner",),
    "m-rcon-secret": (),
}


@dataclass
class Scene:
    """`users` by role, and in `named` what addresses are made from."""

    users: dict[str, User] = field(default_factory=dict)
    named: dict[str, object] = field(default_factory=dict)
    sessions: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    handler: Any = field(default_factory=lambda: Client().handler)  # of all clients: making one loads the middleware

    def client(self, **headers: str) -> Client:
        made = Client(headers=headers)
        made.handler = self.handler
        return made

    def browser(self, role: str) -> Client:
        """A new one, with the session of that role."""
        client = self.client(**({"Authorization": f"Bearer {self.secrets['owner']}"} if role == "token" else {}))
        if role in self.sessions:
            client.cookies[settings.SESSION_COOKIE_NAME] = self.sessions[role]
        return client

    def program(self, role: str) -> Client:
        """One that shows the token of that role, or with “session” a cookie instead."""
        if role == "session":
            return self.browser("owner")
        return self.client(**({"Authorization": f"Bearer {self.secrets[role]}"} if role in self.secrets else {}))


def build() -> Scene:
    """All of it, in the transaction of a test."""
    scene = Scene()
    for role in (*ROLES[2:], "m-victim"):
        scene.users[role] = User.objects.create_user(
            role, password=PASSWORD, is_staff=role in STAFF, is_superuser=role == "administrator"
        )
    owner, admin = scene.users["owner"], scene.users["administrator"]
    server = _server(owner)
    _members(scene, server)
    scene.named |= _things(scene, server) | _layers(owner, admin, server)
    _credentials(scene)
    User.objects.filter(username="suspended").update(suspended_at=timezone.now())
    return scene


def _server(owner: User) -> Server:
    node = Node.objects.get_or_create(slug=settings.NODE, defaults={"name": "Local"})[0]
    blueprint = Blueprint.objects.create(slug="practice", name="Practice", game="practice")
    server = Server.objects.create(
        name="m-server", owner=owner, node=node, blueprint=blueprint, game="practice", console=Stream.objects.create(),
        settings={"tags": "m-settings", "password": "m-password"}, secrets={"rcon": "m-rcon-secret"},
    )  # fmt: skip
    ServerPort.objects.create(server=server, node=node, name="game", number=27015)
    streams.append(server.console_id, ["m-console"])
    ServerFile.objects.create(server=server, path="server.cfg", text="// m-hand\nsv_tags m-hand")
    ServerFile.objects.create(server=server, path="cfg/m-hand.cfg")
    FileChange.objects.create(server=server, path="m-change", kind=FileChange.Kind.ADDED)
    diff = "@@ -1,1 +1,1 @@\n-sv_tags m-settings\n+x"
    FileChange.objects.create(server=server, path="a", kind=FileChange.Kind.CHANGED, below=CONFIG, diff=diff)
    return server


def _members(scene: Scene, server: Server) -> None:
    for role in ("view", *RIGHTS):
        Membership.objects.create(server=server, user=scene.users[role], rights=sorted({"view", role}))
    Membership.objects.create(server=server, user=scene.users["m-victim"], rights=["view"])


def _things(scene: Scene, server: Server) -> dict[str, object]:
    owner, moderator = scene.users["owner"], scene.users["moderator"]
    deleted = Server.objects.create(
        name="deleted", owner=owner, node=server.node, blueprint=server.blueprint, game="practice",
        console=Stream.objects.create(), deleted_at=timezone.now(),
    )  # fmt: skip
    job, last_job = (
        Job.objects.create(
            kind=kind, subject=one.topic, title=title, node=server.node.slug, state=Job.State.FAILED,
            args={"server": one.pk}, stream=Stream.objects.create(), finished_at=timezone.now(),
        )
        for kind, one, title in (("servers.stop", server, "m-job"), ("servers.delete", deleted, "m-last-job"))
    )  # fmt: skip
    upload = Upload.objects.create(
        key="12345678-1234-4234-8234-123456789abc", owner=owner, filename="m-upload.zip", size_bytes=1, received=1,
        sha256="0" * 64,
    )  # fmt: skip
    _, secret = services.create_invitation(by=moderator, note="m-note", days=1)
    version = Installation.objects.create(node=server.node, game="practice", version="1", state="ready")
    return {
        "server": server.name, "server_id": server.pk, "console": server.console_id, "job": job.pk,
        "last_job": last_job.pk, "last_log": last_job.stream_id,
        "victim": scene.users["m-victim"].pk, "victim_name": "m-victim", "node": server.node.slug,
        "node_id": server.node.pk, "version": version.pk, "change": "m-change", "upload": upload.pk,
        "invitation": secret, "invitation_id": Invitation.objects.get().pk, "blueprint": server.blueprint_id,
        "report": HostReport.objects.create(node=server.node, at=timezone.now()).pk,
        "audit": AuditEvent.objects.create(actor=owner, server=server, action="start").pk,
        "server_type": ContentType.objects.get_for_model(Server).pk,
    }  # fmt: skip


def _layers(owner: User, admin: User, server: Server) -> dict[str, object]:
    def made(slug: str, kind: str, by: User, visibility: str = "private", **source: object) -> Layer:
        return Layer.objects.create(
            slug=slug, name=slug, game="practice", kind=kind, owner=by, visibility=visibility, source=source
        )

    stacked = made("m-layer-stacked", "files", owner)
    StackEntry.objects.create(layer=stacked, server=server, position=0)
    return {
        "layer": made("m-layer", "files", owner, files={"a.cfg": "m-layer"}).slug,
        "workshop": made("m-layer-workshop", "workshop", owner, ids=["1"]).slug,
        "script": made("script", "script", admin, "public", script="true", network=False).slug,
        "public": made("public", "files", admin, "public").slug,
        "stacked": stacked.pk,
    }


def _credentials(scene: Scene) -> None:
    for role, user in scene.users.items():
        client = Client()
        client.force_login(user)
        scene.sessions[role] = client.cookies[settings.SESSION_COOKIE_NAME].value
        scene.secrets[role] = tokens.create_token(user=user, name=f"of-{role}")[1]
    revoked, scene.secrets["revoked"] = tokens.create_token(user=scene.users["owner"], name="m-token")
    tokens.revoke_token(token=revoked)
    scene.named["token"] = tokens.create_token(user=scene.users["owner"], name="m-token")[0].pk
    assert ApiToken.objects.filter(revoked_at=None).exists()
