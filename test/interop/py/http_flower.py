"""Flower with its default settings: how long Celery's queues are, which it asks the HTTP management API for, and the workers."""

import base64
import json
import os
import subprocess
import sys
import urllib.request

from check import AMQP_HOST, AMQP_PORT, check, equal, free_port, main, name, until

HTTP = os.environ["HTTP_ADDR"]
os.environ["CELERY_QUEUE"] = name("tasks")

from celery_tasks import add, app

HERE = os.path.dirname(os.path.abspath(__file__))
PORT = free_port()

flower = subprocess.Popen(
    [sys.executable, "-m", "celery", "-A", "celery_tasks", "flower", "--address=127.0.0.1", f"--port={PORT}", f"--broker-api=http://guest:guest@{HTTP}/api/", "--logging=warning"],
    cwd=HERE, stdout=sys.stderr, env={**os.environ, "FLOWER_UNAUTHENTICATED_API": "1"})
worker = None


def ask(path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}{path}", timeout=60) as answer:
            return answer.read().decode()
    except OSError:
        return ""


def length():
    text = ask("/api/queues/length")
    return {q["name"]: q["messages"] for q in json.loads(text)["active_queues"]} if text else {}


def declared():
    """The queue as a worker makes it."""
    with app.connection() as c:
        app.amqp.queues[os.environ["CELERY_QUEUE"]].bind(c).declare()


@check("it starts, and tells how many tasks wait in a queue")
def queue():
    declared()
    for i in range(7):
        add.delay(i, i)
    until(lambda: length().get(os.environ["CELERY_QUEUE"]) == 7, "seven tasks wait", seconds=30, step=0.2)


@check("its page of the broker has the queue and its figures")
def page():
    text = ask("/broker")
    if os.environ["CELERY_QUEUE"] not in text or f"{AMQP_HOST}:{AMQP_PORT}" not in text:
        raise AssertionError(text[:300])


@check("tasks that are done wait no longer, and the worker is known")
def done():
    global worker
    worker = subprocess.Popen([sys.executable, "-m", "celery", "-A", "celery_tasks", "worker", "-l", "warning", "-c", "1", "-E", "-n", name("worker") + "@interop"], cwd=HERE, stdout=sys.stderr)
    equal(add.delay(2, 3).get(timeout=60), 5, "result")
    until(lambda: length().get(os.environ["CELERY_QUEUE"]) == 0, "no task waits", seconds=20, step=0.2)
    until(lambda: name("worker") in ask("/api/workers?refresh=1"), "the worker is listed", seconds=20, step=0.5)


@check("they stop as they are told")
def stop():
    for process in filter(None, (worker, flower)):
        process.terminate()
    for process in filter(None, (worker, flower)):
        try:
            process.wait(timeout=60)
        finally:
            process.kill()


main()
