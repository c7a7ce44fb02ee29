# Shared by install.sh, upgrade.sh and uninstall.sh: names, and steps that say themselves.
# shellcheck shell=bash
# shellcheck disable=SC2034  # names for the scripts that read this file

PREFIX=/opt/left4me
CURRENT=$PREFIX/current
STATE=/var/lib/left4me
CONFIG=/etc/left4me
ENVIRONMENT=$CONFIG/left4me.env
BACKUPS=/var/backups/left4me
UNITS=/etc/systemd/system
POLKIT_RULE=/etc/polkit-1/rules.d/50-left4me.rules
SOURCE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PRODUCT=(manage.py portal servers jobs deploy requirements.txt pyproject.toml LICENSE)
PORTAL_UNITS=(left4me-web.service left4me-worker.service left4me-agent.service)
DRY_RUN=${DRY_RUN:-}

say() { printf '== %s\n' "$*"; }
fail() { printf 'left4me: %s\n' "$*" >&2; exit 1; }

# Run a command that changes the machine, or with --dry-run only show it.
run() {
    if [[ $DRY_RUN ]]; then
        printf '   would run: %s\n' "$*"
    else
        "$@"
    fi
}

require_root() { [[ $EUID -eq 0 || $DRY_RUN ]] || fail "Run this as root, for example: sudo $0"; }

systemd_version() { systemctl --version | awk 'NR == 1 { print $2 }'; }

# The value of a variable in the environment file.
setting() { sed -n "s/^$1=\"\{0,1\}\([^\"]*\)\"\{0,1\}\$/\1/p" "$ENVIRONMENT" 2>/dev/null | tail -1; }

# manage.py of the current release, as the portal's user, or with MANAGE_AS=root as root.
manage() {
    (
        set -a
        # shellcheck source=/dev/null
        . "$ENVIRONMENT"
        set +a
        cd "$CURRENT" || exit
        if [[ ${MANAGE_AS:-left4me} == root ]]; then
            exec .venv/bin/python -B manage.py "$@"
        fi
        exec runuser -u left4me -- .venv/bin/python -B manage.py "$@"
    )
}

# What is in this checkout, as twelve digits: the same source is the same release.
release_id() {
    (cd "$SOURCE" && tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --exclude=__pycache__ \
        -cf - "${PRODUCT[@]}") | sha256sum | cut -c1-12
}

# Build $PREFIX/releases/ID from this checkout: source, virtual environment, static files. Left alone when it is there.
build_release() {
    local id=$1 target=$PREFIX/releases/$1
    if [[ -d $target ]]; then
        say "release $id is built already"
        return
    fi
    say "building release $id: source and the locked requirements"
    [[ $DRY_RUN ]] && return
    rm -rf "$target.partial"
    install -d -m 755 "$PREFIX" "$PREFIX/releases" "$target.partial"
    (cd "$SOURCE" && tar --exclude=__pycache__ -cf - "${PRODUCT[@]}") | tar -xf - -C "$target.partial" --no-same-owner
    chmod -R u=rwX,go=rX "$target.partial"
    python3 -m venv "$target.partial/.venv"
    "$target.partial/.venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
        -r "$target.partial/requirements.txt"
    python3 -m compileall -q -s "$target.partial" -p "$target" "$target.partial"/{portal,servers,jobs}
    (cd "$target.partial" && LEFT4ME_SECRET_KEY=none LEFT4ME_STATIC=$target.partial/static \
        .venv/bin/python -B manage.py collectstatic --noinput --verbosity 0)
    chmod -R go=rX "$target.partial"
    mv "$target.partial" "$target"
}

# Put the units, the rule and their companions of release $1 in place; says whether any of them changed.
install_units() {
    local from=$1/deploy unit
    say "units, polkit rule, packet filter and journal of the games"
    [[ $DRY_RUN ]] && return
    install -d /etc/sysusers.d /etc/tmpfiles.d /etc/polkit-1/rules.d
    install -m 644 "$from/etc/sysusers.conf" /etc/sysusers.d/left4me.conf
    install -m 644 "$from/etc/tmpfiles.conf" /etc/tmpfiles.d/left4me.conf
    put_rule "$from/etc/polkit.rules"
    install -m 644 "$from/etc/journald@left4me.conf" /etc/systemd/journald@left4me.conf
    for unit in "$from"/units/*.{service,slice,socket,target,timer}; do
        [[ -e $unit ]] || continue # a release to go back to may have none of a kind
        install -m 644 "$unit" "$UNITS/"
    done
    for unit in server build build-net; do
        drop_in "left4me-$unit@" "left4me-${unit%-net}-257.conf" "$from" "$([[ $(systemd_version) -ge 257 ]] && echo yes)"
        drop_in "left4me-$unit@" "left4me-${unit%-net}-252.conf" "$from" "$([[ $(systemd_version) -lt 257 ]] && echo yes)"
    done
    drop_in left4me-build-net@ left4me-build-net.conf "$from" yes
    drop_in left4me-overlay@ left4me-overlay-fuse.conf "$from" "$([[ $(setting LEFT4ME_OVERLAY) == fuse ]] && echo yes)"
    systemd-sysusers /etc/sysusers.d/left4me.conf
    systemd-tmpfiles --create /etc/tmpfiles.d/left4me.conf
    make_scratch
    systemctl daemon-reload
    load_fence "$from/libexec/fence.nft"
}

# What a game sees as /tmp, for those that run now and were started by a release without it.
make_scratch() {
    runuser -u left4me -- find "$STATE/runtime" -mindepth 1 -maxdepth 1 -type d ! -name '.*' \
        -exec mkdir -p -m 2770 '{}/tmp' ';'
}

# The rules for what games may reach hold at once, also for those that run. A release to go back to may have none.
load_fence() {
    [[ ! -e $1 ]] || nft -f "$1" || fail "This kernel cannot filter packets (nftables), so games could reach this machine's services."
}

# polkitd watches its folder, but a rule that is replaced twice within a second can leave it with none: so it is left
# alone where it is the same, and polkitd is started anew where it is not.
put_rule() {
    if ! cmp -s "$1" "$POLKIT_RULE"; then
        install -m 644 "$1" "$POLKIT_RULE"
        systemctl try-restart polkit.service
    fi
}

drop_in() {
    local unit=$1 file=$2 from=$3 wanted=$4
    if [[ $wanted && -e $from/units/$file ]]; then # a release to go back to may be older than the file
        install -D -m 644 "$from/units/$file" "$UNITS/$unit.service.d/$file"
    else
        rm -f "$UNITS/$unit.service.d/$file"
    fi
}

# Make release $1 the current one in one step.
switch_to() {
    say "switching to release $(basename "$1")"
    run ln -sfn "$1" "$CURRENT.new"
    run mv -T "$CURRENT.new" "$CURRENT"
}

migrate() {
    say "database schema"
    [[ $DRY_RUN ]] && return
    manage migrate --noinput --verbosity 0
    manage createcachetable
    manage prepare
}

restart_portal() {
    say "starting web, worker and agent; games are not touched"
    run systemctl enable --quiet left4me.target left4me-doctor.timer
    run systemctl start left4me-doctor.timer
    run systemctl restart "${PORTAL_UNITS[@]}"
    run systemctl try-restart left4me-measure.service
    run systemctl start left4me.target
}

# The doctor's table. Its exit status says whether all is well; services get a moment to come up first.
doctor() {
    say "doctor"
    [[ $DRY_RUN ]] && return
    MANAGE_AS=root manage doctor --wait 30
}
