"""No benchmark: it has no figures."""

NAME = "settings"
