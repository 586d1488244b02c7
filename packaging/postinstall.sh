#!/bin/sh
# A new package does not start a broker by itself, and one that runs goes on until it is restarted.
set -e
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload
if ! systemctl is-enabled --quiet leveret 2>/dev/null; then
	echo "Start Leveret with: systemctl enable --now leveret   (settings: /etc/leveret/leveret.toml)"
elif systemctl is-active --quiet leveret; then
	echo "Leveret goes on as it was until: systemctl restart leveret"
fi
