#!/bin/bash
# Take left4me off this machine. Data stays unless --purge is given: servers' files, the database, settings, backups.
set -euo pipefail

# shellcheck source=deploy/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
PURGE=''
for option in "$@"; do
    case $option in
    --dry-run) DRY_RUN=yes ;;
    --purge) PURGE=yes ;;
    *) fail "usage: uninstall.sh [--purge] [--dry-run]" ;;
    esac
done
require_root

say "stopping the portal, then every game and script"
run systemctl disable --now --quiet left4me.target left4me-doctor.timer "${PORTAL_UNITS[@]}" \
    left4me-measure.{socket,service} || true
run systemctl stop 'left4me-server@*.service' 'left4me-overlay@*.service' 'left4me-build*@*.service' left4me-games.slice || true
say "removing units, rules and programs"
run rm -rf "$UNITS"/left4me* /etc/sysusers.d/left4me.conf /etc/tmpfiles.d/left4me.conf \
    "$POLKIT_RULE" /etc/systemd/journald@left4me.conf /usr/local/sbin/left4me
run systemctl daemon-reload
run nft delete table inet left4me 2>/dev/null || true
if grep -q left4me /etc/caddy/Caddyfile 2>/dev/null; then
    say "Caddy no longer serves the portal"
    run systemctl disable --now --quiet caddy
    run rm -f /etc/caddy/Caddyfile
fi
DATABASE=$(setting DATABASE_URL || true)
run rm -rf "$PREFIX"
if [[ ! $PURGE ]]; then
    say "kept: $STATE, $CONFIG, $BACKUPS, the database and the users. uninstall.sh --purge removes them"
    exit
fi
say "removing all data"
if [[ $DATABASE == *host=/run/postgresql* ]]; then
    port=${DATABASE##*port=}
    run runuser -u postgres -- dropdb -p "$port" --if-exists --force left4me
    run runuser -u postgres -- dropuser -p "$port" --if-exists left4me
fi
run rm -rf "$STATE" "$CONFIG" "$BACKUPS" /var/log/journal/*.left4me
for user in left4me left4me-game left4me-build left4me-measure; do
    run userdel "$user" 2>/dev/null || true
done
for group in left4me-journal left4me-proxy; do
    run groupdel "$group" 2>/dev/null || true
done
