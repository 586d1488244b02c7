"""Conversations with what RabbitMQ 4.0.5 does not know yet, or only with a plugin: delayed retries, deduplication."""
import time

from pika.spec import Basic, Exchange, Queue

from conversations import conversation, declare, drop


@conversation
def delayed_retries(c):
    for kind in ("classic", "quorum"):
        for arguments in ({"x-delayed-retry-type": "some"}, {"x-delayed-retry-type": "all"}, {"x-delayed-retry-min": 0}, {"x-delayed-retry-max": "long"},
                          {"x-delayed-retry-min": 10, "x-delayed-retry-max": 9}, {"x-consumer-disconnected-timeout": -1}):
            c.call(1, Queue.Declare(queue=c.q(), durable=True, arguments={"x-queue-type": kind, **arguments}))
            drop(c, c.q())
    q = declare(c, "q", arguments={"x-delayed-retry-type": "returned", "x-delayed-retry-min": 500})
    c.publish(2, "", q, b"one")
    c.get(2, q, ack=False)
    c.tell(2, Basic.Nack(1, False, True))
    c.get(2, q, ack=False)
    time.sleep(1)
    c.get(3, q, ack=False)
    c.tell(3, Basic.Reject(1, True))
    c.get(3, q)
    drop(c, q)


@conversation
def duplicates(c):
    q = declare(c, arguments={"x-message-deduplication": True})
    for name in ("a", "b", "a", 1, 1, None):
        c.publish(1, "", q, b"%s" % str(name).encode(), headers={"x-deduplication-header": name})
    for _ in range(7):
        c.get(1, q)
    drop(c, q)
    c.call(1, Exchange.Declare(exchange=c.q("x"), type="x-message-deduplication", arguments={"x-cache-size": 10}))
    c.call(1, Exchange.Declare(exchange=c.q("x"), type="x-message-deduplication"))
    c.call(1, Exchange.Delete(exchange=c.q("x")))
