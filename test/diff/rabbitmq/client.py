"""A client that says exactly what it is told and writes down what it hears, one line a method.

Encoding is pika's; everything else is a socket. What differs from run to run for no reason
that matters is made the same: generated names, tokens, times.
"""
import re
import socket
import struct
import time

from pika import data, spec

PATIENCE = 10  # seconds for an answer
QUIET = 0.25   # nothing more comes when nothing came for so long


class Gone(Exception):
    """The server ended the connection."""


def shown(value):
    """A value with its type, so that 1 and 1.0 and "1" and b"1" differ."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {shown(value[k])}" for k in sorted(value)) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(shown(v) for v in value) + "]"
    if hasattr(value, "timetuple"):
        return "time"
    if isinstance(value, bytes):
        return repr(value)
    return repr(value)


def normal(text):
    text = re.sub(r"amq\.gen-[-\w]{10,}", "amq.gen-*", text)
    text = re.sub(r"amq\.ctag-[-\w]{10,}", "amq.ctag-*", text)
    return re.sub(r"amq\.rabbitmq\.reply-to\.[-\w=.+/]+", "amq.rabbitmq.reply-to.*", text)


class Conversation:
    """One connection after the other; channel numbers are the scenario's."""

    def __init__(self, host, port, name):
        self.address, self.name = (host, port), name
        self.lines, self.socket = [], None
        self.capabilities = {"basic.nack": True, "consumer_cancel_notify": True, "connection.blocked": True, "authentication_failure_close": True}

    # What a scenario calls.

    def q(self, suffix=""):
        """A queue or exchange name of this scenario's own."""
        return f"diff.{self.name}{'.' + suffix if suffix else ''}"

    def say(self, text):
        self.lines.append(f"# {text}")

    def call(self, channel, method, quietly=False):
        """Sends a method and writes down its answer. quietly leaves out the line of a good answer."""
        self.begin(channel)
        self.write(self.method_frame(channel, method))
        try:
            while True:
                line, kind, ch = self.read_line(PATIENCE)
                good = line.endswith("-ok") or "-ok " in line or "get-empty" in line
                if not (quietly and good):
                    self.lines.append(f"{self.brief(method)} => {line}" if ch == channel else f"  {line}")
                if ch == channel and (good or kind in ("channel.close", "basic.get-ok")) or kind == "connection.close":
                    return line
        except socket.timeout:
            self.lines.append(f"{self.brief(method)} => silence")
        except Gone:
            self.lines.append(f"{self.brief(method)} => the connection ended")
        return None

    def tell(self, channel, method, properties=None, body=None):
        """Sends a method that has no answer, or whose answer does not matter yet."""
        self.begin(channel)
        out = self.method_frame(channel, method)
        if body is not None:
            props = properties or spec.BasicProperties()
            pieces = struct.pack(">HHQ", 60, 0, len(body)) + b"".join(props.encode())
            out += self.frame(2, channel, pieces)
            if body:
                out += self.frame(3, channel, body)
        self.write(out)

    def publish(self, channel, exchange, key, body=b"m", mandatory=False, immediate=False, **properties):
        self.tell(channel, spec.Basic.Publish(exchange=exchange, routing_key=key, mandatory=mandatory, immediate=immediate),
                  spec.BasicProperties(**properties), body)

    def hear(self, what="", quiet=QUIET, patience=3.0):
        """Writes down all that comes until it is quiet. Kinds are kept apart, since their order is free, and so is that of consumers
        whose queue goes."""
        got, confirmed, refused = [], set(), set()
        first = True
        try:
            while True:
                line, kind, ch = self.read_line(patience if first else quiet)
                first = False
                if kind in ("basic.ack", "basic.nack") and ch:
                    tags = confirmed if kind == "basic.ack" else refused
                    method = self.last
                    heard = self.confirms_heard.setdefault(ch, set())  # by one method or several makes no difference
                    new = range(1, method.delivery_tag + 1) if method.multiple else [method.delivery_tag]
                    tags.update(set(new) - heard)
                    heard.update(new)
                else:
                    got.append((kind, line))
        except socket.timeout:
            pass
        except Gone:
            got.append(("zz", "the connection ended"))
        if what:
            self.say(what)
        for _, line in sorted(got, key=lambda pair: (pair[0], pair[1] if pair[0] == "basic.cancel" else "")):
            self.lines.append(f"  {line}")
        if confirmed:
            self.lines.append(f"  confirmed {sorted(confirmed)}")
        if refused:
            self.lines.append(f"  refused {sorted(refused)}")
        if not got and not confirmed and not refused:
            self.lines.append("  nothing")

    def hear_quietly(self, channel):
        """Waits for an answer on the channel, which is not written down."""
        while self.socket and self.read_line(PATIENCE)[2] != channel:
            pass

    def get(self, channel, queue, ack=True):
        return self.call(channel, spec.Basic.Get(queue=queue, no_ack=ack))

    def count(self, channel, queue):
        """Ready messages and consumers, once what was published before has arrived."""
        time.sleep(0.1)
        self.call(channel, spec.Queue.Declare(queue=queue, passive=True))

    def reconnect(self):
        if self.socket:
            self.socket.close()
        self.socket = None

    def close(self):
        if not self.socket:
            return
        try:
            self.write(self.method_frame(0, spec.Connection.Close(200, "done", 0, 0)))
            while True:
                self.read_line(2)
        except (Gone, OSError):
            pass
        self.reconnect()

    # The wire.

    def begin(self, channel):
        if self.socket is None:
            self.open()
        if channel and channel not in self.channels:
            self.write(self.method_frame(channel, spec.Channel.Open()))
            self.channels.add(channel)
            self.confirms_heard[channel] = set()
            while True:
                _, kind, ch = self.read_line(PATIENCE)
                if ch == channel and kind == "channel.open-ok":
                    return

    def open(self):
        self.socket = socket.create_connection(self.address, timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer, self.channels, self.confirms_heard = b"", set(), {}
        self.socket.sendall(b"AMQP\x00\x00\x09\x01")
        self.await_method("connection.start")
        self.write(self.method_frame(0, spec.Connection.StartOk({"capabilities": self.capabilities}, "PLAIN", "\0guest\0guest", "en_US")))
        self.await_method("connection.tune")
        self.write(self.method_frame(0, spec.Connection.TuneOk(100, 131072, 0)))
        self.write(self.method_frame(0, spec.Connection.Open("/")))
        self.await_method("connection.open-ok")

    def await_method(self, kind):
        while True:
            line, got, _ = self.read_line(PATIENCE)
            if got == kind:
                return line

    def write(self, raw):
        try:
            self.socket.sendall(raw)
        except OSError:
            pass  # what the server said before it left is still to be read

    @staticmethod
    def frame(kind, channel, payload):
        return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"

    def method_frame(self, channel, method):
        return self.frame(1, channel, struct.pack(">I", method.INDEX) + b"".join(method.encode()))

    def read_frame(self, patience):
        while True:
            if len(self.buffer) >= 7:
                kind, channel, size = struct.unpack(">BHI", self.buffer[:7])
                if len(self.buffer) >= size + 8:
                    payload, self.buffer = self.buffer[7:7 + size], self.buffer[8 + size:]
                    if kind != 8:
                        return kind, channel, payload
                    continue
            if self.socket is None:
                raise Gone()
            self.socket.settimeout(patience)
            try:
                more = self.socket.recv(1 << 16)
            except ConnectionError:
                more = b""
            if not more:
                self.reconnect()
                raise Gone()
            self.buffer += more

    def read_line(self, patience):
        """The next method as a line, its name and its channel. Closes are answered."""
        kind, channel, payload = self.read_frame(patience)
        if kind != 1:
            return f"frame of type {kind}", "frame", channel
        index, = struct.unpack(">I", payload[:4])
        method = spec.methods[index]()
        method.decode(payload[4:])
        self.last = method
        name = self.title(method)
        line = self.brief(method)
        if name in ("basic.deliver", "basic.get-ok", "basic.return"):
            line += " " + self.content()
        if name == "channel.close":
            self.write(self.method_frame(channel, spec.Channel.CloseOk()))
            self.channels.discard(channel)
        if name == "connection.close":
            self.write(self.method_frame(0, spec.Connection.CloseOk()))
            self.reconnect()
        return normal(line), name, channel

    def content(self):
        _, _, payload = self.read_frame(PATIENCE)
        size, = struct.unpack(">Q", payload[4:12])
        props = spec.BasicProperties()
        props.decode(payload[12:])
        body = b""
        while len(body) < size:
            body += self.read_frame(PATIENCE)[2]
        self.properties = props
        said = {k: v for k, v in vars(props).items() if v is not None}
        return f"{shown(said)} {body!r}"

    @staticmethod
    def title(method):
        """queue.declare-ok for Queue.DeclareOk."""
        cls, name = method.NAME.split(".")
        return f"{cls.lower()}.{re.sub(r'(?<!^)(?=[A-Z])', '-', name).lower()}"

    def brief(self, method):
        said = []
        for k, v in vars(method).items():
            if k in ("ticket", "cluster_id", "message_count") and not (k == "message_count" and self.title(method) != "basic.get-ok"):
                if k != "message_count":
                    continue
            if v in (None, "", False, b"", {}) or (v == 0 and not k.endswith("count") and k != "delivery_tag"):
                continue
            if k in ("class_id", "method_id"):
                continue  # said together below
            said.append(f"{k}={shown(v)}")
        if getattr(method, "class_id", None):
            said.append(f"about={method.class_id}.{method.method_id}")
        return normal(" ".join([self.title(method)] + said))


# Types that pika's own encoder does not choose by itself are wrapped.
class Typed:
    def __init__(self, tag, raw, text):
        self.tag, self.raw, self.text = tag, raw, text

    def __repr__(self):
        return self.text


def short(n):
    return Typed(b"s", struct.pack(">h", n), f"short {n}")


def long(n):
    return Typed(b"l", struct.pack(">q", n), f"long {n}")


def double(x):
    return Typed(b"d", struct.pack(">d", x), f"double {x}")


_encode_value = data.encode_value


def encode_value(pieces, value):
    if isinstance(value, Typed):
        pieces.append(value.tag)
        pieces.append(value.raw)
        return 1 + len(value.raw)
    return _encode_value(pieces, value)


data.encode_value = encode_value
