"""go-sendxmpp and profanity, as Debian has them, with queues and messages that AMQP clients see too."""

import fcntl
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import tempfile
import termios
import time

import pika

from check import AMQP_HOST, AMQP_PORT, PATIENCE, check, equal, main, name, until, user

HOST, PORT = (os.environ.get("XMPP_ADDR") or "127.0.0.1:5222").rsplit(":", 1)
CA = os.environ.get("TLS_DIR", "") + "/ca.pem"
ENV = {**os.environ, "SSL_CERT_FILE": CA}
USER = user("tools")
SEND = ["go-sendxmpp", "-u", f"{USER}@localhost", "-p", "secret", "-j", f"localhost:{PORT}"]


def amqp():
    connection = pika.BlockingConnection(pika.ConnectionParameters(AMQP_HOST, AMQP_PORT))
    return connection, connection.channel()


class Profanity:
    """profanity on a terminal of its own."""

    def __init__(self):
        self.home = tempfile.mkdtemp()
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            home = self.home
            os.environ.update(HOME=home, XDG_CONFIG_HOME=home + "/config", XDG_DATA_HOME=home + "/data", TERM="xterm", SSL_CERT_FILE=CA)
            os.execvp("profanity", ["profanity", "-l", "DEBUG"])
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
        self.screen = b""

    def shows(self, pattern, seconds=15):
        """Waits for what is on the screen or in the log of what came and went."""
        end = time.monotonic() + seconds * PATIENCE
        while time.monotonic() < end:
            if select.select([self.terminal], [], [], 0.1)[0]:
                self.screen += os.read(self.terminal, 1 << 16)
            text = re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[()][A-Z0-9]", b" ", self.screen).decode("utf-8", "replace")
            for folder, _, files in os.walk(self.home + "/data"):
                for file in files:
                    if file.endswith(".log"):
                        text += open(os.path.join(folder, file), errors="replace").read()
            found = re.search(pattern, text)
            if found:
                return found
        raise AssertionError(f"profanity does not show {pattern}: {text[-1500:]}")

    def type(self, line):
        for c in line + "\r":
            os.write(self.terminal, c.encode())
            time.sleep(0.002)

    def end(self):
        self.type("/quit")
        try:
            self.shows("Closing socket", 5)
        except (AssertionError, OSError):
            pass
        os.close(self.terminal)
        os.waitpid(self.pid, 0)
        shutil.rmtree(self.home, ignore_errors=True)


@check("go-sendxmpp sends to a queue")
def send():
    connection, channel = amqp()
    queue = name("sent").lower()
    channel.queue_declare(queue, durable=True)
    subprocess.run(SEND + [queue + "@queues.localhost"], input=b"from a shell\n", env=ENV, check=True, timeout=90)
    _, props, body = until(lambda: (lambda g: g[0] and g)(channel.basic_get(queue, auto_ack=True)), "a message")
    equal((body.strip(), props.user_id), (b"from a shell", USER), "message")
    connection.close()


@check("go-sendxmpp listens, to what others send it")
def listen():
    listener = subprocess.Popen(SEND + ["-l"], env=ENV, stdout=subprocess.PIPE)
    try:
        time.sleep(2)  # one that has not signed in by then is sent what waited for it
        subprocess.run(SEND + [f"{USER}@localhost"], input=b"heard\n", env=ENV, check=True, timeout=90)
        equal(b"heard" in listener.stdout.readline(), True, "what it prints")
    finally:
        listener.kill()
        listener.wait()


@check("profanity signs in, asks what there is, talks to itself, and to a queue", 60)
def profanity():
    connection, channel = amqp()
    queue = name("chat").lower()
    channel.queue_declare(queue, durable=True)
    p = Profanity()
    try:
        p.shows("Welcome to")
        p.type(f"/connect {USER}@localhost/prof server localhost port {PORT} tls trust")
        p.shows("nter password|assword:")
        p.type("secret")
        p.shows("urn:xmpp:sm:3")
        p.shows("disco#info response from: queues.localhost")
        p.type(f"/msg {USER}@localhost/prof grüße")
        p.shows("RECV: <message [^\n]*grüße")
        p.type(f"/msg {queue}@queues.localhost an answer")
        _, props, body = until(lambda: (lambda g: g[0] and g)(channel.basic_get(queue, auto_ack=True)), "a message")
        equal((body, props.type), (b"an answer", "chat"), "message")
    finally:
        p.end()
    connection.close()


@check("profanity is told of what waits for its user", 60)
def alert():
    connection, channel = amqp()
    channel.queue_delete(f"xmpp.{USER}")  # which is there with other arguments if anything waited for the user before
    channel.queue_declare(f"xmpp.{USER}", durable=True, arguments={"x-max-length": 1000, "x-overflow": "reject-publish"})
    channel.basic_publish("", f"xmpp.{USER}", b"the disk is full")
    p = Profanity()
    try:
        p.shows("Welcome to")
        p.type(f"/connect {USER}@localhost/alerts server localhost port {PORT} tls trust")
        p.shows("nter password|assword:")
        p.type("secret")
        p.shows("RECV: <message [^\n]*the disk is full")
        # What it has not acknowledged when it leaves would wait for the next.
        until(lambda: channel.queue_declare(f"xmpp.{USER}", passive=True).method.message_count == 0, "nothing waits any more")
    finally:
        p.end()
    connection.close()


main()
