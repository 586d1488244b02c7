#!/usr/bin/env bash
# py-amqp's own integration tests, from its source archive on PyPI: plain connections.
# Called by run with the cache directory; AMQP_ADDR says where the broker is.
set -eu
CACHE=$1 PYTHON=$1/py/bin/python
VERSION=$("$PYTHON" -c 'import amqp; print(amqp.__version__)')
SRC=$CACHE/pyamqp
if [ ! -e "$SRC/whole" ]; then
  rm -rf "$SRC"
  mkdir -p "$SRC"
  "$PYTHON" -m pip download -q --disable-pip-version-check --no-deps --no-binary amqp -d "$SRC" "amqp==$VERSION"
  tar xzf "$SRC"/*.tar.gz -C "$SRC" --strip-components=1
  touch "$SRC/whole"
fi
cd "$SRC"
export RABBITMQ_HOST=${AMQP_ADDR%:*} RABBITMQ_5672_TCP=${AMQP_ADDR##*:}
"$PYTHON" -m pytest -q -p no:cacheprovider --timeout 30 --junitxml=result.xml -k "not tls" t/integration/test_rmq.py >&2 || true
"$PYTHON" - <<'PY'
import sys, xml.etree.ElementTree as tree
failed = 0
for case in tree.parse("result.xml").iter("testcase"):
    bad = [e for e in case if e.tag in ("failure", "error")]
    failed += len(bad)
    print(f"FAIL {case.get('name')}: {' '.join(bad[0].get('message', '').split())[:300]}" if bad else f"PASS {case.get('name')}")
sys.exit(1 if failed else 0)
PY
