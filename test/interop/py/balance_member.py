"""One member of a classic group, in a process that may be killed: see kafka_balancers.py.

    balance_member.py CLIENT GROUP TOPIC BALANCER,BALANCER [INSTANCE]

What every member prints, in whatever language, a line each:

    held P P ...        the partitions that it holds from now on
    got P FIRST LAST    offsets that it was given
    done P NEXT         what it has committed

It leaves its group when its standard input ends. SESSION_MS in the environment is its session's timeout.
"""

import asyncio
import os
import sys
import threading

from check import KAFKA_ADDR, KAFKA_SASL

SESSION_MS = int(os.environ["SESSION_MS"])
leaving = threading.Event()


def say(*words):
    print(*words, flush=True)


class Holder:
    """What a member holds and has not committed."""

    def __init__(self):
        self.held, self.ends = set(), {}

    def assigned(self, partitions):
        self.held |= set(partitions)
        say("held", *sorted(self.held))

    def revoked(self, partitions):
        self.held -= set(partitions)
        self.ends = {p: end for p, end in self.ends.items() if p in self.held}
        say("held", *sorted(self.held))

    def got(self, messages):
        """messages: (partition, offset) in order"""
        for partition in {p for p, _ in messages}:
            offsets = [o for p, o in messages if p == partition]
            say("got", partition, offsets[0], offsets[-1])
            self.ends[partition] = offsets[-1] + 1

    def done(self):
        for partition, end in self.ends.items():
            say("done", partition, end)
        self.ends = {}


def pure(instance):
    """Settings of kafka-python and of aiokafka, which has them from there."""
    conf = {"bootstrap_servers": KAFKA_ADDR, "auto_offset_reset": "earliest", "enable_auto_commit": False, "session_timeout_ms": SESSION_MS, "heartbeat_interval_ms": 300}
    if KAFKA_SASL:
        user, password = KAFKA_SASL.split(":", 1)
        conf |= {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN", "sasl_plain_username": user, "sasl_plain_password": password}
    return conf | ({"group_instance_id": instance} if instance else {})


def librdkafka(group, topic, balancers, instance):
    from confluent_kafka import Consumer, KafkaException, TopicPartition

    conf = {"bootstrap.servers": KAFKA_ADDR, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False, "session.timeout.ms": SESSION_MS,
            "heartbeat.interval.ms": 300, "partition.assignment.strategy": ",".join(balancers)}
    if KAFKA_SASL:
        user, password = KAFKA_SASL.split(":", 1)
        conf |= {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": user, "sasl.password": password}
    if instance:
        conf["group.instance.id"] = instance
    consumer, holder = Consumer(conf), Holder()

    def commit():
        if holder.ends:
            try:
                consumer.commit(offsets=[TopicPartition(topic, p, end) for p, end in holder.ends.items()], asynchronous=False)
                holder.done()
            except KafkaException as error:  # a rebalance: once more when it is over
                print("commit:", error, file=sys.stderr)

    def revoked(_consumer, partitions):
        commit()
        holder.revoked(p.partition for p in partitions)

    consumer.subscribe([topic], on_assign=lambda _, partitions: holder.assigned(p.partition for p in partitions), on_revoke=revoked,
                       on_lost=lambda _, partitions: holder.revoked(p.partition for p in partitions))
    while not leaving.is_set():
        messages = consumer.consume(100, 0.1)
        for message in messages:
            if message.error():
                print("consume:", message.error(), file=sys.stderr)
        holder.got([(m.partition(), m.offset()) for m in messages if not m.error()])
        commit()
    consumer.close()


def kafka_python(group, topic, balancers, instance):
    from kafka import ConsumerRebalanceListener, KafkaConsumer, OffsetAndMetadata, TopicPartition
    from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
    from kafka.coordinator.assignors.range import RangePartitionAssignor
    from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
    from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
    from kafka.errors import KafkaError

    known = {"range": RangePartitionAssignor, "roundrobin": RoundRobinPartitionAssignor, "sticky": StickyPartitionAssignor, "cooperative-sticky": CooperativeStickyAssignor}
    consumer = KafkaConsumer(group_id=group, partition_assignment_strategy=[known[b] for b in balancers], **pure(instance))
    holder = Holder()

    def commit():
        if holder.ends:
            try:
                consumer.commit({TopicPartition(topic, p): OffsetAndMetadata(end, "", -1) for p, end in holder.ends.items()})
                holder.done()
            except KafkaError as error:  # a rebalance: once more when it is over
                print("commit:", error, file=sys.stderr)

    class Listener(ConsumerRebalanceListener):
        def on_partitions_assigned(self, assigned):
            holder.assigned(p.partition for p in assigned)

        def on_partitions_revoked(self, revoked):
            commit()
            holder.revoked(p.partition for p in revoked)

        def on_partitions_lost(self, lost):
            holder.revoked(p.partition for p in lost)

    consumer.subscribe([topic], listener=Listener())
    while not leaving.is_set():
        holder.got([(m.partition, m.offset) for messages in consumer.poll(timeout_ms=100).values() for m in messages])
        commit()
    consumer.close()


def aiokafka(group, topic, balancers, instance):
    from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
    from aiokafka.coordinator.assignors.range import RangePartitionAssignor
    from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
    from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
    from aiokafka.errors import KafkaError

    known = {"range": RangePartitionAssignor, "roundrobin": RoundRobinPartitionAssignor, "sticky": StickyPartitionAssignor}
    holder = Holder()

    async def run():
        consumer = AIOKafkaConsumer(group_id=group, partition_assignment_strategy=[known[b] for b in balancers], **pure(instance))
        turn = asyncio.Lock()  # a rebalance waits until what was polled is committed (but must not wait for a poll, which waits for it)

        class Listener(ConsumerRebalanceListener):
            async def on_partitions_assigned(self, assigned):
                holder.assigned(p.partition for p in assigned)

            async def on_partitions_revoked(self, revoked):
                async with turn:
                    holder.revoked(p.partition for p in revoked)

        consumer.subscribe([topic], listener=Listener())
        await consumer.start()
        while not leaving.is_set():
            polled = await consumer.getmany(timeout_ms=100)
            async with turn:
                holder.got([(m.partition, m.offset) for messages in polled.values() for m in messages])
                if holder.ends:
                    try:
                        await consumer.commit({TopicPartition(topic, p): end for p, end in holder.ends.items()})
                        holder.done()
                    except KafkaError as error:  # a rebalance: once more when it is over
                        print("commit:", error, file=sys.stderr)
        await consumer.stop()

    asyncio.run(run())


def wait_for_the_end():
    sys.stdin.read()
    leaving.set()


if __name__ == "__main__":
    client, group, topic, balancers, *instance = sys.argv[1:]
    threading.Thread(target=wait_for_the_end, daemon=True).start()
    {"librdkafka": librdkafka, "kafka-python": kafka_python, "aiokafka": aiokafka}[client](group, topic, balancers.split(","), "".join(instance))
