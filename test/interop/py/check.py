"""What every Python program here shares: addresses, named checks, a time limit.

A program lists its checks with @check and ends with main(). Each check prints
one line, `PASS name (seconds)` or `FAIL name: reason`, which is all that the
runner reads. Addresses come from the environment, so that the very same program
runs against any broker:

    AMQP_ADDR    host:port (user guest, password guest, vhost /)
    KAFKA_ADDR   host:port
    KAFKA_SASL   user:password for SASL PLAIN; unset or empty means no SASL
"""

import base64
import json
import os
import random
import signal
import socket
import sys
import time
import traceback
import urllib.request
import uuid

AMQP_HOST, AMQP_PORT = (os.environ.get("AMQP_ADDR") or "127.0.0.1:5672").rsplit(":", 1)
AMQP_PORT = int(AMQP_PORT)
KAFKA_ADDR = os.environ.get("KAFKA_ADDR") or "127.0.0.1:9092"
KAFKA_SASL = os.environ.get("KAFKA_SASL", "")

# Limits are what a program takes at most on a machine of its own. One with few processors that does other
# things beside it, and reads its programs from disk for the first time, is given this many times as long.
PATIENCE = 3

# Names are new in each run, so that a broker which keeps its data can be used twice.
RUN = uuid.uuid4().hex[:8]

_checks = []


def name(what):
    """A queue, exchange, topic or group name of this run."""
    return f"interop.{os.path.splitext(os.path.basename(sys.argv[0]))[0]}.{what}.{RUN}"


def check(title, limit=40):
    """Registers a function as a check that may take `limit` seconds, times PATIENCE."""

    def register(function):
        _checks.append((title, limit, function))
        return function

    return register


def equal(got, want, what):
    if got != want:
        raise AssertionError(f"{what}: got {short(got)}, want {short(want)}")


def short(value, limit=300):
    text = repr(value)
    return text if len(text) <= limit else text[:limit] + f"… ({len(text)} characters)"


def until(condition, what, seconds=15, step=0.02):
    """Waits until condition() is true and returns what it returned; gives up after `seconds`, times PATIENCE."""
    seconds *= PATIENCE
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(step)


def promptly(attempt, times=4):
    """For what holds how long something takes at most, which a machine that is busy may miss: attempt(factor) is to wait so many times as long each time, and to say whether it was in time."""
    late = []
    for turn in range(times):
        result = attempt(2**turn)
        if result is True:
            return
        late.append(result)
    raise AssertionError(f"never in time: {short(late)}")


def user(who):
    """Makes a user of this run, with the password "secret" and all rights in /, and returns the name. Nobody else is told what comes for it."""

    def put(path, body):
        request = urllib.request.Request(f"http://{os.environ['HTTP_ADDR']}/api/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}, method="PUT")
        request.add_header("Authorization", "Basic " + base64.b64encode(b"guest:guest").decode())
        urllib.request.urlopen(request, timeout=60).close()

    put(f"users/{who}-{RUN}", {"password": "secret", "tags": ""})
    put(f"permissions/%2F/{who}-{RUN}", {"configure": ".*", "write": ".*", "read": ".*"})
    return f"{who}-{RUN}"


def free_port():
    """A port that nothing listens on, below those that the system gives to connections."""
    while True:
        port = random.randint(16000, 23999)
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _expired(_signal, _frame):
    raise TimeoutError("the check's time limit is over")


def main():
    signal.signal(signal.SIGALRM, _expired)
    only = os.environ.get("ONLY", "")
    failed = 0
    for title, limit, function in _checks:
        if only not in title:
            continue
        start = time.monotonic()
        signal.alarm(limit * PATIENCE)
        try:
            function()
        except BaseException as error:  # a check may fail in any way; the next one still runs
            if isinstance(error, KeyboardInterrupt):
                raise
            failed += 1
            signal.alarm(0)
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            print(f"FAIL {title}: {reason}", flush=True)
            traceback.print_exc(file=sys.stderr)
        else:
            signal.alarm(0)
            print(f"PASS {title} ({time.monotonic() - start:.1f} s)", flush=True)
    sys.stdout.flush()
    # Threads of a failed check must not keep the program alive.
    os._exit(1 if failed else 0)
