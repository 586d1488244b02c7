"""aiokafka (asyncio): the same scenario, run on an event loop of its own thread."""

import asyncio
import threading

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

import scenario
from check import KAFKA_ADDR, KAFKA_SASL, check, equal, main, name
from scenario import Record

loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()


def run(coroutine, limit=35):
    return asyncio.run_coroutine_threadsafe(coroutine, loop).result(limit)


def config(**more):
    conf = {"bootstrap_servers": KAFKA_ADDR, "client_id": "interop-aiokafka"}
    if KAFKA_SASL:
        user, password = KAFKA_SASL.split(":", 1)
        conf |= {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN", "sasl_plain_username": user, "sasl_plain_password": password}
    return conf | more


def record(message):
    return Record(message.partition, message.key, message.value, list(message.headers), message.timestamp, message.offset)


class GroupMember(ConsumerRebalanceListener):
    def __init__(self, group, topic):
        self.held = set()
        run(self.start(group, topic))

    async def start(self, group, topic):
        self.consumer = AIOKafkaConsumer(
            **config(group_id=group, auto_offset_reset="earliest", enable_auto_commit=False, session_timeout_ms=30000, heartbeat_interval_ms=500)
        )
        self.consumer.subscribe([topic], listener=self)
        await self.consumer.start()

    def on_partitions_assigned(self, assigned):
        self.held |= {p.partition for p in assigned}

    def on_partitions_revoked(self, revoked):
        self.held -= {p.partition for p in revoked}

    def poll(self):
        polled = run(self.consumer.getmany(timeout_ms=200))
        return [record(m) for messages in polled.values() for m in messages]

    def commit(self):
        run(self.consumer.commit())

    def assigned(self):
        return set(self.held)

    def close(self):
        run(self.consumer.stop())


class AIOKafka(scenario.Adapter):
    codecs = ("none", "gzip", "snappy", "lz4", "zstd")
    nulls = False

    def __init__(self):
        async def start():
            self.admin = AIOKafkaAdminClient(**config())
            await self.admin.start()

        run(start())

    def create_topic(self, topic, partitions):
        run(self.admin.create_topics([NewTopic(topic, partitions, 1)]))

    def delete_topic(self, topic):
        run(self.admin.delete_topics([topic]))

    def produce(self, topic, records, codec, idempotent):
        async def send():
            producer = AIOKafkaProducer(**config(compression_type=None if codec == "none" else codec, enable_idempotence=idempotent, acks="all", linger_ms=5))
            await producer.start()
            sent = [await producer.send(topic, r.value, r.key, r.partition, r.timestamp, r.headers) for r in records]
            offsets = [(await each).offset for each in sent]
            await producer.stop()
            return offsets

        return run(send())

    def with_reader(self, use):
        async def do():
            consumer = AIOKafkaConsumer(**config(enable_auto_commit=False, group_id=None))
            await consumer.start()
            try:
                return await use(consumer)
            finally:
                await consumer.stop()

        return run(do())

    def read(self, topic, partition, offset, count):
        async def use(consumer):
            where, got = TopicPartition(topic, partition), []
            consumer.assign([where])
            consumer.seek(where, offset)
            while len(got) < count:
                polled = await consumer.getmany(timeout_ms=60000, max_records=count - len(got))
                if not polled:
                    raise AssertionError(f"{len(got)} of {count} records")
                got += map(record, polled[where])
            return got

        return self.with_reader(use)

    def bounds(self, topic, partition):
        async def use(consumer):
            where = TopicPartition(topic, partition)
            return (await consumer.beginning_offsets([where]))[where], (await consumer.end_offsets([where]))[where]

        return self.with_reader(use)

    def offset_at(self, topic, partition, timestamp):
        async def use(consumer):
            where = TopicPartition(topic, partition)
            found = (await consumer.offsets_for_times({where: timestamp}))[where]
            return None if found is None else found.offset

        return self.with_reader(use)

    def member(self, group, topic, protocol):
        return GroupMember(group, topic)

    def committed(self, group, topic):
        return {p.partition: o.offset for p, o in run(self.admin.list_consumer_group_offsets(group)).items() if p.topic == topic}

    def groups(self):
        return [g[0] for g in run(self.admin.list_consumer_groups())]


adapter = AIOKafka()
scenario.register(adapter)


@check("transactions: what is committed is read with its group's offset, what is aborted is not")
def transactions():
    topic, group = name("tx"), name("tx-group")
    adapter.create_topic(topic, 1)

    async def turns():
        producer = AIOKafkaProducer(**config(transactional_id=topic))
        await producer.start()
        for turn in range(6):
            await producer.begin_transaction()
            for i in range(10):
                await producer.send_and_wait(topic, b"%d-%d" % (turn, i), partition=0)
            if turn % 2 == 0:
                await producer.send_offsets_to_transaction({TopicPartition(topic, 0): turn + 1}, group)
                await producer.commit_transaction()
            else:
                await producer.abort_transaction()
        await producer.stop()
        consumer = AIOKafkaConsumer(topic, **config(isolation_level="read_committed", auto_offset_reset="earliest", group_id=None))
        await consumer.start()
        got = []
        while len(got) < 30:
            got += [m.value for batch in (await consumer.getmany(timeout_ms=5000)).values() for m in batch]
        await consumer.stop()
        return got

    equal(run(turns()), [b"%d-%d" % (turn, i) for turn in (0, 2, 4) for i in range(10)], "committed")
    equal(adapter.committed(group, topic), {0: 5}, "the group's offset")


main()
