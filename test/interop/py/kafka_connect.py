"""Kafka Connect with its file connectors: a standalone worker, and distributed ones, of which one is killed.

The first argument is a folder with `jars`. Workers are processes of their own, as connect-standalone and
connect-distributed start them.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from check import KAFKA_ADDR, check, equal, main, name, until
from java import FOLDER, Java

JARS = os.path.join(sys.argv[1], "jars", "*")
RUN = name("x").rsplit(".", 1)[1]
COMMON = {
    "bootstrap.servers": KAFKA_ADDR,
    "key.converter": "org.apache.kafka.connect.storage.StringConverter",
    "value.converter": "org.apache.kafka.connect.storage.StringConverter",
    "offset.flush.interval.ms": "500",
    "plugin.discovery": "service_load",  # which is quicker than to look through all jars
    "consumer.auto.offset.reset": "earliest",
    "consumer.session.timeout.ms": "10000",
    "consumer.heartbeat.interval.ms": "1000",
}
workers = []


def properties(file, *parts):
    path = FOLDER / file
    path.write_text("".join(f"{key}={value}\n" for part in parts for key, value in part.items()))
    return str(path)


def start(program, *files):
    worker = Java("-Dorg.slf4j.simpleLogger.defaultLogLevel=info", "-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS", "-cp", JARS, f"org.apache.kafka.connect.cli.{program}", *files)
    workers.append(worker)
    return worker


def address(worker):
    """Where its REST interface is, which it prints."""

    def listening():
        found = [line for line in worker.said().splitlines() if "REST server listening at " in line]
        return found and found[0].split("listening at ")[1].split(",")[0].rstrip("/")

    return until(listening, "the worker listens", 60)


def ask(worker, method, path, body=None):
    request = urllib.request.Request(address(worker) + path, method=method, headers={"Content-Type": "application/json"}, data=None if body is None else json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer) if answer.status != 204 else None


def running(worker, connector):
    """Where the one task of a connector runs, when it does."""
    try:
        status = ask(worker, "GET", f"/connectors/{connector}/status")
    except (urllib.error.URLError, OSError):
        return None
    failed = [task for task in status["tasks"] if task["state"] == "FAILED"]
    if failed:
        raise AssertionError(failed[0]["trace"][:400])
    if status["connector"]["state"] == "RUNNING" and [task["state"] for task in status["tasks"]] == ["RUNNING"]:
        return status["tasks"][0]["worker_id"]
    return None


def write(file, first, last):
    with open(file, "a", encoding="utf-8") as to:
        to.writelines(f"line {i}\n" for i in range(first, last))


def lines(file):
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def records(topic, isolation="read_committed"):
    """All that is in a topic, by key, value and offset."""
    consumer = Consumer({"bootstrap.servers": KAFKA_ADDR, "group.id": "none", "enable.auto.commit": False, "isolation.level": isolation, "enable.partition.eof": True})
    count = len(consumer.list_topics(topic, 60).topics[topic].partitions)
    consumer.assign([TopicPartition(topic, p, 0) for p in range(count)])
    found, ended = [], 0
    while ended < count:
        message = consumer.poll(60)
        if message is None:
            raise AssertionError(f"{topic} can't be read to its end")
        if message.error():
            ended += 1
        else:
            found.append((message.key(), message.value(), message.offset()))
    end = sum(consumer.get_watermark_offsets(TopicPartition(topic, p), 60)[1] for p in range(count))
    consumer.close()
    return found, end


def source(topic, file):
    return {"name": f"source-{RUN}", "connector.class": "FileStreamSource", "tasks.max": "1", "topic": topic, "file": str(file)}


def sink(topic, file):
    return {"name": f"sink-{RUN}", "connector.class": "FileStreamSink", "tasks.max": "1", "topics": topic, "file": str(file)}


@check("standalone: from a file to a topic to a file, on from where a killed worker was", 120)
def standalone():
    topic, came, went = name("standalone"), FOLDER / "in1", FOLDER / "out1"
    write(came, 0, 1000)
    config = properties("standalone.properties", COMMON, {"offset.storage.file.filename": FOLDER / "offsets", "listeners": "HTTP://127.0.0.1:0"})
    files = config, properties("source1.properties", source(topic, came)), properties("sink1.properties", sink(topic, went))
    worker = start("ConnectStandalone", *files)
    until(lambda: len(lines(went)) == 1000, "the lines are in the other file", 60)
    equal(lines(went), [f"line {i}" for i in range(1000)], "the other file")
    until(lambda: (FOLDER / "offsets").exists(), "the source's place is kept", 20)
    worker.crash()
    write(came, 1000, 1500)
    worker = start("ConnectStandalone", *files)
    until(lambda: set(lines(went)) >= {f"line {i}" for i in range(1500)}, "the lines that came meanwhile are there", 60)
    found, _ = records(topic)
    equal([value.decode() for _, value, _ in found][-500:], [f"line {i}" for i in range(1000, 1500)], "the topic's end")
    worker.end()


OFFSETS, CONFIGS, STATUS = (name(what) for what in ("offsets", "configs", "status"))
DISTRIBUTED = COMMON | {
    "group.id": name("cluster"),
    "config.storage.topic": CONFIGS,
    "offset.storage.topic": OFFSETS,
    "status.storage.topic": STATUS,
    "config.storage.replication.factor": "1",
    "offset.storage.replication.factor": "1",
    "status.storage.replication.factor": "1",
    "offset.storage.partitions": "2",
    # Compaction takes what a segment that is not written to any more holds.
    "offset.storage.segment.ms": "1000",
    "offset.storage.min.cleanable.dirty.ratio": "0.01",
    "exactly.once.source.support": "enabled",
    "session.timeout.ms": "10000",
    "heartbeat.interval.ms": "1000",
    "scheduled.rebalance.max.delay.ms": "0",
    "listeners": "HTTP://127.0.0.1:0",
    "rest.advertised.host.name": "127.0.0.1",
}
TOPIC, CAME, WENT = name("distributed"), FOLDER / "in2", FOLDER / "out2"


@check("distributed: two workers, a source and a sink, each line once", 120)
def distributed():
    config = properties("distributed.properties", DISTRIBUTED)
    first, second = start("ConnectDistributed", config), start("ConnectDistributed", config)
    write(CAME, 0, 1000)
    for connector in (source(TOPIC, CAME), sink(TOPIC, WENT)):
        until(lambda: tried(first, "PUT", f"/connectors/{connector['name']}/config", connector), "the connector is made", 60)
    until(lambda: running(first, f"source-{RUN}") and running(second, f"sink-{RUN}"), "both connectors run", 60)
    until(lambda: len(lines(WENT)) >= 1000, "the lines are in the other file", 60)
    equal(lines(WENT), [f"line {i}" for i in range(1000)], "the other file")
    equal({running(first, f"source-{RUN}"), running(first, f"sink-{RUN}")} <= {at.split("//")[1] for at in (address(first), address(second))}, True, "the tasks are at the workers")


def tried(worker, *request):
    """Whether the worker does as it is asked, or has done it. It answers 409 amid a rebalance, 503 before it has joined."""
    try:
        ask(worker, *request)
    except urllib.error.HTTPError as error:
        return request[0] == "DELETE" and error.code == 404
    except OSError:
        return False
    return True


@check("distributed: a worker is killed amid the work, the other goes on, and each line is in the topic once", 120)
def killed():
    first, second = workers[-2:]
    at = until(lambda: running(second, f"source-{RUN}"), "the source runs", 60)
    victim, other = (first, second) if address(first).endswith(at) else (second, first)
    for first_line in range(1000, 3000, 50):  # a little at a time: many offsets
        write(CAME, first_line, first_line + 50)
        time.sleep(0.05)
    until(lambda: len(lines(WENT)) > 1000, "lines come through", 30)
    victim.crash()
    write(CAME, 3000, 5000)
    until(lambda: set(lines(WENT)) >= {f"line {i}" for i in range(5000)}, "all lines are in the other file", 60)
    equal([value.decode() for _, value, _ in records(TOPIC)[0]], [f"line {i}" for i in range(5000)], "the topic")
    other.end()


@check("distributed: a new worker knows connectors and offsets from the topics, which are compacted", 120)
def restarted():
    admin = AdminClient({"bootstrap.servers": KAFKA_ADDR})
    for topic in (OFFSETS, CONFIGS, STATUS):
        settings = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)])
        equal(next(iter(settings.values())).result(60)["cleanup.policy"].value, "compact", f"cleanup.policy of {topic}")

    def compacted():
        found, end = records(OFFSETS)
        return len(found) < end / 4 and found

    found = until(compacted, "the offsets topic is compacted", 45, 0.5)
    equal(all(f"source-{RUN}".encode() in key for key, _, _ in found), True, "keys of offsets")
    worker = start("ConnectDistributed", properties("distributed.properties", DISTRIBUTED))
    until(lambda: running(worker, f"source-{RUN}") and running(worker, f"sink-{RUN}"), "both connectors run again", 60)
    write(CAME, 5000, 5500)
    until(lambda: lines(WENT)[-1:] == ["line 5499"], "new lines come through", 60)
    equal([value.decode() for _, value, _ in records(TOPIC)[0]], [f"line {i}" for i in range(5500)], "the topic")
    offsets = ask(worker, "GET", f"/connectors/source-{RUN}/offsets")["offsets"]
    equal(offsets[0]["offset"], {"position": CAME.stat().st_size}, "the source's place")
    until(lambda: tried(worker, "DELETE", f"/connectors/sink-{RUN}"), "the sink is deleted", 60)
    until(lambda: ask(worker, "GET", "/connectors") == [f"source-{RUN}"], "the source alone is there")


main()
