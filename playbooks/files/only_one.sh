#!/bin/sh
# only_one.sh FOLDER: notes in a folder of the controller which ansible-playbook deploys. While another one does, it prints that
# one's process id and fails.
set -eu
lock=$1/deploy.pid

plays() { ps -o args= -p "$1" 2>/dev/null | grep -q ansible; }

# The outermost ansible-playbook that this script descends from: its forks end with each task.
own=""
process=$PPID
while [ "$process" -gt 1 ]; do
  if plays "$process"; then own=$process; fi
  process=$(ps -o ppid= -p "$process" | tr -d ' ')
done

other=$(cat "$lock" 2>/dev/null || true)
if [ -n "$other" ] && [ "$other" != "$own" ] && plays "$other"; then
  echo "$other"
  exit 1
fi
echo "$own" >"$lock"
