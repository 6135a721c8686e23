#!/usr/bin/env bash
# Runs Locust on the load host of the inventory and brings its reports here.
#   load/run.sh USERS DURATION [more options of Locust]
# Its exit code is Locust's: 0 when every objective of slo.toml was met.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PWD/.venv/bin:$PATH

users=${1:-5} duration=${2:-60s}
shift $(($# < 2 ? $# : 2))
[[ $users =~ ^[0-9]+$ ]] || { echo "USERS=$users is no number." >&2; exit 2; }
[[ $duration =~ ^([0-9]+)(s|m|h|)$ ]] || { echo "DURATION=$duration: say 90s, 5m or 1h." >&2; exit 2; }
declare -A unit=([s]=1 [m]=60 [h]=3600)
seconds=$((BASH_REMATCH[1] * ${unit[${BASH_REMATCH[2]:-s}]}))

# How to reach the host is the inventory's to say.
reach=$(mktemp)
trap 'rm -f "$reach"' EXIT
content='{{ ansible_host | default(inventory_hostname) }}
{{ ansible_user | default("") }}
{{ ansible_port | default(22) }}
{{ ansible_ssh_private_key_file | default("") }}
{{ ansible_ssh_common_args | default("") }}
'
arguments=$(python3 -c 'import json, sys; print(json.dumps({"content": sys.argv[1], "dest": sys.argv[2], "mode": "0600"}))' "$content" "$reach")
ansible 'load[0]' --connection local --module-name ansible.builtin.copy --args "$arguments" >"$reach.log" 2>&1 || {
  cat "$reach.log" >&2
  echo "The inventory has no load host that can be reached." >&2
  rm -f "$reach.log"
  exit 2
}
rm -f "$reach.log"
{ read -r host; read -r user; read -r port; read -r key; read -r -a ssh; } <"$reach"
ssh+=(-p "$port" -o BatchMode=yes -o ServerAliveInterval=15)
[ -z "$key" ] || ssh+=(-i "$(realpath "$key")")
[ -z "$user" ] || host=$user@$host

name=$(date -u +%Y%m%dT%H%M%SZ)
# A unit of its own: bounded memory, and an end even if this connection is lost.
run=(sudo systemd-run --quiet --collect --wait --uid=locust --unit="locust-$name"
  --property=StateDirectory="locust/$name" --property=WorkingDirectory=/opt/locust/load
  --property=MemoryMax=75% --property=RuntimeMaxSec=$((seconds + 120)) --setenv=PYTHONUNBUFFERED=1)
if [ -t 0 ] && [ -t 1 ]; then
  terminal=(-t) run+=(--pty)
else
  terminal=(-n) run+=(--pipe)
fi
reports=/var/lib/locust/$name
run+=(/opt/locust/current/bin/locust --config locust.conf --users "$users" --run-time "${seconds}s"
  --html "$reports/report.html" --json-file "$reports/summary" --totals-csv "$reports/totals.csv" --requests-csv "$reports/requests.csv" "$@")

code=0
ssh "${terminal[@]}" "${ssh[@]}" "$host" "${run[*]@Q}" || code=$?

mkdir -p "reports/$name"
if ssh -n "${ssh[@]}" "$host" "sudo tar -C $reports -cz . && sudo rm -r $reports" | tar -C "reports/$name" --no-same-owner -xz; then
  echo "Reports: reports/$name/report.html"
fi
exit "$code"
