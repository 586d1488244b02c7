"""Programs of others that ship into Kafka, out of it, or watch it: each as it comes, with a configuration of a few lines.

    kafka_shippers.py telegraf PATH | rsyslog | burrow
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from check import KAFKA_ADDR, KAFKA_SASL, check, equal, free_port, main, name, until

CONF = {"bootstrap.servers": KAFKA_ADDR}
USER, PASSWORD = (KAFKA_SASL or ":").split(":", 1)
if KAFKA_SASL:
    CONF.update({"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": USER, "sasl.password": PASSWORD})
WHERE = tempfile.mkdtemp()  # where the runner's own files go, which it removes


def create(topic, partitions=1):
    admin = AdminClient(CONF)
    admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(60)


def produce(topic, values):
    producer = Producer(CONF)
    for value in values:
        producer.produce(topic, value)
    equal(producer.flush(60), 0, "messages that were not sent")


def read(topic, count):
    consumer = Consumer({**CONF, "group.id": name("none"), "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, 0)])
    got = []
    until(lambda: got.extend(m.value().decode() for m in consumer.consume(count - len(got), 0.5) if not m.error()) or len(got) >= count, "messages")
    consumer.close()
    return got


def write(file, text):
    with open(os.path.join(WHERE, file), "w") as f:
        f.write(text)
    return f.name


def listening(port, process):
    def connect():
        equal(process.poll(), None, "exit code, before it listens; its output is in the log of errors")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        except OSError:
            return False

    until(connect, f"port {port}", 20)


class Running:
    """A program that runs until the block ends."""

    def __init__(self, *command, **more):
        self.command, self.more = command, more

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=sys.stderr, stderr=sys.stderr, cwd=WHERE, **self.more)
        return self.process

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()


def telegraf():
    sasl = f'sasl_username = "{USER}"\nsasl_password = "{PASSWORD}"\n' if KAFKA_SASL else ""

    def config(body):
        return write("telegraf.conf", '[agent]\ninterval = "1s"\nflush_interval = "200ms"\nflush_jitter = "0s"\nomit_hostname = true\n' + body)

    @check("its kafka_consumer with default settings reads measurements, and goes on where it was after a restart")
    def consume():
        topic, out = name("telegraf"), os.path.join(WHERE, "out")
        create(topic, 2)
        conf = config(
            f'[[inputs.kafka_consumer]]\nbrokers = ["{KAFKA_ADDR}"]\ntopics = ["{topic}"]\nconsumer_group = "{topic}"\ndata_format = "influx"\n{sasl}'
            f'[[outputs.file]]\nfiles = ["{out}"]\ndata_format = "influx"\n'
        )
        lines = [f"weather,city=c{i} temp={i} {1_700_000_000 + i}000000000" for i in range(200)]

        def written():
            with open(out) if os.path.exists(out) else open(os.devnull) as f:
                return sorted(f.read().split("\n")[:-1])

        produce(topic, lines[:100])
        with Running(sys.argv[2], "--config", conf):
            until(lambda: len(written()) >= 100, "the first hundred", 20)
        produce(topic, lines[100:])
        with Running(sys.argv[2], "--config", conf):
            until(lambda: len(written()) >= 200, "the second hundred", 20)
            time.sleep(0.5)
        equal(written(), sorted(lines), "what was written, each once")

    @check("its kafka output writes what is read from a file, with a key")
    def ship():
        topic, source = name("telegraf-out"), write("lines", "".join(f"load,host=h{i} one={i} {1_700_000_000 + i}000000000\n" for i in range(50)))
        create(topic)
        conf = config(
            f'[[inputs.file]]\nfiles = ["{source}"]\ndata_format = "influx"\n'
            f'[[outputs.kafka]]\nbrokers = ["{KAFKA_ADDR}"]\ntopic = "{topic}"\nrouting_tag = "host"\ncompression_codec = 1\n{sasl}'
        )
        with Running(sys.argv[2], "--config", conf, "--once") as process:
            equal(process.wait(60), 0, "exit code")
        equal(sorted(read(topic, 50)), sorted(f"load,host=h{i} one={i} {1_700_000_000 + i}000000000\n" for i in range(50)), "records")


def rsyslog():
    @check("omkafka ships what comes by TCP, with a key and each codec; imkafka reads it back")
    def ship():
        sasl = ', "security.protocol=SASL_PLAINTEXT", "sasl.mechanisms=PLAIN", "sasl.username=%s", "sasl.password=%s"' % (USER, PASSWORD) if KAFKA_SASL else ""
        for codec in ("none", "gzip", "snappy", "lz4"):
            topic, port, out = name("rsyslog-" + codec), free_port(), os.path.join(WHERE, codec)
            create(topic)
            conf = write(
                "rsyslog.conf",
                'module(load="omkafka")\nmodule(load="imkafka")\nmodule(load="imptcp")\n'
                'template(name="raw" type="string" string="%msg%")\ntemplate(name="line" type="string" string="%msg%\\n")\n'
                f'input(type="imptcp" address="127.0.0.1" port="{port}" ruleset="out")\n'
                f'ruleset(name="out") {{ action(type="omkafka" broker="{KAFKA_ADDR}" topic="{topic}" key="host" template="raw" confParam=["compression.codec={codec}"{sasl}]) }}\n'
                f'input(type="imkafka" broker="{KAFKA_ADDR}" topic="{topic}" consumergroup="{topic}" ruleset="in" confParam=["auto.offset.reset=earliest"{sasl}])\n'
                f'ruleset(name="in") {{ action(type="omfile" file="{out}" template="line") }}\n',
            )
            want = [f"line {i} " + "x" * (i % 50) for i in range(200)]

            def written():
                with open(out) if os.path.exists(out) else open(os.devnull) as f:
                    return [line.strip() for line in f]

            with Running("rsyslogd", "-n", "-f", conf, "-i", os.path.join(WHERE, "rsyslog.pid")) as process:
                listening(port, process)
                with socket.create_connection(("127.0.0.1", port)) as s:
                    s.sendall("".join(f"<13>Nov 29 10:00:00 host app: {line}\n" for line in want).encode())
                equal([m.strip() for m in read(topic, 200)], [line.strip() for line in want], "records of " + codec)
                until(lambda: len(written()) >= 200, "what imkafka writes", 20)
            equal(sorted(written()), sorted(line.strip() for line in want), "lines that came back")


def burrow():
    @check("Burrow finds groups in __consumer_offsets, and their lag", limit=90)
    def lag():
        topic, group = name("burrow"), name("burrow-group")
        create(topic)
        produce(topic, [str(i) for i in range(100)])

        def take(count):
            consumer = Consumer({**CONF, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False})
            consumer.subscribe([topic])
            got = []
            until(lambda: got.extend(m for m in consumer.consume(count - len(got), 0.5) if not m.error()) or len(got) >= count, "messages")
            consumer.commit(message=got[-1], asynchronous=False)
            consumer.close()

        take(40)
        keeper, port = free_port(), free_port()
        zoo = write("zoo.cfg", f"tickTime=200\ndataDir={WHERE}/zk\nclientPort={keeper}\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n")
        write(
            "burrow.toml",
            f'[general]\npidfile="{WHERE}/burrow.pid"\n[logging]\nfilename="{WHERE}/burrow.log"\nlevel="info"\n'
            f'[zookeeper]\nservers=["127.0.0.1:{keeper}"]\ntimeout=6\nroot-path="/burrow"\n'
            '[client-profile.one]\nclient-id="burrow"\nkafka-version="1.0.0"\n' + (f'sasl="login"\n[sasl.login]\nusername="{USER}"\npassword="{PASSWORD}"\nhandshake-first=true\n' if KAFKA_SASL else "") +
            f'[cluster.here]\nclass-name="kafka"\nservers=["{KAFKA_ADDR}"]\nclient-profile="one"\ntopic-refresh=5\noffset-refresh=1\n'
            f'[consumer.here]\nclass-name="kafka"\ncluster="here"\nservers=["{KAFKA_ADDR}"]\nclient-profile="one"\nstart-latest=false\n'
            f'[httpserver.default]\naddress="127.0.0.1:{port}"\n[storage.default]\nclass-name="inmemory"\nworkers=4\nintervals=3\nexpire-group=604800\nmin-distance=0\n'
            '[evaluator.default]\nclass-name="caching"\nexpire-cache=1\n',
        )

        def serves(port):
            with socket.create_connection(("127.0.0.1", port), 2) as s:
                s.sendall(b"srvr")
                return s.recv(100).startswith(b"Zookeeper version")

        def ask(path):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v3/kafka/here/{path}", timeout=60) as answer:
                return json.load(answer)

        def is_behind(lag):
            status = ask(f"consumer/{group}/lag")["status"]
            return status["totallag"] == lag and status["partition_count"] == 1

        with Running("java", "-Xmx128m", "-cp", "/usr/share/java/zookeeper.jar", "org.apache.zookeeper.server.quorum.QuorumPeerMain", zoo) as zookeeper:
            listening(keeper, zookeeper)
            until(lambda: serves(keeper), "ZooKeeper", 20)
            with Running("Burrow", "-config-dir", WHERE) as process:
                listening(port, process)
                until(lambda: topic in ask("topic")["topics"], "the topic", 20)
                until(lambda: group in ask("consumer")["consumers"], "the group", 40)
                until(lambda: is_behind(60), "a lag of 60", 20)
                take(25)
                until(lambda: is_behind(35), "a lag of 35, as the group goes on", 20)


{"telegraf": telegraf, "rsyslog": rsyslog, "burrow": burrow}[sys.argv[1]]()
main()
