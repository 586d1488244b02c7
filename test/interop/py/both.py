"""Both worlds in one broker: pika and librdkafka on the same messages.

Only a broker that serves AMQP and Kafka clients from the same queues can pass.
"""

import threading
import time

import pika
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from check import AMQP_HOST, AMQP_PORT, KAFKA_ADDR, KAFKA_SASL, check, equal, main, name, until


def amqp():
    connection = pika.BlockingConnection(
        pika.ConnectionParameters(AMQP_HOST, AMQP_PORT, credentials=pika.PlainCredentials("guest", "guest"), heartbeat=30)
    )
    return connection, connection.channel()


def kafka(**more):
    conf = {"bootstrap.servers": KAFKA_ADDR, "client.id": "interop-both"}
    if KAFKA_SASL:
        user, password = KAFKA_SASL.split(":", 1)
        conf |= sasl(user, password)
    return conf | {key.replace("_", "."): value for key, value in more.items()}


def sasl(user, password):
    return {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": user, "sasl.password": password}


def group_reads(topic, group, count, seconds=60):
    """What a new member of a group reads, from the group's place or the beginning; commits it."""
    consumer = Consumer(kafka(group_id=group, auto_offset_reset="earliest", enable_auto_commit=False, heartbeat_interval_ms=500))
    consumer.subscribe([topic])
    got, end = [], time.monotonic() + seconds
    while len(got) < count and time.monotonic() < end:
        for message in consumer.consume(count - len(got), timeout=0.5):
            if message.error():
                raise KafkaException(message.error())
            got.append(message)
    if len(got) < count:
        consumer.close()
        raise AssertionError(f"group {group} read {len(got)} of {count} messages of {topic} within {seconds} s")
    consumer.commit(asynchronous=False)
    consumer.close()
    return got


def produce(topic, records, **config):
    """records: (key, value, headers, timestamp); all are acked when this returns."""
    producer, errors = Producer(kafka(enable_idempotence=True, linger_ms=5, **config)), []
    for key, value, headers, timestamp in records:
        producer.produce(
            topic, value, key, on_delivery=lambda e, _m: errors.append(e) if e else None, headers=headers, **({"timestamp": timestamp} if timestamp else {})
        )
    equal(producer.flush(60), 0, "records not sent")
    equal(errors, [], "errors")


def work(queue, count, prefetch=20, seconds=60):
    """A worker which acks `count` messages one by one; returns them."""
    connection, ch = amqp()
    ch.basic_qos(prefetch_count=prefetch)
    got = []
    for method, properties, body in ch.consume(queue, inactivity_timeout=seconds):
        if method is None:
            raise AssertionError(f"{len(got)} of {count} messages of {queue} within {seconds} s")
        got.append((method, properties, body))
        ch.basic_ack(method.delivery_tag)
        if len(got) == count:
            break
    connection.close()
    return got


def ready(queue):
    connection, ch = amqp()
    count = ch.queue_declare(queue, passive=True).method.message_count
    connection.close()
    return count


def create(topic):
    """A topic of one partition; the client must live until the answer is there."""
    admin = AdminClient(kafka())
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(60)
    return admin


def drop(*queues, exchange=None):
    connection, ch = amqp()
    for queue in queues:
        ch.queue_delete(queue)
    if exchange:
        ch.exchange_delete(exchange)
    connection.close()


@check("pika publishes through a topic exchange, workers ack, a Kafka group reads all from the beginning (x-retention)")
def retained():
    exchange, queue = name("logs"), name("retained")
    connection, ch = amqp()
    ch.exchange_declare(exchange, "topic", durable=True)
    ch.queue_declare(queue, durable=True, arguments={"x-retention": "1h"})
    ch.queue_bind(queue, exchange, "*.error")
    ch.confirm_delivery()
    before = int(time.time() * 1000) - 1
    workers, done = [], []
    for _ in range(2):
        thread = threading.Thread(target=lambda: done.extend(work(queue, 250, prefetch=10)), daemon=True)
        thread.start()
        workers.append(thread)
    sent = []
    for i in range(1000):
        key = f"service{i % 7}.{'error' if i % 2 else 'info'}"
        ch.basic_publish(exchange, key, f"line {i}", pika.BasicProperties(delivery_mode=2))
        if i % 2:
            sent.append((key.encode(), b"line %d" % i))
    for worker in workers:
        worker.join(60)
    equal(sorted(b for _, _, b in done), sorted(v for _, v in sent), "what the workers did")
    equal(ready(queue), 0, "ready messages after all were acked")
    for group in ("first", "second"):  # each from the beginning, although all is acked
        got = group_reads(queue, name(group), 500)
        equal([(m.key(), m.value()) for m in got], sent, f"the {group} group")
        equal([m.offset() for m in got], sorted(m.offset() for m in got), "offsets rise")
        in_time = [m for m in got if before <= m.timestamp()[1] <= time.time() * 1000 + 1]
        equal(len(in_time), 500, "records stamped with their arrival")
    ch.basic_publish(exchange, "late.error", "one more")
    equal([m.value() for m in group_reads(queue, name("first"), 1)], [b"one more"], "the group goes on from its commit")
    connection.close()
    drop(queue, exchange=exchange)


@check("a plain queue keeps what is not yet acked, for a group as for workers")
def plain_queue():
    queue = name("plain")
    connection, ch = amqp()
    ch.queue_declare(queue, durable=True)
    sent = [b"message %d " % i + b"x" * 500 for i in range(600)]
    for body in sent:
        ch.basic_publish("", queue, body, pika.BasicProperties(delivery_mode=2))
    until(lambda: ready(queue) == 600, "all to arrive")
    equal([m.value() for m in group_reads(queue, name("before"), 600)], sent, "a group reads all before any ack")
    equal(ready(queue), 600, "reading takes nothing away")
    done = work(queue, 300)
    equal([b for _, _, b in done], sent[:300], "the worker's half")
    until(lambda: ready(queue) == 300, "the other half")
    left = kept(queue)  # whole segments go, so it may be more than what is not acked
    equal(left >= 300, True, f"{left} records are kept of 300 not yet acked")
    equal([m.value() for m in group_reads(queue, name("after"), left)], sent[-left:], "a later group reads what is left, in order")
    equal([b for _, _, b in work(queue, 300)], sent[300:], "the second half for the workers")
    connection.close()
    drop(queue)


def kept(topic):
    """How many records the topic holds, by its bounds."""
    consumer = Consumer(kafka(group_id=name("bounds")))
    low, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), 60)
    consumer.close()
    return high - low


@check("a Kafka producer's records are worked on by pika, ack by ack")
def worked_on():
    topic = name("work")
    admin = create(topic)
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        sent = [(b"key%d" % i, b"%s %d " % (codec.encode(), i) + b"y" * (i % 90), None, None) for i in range(200)]
        produce(topic, sent, compression_type=codec)
        connection, ch = amqp()
        ch.basic_qos(prefetch_count=1)
        done, returned = [], 0
        for method, _, body in ch.consume(topic, inactivity_timeout=60):
            if method is None:
                raise AssertionError(f"{codec}: {len(done)} of 200 records within 60 s")
            if method.delivery_tag % 10 == 0 and not method.redelivered:
                returned += 1  # it goes back once, and comes again at its old place
                ch.basic_nack(method.delivery_tag, requeue=True)
                continue
            ch.basic_ack(method.delivery_tag)
            done.append((method.exchange, method.routing_key.encode(), body, method.redelivered))
            if len(done) == 200:
                break
        connection.close()
        equal([d[:3] for d in done], [("", k, v) for k, v, _, _ in sent], f"{codec}: what was worked on, in order")
        equal(sum(d[3] for d in done), returned, f"{codec}: redelivered")
        until(lambda: ready(topic) == 0, f"{codec}: an empty queue")
    # The acks took nothing away from the readers.
    equal(len(group_reads(topic, name("reader"), 1000)), 1000, "records for a group")
    admin.delete_topics([topic])[topic].result(60)


@check("two workers share a Kafka topic, each record once")
def shared():
    topic = name("shared")
    create(topic)
    done = []
    workers = [threading.Thread(target=lambda: done.append(work(topic, 150, prefetch=5)), daemon=True) for _ in range(2)]
    [w.start() for w in workers]
    time.sleep(0.3)
    sent = [(None, b"%d" % i, None, None) for i in range(300)]
    produce(topic, sent)
    [w.join(60) for w in workers]
    equal(sorted(b for _, _, b in sum(done, [])), sorted(v for _, v, _, _ in sent), "records done")
    # What the one that ended first held unacked comes to the other late, and marked. So does, not
    # marked, what was meant for it and had not left yet: no more than its prefetch, all behind its last.
    firsts = [[int(b) for m, _, b in part if not m.redelivered] for part in done]
    late = [n for i, n in enumerate(firsts[1]) if n < max(firsts[1][:i], default=-1)]
    equal(firsts[0], sorted(firsts[0]), "order of the worker that ended first")
    equal([n for n in firsts[1] if n not in late], sorted(set(firsts[1]) - set(late)), "order of the other")
    if late != sorted(late) or len(late) > 5 or any(n < firsts[0][-1] for n in late):
        raise AssertionError(f"out of order: {late}, behind {firsts[0][-1]}: {firsts[1]}")
    drop(topic)


@check("Kafka key, headers and time as AMQP properties")
def kafka_to_amqp():
    topic = name("to-amqp")
    create(topic)
    stamp = int(time.time() * 1000) - 12345
    long_key = b"k" * 300
    headers = [("text", "žluť".encode()), ("bytes", b"\xff\x00"), ("null", None), ("twice", b"1"), ("twice", b"2")]
    produce(topic, [(b"a.key", b"body", headers, stamp), (None, None, None, stamp), (long_key, b"", None, stamp)])
    (m1, p1, b1), (m2, p2, b2), (m3, p3, b3) = work(topic, 3)
    equal((m1.exchange, m1.routing_key, b1), ("", "a.key", b"body"), "the first message")
    want = {"text": "žluť", "bytes": b"\xff\x00", "null": None, "twice": ["1", "2"], "timestamp_in_ms": stamp}
    equal({k: v for k, v in p1.headers.items() if k != "x-kafka-partition"}, want, "headers")
    equal((p1.timestamp, p1.delivery_mode, p1.content_type), (stamp // 1000, 2, None), "properties")
    equal((m2.routing_key, b2, p2.headers.get("x-kafka-tombstone")), ("", b"", True), "a tombstone")
    equal((m3.routing_key, b3, p3.headers.get("x-kafka-key")), ("", b"", long_key), "a long key")
    drop(topic)


@check("AMQP routing key, headers and properties as Kafka key and headers")
def amqp_to_kafka():
    exchange, queue = name("to-kafka"), name("to-kafka-queue")
    connection, ch = amqp()
    ch.exchange_declare(exchange, "direct")
    ch.queue_declare(queue, durable=True, arguments={"x-retention": "1h"})
    ch.queue_bind(queue, exchange, "the.key")
    ch.queue_bind(queue, exchange, "")
    properties = pika.BasicProperties(
        headers={"text": "ž", "number": 42, "flag": True, "none": None, "nested": {"a": 1}},
        content_type="application/json",
        correlation_id="c1",
        message_id="m1",
        reply_to="r1",
        type="t1",
        app_id="a1",
        timestamp=1600000000,
        delivery_mode=2,
    )
    ch.basic_publish(exchange, "the.key", b'{"x":1}', properties)
    ch.basic_publish(exchange, "", b"", pika.BasicProperties())
    first, second = group_reads(queue, name("g"), 2)
    equal((first.key(), first.value()), (b"the.key", b'{"x":1}'), "key and value")
    headers = first.headers()
    equal(headers[0][0], "lv.a", "the envelope is the first header")
    equal(headers[0][1][0], 1, "its version")
    equal(headers[0][1][2 : 2 + headers[0][1][1]], exchange.encode(), "the exchange in it")
    want = {
        "text": "ž".encode(),
        "number": b"42",
        "flag": b"true",
        "none": None,
        "amqp.content-type": b"application/json",
        "amqp.correlation-id": b"c1",
        "amqp.message-id": b"m1",
        "amqp.reply-to": b"r1",
        "amqp.type": b"t1",
        "amqp.app-id": b"a1",
    }
    equal(dict(headers[1:]), want, "headers that a Kafka reader can read")
    equal((second.key(), second.value()), (None, b""), "no routing key, no body")
    equal([h[0] for h in second.headers()], ["lv.a"], "a message without headers has the envelope only")
    # The same two come back to AMQP exactly as they were sent.
    (m, p, body), _ = work(queue, 2)
    equal((m.exchange, m.routing_key, body), (exchange, "the.key", b'{"x":1}'), "back in AMQP")
    for field in vars(properties):
        equal(getattr(p, field), getattr(properties, field), field)
    connection.close()
    drop(queue, exchange=exchange)


@check("a Kafka producer writes to an exchange (x-kafka-topic), routed by key")
def feed():
    exchange, topic = name("feed"), name("feed-in")
    errors, all_lines = name("feed-errors"), name("feed-all")
    connection, ch = amqp()
    ch.exchange_declare(exchange, "topic", durable=True, arguments={"x-kafka-topic": topic})
    for queue, key in ((errors, "*.error"), (all_lines, "#")):
        ch.queue_declare(queue, durable=True, arguments={"x-retention": "1h"})
        ch.queue_bind(queue, exchange, key)
    start = int(time.time() * 1000) - 60_000
    sent = []
    for n, codec in enumerate(("none", "gzip", "snappy", "lz4", "zstd")):
        part = [(b"web.error" if i % 4 == 0 else b"web.info", b"%s %d" % (codec.encode(), i), [("h", b"v")], start + n * 200 + i) for i in range(200)]
        produce(topic, part, compression_type=codec)
        sent += part
    wanted = [v for k, v, _, _ in sent if k == b"web.error"]
    done = work(errors, len(wanted))
    equal([b for _, _, b in done], wanted, "errors")
    equal({(m.exchange, m.routing_key, p.headers["h"]) for m, p, _ in done}, {(exchange, "web.error", "v")}, "how they came")
    got = group_reads(all_lines, name("feed-group"), 1000)
    equal([(m.key(), m.value()) for m in got], [(k, v) for k, v, _, _ in sent], "all lines")
    equal([m.timestamp()[1] for m in got], [t for _, _, _, t in sent], "the producer's times")
    consumer = Consumer(kafka(group_id=name("times")))
    (found,) = consumer.offsets_for_times([TopicPartition(all_lines, 0, start + 500)], 60)
    consumer.close()
    equal(found.offset, got[500].offset(), "the offset by time")
    connection.close()
    drop(errors, all_lines, exchange=exchange)


@check("a worker's acks and a group's commits are two independent views")
def independent():
    queue = name("views")
    connection, ch = amqp()
    ch.queue_declare(queue, durable=True, arguments={"x-retention": "1h"})
    for i in range(100):
        ch.basic_publish("", queue, b"%d" % i)
    group_reads(queue, name("views-group"), 40)
    equal([b for _, _, b in work(queue, 60)], [b"%d" % i for i in range(60)], "the worker begins at the beginning")
    equal([m.value() for m in group_reads(queue, name("views-group"), 60)], [b"%d" % i for i in range(40, 100)], "the group goes on where it was")
    equal(ready(queue), 40, "left for workers")
    connection.close()
    drop(queue)


@check("a queue deleted by AMQP is gone for Kafka, and the reverse")
def deletions():
    admin = AdminClient(kafka())
    queue, topic = name("gone-queue"), name("gone-topic")
    connection, ch = amqp()
    ch.queue_declare(queue, durable=True)
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(60)
    equal({queue, topic} <= set(admin.list_topics(timeout=60).topics), True, "both are listed")
    equal(ch.queue_declare(topic, passive=True).method.queue, topic, "the topic is a queue")
    ch.queue_delete(queue)
    admin.delete_topics([topic])[topic].result(60)
    until(lambda: not {queue, topic} & set(admin.list_topics(timeout=60).topics), "neither is listed")
    try:
        ch.queue_declare(topic, passive=True)
        raise AssertionError("the deleted topic is still a queue")
    except pika.exceptions.ChannelClosedByBroker as closed:
        equal(closed.reply_code, 404, "reply code")
    connection.close()


@check("SASL PLAIN: guest gets in, a wrong password does not")
def sasl_plain():
    good = AdminClient({"bootstrap.servers": KAFKA_ADDR} | sasl("guest", "guest"))
    equal(len(good.list_topics(timeout=60).brokers), 1, "brokers seen with the right password")
    refused = []
    bad = AdminClient({"bootstrap.servers": KAFKA_ADDR, "error_cb": refused.append} | sasl("guest", "wrong"))
    until(lambda: (bad.poll(0.2), refused)[1], "the refusal", 20)  # it comes late, the later the more there were
    try:
        bad.list_topics(timeout=1)
        raise AssertionError("a wrong password gets in")
    except KafkaException:
        pass
    equal(any("uthentication" in str(e) for e in refused), True, f"the error says why: {refused}")


@check("a stream is a topic, and a topic a stream")
def streams():
    stream, topic = name("stream"), name("topic-as-stream")
    connection, ch = amqp()
    ch.queue_declare(stream, durable=True, arguments={"x-queue-type": "stream", "x-max-age": "2h"})
    admin = AdminClient(kafka())
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(60)
    for n in range(5):
        ch.basic_publish("", stream, f"amqp {n}")
    ch.queue_declare(stream, passive=True)  # they have arrived
    for to in (stream, topic):
        produce(to, [(b"k", f"kafka {n}".encode(), [("h", b"v")], None) for n in range(5)])
    read = group_reads(stream, name("readers"), 10)
    offsets = [(m.offset(), m.value()) for m in read]
    ch.basic_qos(prefetch_count=3)
    for queue, want in ((stream, offsets), (topic, [(n, f"kafka {n}".encode()) for n in range(5)])):
        got = []
        for method, properties, body in ch.consume(queue, arguments={"x-stream-offset": "first"}, inactivity_timeout=60):
            if method is None:
                raise AssertionError(f"{len(got)} of {len(want)} messages of {queue}")
            got.append((properties.headers["x-stream-offset"], body))
            ch.basic_ack(method.delivery_tag)
            if len(got) == len(want):
                break
        ch.cancel()
        equal(got, want, f"{queue} by AMQP")
    ch.queue_delete(stream)
    ch.queue_delete(topic)
    connection.close()


main()
