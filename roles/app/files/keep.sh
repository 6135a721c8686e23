#!/bin/sh
# keep.sh NAME SERVICE...: copies what an application runs on (settings, units, the name of the release), for put_back.sh.
# Says "running" when all of its services do, and "stale SERVICE" of one that was started before its unit was written.
set -eu
name=$1
shift
kept=/etc/$name/before
stale=""
for service in "$@"; do
  unit=$name-$service.service
  systemctl --quiet is-active "$unit" || exit 0
  started=$(systemctl show --property=ActiveEnterTimestamp --value --timestamp=unix "$unit")
  if [ "$(stat --format=%Y "/etc/systemd/system/$unit")" -gt "${started#@}" ]; then
    stale=yes
    echo "stale $service"
  fi
done
echo running
# What a run that died has kept is what runs still.
[ -z "$stale" ] || exit 0
rm -rf "$kept"
mkdir -m 0700 "$kept"
cp -p "/etc/$name/app.env" "$kept"
for service in "$@"; do cp -p "/etc/systemd/system/$name-$service.service" "$kept"; done
readlink "/opt/$name/current" >"$kept/release"
