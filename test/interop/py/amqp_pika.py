"""pika: the calls of RabbitMQ's Python tutorials, and a little more."""

import os
import signal
import threading
import time

import pika
from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByBroker, NackError, UnroutableError

from check import AMQP_HOST, AMQP_PORT, check, equal, main, name, until

QUORUM = {"x-queue-type": "quorum"}


def connect():
    return pika.BlockingConnection(
        pika.ConnectionParameters(
            host=AMQP_HOST,
            port=AMQP_PORT,
            credentials=pika.PlainCredentials("guest", "guest"),
            heartbeat=30,
            blocked_connection_timeout=30,
        )
    )


def receive(channel, queue, count, auto_ack=True, seconds=60):
    """The first `count` messages of a queue, through a consumer that is cancelled afterwards."""
    got = []
    for method, properties, body in channel.consume(queue, auto_ack=auto_ack, inactivity_timeout=seconds):
        if method is None:
            raise AssertionError(f"{len(got)} of {count} messages from {queue} within {seconds} s")
        got.append((method, properties, body))
        if len(got) == count:
            break
    channel.cancel()
    return got


def silent(channel, queue, seconds=0.3):
    """Nothing is in the queue, and nothing arrives for a while."""
    for method, _, body in channel.consume(queue, auto_ack=True, inactivity_timeout=seconds):
        if method is not None:
            raise AssertionError(f"unexpected message in {queue}: {body!r}")
        break
    channel.cancel()


@check("tutorial 1, hello world")
def hello():
    for kind, durable, arguments in (("classic", False, None), ("quorum", True, QUORUM)):
        queue = name(f"hello-{kind}")
        sender = connect()
        channel = sender.channel()
        declared = channel.queue_declare(queue=queue, durable=durable, arguments=arguments)
        equal(declared.method.queue, queue, "declare-ok names the queue")
        channel.basic_publish(exchange="", routing_key=queue, body="Hello World!")
        sender.close()

        receiver = connect()
        channel = receiver.channel()
        channel.queue_declare(queue=queue, durable=durable, arguments=arguments)
        got = []

        def callback(ch, method, properties, body):
            got.append((method.exchange, method.routing_key, method.redelivered, body))
            ch.stop_consuming()

        channel.basic_consume(queue=queue, on_message_callback=callback, auto_ack=True)
        channel.start_consuming()
        equal(got, [("", queue, False, b"Hello World!")], kind)
        channel.queue_delete(queue)
        receiver.close()


@check("tutorial 2, work queues")
def work_queues():
    queue = name("task_queue")
    sender = connect()
    channel = sender.channel()
    channel.queue_declare(queue=queue, durable=True, arguments=QUORUM)
    for i in range(10):
        channel.basic_publish(
            exchange="",
            routing_key=queue,
            body=f"task {i}",
            properties=pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent),
        )
    done, lock, both = {1: [], 2: []}, threading.Lock(), threading.Barrier(2)

    def worker(number):
        connection = connect()
        ch = connection.channel()
        ch.queue_declare(queue=queue, durable=True, arguments=QUORUM)
        ch.basic_qos(prefetch_count=1)

        def callback(ch, method, properties, body):
            equal(properties.delivery_mode, 2, "delivery mode")
            connection.sleep(0.02)  # both workers get their share because each has a prefetch of 1
            with lock:
                done[number].append(body)
            ch.basic_ack(delivery_tag=method.delivery_tag)

        ch.basic_consume(queue=queue, on_message_callback=callback)
        both.wait(60)  # each has one task in hand before the other can have done all
        while sum(map(len, done.values())) < 10:
            connection.process_data_events(time_limit=0.05)
        connection.close()

    threads = [threading.Thread(target=worker, args=(n,), daemon=True) for n in done]
    [t.start() for t in threads]
    [t.join(60) for t in threads]
    equal(sorted(done[1] + done[2]), [b"task %d" % i for i in range(10)], "tasks done")
    if not done[1] or not done[2]:
        raise AssertionError(f"one worker got all the work: {done}")
    until(lambda: channel.queue_declare(queue, passive=True).method.message_count == 0, "an empty queue")
    channel.queue_delete(queue)
    sender.close()


@check("tutorial 2, a worker dies")
def worker_dies():
    queue = name("dying")
    sender = connect()
    channel = sender.channel()
    channel.queue_declare(queue=queue, durable=True)
    for body in "abc":
        channel.basic_publish("", queue, body, pika.BasicProperties(delivery_mode=2))
    reader, writer = os.pipe()
    worker = os.fork()
    if worker == 0:  # a process of its own that takes one task and never acks it
        ch = connect().channel()
        ch.basic_qos(prefetch_count=1)
        method, _, body = next(ch.consume(queue, inactivity_timeout=60))
        os.write(writer, b"%d %s" % (method.redelivered, body))
        time.sleep(60)
        os._exit(0)
    equal(os.read(reader, 100), b"0 a", "the first delivery")
    os.kill(worker, signal.SIGKILL)
    os.waitpid(worker, 0)
    until(lambda: channel.queue_declare(queue, passive=True).method.message_count == 3, "the task to come back")
    got = [(m.redelivered, body) for m, _, body in receive(channel, queue, 3)]
    equal(got, [(True, b"a"), (False, b"b"), (False, b"c")], "the second worker's deliveries")
    channel.queue_delete(queue)
    sender.close()


@check("tutorial 3, publish and subscribe")
def publish_subscribe():
    exchange = name("logs")
    subscribers = []
    for _ in range(2):
        connection = connect()
        ch = connection.channel()
        ch.exchange_declare(exchange=exchange, exchange_type="fanout")
        queue = ch.queue_declare(queue="", exclusive=True).method.queue
        if not queue.startswith("amq.gen-"):
            raise AssertionError(f"a server-named queue is called {queue!r}")
        ch.queue_bind(exchange=exchange, queue=queue)
        subscribers.append((connection, ch, queue))
    sender = connect()
    channel = sender.channel()
    channel.exchange_declare(exchange=exchange, exchange_type="fanout")
    for i in range(5):
        channel.basic_publish(exchange=exchange, routing_key="", body=f"info {i}")
    for connection, ch, queue in subscribers:
        got = [body for _, _, body in receive(ch, queue, 5)]
        equal(got, [b"info %d" % i for i in range(5)], queue)
    # An exclusive queue is nobody else's, and goes with its connection.
    try:
        channel.queue_declare(subscribers[0][2], passive=True)
        raise AssertionError("another connection's exclusive queue can be used")
    except ChannelClosedByBroker as closed:
        equal(closed.reply_code, 405, "reply code")
    for connection, _, _ in subscribers:
        connection.close()
    channel = sender.channel()
    try:
        until(lambda: channel.queue_declare(subscribers[0][2], passive=True) and False, "the end of the queue", 5)
    except ChannelClosedByBroker as closed:
        equal(closed.reply_code, 404, "reply code")
    sender.channel().exchange_delete(exchange)
    sender.close()


@check("tutorial 4, routing")
def routing():
    exchange = name("direct_logs")
    connection = connect()
    ch = connection.channel()
    ch.exchange_declare(exchange=exchange, exchange_type="direct")
    queues = {}
    for label, severities in {"errors": ["error"], "all": ["info", "warning", "error"]}.items():
        queues[label] = ch.queue_declare(queue="", exclusive=True).method.queue
        for severity in severities:
            ch.queue_bind(exchange=exchange, queue=queues[label], routing_key=severity)
    for severity in ("info", "warning", "error", "debug"):
        ch.basic_publish(exchange=exchange, routing_key=severity, body=f"a {severity}")
    got = [(m.routing_key, body) for m, _, body in receive(ch, queues["errors"], 1)]
    equal(got, [("error", b"a error")], "errors")
    got = [m.routing_key for m, _, _ in receive(ch, queues["all"], 3)]
    equal(got, ["info", "warning", "error"], "all")
    silent(ch, queues["errors"])
    silent(ch, queues["all"])
    ch.exchange_delete(exchange)
    connection.close()


@check("tutorial 5, topics")
def topics():
    exchange = name("topic_logs")
    connection = connect()
    ch = connection.channel()
    ch.exchange_declare(exchange=exchange, exchange_type="topic")
    sent = ["kern.critical", "kern.info", "cron.critical", "auth.info", "kern", "a.b.critical"]
    wanted = {
        ("#",): sent,
        ("kern.*",): ["kern.critical", "kern.info"],
        ("*.critical",): ["kern.critical", "cron.critical"],
        ("kern.*", "*.critical"): ["kern.critical", "kern.info", "cron.critical"],
        ("kern.#",): ["kern.critical", "kern.info", "kern"],
        ("#.critical",): ["kern.critical", "cron.critical", "a.b.critical"],
    }
    queues = {}
    for keys in wanted:
        queues[keys] = ch.queue_declare(queue="", exclusive=True).method.queue
        for key in keys:
            ch.queue_bind(exchange=exchange, queue=queues[keys], routing_key=key)
    for key in sent:
        ch.basic_publish(exchange=exchange, routing_key=key, body=key)
    for keys, want in wanted.items():
        got = [m.routing_key for m, _, _ in receive(ch, queues[keys], len(want))]
        equal(got, want, " + ".join(keys))
        silent(ch, queues[keys], 0.1)
    ch.exchange_delete(exchange)
    connection.close()


@check("tutorial 6, remote procedure calls")
def rpc():
    queue = name("rpc_queue")
    ready, stop = threading.Event(), threading.Event()

    def fib(n):
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    def server():
        connection = connect()
        ch = connection.channel()
        ch.queue_declare(queue=queue, durable=True, arguments=QUORUM)

        def on_request(ch, method, props, body):
            ch.basic_publish(
                exchange="",
                routing_key=props.reply_to,
                properties=pika.BasicProperties(correlation_id=props.correlation_id),
                body=str(fib(int(body))),
            )
            ch.basic_ack(delivery_tag=method.delivery_tag)

        ch.basic_qos(prefetch_count=1)
        ch.basic_consume(queue=queue, on_message_callback=on_request)
        ready.set()
        while not stop.is_set():
            connection.process_data_events(time_limit=0.05)
        connection.close()

    thread = threading.Thread(target=server, daemon=True)
    thread.start()
    ready.wait(60)
    client = connect()
    ch = client.channel()
    callback_queue = ch.queue_declare(queue="", exclusive=True).method.queue
    answers = {}
    ch.basic_consume(
        queue=callback_queue,
        on_message_callback=lambda _ch, _m, props, body: answers.__setitem__(props.correlation_id, int(body)),
        auto_ack=True,
    )
    for n, want in ((0, 0), (1, 1), (10, 55), (15, 610)):
        ch.basic_publish(
            exchange="",
            routing_key=queue,
            properties=pika.BasicProperties(reply_to=callback_queue, correlation_id=f"call-{n}"),
            body=str(n),
        )
        while f"call-{n}" not in answers:
            client.process_data_events(time_limit=5)
        equal(answers[f"call-{n}"], want, f"fib({n})")
    stop.set()
    thread.join(5)
    ch.queue_delete(queue)
    client.close()


@check("tutorial 7, publisher confirms")
def confirms():
    queue = name("confirms")
    connection = connect()
    ch = connection.channel()
    ch.queue_declare(queue=queue, durable=True)
    ch.confirm_delivery()
    for i in range(100):  # returns once the broker has confirmed this one; raises when it refuses
        ch.basic_publish("", queue, f"m{i}", pika.BasicProperties(delivery_mode=2), mandatory=True)
    equal(ch.queue_declare(queue, passive=True).method.message_count, 100, "messages after 100 confirms")
    try:
        ch.basic_publish("", name("nowhere"), b"x", mandatory=True)
        raise AssertionError("an unroutable mandatory message was not returned")
    except UnroutableError as returned:
        equal(returned.messages[0].method.reply_code, 312, "reply code of the return")
        equal(returned.messages[0].body, b"x", "returned body")
    except NackError:
        raise AssertionError("an unroutable message was nacked instead of returned")
    ch.basic_publish("", name("nowhere"), b"x")  # not mandatory: dropped, and confirmed
    ch.queue_delete(queue)
    connection.close()


@check("properties and headers come back as sent")
def properties_survive():
    queue = name("properties")
    connection = connect()
    ch = connection.channel()
    ch.queue_declare(queue=queue, durable=True)
    sent = pika.BasicProperties(
        content_type="application/json",
        content_encoding="utf-8",
        headers={
            "string": "väl",
            "int": 7,
            "long": 1 << 40,
            "negative": -3,
            "yes": True,
            "none": None,
            "bytes": bytes([0, 255, 1]),
            "list": ["a", 1, [True]],
            "table": {"inner": {"deep": "x"}},
        },
        delivery_mode=2,
        priority=4,
        correlation_id="c-1",
        reply_to="r",
        expiration="600000",
        message_id="m-1",
        timestamp=1700000000,
        type="t",
        user_id="guest",
        app_id="interop",
    )
    ch.basic_publish("", queue, b"{}", sent)
    ch.basic_publish("", queue, b"", pika.BasicProperties())
    (_, got, _), (_, plain, body) = receive(ch, queue, 2)
    for field in vars(sent):
        equal(getattr(got, field), getattr(sent, field), field)
    equal((body, plain.headers, plain.content_type, plain.delivery_mode), (b"", None, None, None), "an empty message")
    ch.queue_delete(queue)
    connection.close()


@check("bodies of every size, in order")
def sizes():
    queue = name("sizes")
    connection = connect()
    ch = connection.channel()
    ch.queue_declare(queue=queue)
    bodies = [bytes([65 + i % 26]) * size for i, size in enumerate((0, 1, 12, 1000, 4088, 131063, 131064, 131065, 1 << 20, 5))]
    for body in bodies:
        ch.basic_publish("", queue, body)
    got = [body for _, _, body in receive(ch, queue, len(bodies))]
    equal([len(b) for b in got], [len(b) for b in bodies], "lengths")
    if got != bodies:
        raise AssertionError("a body changed on its way")
    ch.queue_delete(queue)
    connection.close()


@check("get, nack, reject, requeue to the old place")
def get_and_requeue():
    queue = name("requeue")
    connection = connect()
    ch = connection.channel()
    ch.queue_declare(queue=queue)
    equal(ch.basic_get(queue)[0], None, "get of an empty queue")
    for body in "abcd":
        ch.basic_publish("", queue, body)
    first = until(lambda: (lambda g: g if g[0] else None)(ch.basic_get(queue)), "a message")
    equal((first[0].message_count, first[2]), (3, b"a"), "get-ok")
    second = ch.basic_get(queue)
    ch.basic_nack(second[0].delivery_tag, requeue=True)
    ch.basic_nack(first[0].delivery_tag, requeue=True)
    # A requeue is asynchronous; the count tells when it has been done.
    until(lambda: ch.queue_declare(queue, passive=True).method.message_count == 4, "both back")
    got = receive(ch, queue, 4, auto_ack=False)
    equal([(m.redelivered, b) for m, _, b in got], [(True, b"a"), (True, b"b"), (False, b"c"), (False, b"d")], "order")
    ch.basic_nack(0, multiple=True, requeue=True)  # everything outstanding
    until(lambda: ch.queue_declare(queue, passive=True).method.message_count == 4, "all back")
    one = ch.basic_get(queue)
    ch.basic_reject(one[0].delivery_tag, requeue=False)
    equal([b for _, _, b in receive(ch, queue, 3)], [b"b", b"c", b"d"], "after a reject without requeue")
    ch.queue_delete(queue)
    connection.close()


@check("errors carry RabbitMQ's codes")
def errors():
    connection = connect()
    queue = name("errors")
    connection.channel().queue_declare(queue, durable=True)
    cases = {
        "passive declare of a missing queue": (404, lambda ch: ch.queue_declare(name("missing"), passive=True)),
        "bind to a missing exchange": (404, lambda ch: ch.queue_bind(queue, name("missing"), "k")),
        "redeclare with another durability": (406, lambda ch: ch.queue_declare(queue, durable=False)),
        "a reserved name": (403, lambda ch: ch.queue_declare("amq.mine")),
        "an unknown delivery tag": (406, lambda ch: (ch.basic_ack(99), ch.queue_declare(queue, passive=True))),
    }
    for what, (code, call) in cases.items():
        try:
            call(connection.channel())
            raise AssertionError(f"{what}: no error")
        except ChannelClosedByBroker as closed:
            equal(closed.reply_code, code, what)
    connection.channel().queue_delete(queue)
    connection.close()


STREAM = {"x-queue-type": "stream"}


def follow(channel, queue, prefetch, arguments, count, ack=True, seconds=60):
    """What a new consumer of a stream gets: offsets and bodies."""
    got = []
    channel.basic_qos(prefetch_count=prefetch)

    def take(_, method, properties, body):
        equal(method.redelivered, False, "redelivered")
        got.append((properties.headers["x-stream-offset"], body.decode()))
        if ack:
            channel.basic_ack(method.delivery_tag)

    tag = channel.basic_consume(queue, take, auto_ack=False, arguments=arguments)
    end = time.monotonic() + seconds
    while len(got) < count:
        if time.monotonic() > end:
            raise AssertionError(f"{len(got)} of {count} messages within {seconds} s: {got[:5]}")
        channel.connection.process_data_events(time_limit=0.1)
    channel.connection.process_data_events(time_limit=0.2)  # nothing more
    channel.basic_cancel(tag)
    return got


@check("streams are read from any place, by everybody")
def streams():
    queue = name("stream")
    connection = connect()
    ch = connection.channel()
    ch.confirm_delivery()
    arguments = STREAM | {"x-max-age": "1D", "x-max-length-bytes": 1 << 30, "x-stream-max-segment-size-bytes": 1 << 20}
    ch.queue_declare(queue, durable=True, arguments=arguments)
    ch.queue_declare(queue, durable=True, arguments=arguments)
    for n in range(20):
        headers = {"x-stream-filter-value": "even"} if n % 2 == 0 else None
        ch.basic_publish("", queue, str(n), pika.BasicProperties(delivery_mode=2, headers=headers))
    everything = [(n, str(n)) for n in range(20)]
    reader = connection.channel()
    for offset, first in (("first", 0), (7, 7), ("1h", 0), ("last", 19), ("next", 20)):
        equal(follow(reader, queue, 5, {"x-stream-offset": offset}, 20 - first), everything[first:], f"from {offset}")
    for _ in range(2):  # nobody takes anything away
        equal(follow(connection.channel(), queue, 100, {"x-stream-offset": "first"}, 20, ack=False), everything, "once more")
    got = follow(reader, queue, 5, {"x-stream-offset": "first", "x-stream-filter": ["even"]}, 10)
    equal([o for o, _ in got if o % 2 == 0], list(range(0, 20, 2)), "those of the filter")  # and what RabbitMQ keeps in their chunks
    reopened = connect()
    equal(follow(reopened.channel(), queue, 3, {"x-stream-offset": 10}, 10), everything[10:], "of another connection")
    reopened.close()
    ch.queue_delete(queue)
    connection.close()


@check("what is unacked bounds what a stream sends")
def stream_credit():
    queue = name("stream-credit")
    connection = connect()
    ch = connection.channel()
    ch.queue_declare(queue, durable=True, arguments=STREAM)
    for n in range(50):
        ch.basic_publish("", queue, str(n))
    got = []
    ch.basic_qos(prefetch_count=4)
    ch.basic_consume(queue, lambda _c, m, p, _b: got.append((p.headers["x-stream-offset"], m.delivery_tag)), arguments={"x-stream-offset": "first"})
    for settle in (ch.basic_ack, ch.basic_nack, ch.basic_reject):
        before = len(got)
        until(lambda: connection.process_data_events(0.05) or len(got) >= before + 4, "four messages")
        connection.process_data_events(0.2)
        equal([o for o, _ in got], list(range(before + 4)), "offsets")
        for _, tag in got[before:]:
            settle(tag)
    ch.queue_delete(queue)
    connection.close()


@check("what streams refuse")
def stream_refusals():
    queue = name("stream-refusals")
    connection = connect()
    connection.channel().queue_declare(queue, durable=True, arguments=STREAM)

    def consume(ch, **more):
        ch.basic_qos(prefetch_count=more.pop("prefetch", 1))
        ch.basic_consume(queue, lambda *_: None, **more)

    soft = {
        "consume without a prefetch": lambda ch: consume(ch, prefetch=0),
        "an offset that is none": lambda ch: consume(ch, arguments={"x-stream-offset": "1x"}),
        "another age": lambda ch: ch.queue_declare(queue, durable=True, arguments=STREAM | {"x-max-age": "1h"}),
        "a priority": lambda ch: consume(ch, arguments={"x-priority": 1}),
        "not durable": lambda ch: ch.queue_declare(name("transient"), arguments=STREAM),
        "a time to live": lambda ch: ch.queue_declare(name("ttl"), durable=True, arguments=STREAM | {"x-message-ttl": 1}),
    }
    for what, call in soft.items():
        try:
            call(connection.channel())
            raise AssertionError(f"{what}: no error")
        except ChannelClosedByBroker as closed:
            equal(closed.reply_code, 406, what)
    hard = {"get": lambda ch: ch.basic_get(queue), "purge": lambda ch: ch.queue_purge(queue), "no acks": lambda ch: consume(ch, auto_ack=True)}
    for what, call in hard.items():
        other = connect()
        try:
            call(other.channel())
            raise AssertionError(f"{what}: no error")
        except ConnectionClosedByBroker as closed:
            equal(closed.reply_code, 540, what)
    connection.channel().queue_delete(queue)
    connection.close()


main()
