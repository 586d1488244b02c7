"""py-amqp, the client under Celery: the same work through its own calls."""

import threading

import amqp

from check import AMQP_HOST, AMQP_PORT, check, equal, main, name, promptly, until


def connect(**options):
    connection = amqp.Connection(host=f"{AMQP_HOST}:{AMQP_PORT}", userid="guest", password="guest", virtual_host="/", **options)
    connection.connect()
    return connection


def receive(connection, channel, queue, count, no_ack=True, seconds=60):
    got = []
    tag = channel.basic_consume(queue, no_ack=no_ack, callback=got.append)
    while len(got) < count:
        connection.drain_events(timeout=seconds)
    channel.basic_cancel(tag)
    return got


@check("work queue: durable, prefetch 1, acks")
def work_queue():
    connection = connect()
    ch = connection.channel()
    queue = name("tasks")
    equal(ch.queue_declare(queue, durable=True, auto_delete=False)[:2], (queue, 0), "declare-ok")
    for i in range(10):
        ch.basic_publish(amqp.Message(f"task {i}", delivery_mode=2), routing_key=queue)
    ch.basic_qos(0, 1, False)
    done = []

    def work(message):
        done.append(message.body)
        ch.basic_ack(message.delivery_tag)

    tag = ch.basic_consume(queue, callback=work)
    while len(done) < 10:
        connection.drain_events(timeout=60)
    equal(done, [f"task {i}" for i in range(10)], "tasks")
    until(lambda: ch.queue_declare(queue, passive=True)[1] == 0, "an empty queue")
    ch.basic_cancel(tag)
    ch.queue_delete(queue)
    connection.close()


@check("fanout, direct and topic exchanges")
def exchanges():
    connection = connect()
    ch = connection.channel()
    for kind, bind, keys, want in (
        ("fanout", "", ["a", "b"], ["a", "b"]),
        ("direct", "error", ["info", "error"], ["error"]),
        ("topic", "*.error", ["web.error", "web.info", "a.b.error"], ["web.error"]),
    ):
        exchange = name(kind)
        ch.exchange_declare(exchange, kind, auto_delete=False)
        queue = ch.queue_declare(exclusive=True, auto_delete=False)[0]
        ch.queue_bind(queue, exchange, bind)
        for key in keys:
            ch.basic_publish(amqp.Message(key), exchange, key)
        got = receive(connection, ch, queue, len(want))
        equal([m.body for m in got], want, kind)
        equal([m.delivery_info["routing_key"] for m in got], want, f"{kind} keys")
        equal(got[0].delivery_info["exchange"], exchange, "exchange")
        equal(ch.basic_get(queue), None, "what is left")
        ch.exchange_delete(exchange)
    connection.close()


@check("headers exchange")
def headers_exchange():
    connection = connect()
    ch = connection.channel()
    exchange = name("headers")
    ch.exchange_declare(exchange, "headers", auto_delete=False)
    queue = ch.queue_declare(exclusive=True)[0]
    ch.queue_bind(queue, exchange, arguments={"x-match": "all", "kind": "pdf", "pages": 3})
    for n, headers in enumerate(({"kind": "pdf"}, {"kind": "pdf", "pages": 3, "more": 1}, {"kind": "pdf", "pages": 4})):
        ch.basic_publish(amqp.Message(str(n), application_headers=headers), exchange)
    got = receive(connection, ch, queue, 1)
    equal([m.body for m in got], ["1"], "matched")
    equal(got[0].headers, {"kind": "pdf", "pages": 3, "more": 1}, "headers")
    ch.exchange_delete(exchange)
    connection.close()


@check("publisher confirms and returns")
def confirms():
    connection = connect(confirm_publish=True)
    ch = connection.channel()
    queue = name("confirms")
    ch.queue_declare(queue, durable=True, auto_delete=False)
    for i in range(50):  # confirm_publish waits for each confirm
        ch.basic_publish(amqp.Message(f"m{i}"), routing_key=queue)
    equal(ch.queue_declare(queue, passive=True)[1], 50, "messages")
    equal(ch.queue_purge(queue), 50, "purged")
    ch.queue_delete(queue)
    connection.close()


@check("heartbeats keep an idle connection open")
def heartbeats():
    def attempt(factor):
        connection = connect(heartbeat=2 * factor)
        ch = connection.channel()
        end = threading.Event()
        try:
            for _ in range(10 * factor):
                end.wait(0.5)
                connection.heartbeat_tick()
                try:
                    connection.drain_events(timeout=0.01)
                except TimeoutError:
                    pass
            ch.queue_declare(exclusive=True)
        except OSError as error:
            return repr(error)
        connection.close()
        return True

    promptly(attempt, 3)


@check("nested headers, doubles and voids pass untouched")
def odd_types():
    connection = connect()
    ch = connection.channel()
    queue = ch.queue_declare(exclusive=True)[0]
    sent = {"float": 1.5, "void": None, "list": [1, "a", [None, {"x": 2.25}]], "big": 1 << 50, "text": "žluť"}
    ch.basic_publish(amqp.Message(b"\x00\xff", application_headers=sent, priority=0, content_type="application/x-y"), routing_key=queue)
    (got,) = receive(connection, ch, queue, 1)
    equal(got.headers, sent, "headers")
    equal((got.body, got.properties["content_type"]), (b"\x00\xff", "application/x-y"), "message")
    connection.close()


@check("errors close the channel, not the connection")
def errors():
    connection = connect()
    for code, error, call in (
        (404, amqp.exceptions.NotFound, lambda ch: ch.queue_declare(name("missing"), passive=True)),
        (403, amqp.exceptions.AccessRefused, lambda ch: ch.queue_declare("amq.x")),
        (406, amqp.exceptions.PreconditionFailed, lambda ch: ch.exchange_declare("amq.direct", "fanout", durable=True, auto_delete=False)),
    ):
        try:
            call(connection.channel())
            raise AssertionError(f"no {code}")
        except error as got:
            equal(got.reply_code, code, "code")
    connection.channel().queue_declare(exclusive=True)
    connection.close()


main()
