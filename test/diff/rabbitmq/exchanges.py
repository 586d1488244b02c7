"""Conversations about exchanges: their types, what leads from one to the other, and copies."""
from pika.spec import Confirm, Exchange, Queue

from client import double, long, short
from conversations import bind, conversation, declare, drop, exchange


def gone(c, *names):
    for x in names:
        c.call(1, Exchange.Delete(exchange=x), True)


@conversation
def exchange_types(c):
    for kind in ("x-consistent-hash", "x-random", "x-local-random", "x-nothing", "DIRECT", "direct ", "é"):
        c.call(1, Exchange.Declare(exchange=c.q("x"), type=kind))
        c.call(1, Exchange.Declare(exchange=c.q("x"), type=kind))
        c.call(1, Exchange.Declare(exchange=c.q("x"), type="direct"))
        c.call(1, Exchange.Delete(exchange=c.q("x")))
    for value in (1, True, None, "", [1], {"a": 1}, double(1.5)):
        c.call(1, Exchange.Declare(exchange=c.q("x"), type="direct", arguments={"alternate-exchange": value}))
        c.call(1, Exchange.Delete(exchange=c.q("x")))
    for name in ("amq.direct", "amq.topic", "amq.rabbitmq.mine", ""):
        c.call(1, Exchange.Delete(exchange=name))
        c.call(1, Exchange.Declare(exchange=name, type="fanout", durable=True))
        c.call(1, Exchange.Declare(exchange=name, type="direct", durable=True))


@conversation
def hash_arguments(c):
    for arguments in ({"hash-header": "h"}, {"hash-property": "message_id"}, {"hash-property": "correlation_id"}, {"hash-property": "timestamp"},
                      {"hash-property": "app_id"}, {"hash-property": "reply_to"}, {"hash-property": ""}, {"hash-header": ""},
                      {"hash-header": "h", "hash-property": "message_id"}, {"hash-other": 1}):
        c.call(1, Exchange.Declare(exchange=c.q("x"), type="x-consistent-hash", arguments=arguments))
        c.call(1, Exchange.Delete(exchange=c.q("x")))
    x, q = exchange(c, "x", "x-consistent-hash"), declare(c, "q")
    for key in ("1", "10", "0", "-1", "", "a", "1.5", " 1", "1 ", "+1", "01", "1000"):
        bind(c, q, x, key, quietly=False)
        c.call(1, Queue.Unbind(queue=q, exchange=x, routing_key=key), True)
    inner = exchange(c, "inner", "fanout")
    c.call(1, Exchange.Bind(source=x, destination=inner, routing_key="x"))
    c.call(1, Exchange.Bind(source=x, destination=inner, routing_key="2"))
    drop(c, q)
    gone(c, x, inner)


def counted(c, queues):
    """How many messages each queue gives up."""
    found = []
    for q in queues:
        line = c.call(1, Queue.Purge(queue=q), True)
        found.append(int(line.rsplit("=", 1)[-1]) if "message_count" in line else 0)
    c.lines = [l for l in c.lines if not l.startswith("queue.purge")]
    return found


@conversation
def hash_takes_one_queue(c):
    for name, arguments, properties in (
            ("key", {}, {}), ("header", {"hash-header": "h"}, {"headers": {"h": "same"}}), ("missing", {"hash-header": "h"}, {}),
            ("number", {"hash-header": "h"}, {"headers": {"h": 7}}), ("id", {"hash-property": "message_id"}, {"message_id": "same"}),
            ("correlation", {"hash-property": "correlation_id"}, {"correlation_id": "same"}), ("time", {"hash-property": "timestamp"}, {"timestamp": 5}),
            ("no_id", {"hash-property": "message_id"}, {})):
        x = exchange(c, "x", "x-consistent-hash", arguments=arguments)
        queues = [declare(c, f"q{n}") for n in range(4)]
        for q in queues:
            bind(c, q, x, "10")
        for n in range(40):
            c.publish(1, x, f"k{n}" if arguments else "same", **properties)
        c.say(f"{name}: the same value goes to {sum(n > 0 for n in counted(c, queues))} of 4 queues")
        for n in range(40):
            c.publish(1, x, f"k{n}", headers={"h": f"v{n}"}, message_id=f"m{n}", correlation_id=f"c{n}", timestamp=n)
        found = counted(c, queues)
        c.say(f"{name}: others go to {sum(n > 0 for n in found) > 1}, each to one: {sum(found)}")
        drop(c, *queues)
        gone(c, x)


@conversation
def hash_with_copies(c):
    x = exchange(c, "x", "x-consistent-hash")
    queues = [declare(c, f"q{n}") for n in range(4)]
    for q in queues:
        bind(c, q, x, "10")
    c.publish(1, x, "a", headers={"CC": ["b", "c", "d", "e", "f", "g"]})
    c.say(f"{sum(counted(c, queues))} copies")
    drop(c, *queues)
    c.publish(1, x, "a", mandatory=True)
    c.hear("without a queue")
    gone(c, x)


@conversation
def random_takes_one_queue(c):
    x = exchange(c, "x", "x-random")
    queues = [declare(c, f"q{n}") for n in range(4)]
    c.publish(1, x, "a", mandatory=True)
    c.hear("without a queue")
    for n, q in enumerate(queues):
        bind(c, q, x, "" if n % 2 else "any")
    for _ in range(100):
        c.publish(1, x, "a")
    found = counted(c, queues)
    c.say(f"{sum(n > 0 for n in found)} of 4 queues get {sum(found)} messages")
    c.publish(1, x, "a", headers={"CC": ["b", "c"]})
    c.say(f"{sum(counted(c, queues))} copies")
    local = exchange(c, "local", "x-local-random")
    for key in ("", "k"):
        bind(c, queues[0], local, key, quietly=False)
    c.publish(1, local, "any")
    c.say(f"{counted(c, queues[:1])} by the local one")
    drop(c, *queues)
    gone(c, x, local)


@conversation
def alternates_in_a_chain(c):
    q, d = declare(c, "q"), declare(c, "d")
    last = exchange(c, "last", "fanout")
    middle = exchange(c, "middle", "direct", arguments={"alternate-exchange": last})
    x = exchange(c, "x", "topic", arguments={"alternate-exchange": middle})
    bind(c, q, last)
    bind(c, d, middle, "m")
    c.call(1, Confirm.Select(), True)
    for key in ("m", "other"):
        c.publish(1, x, key, key.encode(), mandatory=True)
        c.hear(f"key {key}")
    for name in (d, q):
        c.get(1, name)
        c.get(1, name)
    for key, more in (("other", ["m"]), ("m", ["other", "another"])):
        c.publish(1, x, key, headers={"CC": more})
        c.hear(f"key {key} with copies, of which one is routed")
    for name in (d, q):
        c.get(1, name)
        c.get(1, name)
        c.get(1, name)
    c.call(1, Exchange.Delete(exchange=last))
    c.publish(1, x, "other", mandatory=True)
    c.hear("the last is gone")
    last = exchange(c, "last", "fanout")
    bind(c, q, last)
    c.publish(1, x, "other", mandatory=True)
    c.hear("the last is back")
    c.get(1, q)
    drop(c, q, d)
    gone(c, x, middle, last)


@conversation
def alternates_beside_bindings(c):
    q, d = declare(c, "q"), declare(c, "d")
    alt, inner = exchange(c, "alt", "fanout"), exchange(c, "inner", "direct")
    bind(c, q, alt)
    bind(c, d, inner, "k")
    x = exchange(c, "x", "fanout", arguments={"alternate-exchange": alt})
    c.call(1, Exchange.Bind(source=x, destination=inner), True)
    for key in ("k", "nobody"):
        c.publish(1, x, key, mandatory=True)
        c.hear(f"bound to an exchange that routes {key}")
    c.get(1, d)
    c.get(1, q)
    c.call(1, Exchange.Unbind(source=x, destination=inner), True)
    c.publish(1, x, "k", mandatory=True)
    c.hear("no binding is left")
    c.get(1, q)
    default = exchange(c, "default", "fanout", arguments={"alternate-exchange": ""})
    c.publish(1, default, d, mandatory=True)
    c.hear("the default exchange as alternate")
    c.get(1, d)
    hidden = exchange(c, "hidden", "fanout", internal=True)
    bind(c, q, hidden)
    over = exchange(c, "over", "direct", arguments={"alternate-exchange": hidden})
    c.publish(1, over, "k", mandatory=True)
    c.hear("an internal one as alternate")
    c.get(1, q)
    drop(c, q, d)
    gone(c, x, alt, inner, default, hidden, over)


@conversation
def internal_exchanges(c):
    inner, q = exchange(c, "inner", "fanout", internal=True), declare(c, "q")
    bind(c, q, inner)
    c.call(1, Exchange.Declare(exchange=inner, type="fanout"))
    c.call(1, Exchange.Declare(exchange=inner, type="fanout", internal=True))
    c.call(1, Confirm.Select(), True)
    c.publish(1, inner, "k", mandatory=True)
    c.hear("directly")
    x = exchange(c, "x", "direct")
    c.call(1, Exchange.Bind(source=x, destination=inner, routing_key="k"))
    c.publish(1, x, "k", mandatory=True)
    c.hear("through another")
    c.get(1, q)
    drop(c, q)
    gone(c, x, inner)


@conversation
def more_copies(c):
    one, two, three = declare(c, "one"), declare(c, "two"), declare(c, "three")
    for headers in ({"CC": []}, {"BCC": [two]}, {"CC": [two, two], "BCC": [two, one]}, {"cc": [two]}, {"CC": [c.q("none")]},
                    {"BCC": [three], "CC": [two], "z": 1, "a": "x"}):
        c.publish(1, "", one, headers=headers)
        c.say(f"{headers}")
        for q in (one, two, three):
            c.get(1, q)
    for bad in ({"CC": [two, 1]}, {"BCC": [1]}, {"BCC": 1}, {"CC": None}, {"CC": True}, {"CC": {"a": 1}}, {"BCC": double(1.5)}, {"CC": [[two]]}, {"CC": long(7), "BCC": 7}):
        c.publish(1, "", one, headers=bad)
        c.hear(f"{bad}")
        for q in (one, two):
            c.get(1, q)
    c.publish(1, "", c.q("none"), headers={"CC": [one], "BCC": [two]}, mandatory=True)
    c.hear("nobody but the copies")
    c.publish(1, "", c.q("none"), headers={"BCC": [c.q("none2")], "a": 1}, mandatory=True)
    c.hear("nobody at all")
    drop(c, one, two, three)


@conversation
def more_header_matches(c):
    x = exchange(c, "x", "headers")
    cases = [
        ({"x-match": "any", "a": None}, [{"a": 1}, {}]),
        ({"x-match": "any", "x-a": 1}, [{"x-a": 1}, {}]),
        ({"x-match": "any", "x-a": 1, "b": 1}, [{"x-a": 1}, {"b": 1}]),
        ({"x-match": "all-with-x", "x-a": None}, [{"x-a": 1}, {}]),
        ({"x-match": "any-with-x"}, [{}, {"a": 1}]),
        ({"x-match": "all-with-x"}, [{}, {"a": 1}]),
        ({}, [{}, {"a": 1}]),
        ({"a": short(1)}, [{"a": 1}, {"a": long(1)}, {"a": double(1.0)}, {"a": True}, {"a": "1"}]),
        ({"a": double(1.0)}, [{"a": 1}, {"a": double(1.0)}]),
        ({"a": double(0.0)}, [{"a": double(0.0)}]),
        ({"a": True}, [{"a": True}, {"a": False}, {"a": 1}, {"a": "true"}]),
        ({"a": ""}, [{"a": ""}, {"a": None}]),
        ({"a": {"b": 1}}, [{"a": {"b": 1}}, {"a": {"b": long(1)}}, {"a": {"b": 2}}]),
        ({"a": [1, 2]}, [{"a": [1, 2]}, {"a": [2, 1]}, {"a": [long(1), 2]}]),
    ]
    for n, (arguments, headers) in enumerate(cases):
        q = declare(c, f"q{n}")
        bind(c, q, x, "", arguments)
        for h in headers:
            c.publish(1, x, "", headers=h)
            c.say(f"binding {arguments}, headers {h}")
            c.call(1, Queue.Purge(queue=q))
        drop(c, q)
    gone(c, x)


@conversation
def exchanges_that_delete_themselves(c):
    q = declare(c, "q")
    x, y = exchange(c, "x", "fanout", auto_delete=True), exchange(c, "y", "fanout", auto_delete=True)
    c.call(1, Exchange.Bind(source=x, destination=y), True)
    bind(c, q, y)
    c.call(1, Queue.Unbind(queue=q, exchange=y), True)
    for name in (x, y):
        c.call(1, Exchange.Declare(exchange=name, passive=True))
    x, y = exchange(c, "x", "fanout", auto_delete=True), exchange(c, "y", "fanout")
    c.call(1, Exchange.Bind(source=x, destination=y), True)
    c.call(1, Exchange.Delete(exchange=y), True)
    for name in (x, y):
        c.call(1, Exchange.Declare(exchange=name, passive=True))
    drop(c, q)


@conversation
def longest_times(c):
    for name in ("x-message-ttl", "x-expires"):
        for ms in (4294967296, 134217728000, 315360000000, 315360000001):
            c.call(1, Queue.Declare(queue=c.q(), durable=True, arguments={name: long(ms)}))
            drop(c, c.q())
    q = declare(c)
    for text in ("315360000000", "315360000001", "+5000", "-0", "007", "-", "+"):
        c.publish(1, "", q, expiration=text)
        c.hear(f"expiration {text!r}", patience=0.5)
    drop(c, q)
