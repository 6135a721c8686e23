"""The `ballast` command: Django's manage.py under the project's own name."""

import os
import sys

from ballast.env import SettingError


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ballast.settings")
    os.environ.setdefault("BALLAST_SERVICE", "command")
    from django.conf import settings
    from django.core.management import execute_from_command_line

    try:
        _ = settings.DATABASES
    except SettingError as error:
        sys.exit(f"ballast: {error}")
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
