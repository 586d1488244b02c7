#!/bin/sh
# The user that the broker runs as, whom the file of settings belongs to.
set -e
getent group leveret >/dev/null || groupadd --system leveret
getent passwd leveret >/dev/null || useradd --system --gid leveret --home-dir /var/lib/leveret --no-create-home --shell /usr/sbin/nologin leveret
