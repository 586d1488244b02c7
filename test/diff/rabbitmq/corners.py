"""Corners where several rules meet: what a name stands for, what is left of a message on its second way."""
import socket
import struct
import time

from pika.spec import Basic, Channel, Confirm, Connection, Exchange, Queue

from client import Gone, long
from conversations import bind, conversation, declare, drop, exchange

QUORUM = {"x-queue-type": "quorum"}


def gone(c, *names):
    for x in names:
        c.call(1, Exchange.Delete(exchange=x), True)


@conversation
def the_last_queue_declared(c):
    c.call(1, Queue.Bind(queue="", exchange="amq.direct", routing_key="k"))
    c.call(1, Basic.Consume(queue=""))
    c.call(1, Basic.Get(queue=""))
    q = declare(c)
    c.call(1, Queue.Bind(queue="", exchange="amq.direct", routing_key=""))
    c.publish(1, "amq.direct", q, b"by its own name")
    c.count(1, q)
    c.call(1, Queue.Bind(queue=q, exchange="amq.direct", routing_key=""))
    c.publish(1, "amq.direct", "", b"without a key")
    c.count(1, q)
    c.get(1, "")
    c.call(1, Queue.Unbind(queue="", exchange="amq.direct", routing_key=""))
    c.publish(1, "amq.direct", "", b"without a key", mandatory=True)
    c.publish(1, "amq.direct", q, b"by its own name", mandatory=True)
    c.hear("unbound")
    c.call(1, Queue.Purge(queue=""))
    c.call(1, Queue.Declare(queue="", passive=True))
    c.call(1, Basic.Consume(queue="", consumer_tag="t"))
    c.call(2, Basic.Get(queue=""))
    c.call(1, Queue.Delete(queue=""))
    c.call(1, Basic.Get(queue=""))
    drop(c, q)


@conversation
def without_answers(c):
    q = c.q()
    c.tell(1, Queue.Declare(queue=q, durable=True, nowait=True))
    c.tell(1, Exchange.Declare(exchange=c.q("x"), type="fanout", nowait=True))
    c.tell(1, Queue.Bind(queue=q, exchange=c.q("x"), nowait=True))
    c.tell(1, Exchange.Bind(source="amq.direct", destination=c.q("x"), routing_key=q, nowait=True))
    c.tell(1, Confirm.Select(nowait=True))
    c.tell(1, Basic.Consume(queue=q, consumer_tag="t", nowait=True))
    c.publish(1, "amq.direct", q, b"m")
    c.hear("a message and its confirm")
    c.tell(1, Basic.Consume(queue=q, consumer_tag="t", nowait=True))
    c.hear("the tag is taken")
    c.tell(1, Basic.Consume(queue=c.q("none"), consumer_tag="t", nowait=True))
    c.hear("no such queue")
    c.tell(1, Queue.Declare(queue=q, durable=True, nowait=True, arguments={"x-max-length": 1}))
    c.hear("declared otherwise")
    c.tell(1, Basic.Cancel("none", nowait=True))
    c.tell(1, Exchange.Unbind(source="amq.direct", destination=c.q("x"), routing_key=q, nowait=True))
    c.tell(1, Queue.Purge(queue=q, nowait=True))
    c.tell(1, Exchange.Delete(exchange=c.q("x"), nowait=True))
    c.tell(1, Queue.Delete(queue=q, nowait=True))
    c.call(1, Queue.Declare(queue=q, passive=True))
    c.call(1, Exchange.Declare(exchange=c.q("x"), passive=True))
    c.tell(1, Exchange.Delete(exchange=c.q("x"), nowait=True))
    c.tell(1, Queue.Delete(queue=q, nowait=True))
    c.tell(1, Basic.Consume(queue="", consumer_tag="", nowait=True))
    c.hear("neither queue nor tag")


@conversation
def consumers_hear_of_the_end(c):
    q, own = declare(c, "q"), declare(c, "own", exclusive=True, durable=False)
    for channel in (1, 2):
        c.call(channel, Basic.Consume(queue=q, consumer_tag="same"))
    c.call(2, Basic.Consume(queue=own, consumer_tag="own"))
    for n in (1, 2):
        c.publish(1, "", q, b"%d" % n)
        c.hear("one each")
    c.tell(3, Queue.Delete(queue=q))
    c.hear("both are told")
    c.tell(1, Basic.Ack(1))
    c.tell(2, Basic.Nack(1, False, True))
    c.hear("what is settled of a deleted queue", patience=0.5)
    c.call(1, Basic.Consume(queue=own, consumer_tag="same"))
    c.call(1, Basic.Cancel("same"))
    c.call(1, Basic.Cancel("same"))
    c.tell(3, Queue.Delete(queue=own))
    c.hear("and of the exclusive one")
    c.capabilities = {"basic.nack": True}
    c.close()
    q = declare(c, "q")
    c.call(1, Basic.Consume(queue=q, consumer_tag="deaf"))
    c.call(2, Queue.Delete(queue=q))
    c.hear("who can't be told is not", patience=0.5)
    c.call(1, Basic.Cancel("deaf"))


@conversation
def cancelled_with_messages(c):
    q = declare(c)
    for n in range(6):
        c.publish(1, "", q, b"%d" % n)
    c.call(1, Basic.Qos(prefetch_count=3), True)
    c.call(1, Basic.Consume(queue=q, consumer_tag="t"), True)
    c.hear("three")
    c.call(1, Basic.Cancel("t"))
    c.tell(1, Basic.Ack(1))
    c.tell(1, Basic.Nack(3, False, True))
    c.count(1, q)
    c.call(1, Basic.Consume(queue=q, consumer_tag="other"), True)
    c.hear("again, and what is still unacked counts for nobody")
    c.tell(1, Basic.Ack(2))
    c.call(1, Basic.Recover(True))
    c.hear("recovered")
    c.call(1, Channel.Close(200, "", 0, 0))
    c.channels.discard(1)
    for _ in range(6):
        c.get(1, q)
    drop(c, q)


@conversation
def queues_that_delete_themselves(c):
    q = declare(c, auto_delete=True)
    c.publish(1, "", q)
    c.get(1, q)
    c.call(1, Queue.Declare(queue=q, passive=True))
    c.call(1, Basic.Consume(queue=q, consumer_tag="a"))
    c.call(2, Basic.Consume(queue=q, consumer_tag="b"))
    c.call(1, Basic.Cancel("a"))
    c.call(1, Queue.Declare(queue=q, passive=True))
    c.call(2, Channel.Close(200, "", 0, 0))
    c.channels.discard(2)
    time.sleep(0.2)
    c.call(1, Queue.Declare(queue=q, passive=True))
    q = declare(c, auto_delete=True, arguments={"x-dead-letter-exchange": "amq.fanout"})
    c.call(1, Basic.Consume(queue=q, consumer_tag="a"), True)
    c.publish(1, "", q, b"held")
    c.hear("held by the last consumer")
    c.call(1, Basic.Cancel("a"))
    c.tell(1, Basic.Ack(1))
    c.hear("its ack", patience=0.5)
    c.call(1, Queue.Declare(queue=q, passive=True))


@conversation
def times_to_live_on_the_second_way(c):
    dead = declare(c, "dead")
    q = declare(c, "q", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
    c.publish(1, "", q, b"held past its time", expiration="300")
    c.publish(1, "", q, b"held briefly", expiration="60000")
    c.get(1, q, ack=False)
    c.get(1, q, ack=False)
    time.sleep(0.5)
    c.count(1, dead)
    c.tell(1, Basic.Nack(2, True, True))
    time.sleep(0.3)
    c.count(1, q)
    c.get(1, dead)
    c.get(1, q, ack=False)
    c.call(1, Basic.Recover(True))
    time.sleep(0.2)
    c.get(1, q)
    zero = declare(c, "zero", arguments={"x-message-ttl": 0, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
    c.call(2, Basic.Consume(queue=zero, consumer_tag="z"), True)
    c.publish(1, "", zero, b"now")
    c.hear("delivered at once")
    c.tell(2, Basic.Reject(1, True))
    c.hear("and given back", patience=0.5)
    c.call(2, Basic.Cancel("z"), True)
    time.sleep(0.2)
    c.get(1, dead)
    drop(c, q, dead, zero)


@conversation
def deaths_in_order(c):
    x, dead, other = exchange(c, "x", "topic", arguments={"alternate-exchange": c.q("alt")}), declare(c, "dead"), declare(c, "other")
    alt = exchange(c, "alt", "fanout")
    bind(c, dead, x, "#.ok")
    bind(c, other, alt)
    q = declare(c, "q", arguments={"x-dead-letter-exchange": x})
    bind(c, q, "amq.topic", f"{q}.*")
    for n, key in enumerate(("ok", "no", "ok", "ok", "no")):
        c.publish(1, "amq.topic", f"{q}.{key}", b"%d" % n, headers={"CC": [f"{q}.{n}"]} if n > 2 else None)
    for _ in range(5):
        c.get(1, q, ack=False)
    c.tell(1, Basic.Nack(4, True, False))
    c.tell(1, Basic.Reject(5, False))
    time.sleep(0.3)
    for name in (dead, dead, dead, dead, other, other, other):
        c.get(1, name)
    drop(c, q, dead, other)
    gone(c, x, alt)


@conversation
def deaths_go_round(c):
    names = [c.q(s) for s in "abc"]
    for n, suffix in enumerate("abc"):
        declare(c, suffix, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": names[(n + 1) % 3], **({"x-message-ttl": 60} if n < 2 else {})})
    c.publish(1, "", names[0], b"round", headers={"own": 1})
    for tag in range(1, 4):
        time.sleep(0.4)
        c.get(1, names[2], ack=False)
        c.tell(1, Basic.Reject(tag, False))
    time.sleep(0.4)
    c.get(1, names[2])
    drop(c, *names)
    limited, back = c.q("limited"), c.q("back")
    declare(c, "limited", arguments={"x-max-length": 1, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": back})
    declare(c, "back", arguments={"x-max-length": 1, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": limited})
    for n in range(4):
        c.publish(1, "", limited, b"%d" % n)
        time.sleep(0.15)
    for name in (limited, back):
        c.count(1, name)
        c.get(1, name)
    drop(c, limited, back)


@conversation
def deaths_with_properties(c):
    dead = declare(c, "dead", arguments={"x-max-priority": 4})
    q = declare(c, "q", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
    for n, more in enumerate(({"priority": 1}, {"priority": 3}, {"expiration": "60000", "priority": 2}, {"user_id": "guest", "headers": {}}, {"headers": {"x-death": []}},
                              {"headers": {"x-death": None, "x-first-death-reason": "mine"}}, {"headers": {"x-delivery-count": 7}})):
        c.publish(1, "", q, b"%d" % n, **more)
        c.get(1, q, ack=False)
        c.tell(1, Basic.Nack(n + 1, False, False))
        time.sleep(0.1)
    for _ in range(8):
        c.get(1, dead)
    drop(c, q, dead)


@conversation
def quorum_priorities(c):
    q = declare(c, arguments=QUORUM)
    c.call(1, Confirm.Select(), True)
    for n, priority in enumerate((0, 4, 5, None, 9, 1, 200, 6, 2)):
        c.publish(1, "", q, b"%d" % n, **({} if priority is None else {"priority": priority}))
    c.hear()
    for _ in range(9):
        c.get(1, q)
    drop(c, q)


@conversation
def quorum_given_back(c):
    q = declare(c, arguments=QUORUM)
    c.call(1, Confirm.Select(), True)
    c.publish(1, "", q, b"a", headers={"mine": 1})
    c.publish(1, "", q, b"b", headers={"x-delivery-count": 5})
    c.hear()
    for tag in (1, 3, 5):
        c.get(1, q, ack=False)
        c.get(1, q, ack=False)
        c.tell(1, Basic.Nack(tag + 1, True, True))
        time.sleep(0.2)
    c.call(2, Basic.Qos(prefetch_count=2), True)
    c.call(2, Basic.Consume(queue=q, consumer_tag="t"), True)
    c.hear("to a consumer")
    c.call(2, Channel.Close(200, "", 0, 0))
    c.channels.discard(2)
    time.sleep(0.2)
    c.get(1, q)
    c.get(1, q)
    drop(c, q)


@conversation
def quorum_times_to_live(c):
    dead = declare(c, "dead")
    q = declare(c, "q", arguments={**QUORUM, "x-message-ttl": 5000, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead,
                                   "x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"})
    c.call(1, Confirm.Select(), True)
    for n, expiration in enumerate(("100", "0", "60000", None)):
        c.publish(1, "", q, b"%d" % n, **({} if expiration is None else {"expiration": expiration}))
    c.hear()
    time.sleep(1.5)
    c.count(1, q)
    c.get(1, dead)
    c.get(1, dead)
    c.get(1, q)
    drop(c, q, dead)


@conversation
def returns(c):
    c.call(1, Confirm.Select(), True)
    c.publish(1, "amq.topic", "no.where", b"", mandatory=True, content_type="text/plain", headers={"CC": ["else.where"], "BCC": ["hidden"]})
    c.hear("a body of nothing, with copies")
    head = struct.pack(">HHQ", 60, 0, 9) + b"\0\0"
    c.write(c.method_frame(1, Basic.Publish(exchange="amq.headers", routing_key="", mandatory=True)) + c.frame(2, 1, head)
            + b"".join(c.frame(3, 1, piece) for piece in (b"in", b"", b" pieces")))
    c.hear("a body in pieces, of which one is empty")
    q = declare(c, arguments={"x-max-length": 0, "x-overflow": "reject-publish"})
    c.publish(1, "", q, b"refused", mandatory=True)
    c.hear("a queue that refuses is a queue")
    zero = declare(c, "zero", arguments={"x-message-ttl": 0})
    c.publish(1, "", zero, b"gone at once", mandatory=True)
    c.hear("one in which it expires is, too")
    x, y = exchange(c, "x", "fanout"), exchange(c, "y", "direct")
    c.call(1, Exchange.Bind(source=x, destination=y), True)
    c.publish(1, x, "k", b"bound to an exchange without queues", mandatory=True)
    c.hear("an exchange is none")
    drop(c, q, zero)
    gone(c, x, y)


@conversation
def long_names(c):
    q = declare(c)
    c.call(1, Queue.Bind(queue=q, exchange="amq.direct", routing_key="k" * 255))
    c.publish(1, "amq.direct", "k" * 255, b"m", mandatory=True, correlation_id="c" * 255, headers={"h" * 128: "v" * 1000})
    c.get(1, q)
    c.call(1, Basic.Consume(queue=q, consumer_tag="t" * 255))
    c.call(1, Basic.Cancel("t" * 255))
    c.call(1, Queue.Bind(queue=q, exchange="amq.topic", routing_key=".".join("a" * 120)))
    c.publish(1, "amq.topic", ".".join("a" * 120), b"m", mandatory=True)
    c.hear("a hundred and twenty words", patience=0.5)
    c.count(1, q)
    drop(c, q)


@conversation
def bindings_with_arguments(c):
    q, x = declare(c), exchange(c, "x", "topic")
    bind(c, q, x, "k", {"a": 1}, False)
    bind(c, q, x, "k", {"a": 2}, False)
    bind(c, q, x, "k", None, False)
    c.publish(1, x, "k")
    c.count(1, q)
    c.call(1, Queue.Unbind(queue=q, exchange=x, routing_key="k", arguments={"a": 3}))
    c.call(1, Queue.Unbind(queue=q, exchange=x, routing_key="k"))
    c.publish(1, x, "k")
    c.count(1, q)
    for a in (1, 2):
        c.call(1, Queue.Unbind(queue=q, exchange=x, routing_key="k", arguments={"a": a}))
    c.publish(1, x, "k", mandatory=True)
    c.hear("none is left")
    c.call(1, Exchange.Delete(exchange=x, if_unused=True))
    drop(c, q)


@conversation
def bindings_of_others(c):
    own = declare(c, "own", exclusive=True, durable=False)
    other = type(c)(*c.address, c.name)
    bind(c, own, "amq.direct", "there")
    for key in ("k", "there"):
        other.call(1, Queue.Unbind(queue=own, exchange="amq.direct", routing_key=key))
    other.publish(1, "", own, b"anybody may publish")
    c.count(1, own)
    c.get(1, own)
    c.lines += other.lines
    c.call(1, Basic.Consume(queue=own, consumer_tag="t"), True)
    c.reconnect()
    time.sleep(0.3)
    other.lines = []
    other.call(1, Queue.Declare(queue=own, passive=True))
    other.call(1, Queue.Declare(queue=own))
    other.call(1, Queue.Delete(queue=own))
    c.lines += other.lines
    other.close()


@conversation
def expiry_is_put_off(c):
    q = declare(c, arguments={"x-expires": 700})
    for use in ("declare", "get", "publish"):
        for _ in range(3):
            time.sleep(0.4)
            if use == "declare":
                c.call(1, Queue.Declare(queue=q, durable=True, arguments={"x-expires": 700}))
            elif use == "get":
                c.get(1, q)
            else:
                c.publish(1, "", q)
        c.say(use)
    time.sleep(0.5)
    c.call(1, Queue.Declare(queue=q, durable=True))
    drop(c, q)


@conversation
def single_active_and_priorities(c):
    q = declare(c, arguments={"x-single-active-consumer": True, "x-max-priority": 5})
    for tag, priority in (("a", 0), ("b", 5)):
        c.call(1, Basic.Qos(prefetch_count=1), True)
        c.call(1, Basic.Consume(queue=q, consumer_tag=tag, arguments={"x-priority": priority}), True)
    for n, priority in enumerate((1, 5, 3)):
        c.publish(2, "", q, b"%d" % n, priority=priority)
    c.hear("the active one has one")
    c.call(1, Basic.Cancel("a"))
    c.hear("the other one is active")
    c.tell(1, Basic.Ack(0, True))
    c.hear("all acked")
    c.tell(1, Basic.Ack(0, True))
    c.hear("and again")
    drop(c, q)


@conversation
def a_channel_of_many_tags(c):
    q = declare(c)
    for n in range(5):
        c.publish(1, "", q, b"%d" % n)
    for _ in range(5):
        c.get(1, q, ack=False)
    c.tell(1, Basic.Nack(2, False, True))
    c.tell(1, Basic.Ack(3, True))
    c.tell(1, Basic.Reject(0, True))
    c.hear("tag 0 is none of reject's")
    for _ in range(4):
        c.get(1, q)
    c.tell(1, Basic.Nack(0, True, False))
    c.hear("nothing to nack", patience=0.5)
    c.tell(1, Basic.Ack(0, False))
    c.hear("tag 0 alone")
    c.get(1, q, ack=False)
    c.tell(2, Basic.Ack(1))
    c.hear("another channel's tag")
    drop(c, q)


def shake(c, what, *, head=b"AMQP\x00\x00\x09\x01", start=(), tune=(), open_=(), more=()):
    """A handshake of the scenario's own, up to where it is wrong; writes down what comes of each step."""
    c.reconnect()
    c.socket = socket.create_connection(c.address, timeout=10)
    c.buffer, c.channels, c.confirms_heard = b"", set(), {}
    c.say(what)
    c.socket.sendall(head)
    try:
        if head != b"AMQP\x00\x00\x09\x01":
            c.lines.append(f"  {c.socket.recv(8)!r}")
            c.lines.append(f"  {c.socket.recv(8)!r}")
            return
        c.read_line(3)
        for step in (start, [*tune, *open_], more):
            for method in step:
                c.write(method if isinstance(method, bytes) else c.method_frame(0, method))
            if step:
                line, kind, _ = c.read_line(15)
                c.lines.append(f"  {'connection.tune' if kind == 'connection.tune' else line}")
    except socket.timeout:
        c.lines.append("  silence")
    except (Gone, OSError):
        c.lines.append("  the connection ended")
    finally:
        c.reconnect()


@conversation
def handshakes(c):
    can = {"capabilities": {"authentication_failure_close": True, "consumer_cancel_notify": True}}
    good, tuned, opened = (Connection.StartOk(can, "PLAIN", "\0guest\0guest", "en_US"),), (Connection.TuneOk(100, 131072, 0),), (Connection.Open("/"),)
    for head in (b"AMQP\x00\x00\x08\x00", b"AMQP\x01\x01\x00\x09", b"AMQP\x00\x00\x09\x02", b"HTTP/1.1"):
        shake(c, f"the header {head!r}", head=head)
    shake(c, "a wrong password", start=[Connection.StartOk(can, "PLAIN", "\0guest\0wrong", "en_US")])
    shake(c, "a wrong password, of a client that can't be told", start=[Connection.StartOk({}, "PLAIN", "\0guest\0wrong", "en_US")])
    shake(c, "an unknown mechanism", start=[Connection.StartOk(can, "NONE", "\0guest\0guest", "en_US")])
    shake(c, "half of a response", start=[Connection.StartOk(can, "PLAIN", "\0guest", "en_US")])
    shake(c, "another locale", start=[Connection.StartOk(can, "PLAIN", "\0guest\0guest", "xx_XX")], tune=tuned, open_=opened)
    shake(c, "a virtual host that is not there", start=good, tune=tuned, open_=[Connection.Open("none")])
    shake(c, "no name of a virtual host", start=good, tune=tuned, open_=[Connection.Open("")])
    shake(c, "frames that are too large", start=good, tune=[Connection.TuneOk(100, 1 << 20, 0)] + list(opened))
    shake(c, "frames that are too small", start=good, tune=[Connection.TuneOk(100, 4095, 0)] + list(opened))
    shake(c, "as many channels as there are", start=good, tune=[Connection.TuneOk(0, 0, 0)] + list(opened))
    shake(c, "open before tune-ok", start=good, tune=opened)
    shake(c, "a channel before open", start=good, tune=[Connection.TuneOk(100, 131072, 0), c.method_frame(1, Channel.Open())])
    shake(c, "frames of the least size", start=good, tune=[Connection.TuneOk(100, 4096, 0)] + list(opened))
    shake(c, "silence under a heartbeat", start=good, tune=[Connection.TuneOk(100, 131072, 1)] + list(opened), more=[b""])


@conversation
def frames_as_agreed(c):
    c.reconnect()
    c.socket = socket.create_connection(c.address, timeout=10)
    c.buffer, c.channels, c.confirms_heard = b"", set(), {}
    c.socket.sendall(b"AMQP\x00\x00\x09\x01")
    for method in (Connection.StartOk({}, "PLAIN", "\0guest\0guest", "en_US"), Connection.TuneOk(100, 4096, 0), Connection.Open("/")):
        if not isinstance(method, Connection.Open):
            c.read_line(5)
        c.write(c.method_frame(0, method))
    c.read_line(5)
    q = declare(c)
    body = bytes(n % 251 for n in range(10000))
    c.write(c.method_frame(1, Basic.Publish(exchange="", routing_key=q)) + c.frame(2, 1, struct.pack(">HHQ", 60, 0, len(body)) + b"\0\0")
            + b"".join(c.frame(3, 1, body[n:n + 4088]) for n in range(0, len(body), 4088)))
    c.write(c.method_frame(1, Basic.Get(queue=q, no_ack=True)))
    sizes = [len(c.read_frame(5)[2]) for _ in range(5)]
    c.say(f"frames of {sizes[2:]} bytes")
    drop(c, q)


@conversation
def consumers_take_turns(c):
    q = declare(c)
    for channel, tag in ((1, "a"), (2, "b"), (2, "c")):
        c.call(channel, Basic.Consume(queue=q, consumer_tag=tag), True)
    for n in range(7):
        c.publish(9, "", q, b"%d" % n)
        c.hear(f"message {n}")
    c.tell(2, Basic.Nack(1, False, True))
    c.hear("one is given back")
    c.tell(1, Basic.Reject(1, True))
    c.hear("another")
    c.call(2, Basic.Cancel("b"))
    c.publish(9, "", q, b"7")
    c.hear("two are left")
    c.publish(9, "", q, b"8")
    c.hear("and again")
    c.reconnect()
    drop(c, q)


@conversation
def consumers_with_credit_take_turns(c):
    q = declare(c)
    for n in range(9):
        c.publish(9, "", q, b"%d" % n)
    c.count(9, q)
    for channel, tag, count in ((1, "a", 1), (2, "b", 2), (3, "c", 3)):
        c.call(channel, Basic.Qos(prefetch_count=count), True)
        c.call(channel, Basic.Consume(queue=q, consumer_tag=tag), True)
        c.hear(tag)
    c.tell(2, Basic.Ack(2, True))
    c.hear("b has room for two")
    c.tell(1, Basic.Ack(1))
    c.hear("a has room for one")
    c.tell(3, Basic.Nack(3, True, True))
    c.hear("c gives back three and has one more")
    c.tell(1, Basic.Nack(2, False, True))
    c.hear("a gives back one")
    c.reconnect()
    drop(c, q)


@conversation
def looked_at_only(c):
    for name, kind in (("amq.direct", "fanout"), ("amq.match", "headers"), ("amq.rabbitmq.trace", "topic"), ("", "direct")):
        c.call(1, Exchange.Declare(exchange=name, type=kind, passive=True))
        c.call(1, Exchange.Declare(exchange=name, type=kind, durable=True))
    c.call(1, Exchange.Declare(exchange="amq.rabbitmq.trace", type="topic", durable=True, internal=True))
    q = declare(c, arguments={"x-max-length": 3})
    c.call(1, Queue.Declare(queue=q, passive=True, durable=False, exclusive=True, auto_delete=True, arguments={"x-max-length": "three"}))
    drop(c, q)


@conversation
def single_active_holds_on(c):
    q = declare(c, arguments={"x-single-active-consumer": True})
    for channel, tag in ((1, "a"), (2, "b")):
        c.call(channel, Basic.Qos(prefetch_count=2), True)
        c.call(channel, Basic.Consume(queue=q, consumer_tag=tag), True)
    for n in range(5):
        c.publish(9, "", q, b"%d" % n)
    c.hear("the active one has two")
    c.call(9, Queue.Delete(queue=q, if_unused=True))
    c.call(1, Basic.Cancel("a"))
    c.hear("the other one goes on")
    c.tell(1, Basic.Nack(2, True, True))
    c.hear("what the first held comes back", patience=0.5)
    c.tell(2, Basic.Ack(2, True))
    c.hear("and is first")
    c.tell(2, Basic.Ack(0, True))
    c.hear("the last")
    c.reconnect()
    drop(c, q)


@conversation
def deaths_counted_apart(c):
    dead, x = declare(c, "dead"), exchange(c, "x", "topic")
    q = declare(c, "q", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead, "x-max-length": 2})
    bind(c, q, x, "#")
    c.publish(1, x, "by.topic", b"0")
    c.publish(1, "", q, b"1")
    c.publish(1, x, "other", b"2")
    c.publish(1, x, "last", b"3")
    time.sleep(0.3)
    for tag in (1, 2):
        c.get(1, dead, ack=False)
    c.tell(1, Basic.Reject(2, True))
    c.get(1, dead)
    for key in ("again", "and.again"):
        c.publish(1, x, key, key.encode(), headers={"x-death": [{"count": long(1), "reason": "maxlen", "queue": q, "exchange": x, "routing-keys": ["k"]},
                                                                {"count": long(4), "reason": "rejected", "queue": q, "exchange": "", "routing-keys": [q]}]})
    c.call(1, Queue.Purge(queue=q))
    c.publish(1, x, "k", b"rejected", headers={"x-death": [{"count": long(4), "reason": "rejected", "queue": q, "exchange": "", "routing-keys": [q]}]})
    c.get(1, q, ack=False)
    c.tell(1, Basic.Reject(4, False))
    time.sleep(0.2)
    for _ in range(4):
        c.get(1, dead)
    drop(c, q, dead)
    gone(c, x)
