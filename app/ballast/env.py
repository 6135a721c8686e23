"""Typed settings from the environment. A wrong value stops the start with a sentence that names the variable."""

import ipaddress
import os
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

PREFIX = "BALLAST_"

type Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class SettingError(ImproperlyConfigured):
    """A setting that is missing or makes no sense."""


def text(name: str, default: str | None = None, *, choices: tuple[str, ...] = ()) -> str:
    """The value as it stands. Without a default the variable is required."""
    value = os.environ.get(PREFIX + name, "").strip() or default
    if value is None:
        raise SettingError(f"{PREFIX}{name} is not set, and it has no default.")
    if choices and value not in choices:
        raise SettingError(f"{PREFIX}{name} must be one of {', '.join(choices)}, not {value!r}.")
    return value


def integer(name: str, default: int, *, low: int, high: int) -> int:
    """A whole number in [low, high]."""
    value = text(name, str(default))
    if not (value.isascii() and value.isdecimal()) or not low <= int(value) <= high:
        raise SettingError(f"{PREFIX}{name} must be a whole number from {low} to {high}, not {value!r}.")
    return int(value)


def number(name: str, default: float, *, low: float, high: float) -> float:
    """A number in [low, high]; seconds, wherever it is a time."""
    value = text(name, str(default))
    try:
        parsed = float(value)
    except ValueError:
        parsed = float("nan")
    if not low <= parsed <= high:
        raise SettingError(f"{PREFIX}{name} must be a number from {low:g} to {high:g}, not {value!r}.")
    return parsed


def flag(name: str, default: bool) -> bool:
    """'true' or 'false'; nothing else, so that a typo cannot mean 'no'."""
    return text(name, str(default).lower(), choices=("true", "false")) == "true"


def listing(name: str, default: str = "") -> list[str]:
    """Values with commas between them."""
    return [part for part in (piece.strip() for piece in text(name, default).split(",")) if part]


def networks(name: str, default: str) -> list[Network]:
    """Addresses or CIDR networks with commas between them."""
    try:
        return [ipaddress.ip_network(part) for part in listing(name, default)]
    except ValueError as error:
        raise SettingError(f"{PREFIX}{name} must be addresses or networks with commas between: {error}.") from error


def address(name: str) -> tuple[str, int] | None:
    """host:port, or None if it is not set."""
    value = os.environ.get(PREFIX + name, "").strip()
    if not value:
        return None
    host, _, port = value.rpartition(":")
    if not (host and port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise SettingError(f"{PREFIX}{name} must be address:port, not {value!r}.")
    return host, int(port)


def secret(name: str, default: str | None = None, *, min_length: int = 0) -> str:
    """NAME, or the content of the file that NAME_FILE points to. The value is never shown in a message."""
    path = os.environ.get(f"{PREFIX}{name}_FILE", "").strip()
    if path and os.environ.get(PREFIX + name):
        raise SettingError(f"{PREFIX}{name} and {PREFIX}{name}_FILE are both set: keep one.")
    if path:
        try:
            # The newline that an editor leaves is none of it.
            value = Path(path).read_text(encoding="utf-8").removesuffix("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingError(f"{PREFIX}{name}_FILE points to {path}, which cannot be read: {error}.") from error
    else:
        value = os.environ.get(PREFIX + name) or text(name, default)
    if len(value) < min_length:
        raise SettingError(f"{PREFIX}{name} must have at least {min_length} characters.")
    return value
