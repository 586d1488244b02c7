"""stomp.py, in each version of the protocol, and messages that cross over to AMQP and Kafka."""

import os
import queue
import threading
import time

import pika
import stomp
from confluent_kafka import Consumer, Producer

from check import AMQP_HOST, AMQP_PORT, KAFKA_ADDR, check, equal, main, name, promptly, until

HOST, PORT = (os.environ.get("STOMP_ADDR") or "127.0.0.1:61613").rsplit(":", 1)
VERSIONS = {"1.0": stomp.Connection10, "1.1": stomp.Connection11, "1.2": stomp.Connection12}


class Inbox(stomp.ConnectionListener):
    """What a connection was sent."""

    def __init__(self):
        self.messages, self.receipts, self.errors = queue.Queue(), queue.Queue(), queue.Queue()
        self.gone, self.beats = threading.Event(), 0

    def on_message(self, frame):
        self.messages.put(frame)

    def on_receipt(self, frame):
        self.receipts.put(frame.headers["receipt-id"])

    def on_error(self, frame):
        self.errors.put(frame)

    def on_heartbeat(self):
        self.beats += 1

    def on_disconnected(self):
        self.gone.set()

    def message(self):
        return self.messages.get(timeout=60)

    def receipt(self):
        return self.receipts.get(timeout=60)


def connect(version="1.2", **options):
    connection = VERSIONS[version]([(HOST, int(PORT))], **options)
    connection.inbox = Inbox()
    connection.set_listener("", connection.inbox)
    connection.connect("guest", "guest", wait=True)
    return connection


def ack(connection, frame, call="ack", **headers):
    """Acks as the version has it."""
    do = getattr(connection, call)
    if isinstance(connection, stomp.Connection12):
        do(frame.headers["ack"], **headers)
    elif isinstance(connection, stomp.Connection11):
        do(frame.headers["message-id"], frame.headers["subscription"], **headers)
    else:
        do(frame.headers["message-id"], **headers)


def bye(connection):
    connection.disconnect(receipt="bye")
    until(lambda: connection.inbox.gone.is_set(), "the connection to end")


def each_version(title):
    def register(function):
        for version in VERSIONS:
            check(f"{title}, STOMP {version}")(lambda version=version: function(version))
        return function

    return register


@each_version("send, receipt, subscribe, ack, redelivery")
def work_queue(version):
    destination = "/queue/" + name("work" + version)
    sender, worker = connect(version), connect(version)
    kind = "a:b" if version == "1.0" else "a:b\\c"  # 1.0 has no escapes, which stomp.py resolves all the same
    sender.send(destination, "one", headers={"persistent": "true", "kind": kind}, receipt="r1")
    equal(sender.inbox.receipt(), "r1", "receipt")
    worker.subscribe(destination, id="s1", ack="client-individual")
    first = worker.inbox.message()
    equal((first.body, first.headers["kind"], first.headers["redelivered"]), ("one", kind, "false"), "message")
    worker.transport.disconnect_socket()  # as one that dies at work
    again = connect(version)
    again.subscribe(destination, id="s1", ack="client-individual")
    second = again.inbox.message()
    equal((second.body, second.headers["redelivered"]), ("one", "true"), "message that comes again")
    ack(again, second)
    bye(again)
    last = connect(version)
    last.subscribe(destination, id="s1", ack="auto")
    sender.send(destination, "two")
    equal(last.inbox.message().body, "two", "what is left")
    bye(last)
    bye(sender)


@each_version("cumulative acks")
def cumulative(version):
    destination = "/queue/" + name("upto" + version)
    c = connect(version)
    c.subscribe(destination, id="s", ack="client")
    for i in range(5):
        c.send(destination, str(i))
    frames = [c.inbox.message() for _ in range(5)]
    ack(c, frames[2])
    bye(c)
    d = connect(version)
    d.subscribe(destination, id="s", ack="auto")
    equal([d.inbox.message().body for _ in range(2)], ["3", "4"], "what was not acked")
    bye(d)


@each_version("transactions")
def transactions(version):
    destination = "/queue/" + name("tx" + version)
    c = connect(version)
    c.subscribe(destination, id="s", ack="auto")
    lost = c.begin()
    c.send(destination, "aborted", transaction=lost)
    c.abort(lost)
    kept = c.begin()
    c.send(destination, "committed", transaction=kept)
    time.sleep(0.2)
    equal(c.inbox.messages.qsize(), 0, "messages before the commit")
    c.commit(kept)
    equal(c.inbox.message().body, "committed", "message")
    bye(c)


@check("NACK with and without requeue")
def nack():
    destination = "/queue/" + name("nack")
    c = connect()
    c.subscribe(destination, id="s", ack="client-individual")
    c.send(destination, "x")
    ack(c, c.inbox.message(), "nack")
    again = c.inbox.message()
    equal(again.headers["redelivered"], "true", "redelivered")
    ack(c, again, "nack", requeue="false")
    c.send(destination, "y")
    equal(c.inbox.message().body, "y", "what comes after a message that was dropped")
    bye(c)


@check("heart-beats both ways")
def heart_beats():
    def attempt(factor):
        c = connect(heartbeats=(1000 * factor, 1000 * factor))
        until(lambda: c.inbox.beats > 2 or c.inbox.gone.is_set(), "heart-beats")
        if c.inbox.gone.is_set():
            return f"the connection has ended after {c.inbox.beats}"
        bye(c)
        return True

    promptly(attempt)


@check("topics, durable subscriptions")
def topics():
    key = name("topic")
    c, d = connect(), connect()
    for one in (c, d):
        one.subscribe(f"/topic/{key}.*", id="s")
    lasting = {"durable": "true", "auto-delete": "false"}
    d.subscribe(f"/topic/{key}.#", id=key, headers=lasting)
    d.unsubscribe(id=key, headers={"receipt": "u"})
    equal(d.inbox.receipt(), "u", "receipt")
    c.send(f"/topic/{key}.a", "hello", receipt="r")
    for one in (c, d):
        equal(one.inbox.message().body, "hello", "message")
    d.subscribe(f"/topic/{key}.#", id=key, headers=lasting)
    equal(d.inbox.message().body, "hello", "what came meanwhile")
    d.unsubscribe(id=key, headers={"durable": "true"})
    bye(c)
    bye(d)


@check("RPC by a temporary queue")
def rpc():
    destination = "/queue/" + name("rpc")
    server, client = connect(), connect()
    server.subscribe(destination, id="s")
    client.send(destination, "2+2", headers={"reply-to": "/temp-queue/answers", "correlation-id": "7"})
    question = server.inbox.message()
    server.send(question.headers["reply-to"], "4", headers={"correlation-id": question.headers["correlation-id"]})
    answer = client.inbox.message()
    equal((answer.body, answer.headers["correlation-id"], answer.headers["subscription"]), ("4", "7", "/temp-queue/answers"), "answer")
    bye(server)
    bye(client)


@check("errors say what was wrong and end the connection")
def errors():
    for destination, message in (("/nowhere/x", "Unknown destination"), ("/exchange/" + name("none"), "not_found")):
        c = connect()
        c.send(destination, "x", receipt="r")
        frame = c.inbox.errors.get(timeout=60)
        equal((frame.headers["message"], frame.headers["receipt-id"]), (message, "r"), "error")
        until(lambda: c.inbox.gone.is_set(), "the connection to end")
    c = stomp.Connection12([(HOST, int(PORT))])
    c.set_listener("", inbox := Inbox())
    try:
        c.connect("guest", "wrong", wait=True)
    except stomp.exception.ConnectFailedException:
        pass
    equal(inbox.errors.get(timeout=60).headers["message"], "Bad CONNECT", "refused login")


@check("large bodies, NULs, UTF-8")
def bodies():
    destination = "/queue/" + name("bodies")
    c = connect(auto_decode=False)
    c.subscribe(destination, id="s")
    for body in (b"", b"a\x00b", "naïve ☃".encode(), os.urandom(3 << 20)):
        c.send(destination, body)
        got = c.inbox.message().body
        equal(got if isinstance(got, bytes) else got.encode(), body, f"{len(body)} bytes")
    bye(c)


@check("STOMP to AMQP and back")
def amqp():
    q = name("amqp")
    c = connect()
    c.send("/queue/" + q, "to amqp", content_type="text/plain", headers={"persistent": "true", "color": "red", "priority": "4", "amqp-message-id": "m1", "reply-to": "/queue/answers"}, receipt="r")
    c.inbox.receipt()
    connection = pika.BlockingConnection(pika.ConnectionParameters(AMQP_HOST, AMQP_PORT))
    ch = connection.channel()
    method, props, body = ch.basic_get(q)
    equal((body, props.content_type, props.delivery_mode, props.headers, props.priority, props.message_id, method.redelivered),
          (b"to amqp", "text/plain", 2, {"color": "red"}, 4, "m1", False), "message from STOMP")
    ch.basic_nack(method.delivery_tag)
    ch.basic_publish("", q, b"to stomp", pika.BasicProperties(content_type="text/html", delivery_mode=2, headers={"n": 5, "b": True, "s": "x"}, correlation_id="c"))
    c.subscribe("/queue/" + q, id="s", ack="client-individual")
    first, second = c.inbox.message(), c.inbox.message()
    equal((first.body, first.headers["redelivered"], first.headers["color"]), ("to amqp", "true", "red"), "message that AMQP gave back")
    h = second.headers
    equal((second.body, h["content-type"], h["persistent"], h["n"], h["b"], h["s"], h["correlation-id"], h["redelivered"]),
          ("to stomp", "text/html", "true", "5", "true", "x", "c", "false"), "message from AMQP")
    connection.close()
    bye(c)


@check("STOMP to Kafka and back")
def kafka():
    q = name("kafka")
    c = connect()
    c.send("/queue/" + q, "to kafka", content_type="text/plain", headers={"persistent": "true", "color": "red"}, receipt="r")
    c.inbox.receipt()
    consumer = Consumer({"bootstrap.servers": KAFKA_ADDR, "group.id": q, "auto.offset.reset": "earliest"})
    consumer.subscribe([q])
    record = None
    limit = time.time() + 20
    while record is None and time.time() < limit:
        record = consumer.poll(0.5)
    headers = dict(record.headers())
    equal((record.value(), record.key(), headers["color"], headers["amqp.content-type"]), (b"to kafka", q.encode(), b"red", b"text/plain"), "record from STOMP")
    consumer.close()
    producer = Producer({"bootstrap.servers": KAFKA_ADDR})
    producer.produce(q, b"to stomp", key=b"k", headers={"color": b"blue"})
    producer.flush(60)
    c.subscribe("/queue/" + q, id="s", ack="client-individual")
    first, second = c.inbox.message(), c.inbox.message()
    equal((first.body, second.body, second.headers["color"], second.headers["persistent"]), ("to kafka", "to stomp", "blue", "true"), "record from Kafka")
    bye(c)


if __name__ == "__main__":
    main()
