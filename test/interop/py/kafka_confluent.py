"""librdkafka, through confluent-kafka."""

import json
import threading
import time

from confluent_kafka import AcknowledgeType, Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, Producer, ShareConsumer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic

import scenario
from check import KAFKA_ADDR, KAFKA_SASL, check, equal, main, name, until
from scenario import Record


def config(**more):
    conf = {"bootstrap.servers": KAFKA_ADDR, "client.id": "interop-confluent"}
    if KAFKA_SASL:
        user, password = KAFKA_SASL.split(":", 1)
        conf |= {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": user, "sasl.password": password}
    return conf | {key.replace("_", "."): value for key, value in more.items()}


def record(message):
    return Record(message.partition(), message.key(), message.value(), message.headers() or [], message.timestamp()[1], message.offset())


class GroupMember:
    def __init__(self, group, topic, protocol):
        assigned = {"group_protocol": "consumer"}  # where the broker says the rest
        if protocol == "classic":
            assigned = {"session_timeout_ms": 30000, "heartbeat_interval_ms": 500, "partition_assignment_strategy": "range"}
        self.consumer = Consumer(config(group_id=group, auto_offset_reset="earliest", enable_auto_commit=False, **assigned))
        self.held = set()
        self.consumer.subscribe([topic], on_assign=self.on_assign, on_revoke=self.on_revoke)

    def on_assign(self, _consumer, partitions):
        self.held |= {p.partition for p in partitions}

    def on_revoke(self, _consumer, partitions):
        self.held -= {p.partition for p in partitions}

    def poll(self):
        batch = []
        for message in self.consumer.consume(100, timeout=0.2):
            if message.error():
                raise KafkaException(message.error())
            batch.append(record(message))
        return batch

    def commit(self):
        self.consumer.commit(asynchronous=False)

    def assigned(self):
        return self.held

    def close(self):
        self.consumer.close()


class Confluent(scenario.Adapter):
    codecs = ("none", "gzip", "snappy", "lz4", "zstd")
    protocols = ("classic", "consumer")

    def __init__(self):
        self.admin = AdminClient(config())

    def create_topic(self, topic, partitions):
        self.admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(60)
        # Another node of a cluster may hear of it a moment later.
        while len(self.admin.list_topics(topic, 60).topics[topic].partitions) != partitions:
            time.sleep(0.05)

    def delete_topic(self, topic):
        self.admin.delete_topics([topic])[topic].result(60)

    def produce(self, topic, records, codec, idempotent):
        conf = config(compression_type=codec, enable_idempotence=idempotent, acks="all", linger_ms=5, batch_num_messages=50)
        if not idempotent:
            conf["max.in.flight"] = 1  # or a retry may change the order, on any broker
        producer = Producer(conf)
        offsets, errors = [None] * len(records), []

        def delivered(i):
            def done(error, message):
                if error:
                    errors.append(error)
                else:
                    offsets[i] = message.offset()

            return done

        for i, r in enumerate(records):
            producer.produce(topic, r.value, r.key, r.partition, on_delivery=delivered(i), timestamp=r.timestamp, headers=r.headers)
        equal(producer.flush(60), 0, "records that were not sent")
        if errors:
            raise KafkaException(errors[0])
        return offsets

    def reader(self):
        return Consumer(config(group_id=name("unused"), enable_auto_commit=False))

    def read(self, topic, partition, offset, count):
        consumer = self.reader()
        consumer.assign([TopicPartition(topic, partition, offset)])
        got = []
        while len(got) < count:
            messages = consumer.consume(count - len(got), timeout=60)
            if not messages:
                raise AssertionError(f"{len(got)} of {count} records")
            got += [record(m) for m in messages if not m.error()]
        consumer.close()
        return got

    def bounds(self, topic, partition):
        consumer = self.reader()
        bounds = consumer.get_watermark_offsets(TopicPartition(topic, partition), 60)
        consumer.close()
        return bounds

    def offset_at(self, topic, partition, timestamp):
        consumer = self.reader()
        (found,) = consumer.offsets_for_times([TopicPartition(topic, partition, timestamp)], 60)
        consumer.close()
        return None if found.offset < 0 else found.offset

    def member(self, group, topic, protocol):
        return GroupMember(group, topic, protocol)

    def committed(self, group, topic):
        wanted = [TopicPartition(topic, p) for p in range(scenario.PARTITIONS)]
        result = self.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group, wanted)])[group].result(60)
        return {p.partition: p.offset for p in result.topic_partitions}

    def groups(self):
        return [g.group_id for g in self.admin.list_consumer_groups().result(60).valid]


@check("static members keep their partitions over a restart")
def static_members():
    topic, group = name("static"), name("static-group")
    adapter.create_topic(topic, 2)

    def join(instance):
        member = GroupMember.__new__(GroupMember)
        member.held = set()
        member.consumer = Consumer(
            config(group_id=group, group_instance_id=instance, auto_offset_reset="earliest", session_timeout_ms=30000, heartbeat_interval_ms=500)
        )
        member.consumer.subscribe([topic], on_assign=member.on_assign, on_revoke=member.on_revoke)
        return member

    one, two = join("one"), join("two")
    end = time.monotonic() + 20
    while not (len(one.held) == len(two.held) == 1):
        one.poll(), two.poll()
        if time.monotonic() > end:
            raise AssertionError(f"one holds {one.held}, two holds {two.held}")
    held = set(one.held)
    one.close()  # a static member does not leave
    again = join("one")
    end = time.monotonic() + 20
    while again.held != held:
        again.poll(), two.poll()
        if time.monotonic() > end:
            raise AssertionError(f"it held {held} before, {again.held} after")
    equal(len(two.held), 1, "the other was not disturbed")
    again.close(), two.close()
    adapter.delete_topic(topic)


@check("codecs are used on the wire, not dropped for want of a version")
def on_the_wire():
    topic = name("wire")
    adapter.create_topic(topic, 1)
    sizes = {}
    for codec in adapter.codecs:
        stats = []
        producer = Producer(config(compression_type=codec, linger_ms=50, statistics_interval_ms=50) | {"stats_cb": stats.append})
        for _ in range(100):
            producer.produce(topic, b"z" * 10_000)
        equal(producer.flush(60), 0, "records that were not sent")
        seen = len(stats)
        until(lambda: producer.poll(0.05) is not None and len(stats) > seen + 1, "statistics")
        sizes[codec] = sum(b["txbytes"] for b in json.loads(stats[-1])["brokers"].values())
    equal(sizes["none"] > 1_000_000, True, f"a million bytes were sent: {sizes}")
    equal([c for c, n in sizes.items() if c != "none" and n > 200_000], [], f"codecs that were not used; bytes sent: {sizes}")
    adapter.delete_topic(topic)


@check("transactions: a copy with its offsets, of which some are aborted, arrives once and in order; a zombie is fenced")
def transactions():
    source, target, group = name("tx-in"), name("tx-out"), name("tx-group")
    for topic in (source, target):
        adapter.create_topic(topic, 1)
    feeder = Producer(config())
    for i in range(100):
        feeder.produce(source, str(i))
    equal(feeder.flush(60), 0, "records that were not sent")

    def transactional():
        producer = Producer(config(transactional_id=target, transaction_timeout_ms=10_000, linger_ms=5))
        producer.init_transactions(60)
        return producer

    def reader(topic, group, isolation="read_committed"):
        consumer = Consumer(config(group_id=group, auto_offset_reset="earliest", enable_auto_commit=False, isolation_level=isolation))
        consumer.subscribe([topic])
        return consumer

    producer, turn, copied = transactional(), 0, 0
    while copied < 100:
        consumer = reader(source, group)  # begins where the last commit was
        batch = []
        until(lambda: batch.extend(m for m in consumer.consume(10, 0.5) if not m.error()) or batch, "records")
        producer.begin_transaction()
        for m in batch:
            producer.produce(target, m.value())
        producer.send_offsets_to_transaction(consumer.position(consumer.assignment()), consumer.consumer_group_metadata(), 60)
        turn += 1
        if turn % 3 == 0:
            producer.abort_transaction(60)
        else:
            producer.commit_transaction(60)
            copied += len(batch)
        consumer.close()
    equal(turn > 3, True, "some were aborted")

    consumer, seen = reader(target, group + "-check"), []
    until(lambda: seen.extend(int(m.value()) for m in consumer.consume(200, 0.5) if not m.error()) or len(seen) >= 100, "copies")
    equal(seen, list(range(100)), "copies")
    consumer.close()

    producer.begin_transaction()
    producer.produce(target, "zombie")
    producer.flush(60)
    heir = transactional()
    try:
        producer.commit_transaction(60)
        raise AssertionError("the zombie commits")
    except KafkaException as error:
        equal(error.args[0].fatal() or error.args[0].txn_requires_abort(), True, f"the zombie hears {error}")
    heir.begin_transaction()
    heir.produce(target, "100")
    heir.commit_transaction(60)
    consumer, last = reader(target, group + "-heir"), []
    until(lambda: last.extend(m.value() for m in consumer.consume(200, 0.5) if not m.error()) or len(last) >= 101, "the heir's")
    equal(last[100:], [b"100"], "behind the copies")
    consumer.close()
    for topic in (source, target):
        adapter.delete_topic(topic)


@check("share group of two: each record to one of them, what is released comes again, what is rejected does not")
def share_group():
    topic, group = name("share"), name("share-group")
    adapter.create_topic(topic, 2)
    earliest = ConfigResource(ConfigResource.Type.GROUP, group, incremental_configs=[ConfigEntry("share.auto.offset.reset", "earliest", incremental_operation=AlterConfigOpType.SET)])
    adapter.admin.incremental_alter_configs([earliest])[earliest].result(60)
    members = [ShareConsumer(config(group_id=group, share_acknowledgement_mode="explicit")) for _ in range(2)]
    for member in members:
        member.subscribe([topic])
    producer = Producer(config())
    for i in range(200):
        producer.produce(topic, str(i), partition=i % 2)
    equal(producer.flush(60), 0, "records that were not sent")
    accepted, released, rejected = [], set(), set()

    def work():
        for member in members:
            for message in member.poll(0.3):
                if message.error():
                    raise KafkaException(message.error())
                value = int(message.value())
                if value % 10 == 3 and value not in released:
                    released.add(value)
                    member.acknowledge(message, AcknowledgeType.RELEASE)
                elif value % 10 == 7:
                    equal(value in rejected, False, f"{value} was rejected before")
                    rejected.add(value)
                    member.acknowledge(message, AcknowledgeType.REJECT)
                else:
                    accepted.append(value)
                    member.acknowledge(message)
        return len(accepted) + len(rejected) >= 200

    until(work, "all records", 30)
    for member in members:
        member.close()
    equal(sorted(accepted), [i for i in range(200) if i % 10 != 7], "taken, each once")
    equal((len(released), len(rejected)), (20, 20), "released and rejected")
    adapter.delete_topic(topic)


@check("errors carry Kafka's codes")
def errors():
    topic = name("errors")
    adapter.create_topic(topic, 1)
    for want, call in (
        (KafkaError.TOPIC_ALREADY_EXISTS, lambda: adapter.admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(60)),
        (KafkaError.INVALID_PARTITIONS, lambda: adapter.admin.create_topics([NewTopic(topic + "0", 0, 1)])[topic + "0"].result(60)),
        (KafkaError.TOPIC_EXCEPTION, lambda: adapter.admin.create_topics([NewTopic("a/b", 1, 1)])["a/b"].result(60)),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, lambda: adapter.admin.delete_topics([name("missing")])[name("missing")].result(60)),
    ):
        try:
            call()
            raise AssertionError(f"no error {want}")
        except KafkaException as error:
            equal(error.args[0].code(), want, "code")
    adapter.delete_topic(topic)


class Migrant(threading.Thread):
    """A member of a group under migration. It commits what it has taken now and then, and before it gives a partition back."""

    def __init__(self, group, topic, got, **how):
        super().__init__()
        self.topic, self.got, self.leaves, self.failed = topic, got, threading.Event(), None
        self.held, self.taken, self.lost = set(), {}, 0
        self.consumer = Consumer(config(group_id=group, auto_offset_reset="earliest", enable_auto_commit=False, **how))
        self.consumer.subscribe([topic], on_assign=self.on_assign, on_revoke=self.on_revoke, on_lost=self.on_lost)
        self.start()

    def on_assign(self, _consumer, partitions):
        self.held |= {p.partition for p in partitions}

    def on_revoke(self, _consumer, partitions):
        self.commit({p.partition for p in partitions})
        self.held -= {p.partition for p in partitions}

    def on_lost(self, _consumer, partitions):
        self.lost += 1
        self.held -= {p.partition for p in partitions}

    def run(self):
        try:
            while not self.leaves.is_set():
                message = self.consumer.poll(0.05)
                if message is not None and not message.error():
                    self.got.append((message.partition(), message.offset()))
                    self.taken[message.partition()] = message.offset() + 1
                    if message.offset() % 100 == 0:
                        self.commit(self.held)
            self.consumer.close()
        except Exception as error:  # told by stop
            self.failed = error

    def commit(self, partitions):
        for attempt in range(50):  # a member that does not know of its newest epoch, or generation, yet is told so
            ends = [TopicPartition(self.topic, p, o) for p, o in self.taken.items() if p in partitions]
            try:
                if ends:
                    self.consumer.commit(offsets=ends, asynchronous=False)
                self.taken = {p: o for p, o in self.taken.items() if p not in partitions}
                return
            except KafkaException as error:
                if error.args[0].code() not in (KafkaError.STALE_MEMBER_EPOCH, KafkaError.ILLEGAL_GENERATION) or attempt == 49:
                    raise
                time.sleep(0.1)

    def stop(self):
        self.leaves.set()
        self.join(60)
        equal((self.is_alive(), self.failed, self.lost), (False, None, 0), "the member's end")


def migrate(assignor):
    topic, group = name(f"migrate-{assignor}"), name(f"migrants-{assignor}")
    adapter.create_topic(topic, 6)
    got, sent, over = [], [], threading.Event()

    def produce():
        producer = Producer(config(linger_ms=5))
        while not over.is_set():
            for partition in range(6):
                producer.produce(topic, b"x", partition=partition, on_delivery=lambda _error, m: sent.append((m.partition(), m.offset())))
            producer.poll(0)
            time.sleep(0.01)
        producer.flush(60)

    source = threading.Thread(target=produce)
    source.start()
    classic = {"session_timeout_ms": 30000, "heartbeat_interval_ms": 300, "partition_assignment_strategy": assignor}
    anew = {"group_protocol": "consumer"}

    def settled(members):
        until(lambda: any(m.failed for m in members) or all(m.held for m in members) and sum(len(m.held) for m in members) == 6, "partitions", seconds=20)
        equal([m.failed for m in members if m.failed], [], "members that failed")

    members = [Migrant(group, topic, got, **classic) for _ in range(2)]
    settled(members)
    for how, kind in ((anew, "CONSUMER"), (classic, "CLASSIC")):  # over, one by one, and back
        for _ in range(2):
            members.append(Migrant(group, topic, got, **how))
            settled(members)
            members.pop(0).stop()
            settled(members)
        described = adapter.admin.describe_consumer_groups([group])[group].result(60)
        equal((described.type.name, len(described.members)), (kind, 2), "the group")
    over.set()
    source.join()
    until(lambda: len(set(got)) >= len(sent), "what was sent", seconds=20)
    for m in members:
        m.stop()
    equal(len(set(sent) - set(got)), 0, "lost")
    equal(len(got) - len(set(got)), 0, "delivered twice")
    adapter.delete_topic(topic)


@check("a group goes over to the consumer protocol and back, eagerly", limit=60)
def migrate_eagerly():
    migrate("range")


@check("a group goes over to the consumer protocol and back, cooperating", limit=60)
def migrate_cooperating():
    migrate("cooperative-sticky")


adapter = Confluent()
scenario.register(adapter)
main()
