#!/usr/bin/env bash
# Makes ready what the lxc provider needs: the lab's two bridges and the Debian 13 base box.
#   boxes/lxc.sh            both; prints the box's file last
#   boxes/lxc.sh bridges    only the bridges (they are gone after a reboot)
#   boxes/lxc.sh clean      takes the private bridge and every cached box away
# Idempotent. Runs as root, or with sudo.
set -euo pipefail
# What is made here is for other users, too: those of the guests.
umask 022

here=$(cd "$(dirname "$0")" && pwd)
cache=${BALLAST_CACHE:-$here/../.cache}/boxes
bridge=ballast0
# The .1 of the private network is the controller, as with the other providers.
controller=${BALLAST_CONTROLLER:-192.168.56.1/24}

say() { printf '    %s\n' "$*" >&2; }
die() { printf 'lxc: %s\n' "$*" >&2; exit 1; }
as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi; }

bridges() {
  # lxcbr0: the way out (NAT and DNS), by LXC's own helper; its unit where systemd runs, by hand where it does not.
  # A bridge outlives its dnsmasq: guests would boot, and resolve nothing.
  if ! ip link show lxcbr0 >/dev/null 2>&1 || [ -z "$(ss -Hlun src 10.0.3.1:53)" ]; then
    say "starting lxcbr0 (NAT and DNS for the guests)"
    if [ -d /run/systemd/system ]; then
      as_root systemctl restart lxc-net
    else
      # Also clears the lock that an end without notice leaves, which would keep lxc-net from starting.
      as_root /usr/libexec/lxc/lxc-net stop force >/dev/null 2>&1 || true
      as_root rm -f /run/lxc/network_up
      as_root /usr/libexec/lxc/lxc-net start
    fi
  fi
  ip -4 addr show lxcbr0 2>/dev/null | grep -q 'inet 10\.0\.3\.1/' ||
    die "lxcbr0 does not have 10.0.3.1, which the box's guests use for DNS: remove LXC_ADDR from /etc/default/lxc-net and restart lxc-net"

  if ! ip link show "$bridge" >/dev/null 2>&1; then
    say "making the private bridge $bridge ($controller)"
    as_root ip link add "$bridge" type bridge mcast_snooping 0 forward_delay 0
  fi
  ip -4 addr show dev "$bridge" | grep -q "inet $controller" || as_root ip addr add "$controller" dev "$bridge"
  as_root ip link set "$bridge" up
}

# This machine's own Debian sources, for trixie; mmdebstrap's default where it has none.
sources() {
  command -v apt-get >/dev/null || return 0
  # shellcheck disable=SC2016
  apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' 2>/dev/null |
    awk '{ print "deb " $1 " trixie main" }' | sort -u
  # shellcheck disable=SC2016
  apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian-Security' 2>/dev/null |
    awk '{ print "deb " $1 " trixie-security main" }' | sort -u
}

# libnss-myhostname: Vagrant asks the guest its name before it would set it.
guest_packages=(
  acl ca-certificates chrony curl dbus iproute2 iputils-ping less libnss-myhostname nftables openssh-server procps
  python3 python3-apt sudo systemd-sysv
)

build() {
  local work file
  command -v mmdebstrap >/dev/null || die "mmdebstrap is missing: apt-get install mmdebstrap"
  # The file's name says what it was made from. Once a week it is made anew, for the security updates in it.
  local made_from
  made_from=$( (cat "$here/lxc.sh"; date +%G-W%V; uname -m) | sha256sum | cut -c1-12)
  file=$cache/ballast-trixie-$made_from.box
  if [ ! -s "$file" ]; then
    say "building the Debian 13 base box (about a minute)"
    mkdir -p "$cache"
    work=$(mktemp -d "$cache/.build.XXXXXX")
    # shellcheck disable=SC2064
    trap "as_root rm -rf '$work'" EXIT
    local packages
    packages=$(IFS=,; printf '%s' "${guest_packages[*]}")
    sources >"$work/sources.list"
    local mirrors=()
    [ ! -s "$work/sources.list" ] || mirrors=("$work/sources.list")
    as_root mmdebstrap --quiet --variant=minbase --include="$packages" --skip=cleanup/apt/lists \
      --aptopt='Acquire::Languages "none"' \
      --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
      --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='force-unsafe-io' \
      --customize-hook="'$here/lxc-guest.sh' \"\$1\"" \
      trixie "$work/rootfs" "${mirrors[@]}"
    cat >"$work/lxc-config" <<'CONFIG'
lxc.include = /usr/share/lxc/config/common.conf
lxc.apparmor.profile = unconfined
lxc.cap.drop =
lxc.cap.drop = sys_time
CONFIG
    printf '{"provider": "lxc", "version": "1.0.0", "built-on": "%s"}\n' "$(date -R)" >"$work/metadata.json"
    # gzip -1: every machine unpacks it, nobody ships it.
    as_root tar --numeric-owner --anchored -C "$work" -cf - ./rootfs | gzip -1 >"$work/rootfs.tar.gz"
    tar -C "$work" -cf "$file.part" ./metadata.json ./lxc-config ./rootfs.tar.gz
    mv "$file.part" "$file"
    as_root rm -rf "$work"
    trap - EXIT
    find "$cache" -name 'ballast-trixie-*.box' ! -name "$(basename "$file")" -delete
  fi
  printf '%s\n' "$file"
}

clean() {
  ! ip link show "$bridge" >/dev/null 2>&1 || as_root ip link delete "$bridge"
  as_root rm -rf "$cache"
}

case ${1:-all} in
  all) bridges; build ;;
  bridges) bridges ;;
  clean) clean ;;
  *) die "unknown command '$1': all, bridges or clean" ;;
esac
