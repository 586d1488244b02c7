"""Conversations about whose turn it is: single active consumers, priorities of consumers and of messages, prefetch."""
import time

from pika.spec import Basic, Channel, Queue

from client import double, long, short
from conversations import conversation, declare, drop

QUORUM = {"x-queue-type": "quorum"}


def fill(c, q, n, first=0):
    for i in range(first, first + n):
        c.publish(9, "", q, b"%d" % i)


def consume(c, channel, q, tag, prefetch=2, **arguments):
    c.call(channel, Basic.Qos(prefetch_count=prefetch), True)
    c.call(channel, Basic.Consume(queue=q, consumer_tag=tag, arguments=arguments), True)


def close(c, channel, what):
    c.tell(channel, Channel.Close(200, "", 0, 0))
    c.channels.discard(channel)
    c.hear(what)


def empty(c, *queues):
    """Ends the queues and hears of what hangs on them."""
    for q in queues:
        c.tell(9, Queue.Delete(queue=q))
    c.hear("the end")


def failing_over(c, **arguments):
    q = declare(c, arguments={"x-single-active-consumer": True, **arguments})
    for channel, tag in ((1, "a"), (2, "b"), (3, "c")):
        consume(c, channel, q, tag)
    fill(c, q, 6)
    c.hear("the first has two")
    c.tell(1, Basic.Cancel("a"))
    c.hear("it is cancelled, and holds them")
    c.tell(1, Basic.Nack(1, False, True))
    c.hear("one is given back, and there is no credit", patience=0.5)
    c.tell(2, Basic.Ack(1))
    c.hear("that comes first")
    close(c, 2, "the second is gone")
    c.tell(3, Basic.Ack(0, True))
    c.hear("the third goes on")
    close(c, 1, "the first is gone with what it kept")
    c.tell(3, Basic.Ack(0, True))
    c.hear("that comes")
    empty(c, q)


@conversation
def single_active_fails_over(c):
    failing_over(c)


@conversation
def single_active_fails_over_quorum(c):
    failing_over(c, **QUORUM)


def preferring(c, **arguments):
    q = declare(c, arguments={"x-single-active-consumer": True, **arguments})
    consume(c, 1, q, "a")
    consume(c, 2, q, "low", **{"x-priority": -1})
    consume(c, 3, q, "b")
    fill(c, q, 1)
    c.hear("the first is active")
    consume(c, 4, q, "high", **{"x-priority": 5})
    fill(c, q, 6, 1)
    c.hear("one of a higher priority comes")
    c.tell(1, Basic.Ack(0, True))
    c.hear("the first holds nothing")
    for channel, who in ((1, "the first"), (4, "the highest"), (3, "the next")):
        close(c, channel, who + " is gone")
    empty(c, q)


@conversation
def single_active_of_priorities(c):
    preferring(c)


@conversation
def single_active_of_priorities_quorum(c):
    preferring(c, **QUORUM)


@conversation
def single_active_refuses(c):
    q = declare(c, arguments={"x-single-active-consumer": True})
    c.call(1, Basic.Consume(queue=q, consumer_tag="x", exclusive=True))
    c.call(1, Basic.Consume(queue=q, consumer_tag="a"))
    c.call(1, Basic.Consume(queue=q, consumer_tag="x", exclusive=True))
    c.call(1, Basic.Get(queue=q))
    c.call(1, Queue.Declare(queue=q, durable=True, arguments={"x-single-active-consumer": False}))
    c.call(1, Queue.Declare(queue=q, durable=True))
    drop(c, q)
    q = declare(c, arguments={"x-single-active-consumer": True, **QUORUM})
    c.call(1, Basic.Get(queue=q))
    drop(c, q)


@conversation
def exclusive_consumers(c):
    q = declare(c)
    fill(c, q, 1)
    c.call(1, Basic.Consume(queue=q, consumer_tag="x", exclusive=True), True)
    c.hear("alone")
    c.call(2, Basic.Get(queue=q))
    c.call(2, Basic.Consume(queue=q, consumer_tag="y"))
    c.call(2, Basic.Consume(queue=q, consumer_tag="y", exclusive=True))
    close(c, 1, "it is gone")
    c.call(2, Basic.Consume(queue=q, consumer_tag="y", exclusive=True), True)
    c.hear("the next")
    empty(c, q)


@conversation
def consumer_arguments(c):
    for arguments in ({}, QUORUM):
        q = declare(c, arguments=arguments)
        for value in (5, -5, 0, long(2**40), long(-2**40), short(3), double(1.5), True, "5", "", None, [1], {"a": 1}):
            for name in ("x-priority", "x-consumer-timeout"):
                c.call(1, Basic.Consume(queue=q, consumer_tag="p", arguments={name: value}))
                c.call(1, Basic.Cancel("p"), True)
        for name in ("x-stream-offset", "x-stream-filter", "x-stream-match-unfiltered", "x-cancel-on-ha-failover", "x-unknown"):
            c.call(1, Basic.Consume(queue=q, consumer_tag="p", arguments={name: True}))
            c.call(1, Basic.Cancel("p"), True)
        c.call(1, Basic.Consume(queue=q, consumer_tag="p", arguments={"x-priority": "high", "x-stream-offset": 1}))
        drop(c, q)
    c.call(1, Basic.Consume(queue=c.q("none"), consumer_tag="p", arguments={"x-priority": "high"}))


@conversation
def prefetch_of_the_channel(c):
    q = declare(c)
    fill(c, q, 20)
    c.call(1, Basic.Qos(prefetch_count=3, global_qos=True), True)
    c.call(1, Basic.Get(queue=q))
    c.call(1, Basic.Consume(queue=q, consumer_tag="a"), True)
    c.hear("three, and what was got does not count")
    c.call(1, Basic.Qos(prefetch_count=5, global_qos=True), True)
    c.hear("more")
    c.call(1, Basic.Qos(prefetch_count=2, global_qos=True), True)
    c.tell(1, Basic.Ack(2))
    c.hear("fewer")
    c.tell(1, Basic.Ack(4, True))
    c.hear("none yet, or one", patience=0.5)
    c.tell(1, Basic.Ack(5))
    c.hear("room for one", patience=0.5)
    c.call(1, Basic.Qos(prefetch_count=1), True)
    c.hear("for later consumers, and the channel's own is over")
    empty(c, q)


@conversation
def prefetch_of_each_consumer(c):
    q = declare(c)
    fill(c, q, 10)
    for tag, count in (("a", 1), ("b", 3), ("c", 0)):
        c.call(1, Basic.Qos(prefetch_count=count), True)
        c.call(1, Basic.Consume(queue=q, consumer_tag=tag), True)
        c.hear(f"{tag} may have {count}")
    empty(c, q)


@conversation
def priorities_given_back(c):
    q = declare(c, arguments={"x-max-priority": 9})
    for n, priority in enumerate((1, 0, 3, 2, 1)):
        c.publish(9, "", q, b"%d" % n, priority=priority)
    c.hear("published", patience=0.3)
    consume(c, 1, q, "a")
    c.hear("the two highest")
    c.publish(9, "", q, b"5", priority=9)
    c.hear("no credit", patience=0.5)
    c.tell(1, Basic.Nack(1, False, True))
    c.hear("what came meanwhile is higher than what was given back")
    for tag in (2, 3, 4, 5, 6):
        c.tell(1, Basic.Ack(tag))
        c.hear(f"{tag} is acked", patience=0.5)
    c.call(9, Basic.Get(queue=q))
    empty(c, q)


@conversation
def priorities_counted(c):
    q = declare(c, arguments={"x-max-priority": 255})
    for priority in range(0, 256, 51):
        c.publish(1, "", q, b"%d" % priority, priority=priority)
    c.count(1, q)
    c.call(1, Basic.Get(queue=q))
    c.call(1, Queue.Purge(queue=q))
    c.count(1, q)
    close(c, 1, "the channel is gone")
    c.count(1, q)
    c.call(1, Queue.Delete(queue=q, if_empty=True))
    c.get(1, q)
    c.get(1, q)
    c.call(1, Queue.Delete(queue=q, if_empty=True, if_unused=True))
    for value in (0, 1):
        q = declare(c, arguments={"x-max-priority": value})
        for n, priority in enumerate((0, 9, 1)):
            c.publish(1, "", q, b"%d" % n, priority=priority)
        for _ in range(4):
            c.get(1, q)
        c.call(1, Queue.Declare(queue=q, durable=True))
        c.call(1, Queue.Declare(queue=q, durable=True, arguments={"x-max-priority": 2}))
        drop(c, q)


@conversation
def priorities_that_expire(c):
    q = declare(c, arguments={"x-max-priority": 9})
    c.publish(1, "", q, b"head", priority=5)
    c.publish(1, "", q, b"behind", priority=5, expiration="50")
    c.publish(1, "", q, b"below", priority=1, expiration="50")
    time.sleep(0.5)
    c.count(1, q)
    for _ in range(3):
        c.get(1, q)
    drop(c, q)
