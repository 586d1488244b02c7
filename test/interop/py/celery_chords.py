"""The second Celery program of amqp_celery.py: chords, which need a result backend of files, and priorities."""

import os
import time

from celery import Celery, chord
from kombu import Queue

app = Celery("interop", broker=f"amqp://guest:guest@{os.environ['AMQP_ADDR']}//", backend=f"file://{os.environ['CELERY_RESULTS']}")
app.conf.task_default_queue = os.environ["CELERY_CHORDS"]
app.conf.task_queues = [Queue(os.environ["CELERY_CHORDS"], routing_key=os.environ["CELERY_CHORDS"], queue_arguments={"x-max-priority": 10})]
app.conf.worker_prefetch_multiplier = 1
app.conf.task_acks_late = True
app.conf.broker_connection_retry_on_startup = True


@app.task
def square(n):
    return n * n


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def doze(waits, goes_on):
    """Makes the first file, and waits for the second."""
    open(waits, "x").close()
    end = time.monotonic() + 60
    while not os.path.exists(goes_on) and time.monotonic() < end:
        time.sleep(0.05)


@app.task
def when(_):
    """When it ran, which tells the order of tasks."""
    return time.monotonic()
