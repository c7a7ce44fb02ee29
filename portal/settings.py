"""All settings, read once from the environment; docs/operations.md lists the variables."""

import os
import secrets
from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict

from portal.postgres import Postgres
from portal.var_folder import why_unusable

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = Path(os.environ.get("LEFT4ME_VAR", BASE_DIR / "var")).absolute()
if any(char == "\n" or "\ud800" <= char <= "\udfff" for char in str(VAR_DIR)):  # it is part of addresses and of files
    raise SystemExit(f"The path {os.fsencode(VAR_DIR)!r} is not one of UTF-8 on one line. Rename that folder.")
# Installations, layers and each server's own files (docs/architecture.md, "Paths").
STATE_DIR = Path(os.environ.get("LEFT4ME_STATE", VAR_DIR / "lib")).absolute()
GAMES_DIRS = [BASE_DIR / "servers" / "games", Path(os.environ.get("LEFT4ME_GAMES_DIR", "/etc/left4me/games.d"))]


def _flag(name: str, default: bool = False) -> bool:
    return os.environ.get(name, str(int(default))).lower() in {"1", "true", "yes", "on"}


def _words(name: str, default: str = "") -> list[str]:
    return os.environ.get(name, default).replace(",", " ").split()


def _secret_key() -> str:
    """The signing key: from the environment, or for a local checkout one made at first use and kept in var/.

    Queue payloads are signed pickles, so whoever has this key can run code in the worker.
    """
    if key := os.environ.get("LEFT4ME_SECRET_KEY"):
        return key
    path = VAR_DIR / "secret_key"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text()
    with os.fdopen(descriptor, "w") as file:
        file.write(key := secrets.token_urlsafe(48))
    return key


try:
    SECRET_KEY = _secret_key()
except OSError as error:
    raise SystemExit(why_unusable(VAR_DIR, error)) from None
DEBUG = _flag("LEFT4ME_DEBUG")
ALLOWED_HOSTS = _words("LEFT4ME_HOSTS", "localhost 127.0.0.1 [::1]")
CSRF_TRUSTED_ORIGINS = _words("LEFT4ME_ORIGINS")
# The node this process works for: its slug is the name of its job queue.
NODE = os.environ.get("LEFT4ME_NODE", "local")
RUNTIME = os.environ.get("LEFT4ME_RUNTIME", "local")  # local | systemd
# The address that games of this node listen on and are asked at. Locally nobody else is to come, unless told otherwise.
GAMES_BIND = os.environ.get("LEFT4ME_GAMES_BIND", "0.0.0.0" if RUNTIME == "systemd" else "127.0.0.1")  # noqa: S104
# How the local runtime merges a server's layers: overlay, copy, or auto (overlay where the machine allows it).
LOCAL_MOUNT = os.environ.get("LEFT4ME_LOCAL_MOUNT", "auto")
# Two lines, the name and password of a Steam account, for games that Steam does not give to anybody.
STEAM_LOGIN_FILE = Path(os.environ.get("LEFT4ME_STEAM_LOGIN", "/etc/left4me/steam-login"))
HTTPS = _flag("LEFT4ME_HTTPS")
# How many servers a member may have, and how many deleted ones are kept for them meanwhile; staff are exempt.
SERVERS_PER_USER = int(os.environ.get("LEFT4ME_SERVERS_PER_USER", "10"))
DELETED_PER_USER = int(os.environ.get("LEFT4ME_DELETED_PER_USER", "10"))
# Bytes: one uploaded file, and all that a member has on disk (the second by its former name, when only layers counted).
UPLOAD_MAX = int(os.environ.get("LEFT4ME_UPLOAD_MAX", str(2 << 30)))
DISK_QUOTA = int(os.environ.get("LEFT4ME_DISK_QUOTA") or os.environ.get("LEFT4ME_LAYER_QUOTA") or 40 << 30)
# A piece of an upload: what is larger is kept in a scratch file, on a disk that may be full.
FILE_UPLOAD_MAX_MEMORY_SIZE = 9 << 20
# Seconds from one measurement of what a running server has written to the next.
DISK_SECONDS = float(os.environ.get("LEFT4ME_DISK_SECONDS", "30"))
# Bytes of downloads from the Workshop that no layer has any more; they spare downloading them again.
WORKSHOP_KEPT = int(os.environ.get("LEFT4ME_WORKSHOP_KEPT", str(10 << 30)))
# What a script that makes a layer may write, in bytes, and how long it may take.
SCRIPT_DISK = int(os.environ.get("LEFT4ME_SCRIPT_DISK", str(8 << 30)))
SCRIPT_SECONDS = int(os.environ.get("LEFT4ME_SCRIPT_SECONDS", "3600"))
STEAM_API = os.environ.get("LEFT4ME_STEAM_API", "https://api.steampowered.com")

INSTALLED_APPS = [
    "daphne",
    "unfold.apps.BasicAppConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "allauth",
    "allauth.account",
    "channels",
    "ninja",  # serves the API's documentation without a content network
    "django_q",
    "portal",
    "servers",
    "jobs",
    "portal.apps.AdminConfig",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "portal.middleware.ContentSecurityPolicy",
    "portal.middleware.RefuseNul",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "portal.turns.NoteMember",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "portal.outages.FullDisk",
]
ROOT_URLCONF = "portal.urls"
ASGI_APPLICATION = "portal.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "portal" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]


# A dead network path must not leave anybody waiting for ever, nor a query that was sent into it (the last, in ms).
KEEPALIVE = {
    "connect_timeout": 5,
    "keepalives_idle": 20,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}


def pool_of(size: int) -> dict[str, int]:
    """Connections that requests share. A request waits 5 s for one. Trying again to connect after an outage must not
    become ever rarer, so the pool gives up as soon and begins again with the next request."""
    return {"min_size": 1, "max_size": size, "timeout": 5, "reconnect_timeout": 5}


def _database() -> dict[str, Any]:
    parts = conninfo_to_dict(os.environ.get("DATABASE_URL") or Postgres(VAR_DIR / "postgres").url)
    named = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    database: dict[str, Any] = {name: str(parts.pop(key, "") or "") for key, name in named.items()}
    # A process of the web server sets LEFT4ME_DB_POOL: many short requests share few connections. Workers and
    # agents keep one connection each instead, since their advisory locks belong to a session.
    pool = int(os.environ.get("LEFT4ME_DB_POOL", "0"))
    options = KEEPALIVE | parts | ({"pool": pool_of(pool)} if pool else {})
    persistent = {} if pool else {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True}
    return database | persistent | {"ENGINE": "django.db.backends.postgresql", "OPTIONS": options}


DATABASES = {"default": _database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# Rate limits must hold over several web processes; the queue's own statistics need no storage at all.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "portal_cache",
        # Beyond so many a third goes, expired or not: with Django's 300, whoever tries a few hundred
        # names would wipe out the limits that count their tries.
        "OPTIONS": {"MAX_ENTRIES": 20_000},
    },
    "process": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "OPTIONS": {"MAX_ENTRIES": 10_000},  # the API counts a user's requests here
    },
}

# django-q2 reads this at import. It wants `retry` above `timeout`, but neither comes to bear: a job ends by its own
# deadline long before (jobs/lease.py), and jobs/broker.py decides itself how long a taken row stays hidden.
Q_CLUSTER: dict[str, Any] = {
    "name": "left4me",
    "cluster_name": NODE,
    "broker_class": "jobs.broker.Broker",
    "orm": "default",
    "cache": "process",
    "workers": max(2, int(os.environ.get("LEFT4ME_WORKERS", "4"))),  # one is for starts and stops alone
    "queue_limit": 4,
    "bulk": 1,
    "timeout": 6 * 3600,
    "retry": 7 * 3600,
    "ack_failures": True,
    "max_attempts": 1,
    "save_limit": -1,
    "scheduler": False,
    "catch_up": False,
    "daemonize_workers": False,
    "ALT_CLUSTERS": {},
}
# The engine in jobs/ knows no servers: this names the policy it asks (docs/architecture.md, "Access").
JOBS_POLICY = "servers.access.FeedPolicy"
JOBS_IDENTITY = "portal.identity.holders"
# Open sockets of one user, from one address (a LAN party has one), and of one stream, in each web process.
SOCKET_LIMITS = {
    name: int(os.environ.get(f"LEFT4ME_SOCKETS_PER_{name.upper()}", default))
    for name, default in {"user": "100", "address": "1000", "stream": "20000"}.items()
}

AUTH_USER_MODEL = "portal.User"
AUTHENTICATION_BACKENDS = ["portal.auth.PortalBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
PASSWORD_HASHERS = [
    "portal.hashing.OneAtATime",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_ADAPTER = "portal.auth.AccountAdapter"
ACCOUNT_FORMS = {"login": "portal.forms.LoginForm", "change_password": "portal.forms.ChangePasswordForm"}
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_RATE_LIMITS = {"login": None, "login_failed": None}  # portal/auth.py counts instead
ACCOUNT_USERNAME_MIN_LENGTH = 2

DATA_UPLOAD_MAX_MEMORY_SIZE = 4 << 20  # as much of a form as portal/admission.py lets in

STATIC_URL = "/static/"
# The admin's theme in the portal's accent colour (portal/static/css/tokens.css).
UNFOLD = {
    "SITE_TITLE": "left4me",
    "SITE_HEADER": "left4me",
    "SITE_URL": "/",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": f"{STATIC_URL}icons/favicon.svg"}],
    "COLORS": {
        "primary": {
            "50": "#f1f6fe", "100": "#e4edfd", "200": "#c8dbfb", "300": "#a5c6ff", "400": "#84b0ff", "500": "#4a86ea",
            "600": "#1b5ecf", "700": "#164da9", "800": "#163f85", "900": "#1c2a44", "950": "#0b1526",
        }
    },
}  # fmt: skip

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
if HTTPS:  # a cookie of such a name cannot come from plain HTTP or from another name: no game's page can plant one
    SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "__Host-sessionid", "__Host-csrftoken"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_HSTS_SECONDS = 30 * 86400 if HTTPS else 0
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_ROOT = Path(os.environ.get("LEFT4ME_STATIC", VAR_DIR / "static"))
WHITENOISE_USE_FINDERS = True

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(levelname)s %(name)s: %(message)s"}},
    "filters": {
        "without_secrets": {"()": "portal.log_secrets.WithoutSecrets"},
        "one_line": {"()": "portal.log_refusals.OneLine"},
    },
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": "plain", "filters": ["one_line", "without_secrets"]},
    },
    "root": {"handlers": ["stderr"], "level": os.environ.get("LEFT4ME_LOG_LEVEL", "INFO")},
    "loggers": {
        "django-q": {"level": "WARNING"},
        "daphne.server": {"level": "WARNING"},
        # Refusals are for the proxy's log. Django would log each with its path, which for an invitation is its secret.
        "django.request": {"level": "ERROR"},
        "django.security.csrf": {"level": "ERROR"},
    },
}
