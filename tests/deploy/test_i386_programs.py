"""Programs as Valve builds them, for i386 and with a library that asks for an executable stack, in the shipped units.

SteamCMD's and the game's own are not to be had here, so both are a small program of that kind: it loads such a library
and goes on only if it could (https://github.com/ValveSoftware/steam-for-linux/issues/3116,
https://github.com/ValveSoftware/Source-1-Games/issues/8116). What SteamCMD does then is left to its stand-in.
"""

import pytest

from tests.deploy.installed import Installed

pytestmark = pytest.mark.host
STANDIN = "/var/lib/left4me/standin"  # the worker may write there, and the stand-in notes what it was told
GAME = """
slug = "valve"
name = "A game of Valve's kind"
summary = "An i386 program with an executable stack."
[install]
method = "steamcmd"
app = 1
platforms = ["windows", "linux"]
[run]
argv = ["{merged}/srcds_linux"]
environment = { GLIBC_TUNABLES = "glibc.rtld.execstack=2" }
[[ports]]
name = "game"
protocol = "udp"
from = 28015
to = 28099
"""
PROGRAM = f"""
#define STANDIN "{STANDIN}/steamcmd_standin.py"
#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>
int main(int count, char **words) {{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!dlopen(LIBRARY, RTLD_NOW)) return printf("%s\\n", dlerror()), 1;
    if (count > 2) return execl("/usr/bin/python3", "python3", STANDIN, words[1], words[2], NULL);
    printf("engine.so loaded, pointers of %d bytes\\n", (int) sizeof(void *));
    for (;;) pause();
}}
"""
BUILD = f"""
set -e
apt-get install -y -qq --no-install-recommends gcc-multilib libc6-dev-i386 >/dev/null
mkdir -p {STANDIN}/steam/content
cp /mnt/checkout/tests/steamcmd_standin.py {STANDIN}/
cd {STANDIN}/steam/content
echo 'int engine;' | gcc -m32 -shared -fPIC -Wl,-z,execstack -x c - -o engine.so
build() {{ gcc -m32 -x c /root/valve.c -D LIBRARY="\\"$1\\"" -ldl -o "$2"; }}
build ./engine.so srcds_linux
install -D engine.so /usr/lib/games/steam/engine.so
build /usr/lib/games/steam/engine.so /usr/games/steamcmd
touch ../no-linux
printf 7 >../build
chown -R left4me: {STANDIN}
"""
BLUEPRINT = (
    "from servers.models import Blueprint as B; B.objects.get_or_create(slug='valve', name='Valve', game='valve')"
)


@pytest.mark.parametrize("installation", ["portal", "portal12"], ids=["debian13", "debian12"])
def test_steamcmd_and_a_game_of_valves_kind_run_in_their_units(
    installation: str, request: pytest.FixtureRequest
) -> None:
    portal: Installed = request.getfixturevalue(installation)
    host = portal.host
    host.write("/root/valve.c", PROGRAM)
    host.write("/etc/left4me/games.d/valve.toml", GAME)
    host.sh(BUILD, timeout=300)
    host.sh("systemctl restart left4me-web left4me-worker left4me-agent")
    host.run("left4me", "shell", "-c", BLUEPRINT)

    portal.make("valve", "valve")
    lines = portal.lines(portal.server("valve")["console"])
    assert any("engine.so loaded, pointers of 4 bytes" in line for line in lines), lines
    portal.power("valve", "stop")
