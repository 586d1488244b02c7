"""kcat, Debian's command-line client (an older librdkafka than confluent-kafka carries)."""

import os
import signal
import subprocess
import time

from confluent_kafka.admin import AdminClient, NewTopic

from check import KAFKA_ADDR, KAFKA_SASL, check, equal, main, name, until

COMMON = ["kcat", "-b", KAFKA_ADDR, "-q", "-X", "socket.timeout.ms=10000"]
ADMIN = {"bootstrap.servers": KAFKA_ADDR}
if KAFKA_SASL:
    USER, PASSWORD = KAFKA_SASL.split(":", 1)
    ADMIN |= {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": USER, "sasl.password": PASSWORD}
    for item in list(ADMIN.items())[1:]:
        COMMON += ["-X", "=".join(item)]


def kcat(*arguments, stdin=""):
    done = subprocess.run([*COMMON, *arguments], input=stdin, capture_output=True, text=True, timeout=90)
    if done.returncode:
        raise AssertionError(f"kcat {' '.join(arguments)}: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def create(topic, partitions):
    """kcat itself cannot; it would get the broker's default number of partitions."""
    admin = AdminClient(ADMIN)
    admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(60)
    while len(admin.list_topics(topic, 60).topics[topic].partitions) != partitions:
        time.sleep(0.05)


@check("a topic that nobody created appears when it is written to")
def auto_create():
    topic = name("automatic")
    kcat("-P", "-t", topic, stdin="first\nsecond\n")
    equal(kcat("-C", "-t", topic, "-o", "beginning", "-e"), "first\nsecond\n", "read back")
    listed = kcat("-L", "-t", topic)
    equal(f'topic "{topic}" with 1 partitions' in listed, True, f"kcat -L: {listed}")


def codec_check(codec):
    @check(f"codec {codec}: keys, headers and values read back, in order")
    def codec_works():
        topic = name(codec)
        create(topic, 1)
        lines = [f"key{i}|value {i} " + "x" * (i % 50) for i in range(1000)]
        arguments = ["-P", "-t", topic, "-p", "0", "-K", "|", "-H", "h1=one", "-H", "h2=two", "-z", codec]
        kcat(*arguments, stdin="\n".join(lines) + "\n")
        got = kcat("-C", "-t", topic, "-p", "0", "-o", "beginning", "-e", "-f", "%o %k|%s %h\n").splitlines()
        equal(got, [f"{i} {line} h1=one,h2=two" for i, line in enumerate(lines)], "read back")
        got = kcat("-C", "-t", topic, "-p", "0", "-o", "500", "-c", "3", "-f", "%o\n").split()
        equal(got, ["500", "501", "502"], "from the middle")
        got = kcat("-C", "-t", topic, "-p", "0", "-o", "-2", "-e", "-f", "%o\n").split()
        equal(got, ["998", "999"], "the last two")


for each in ("none", "gzip", "snappy", "lz4", "zstd"):
    codec_check(each)


@check("idempotent producer")
def idempotent():
    topic = name("idempotent")
    create(topic, 1)
    kcat("-P", "-t", topic, "-X", "enable.idempotence=true", stdin="".join(f"{i}\n" for i in range(2000)))
    equal(kcat("-C", "-t", topic, "-o", "beginning", "-e").split(), [str(i) for i in range(2000)], "read back")


@check("offsets by time")
def by_time():
    topic = name("times")
    create(topic, 1)
    kcat("-P", "-t", topic, stdin="before\n")
    time.sleep(0.05)
    middle = int(time.time() * 1000)
    time.sleep(0.05)
    kcat("-P", "-t", topic, stdin="after\n")
    equal(kcat("-Q", "-t", f"{topic}:0:{middle}").split(), [topic, "[0]", "offset", "1"], "kcat -Q")
    equal(kcat("-C", "-t", topic, "-o", f"s@{middle}", "-e"), "after\n", "from that time on")


class Member:
    """`kcat -G`, which leaves the group and commits when it is interrupted."""

    def __init__(self, group, topic):
        self.lines = open(f"/tmp/{name(f'member-{id(self)}')}", "w+")
        options = ["-X", "auto.offset.reset=earliest", "-X", "heartbeat.interval.ms=500", "-X", "session.timeout.ms=30000"]
        self.process = subprocess.Popen(
            [*COMMON, "-u", *options, "-G", group, "-f", "%p %s\n", topic], stdout=self.lines, stderr=subprocess.DEVNULL
        )

    def got(self):
        written = os.pread(self.lines.fileno(), 1 << 20, 0).decode()  # kcat shares the file's place, which must not move
        return [tuple(line.split()) for line in written.splitlines()]

    def close(self):
        self.process.send_signal(signal.SIGINT)
        equal(self.process.wait(60), 0, "exit code")
        got = self.got()
        self.lines.close()
        subprocess.run(["rm", "-f", self.lines.name], check=True)
        return got


@check("group of two: join, rebalance, leave, restart from the commit", limit=90)
def group():
    topic, group_id = name("grouped"), name("group")
    create(topic, 4)

    def produce(prefix, count):
        for partition in range(4):
            kcat("-P", "-t", topic, "-p", str(partition), stdin="".join(f"{prefix}{partition}-{i}\n" for i in range(count)))
        return sorted(f"{prefix}{p}-{i}" for p in range(4) for i in range(count))

    want = produce("a", 50)
    one = Member(group_id, topic)
    until(lambda: len(one.got()) >= 200, "the first member reads all", 20)
    equal(sorted(v for _, v in one.got()), want, "its records")
    two = Member(group_id, topic)
    # kcat does not tell its assignment: the rebalance is over when the second one reads.
    rounds = 0
    while not two.got():
        if rounds == 100:
            raise AssertionError("the second member reads nothing")
        rounds += 1
        want += produce(f"b{rounds}.", 1)
        time.sleep(0.3)
    want += produce("c", 50)
    until(lambda: {v for _, v in one.got() + two.got()} >= set(want), "both read everything", 20)
    last = [(m, p) for m in (1, 2) for p, v in (one if m == 1 else two).got() if v.startswith("c")]
    equal(len({p for _, p in last}), 4, "partitions read after the rebalance")
    for partition in "0123":
        equal(len({m for m, p in last if p == partition}), 1, f"members that read partition {partition}")
    two.close()
    want = produce("d", 10)
    until(lambda: {v for _, v in one.got()} >= set(want), "the one that stays reads all", 20)
    one.close()
    want = produce("e", 10)
    three = Member(group_id, topic)
    until(lambda: len(three.got()) >= 40, "the new member reads", 20)
    equal(sorted(v for _, v in three.close()), want, "only what came after the commit")


main()
