"""Who gets which answer at every address: the table that `test_role_matrix.py` tries row by row.

A row: method, address, who may (`may`), the status for those, and what is sent. An address names things of
`tests/portal/scene.py`. Who may not is told what `refusal` says. A route or an operation without a row fails a test.
"""

from dataclasses import dataclass

# Everybody who may hold a browser: nobody, a program with the owner's token where a session belongs, and so on.
RIGHTS = ("power", "console", "rcon", "files", "settings", "members")
STAFF = ("moderator", "administrator")
OUTSIDE = ("anonymous", "token", "suspended")
ROLES = (*OUTSIDE, "stranger", "view", *RIGHTS, "owner", *STAFF)
# Everybody who may hold a token, and those who hold none that is good.
TOKENLESS = ("nothing", "session", "revoked", "suspended")
API_ROLES = (*TOKENLESS, *ROLES[3:])

VIEWERS = ("view", *RIGHTS, "owner", *STAFF)
MAY: dict[str, tuple[str, ...]] = {
    "everybody": ROLES,
    "visitor": OUTSIDE,
    "signing-in": OUTSIDE,
    "newcomer": OUTSIDE,
    "member": ROLES[3:],
    "view": VIEWERS,
    "owner": ("owner", *STAFF),
    "last": ("owner", *STAFF),  # of a deleted server
    "log": ("console", "owner", *STAFF),
    "layer": ("owner", *STAFF),
    "script": ("administrator",),
    "own": ("owner",),
    "staff": STAFF,
    "admin": STAFF,
    "administrator": ("administrator",),
    "nobody": (),
} | {right: (right, "owner", *STAFF) for right in RIGHTS}


@dataclass(frozen=True)
class Row:
    method: str
    address: str
    may: str
    status: int
    sent: str


def _rows(table: str) -> list[Row]:
    lines = [line.split(maxsplit=4) for line in table.strip().splitlines() if not line.startswith("#")]
    return [Row(m, a, may, int(status), sent[0] if sent else "") for m, a, may, status, *sent in lines]


def refusal(may: str, role: str) -> int:
    """What somebody is told who may not: pages lead to the sign-in, strangers find nothing, members are told why."""
    if may in ("signing-in", "newcomer"):
        return 403 if may == "signing-in" else 409
    if role in OUTSIDE or may == "visitor" or (may in ("admin", "administrator") and role not in STAFF):
        return 302
    if role == "stranger" and may not in ("staff", "script"):
        return 404
    return 404 if may in ("log", "layer", "own", "last") else 403


def api_refusal(may: str, role: str) -> int:
    return 401 if role in TOKENLESS else refusal(may, role)


PAGES = _rows("""
GET  /accounts/login/ visitor 200
POST /accounts/login/ visitor 200 login=owner&password=wrong
GET  /accounts/logout/ member 200
POST /accounts/logout/ everybody 302
GET  /accounts/password/ member 200
POST /accounts/password/ member 200 oldpassword=wrong&password1=x&password2=x
GET  /accounts/steam-id/ member 200
POST /accounts/steam-id/ member 302 steam_id=
GET  /accounts/tokens/ member 200
POST /accounts/tokens/ member 200 name=another
POST /accounts/tokens/{token}/revoke/ own 302
GET  /healthz everybody 200
GET  /favicon.ico everybody 302
GET  /api/v1/docs everybody 200
GET  /api/v1/openapi.json everybody 200
GET  /api/v1/nothing everybody 404
GET  /api/v1/ everybody 404
GET  /admin/login/ signing-in 302
GET  / member 200
GET  /deleted-servers/ member 200
POST /deleted-servers/ member 404 server=0
GET  /parts/servers/ member 200
GET  /new-server/ member 200
POST /new-server/ member 302 blueprint=practice&name=another&set-hostname=a&set-max_players=8&set-map=c1m1_hotel
GET  /new-server/name/?name=another member 200
GET  /servers/{server}/ view 200
GET  /servers/{server}/history/ view 200
GET  /servers/{server}/settings/ settings 200
POST /servers/{server}/settings/ settings 302 set-hostname=changed
POST /servers/{server}/settings/ask/ settings 302
GET  /servers/{server}/settings/files/ settings 200
POST /servers/{server}/settings/follow/ settings 302 follow=1
GET  /servers/{server}/changes/ files 200
GET  /servers/{server}/changes/file/?path={change} files 200
POST /servers/{server}/changes/look/ files 302
POST /servers/{server}/changes/revert/ files 302 path={change}
POST /servers/{server}/changes/keep/ files 302
GET  /servers/{server}/parts/changes/ files 200
GET  /servers/{server}/files/ files 200
GET  /servers/{server}/own-files/ files 200
GET  /servers/{server}/own-files/file/?path=server.cfg files 200
POST /servers/{server}/own-files/file/ files 302 path=motd.txt&text=changed
GET  /servers/{server}/parts/own-files/ files 200
GET  /servers/{server}/parts/truth/ settings 200
GET  /servers/{server}/people/ members 200
POST /servers/{server}/people/ members 302 username=stranger&rights=members
POST /servers/{server}/people/{victim}/remove/ members 302
GET  /servers/{server}/delete/ owner 200
POST /servers/{server}/delete/ owner 302 confirm={server}
POST /servers/{server}/command/ rcon 302 command=say+hi
GET  /servers/{server}/players/ rcon 200
POST /servers/{server}/players/1/kick/ rcon 302 player_name=a
GET  /servers/{server}/players/1/ban/?player_name=a rcon 200
POST /servers/{server}/players/1/ban/ rcon 302 player_name=a
POST /servers/{server}/say/ rcon 302 text=hi
POST /servers/{server}/level/ rcon 302 level=c1m1_hotel
GET  /servers/{server}/activity/ view 200
GET  /servers/{server}/activity/data/ view 200
POST /servers/{server}/later/ power 302 verb=stop&when=0
POST /servers/{server}/later/cancel/ power 302
GET  /servers/{server}/parts/players/ rcon 204
POST /servers/{server}/start/ power 302
POST /servers/{server}/stop/ power 302
POST /servers/{server}/restart/ power 302
GET  /servers/{server}/parts/card/ view 200
GET  /servers/{server}/parts/history/ view 200
GET  /servers/{server}/parts/people/ members 200
GET  /servers/{server}/parts/head/ view 200
GET  /servers/{server}/parts/side/ view 200
GET  /installations/ staff 200
POST /installations/{version}/promote/ staff 302
GET  /installations/{node}/practice/part/ staff 200
POST /installations/{node}/practice/install/ staff 302
POST /installations/{node}/practice/clean-up/ staff 302
POST /installations/{node}/practice/check/ staff 302
POST /installations/{node}/practice/auto-update/ staff 302 on=1
GET  /layers/ member 200
GET  /parts/layers/ member 200
GET  /new-layer/ member 200
GET  /new-layer/?kind=script script 200
POST /new-layer/?kind=files member 302 name=a&game=practice&visibility=private&path=a.cfg&text=x
POST /new-layer/?kind=archive member 422 name=a&game=practice&visibility=private&upload_key=x
GET  /layers/{layer}/ layer 200
GET  /layers/{layer}/part/ layer 200
POST /layers/{layer}/change/ layer 302 name=changed&visibility=public
POST /layers/{layer}/rebuild/ layer 302
POST /layers/{layer}/delete/ layer 302
POST /layers/{workshop}/items/ layer 302 ids=1
GET  /layers/{layer}/file/?path=a.cfg layer 200
POST /layers/{layer}/file/ layer 302 path=b.cfg&text=x
POST /layers/{script}/script/ script 302 script=true
POST /layers/{script}/rebuild/ script 302
POST /layers/{script}/change/ script 302 name=changed&visibility=public
POST /layers/{script}/delete/ script 302
POST /uploads/ member 400
GET  /uploads/{upload}/ own 200
PUT  /uploads/{upload}/?offset=0 own 409
POST /uploads/{upload}/ own 409
GET  /servers/{server}/layers/ files 200
GET  /servers/{server}/layers/part/ files 200
POST /servers/{server}/layers/add/ files 302 layer={public}
POST /servers/{server}/layers/slots/ files 302 label=a
POST /servers/{server}/layers/fill/ files 302 layer={public}&slot=a
POST /servers/{server}/layers/drop/ files 302 slot=a
POST /servers/{server}/layers/{stacked}/move/ files 302 to=0
POST /servers/{server}/layers/{stacked}/remove/ files 302
GET  /blueprints/practice/layers/ staff 200
GET  /blueprints/practice/layers/part/ staff 200
POST /blueprints/practice/layers/add/ staff 302 layer={public}
POST /blueprints/practice/layers/slots/ staff 302 label=a
POST /blueprints/practice/layers/fill/ staff 302 layer={public}&slot=a
POST /blueprints/practice/layers/drop/ staff 302 slot=a
POST /blueprints/practice/layers/{stacked}/move/ staff 302 to=0
POST /blueprints/practice/layers/{stacked}/remove/ staff 302
GET  /jobs/{job}/ view 200
GET  /jobs/{job}/part/ view 200
POST /jobs/{job}/cancel/ power 302
POST /jobs/{job}/retry/ power 302
GET  /jobs/{last_job}/ last 200
GET  /jobs/{last_job}/part/ last 200
GET  /streams/{last_log}/lines/ last 200
GET  /streams/{console}/lines/ log 200
GET  /streams/{console}.txt log 200
GET  /streams/{console}/search/?q=x log 200
GET  /invitations/{invitation}/ newcomer 200
POST /invitations/{invitation}/ newcomer 422 username=a
""")

_ADMIN = """
GET  /admin/ admin 200
GET  /admin/search/ admin 200
POST /admin/logout/ admin 302
GET  /admin/password_change/ admin 302
GET  /admin/password_change/done/ admin 200
GET  /admin/autocomplete/ admin 403
GET  /admin/jsi18n/ admin 200
GET  /admin/nothing/ admin 404
GET  /admin/servers/ admin 200
GET  /admin/r/{server_type}/{server_id}/ admin 404
POST /admin/portal/user/{victim}/change/ administrator 302 is_staff=on
POST /admin/portal/invitation/add/ admin 200 confirmed=1&days=1&note=
POST /admin/servers/node/{node_id}/change/ administrator 302 name=a&address=127.0.0.1&query_host=127.0.0.1
POST /admin/servers/blueprint/add/ admin 302 name=a&slug=a&game=practice&settings={{}}&position=0
POST /admin/servers/blueprint/{blueprint}/delete/ admin 302 post=yes
"""
# What is in the admin: its actions on one row, and whether rows are added and deleted there.
MODELS: dict[str, tuple[str, ...]] = {
    "portal/user/{victim}": ("suspend", "reinstate", "reset_password", "revoke_tokens", "set_disk_limit"),
    "portal/invitation/{invitation_id}": ("revoke",),
    "servers/server/{server_id}": ("stop", "restart", "set_limits", "transfer", "restore", "delete_for_good"),
    "servers/node/{node_id}": (),
    "servers/installation/{version}": ("update_game",),
    "servers/blueprint/{blueprint}": (),
    "servers/hostreport/{report}": (),
    "servers/auditevent/{audit}": (),
    "jobs/job/{job}": ("cancel", "retry"),
    "jobs/stream/{console}": (),
}
ADDED, DELETED = ("portal/invitation", "servers/blueprint"), ("servers/blueprint",)
SHOWN_ONCE = ("reset_password",)


def _of_model(row: str, actions: tuple[str, ...]) -> str:
    model = row.rpartition("/")[0]
    lines = [
        f"GET /admin/{model}/ admin 200",
        f"GET /admin/{model}/add/ {'admin 200' if model in ADDED else 'nobody 403'}",
        f"GET /admin/{row}/change/ admin 200",
        f"GET /admin/{row}/history/ admin 200",
        f"GET /admin/{row}/delete/ {'admin 200' if model in DELETED else 'nobody 403'}",
        f"GET /admin/{row}/ admin 302",
    ]
    for action in actions:
        status, sent = 200 if action in SHOWN_ONCE else 302, "confirmed=1&to=stranger&reason="
        lines += [f"GET /admin/{row}/{action}/ admin 200", f"POST /admin/{row}/{action}/ admin {status} {sent}"]
        chosen = f"action={action}&_selected_action={row.rpartition('/')[2]}&{sent}"
        lines.append(f"POST /admin/{model}/ admin {status} {chosen}")
    return "\n".join(lines)


ADMIN = _rows(_ADMIN + "\n".join(_of_model(row, actions) for row, actions in MODELS.items()))

# The operations of the HTTP API below /api/v1, by their method and path.
API = _rows("""
GET    /me member 200
GET    /games member 200
GET    /blueprints member 200
GET    /installations staff 200
GET    /servers member 200
POST   /servers member 201 {{"name":"another","blueprint":"practice"}}
GET    /servers/{server} view 200
PATCH  /servers/{server} settings 200 {{"settings":{{"hostname":"changed"}}}}
DELETE /servers/{server} owner 202
POST   /servers/{server}/start power 202
POST   /servers/{server}/stop power 202
POST   /servers/{server}/restart power 202
POST   /servers/{server}/clone owner 202 {{"name":"another"}}
POST   /servers/{server}/command rcon 409 {{"command":"say hi"}}
GET    /servers/{server}/jobs view 200
GET    /servers/{server}/members members 200
POST   /servers/{server}/members members 200 {{"username":"stranger","rights":["members"]}}
DELETE /servers/{server}/members/{victim_name} members 204
GET    /servers/{server}/players rcon 409
POST   /servers/{server}/players/1/kick rcon 409 {{"name":"a"}}
POST   /servers/{server}/players/1/ban rcon 409 {{"name":"a"}}
POST   /servers/{server}/say rcon 409 {{"text":"a"}}
POST   /servers/{server}/level rcon 409 {{"map":"a"}}
POST   /servers/{server}/later power 409 {{"verb":"stop"}}
DELETE /servers/{server}/later power 204
GET    /servers/{server}/activity view 200
GET    /layers member 200
GET    /layers/{layer} layer 200
POST   /layers/{layer}/build layer 202
GET    /servers/{server}/layers files 200
PUT    /servers/{server}/layers files 200 {{"layers":["{public}"]}}
GET    /servers/{server}/own-files files 200
GET    /servers/{server}/own-files/server.cfg files 200
PUT    /servers/{server}/own-files/motd.txt files 200 {{"text":"changed"}}
DELETE /servers/{server}/own-files/server.cfg files 204
GET    /servers/{server}/changes files 200
GET    /servers/{server}/changes/diff?path={change} files 200
POST   /servers/{server}/changes/look files 202
POST   /servers/{server}/changes/revert files 202 {{"paths":["{change}"]}}
POST   /servers/{server}/changes/keep files 204 {{}}
GET    /jobs/{job} view 200
POST   /jobs/{job}/cancel power 409
POST   /jobs/{job}/retry power 202
GET    /jobs/{last_job} last 200
GET    /streams/{last_log}/lines last 200
GET    /streams/{console}/lines log 200
""")
