"""Gives every program of the virtual environment a UTF-8 locale that this machine has.

Ansible refuses to start without one, with a traceback where molecule or a test starts it; and a login over
ssh often brings along the name of a locale that only the other machine has. bin/make-venv installs this file
beside a .pth file that imports it at each start of Python.
"""

import locale
import os

for _name in ("", "C.UTF-8", "en_US.UTF-8"):
    try:
        locale.setlocale(locale.LC_ALL, _name)
    except locale.Error:
        continue
    if locale.nl_langinfo(locale.CODESET).upper() == "UTF-8":
        if _name:
            os.environ["LC_ALL"] = _name
        # As Python leaves it at its start: only the encoding is taken, all else is asked for by who wants it.
        locale.setlocale(locale.LC_ALL, "C")
        locale.setlocale(locale.LC_CTYPE, "")
        break
