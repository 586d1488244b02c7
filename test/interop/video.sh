#!/usr/bin/env bash
# The example of video processing, small, against the broker that runs: real videos,
# real ffmpeg. It ends with 0 only if each video has one result, whatever happened to
# workers; what it tells is looked at here.
set -u
report=$("$1" --amqp "$AMQP_ADDR" --kafka "$KAFKA_ADDR" --count 3 --length 6s --heartbeat 3s)
code=$?
echo "$report" >&2 # shown when something fails
check() { # check WHAT PATTERN
  if grep -qE "$2" <<<"$report"; then echo "PASS $1"; else echo "FAIL $1"; fi
}
[ "$code" -eq 0 ] && echo "PASS each video has one result" || echo "FAIL each video has one result (exit code $code)"
check "a killed worker's job is another's" 'worker-1 killed at [0-9]+ %; worker-[0-9]+ took it over \(attempt 2\)'
check "a frozen worker's job is another's" 'worker-2 frozen at [0-9]+ %; worker-[0-9]+ took it over \(attempt 2\).*worker-2 woke up and dropped it'
check "what was not acked is done again" '4 jobs, begun 7 times by 5 workers, 3 results'
check "what nobody can read is set aside" 'broken.mp4 .*set aside \(rejected\)'
