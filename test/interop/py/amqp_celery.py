"""Celery with its default settings: a worker process, results by rpc://, countdowns, retries, remote control."""

import os
import subprocess
import sys
import time

from check import check, equal, main, name, until

os.environ["CELERY_QUEUE"] = name("tasks")

from celery_tasks import add, app, group, third_time

worker = subprocess.Popen(
    [sys.executable, "-m", "celery", "-A", "celery_tasks", "worker", "-c", "2", "-l", "warning", "-E"],
    cwd=os.path.dirname(os.path.abspath(__file__)),
    stdout=sys.stderr,
)


@check("a worker starts, and tasks give results")
def results():
    equal(add.delay(2, 3).get(timeout=20), 5, "result")
    equal(group(add.s(i, i) for i in range(50)).apply_async().get(timeout=20), [2 * i for i in range(50)], "results of a group")


@check("countdowns of many tasks hold up no other")
def countdown():
    later = [add.apply_async((i, 1), countdown=2) for i in range(30)]
    begin = time.monotonic()
    equal(add.delay(1, 1).get(timeout=10), 2, "result beside countdowns")
    if time.monotonic() - begin > 1.5:
        raise AssertionError("a task waited behind countdowns")
    equal(sum(task.get(timeout=20) for task in later), sum(i + 1 for i in range(30)), "sum of the delayed tasks")


@check("retries come back until they succeed")
def retries():
    equal(third_time.delay(7).get(timeout=20), [7, 2], "result and retries")


@check("remote control: ping, rate limit, revoke")
def control():
    until(lambda: app.control.ping(timeout=1), "an answer to ping")
    equal(len(app.control.rate_limit("celery_tasks.add", "1000/s", reply=True, timeout=2)), 1, "answers to rate_limit")
    task = add.apply_async((1, 1), countdown=1)
    task.revoke()
    until(lambda: any(task.id in r for node in app.control.inspect(timeout=1).revoked().values() for r in node), "the revoked task in the worker's list")


@check("the worker stops as it is told")
def stop():
    try:
        worker.terminate()
        equal(worker.wait(timeout=20), 0, "exit code")
    finally:
        worker.kill()


main()
