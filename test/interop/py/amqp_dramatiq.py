"""Dramatiq: actors, delayed messages, and what failed for good in the queue of the dead."""

import logging
import time

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from check import AMQP_HOST, AMQP_PORT, check, equal, main, name, until

logging.disable(logging.CRITICAL)
QUEUE = name("actors")
broker = RabbitmqBroker(url=f"amqp://guest:guest@{AMQP_HOST}:{AMQP_PORT}")
dramatiq.set_broker(broker)
got, tried = [], []


@dramatiq.actor(queue_name=QUEUE)
def keep(x):
    got.append(x)


@dramatiq.actor(queue_name=QUEUE, max_retries=2, min_backoff=100, max_backoff=100)
def fail(x):
    tried.append(x)
    raise ValueError(x)


worker = dramatiq.Worker(broker, worker_timeout=100)
worker.start()


@check("actors get their messages")
def actors():
    for i in range(100):
        keep.send(i)
    until(lambda: len(got) == 100, "100 messages")
    equal(sorted(got), list(range(100)), "messages")


@check("a delayed message comes when its time is over")
def delayed():
    begin = time.monotonic()
    keep.send_with_options(args=("late",), delay=1000)
    until(lambda: "late" in got, "the delayed message")
    if time.monotonic() - begin < 0.9:
        raise AssertionError("it came early")


@check("what fails is tried again, and then dead-lettered")
def dead():
    fail.send("bad")
    until(lambda: len(tried) == 3, "three tries")
    until(lambda: broker.get_queue_message_counts(QUEUE) == (0, 0, 1), "one message in the queue of the dead")
    worker.stop()
    broker.close()


main()
