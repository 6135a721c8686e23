#!/bin/sh
# Makes the chroot whose Debian 13 binaries judge the rendered configurations: haproxy, nginx and keepalived of the
# same versions that the guests get; its Python, which types the application; and shellcheck. Prints its path last; does
# nothing when it is already there.
#
#   tests/render/checkers.sh            make it, print the path
#   tests/render/checkers.sh nginx -t   make it, run a command inside
set -eu
umask 022

packages=haproxy,keepalived,libnginx-mod-http-lua,nginx,python3,shellcheck
tree=$(cd "$(dirname "$0")/../.." && pwd)
root=$tree/.cache/checkers
stamp=$root/.made-with

if [ "$(cat "$stamp" 2>/dev/null)" != "$packages" ]; then
    command -v mmdebstrap >/dev/null || {
        echo "checkers.sh: mmdebstrap is missing: apt-get install mmdebstrap" >&2
        exit 1
    }
    echo "checkers.sh: making a Debian 13 chroot with $packages (about half a minute, once)" >&2
    mkdir -p "$(dirname "$root")"
    # Made beside its place and renamed, so that an interrupted run leaves nothing that looks finished.
    [ "$(id -u)" -eq 0 ] && mode=root || mode=unshare
    new=$(mktemp -d "$root.new.XXXXXX")
    chmod 0755 "$new"
    mmdebstrap --quiet --mode="$mode" --variant=minbase --include=$packages \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --customize-hook="echo $packages > \"\$1/.made-with\"" trixie "$new" >&2
    [ ! -e "$root" ] || mv "$root" "$new.old"
    mv "$new" "$root"
    # What another user namespace owns can only be removed from inside one.
    [ ! -e "$new.old" ] || rm -rf "$new.old" 2>/dev/null || unshare --map-auto --map-root-user rm -rf "$new.old"
fi

[ $# -gt 0 ] || { echo "$root"; exit 0; }
if [ "$(id -u)" -eq 0 ]; then
    exec chroot "$root" "$@"
else
    exec unshare --map-root-user chroot "$root" "$@"
fi
