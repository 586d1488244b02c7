"""FastStream with RabbitMQ: subscribers, publishers, requests, acknowledgement, exchanges and queue types."""

import asyncio

from faststream import AckPolicy, Context
from faststream.exceptions import AckMessage, NackMessage, RejectMessage
from faststream.rabbit import Channel, ExchangeType, QueueType, RabbitBroker, RabbitExchange, RabbitQueue, RabbitRouter
from faststream.rabbit.annotations import RabbitMessage

from check import AMQP_HOST, AMQP_PORT, check, equal, main, name

URL = f"amqp://guest:guest@{AMQP_HOST}:{AMQP_PORT}/"


def scenario(title):
    """A check with a broker object of its own: it registers handlers and returns what runs once they are started."""

    def register(function):
        @check(title)
        def run():
            async def work():
                broker = RabbitBroker(URL, default_channel=Channel(prefetch_count=5))
                then = function(broker)
                async with broker:
                    await broker.start()
                    await asyncio.wait_for(then(), 100)

            asyncio.run(work())

        return function

    return register


async def collected(queue, count, seconds=60):
    """So many things from an asyncio queue, and nothing more behind them."""
    got = [await asyncio.wait_for(queue.get(), seconds) for _ in range(count)]
    await asyncio.sleep(0.1)
    if not queue.empty():
        raise AssertionError(f"more than {count}: {queue.get_nowait()!r}")
    return got


@scenario("a subscriber gets what is published, and its answer goes on")
def pipeline(broker):
    got = asyncio.Queue()

    @broker.subscriber(name("first"))
    @broker.publisher(name("second"))
    async def double(n: int) -> int:
        return n * 2

    @broker.subscriber(name("second"))
    async def last(n: int, message: RabbitMessage, source: str = Context("message.headers.source", default="")):
        await got.put((n, message.content_type))

    async def then():
        for i in range(100):
            await broker.publish(i, name("first"), persist=True)
        answers = await collected(got, 100)
        equal(sorted(answers), [(i * 2, "application/json") for i in range(100)], "answers")

    return then


@scenario("requests are answered by direct reply-to")
def requests(broker):
    @broker.subscriber(name("requests"))
    async def upper(text: str) -> str:
        return text.upper()

    async def then():
        answers = await asyncio.gather(*(broker.request(f"text {i}", name("requests"), timeout=60) for i in range(30)))
        equal([await a.decode() for a in answers], [f"TEXT {i}" for i in range(30)], "answers")
        try:
            await broker.request("x", name("nobody"), timeout=0.3)
        except Exception as error:
            equal(type(error).__name__ in ("TimeoutError", "DeliveryError", "PublishError"), True, f"{error!r}")
        else:
            raise AssertionError("a request to nobody is answered")

    return then


@scenario("exchanges: direct, fanout, topic, headers, one bound to another")
def exchanges(broker):
    got = asyncio.Queue()
    direct = RabbitExchange(name("direct"), auto_delete=True)
    fanout = RabbitExchange(name("fanout"), type=ExchangeType.FANOUT, auto_delete=True)
    topic = RabbitExchange(name("topic"), type=ExchangeType.TOPIC, auto_delete=True)
    headers = RabbitExchange(name("headers"), type=ExchangeType.HEADERS, auto_delete=True)
    nested = RabbitExchange(name("nested"), type=ExchangeType.FANOUT, auto_delete=True, bind_to=topic, routing_key="deep.#")
    where = {
        "direct": (RabbitQueue(name("d"), auto_delete=True), direct),
        "fanout 1": (RabbitQueue(name("f1"), auto_delete=True), fanout),
        "fanout 2": (RabbitQueue(name("f2"), auto_delete=True), fanout),
        "topic": (RabbitQueue(name("t"), auto_delete=True, routing_key="*.info"), topic),
        "headers": (RabbitQueue(name("h"), auto_delete=True, bind_arguments={"x-match": "any", "n": 1, "s": "v"}), headers),
        "nested": (RabbitQueue(name("n"), auto_delete=True), nested),
    }

    def listen(label, queue, exchange):
        @broker.subscriber(queue, exchange)
        async def handler(body: str):
            await got.put((label, body))

    for label, (queue, exchange) in where.items():
        listen(label, queue, exchange)

    async def then():
        await broker.publish("d", name("d"), exchange=direct)
        await broker.publish("f", exchange=fanout)
        await broker.publish("t", "logs.info", exchange=topic)
        await broker.publish("deep", "deep.down.below", exchange=topic)
        await broker.publish("h", exchange=headers, headers={"n": 1})
        want = [("direct", "d"), ("fanout 1", "f"), ("fanout 2", "f"), ("headers", "h"), ("nested", "deep"), ("topic", "t")]
        equal(sorted(await collected(got, 6)), want, "who got what")

    return then


@scenario("acknowledgement: by hand, by exception, by policy; dead letters for what is rejected")
def acknowledgement(broker):
    seen, dead = asyncio.Queue(), asyncio.Queue()
    letters = RabbitExchange(name("letters"), type=ExchangeType.FANOUT, auto_delete=True)
    work = RabbitQueue(name("work"), auto_delete=True, arguments={"x-dead-letter-exchange": letters.name})
    tried = set()

    @broker.subscriber(work, ack_policy=AckPolicy.REJECT_ON_ERROR)
    async def handler(body: str, message: RabbitMessage):
        again = body in tried
        tried.add(body)
        await seen.put((body, again, message.raw_message.redelivered))
        if body == "nacked" and not again:
            raise NackMessage()
        if body == "rejected":
            raise RejectMessage()
        if body == "acked":
            raise AckMessage()
        if body == "fails":
            raise ValueError("on purpose")

    @broker.subscriber(RabbitQueue(name("dead"), auto_delete=True), letters)
    async def burier(body: str, message: RabbitMessage):
        death = message.headers["x-death"][0]
        await dead.put((body, death["reason"], death["queue"] == work.name, death["count"]))

    async def then():
        for body in ("plain", "acked", "nacked", "rejected", "fails"):
            await broker.publish(body, work)
        got = await collected(seen, 6)
        want = [("acked", False, False), ("fails", False, False), ("nacked", False, False), ("nacked", True, True), ("plain", False, False), ("rejected", False, False)]
        equal(sorted(got), want, "deliveries")
        equal(sorted(await collected(dead, 2)), [("fails", "rejected", True, 1), ("rejected", "rejected", True, 1)], "dead letters")

    return then


@scenario("delays by a message's time to live and a dead-letter exchange")
def delayed(broker):
    got = asyncio.Queue()

    @broker.subscriber(name("due"))
    async def handler(body: str):
        await got.put((body, asyncio.get_running_loop().time()))

    async def then():
        waiting = RabbitQueue(name("waiting"), auto_delete=True, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": name("due")})
        await broker.declare_queue(waiting)
        begin = asyncio.get_running_loop().time()
        await broker.publish("later", waiting, expiration=0.4)
        await broker.publish("at once", name("due"))
        (first, _), (second, when) = await collected(got, 2)
        equal((first, second), ("at once", "later"), "order")
        if when - begin < 0.4:
            raise AssertionError("a message came before its time")

    return then


@scenario("queue types and arguments: quorum with a delivery limit, priorities, single active consumer")
def types(broker):
    seen, order = asyncio.Queue(), asyncio.Queue()
    quorum = RabbitQueue(name("quorum"), durable=True, queue_type=QueueType.QUORUM, arguments={"x-delivery-limit": 2})
    priorities = RabbitQueue(name("priorities"), durable=True, arguments={"x-max-priority": 10})
    single = RabbitQueue(name("single"), durable=True, arguments={"x-single-active-consumer": True})

    @broker.subscriber(quorum, ack_policy=AckPolicy.NACK_ON_ERROR)
    async def never(body: str, message: RabbitMessage):
        await seen.put(message.headers.get("x-delivery-count"))
        raise ValueError("on purpose")

    who = {}

    def active(label):
        @broker.subscriber(single, channel=Channel(prefetch_count=1))
        async def handler(body: int):
            who.setdefault(label, []).append(body)

    active("one"), active("two")

    async def then():
        await broker.publish("poison", quorum)
        equal(await collected(seen, 3), [None, 1, 2], "delivery counts")
        await broker.declare_queue(priorities)
        for i, priority in enumerate((1, 9, 5)):
            await broker.publish(i, priorities, priority=priority)
        late = RabbitBroker(URL)

        @late.subscriber(priorities, channel=Channel(prefetch_count=1))
        async def handler(body: int):
            await order.put(body)

        async with late:
            await late.start()
            equal(await collected(order, 3), [1, 2, 0], "order")
        for i in range(20):
            await broker.publish(i, single)
        while sum(map(len, who.values())) < 20:
            await asyncio.sleep(0.02)
        equal(list(who.values()), [list(range(20))], "what the one active consumer got")
        for queue in (quorum, priorities, single):
            declared = await broker.declare_queue(queue)
            await declared.delete(if_unused=False, if_empty=False)

    return then


@scenario("a stream is read from its beginning, by each subscriber, and nothing leaves it")
def stream(broker):
    stream = RabbitQueue(name("stream"), durable=True, queue_type=QueueType.STREAM, arguments={"x-max-age": "1h"})
    got = {"one": [], "two": []}

    async def then():
        declared = await broker.declare_queue(stream)
        for i in range(50):
            await broker.publish(i, stream)
        for label in got:
            reader = RabbitBroker(URL, default_channel=Channel(prefetch_count=10))

            @reader.subscriber(stream, consume_args={"x-stream-offset": "first"})
            async def handler(body: int, message: RabbitMessage):
                got[label].append((message.headers["x-stream-offset"], body))

            async with reader:
                await reader.start()
                while len(got[label]) < 50:
                    await asyncio.sleep(0.02)
        for label, read in got.items():  # FastStream handles as many at a time as its prefetch
            equal(sorted(read), [(i, i) for i in range(50)], f"offsets and bodies of {label}")
        await declared.delete(if_unused=False, if_empty=False)

    return then


@scenario("routers with a prefix, batches of publishes that are confirmed, what has no route is told")
def routers(broker):
    got = asyncio.Queue()
    router = RabbitRouter(prefix=name("prefix") + ".")

    @router.subscriber("inner")
    async def handler(body: dict):
        await got.put(body["n"])

    broker.include_router(router)

    async def then():
        confirmed = await asyncio.gather(*(broker.publish({"n": i}, name("prefix") + ".inner") for i in range(200)))
        equal({type(c).__name__ for c in confirmed}, {"Ack"}, "confirms")
        equal(sorted(await collected(got, 200)), list(range(200)), "messages")
        told = await broker.publish("x", name("nowhere"), mandatory=True)
        equal(type(told).__name__ != "Ack", True, f"a publish without a route gives {told!r}")

    return then


main()
