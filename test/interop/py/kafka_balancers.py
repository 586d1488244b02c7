"""Classic groups under each client's balancers, and of clients of different languages.

    kafka_balancers.py CACHE CLIENT,CLIENT… [CLIENT,CLIENT…]

The first clients have groups of their own and take part in those of several, the others only the latter.
Each member is a process (balance_member.py and its like). While records come, members join, one leaves, one
is killed with -9: each time all partitions are owned once, by equal shares; no record is lost, and none comes
twice but what a killed member had not committed.
"""

import itertools
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from check import KAFKA_ADDR, KAFKA_SASL, RUN, check, equal, main, until

CACHE, ALONE = sys.argv[1], sys.argv[2].split(",")
AVAILABLE = ALONE + "".join(sys.argv[3:]).split(",")
AT_A_TIME = 6 if "java" in AVAILABLE else 20  # groups: what takes time is mostly the session of whom is killed, and the start of Java
PARTITIONS = 7  # that no number of members divides
JAVA = ["java", "-Xmx96m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{CACHE}/java/classes:{CACHE}/java/jars/*", "Balance"]
COMMANDS = {
    **{client: [sys.executable, "py/balance_member.py", client] for client in ("librdkafka", "kafka-python", "aiokafka")},
    **{client: [f"{CACHE}/bin/balance", client] for client in ("franz-go", "sarama", "kafka-go")},
    "java": JAVA,
    "kafkajs": ["node", "js/kafka_balance.js"],
}
BALANCERS = {
    "librdkafka": ("range", "roundrobin", "cooperative-sticky"),
    "franz-go": ("range", "roundrobin", "sticky", "cooperative-sticky"),
    "sarama": ("range", "roundrobin", "sticky"),
    "kafka-go": ("range", "roundrobin"),
    "java": ("range", "roundrobin", "sticky", "cooperative-sticky"),
    "kafka-python": ("range", "roundrobin", "sticky", "cooperative-sticky"),
    "aiokafka": ("range", "roundrobin", "sticky"),
    "kafkajs": ("its own",),
}
# Clients that lead a group in turn. Where sarama leads by sticky, it can't read what Python's clients say of themselves, with Kafka either.
MIXED = [
    # kafka-python can't lead a group with kafka-go: that says version 1 of its subscription and leaves out what this has.
    ("range", "librdkafka", "franz-go", "sarama", "kafka-go", "java", "aiokafka"),
    ("roundrobin", "aiokafka", "kafka-python", "java", "sarama", "franz-go", "librdkafka"),
    ("sticky", "sarama", "java", "franz-go"),
    ("sticky", "kafka-python", "aiokafka", "java", "franz-go"),
    ("cooperative-sticky", "java", "librdkafka", "franz-go", "kafka-python"),
]


def config():
    conf = {"bootstrap.servers": KAFKA_ADDR}
    if KAFKA_SASL:
        user, password = KAFKA_SASL.split(":", 1)
        conf |= {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": user, "sasl.password": password}
    return conf


class Member:
    def __init__(self, client, group, topic, balancers, instance=""):
        self.title, self.held, self.got, self.done, self.killed, self.changes = f"{client} {instance}", set(), [], {}, False, 0
        more = [] if client == "kafkajs" else [balancers, instance]
        session = "45000" if instance else "12000"  # one that is killed comes again within it, or it is waited for
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen([*COMMANDS[client], group, topic, *more], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True,
                                        env=os.environ | {"SESSION_MS": session})
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        for line in self.process.stdout:
            if not line.endswith("\n"):
                return  # it was killed amid the line
            verb, *numbers = line.split()
            numbers = [int(n) for n in numbers]
            if verb == "held":
                self.held = set(numbers)
                self.changes += 1
            elif verb == "got":
                partition, first, last = numbers
                self.got += [(partition, offset) for offset in range(first, last + 1)]
            elif verb == "done":
                self.done[numbers[0]] = numbers[1]

    def leave(self):
        self.process.stdin.close()
        try:
            code = self.process.wait(60)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.title} does not leave: {self.complaints()}") from None
        self.thread.join(5)
        equal(code, 0, f"exit code of {self.title}, which says {self.complaints()}")

    def kill(self):
        self.killed = True
        self.process.kill()
        self.process.wait()
        self.thread.join(5)

    def complaints(self):
        self.errors.seek(0)
        return self.errors.read()[-600:].decode(errors="replace")


class Crowd:
    """A group, the members that it has and had, and what is sent to its topic."""

    def __init__(self, title):
        self.topic = f"interop.balancers.{RUN}.{re.sub('[^a-z]+', '-', title)}"
        self.group, self.members, self.gone, self.sent = self.topic, [], [], []
        admin = AdminClient(config())
        admin.create_topics([NewTopic(self.topic, PARTITIONS, 1)])[self.topic].result(60)
        self.over = threading.Event()
        self.source = threading.Thread(target=self.produce, daemon=True)
        self.source.start()

    def produce(self):
        producer = Producer(config() | {"linger.ms": 5})
        for partition in itertools.cycle(range(PARTITIONS)):
            if self.over.wait(0.01):
                break
            producer.produce(self.topic, b"x", partition=partition, on_delivery=lambda _, m: self.sent.append((m.partition(), m.offset())))
            producer.poll(0)
        producer.flush(60)

    def join(self, client, balancers, instance=""):
        self.members.append(Member(client, self.group, self.topic, balancers, instance))
        return self.members[-1]

    def settled(self, what):
        """Waits until all partitions are owned, each once, by equal shares."""

        def shared():
            held = [m.held for m in self.members]
            return sorted(p for each in held for p in each) == list(range(PARTITIONS)) and max(map(len, held)) - min(map(len, held)) <= 1

        try:
            until(shared, what, 60)
        except AssertionError:
            told = [(m.title, sorted(m.held), m.process.poll(), m.complaints()) for m in self.members]
            raise AssertionError(f"{what}: partitions are held so: {told}") from None

    def leave(self, member):
        self.members.remove(member)
        member.leave()
        self.gone.append(member)

    def kill(self, member):
        self.members.remove(member)
        member.kill()
        self.gone.append(member)

    def end(self):
        """What was sent was read, and once, but for what killed members had read and not committed."""
        self.over.set()
        self.source.join()
        everybody = self.members + self.gone
        missing = lambda: set(self.sent) - {o for m in everybody for o in m.got}
        try:
            until(lambda: not missing(), "all records", 30)
        except AssertionError:
            raise AssertionError(f"of {len(self.sent)} records, {len(missing())} do not come: {sorted(missing())[:10]}") from None
        for member in list(self.members):
            self.leave(member)
        readers = {}
        for member in everybody:
            for at in member.got:
                readers.setdefault(at, []).append(member)
        twice = {}
        for (partition, offset), by in readers.items():
            lost = [m for m in by if m.killed and m.done.get(partition, 0) <= offset]
            if len(by) - min(len(lost), len(by) - 1) > 1:
                twice[partition, offset] = [m.title for m in by]
        equal(twice, {}, f"of {len(self.sent)} records came twice")
        ends = {}
        for member in everybody:
            for partition, end in member.done.items():
                ends[partition] = max(end, ends.get(partition, 0))
        equal(ends, {p: 1 + max(o for q, o in self.sent if q == p) for p in range(PARTITIONS)}, "what is committed")

    def abandon(self):
        self.over.set()
        for member in self.members:
            member.kill()


def lives(crowd, clients, balancers):
    """Members come, one more comes, the first (who leads) leaves, another is killed."""
    first, victim, *_ = [crowd.join(client, balancers) for client in clients[:-1]]
    crowd.settled("all but one have joined")
    crowd.join(clients[-1], balancers)
    crowd.settled("one more has joined")
    crowd.leave(first)
    crowd.settled("one has left")
    crowd.kill(victim)
    crowd.settled("one was killed")


def switches(crowd, client, steps):
    """Every member is replaced by one of other balancers, one after the other, then again."""
    for _ in range(2):
        crowd.join(client, steps[0])
    crowd.settled(f"two by {steps[0]}")
    for balancers in steps[1:]:
        for old in list(crowd.members):
            crowd.leave(old)
            crowd.join(client, balancers)
            crowd.settled(f"one more by {balancers}")


def static(crowd, client, balancers):
    """A member of a name of its own that is killed and comes again within its session has what it had, and nobody else hears of it."""
    members = [crowd.join(client, balancers, f"instance-{i}") for i in range(3)]
    crowd.settled("three of a name of their own")
    held, changes = members[0].held, [m.changes for m in members[1:]]
    crowd.kill(members[0])
    again = crowd.join(client, balancers, "instance-0")
    crowd.settled("one is there again")
    equal((again.held, [m.changes for m in members[1:]]), (held, changes), "what it holds, and how often the others were told of partitions")


def every():
    """title -> how its members live"""
    for client in ALONE:
        for balancers in BALANCERS[client]:
            yield f"{client} by {balancers}", lives, [client] * 4, balancers
    for balancers, *clients in MIXED:
        mixed = [c for c in clients if c in AVAILABLE]
        if len(mixed) > 1:
            yield f"{balancers} by {', '.join(mixed)} in one group", lives, (mixed * 4)[: max(len(mixed), 4)], balancers
    for client, steps in (("librdkafka", ("range", "roundrobin,range", "roundrobin")), ("java", ("range", "cooperative-sticky,range", "cooperative-sticky")),
                          ("franz-go", ("sticky", "cooperative-sticky,sticky", "cooperative-sticky"))):
        if client in ALONE:
            yield f"{client} goes from {steps[0]} to {steps[-1]}, member by member", switches, client, steps
    for client in ALONE:
        if client not in ("kafka-go", "kafkajs"):  # which have none
            yield f"{client}: a static member is killed and comes again", static, client, BALANCERS[client][-1]


def live(title, how, *args):
    crowd, begin = Crowd(title), time.monotonic()
    try:
        how(crowd, *args)
        crowd.end()
    finally:
        crowd.abandon()
    print(f"{title}: {time.monotonic() - begin:.1f} s, {len(crowd.sent)} records", file=sys.stderr)


pool, only = ThreadPoolExecutor(AT_A_TIME), os.environ.get("ONLY", "")
for title, *how in every():
    if only in title:
        check(title, limit=140)(pool.submit(live, title, *how).result)
main()
