#!/usr/bin/env bash
# lapin's own integration tests, from its crate, without TLS, against the broker at AMQP_ADDR.
# Called by run with the crate's folder, where prepare.sh compiled them, and Cargo's arguments.
set -u
cd "$1" || exit 2
export AMQP_ADDR=amqp://guest:guest@$AMQP_ADDR/%2f CARGO_TARGET_DIR=$1/target RUST_LOG=error
export CARGO_PROFILE_TEST_DEBUG=0 CARGO_PROFILE_DEV_DEBUG=0 CARGO_INCREMENTAL=0
LOG=$(mktemp)
shift
cargo test --offline --no-fail-fast "$@" -- --test-threads=1 --format=pretty >"$LOG" 2>&1
CODE=$?
# libtest prints `test NAME ... ok`; what a test prints itself may stand before the verdict.
perl -ne '
  if (/^\s+Running (?:unittests )?\S*?(\w+)\.rs/) { $file = $1 }
  if (/^test (\S+) \.\.\. ?(.*)/) { ($name, $verdict) = ($1, $2) } elsif (defined $name) { $verdict = $_ }
  if (defined $name && $verdict =~ /(?:^|\W)(ok|FAILED)\s*$/) { print $1 eq "ok" ? "PASS" : "FAIL", " $file: $name", $1 eq "ok" ? "" : ": see its output", "\n"; undef $name }
' "$LOG"
[ "$CODE" = 0 ] || tail -n 40 "$LOG" >&2
exit "$CODE"
