#!/bin/sh
# Makes this folder's parent a virtual environment out of the wheels in this folder, and takes the wheels away.
# uv is one of them: it needs no pip in the guest and a tenth of pip's time. Nothing is compiled here: a process
# compiles what it imports, once, into a cache of its own (PYTHONPYCACHEPREFIX).
set -eu
wheels=$(pwd)
release=$(dirname "$wheels")
python3 -m zipfile -e uv-*.whl .uv
uv=$(echo .uv/uv-*.data/scripts/uv)
chmod +x "$uv"
"$uv" venv --quiet --allow-existing --no-cache --python /usr/bin/python3 "$release"
"$uv" pip install --quiet --python "$release/bin/python" --no-cache --link-mode copy \
  --no-index --find-links . --require-hashes -r requirements.txt
cd "$release"
rm -rf "$wheels"
touch .installed
