"""Celery with its default settings: a worker process, results by rpc://, countdowns, retries, remote control, events.

A second worker has results in files, a queue with priorities and a prefetch of one: see celery_chords.py.
A third, of Celery 5.5 and later, has quorum queues and countdowns that wait in the broker: see celery_quorum.py.
"""

import datetime
import os
import subprocess
import sys
import tempfile
import threading
import time

from check import check, equal, main, name, promptly, until

os.environ["CELERY_QUEUE"] = name("tasks")
os.environ["CELERY_CHORDS"] = name("chords")
os.environ["CELERY_QUORUM"] = name("quorum")
os.environ["CELERY_RESULTS"] = tempfile.mkdtemp(prefix="celery-results-")

import celery
from celery_chords import chord, doze, square, total, when
from celery_tasks import add, app, group, third_time


def start(module, *options):
    command = [sys.executable, "-m", "celery", "-A", module, "worker", "-l", "warning", *options]
    return subprocess.Popen(command, cwd=os.path.dirname(os.path.abspath(__file__)), stdout=sys.stderr)


NODE = name("worker") + "@interop"
worker = start("celery_tasks", "-c", "2", "-E", "-n", NODE)
second = start("celery_chords", "-c", "1", "-n", name("second") + "@interop")


@check("a worker starts, and tasks give results")
def results():
    equal(add.delay(2, 3).get(timeout=60), 5, "result")
    equal(group(add.s(i, i) for i in range(50)).apply_async().get(timeout=60), [2 * i for i in range(50)], "results of a group")


@check("countdowns of many tasks hold up no other")
def countdown():
    def attempt(factor):
        begin = time.monotonic()
        later = [add.apply_async((i, 1), countdown=4 * factor) for i in range(30)]
        equal(add.delay(1, 1).get(timeout=60), 2, "result beside countdowns")
        took = time.monotonic() - begin
        equal(sum(task.get(timeout=60) for task in later), sum(i + 1 for i in range(30)), "sum of the delayed tasks")
        return took < 4 * factor or took  # or it waited behind them

    promptly(attempt)


@check("a task waits for its time")
def eta():
    soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1.5)
    begin = time.monotonic()
    equal(add.apply_async((3, 4), eta=soon).get(timeout=60), 7, "result")
    if time.monotonic() - begin < 1.4:
        raise AssertionError("a task did not wait for its time")


@check("retries come back until they succeed")
def retries():
    equal(third_time.delay(7).get(timeout=60), [7, 2], "result and retries")


@check("remote control: ping, rate limit, revoke")
def control():
    until(lambda: app.control.ping(timeout=1), "an answer to ping")
    equal(len(app.control.rate_limit("celery_tasks.add", "1000/s", destination=[NODE], reply=True, timeout=30)), 1, "answers to rate_limit")
    task = add.apply_async((1, 1), countdown=1)
    task.revoke()
    until(lambda: any(task.id in r for node in (app.control.inspect(destination=[NODE], timeout=10).revoked() or {}).values() for r in node), "the revoked task in the worker's list")


@check("a rate limit holds tasks back")
def rate_limit():
    app.control.rate_limit("celery_tasks.add", "4/s", destination=[NODE], reply=True, timeout=30)
    begin = time.monotonic()
    group(add.s(i, i) for i in range(8)).apply_async().get(timeout=60)
    if time.monotonic() - begin < 1.4:
        raise AssertionError("eight tasks at four a second took less than 1.4 s")
    app.control.rate_limit("celery_tasks.add", "0", destination=[NODE], reply=True, timeout=30)


@check("events tell what a worker does")
def events():
    seen = {}

    def listen():
        with app.connection() as connection:
            receiver = app.events.Receiver(connection, handlers={"*": lambda event: seen.setdefault(event.get("uuid"), []).append(event["type"])})
            receiver.capture(limit=None, timeout=None, wakeup=False)

    threading.Thread(target=listen, daemon=True).start()
    until(lambda: None in seen, "a worker's heartbeat", 20)
    task = add.delay(5, 5)
    equal(task.get(timeout=60), 10, "result")
    until(lambda: {"task-received", "task-started", "task-succeeded"} <= set(seen.get(task.id, ())), "the events of the task")


@check("a chord's body gets what its parts gave")
def chords():
    equal(chord((square.s(i) for i in range(10)), total.s()).apply_async().get(timeout=60), 285, "sum of squares")


@check("tasks of higher priority overtake")
def priorities():
    waits, goes_on = (os.path.join(os.environ["CELERY_RESULTS"], file) for file in ("waits", "goes-on"))
    doze.delay(waits, goes_on)
    until(lambda: os.path.exists(waits), "the worker is busy")  # and has the next task at most
    sent = [when.apply_async((i,), priority=priority) for i, priority in enumerate([0, 0, 1, 5, 9])]
    open(goes_on, "x").close()
    times = [task.get(timeout=60) for task in sent]
    order = sorted(range(1, 5), key=lambda i: times[i])  # the first was fetched before the others came
    equal(order, [4, 3, 2, 1], "order of the tasks")


if celery.VERSION >= (5, 5):
    import celery_quorum

    @check("quorum queues, and countdowns in the broker")
    def quorum():
        third = start("celery_quorum", "-c", "1", "-n", name("third") + "@interop")
        try:
            equal(celery_quorum.add.delay(2, 3).get(timeout=60), 5, "result")

            def attempt(factor):
                begin = time.time()
                later = [celery_quorum.clock.apply_async(countdown=seconds) for seconds in (1 + 2 * factor, 1)]
                equal(celery_quorum.add.delay(4, 5).get(timeout=60), 9, "result beside countdowns")
                beside = time.time() - begin
                waited = [task.get(timeout=60) - begin for task in later]
                equal([want <= got for want, got in zip((2 * factor, 0), waited)], [True, True], f"whether countdowns of {1 + 2 * factor} and 1 s are over after {waited}")  # a level is a second
                return beside < 1 + 2 * factor and all(got < want + 0.5 + factor for want, got in zip((2 * factor, 0), waited)) or (beside, waited)

            promptly(attempt)
        finally:
            third.terminate()
            equal(third.wait(timeout=60), 0, "exit code")


@check("the workers stop as they are told")
def stop():
    try:
        worker.terminate(), second.terminate()
        equal([worker.wait(timeout=60), second.wait(timeout=60)], [0, 0], "exit codes")
    finally:
        worker.kill(), second.kill()


main()
