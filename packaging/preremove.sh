#!/bin/sh
# Stops the broker when the package goes, not when a newer one comes. Its data stay in /var/lib/leveret.
set -e
case "${1:-}" in upgrade | 1) exit 0 ;; esac
[ -d /run/systemd/system ] || exit 0
systemctl disable --now leveret || true
