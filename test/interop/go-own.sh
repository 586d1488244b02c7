#!/usr/bin/env bash
# The integration tests that come with a Go module, from a test binary that prepare.sh built.
#
#   go-own.sh BINARY [--files FILE,...] [--skip PATTERN] [--again TEST] ARGUMENT...
#
# AMQP_ADDR and KAFKA_ADDR say where the broker is. --files runs the tests of some source files beside the
# binary only. --skip leaves out what wants more than a broker. --again names a test that its
# own clock leaves to luck: it runs alone, and passes when one of five tries does. What a suite
# skips by itself (a feature that it does not have) is not counted.
set -u
BINARY=$1 FILES='' SKIP=none AGAIN=''
shift
while :; do
  case ${1:-} in
    --files) FILES=${2//,/ } ;;
    --skip) SKIP=$2 ;;
    --again) AGAIN=$2 ;;
    *) break ;;
  esac
  shift 2
done
export AMQP_URL=amqp://guest:guest@$AMQP_ADDR/ WATERMILL_TEST_AMQP_URI=amqp://guest:guest@$AMQP_ADDR/ WATERMILL_TEST_KAFKA_BROKERS=$KAFKA_ADDR
LOG=$(mktemp)
cd "$(dirname "$BINARY")" || exit 2
# shellcheck disable=SC2086 # a list
[ -z "$FILES" ] || set -- -test.run "^($(sed -n 's/^func \(Test[A-Za-z0-9_]*\)(.*/\1/p' $FILES | paste -sd'|'))\$" "$@"
"$BINARY" -test.v -test.skip "$SKIP${AGAIN:+|^$AGAIN\$}" "$@" >"$LOG" 2>&1
CODE=$?
# One line for each test that has no tests of its own within.
awk '/^ *--- (PASS|FAIL|SKIP): / {
  result[$3] = $2; order[++n] = $3
  for (outer = $3; sub("/[^/]*$", "", outer); ) inner[outer] = 1
} END {
  for (i = 1; i <= n; i++) if (!(order[i] in inner)) print result[order[i]], order[i]
}' "$LOG" | sed -n 's|: | |; s|/[0-9a-f-]\{36\}$||; s/^FAIL .*/&: see its output/; /^SKIP/!p'
[ "$CODE" = 0 ] || grep -vE '^(=== |\[watermill\])' "$LOG" | tail -n 30 >&2
if [ -n "$AGAIN" ]; then
  for _ in 1 2 3 4 5; do
    "$BINARY" -test.v -test.run "^$AGAIN\$" >"$LOG" 2>&1 && { echo "PASS $AGAIN"; AGAIN=''; break; }
  done
  [ -z "$AGAIN" ] || { echo "FAIL $AGAIN: five times"; tail -n 10 "$LOG" >&2; CODE=1; }
fi
exit "$CODE"
