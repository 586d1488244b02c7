"""Conversations about streams: who may consume them, from where, and what acks mean."""
import datetime
import time

from pika.spec import Basic, Confirm, Exchange, Queue, Tx

from client import double, long, short
from conversations import conversation, bind, declare, drop, exchange

STREAM = {"x-queue-type": "stream"}


def stream(c, messages=0, suffix="", **arguments):
    """A stream with messages of which each came alone: RabbitMQ keeps those that come together together."""
    q = declare(c, suffix, arguments=STREAM | arguments)
    c.call(9, Confirm.Select(), True)
    for n in range(messages):
        put(c, q, b"%d" % n)
    return q


def put(c, q, body, exchange="", **properties):
    properties.setdefault("delivery_mode", 2)
    c.publish(9, exchange, q, body, **properties)
    c.hear_quietly(9)


def consume(c, q, what, channel=1, prefetch=10, patience=1, **more):
    """Consumes from channel until it is quiet, and cancels."""
    c.call(channel, Basic.Qos(prefetch_count=prefetch), True)
    tag = more.pop("tag", "t")
    c.call(channel, Basic.Consume(queue=q, consumer_tag=tag, **more))
    c.hear(what, patience=patience)
    if c.socket:
        c.call(channel, Basic.Cancel(tag), True)


@conversation
def streams(c):
    q = declare(c, arguments=STREAM, quietly=False)
    c.call(9, Confirm.Select(), True)
    for n in range(5):
        put(c, q, b"%d" % n)
    c.call(1, Basic.Consume(queue=q, consumer_tag="a"))
    for offset in ("first", "last", "next", 2, long(4), short(1), 5, 0, -1, long(2**40), "1h", "7D", "1Y", "2M", "30m"):
        consume(c, q, f"from {offset}", arguments={"x-stream-offset": offset})
    c.call(1, Queue.Purge(queue=q))
    c.get(2, q)
    c.call(3, Queue.Delete(queue=q), True)


@conversation
def stream_offsets_that_are_none(c):
    q = stream(c, 2)
    for offset in ("nonsense", "", "1x", "h", "-1h", True, double(1.5), None, [1], {"a": 1}, "FIRST", "2"):
        consume(c, q, f"from {offset}", arguments={"x-stream-offset": offset})
    drop(c, q)


@conversation
def stream_offsets_by_time(c):
    q = stream(c, 2)
    time.sleep(2.1)
    between = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    time.sleep(1.1)
    put(c, q, b"later")
    year = datetime.timedelta(days=365)
    for what, at in (("before", between - year), ("between", between), ("after", between + year)):
        consume(c, q, what, arguments={"x-stream-offset": at})
    consume(c, q, "2s", arguments={"x-stream-offset": "2s"})
    drop(c, q)


@conversation
def stream_consumers_refused(c):
    q = stream(c, 2)
    c.call(1, Basic.Consume(queue=q, consumer_tag="none"))
    c.call(2, Basic.Qos(prefetch_count=10), True)
    c.call(2, Basic.Consume(queue=q, consumer_tag="noack", no_ack=True))
    c.call(3, Basic.Consume(queue=q, consumer_tag="neither", no_ack=True))
    c.call(4, Basic.Qos(prefetch_count=10, global_qos=True), True)
    c.call(4, Basic.Consume(queue=q, consumer_tag="global"))
    c.call(7, Basic.Qos(prefetch_count=10), True)
    c.call(7, Basic.Qos(prefetch_count=10, global_qos=True), True)
    c.call(7, Basic.Consume(queue=q, consumer_tag="global, too"))
    c.call(5, Basic.Qos(prefetch_count=10, global_qos=True), True)
    c.call(5, Basic.Qos(prefetch_count=10), True)
    c.call(5, Basic.Consume(queue=q, consumer_tag="both"))
    for arguments in ({"x-priority": 1}, {"x-priority": 0}, {"x-priority": "a"}, {"x-credit": {"credit": 1, "drain": False}}, {"other": 1},
                      {"x-consumer-timeout": 1000}, {"x-cancel-on-ha-failover": True}):
        c.call(6, Basic.Qos(prefetch_count=10), True)
        c.call(6, Basic.Consume(queue=q, consumer_tag="t", arguments=arguments))
        c.hear(f"{arguments}")
        c.call(6, Basic.Cancel("t"), True)
    drop(c, q)


@conversation
def stream_consumers_exclusive(c):
    q = stream(c, 1)
    for n, exclusive in ((1, True), (2, False), (3, True)):
        c.call(n, Basic.Qos(prefetch_count=10), True)
        c.call(n, Basic.Consume(queue=q, consumer_tag=f"t{n}", exclusive=exclusive, arguments={"x-stream-offset": "first"}))
        c.hear()
    drop(c, q)


@conversation
def stream_credit(c):
    q = stream(c, 9)
    c.call(1, Basic.Qos(prefetch_count=2), True)
    c.call(1, Basic.Consume(queue=q, consumer_tag="t", arguments={"x-stream-offset": "first"}))
    c.hear("two")
    for what, method in (("ack", Basic.Ack(1)), ("nack", Basic.Nack(2)), ("nack, requeue", Basic.Nack(3, requeue=True)), ("reject", Basic.Reject(4)),
                         ("all", Basic.Ack(6, multiple=True)), ("recover", Basic.Recover(requeue=True)), ("unknown", Basic.Ack(77))):
        c.tell(1, method)
        c.hear(what, patience=1)
    consume(c, q, "again, from the start", arguments={"x-stream-offset": "first"}, prefetch=3)
    c.call(1, Basic.Qos(prefetch_count=3), True)
    c.call(1, Basic.Consume(queue=q, consumer_tag="u", arguments={"x-stream-offset": 7}))
    c.hear("what is unacked stays with its channel")
    c.tell(1, Basic.Ack(0, multiple=True))
    c.hear("all")
    drop(c, q)


@conversation
def stream_consumers_share_nothing(c):
    q = stream(c, 3)
    for tag in "ab":
        c.call(1, Basic.Qos(prefetch_count=2), True)
        c.call(1, Basic.Consume(queue=q, consumer_tag=tag, arguments={"x-stream-offset": "first"}))
        c.hear(tag)
    c.tell(1, Basic.Ack(2, multiple=True))
    c.hear("acks of one")
    c.tell(1, Basic.Ack(4, multiple=True))
    c.hear("acks of the other")
    c.call(1, Basic.Cancel("b"), True)
    c.publish(2, "", q, b"new", delivery_mode=2)
    c.hear("new for the one that is left")
    drop(c, q)


@conversation
def stream_counts(c):
    q = stream(c, 3)
    c.count(2, q)
    c.call(1, Basic.Qos(prefetch_count=10), True)
    c.call(1, Basic.Consume(queue=q, consumer_tag="t", arguments={"x-stream-offset": "first"}))
    c.hear()
    c.count(2, q)
    c.call(2, Queue.Declare(queue=q, durable=True, arguments=STREAM))
    c.tell(1, Basic.Ack(0, multiple=True))
    c.count(2, q)
    c.call(2, Queue.Delete(queue=q), True)
    c.hear("the consumer hears")
    c.call(2, Queue.Declare(queue=q, passive=True))


@conversation
def stream_delete_conditions(c):
    q = stream(c, 3)
    c.call(1, Basic.Qos(prefetch_count=10), True)
    c.call(1, Basic.Consume(queue=q, consumer_tag="t"))
    c.call(2, Queue.Delete(queue=q, if_unused=True))
    c.call(2, Queue.Delete(queue=q, if_empty=True))
    drop(c, q)


@conversation
def stream_properties(c):
    q = stream(c)
    x = exchange(c, "x", "topic")
    bind(c, q, x, "a.#")
    put(c, q, b"plain")
    put(c, "a.b", b"routed", exchange=x)
    put(c, q, b"headers", headers={"a": "b", "n": long(5), "t": True})
    put(c, q, b"its own offset", headers={"x-stream-offset": long(77), "z": "z"})
    put(c, q, b"its own offset first", headers={"x-stream-offset": "text"})
    put(c, q, b"properties", content_type="text/plain", priority=5, correlation_id="c", reply_to="r", message_id="m", type="t", app_id="a", user_id="guest")
    put(c, q, b"expires", expiration="1")
    put(c, q, b"")
    time.sleep(0.1)
    consume(c, q, "all", arguments={"x-stream-offset": "first"})
    drop(c, q)
    c.call(1, Exchange.Delete(exchange=x), True)


@conversation
def stream_properties_as_they_came(c):
    q = stream(c)
    put(c, q, b"no mode", delivery_mode=None)
    put(c, q, b"numbers", headers={"short": short(3), "int": 3, "double": double(1.5), "none": None, "list": [1, "a"], "table": {"a": 1}})
    consume(c, q, "all", arguments={"x-stream-offset": "first"})
    drop(c, q)


@conversation
def stream_filters(c):
    q = stream(c)
    for value in ("a", "b", None, "a", "c"):
        put(c, q, repr(value).encode(), headers=value and {"x-stream-filter-value": value})
    for arguments in ({"x-stream-filter": "a"}, {"x-stream-filter": ["a", "b"]}, {"x-stream-filter": "a", "x-stream-match-unfiltered": True},
                      {"x-stream-filter": "a", "x-stream-match-unfiltered": False}, {"x-stream-filter": "none"}, {"x-stream-filter": []},
                      {"x-stream-match-unfiltered": True}, {"x-stream-filter": ["a", "c"], "x-stream-match-unfiltered": True}):
        consume(c, q, f"{arguments}", arguments=arguments | {"x-stream-offset": "first"}, prefetch=1000)
    drop(c, q)


@conversation
def stream_filters_that_are_none(c):
    q = stream(c, 1)
    for arguments in ({"x-stream-filter": 5}, {"x-stream-filter": True}, {"x-stream-filter": [1]}, {"x-stream-filter": ["a", 1]}, {"x-stream-filter": {"a": 1}},
                      {"x-stream-filter": ""}, {"x-stream-filter": None}, {"x-stream-match-unfiltered": "yes"}, {"x-stream-match-unfiltered": 1},
                      {"x-stream-filter": "a", "x-stream-match-unfiltered": "yes"}):
        consume(c, q, f"{arguments}", arguments=arguments | {"x-stream-offset": "first"})
    drop(c, q)


@conversation
def streams_declared(c):
    c.call(1, Queue.Declare(queue="", durable=True, arguments=STREAM))
    c.call(1, Queue.Delete(queue=""))
    q = c.q()
    full = STREAM | {"x-max-age": "1h", "x-max-length-bytes": 10**9, "x-stream-max-segment-size-bytes": 10**6, "x-initial-cluster-size": 1,
                     "x-queue-leader-locator": "client-local"}
    for first, second in ((full, full), (full, STREAM), (STREAM, full), (STREAM, STREAM | {"x-stream-filter-size-bytes": 32}),
                          (STREAM | {"x-stream-filter-size-bytes": 32}, STREAM | {"x-stream-filter-size-bytes": 31}),
                          (STREAM | {"x-stream-filter-size-bytes": 32}, STREAM | {"x-stream-filter-size-bytes": 1}),
                          (STREAM | {"x-max-age": "60m"}, STREAM | {"x-max-age": "1h"}), (STREAM | {"x-max-length-bytes": 5}, STREAM | {"x-max-length-bytes": long(5)}),
                          (STREAM, {}), ({}, STREAM), (STREAM, {"x-queue-type": "quorum"}), (STREAM, STREAM | {"other": 5})):
        c.say(f"{first} then {second}")
        c.call(1, Queue.Declare(queue=q, durable=True, arguments=first))
        c.call(1, Queue.Declare(queue=q, durable=True, arguments=second))
        drop(c, q)
    for age in ("1Y", "1M", "1D", "1h", "1m", "1s", "0s", "01h", "99999999999D", "1.5h", "1H", " 1h", "1h "):
        c.call(1, Queue.Declare(queue=q, durable=True, arguments=STREAM | {"x-max-age": age}))
        drop(c, q)
    for size in (15, 16, 17, 255, 256):
        c.call(1, Queue.Declare(queue=q, durable=True, arguments=STREAM | {"x-stream-filter-size-bytes": size}))
        drop(c, q)
    for size in (0, 1, 3_000_000_000, 3_000_000_001, long(2**40)):
        c.call(1, Queue.Declare(queue=q, durable=True, arguments=STREAM | {"x-stream-max-segment-size-bytes": size}))
        drop(c, q)


@conversation
def stream_gets_dead_letters(c):
    q = stream(c)
    source = declare(c, "source", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": q})
    c.publish(1, "", source, b"dead", delivery_mode=2)
    c.call(1, Basic.Get(queue=source))
    c.tell(1, Basic.Reject(1, requeue=False))
    time.sleep(0.3)
    consume(c, q, "a dead letter", arguments={"x-stream-offset": "first"})
    drop(c, q, source)


@conversation
def stream_acks_in_transactions(c):
    q = stream(c, 4)
    c.call(1, Tx.Select(), True)
    c.call(1, Basic.Qos(prefetch_count=2), True)
    c.call(1, Basic.Consume(queue=q, consumer_tag="t", arguments={"x-stream-offset": "first"}))
    c.hear("two")
    c.tell(1, Basic.Ack(2, multiple=True))
    c.hear("acked in a transaction", patience=1)
    c.tell(1, Tx.Commit())
    c.hear("committed")
    c.tell(1, Basic.Ack(4, multiple=True))
    c.call(1, Tx.Rollback())
    c.hear("rolled back")
    c.publish(1, "", q, b"in a transaction", delivery_mode=2)
    c.tell(1, Basic.Ack(4, multiple=True))
    c.tell(1, Tx.Commit())
    c.hear("published and committed")
    drop(c, q)
