"""kafka-python (pure Python)."""

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.admin import NewTopic
from kafka.consumer.subscription_state import ConsumerRebalanceListener

import scenario
from check import KAFKA_ADDR, KAFKA_SASL, check, equal, main, name, until
from scenario import Record


def config(**more):
    conf = {"bootstrap_servers": [KAFKA_ADDR], "client_id": "interop-kafka-python"}
    if KAFKA_SASL:
        user, password = KAFKA_SASL.split(":", 1)
        conf |= {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN", "sasl_plain_username": user, "sasl_plain_password": password}
    return conf | more


def record(message):
    return Record(message.partition, message.key, message.value, list(message.headers), message.timestamp, message.offset)


class GroupMember(ConsumerRebalanceListener):
    def __init__(self, group, topic):
        self.held = set()
        self.consumer = KafkaConsumer(
            **config(group_id=group, auto_offset_reset="earliest", enable_auto_commit=False, session_timeout_ms=30000, heartbeat_interval_ms=500)
        )
        self.consumer.subscribe([topic], listener=self)

    def on_partitions_assigned(self, assigned):
        self.held |= {p.partition for p in assigned}

    def on_partitions_revoked(self, revoked):
        self.held -= {p.partition for p in revoked}

    def on_partitions_lost(self, lost):
        self.on_partitions_revoked(lost)

    def poll(self):
        polled = self.consumer.poll(timeout_ms=200)
        return [record(m) for messages in polled.values() for m in messages]

    def commit(self):
        self.consumer.commit()

    def assigned(self):
        return set(self.held)

    def close(self):
        self.consumer.close()


class KafkaPython(scenario.Adapter):
    codecs = ("none", "gzip", "snappy", "lz4", "zstd")
    nulls = False

    def __init__(self):
        self.admin = KafkaAdminClient(**config())

    def create_topic(self, topic, partitions):
        self.admin.create_topics([NewTopic(topic, partitions, 1)])
        self.admin.wait_for_topics([topic])

    def delete_topic(self, topic):
        self.admin.delete_topics([topic])

    def produce(self, topic, records, codec, idempotent):
        producer = KafkaProducer(
            **config(
                compression_type=None if codec == "none" else codec,
                enable_idempotence=idempotent,
                acks="all",
                linger_ms=5,
                batch_size=8192,
                **({} if idempotent else {"max_in_flight_requests_per_connection": 1}),
            )
        )
        futures = [producer.send(topic, r.value, r.key, r.headers, r.partition, r.timestamp) for r in records]
        offsets = [f.get(timeout=60).offset for f in futures]
        producer.close()
        return offsets

    def reader(self):
        return KafkaConsumer(**config(enable_auto_commit=False, group_id=None))

    def read(self, topic, partition, offset, count):
        consumer, where = self.reader(), TopicPartition(topic, partition)
        consumer.assign([where])
        consumer.seek(where, offset)
        got = []
        while len(got) < count:
            polled = consumer.poll(timeout_ms=60000, max_records=count - len(got))
            if not polled:
                raise AssertionError(f"{len(got)} of {count} records")
            got += map(record, polled[where])
        consumer.close()
        return got

    def bounds(self, topic, partition):
        consumer, where = self.reader(), TopicPartition(topic, partition)
        bounds = (consumer.beginning_offsets([where])[where], consumer.end_offsets([where])[where])
        consumer.close()
        return bounds

    def offset_at(self, topic, partition, timestamp):
        consumer, where = self.reader(), TopicPartition(topic, partition)
        found = consumer.offsets_for_times({where: timestamp})[where]
        consumer.close()
        return None if found is None else found.offset

    def member(self, group, topic, protocol):
        return GroupMember(group, topic)

    def committed(self, group, topic):
        return {p.partition: o.offset for p, o in self.admin.list_group_offsets(group)[group].items() if p.topic == topic}

    def groups(self):
        return [getattr(g, "group_id", None) or g["group_id"] for g in self.admin.list_groups()]


scenario.register(KafkaPython())


@check("transactions: what is committed is read, with the offset of its group; what is aborted is not", 60)
def transactions():
    adapter, topic, group = KafkaPython(), name("transactions"), name("transactions-group")
    adapter.create_topic(topic, 2)
    producer = KafkaProducer(**config(transactional_id=topic, transaction_timeout_ms=30000, linger_ms=5))
    producer.init_transactions()
    for turn in range(6):
        producer.begin_transaction()
        for partition in (0, 1):
            producer.send(topic, f"{'kept' if turn % 3 else 'lost'}-{turn}".encode(), partition=partition)
        producer.send_offsets_to_transaction({TopicPartition(topic, 0): OffsetAndMetadata(turn + 1, "", -1)}, group)
        producer.commit_transaction() if turn % 3 else producer.abort_transaction()
    producer.close()
    equal(adapter.committed(group, topic), {0: 6}, "the offset of the last that was committed")
    consumer = KafkaConsumer(**config(enable_auto_commit=False, group_id=None, isolation_level="read_committed", auto_offset_reset="earliest"))
    consumer.assign([TopicPartition(topic, p) for p in (0, 1)])
    got = []
    until(lambda: got.extend(m for list in consumer.poll(timeout_ms=200).values() for m in list) or len(got) >= 8, "what is committed")
    consumer.poll(timeout_ms=200)
    for partition in (0, 1):
        equal([m.value.decode() for m in got if m.partition == partition], [f"kept-{turn}" for turn in (1, 2, 4, 5)], f"partition {partition}")
    consumer.close()
    adapter.delete_topic(topic)


main()
