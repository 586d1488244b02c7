"""Kafka clients of the days of Kafka 1.0, as they take this broker for one of 0.8.2 to 1.0: no ApiVersions, message sets, the first versions of all else.

    kafka_old.py confluent_kafka | kafka
"""

import sys

from check import KAFKA_ADDR, KAFKA_SASL, check, equal, main, name, until

MESSAGES = 60


class Librdkafka:
    """librdkafka 0.11.6, by confluent-kafka."""

    ages = ("0.8.2.0", "0.9.0", "0.10.2.0", "1.0.0", "asked")
    codecs = ("none", "gzip", "snappy", "lz4")

    def conf(self, age, **more):
        conf = {"bootstrap.servers": KAFKA_ADDR, "client.id": "interop-old"}
        if age == "asked":
            conf["api.version.request"] = True
        else:
            conf.update({"api.version.request": False, "broker.version.fallback": age})
        if KAFKA_SASL:
            user, password = KAFKA_SASL.split(":", 1)
            conf.update({"security.protocol": "SASL_PLAINTEXT", "sasl.mechanisms": "PLAIN", "sasl.username": user, "sasl.password": password})
        conf.update({key.replace("_", "."): value for key, value in more.items()})
        return conf

    def create(self, topic, partitions):
        from confluent_kafka.admin import AdminClient, NewTopic

        admin = AdminClient(self.conf("asked"))  # it has to live until the answer
        admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(60)

    def produce(self, age, topic, codec, values):
        from confluent_kafka import Producer

        errors = []
        producer = Producer(self.conf(age, compression_codec=codec, queue_buffering_max_ms=5, max_in_flight=1, request_required_acks=-1))
        for value in values:
            producer.produce(topic, value, b"key", 0, on_delivery=lambda error, _: error and errors.append(error))
        equal(producer.flush(60), 0, "messages that were not sent")
        equal(errors, [], "refused")

    def read(self, age, topic, count):
        from confluent_kafka import Consumer, TopicPartition

        consumer = Consumer(self.conf(age, group_id=name("none"), enable_auto_commit=False))
        consumer.assign([TopicPartition(topic, 0, 0)])
        got = []
        until(lambda: got.extend(m for m in consumer.consume(count - len(got), 0.5) if not m.error()) or len(got) >= count, "messages")
        consumer.close()
        return [(m.offset(), m.key(), m.value()) for m in got]

    def group(self, age, topic, group, count):
        from confluent_kafka import Consumer

        consumer = Consumer(self.conf(age, group_id=group, enable_auto_commit=False, auto_offset_reset="earliest", session_timeout_ms=30000))
        consumer.subscribe([topic])
        got = []
        until(lambda: got.extend(m for m in consumer.consume(count - len(got), 0.5) if not m.error()) or len(got) >= count, "messages of the group")
        consumer.commit(asynchronous=False)
        consumer.close()
        return [m.value() for m in got]

    def committed(self, age, topic, group):
        from confluent_kafka import Consumer, TopicPartition

        consumer = Consumer(self.conf(age, group_id=group, enable_auto_commit=False))
        (found,) = consumer.committed([TopicPartition(topic, 0)], 60)
        consumer.close()
        return found.offset

    groups = staticmethod(lambda age: age != "0.8.2.0")


class KafkaPython:
    """kafka-python 1.4.7, and kafka-python-ng."""

    ages = ((0, 8, 2), (0, 9), (0, 10), (0, 10, 1), (0, 11), (1, 0, 0), None)
    codecs = ("none", "gzip", "snappy", "lz4")

    def conf(self, age, **more):
        conf = {"bootstrap_servers": [KAFKA_ADDR], "client_id": "interop-old", "api_version": age}
        if KAFKA_SASL:
            user, password = KAFKA_SASL.split(":", 1)
            conf.update({"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN", "sasl_plain_username": user, "sasl_plain_password": password})
        conf.update(more)
        return conf

    def create(self, topic, partitions):
        from kafka import KafkaAdminClient
        from kafka.admin import NewTopic

        admin = KafkaAdminClient(**self.conf(None))
        admin.create_topics([NewTopic(topic, partitions, 1)])
        admin.close()

    def produce(self, age, topic, codec, values):
        from kafka import KafkaProducer

        producer = KafkaProducer(
            **self.conf(age, compression_type=None if codec == "none" else codec, linger_ms=5, acks="all", max_in_flight_requests_per_connection=1)
        )
        sent = [producer.send(topic, value, b"key", partition=0) for value in values]
        for future in sent:
            future.get(timeout=60)
        producer.close()

    def consumer(self, age, **more):
        from kafka import KafkaConsumer

        return KafkaConsumer(**self.conf(age, enable_auto_commit=False, auto_offset_reset="earliest", **more))

    def poll(self, consumer, count):
        got = []
        until(lambda: got.extend(m for batch in consumer.poll(500, count - len(got)).values() for m in batch) or len(got) >= count, "messages")
        return got

    def read(self, age, topic, count):
        from kafka import TopicPartition

        consumer = self.consumer(age, group_id=None)
        consumer.assign([TopicPartition(topic, 0)])
        consumer.seek(TopicPartition(topic, 0), 0)
        got = self.poll(consumer, count)
        consumer.close()
        return [(m.offset, m.key, m.value) for m in got]

    def group(self, age, topic, group, count):
        consumer = self.consumer(age, group_id=group, session_timeout_ms=30000, heartbeat_interval_ms=500)
        consumer.subscribe([topic])
        got = self.poll(consumer, count)
        consumer.commit()
        consumer.close()
        return [m.value for m in got]

    def committed(self, age, topic, group):
        from kafka import TopicPartition

        consumer = self.consumer(age, group_id=group)
        found = consumer.committed(TopicPartition(topic, 0))
        consumer.close()
        return found

    groups = staticmethod(lambda age: age is None or age >= (0, 9))


client = {"confluent_kafka": Librdkafka, "kafka": KafkaPython}[sys.argv[1]]()
library = __import__(sys.argv[1])
version = library.libversion()[0] if sys.argv[1] == "confluent_kafka" else library.__version__


def register(age):
    title = {None: "as it finds out", "asked": "as it finds out"}.get(age) or "as of " + (age if isinstance(age, str) else ".".join(map(str, age)))

    @check("{} {}: each codec, read back; a group and its offsets".format(version, title), limit=60)
    def old():
        topic = name("old-{}".format(title.replace(" ", "")))
        client.create(topic, 1)
        want = []
        for codec in client.codecs:
            if codec == "lz4" and title in ("as of 0.8.2", "as of 0.9", "as of 0.8.2.0", "as of 0.9.0"):
                continue  # framed otherwise in those days, and refused by the client or by us
            values = ["{} {}".format(codec, i).encode() for i in range(MESSAGES)]
            client.produce(age, topic, codec, values)
            want += values
        equal(client.read(age, topic, len(want)), [(i, b"key", value) for i, value in enumerate(want)], "read back")
        if not client.groups(age):
            return
        group = topic + "-group"
        equal(client.group(age, topic, group, len(want)), want, "the group's messages")
        equal(client.committed(age, topic, group), len(want), "committed")


for each in client.ages:
    register(each)
main()
