"""slixmpp's XEP-0060: nodes that are queues and exchanges, shared with pika."""

import asyncio
import logging
import os

import pika
import slixmpp
from slixmpp.exceptions import IqError
from slixmpp.xmlstream import ET
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

from check import AMQP_HOST, AMQP_PORT, check, equal, main, name, user

HOST, PORT = (os.environ.get("XMPP_ADDR") or "127.0.0.1:5222").rsplit(":", 1)
CA = os.environ.get("TLS_DIR", "") + "/ca.pem"
SERVICE = "pubsub.localhost"
PUBSUB, EVENT = "http://jabber.org/protocol/pubsub", "http://jabber.org/protocol/pubsub#event"
RSM, LEVERET = "http://jabber.org/protocol/rsm", "urn:leveret:0"
USER = user("pubsub")
logging.getLogger("slixmpp").setLevel(logging.CRITICAL)


class Client(slixmpp.ClientXMPP):
    """A client that keeps the events that it was sent."""

    def __init__(self, resource, managed=True):
        super().__init__(f"{USER}@localhost/{resource}", "secret")
        for plugin in ("xep_0004", "xep_0030", "xep_0060") + (("xep_0198",) if managed else ()):
            self.register_plugin(plugin)
        self.ca_certs = CA
        self.ready, self.events = asyncio.Event(), asyncio.Queue()
        self.add_event_handler("session_start", lambda _: self.ready.set())
        events = MatchXPath("{jabber:client}message/{%s}event" % EVENT)
        self.register_handler(Callback("events", events, lambda m: self.events.put_nowait(m.xml)))
        self.pubsub = self.plugin["xep_0060"]

    async def __aenter__(self):
        self.connect(HOST, int(PORT))
        await asyncio.wait_for(self.ready.wait(), 60)
        self.send_presence()
        return self

    async def __aexit__(self, *_):
        await self.disconnect(wait=1)

    async def happened(self):
        """The next event: what happened, to which node, and the item if there is one."""
        xml = await asyncio.wait_for(self.events.get(), 60)
        what = xml.find("{%s}event" % EVENT)[0]
        item = what[0] if len(what) else None
        return what.tag.split("}")[1], what.get("node"), item

    async def item(self):
        what, node, item = await self.happened()
        equal(what, "items", "event")
        return item.get("id"), item[0]

    async def publish(self, node, id, text):
        payload = ET.Element("{urn:test}p")
        payload.text = text
        return await self.pubsub.publish(SERVICE, node, id=id, payload=payload)


def run(coroutine):
    asyncio.run(coroutine)


def amqp():
    connection = pika.BlockingConnection(pika.ConnectionParameters(AMQP_HOST, AMQP_PORT))
    return connection, connection.channel()


async def refused(coroutine, condition):
    try:
        await coroutine
    except IqError as e:
        return equal(e.condition, condition, "condition")
    raise AssertionError("it was not refused with " + condition)


def ids(iq):
    return [item["id"] for item in iq["pubsub"]["items"]]


@check("a node of any name is made, found, published to, read, purged and deleted")
def life():
    async def body():
        async with Client("life") as c:
            for what in ("plain", "with space", "a/b#c", "<&'\">", "ñ日"):
                node = name(what)
                await c.pubsub.create_node(SERVICE, node)
                await refused(c.pubsub.create_node(SERVICE, node), "conflict")
                nodes = await c.pubsub.get_nodes(SERVICE)
                equal(node in {item[1] for item in nodes["disco_items"]["items"]}, True, "it is listed")
                await c.pubsub.subscribe(SERVICE, node)
                iq = await c.publish(node, "one", "text <&>")
                equal(iq["pubsub"]["publish"]["item"]["id"], "one", "id in the result")
                id, payload = await c.item()
                equal((id, payload.tag, payload.text), ("one", "{urn:test}p", "text <&>"), "event")
                equal(ids(await c.pubsub.get_items(SERVICE, node)), ["one"], "items")
                await c.pubsub.purge(SERVICE, node)
                equal((await c.happened())[:2], ("purge", node), "event")
                equal(ids(await c.pubsub.get_items(SERVICE, node)), [], "items after the purge")
                await refused(c.pubsub.retract(SERVICE, node, "one"), "not-allowed")
                await c.pubsub.delete_node(SERVICE, node)
                equal((await c.happened())[:2], ("delete", node), "event")
                await refused(c.pubsub.get_items(SERVICE, node), "item-not-found")

    run(body())


@check("items: the last ones, by id, the newest under an id, page by page")
def items():
    async def body():
        async with Client("items") as c:
            node = name("items")
            await c.pubsub.create_node(SERVICE, node)
            for i in range(10):
                await c.publish(node, f"i{i}", str(i))
            await c.publish(node, "i3", "again")
            equal(ids(await c.pubsub.get_items(SERVICE, node, max_items=2)), ["i9", "i3"], "the last two")
            got = await c.pubsub.get_items(SERVICE, node, item_ids=["i3", "none", "i5"])
            equal(ids(got), ["i3", "i5"], "by id")
            equal(got["pubsub"]["items"]["substanzas"][0]["payload"].text, "again", "the newest")
            seen = []
            while True:  # slixmpp's own iterator does not know of XEP-0060's elements
                iq = c.make_iq_get(ito=SERVICE)
                iq["pubsub"]["items"]["node"] = node
                rsm = ET.SubElement(iq["pubsub"].xml, "{%s}set" % RSM)
                ET.SubElement(rsm, "{%s}max" % RSM).text = "4"
                if seen:
                    ET.SubElement(rsm, "{%s}after" % RSM).text = seen[-1]
                page = ids(await iq.send())
                if not page:
                    break
                seen += page
            equal(seen, ["i0", "i1", "i2", "i4", "i5", "i6", "i7", "i8", "i9", "i3"], "all pages")

    run(body())


@check("settings: the form is read, changed and kept; conditions of a publish")
def settings():
    async def body():
        async with Client("settings") as c:
            node = name("settings")
            await c.pubsub.create_node(SERVICE, node)
            form = (await c.pubsub.get_node_config(SERVICE, node))["pubsub_owner"]["configure"]["form"]
            equal({"pubsub#title", "pubsub#max_items", "pubsub#persist_items", "pubsub#access_model"} <= set(form.get_fields()), True, "fields")
            form["type"] = "submit"
            form.get_fields()["pubsub#title"]["value"] = "Title <&>"
            form.get_fields()["pubsub#max_items"]["value"] = "1"
            await c.pubsub.set_node_config(SERVICE, node, form)
            form = (await c.pubsub.get_node_config(SERVICE, node))["pubsub_owner"]["configure"]["form"]
            equal(form.get_fields()["pubsub#title"]["value"], "Title <&>", "title")
            for i in range(3):
                await c.publish(node, f"i{i}", "x")
            equal(ids(await c.pubsub.get_items(SERVICE, node)), ["i2"], "items")
            options = c.plugin["xep_0004"].make_form("submit")
            options.add_field(var="FORM_TYPE", ftype="hidden", value=PUBSUB + "#publish-options")
            options.add_field(var="pubsub#access_model", value="whitelist")
            await refused(c.pubsub.publish(SERVICE, node, payload=ET.Element("{urn:test}p"), options=options), "conflict")

    run(body())


@check("what AMQP publishes is an event and an item, with headers, type and persistence; and the other way round")
def crossing():
    async def body():
        async with Client("crossing") as c:
            node = name("crossing")
            await c.pubsub.create_node(SERVICE, node)
            await c.pubsub.subscribe(SERVICE, node)
            connection, channel = amqp()
            channel.confirm_delivery()
            channel.basic_publish("", node, b"text", pika.BasicProperties(content_type="text/plain", delivery_mode=2, headers={"n": 7, "s": "v"}))
            channel.basic_publish("", node, b"\x00\xff", pika.BasicProperties(message_id="bytes"))
            channel.basic_publish("", node, b"<a xmlns='urn:b'>c</a>", pika.BasicProperties(content_type="application/xml"))
            id, m = await c.item()
            equal((m.tag, m.get("content-type"), m.get("persistent"), m.find("{%s}body" % LEVERET).text), ("{%s}message" % LEVERET, "text/plain", "true", "text"), "message")
            equal([(h.get("name"), h.get("type"), h.text) for h in m.findall("{%s}header" % LEVERET)], [("n", "I", "7"), ("s", "S", "v")], "headers")
            id, m = await c.item()
            body = m.find("{%s}body" % LEVERET)
            equal((id, body.get("encoding"), body.text), ("bytes", "base64", "AP8="), "bytes")
            id, a = await c.item()
            equal((a.tag, a.text), ("{urn:b}a", "c"), "element")
            await c.publish(node, "mine", "x")
            got = [channel.basic_get(node, auto_ack=True) for _ in range(4)][3]
            equal((got[1].message_id, got[1].content_type, got[1].delivery_mode, got[1].user_id, got[2]),
                  ("mine", "application/xml", 2, USER, b"<p xmlns='urn:test'>x</p>"), "message over AMQP")
            connection.close()

    run(body())


@check("a subscription to an exchange gets what its key matches, also what came while it was away")
def exchange():
    async def body():
        node = "x/" + name("topic")
        async with Client("exchange", managed=False) as c:  # what was written counts as delivered
            await c.pubsub.create_node(SERVICE, node)
            options = c.plugin["xep_0004"].make_form("submit")
            options.add_field(var="FORM_TYPE", ftype="hidden", value=PUBSUB + "#subscribe_options")
            options.add_field(var="leveret#key", ftype="text-multi", value="a.*")
            await c.pubsub.subscribe(SERVICE, node, options=options)
            connection, channel = amqp()
            channel.confirm_delivery()
            for key in ("a.b", "b.b", "a.c"):
                channel.basic_publish(node[2:], key, key.encode())
            for key in ("a.b", "a.c"):
                _, m = await c.item()
                equal((m.get("key"), m.find("{%s}body" % LEVERET).text), (key, key), "message")
        channel.basic_publish(node[2:], "a.away", b"away")
        async with Client("exchange2") as c:
            _, m = await c.item()
            equal(m.find("{%s}body" % LEVERET).text, "away", "message")
            await c.pubsub.delete_node(SERVICE, node)
            connection.close()

    run(body())


@check("a work queue: each item to one of the subscribers, and again when its stream ends without an acknowledgement")
def work():
    async def body():
        node = name("work")
        async with Client("one", managed=False) as one, Client("two", managed=False) as two:
            await one.pubsub.create_node(SERVICE, node)
            for c in (one, two):
                options = c.plugin["xep_0004"].make_form("submit")
                options.add_field(var="FORM_TYPE", ftype="hidden", value=PUBSUB + "#subscribe_options")
                options.add_field(var="leveret#mode", value="one")
                options.add_field(var="leveret#receipts", value="true")
                await c.pubsub.subscribe(SERVICE, node, bare=False, options=options)
            for i in range(10):
                await one.publish(node, f"i{i}", "x")
            for _ in range(1000):
                if one.events.qsize() + two.events.qsize() >= 10:
                    break
                await asyncio.sleep(0.05)
            mine, others = one.events.qsize(), two.events.qsize()
            equal((mine + others, mine > 0, others > 0), (10, True, True), "items of each")
            first = {(await one.item())[0] for _ in range(mine)}
            one.abort()
            again = {(await two.item())[0] for _ in range(10)}
            equal(first <= again, True, "what the first did not acknowledge came again")

    run(body())


main()
