#!/usr/bin/env bash
# Runs a command with a Docker engine: the one that answers already, or else one that is started for the command and
# stopped after it (root on Linux, with the engine from Debian's packages). Says in one line why there can be none,
# and then exits with 69, sysexits.h's EX_UNAVAILABLE.
set -euo pipefail
cd "$(dirname "$0")/../.."

unavailable() {
    echo "SKIPPED: $* needs a Docker engine. $reason" >&2
    exit 69
}

if docker info > /dev/null 2>&1; then exec "$@"; fi

reason="None answers at ${DOCKER_HOST:-the default socket}, and only root on Linux can start one."
if [ "$(uname -s)" != Linux ] || [ "$(id -u)" != 0 ]; then unavailable "$@"; fi
# Each by itself: of several names, `command -v` is content with one.
if ! { command -v dockerd && command -v docker && command -v iptables; } > /dev/null; then
    echo "installing docker.io and iptables from the system's packages ..." >&2
    reason="None answers, and this system's packages have none (docker.io, iptables)."
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends docker.io iptables; } \
        > /dev/null 2>&1 || unavailable "$@"
fi

engine=$(mktemp -d) # short, as a socket's path must be
mkdir -p .tools/docker
[ -e /sys/class/net/docker0 ] && had_bridge=yes || had_bridge=no
# Loopback only, and no rule of the machine's firewall is touched: containers reach the machine, and nothing beyond.
dockerd --data-root "$PWD/.tools/docker" --exec-root "$engine/exec" --pidfile "$engine/pid" -H "unix://$engine/socket" \
    --iptables=false --ip6tables=false --ip-masq=false --ip 127.0.0.1 --bip 172.17.0.1/24 > "$engine/log" 2>&1 &
dockerd=$!

stop() {
    kill "$dockerd" 2> /dev/null || true
    wait "$dockerd" || true
    if [ "$had_bridge" = no ]; then ip link delete docker0 2> /dev/null || true; fi
    rm -rf "$engine"
}
trap stop EXIT

export DOCKER_HOST="unix://$engine/socket"
for _ in $(seq 60); do
    if docker info > /dev/null 2>&1; then break; fi
    sleep 0.5
done
if ! docker info > /dev/null 2>&1; then
    reason="One was started and doesn't answer: $(tail -n 1 "$engine/log")"
    unavailable "$@"
fi
"$@"
