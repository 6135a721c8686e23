#!/bin/sh
# put_back.sh NAME SERVICE...: what keep.sh has kept runs again. A service that was not restarted since runs still.
set -eu
name=$1
shift
kept=/etc/$name/before
changed=""
for service in "$@"; do
  unit=$name-$service.service
  cmp --quiet "$kept/$unit" "/etc/systemd/system/$unit" || changed="$changed $unit"
done
cp -p "$kept/app.env" "/etc/$name/app.env"
cp -p "$kept"/*.service /etc/systemd/system/
ln -sfn "$(cat "$kept/release")" "/opt/$name/current"
systemctl daemon-reload
if [ -n "$changed" ]; then
  # shellcheck disable=SC2086
  systemctl reset-failed $changed
  # shellcheck disable=SC2086
  systemctl restart $changed
fi
