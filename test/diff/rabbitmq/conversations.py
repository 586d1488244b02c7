"""The conversations. Each is a function over one Conversation; its name is the scenario's."""
import time

from pika.spec import Basic, Channel, Confirm, Connection, Exchange, Queue, Tx

from client import double, long, short

ALL = []


def conversation(f):
    ALL.append(f)
    return f


def declare(c, suffix="", quietly=True, channel=1, **more):
    more.setdefault("durable", True)
    arguments = more.pop("arguments", None)
    c.call(channel, Queue.Declare(queue=c.q(suffix), arguments=arguments, **more), quietly)
    return c.q(suffix)


def bind(c, queue, exchange, key="", arguments=None, quietly=True):
    c.call(1, Queue.Bind(queue=queue, exchange=exchange, routing_key=key, arguments=arguments), quietly)


def exchange(c, suffix, kind="direct", quietly=True, **more):
    c.call(1, Exchange.Declare(exchange=c.q(suffix), type=kind, **more), quietly)
    return c.q(suffix)


def drop(c, *queues):
    for q in queues:
        c.call(1, Queue.Delete(queue=q), True)


VALUES = [0, 1, -1, 255, 256, long(2**40), long(-2**40), short(3), double(1.5), True, "", "1", "abc", None, [1], {"a": 1}]
NUMBERS = ["x-message-ttl", "x-expires", "x-max-length", "x-max-length-bytes", "x-max-priority", "x-delivery-limit", "x-consumer-timeout",
           "x-quorum-initial-group-size", "x-initial-cluster-size", "x-stream-max-segment-size-bytes", "x-stream-filter-size-bytes",
           "x-max-in-memory-length", "x-max-in-memory-bytes"]
TEXTS = ["x-dead-letter-exchange", "x-overflow", "x-queue-mode", "x-queue-type", "x-queue-master-locator", "x-queue-leader-locator",
         "x-dead-letter-strategy", "x-max-age", "x-single-active-consumer", "x-queue-version"]
WORDS = {"x-overflow": ["drop-head", "reject-publish", "reject-publish-dlx", "other"], "x-queue-mode": ["default", "lazy", "other"],
         "x-queue-type": ["classic", "quorum", "stream", "other"], "x-queue-leader-locator": ["client-local", "balanced", "other"],
         "x-queue-master-locator": ["client-local", "min-masters", "other"],
         "x-dead-letter-strategy": ["at-most-once", "at-least-once", "other"], "x-max-age": ["7D", "1h", "1x", "D", "1", "-1h", "1 h", "90s"],
         "x-queue-version": [1, 2, 3]}


def argument_cases(name):
    return VALUES + WORDS.get(name, [])


def arguments_of(kind, names):
    def run(c):
        for name in names:
            for value in argument_cases(name):
                arguments = {name: value}
                if kind and name != "x-queue-type":
                    arguments["x-queue-type"] = kind
                c.call(1, Queue.Declare(queue=c.q(), durable=True, arguments=arguments))
                drop(c, c.q())
    return run


for kind in ("", "quorum", "stream"):
    for group, names in (("numbers", NUMBERS), ("texts", TEXTS)):
        f = arguments_of(kind, names)
        f.__name__ = f"{kind or 'classic'}_{group}"
        ALL.append(f)


@conversation
def dead_letter_key_needs_an_exchange(c):
    for arguments in ({"x-dead-letter-routing-key": "k"}, {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "k"},
                      {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": 1}, {"x-dead-letter-exchange": "no-such"}):
        c.call(1, Queue.Declare(queue=c.q(), durable=True, arguments=arguments))
        drop(c, c.q())


@conversation
def types_and_flags(c):
    for kind in ("classic", "quorum", "stream"):
        for flags in ({"durable": False}, {"durable": True, "exclusive": True}, {"durable": True, "auto_delete": True}, {"durable": False, "exclusive": True}):
            c.call(1, Queue.Declare(queue=c.q(), arguments={"x-queue-type": kind}, **flags))
            drop(c, c.q())


@conversation
def declared_twice(c):
    base = {"x-message-ttl": 1000, "x-max-length": 5}
    pairs = [
        ({}, {}), ({}, {"foo": 1}), ({"foo": 1}, {"foo": 2}), (base, base), (base, {"x-max-length": 5, "x-message-ttl": 1000}),
        (base, {"x-message-ttl": long(1000), "x-max-length": short(5)}), (base, {"x-message-ttl": 1001, "x-max-length": 5}), (base, {}),
        ({}, base), ({"x-queue-type": "classic"}, {}), ({}, {"x-queue-type": "classic"}), ({}, {"x-queue-type": "quorum"}),
        ({"x-queue-type": "quorum"}, {"x-queue-type": "quorum", "x-delivery-limit": 3}), ({"x-max-priority": 5}, {"x-max-priority": 6}),
        ({"x-expires": 60000}, {"x-expires": 60001}), ({"x-dead-letter-exchange": "a"}, {"x-dead-letter-exchange": "b"}),
        ({"x-dead-letter-exchange": "a"}, {}), ({"x-overflow": "drop-head"}, {}), ({"x-overflow": "drop-head"}, {"x-overflow": "reject-publish"}),
        ({"x-single-active-consumer": True}, {}), ({"x-single-active-consumer": True}, {"x-single-active-consumer": False}),
        ({"x-queue-mode": "lazy"}, {}), ({"x-max-age": "1h", "x-queue-type": "stream"}, {"x-max-age": "2h", "x-queue-type": "stream"}),
    ]
    for first, second in pairs:
        c.say(f"{first} then {second}")
        c.call(1, Queue.Declare(queue=c.q(), durable=True, arguments=first))
        c.call(1, Queue.Declare(queue=c.q(), durable=True, arguments=second))
        drop(c, c.q())
    declare(c)
    for flags in ({"durable": False}, {"durable": True, "auto_delete": True}, {"durable": True, "exclusive": True}):
        c.call(1, Queue.Declare(queue=c.q(), **flags))
    drop(c, c.q())


@conversation
def queue_names(c):
    for name in ("amq.mine", "amq.gen-mine", "", "with space", "with/slash", "é", "x" * 255, "a\nb", "a\r\nb"):
        c.call(1, Queue.Declare(queue=name and (name if name.startswith("amq.") or len(name) > 200 else c.q(name))))
        c.call(1, Queue.Delete(queue=name and (name if name.startswith("amq.") or len(name) > 200 else c.q(name))))
    c.call(1, Queue.Declare(queue=c.q("none"), passive=True))
    c.call(1, Queue.Declare(queue="", passive=True))
    c.call(1, Queue.Purge(queue=""))
    c.call(1, Queue.Purge(queue=c.q("none")))
    c.call(1, Queue.Delete(queue=c.q("none")))
    c.call(1, Basic.Get(queue=c.q("none")))
    c.call(1, Basic.Consume(queue=c.q("none")))


@conversation
def delete_conditions(c):
    q = declare(c)
    c.publish(1, "", q)
    c.call(1, Queue.Delete(queue=q, if_empty=True))
    c.call(1, Basic.Consume(queue=q, consumer_tag="t"))
    c.hear()
    c.call(1, Queue.Delete(queue=q, if_unused=True))
    c.call(1, Queue.Delete(queue=q, if_unused=True))
    c.call(1, Queue.Delete(queue=q, if_empty=True))
    c.call(1, Queue.Delete(queue=q))


@conversation
def exchanges(c):
    for kind in ("direct", "fanout", "topic", "headers", "x-nothing", ""):
        c.call(1, Exchange.Declare(exchange=c.q("x"), type=kind))
        c.call(1, Exchange.Delete(exchange=c.q("x")))
    for a, b in (({"type": "direct"}, {"type": "fanout"}), ({"type": "direct", "durable": True}, {"type": "direct"}),
                 ({"type": "direct"}, {"type": "direct", "auto_delete": True}), ({"type": "direct"}, {"type": "direct", "internal": True}),
                 ({"type": "direct"}, {"type": "direct", "arguments": {"foo": 1}}),
                 ({"type": "direct"}, {"type": "direct", "arguments": {"alternate-exchange": "a"}}),
                 ({"type": "direct", "arguments": {"alternate-exchange": "a"}}, {"type": "direct", "arguments": {"alternate-exchange": "b"}}),
                 ({"type": "direct", "arguments": {"alternate-exchange": 1}}, {"type": "direct"})):
        c.call(1, Exchange.Declare(exchange=c.q("x"), **a))
        c.call(1, Exchange.Declare(exchange=c.q("x"), **b))
        c.call(1, Exchange.Delete(exchange=c.q("x")))
    for name in ("amq.mine", "amq.direct", "", "amq.topic"):
        c.call(1, Exchange.Declare(exchange=name, type="direct"))
        c.call(1, Exchange.Declare(exchange=name, type="direct", passive=True))
    c.call(1, Exchange.Declare(exchange=c.q("none"), type="direct", passive=True))
    for name in ("amq.direct", "", c.q("none")):
        c.call(1, Exchange.Delete(exchange=name))
    x, q = exchange(c, "used"), declare(c, "q")
    bind(c, q, x, "k")
    c.call(1, Exchange.Delete(exchange=x, if_unused=True))
    c.call(1, Exchange.Delete(exchange=x))
    c.call(1, Exchange.Delete(exchange=x, if_unused=True))
    drop(c, q)


@conversation
def internal_and_alternate(c):
    q, other = declare(c, "q"), declare(c, "other")
    inner = exchange(c, "inner", "fanout", internal=True)
    c.publish(1, inner, "k")
    c.hear("publish to an internal exchange")
    alt = exchange(c, "alt", "fanout")
    bind(c, other, alt)
    x = exchange(c, "x", "direct", arguments={"alternate-exchange": alt})
    bind(c, q, x, "k")
    c.call(1, Confirm.Select(), True)
    for key in ("k", "unknown"):
        c.publish(1, x, key, key.encode(), mandatory=True)
        c.hear(f"key {key}")
    for name in (q, other):
        c.get(1, name)
        c.get(1, name)
    lost = exchange(c, "lost", "direct", arguments={"alternate-exchange": c.q("no-such")})
    c.publish(1, lost, "k", mandatory=True)
    c.hear("the alternate exchange is missing")
    drop(c, q, other)
    for name in (inner, alt, x, lost):
        c.call(1, Exchange.Delete(exchange=name), True)


@conversation
def alternate_exchanges_in_a_circle(c):
    a = exchange(c, "a", arguments={"alternate-exchange": c.q("b")})
    b = exchange(c, "b", arguments={"alternate-exchange": c.q("a")})
    c.call(1, Confirm.Select(), True)
    c.publish(1, a, "k", mandatory=True)
    c.hear()
    for x in (a, b):
        c.call(1, Exchange.Delete(exchange=x), True)


@conversation
def bindings(c):
    q = declare(c)
    for name, key in (("amq.direct", "k"), ("amq.direct", "k"), (c.q("none"), "k"), ("", "k")):
        c.call(1, Queue.Bind(queue=q, exchange=name, routing_key=key))
        c.call(1, Queue.Unbind(queue=q, exchange=name, routing_key=key))
    c.call(1, Queue.Bind(queue=c.q("none"), exchange="amq.direct"))
    c.call(1, Queue.Unbind(queue=c.q("none"), exchange="amq.direct"))
    for match in ("all", "any", "all-with-x", "any-with-x", "some", 1, None):
        c.call(1, Queue.Bind(queue=q, exchange="amq.headers", arguments={"x-match": match, "a": 1}))
        c.call(1, Queue.Unbind(queue=q, exchange="amq.headers", arguments={"x-match": match, "a": 1}))
    c.call(1, Exchange.Bind(destination="amq.fanout", source="amq.direct", routing_key="diff"))
    c.call(1, Exchange.Unbind(destination="amq.fanout", source="amq.direct", routing_key="diff"))
    c.call(1, Exchange.Bind(destination=c.q("none"), source="amq.direct"))
    c.call(1, Exchange.Bind(destination="amq.fanout", source=c.q("none")))
    c.call(1, Exchange.Bind(destination="", source="amq.direct"))
    drop(c, q)


@conversation
def header_matches(c):
    cases = [
        ({"x-match": "all", "a": 1, "b": "x"}, [{"a": 1, "b": "x"}, {"a": 1}, {"a": 1, "b": "x", "c": 2}, {"a": "1", "b": "x"}, {"a": long(1), "b": "x"}, {"a": double(1.0), "b": "x"}]),
        ({"x-match": "any", "a": 1, "b": "x"}, [{"a": 1}, {"b": "x"}, {"a": 2, "b": "y"}, {}]),
        ({"a": 1}, [{"a": 1}, {"a": 2}, {}]),
        ({"x-match": "all"}, [{}, {"a": 1}]), ({"x-match": "any"}, [{}, {"a": 1}]),
        ({"x-match": "all", "a": None}, [{"a": 1}, {"a": None}, {"b": 1}]),
        ({"x-match": "all", "x-a": 1}, [{}, {"x-a": 1}, {"x-a": 2}]),
        ({"x-match": "all-with-x", "x-a": 1}, [{}, {"x-a": 1}, {"x-a": 2}]),
        ({"x-match": "any-with-x", "x-a": 1, "b": 1}, [{}, {"x-a": 1}, {"b": 1}]),
        ({"x-match": "all", "t": True, "l": [1, "a"], "f": {"k": 1}}, [{"t": True, "l": [1, "a"], "f": {"k": 1}}, {"t": True, "l": [1], "f": {"k": 1}}]),
    ]
    x = exchange(c, "x", "headers")
    for n, (arguments, headers) in enumerate(cases):
        q = declare(c, f"q{n}")
        bind(c, q, x, "", arguments)
        for h in headers:
            c.publish(1, x, "", headers=h)
            c.call(1, Queue.Purge(queue=q), True)
            c.publish(1, x, "", headers=h)
            c.say(f"binding {arguments}, headers {h}")
            c.call(1, Queue.Purge(queue=q))
        drop(c, q)
    c.call(1, Exchange.Delete(exchange=x), True)


@conversation
def topic_keys(c):
    x, q = exchange(c, "x", "topic"), declare(c)
    for pattern in ("#", "*", "a.*", "a.#", "#.b", "*.b", "#.#", "*.#", "#.*", "a.#.b", "a.*.b", "", "a..b", "#.a.#", "*.*"):
        bind(c, q, x, pattern)
        hits = []
        for key in ("", "a", "b", "a.b", "a.c.b", "a..b", ".", "a.", ".b", "a.b.c", "b.a", "..", "a.b.a.b"):
            c.publish(1, x, key)
            line = c.call(1, Queue.Purge(queue=q), True)
            hits.append(f"{key!r}:{line.rsplit('=', 1)[-1]}")
        c.say(f"{pattern!r} takes {' '.join(hits)}")
        c.call(1, Queue.Unbind(queue=q, exchange=x, routing_key=pattern), True)
    drop(c, q)
    c.call(1, Exchange.Delete(exchange=x), True)


@conversation
def exchange_to_exchange(c):
    a, b, d = exchange(c, "a", "topic"), exchange(c, "b", "fanout"), exchange(c, "d", "direct")
    q = declare(c)
    for source, destination, key in ((a, b, "k.#"), (b, d, ""), (d, a, "k.1")):
        c.call(1, Exchange.Bind(destination=destination, source=source, routing_key=key))
    bind(c, q, d, "k.1")
    bind(c, q, b)
    c.publish(1, a, "k.1", mandatory=True)
    c.publish(1, a, "z", b"unroutable", mandatory=True)
    c.hear("through a circle of exchanges")
    c.get(1, q)
    c.get(1, q)
    c.call(1, Exchange.Delete(exchange=b))
    c.publish(1, a, "k.1", mandatory=True)
    c.hear("without the exchange in the middle")
    drop(c, q)
    for x in (a, d):
        c.call(1, Exchange.Delete(exchange=x), True)


@conversation
def auto_delete_exchange(c):
    x = exchange(c, "x", "fanout", auto_delete=True)
    q = declare(c)
    c.call(1, Exchange.Declare(exchange=x, passive=True))
    bind(c, q, x)
    c.call(1, Queue.Unbind(queue=q, exchange=x), True)
    c.call(1, Exchange.Declare(exchange=x, passive=True))
    x = exchange(c, "x", "fanout", auto_delete=True)
    bind(c, q, x)
    drop(c, q)
    c.call(1, Exchange.Declare(exchange=x, passive=True))


@conversation
def copies(c):
    one, two, three = declare(c, "one"), declare(c, "two"), declare(c, "three")
    c.publish(1, "", one, headers={"CC": [two], "BCC": [three], "other": 1})
    c.publish(1, "", one, headers={"CC": [one, two]})
    for q in (one, two, three):
        c.get(1, q)
        c.get(1, q)
    for bad in ({"CC": two}, {"CC": 1}, {"BCC": two}, {"CC": [1]}):
        c.publish(1, "", one, headers=bad)
        c.hear(f"{bad}")
    drop(c, one, two, three)


@conversation
def publishes(c):
    q = declare(c)
    c.publish(1, c.q("none"), "k")
    c.hear("no such exchange")
    c.publish(1, "", c.q("none"), mandatory=True)
    c.hear("mandatory to nobody")
    c.publish(1, "", q, immediate=True)
    c.hear("immediate")
    for expiration in ("0", "1000", "-1", "x", "1.5", "", " 1", "99999999999999"):
        c.publish(1, "", q, expiration=expiration)
        c.hear(f"expiration {expiration!r}", patience=0.5)
    for user in ("guest", "somebody"):
        c.publish(1, "", q, user_id=user)
        c.hear(f"user-id {user}", patience=0.5)
    for mode in (0, 1, 2, 3, 255):
        c.publish(1, "", q, delivery_mode=mode)
    c.publish(1, "", q, content_type="a", content_encoding="b", priority=9, correlation_id="c", message_id="i", timestamp=1, type="t", app_id="p", headers={"n": None, "l": [1, {"x": b"\xff"}], "d": double(0.5)})
    drop(c, c.q("none"))
    for _ in range(12):
        c.get(1, q)
    drop(c, q)


@conversation
def confirms(c):
    q = declare(c)
    c.call(1, Confirm.Select())
    c.call(1, Confirm.Select())
    for n in range(5):
        c.publish(1, "", q, b"%d" % n, delivery_mode=2)
    c.hear("five")
    c.publish(1, "", c.q("none"), mandatory=True)
    c.publish(1, "", c.q("none"))
    c.hear("to nobody")
    c.publish(1, c.q("none"), "")
    c.hear("to no exchange")
    c.call(1, Confirm.Select())
    c.publish(1, "", q)
    c.hear("numbers begin again")
    drop(c, q)


@conversation
def settling(c):
    q = declare(c)

    def fill(n):
        for i in range(n):
            c.publish(1, "", q, b"%d" % i)
    fill(4)
    for _ in range(3):
        c.get(1, q, ack=False)
    c.tell(1, Basic.Ack(2, True))
    c.count(1, q)
    c.tell(1, Basic.Nack(3, False, True))
    c.get(1, q, ack=False)
    c.tell(1, Basic.Reject(4, False))
    c.count(1, q)
    for method in (Basic.Ack(4), Basic.Ack(99), Basic.Nack(99), Basic.Reject(99), Basic.Ack(0), Basic.Nack(0), Basic.Reject(0)):
        c.tell(1, method)
        c.hear(c.brief(method))
    for method in (Basic.Ack(0, True), Basic.Nack(0, True), Basic.Ack(5, True)):
        c.tell(1, method)
        c.hear(c.brief(method), patience=0.5)
    fill(2)
    c.get(1, q, ack=False)
    c.call(1, Basic.Recover(True))
    c.get(1, q, ack=False)
    c.call(1, Basic.Recover(False))
    c.get(1, q)
    drop(c, q)


@conversation
def requeued_to_their_place(c):
    q = declare(c)
    for n in range(6):
        c.publish(1, "", q, b"%d" % n)
    for _ in range(4):
        c.get(1, q, ack=False)
    c.tell(1, Basic.Nack(3, False, True))
    c.tell(1, Basic.Nack(1, False, True))
    for _ in range(3):
        c.get(1, q, ack=False)
    c.call(1, Channel.Close(200, "", 0, 0))
    for _ in range(6):
        c.get(1, q)
    drop(c, q)


@conversation
def consumers(c):
    q = declare(c)
    c.call(1, Basic.Consume(queue=q, consumer_tag="t"))
    c.call(1, Basic.Consume(queue=q, consumer_tag="t"))
    c.call(1, Basic.Consume(queue=q, consumer_tag="a"))
    c.call(1, Basic.Consume(queue=q, consumer_tag="b", exclusive=True))
    c.call(1, Basic.Consume(queue=q, consumer_tag="b", exclusive=True))
    c.call(2, Basic.Consume(queue=q, consumer_tag="c"))
    c.call(1, Basic.Cancel("b"))
    c.call(1, Basic.Cancel("unknown"))
    c.call(1, Basic.Consume(queue=q))
    c.call(1, Basic.Consume(queue=q, consumer_tag="p", arguments={"x-priority": "high"}))
    c.call(1, Basic.Consume(queue=q, consumer_tag="p", arguments={"x-priority": 5}))
    c.call(1, Basic.Consume(queue=q, consumer_tag="s", arguments={"x-stream-offset": "first"}))
    c.call(2, Queue.Delete(queue=q))
    c.hear("the queue is deleted")


@conversation
def prefetch(c):
    q = declare(c)
    for n in range(10):
        c.publish(1, "", q, b"%d" % n)
    c.call(1, Basic.Qos(prefetch_count=2))
    c.call(1, Basic.Consume(queue=q, consumer_tag="a"))
    c.hear("two")
    c.tell(1, Basic.Ack(1))
    c.hear("one more")
    c.call(1, Basic.Qos(prefetch_count=5))
    c.hear("a later prefetch is for later consumers", patience=0.5)
    c.call(1, Basic.Qos(prefetch_count=4, global_qos=True))
    c.call(1, Basic.Qos(prefetch_size=1))
    drop(c, q)


@conversation
def consumer_priorities(c):
    q = declare(c)
    for tag, priority in (("low", -1), ("high", 10), ("middle", 0)):
        c.call(1, Basic.Qos(prefetch_count=2), True)
        c.call(1, Basic.Consume(queue=q, consumer_tag=tag, arguments={"x-priority": priority}), True)
    for n in range(7):
        c.publish(2, "", q, b"%d" % n)
        c.hear(f"message {n}", patience=0.5)
    drop(c, q)


@conversation
def single_active_consumer(c):
    q = declare(c, arguments={"x-single-active-consumer": True})
    for tag in ("a", "b"):
        c.call(1, Basic.Consume(queue=q, consumer_tag=tag, no_ack=True))
    c.publish(1, "", q, b"1")
    c.publish(1, "", q, b"2")
    c.hear("the first has all")
    c.call(1, Basic.Cancel("a"))
    c.publish(1, "", q, b"3")
    c.hear("then the second")
    c.call(1, Basic.Consume(queue=q, consumer_tag="x", exclusive=True))
    drop(c, q)


@conversation
def exclusive_queues(c):
    q = declare(c, exclusive=True, durable=False)
    other = type(c)(*c.address, c.name)
    for method in (Queue.Declare(queue=q, passive=True), Queue.Declare(queue=q, exclusive=True), Queue.Declare(queue=q), Basic.Consume(queue=q),
                   Basic.Get(queue=q), Queue.Purge(queue=q), Queue.Delete(queue=q), Queue.Bind(queue=q, exchange="amq.direct")):
        other.call(1, method)
    c.lines += other.lines
    other.close()


@conversation
def time_to_live(c):
    q = declare(c, arguments={"x-message-ttl": 2000})
    both = declare(c, "both", arguments={"x-message-ttl": 2000})
    none = declare(c, "zero", arguments={"x-message-ttl": 0})
    c.publish(1, "", q)
    c.publish(1, "", both, expiration="100000")
    c.publish(1, "", none)
    time.sleep(0.1)
    for name in (q, both, none):
        c.count(1, name)
    time.sleep(2.2)  # each count takes a while, too
    for name in (q, both, none):
        c.count(1, name)
        c.get(1, name)
    c.call(1, Basic.Consume(queue=none, consumer_tag="z", no_ack=True), True)
    c.publish(1, "", none, b"now")
    c.hear("TTL 0 with a waiting consumer")
    drop(c, q, both, none)


@conversation
def expiry_at_the_head(c):
    q = declare(c)
    c.publish(1, "", q, b"long", expiration="600")
    c.publish(1, "", q, b"short", expiration="100")
    c.publish(1, "", q, b"ever")
    time.sleep(0.35)
    c.count(1, q)
    time.sleep(0.6)
    c.count(1, q)
    c.get(1, q)
    drop(c, q)


@conversation
def queues_that_expire(c):
    idle, used = declare(c, "idle", arguments={"x-expires": 400}), declare(c, "used", arguments={"x-expires": 400})
    c.call(1, Basic.Consume(queue=used, consumer_tag="u"), True)
    time.sleep(1.0)
    c.call(1, Queue.Declare(queue=idle, passive=True))
    c.call(2, Queue.Declare(queue=used, passive=True))
    c.reconnect()
    time.sleep(1.2)
    c.call(1, Queue.Declare(queue=used, passive=True))


@conversation
def deaths_by_rejection(c):
    q = declare(c, "q", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": c.q("dead")})
    dead = declare(c, "dead")
    c.publish(1, "", q, b"one", headers={"h": 1}, delivery_mode=2, priority=3, expiration="60000", message_id="i")
    c.get(1, q, ack=False)
    c.tell(1, Basic.Reject(1, False))
    time.sleep(0.3)
    c.get(1, dead)
    for _ in range(2):
        c.publish(1, "", q, b"two")
    c.get(1, q, ack=False)
    c.get(1, q, ack=False)
    c.tell(1, Basic.Nack(0, True, False))
    time.sleep(0.3)
    c.get(1, dead)
    c.get(1, dead)
    drop(c, q, dead)


@conversation
def deaths_by_time(c):
    x = exchange(c, "dlx", "topic")
    dead = declare(c, "dead")
    bind(c, dead, x, "#")
    q = declare(c, "q", arguments={"x-dead-letter-exchange": x, "x-message-ttl": 100})
    own = declare(c, "own", arguments={"x-dead-letter-exchange": x})
    bind(c, q, "amq.topic", c.q("key"))
    c.publish(1, "amq.topic", c.q("key"), b"by the queue", headers={"CC": ["elsewhere"], "BCC": ["secret"]})
    time.sleep(0.5)
    c.get(1, dead)
    c.publish(1, "", own, b"by itself", expiration="100")
    time.sleep(0.5)
    c.get(1, dead)
    drop(c, q, own, dead)
    c.call(1, Exchange.Delete(exchange=x), True)


@conversation
def deaths_by_length(c):
    dead = declare(c, "dead")
    q = declare(c, "q", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead, "x-max-length": 2})
    c.call(1, Confirm.Select(), True)
    for n in range(4):
        c.publish(1, "", q, b"%d" % n)
    c.hear("four into two")
    c.count(1, q)
    c.get(1, q)
    time.sleep(0.3)
    c.get(1, dead)
    c.get(1, dead)
    drop(c, q, dead)


@conversation
def deaths_that_repeat(c):
    wait = declare(c, "wait", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": c.q("work"), "x-message-ttl": 100})
    work = declare(c, "work", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": wait})
    c.publish(1, "", work, b"again and again")
    for tag in range(1, 4):
        time.sleep(0.4)
        c.get(1, work, ack=False)
        c.tell(1, Basic.Reject(tag, False))
    time.sleep(0.4)
    c.get(1, work)
    c.say("a circle in which nobody rejects")
    a = declare(c, "a", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": c.q("b"), "x-message-ttl": 50})
    b = declare(c, "b", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": a, "x-message-ttl": 50})
    c.publish(1, "", a, b"round")
    time.sleep(0.8)
    c.count(1, a)
    c.count(1, b)
    drop(c, wait, work, a, b)


@conversation
def deaths_without_a_place(c):
    q = declare(c, "q", arguments={"x-dead-letter-exchange": c.q("no-such")})
    c.publish(1, "", q)
    c.get(1, q, ack=False)
    c.tell(1, Basic.Reject(1, False))
    c.hear("the exchange is missing", patience=0.5)
    c.count(1, q)
    drop(c, q)


@conversation
def limits(c):
    for overflow in (None, "drop-head", "reject-publish"):
        for limit in ({"x-max-length": 3}, {"x-max-length-bytes": 10}, {"x-max-length": 0}):
            arguments = dict(limit)
            if overflow:
                arguments["x-overflow"] = overflow
            q = declare(c, arguments=arguments)
            c.call(1, Confirm.Select(), True)
            for n in range(5):
                c.publish(1, "", q, b"%04d" % n)
                c.hear(f"{arguments}: message {n}")
            c.count(1, q)
            c.get(1, q)
            drop(c, q)
            c.call(1, Channel.Close(200, "", 0, 0), True)
            c.channels.discard(1)


@conversation
def length_counts_ready_messages_alone(c):
    q = declare(c, arguments={"x-max-length": 2})
    for n in range(2):
        c.publish(1, "", q, b"%d" % n)
    c.get(1, q, ack=False)
    c.get(1, q, ack=False)
    for n in range(2, 5):
        c.publish(1, "", q, b"%d" % n)
    c.count(1, q)
    c.call(1, Basic.Recover(True))
    time.sleep(0.3)
    c.count(1, q)
    c.get(1, q)
    c.get(1, q)
    drop(c, q)


@conversation
def delivery_limit(c):
    dead = declare(c, "dead")
    q = declare(c, "q", arguments={"x-queue-type": "quorum", "x-delivery-limit": 2, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
    c.call(1, Confirm.Select(), True)
    c.publish(1, "", q, b"bad")
    c.hear()
    for tag in range(1, 4):
        time.sleep(0.2)
        c.get(1, q, ack=False)
        c.tell(1, Basic.Nack(tag, False, True))
    time.sleep(0.5)
    c.get(1, q)
    c.get(1, dead)
    drop(c, q, dead)


@conversation
def priorities(c):
    q = declare(c, arguments={"x-max-priority": 5})
    for n, priority in enumerate((None, 1, 9, 0, 5, 3, 3)):
        c.publish(1, "", q, b"%d" % n, **({} if priority is None else {"priority": priority}))
    c.count(1, q)
    for _ in range(7):
        c.get(1, q)
    drop(c, q)


@conversation
def reply_to(c):
    c.publish(1, "", "x", reply_to="amq.rabbitmq.reply-to")
    c.hear("without a consumer", patience=0.5)
    c.call(1, Basic.Consume(queue="amq.rabbitmq.reply-to", consumer_tag="r"))
    c.call(1, Basic.Consume(queue="amq.rabbitmq.reply-to", consumer_tag="r", no_ack=True))
    c.call(1, Basic.Consume(queue="amq.rabbitmq.reply-to", consumer_tag="r2", no_ack=True))
    c.call(1, Basic.Consume(queue="amq.rabbitmq.reply-to", consumer_tag="r", no_ack=True))
    q = declare(c)
    c.publish(1, "", q, b"ask", reply_to="amq.rabbitmq.reply-to", correlation_id="7")
    time.sleep(0.2)
    c.get(1, q)
    c.call(1, Queue.Declare(queue="amq.rabbitmq.reply-to", passive=True))
    c.call(1, Queue.Declare(queue="amq.rabbitmq.reply-to"))
    c.call(1, Queue.Bind(queue="amq.rabbitmq.reply-to", exchange="amq.direct"))
    c.call(2, Basic.Get(queue="amq.rabbitmq.reply-to"))
    c.call(2, Queue.Delete(queue="amq.rabbitmq.reply-to"))
    c.publish(2, "", "amq.rabbitmq.reply-to.no-such-token", b"late", mandatory=True)
    c.hear("a reply to nobody")
    drop(c, q)


def ask(c, q, channel=1, **properties):
    """Publishes a request and gets it on channel 2; the address for the reply."""
    c.publish(channel, "", q, b"ask", reply_to="amq.rabbitmq.reply-to", **properties)
    time.sleep(0.1)
    c.get(2, q)
    return c.properties.reply_to


@conversation
def replies(c):
    q = declare(c, channel=2)
    c.call(1, Basic.Consume(queue="amq.rabbitmq.reply-to", no_ack=True, consumer_tag="r"))
    address = ask(c, q, correlation_id="1", headers={"k": [1, "x"]}, expiration="60000", delivery_mode=2, app_id="a")
    c.publish(2, "", address, b"one", correlation_id="1", headers={"h": 1})
    c.hear("a reply")
    c.call(2, Queue.Declare(queue=address, passive=True))
    c.call(2, Queue.Declare(queue=address, durable=True))
    c.call(2, Confirm.Select(), True)
    c.publish(2, "", address, b"", mandatory=True)
    c.hear("a mandatory one, without a body, confirmed")
    c.publish(2, "", "elsewhere", b"two", headers={"CC": [address]}, mandatory=True)
    c.hear("as a copy")
    c.publish(2, "", q, b"three", headers={"CC": [address, address]})
    c.hear("beside a queue, twice")
    c.get(2, q)
    c.publish(2, "amq.direct", address, b"four", mandatory=True)
    c.hear("by another exchange")
    c.call(3, Queue.Bind(queue=address, exchange="amq.direct"))
    c.call(3, Basic.Consume(queue=address, no_ack=True))
    c.call(3, Basic.Get(queue=address))
    c.call(3, Queue.Purge(queue=address))
    c.call(3, Queue.Delete(queue=address))
    c.call(2, Queue.Declare(queue=address, passive=True))
    c.call(1, Basic.Cancel("r"))
    c.publish(2, "", address, b"late", mandatory=True)
    c.hear("after the cancel")
    c.call(3, Queue.Declare(queue=address, passive=True))
    c.call(3, Queue.Declare(queue="amq.rabbitmq.reply-tox", passive=True))
    c.call(3, Queue.Declare(queue="amq.rabbitmq.reply-to.", passive=True))
    drop(c, q)


@conversation
def reply_consumers_end(c):
    q = declare(c, channel=2)
    for end in ("channel", "error"):
        c.call(1, Basic.Consume(queue="amq.rabbitmq.reply-to", no_ack=True, consumer_tag="r"), True)
        address = ask(c, q)
        if end == "channel":
            c.call(1, Channel.Close(200, "", 0, 0))
            c.channels.discard(1)
        else:
            c.call(1, Basic.Get(queue="no-such"))
        c.publish(2, "", address, b"late", mandatory=True)
        c.hear(f"after the end of its channel: {end}")
        c.call(3, Queue.Declare(queue=address, passive=True))
    c.call(1, Basic.Consume(queue="amq.rabbitmq.reply-to", no_ack=True, exclusive=True), True)
    c.call(3, Basic.Consume(queue="amq.rabbitmq.reply-to", no_ack=True, arguments={"x-priority": 1}), True)
    one, three = ask(c, q), ask(c, q, 3)
    c.say(f"the same address: {one == three}")
    c.publish(2, "", one, b"to one")
    c.hear()
    c.publish(2, "", three, b"to three")
    c.hear()
    c.publish(1, "", q, b"own", reply_to=three)
    c.publish(1, "", q, b"own", reply_to="amq.rabbitmq.reply-to.x")
    c.publish(1, "", q, b"own", reply_to="amq.rabbitmq.reply-tox")
    for _ in range(3):
        c.get(2, q)
    c.call(1, Basic.Consume(queue=q, consumer_tag="q"), True)
    c.call(1, Basic.Consume(queue="amq.rabbitmq.reply-to", no_ack=True, consumer_tag="q"))
    c.call(2, Queue.Delete(queue=q), True)


@conversation
def transactions(c):
    q = declare(c)
    c.call(1, Tx.Commit())
    c.call(1, Tx.Rollback())
    c.call(1, Tx.Select())
    c.publish(1, "", q, b"kept")
    c.count(2, q)
    c.call(1, Tx.Commit())
    c.count(2, q)
    c.publish(1, "", q, b"dropped")
    c.call(1, Tx.Rollback())
    c.count(2, q)
    c.get(1, q, ack=False)
    c.tell(1, Basic.Ack(1))
    c.call(1, Tx.Rollback())
    c.tell(1, Basic.Ack(1))
    c.call(1, Tx.Commit())
    c.count(2, q)
    c.publish(1, "", c.q("none"), mandatory=True)
    c.hear("unroutable, before the commit", patience=0.5)
    c.call(1, Tx.Commit())
    c.hear("and after", patience=0.5)
    c.call(1, Confirm.Select())
    c.call(3, Confirm.Select())
    c.call(3, Tx.Select())
    c.call(1, Tx.Select())
    c.publish(1, c.q("none"), "")
    c.hear("an exchange that is missing", patience=0.5)
    drop(c, q)


@conversation
def transactions_of_acks(c):
    q = declare(c, channel=2)
    for n in range(8):
        c.publish(2, "", q, b"%d" % n)
    c.count(2, q)
    c.call(1, Tx.Select(), True)
    for n in range(5):
        c.get(1, q, ack=False)
    c.tell(1, Basic.Ack(2))
    c.tell(1, Basic.Nack(3, False, True))
    c.tell(1, Basic.Reject(4, False))
    c.count(2, q)
    c.call(1, Tx.Rollback())
    c.tell(1, Basic.Ack(2, True))
    c.count(2, q)
    c.call(1, Basic.Recover(True))
    time.sleep(0.2)
    c.count(2, q)
    c.call(1, Tx.Commit())
    c.count(2, q)
    for _ in range(6):
        c.get(1, q, ack=False)
    c.tell(1, Basic.Ack(7))
    c.tell(1, Basic.Nack(10, True, True))
    c.call(1, Tx.Commit())
    c.count(2, q)
    c.call(1, Basic.Qos(prefetch_count=2), True)
    c.call(1, Basic.Consume(queue=q, consumer_tag="t"), True)
    c.hear("a window of two")
    c.tell(1, Basic.Ack(12))
    c.hear("an ack that waits", patience=0.5)
    c.call(1, Tx.Commit())
    c.hear("and counts")
    c.tell(1, Basic.Ack(0, True))
    c.tell(1, Basic.Ack(13))
    c.hear("acked already", patience=1)
    c.count(2, q)
    c.call(2, Queue.Purge(queue=q))
    drop(c, q)


@conversation
def transactions_of_publishes(c):
    a, b = declare(c, "a", channel=2), declare(c, "b", channel=2)
    x = c.q("x")
    c.call(2, Exchange.Declare(exchange=x, type="fanout"), True)
    for q in (a, b):
        c.call(2, Queue.Bind(queue=q, exchange=x), True)
    c.call(1, Tx.Select())
    c.call(1, Tx.Select())
    for n in range(3):
        c.publish(1, x, "k", b"all %d" % n, delivery_mode=2)
        c.publish(1, "", a, b"a %d" % n)
        c.publish(1, "", c.q("none"), b"lost %d" % n, mandatory=n != 1, headers={"n": n})
    c.count(2, a)
    c.call(1, Tx.Commit())
    for q in (a, b):
        for _ in range(7):
            c.get(2, q)
    c.publish(1, "", a, b"before the end of the channel")
    c.call(1, Channel.Close(200, "", 0, 0))
    c.channels.discard(1)
    c.count(2, a)
    c.call(1, Tx.Commit())
    c.call(1, Tx.Select(), True)
    c.publish(1, "", a, b"before an error")
    c.publish(1, c.q("none"), "")
    c.hear("no such exchange", patience=1)
    c.count(2, a)
    c.call(1, Tx.Select(), True)
    c.publish(1, "", a, b"before a declare")
    c.call(1, Queue.Declare(queue=b, passive=True))
    c.publish(1, "", b, b"before a deletion")
    c.call(2, Queue.Delete(queue=b))
    c.call(1, Tx.Commit())
    c.get(2, a)
    c.publish(1, "", a, b"expiration", expiration="x")
    c.hear("a bad expiration", patience=1)
    c.call(1, Tx.Select(), True)
    c.publish(1, "", a, b"before the end of the connection")
    c.reconnect()
    time.sleep(0.2)
    c.count(2, a)
    c.call(1, Tx.Select(), True)
    c.publish(1, "", a, b"before the close of the connection")
    c.close()
    c.count(2, a)
    c.call(2, Confirm.Select(), True)
    c.call(2, Tx.Rollback())
    c.call(2, Exchange.Delete(exchange=x), True)
    c.call(2, Queue.Delete(queue=a), True)


@conversation
def transactions_of_replies(c):
    q = declare(c, channel=2)
    c.call(1, Basic.Consume(queue="amq.rabbitmq.reply-to", no_ack=True, consumer_tag="r"), True)
    address = ask(c, q)
    c.call(2, Tx.Select(), True)
    c.publish(2, "", address, b"in a transaction", mandatory=True)
    c.hear("before the commit", patience=0.5)
    c.call(2, Tx.Commit())
    c.hear("after it", patience=0.5)
    c.call(2, Queue.Delete(queue=q), True)


def raw(c, what, *frames):
    """Sends bytes on a fresh connection and writes down what comes."""
    c.reconnect()
    c.begin(1)
    c.write(b"".join(frames))
    c.hear(what, patience=2)


@conversation
def protocol_errors(c):
    header = b"\x00\x3c\x00\x00" + bytes(8) + b"\x00\x00"
    publish = c.method_frame(1, Basic.Publish(exchange="", routing_key="none"))
    raw(c, "a header without a method", c.frame(2, 1, header))
    raw(c, "a body without a header", publish, c.frame(3, 1, b"x"))
    raw(c, "a method in the middle of a message", publish, c.method_frame(1, Basic.Qos(prefetch_count=1)))
    raw(c, "a publish in the middle of a message", publish, publish)
    raw(c, "two headers", publish, c.frame(2, 1, header[:4] + b"\x00" * 7 + b"\x01\x00\x00"), c.frame(2, 1, header))
    raw(c, "a header of another class", publish, c.frame(2, 1, b"\x00\x32" + header[2:]))
    raw(c, "flags of properties that there are not", publish, c.frame(2, 1, header[:12] + b"\x80\x00"))
    raw(c, "a frame without its end", c.frame(1, 1, b"\x00\x3c\x00\x0a" + bytes(7))[:-1] + b"x")
    raw(c, "a frame of an unknown type", c.frame(9, 1, b"x"))
    raw(c, "a frame above frame_max", c.frame(3, 1, b"x" * 131065))
    raw(c, "content on channel 0", c.frame(3, 0, b"x"))
    raw(c, "a heartbeat on a channel", c.frame(8, 1, b""), c.method_frame(1, Basic.Qos(prefetch_count=1)))
    raw(c, "connection.open again", c.method_frame(0, Connection.Open("/")))
    raw(c, "connection.start-ok again", c.method_frame(0, Connection.StartOk({}, "PLAIN", "", "en_US")))
    raw(c, "connection.tune-ok again", c.method_frame(0, Connection.TuneOk(100, 131072, 0)))
    raw(c, "a channel's method on channel 0", c.method_frame(0, Basic.Qos(prefetch_count=1)))
    raw(c, "a method that a server sends", c.method_frame(1, Basic.GetEmpty()))
    raw(c, "an answer that nobody waits for", c.method_frame(1, Channel.FlowOk(True)), c.method_frame(1, Basic.Qos(prefetch_count=1)))
    raw(c, "basic.cancel-ok", c.method_frame(1, Basic.CancelOk("x")), c.method_frame(1, Basic.Qos(prefetch_count=1)))
    raw(c, "channel.close-ok", c.method_frame(1, Channel.CloseOk()), c.method_frame(1, Basic.Qos(prefetch_count=1)))
    raw(c, "a publish on a channel that is not open", c.method_frame(7, Basic.Publish(exchange="", routing_key="x")), c.frame(2, 7, header))
    raw(c, "more channels than were agreed on", c.method_frame(101, Channel.Open()))
    raw(c, "update-secret", c.method_frame(0, Connection.UpdateSecret(b"new", "it ran out")), c.method_frame(1, Basic.Qos(prefetch_count=1)))
    raw(c, "update-secret on a channel", c.method_frame(1, Connection.UpdateSecret(b"new", "it ran out")))
    raw(c, "immediate", c.method_frame(1, Basic.Publish(exchange="", routing_key="none", immediate=True)), c.frame(2, 1, header))
    raw(c, "prefetch_size", c.method_frame(1, Basic.Qos(prefetch_size=1)))
    raw(c, "recover without requeue", c.method_frame(1, Basic.Recover(False)))
    raw(c, "recover-async", c.method_frame(1, Basic.RecoverAsync(True)), c.method_frame(1, Basic.Qos(prefetch_count=1)))


@conversation
def channels(c):
    c.call(1, Channel.Flow(True))
    c.call(1, Channel.Flow(False))
    c.call(1, Channel.Close(200, "", 0, 0))
    c.channels.discard(1)
    c.call(1, Basic.Qos(prefetch_count=1))
    c.tell(1, Channel.Open())
    c.hear("a second open")
    c.begin(1)
    c.write(c.method_frame(9, Basic.Qos(prefetch_count=1)))
    c.hear("a channel that is not open")
    c.begin(1)
    c.write(c.method_frame(1, Connection.Open("/")))
    c.hear("a connection's method on a channel")
    c.begin(1)
    c.write(c.frame(3, 1, b"body"))
    c.hear("a body without a method")
    c.begin(1)
    c.write(c.frame(1, 1, b"\x00\x3c\x03\xe7"))
    c.hear("an unknown method")


@conversation
def deaths_and_copies(c):
    x = exchange(c, "dlx", "topic")
    dead, secret, copy = declare(c, "dead"), declare(c, "secret"), declare(c, "copy")
    bind(c, dead, x, c.q("q"))
    bind(c, secret, x, "secret")
    bind(c, copy, x, "copied")
    q = declare(c, "q", arguments={"x-dead-letter-exchange": x, "x-message-ttl": 100})
    c.publish(1, "", q, b"with copies", headers={"CC": ["copied", "elsewhere"], "BCC": ["secret"]})
    time.sleep(0.5)
    for name in (dead, secret, copy):
        c.get(1, name)
    keyed = declare(c, "keyed", arguments={"x-dead-letter-exchange": x, "x-dead-letter-routing-key": c.q("q"), "x-message-ttl": 100})
    c.publish(1, "", keyed, b"with a key", headers={"CC": ["copied"], "BCC": ["secret"], "z": 1})
    time.sleep(0.5)
    for name in (dead, secret, copy):
        c.get(1, name)
    drop(c, q, dead, secret, copy, keyed)
    c.call(1, Exchange.Delete(exchange=x), True)


@conversation
def deaths_told_by_clients(c):
    dead = declare(c, "dead")
    q = declare(c, "q", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead, "x-message-ttl": 100})
    told = [{"count": long(7), "reason": "expired", "queue": q, "exchange": "", "routing-keys": [q]}]
    c.publish(1, "", q, b"a client's own", headers={"x-death": told, "x-first-death-queue": "mine", "x-last-death-queue": "mine", "b": 1})
    time.sleep(0.5)
    c.get(1, dead)
    c.publish(1, "", dead, b"as it is", headers={"x-death": told, "x-first-death-queue": "mine"})
    time.sleep(0.1)
    c.get(1, dead)
    c.publish(1, "", q, b"a time of its own", expiration="0050", headers={"x-death": "text"})
    time.sleep(0.5)
    c.get(1, dead)
    drop(c, q, dead)


@conversation
def deaths_in_the_same_queue(c):
    q = declare(c, "q", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": c.q("q")})
    c.publish(1, "", q, b"round", expiration="60000")
    for tag in range(1, 4):
        c.get(1, q, ack=False)
        c.tell(1, Basic.Reject(tag, False))
        time.sleep(0.2)
    c.get(1, q)
    c.publish(1, "", q, b"late", expiration="50")
    time.sleep(0.4)
    c.count(1, q)
    limited = declare(c, "limited", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": c.q("limited"), "x-max-length": 1})
    c.publish(1, "", limited, b"1")
    c.publish(1, "", limited, b"2")
    c.count(1, limited)
    c.get(1, limited)
    drop(c, q, limited)


@conversation
def deaths_for_different_reasons(c):
    dead = declare(c, "dead", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": c.q("q")})
    q = declare(c, "q", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead, "x-max-length": 1})
    c.publish(1, "", q, b"1", expiration="200")
    time.sleep(0.5)
    c.get(1, dead, ack=False)
    c.tell(1, Basic.Nack(1, False, False))
    time.sleep(0.2)
    c.get(1, q, ack=False)
    c.tell(1, Basic.Reject(2, False))
    time.sleep(0.2)
    c.get(1, dead, ack=False)
    c.tell(1, Basic.Reject(3, False))
    time.sleep(0.2)
    c.publish(1, "", q, b"2")
    time.sleep(0.2)
    c.get(1, dead)
    c.get(1, q)
    drop(c, q, dead)


@conversation
def what_is_no_death(c):
    dead = declare(c, "dead")
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
    q = declare(c, "q", arguments=arguments)
    for n in range(3):
        c.publish(1, "", q, b"%d" % n)
    c.count(1, q)
    c.call(1, Queue.Purge(queue=q))
    c.publish(1, "", q, b"3")
    c.get(1, q)
    c.publish(1, "", q, b"4")
    c.get(1, q, ack=False)
    c.tell(1, Basic.Nack(2, False, True))
    c.get(1, q, ack=False)
    c.tell(1, Basic.Ack(3))
    c.publish(1, "", q, b"5")
    c.count(1, q)
    c.call(1, Queue.Delete(queue=q))
    idle = declare(c, "idle", arguments={"x-expires": 200, **arguments})
    c.publish(1, "", idle, b"6")
    time.sleep(0.6)
    c.count(1, dead)
    drop(c, dead)


@conversation
def deaths_before_the_queue_goes(c):
    dead = declare(c, "dead")
    q = declare(c, "q", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
    for n in range(3):
        c.publish(1, "", q, b"%d" % n)
    for _ in range(3):
        c.get(1, q, ack=False)
    c.tell(1, Basic.Nack(3, True, False))
    c.call(1, Queue.Delete(queue=q), True)
    time.sleep(0.3)
    c.count(1, dead)
    own = declare(c, "own", exclusive=True, durable=False, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
    c.publish(1, "", own, b"own")
    c.get(1, own, ack=False)
    c.tell(1, Basic.Reject(4, False))
    c.call(1, Queue.Delete(queue=own), True)
    c.close()
    time.sleep(0.3)
    c.count(1, dead)
    drop(c, dead)


@conversation
def deaths_by_way_of_exchanges(c):
    inner, fan, first, second, dead = exchange(c, "inner", "direct", internal=True), exchange(c, "fan", "fanout"), declare(c, "first"), declare(c, "second"), declare(c, "dead")
    bind(c, dead, inner, "k")
    q = declare(c, "q", arguments={"x-dead-letter-exchange": inner, "x-dead-letter-routing-key": "k"})
    c.publish(1, "", q)
    c.get(1, q, ack=False)
    c.tell(1, Basic.Reject(1, False))
    time.sleep(0.2)
    c.get(1, dead)
    bind(c, first, fan)
    bind(c, second, fan)
    wide = declare(c, "wide", arguments={"x-dead-letter-exchange": fan, "x-message-ttl": 50})
    bind(c, wide, fan)
    c.publish(1, "", wide, b"wide", delivery_mode=2, priority=4, timestamp=7, user_id="guest", type="t", app_id="a", reply_to="r", correlation_id="c")
    time.sleep(0.5)
    c.count(1, wide)
    for name in (first, second):
        c.get(1, name)
    drop(c, q, dead, wide, first, second)
    for x in (inner, fan):
        c.call(1, Exchange.Delete(exchange=x), True)


@conversation
def refused_publishes_that_die(c):
    dead = declare(c, "dead")
    q = declare(c, "q", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead, "x-max-length": 1, "x-overflow": "reject-publish-dlx"})
    c.call(1, Confirm.Select(), True)
    for n in range(3):
        c.publish(1, "", q, b"%d" % n)
        c.hear(f"message {n}")
    time.sleep(0.2)
    c.count(1, q)
    c.get(1, dead)
    c.get(1, dead)
    own = declare(c, "own", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": c.q("own"), "x-max-length": 0, "x-overflow": "reject-publish-dlx"})
    c.publish(1, "", own, b"to itself")
    c.hear("a full queue that refuses to itself")
    c.count(1, own)
    drop(c, q, dead, own)


@conversation
def dead_letters_refused(c):
    dead = declare(c, "dead", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    q = declare(c, "q", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
    for n in range(3):
        c.publish(1, "", q, b"%d" % n)
    for _ in range(3):
        c.get(1, q, ack=False)
    c.tell(1, Basic.Nack(3, True, False))
    time.sleep(0.3)
    c.count(1, q)
    c.count(1, dead)
    c.get(1, dead)
    drop(c, q, dead)


@conversation
def refused_by_one_of_several(c):
    x, full, free = exchange(c, "x", "fanout"), declare(c, "full", arguments={"x-max-length": 1, "x-overflow": "reject-publish"}), declare(c, "free")
    bind(c, full, x)
    bind(c, free, x)
    c.call(1, Confirm.Select(), True)
    for n in range(3):
        c.publish(1, x, "", b"%d" % n, mandatory=True)
        c.hear(f"message {n}")
    c.count(1, full)
    c.count(1, free)
    c.tell(2, Queue.Purge(queue=full, nowait=True))
    c.publish(2, "", full, b"unheard")
    c.publish(2, "", full, b"unheard too")
    c.count(2, full)
    drop(c, full, free)
    c.call(1, Exchange.Delete(exchange=x), True)


@conversation
def limits_with_consumers(c):
    q = declare(c, "q", arguments={"x-max-length": 1})
    c.call(1, Basic.Qos(prefetch_count=2), True)
    c.call(1, Basic.Consume(queue=q, consumer_tag="a"), True)
    for n in range(5):
        c.publish(2, "", q, b"%d" % n)
        time.sleep(0.05)
    c.hear("two go to the consumer, the newest stays")
    c.count(2, q)
    c.tell(1, Basic.Ack(1))
    c.hear("and comes then")
    c.call(1, Basic.Cancel("a"), True)
    c.call(1, Channel.Close(200, "", 0, 0), True)
    c.channels.discard(1)
    c.count(2, q)
    c.get(2, q)
    none = declare(c, "none", channel=2, arguments={"x-max-length": 0, "x-overflow": "drop-head"})
    c.call(3, Basic.Consume(queue=none, consumer_tag="b", no_ack=True), True)
    c.publish(2, "", none, b"to a waiting consumer")
    c.hear("room for nothing, and a consumer")
    strict = declare(c, "strict", channel=2, arguments={"x-max-length": 0, "x-overflow": "reject-publish"})
    c.call(3, Basic.Consume(queue=strict, consumer_tag="c", no_ack=True), True)
    c.publish(2, "", strict, b"refused")
    c.hear("and where publishes are refused", patience=0.5)
    one = declare(c, "one", channel=2, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    c.call(3, Basic.Consume(queue=one, consumer_tag="d", no_ack=True), True)
    c.call(4, Confirm.Select(), True)
    for n in range(4):
        c.publish(4, "", one, b"%d" % n)
    c.hear("room for one, and a consumer")
    c.call(3, Channel.Close(200, "", 0, 0), True)
    c.channels.discard(3)
    drop(c, q, none, strict, one)


@conversation
def limits_in_bytes(c):
    q = declare(c, "q", arguments={"x-max-length-bytes": 10})
    for body in (b"1234", b"123456", b"", b"", b"12345678901", b"1", b"22"):
        c.publish(1, "", q, body, headers={"not": "counted"})
        c.count(1, q)
    c.get(1, q)
    c.get(1, q)
    strict = declare(c, "strict", arguments={"x-max-length-bytes": 10, "x-max-length": 4, "x-overflow": "reject-publish"})
    c.call(1, Confirm.Select(), True)
    for n, body in enumerate((b"1234567", b"1234", b"123", b"", b"1", b"", b"")):
        c.publish(1, "", strict, body)
        c.hear(f"message {n}: {body}")
    c.count(1, strict)
    c.get(1, strict, ack=False)
    c.publish(1, "", strict, b"1234567")
    c.hear("an unacked message is no longer counted")
    c.tell(1, Basic.Reject(3, True))
    time.sleep(0.2)
    c.count(1, strict)
    c.publish(1, "", strict, b"")
    c.hear("what came back is counted")
    drop(c, q, strict)


@conversation
def quorum_limits(c):
    for overflow in ("drop-head", "reject-publish", "reject-publish-dlx"):
        dead = declare(c, "dead")
        q = declare(c, "q", arguments={"x-queue-type": "quorum", "x-max-length": 2, "x-overflow": overflow, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
        c.call(1, Confirm.Select(), True)
        for n in range(5):
            c.publish(1, "", q, b"%d" % n)
            c.hear(f"{overflow}: message {n}")
        time.sleep(0.3)
        c.count(1, q)
        c.count(1, dead)
        c.get(1, q)
        drop(c, q, dead)
        c.call(1, Channel.Close(200, "", 0, 0), True)
        c.channels.discard(1)


@conversation
def quorum_default_delivery_limit(c):
    q = declare(c, "q", arguments={"x-queue-type": "quorum"})
    c.call(1, Confirm.Select(), True)
    c.publish(1, "", q, b"bad")
    c.hear()
    for tag in range(1, 23):
        time.sleep(0.1)
        if tag in (1, 2, 20, 21, 22):
            c.get(1, q, ack=False)
        else:
            c.call(1, Basic.Get(queue=q))
            c.lines.pop()
        c.tell(1, Basic.Nack(tag, False, True))
    c.hear("the last of these had no message to be about")
    drop(c, q)


@conversation
def limits_with_priorities(c):
    q = declare(c, "q", arguments={"x-max-priority": 3, "x-max-length": 3})
    for n, priority in enumerate((1, 3, 0, 2, 2, 0, 3)):
        c.publish(1, "", q, b"%d" % n, priority=priority)
    c.count(1, q)
    for _ in range(3):
        c.get(1, q)
    strict = declare(c, "strict", arguments={"x-max-priority": 3, "x-max-length": 3, "x-overflow": "reject-publish"})
    c.call(1, Confirm.Select(), True)
    for n, priority in enumerate((1, 3, 0, 2, 3)):
        c.publish(1, "", strict, b"%d" % n, priority=priority)
        c.hear(f"priority {priority}")
    c.count(1, strict)
    for _ in range(3):
        c.get(1, strict)
    drop(c, q, strict)
