#!/bin/bash
# Install left4me on this machine, or bring an installation up to what this checkout ships. Safe to run again.
set -euo pipefail

# shellcheck source=deploy/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

usage() {
    cat <<TEXT
usage: sudo deploy/install.sh [options]

  --site ADDRESS     Address members use, as Caddy understands it (default: the host's full name; HTTPS by itself).
                     http://games.lan:8080 serves plain HTTP on that port.
  --proxy WHICH      caddy (default), or none: you run nginx or another proxy yourself (deploy/etc/nginx.conf).
  --overlay DRIVER   kernel (default) or fuse, where the kernel's overlayfs cannot be had.
  --database URL     A PostgreSQL elsewhere, as postgresql://user:password@host/name (default: one from apt, here).
  --address HOST     Where players connect to game servers (default: the site's host).
  --admin NAME       Name of the first admin (default: admin). The password is made and shown once.
  --dry-run          Say each step and change nothing.
TEXT
}

SITE=$(hostname -f 2>/dev/null || hostname) PROXY=caddy OVERLAY='' DATABASE='' ADDRESS='' ADMIN=admin
while [[ $# -gt 0 ]]; do
    case $1 in
    --site) SITE=$2 && shift 2 ;;
    --proxy) PROXY=$2 && shift 2 ;;
    --overlay) OVERLAY=$2 && shift 2 ;;
    --database) DATABASE=$2 && shift 2 ;;
    --address) ADDRESS=$2 && shift 2 ;;
    --admin) ADMIN=$2 && shift 2 ;;
    --dry-run) DRY_RUN=yes && shift ;;
    -h | --help) usage && exit ;;
    *) usage >&2 && exit 2 ;;
    esac
done
[[ $PROXY == caddy || $PROXY == none ]] || fail "--proxy is caddy or none."
[[ -z $OVERLAY || $OVERLAY == kernel || $OVERLAY == fuse ]] || fail "--overlay is kernel or fuse."

check_machine() {
    require_root
    # shellcheck source=/dev/null
    . /etc/os-release
    [[ ${ID:-} == debian && ${VERSION_ID:-0} -ge 12 ]] || fail "This needs Debian 12 or 13; here is ${PRETTY_NAME:-something else}."
    [[ -d /run/systemd/system ]] || fail "systemd does not run here."
    say "Debian $VERSION_ID, systemd $(systemd_version), kernel $(uname -r)"
}

install_packages() {
    local wanted=(python3 python3-venv polkitd dbus acl adduser nftables) missing=() package
    [[ $DATABASE || -e $ENVIRONMENT ]] || wanted+=(postgresql)
    [[ $PROXY == caddy ]] && wanted+=(caddy)
    [[ $OVERLAY == fuse ]] && wanted+=(fuse3 fuse-overlayfs)
    for package in "${wanted[@]}"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    if [[ ${#missing[@]} -eq 0 ]]; then
        say "packages are there: ${wanted[*]}"
        return
    fi
    say "packages from Debian: ${missing[*]}"
    run apt-get update -qq
    DEBIAN_FRONTEND=noninteractive run apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

make_users() {
    say "users left4me, left4me-game, left4me-build, left4me-measure and their folders"
    [[ $DRY_RUN ]] && return
    install -D -m 644 "$SOURCE/deploy/etc/sysusers.conf" /etc/sysusers.d/left4me.conf
    install -D -m 644 "$SOURCE/deploy/etc/tmpfiles.conf" /etc/tmpfiles.d/left4me.conf
    systemd-sysusers /etc/sysusers.d/left4me.conf
    systemd-tmpfiles --create /etc/tmpfiles.d/left4me.conf
    install -d -m 750 -o root -g left4me "$CONFIG"
    install -d -m 755 "$CONFIG/games.d"
    install -d -m 700 "$BACKUPS"
}

# A database and a role of the same name, let in by `peer`: no password lies anywhere.
make_database() {
    if [[ $DATABASE ]]; then
        say "database: the given one"
        return
    fi
    local port
    port=$(pg_lsclusters --no-header 2>/dev/null | awk '$4 ~ /^online/ { print $3; exit }' || true)
    [[ $port || $DRY_RUN ]] || fail "No PostgreSQL runs here. Look at: pg_lsclusters"
    DATABASE="postgresql://left4me@/left4me?host=/run/postgresql&port=${port:-5432}"
    say "database left4me in the PostgreSQL at port ${port:-5432}"
    [[ $DRY_RUN ]] && return
    local psql=(runuser -u postgres -- psql -qAt -p "$port")
    [[ $("${psql[@]}" -c "SELECT 1 FROM pg_roles WHERE rolname = 'left4me'") ]] ||
        "${psql[@]}" -c 'CREATE ROLE left4me LOGIN'
    [[ $("${psql[@]}" -c "SELECT 1 FROM pg_database WHERE datname = 'left4me'") ]] ||
        "${psql[@]}" -c "CREATE DATABASE left4me OWNER left4me ENCODING 'UTF8' TEMPLATE template0"
}

write_environment() {
    if [[ -e $ENVIRONMENT ]]; then
        say "$ENVIRONMENT is kept as it is${OVERLAY:+, but for LEFT4ME_OVERLAY=$OVERLAY}"
        [[ -z $OVERLAY ]] || run sed -i "s/^LEFT4ME_OVERLAY=.*/LEFT4ME_OVERLAY=\"$OVERLAY\"/" "$ENVIRONMENT"
        return
    fi
    local host=${SITE#*://} https=1
    host=${host%%[:/]*}
    [[ $SITE == http://* ]] && https=0
    say "$ENVIRONMENT"
    [[ $DRY_RUN ]] && return
    sed -e "s|@SECRET@|$(python3 -c 'import secrets; print(secrets.token_urlsafe(48))')|" \
        -e "s|@DATABASE@|${DATABASE//&/\\&}|" -e "s|@HOST@|$host|" -e "s|@HTTPS@|$https|" \
        -e "s|@OVERLAY@|${OVERLAY:-kernel}|" "$SOURCE/deploy/etc/left4me.env" |
        install -m 640 -o root -g left4me /dev/stdin "$ENVIRONMENT"
}

# fuse-overlayfs serves the games' user, who is not the one that mounts.
allow_fuse() {
    [[ ${OVERLAY:-$(setting LEFT4ME_OVERLAY)} == fuse ]] || return 0
    say "fuse: user_allow_other in /etc/fuse.conf"
    grep -qx user_allow_other /etc/fuse.conf 2>/dev/null || run sh -c 'echo user_allow_other >>/etc/fuse.conf'
}

set_up_proxy() {
    if [[ $PROXY == none ]]; then
        say "no proxy is set up: see deploy/etc/nginx.conf, and add its user to the group left4me-proxy"
        return
    fi
    say "Caddy serves $SITE"
    [[ $DRY_RUN ]] && return
    usermod -aG left4me-proxy caddy
    local shipped
    shipped=$(dpkg-query -W -f '${Conffiles}\n' caddy | awk '$1 == "/etc/caddy/Caddyfile" { print $2 }')
    if [[ -e /etc/caddy/Caddyfile ]] && ! grep -q left4me /etc/caddy/Caddyfile &&
        [[ $(md5sum </etc/caddy/Caddyfile) != "$shipped"* ]]; then
        say "/etc/caddy/Caddyfile is your own and stays: merge deploy/etc/Caddyfile into it"
        return
    fi
    sed "s|@SITE@|$SITE|" "$SOURCE/deploy/etc/Caddyfile" >/etc/caddy/Caddyfile
    systemctl enable --quiet caddy
    systemctl restart caddy
}

install_command() {
    say "the command left4me: manage.py as the portal's user, for example: left4me doctor"
    [[ $DRY_RUN ]] && return
    install -m 755 "$SOURCE/deploy/left4me" /usr/local/sbin/left4me
}

first_admin() {
    [[ $DRY_RUN ]] && say "first admin $ADMIN" && return
    if manage prepare --has-admin; then
        say "there is an admin already"
        return
    fi
    local password
    password=$(python3 -c 'import secrets; print(secrets.token_urlsafe(12))')
    DJANGO_SUPERUSER_PASSWORD=$password manage createsuperuser --noinput --username "$ADMIN" >/dev/null
    say "first admin: $ADMIN, password $password (shown this once; change it after signing in)"
}

check_machine
install_packages
make_users
make_database
write_environment
allow_fuse
RELEASE=$PREFIX/releases/$(release_id)
build_release "$(basename "$RELEASE")"
switch_to "$RELEASE"
install_units "$RELEASE"
migrate
[[ $ADDRESS || -e $CONFIG/.installed ]] || ADDRESS=$(host=${SITE#*://} && echo "${host%%[:/]*}")
[[ -z $ADDRESS ]] || { say "players connect to $ADDRESS" && { [[ $DRY_RUN ]] || manage prepare --address "$ADDRESS"; }; }
install_command
first_admin
restart_portal
set_up_proxy
run touch "$CONFIG/.installed"
doctor
