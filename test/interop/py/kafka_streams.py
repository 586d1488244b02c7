"""Kafka Streams' word count with exactly_once_v2: killed amid the work, twice, and each word is counted once.

The first argument is a folder with `jars` and `classes`.
"""

import random
import struct
import sys

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from check import KAFKA_ADDR, check, equal, main, name, until
from java import FOLDER, Java

ADMIN = AdminClient({"bootstrap.servers": KAFKA_ADDR})
APPLICATION, INPUT, OUTPUT = name("wordcount"), name("lines"), name("counts")
WORDS = [f"word{i}" for i in range(200)]
LINES, ROUNDS = 6000, 3
expected = dict.fromkeys(WORDS, 0)


def create(topic, partitions):
    ADMIN.create_topics([NewTopic(topic, partitions, 1)])[topic].result(60)


def produce(seed):
    """A third of the lines, in bursts, so that the program has not all of them at once."""
    choice = random.Random(seed)
    producer = Producer({"bootstrap.servers": KAFKA_ADDR, "enable.idempotence": True, "linger.ms": 5})
    for i in range(LINES // ROUNDS):
        words = choice.choices(WORDS, k=5)
        for word in words:
            expected[word] += 1
        producer.produce(INPUT, " ".join(words).encode(), key=str(i).encode(), on_delivery=delivered)
    equal(producer.flush(60), 0, "lines that are not stored")


def delivered(error, _message):
    if error:
        raise AssertionError(f"a line is not stored: {error}")


def counts(topic=OUTPUT):
    """Each word's counts in the order of the topic, as far as they are committed."""
    consumer = Consumer({"bootstrap.servers": KAFKA_ADDR, "group.id": "none", "enable.auto.commit": False, "isolation.level": "read_committed", "enable.partition.eof": True})
    partitions = len(consumer.list_topics(topic, 60).topics[topic].partitions)
    consumer.assign([TopicPartition(topic, p, 0) for p in range(partitions)])
    found, ended = {}, 0
    while ended < partitions:
        message = consumer.poll(60)
        if message is None:
            raise AssertionError(f"{topic} can't be read to its end")
        if message.error():
            ended += 1
        else:
            found.setdefault(message.key().decode(), []).append(struct.unpack(">q", message.value()[-8:])[0])
    consumer.close()
    return found


def start(state):
    classes, jars = f"{sys.argv[1]}/classes", f"{sys.argv[1]}/jars/*"
    return Java("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{classes}:{jars}", "WordCount", KAFKA_ADDR, APPLICATION, INPUT, OUTPUT, FOLDER / state)


def total(found):
    return sum(each[-1] for each in found.values())


@check("counts are right when the program is killed in the middle, and begins with its state or without", 140)
def exact():
    create(INPUT, 3)
    create(OUTPUT, 2)
    for turn, state in enumerate(("first", "first", "second")):
        program = start(state)
        before = 5 * LINES // ROUNDS * turn
        produce(turn)
        if turn < ROUNDS - 1:
            until(lambda least=before: total(counts()) > least, "it counts", 60, 0.05)
            program.crash()
        else:
            until(lambda: program.said() and total(counts()) >= 5 * LINES, "all is counted", 60, 0.1)
    program.end()
    found = counts()
    equal({word: each[-1] for word, each in found.items()}, expected, "counts")
    equal([word for word, each in found.items() if each != list(range(1, len(each) + 1))], [], "words that were not counted one by one")


@check("the changelog is a compacted topic, and holds the same counts", 40)
def changelog():
    topic = f"{APPLICATION}-counts-changelog"
    settings = ADMIN.describe_configs([ConfigResource(ResourceType.TOPIC, topic)])
    equal(next(iter(settings.values())).result(60)["cleanup.policy"].value, "compact", "cleanup.policy")
    equal({word: each[-1] for word, each in counts(topic).items()}, expected, "counts")


main()
