#!/bin/bash
# Upgrade to this checkout: back up, build, migrate, restart, and go back if the doctor is not content. Games run on.
set -Eeuo pipefail  # -E: a step is a function, and its failure must reach the trap

# shellcheck source=deploy/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
[[ ${1:-} == --dry-run ]] && DRY_RUN=yes
require_root
[[ -L $CURRENT || $DRY_RUN ]] || fail "left4me is not installed here. Run deploy/install.sh."

OLD=$(readlink -f "$CURRENT")
NEW=$PREFIX/releases/$(release_id)
BACKUP=$BACKUPS/$(date +%Y%m%d-%H%M%S)-$(basename "$OLD").dump

[[ $OLD != "$NEW" ]] || { say "this is release $(basename "$NEW"), which runs already" && exit; }
build_release "$(basename "$NEW")"
command -v nft >/dev/null || {
    say "package from Debian: nftables"
    DEBIAN_FRONTEND=noninteractive run apt-get install -y -qq --no-install-recommends nftables >/dev/null
}

not_begun() {
    [[ $BASH_SUBSHELL -eq 0 ]] || exit 1
    trap - ERR
    rm -f "$BACKUP"
    systemctl start "${PORTAL_UNITS[@]}"
    fail "The upgrade was not begun: see above. Nothing was changed."
}
[[ $DRY_RUN ]] || trap not_begun ERR

say "stopping web, worker and agent; requests wait, games run on"
run systemctl stop "${PORTAL_UNITS[@]}"
say "backing up the database to $BACKUP"
run install -d -m 700 "$BACKUPS"
[[ $DRY_RUN ]] || (umask 077 && runuser -u left4me -- pg_dump -Fc "$(setting DATABASE_URL)" >"$BACKUP")

# Runs as a trap: a bare `return` in what it calls would return the failure that brought it here (bash(1), return).
go_back() {
    [[ $BASH_SUBSHELL -eq 0 ]] || exit 1
    trap - ERR
    say "going back to release $(basename "$OLD") and the backup"
    systemctl stop "${PORTAL_UNITS[@]}"
    switch_to "$OLD"
    install_units "$OLD"
    runuser -u left4me -- pg_restore --clean --if-exists --no-owner --single-transaction \
        -d "$(setting DATABASE_URL)" <"$BACKUP"
    restart_portal
    fail "The upgrade failed and was undone: see above. The release that failed is kept in $NEW."
}
[[ $DRY_RUN ]] || trap go_back ERR

switch_to "$NEW"
install_units "$NEW"
migrate
restart_portal
doctor
trap - ERR

say "done; older releases and backups than the last three are removed"
for kind in "$PREFIX/releases" "$BACKUPS"; do
    [[ -d $kind ]] || continue
    find "$kind" -mindepth 1 -maxdepth 1 -printf '%T@ %p\n' | sort -rn | tail -n +4 | cut -d' ' -f2- |
        while read -r old; do
            [[ $old == "$NEW" || $old == "$OLD" ]] || run rm -rf -- "$old"
        done
done
