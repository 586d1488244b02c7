"""The third Celery program of amqp_celery.py: quorum queues, and countdowns that wait in the broker.

kombu declares 28 queues and exchanges for them, which pass a message on by their time to live.
"""

import os
import time

from celery import Celery
from kombu import Exchange, Queue

NAME = os.environ["CELERY_QUORUM"]
app = Celery("interop", broker=f"amqp://guest:guest@{os.environ['AMQP_ADDR']}//", backend="rpc://")
app.conf.task_default_queue = app.conf.task_default_exchange = app.conf.task_default_routing_key = NAME
app.conf.task_default_queue_type = "quorum"
app.conf.task_default_exchange_type = "topic"
app.conf.task_queues = [Queue(NAME, Exchange(NAME, type="topic"), routing_key=NAME, queue_arguments={"x-queue-type": "quorum"})]
app.conf.broker_transport_options = {"confirm_publish": True}
app.conf.broker_native_delayed_delivery_queue_type = "classic"
app.conf.broker_connection_retry_on_startup = True


@app.task
def clock():
    return time.time()


@app.task
def add(a, b):
    return a + b
