"""slixmpp: over STARTTLS and TLS at once, messages that cross over to AMQP and Kafka, queues that are worked off, streams that break."""

import asyncio
import logging
import os
import ssl

import pika
import slixmpp
from confluent_kafka import Consumer, Producer
from slixmpp.exceptions import IqError
from slixmpp.xmlstream import ET

from check import AMQP_HOST, AMQP_PORT, KAFKA_ADDR, check, equal, main, name, until, user

HOST, PORT = (os.environ.get("XMPP_ADDR") or "127.0.0.1:5222").rsplit(":", 1)
CA = os.environ.get("TLS_DIR", "") + "/ca.pem"
USER = user("slixmpp")
logging.getLogger("slixmpp").setLevel(logging.CRITICAL)
PLUGINS = ("xep_0004", "xep_0030", "xep_0092", "xep_0106", "xep_0115", "xep_0131", "xep_0184", "xep_0198", "xep_0199", "xep_0202", "xep_0203")


class Client(slixmpp.ClientXMPP):
    """A client that keeps what it was sent."""

    def __init__(self, resource, mechanism=None, plugins=PLUGINS, password="secret"):
        super().__init__(f"{USER}@localhost/{resource}", password, sasl_mech=mechanism)
        for plugin in plugins:
            self.register_plugin(plugin)
        self.ca_certs = CA
        self.messages, self.errors = asyncio.Queue(), asyncio.Queue()
        self.ready, self.refused, self.resumed = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.add_event_handler("session_start", lambda _: self.ready.set())
        self.add_event_handler("session_resumed", lambda _: self.resumed.set())
        self.add_event_handler("failed_auth", lambda _: self.refused.set())
        self.add_event_handler("message", self.messages.put_nowait)
        self.add_event_handler("message_error", self.errors.put_nowait)

    async def __aenter__(self):
        self.connect(HOST, int(PORT))
        await asyncio.wait_for(self.ready.wait(), 60)
        self.send_presence()
        return self

    async def __aexit__(self, *_):
        await self.disconnect(wait=1)

    async def message(self):
        return await asyncio.wait_for(self.messages.get(), 60)

    async def consume(self, queue, **options):
        """Sends presence to a queue, and waits until that is answered."""
        there = asyncio.Event()
        address = queue + "@queues.localhost"
        self.add_event_handler("presence_available", lambda p: p["from"].bare == address and there.set())
        presence = self.make_presence(pto=address)
        if options:
            presence.xml.append(ET.Element("{urn:leveret:0}consume", options))
        presence.send()
        await asyncio.wait_for(there.wait(), 60)


def run(coroutine):
    asyncio.run(coroutine)


def amqp():
    connection = pika.BlockingConnection(pika.ConnectionParameters(AMQP_HOST, AMQP_PORT))
    return connection, connection.channel()


async def soon(condition, what):
    """until, while the clients go on."""
    for _ in range(3000):
        result = condition()
        if result:
            return result
        await asyncio.sleep(0.02)
    raise AssertionError(f"{what}: not in time")


def lower(what):
    return name(what).lower()  # slixmpp folds the case of addresses


@check("it signs in with each mechanism, over TLS that it verifies")
def mechanisms():
    async def body():
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"):
            async with Client("mechanism", mechanism) as c:
                equal(c.boundjid.full, f"{USER}@localhost/mechanism", "address")
                equal(type(c.transport.get_extra_info("ssl_object").version()), str, "TLS")

    run(body())


@check("a wrong password is refused")
def wrong():
    async def body():
        c = Client("wrong", password="no")
        c.connect(HOST, int(PORT))
        await asyncio.wait_for(c.refused.wait(), 60)
        c.abort()

    run(body())


@check("it finds its way: discovery, roster, ping, version, time, capabilities")
def discovery():
    async def body():
        async with Client("discovery") as c:
            items = await c.plugin["xep_0030"].get_items(jid="localhost")
            equal("queues.localhost" in {item[0] for item in items["disco_items"]["items"]}, True, "queues are an item")
            info = await c.plugin["xep_0030"].get_info(jid="localhost")
            equal(("server", "im") in {identity[:2] for identity in info["disco_info"]["identities"]}, True, "identity")
            equal((await c.get_roster())["type"], "result", "roster")
            equal((await c.plugin["xep_0092"].get_version("localhost"))["software_version"]["name"], "Leveret", "version")
            equal((await c.plugin["xep_0202"].get_entity_time("localhost"))["type"], "result", "time")
            await c.plugin["xep_0199"].ping("localhost")
            try:
                await c.plugin["xep_0199"].ping("nobody@localhost/x")
                raise AssertionError("an absent one answered")
            except IqError as e:
                equal(e.condition, "service-unavailable", "condition")

    run(body())


@check("messages between two clients, with a receipt")
def between():
    async def body():
        async with Client("a") as a, Client("b") as b:
            b.plugin["xep_0184"].auto_ack = True
            got = asyncio.Event()
            a.add_event_handler("receipt_received", lambda _: got.set())
            message = a.make_message(mto=b.boundjid, mbody="grüße & <mehr>", msubject="s", mtype="chat")
            message["request_receipt"] = True
            message.send()
            m = await b.message()
            equal((m["body"], m["subject"], m["from"].full), ("grüße & <mehr>", "s", a.boundjid.full), "message")
            await asyncio.wait_for(got.wait(), 60)

    run(body())


@check("to a queue, and to AMQP and Kafka from there")
def to_queue():
    async def body():
        connection, channel = amqp()
        queue = lower("out")
        channel.queue_declare(queue, durable=True)
        async with Client("out") as c:
            got = asyncio.Event()
            c.add_event_handler("receipt_received", lambda _: got.set())
            m = c.make_message(mto=queue + "@queues.localhost", mbody="to a queue", msubject="S", mtype="normal")
            m["headers"] = {"k": "v"}
            m["request_receipt"] = True
            m.send()
            await asyncio.wait_for(got.wait(), 60)
            method, props, got = channel.basic_get(queue, auto_ack=False)
            equal((got, props.content_type, props.headers["k"], props.headers["subject"], props.delivery_mode, props.user_id), (b"to a queue", "text/plain", "v", "S", 2, USER), "as AMQP has it")
            equal(props.message_id, m["id"], "id")
            c.send_message(mto="nothing-there@queues.localhost", mbody="x")
            e = await asyncio.wait_for(c.errors.get(), 60)
            equal(e["error"]["condition"], "item-not-found", "condition")
        consumer = Consumer({"bootstrap.servers": KAFKA_ADDR, "group.id": queue, "auto.offset.reset": "earliest"})
        consumer.subscribe([queue])
        record = until(lambda: consumer.poll(0.2), "a record")
        equal(record.value(), b"to a queue", "as Kafka has it")
        consumer.close()
        connection.close()

    run(body())


@check("from AMQP and Kafka to a client that works a queue off")
def from_queue():
    async def body():
        connection, channel = amqp()
        queue = lower("in")
        channel.queue_declare(queue, durable=True)
        async with Client("in") as c:
            await c.consume(queue)
            channel.basic_publish("", queue, "fröhlich".encode(), pika.BasicProperties(headers={"k": "v", "n": 7}, message_id="mid", content_type="text/x"))
            m = await c.message()
            equal((m["body"], m["id"], m["from"].bare), ("fröhlich", "mid", queue + "@queues.localhost"), "message")
            equal((m["headers"]["k"], m["headers"]["n"], m["headers"]["content-type"]), ("v", "7", "text/x"), "headers")
            producer = Producer({"bootstrap.servers": KAFKA_ADDR})
            producer.produce(queue, b"from Kafka", key=b"key")
            producer.flush(60)
            m = await c.message()
            equal(m["body"], "from Kafka", "body")
            equal(m.xml.find("{urn:leveret:0}record").get("key"), "key", "key")
            channel.basic_publish("", queue, b"\x00\xff")
            m = await c.message()
            equal((m["body"], m.xml.find("{urn:leveret:0}payload").text), ("(2 bytes that are no text)", "AP8="), "what XML can't carry")
        until(lambda: channel.queue_declare(queue, passive=True).method.consumer_count == 0, "the consumer leaves")
        connection.close()

    run(body())


@check("an exchange is an address")
def exchange():
    async def body():
        connection, channel = amqp()
        queue, topic = lower("bound"), lower("topic").replace(".", "-")
        channel.exchange_declare(topic, "topic", durable=True)
        channel.queue_declare(queue, durable=True)
        channel.queue_bind(queue, topic, "alert.#")
        async with Client("exchange") as c:
            for address in ("alert.fire@%s.exchanges.localhost", "%s@exchanges.localhost/alert.fire", "%s@localhost/alert.fire"):
                c.send_message(mto=address % topic, mbody=address)
                method, _, got = await soon(lambda: (lambda g: g[0] and g)(channel.basic_get(queue, auto_ack=True)), "a message")
                equal((method.routing_key, got.decode()), ("alert.fire", address), "message")
        connection.close()

    run(body())


@check("what a client did not acknowledge comes again, to another one")
def redelivery():
    async def body():
        connection, channel = amqp()
        queue = lower("again")
        channel.queue_declare(queue, durable=True)
        for i in range(3):
            channel.basic_publish("", queue, str(i).encode())
        async with Client("receipts") as c:
            c.plugin["xep_0184"].auto_ack = False
            await c.consume(queue, ack="receipt")
            first = await c.message()
            equal([first["body"], (await c.message())["body"], (await c.message())["body"]], ["0", "1", "2"], "bodies")
            c.plugin["xep_0184"].ack(first)
            await soon(lambda: channel.queue_declare(queue, passive=True).method.message_count == 0, "nothing is ready")
            await asyncio.sleep(0.2)
        async with Client("other") as c:
            await c.consume(queue)
            for want in ("1", "2"):
                m = await c.message()
                equal((m["body"], m.xml.find("{urn:leveret:0}record").get("redelivered")), (want, "true"), "message")
        connection.close()

    run(body())


@check("a stream that breaks is resumed, and nothing is lost or comes twice")
def resume():
    async def body():
        connection, channel = amqp()
        queue = lower("resume")
        channel.queue_declare(queue, durable=True)
        async with Client("resume") as c:
            await c.consume(queue)
            for i in range(20):
                channel.basic_publish("", queue, str(i).encode())
            got = [(await c.message())["body"] for _ in range(20)]
            c.transport.abort()
            for i in range(20, 30):
                channel.basic_publish("", queue, str(i).encode())
            await asyncio.sleep(0.5)
            c.connect(HOST, int(PORT))
            await asyncio.wait_for(c.resumed.wait(), 60)
            got += [(await c.message())["body"] for _ in range(10)]
            equal(got, [str(i) for i in range(30)], "bodies")
            await asyncio.sleep(0.2)
            equal(c.messages.qsize(), 0, "more messages")
        until(lambda: channel.queue_declare(queue, passive=True).method.message_count == 0, "all was acknowledged")
        connection.close()

    run(body())


@check("messages to a user who is not there wait for it")
def offline():
    async def body():
        connection, channel = amqp()
        channel.queue_declare(f"xmpp.{USER}", durable=True, arguments={"x-max-length": 1000, "x-overflow": "reject-publish"})
        channel.basic_publish("", f"xmpp.{USER}", b"from AMQP, to a phone")
        async with Client("phone") as c:
            m = await c.message()
            equal((m["body"], m["type"]), ("from AMQP, to a phone", "chat"), "message")
            equal(m["delay"]["stamp"] is not None, True, "stamp")
        connection.close()

    run(body())


@check("TLS may begin with the first byte")
def direct():
    context = ssl.create_default_context(cafile=CA)
    import socket

    with socket.create_connection((HOST, int(PORT))) as plain, context.wrap_socket(plain, server_hostname="localhost") as s:
        s.sendall(b"<stream:stream to='localhost' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>")
        got = b""
        while b"</stream:features>" not in got:
            got += s.recv(4096)
        equal(b"SCRAM-SHA-256" in got and b"starttls" not in got, True, "mechanisms")


main()
