"""Clients in Python of other makes: pykafka, as of each age of Kafka that it knows, and Quix Streams with exactly-once.

They log in as nobody: neither is told of KAFKA_SASL.
"""

import os
import tempfile

from confluent_kafka import Consumer
from pykafka import KafkaClient
from quixstreams import Application

from check import KAFKA_ADDR, check, equal, main, name, until

MESSAGES = 50


def by_pykafka(age):
    @check(f"pykafka as of {age}: a topic made by asking for it, each codec, a consumer that goes on from its commit, a group")
    def round_trip():
        client = KafkaClient(hosts=KAFKA_ADDR, broker_version=age)  # its topics only refer to it
        topic = client.topics[name(f"pykafka-{age}").encode()]
        group, want = name(f"pykafka-group-{age}").encode(), []
        for codec in (0, 1, 2):  # none, gzip, snappy
            with topic.get_producer(compression=codec, linger_ms=10) as producer:
                for i in range(MESSAGES):
                    want.append(b"%d-%d" % (codec, i))
                    producer.produce(want[-1], partition_key=b"k")

        def take(consumer, count):
            got = []
            until(lambda: got.append(consumer.consume(block=True).value) or len(got) >= count, "messages")
            consumer.commit_offsets()
            consumer.stop()
            return got

        def consumer():
            return topic.get_simple_consumer(consumer_group=group, auto_commit_enable=False, consumer_timeout_ms=10_000)

        equal(take(consumer(), 60), want[:60], "the first messages")
        equal(take(consumer(), 90), want[60:], "those behind the commit")
        if age >= "0.9":
            member = topic.get_balanced_consumer(name(f"pykafka-managed-{age}").encode(), managed=True, auto_commit_enable=False, consumer_timeout_ms=10_000)
            equal(take(member, 150), want, "what a member of a group gets")


for age in ("0.8.2", "1.0.0", "2.0.0"):
    by_pykafka(age)


@check("Quix Streams counts by key with exactly-once, its state in a changelog", 60)
def quix():
    app = Application(broker_address=KAFKA_ADDR, consumer_group=name("quix"), auto_offset_reset="earliest", processing_guarantee="exactly-once",
                      state_dir=tempfile.mkdtemp(dir=os.environ.get("TMPDIR")), commit_interval=0.5, loglevel="ERROR")
    source, target = app.topic(name("quix-in"), value_deserializer="json", value_serializer="json"), app.topic(name("quix-out"), value_serializer="json")
    with app.get_producer() as producer:
        for i in range(300):
            message = source.serialize(key=f"k{i % 5}", value={"n": i})
            producer.produce(source.name, key=message.key, value=message.value)

    def count(_value, state):
        state.set("times", state.get("times", 0) + 1)
        return state.get("times")

    app.dataframe(source).apply(count, stateful=True).to_topic(target)
    app.run(count=300, timeout=30)
    consumer, got = Consumer({"bootstrap.servers": KAFKA_ADDR, "group.id": name("quix-check"), "auto.offset.reset": "earliest", "isolation.level": "read_committed"}), []
    consumer.subscribe([target.name])
    until(lambda: got.extend(m.value() for m in consumer.consume(100, 0.5) if not m.error()) or len(got) >= 300, "counts")
    equal(sorted(map(int, got)), sorted(i // 5 + 1 for i in range(300)), "counts")
    consumer.close()


main()
