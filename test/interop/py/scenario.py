"""What every Kafka client has to do, whatever its calls are named.

A client program writes an adapter (see Adapter) and calls register(). The
scenario produces records with each codec and reads them back byte for byte and
in order; runs a group of two members through a join, a rebalance and a leave;
and restarts from what was committed.
"""

import random
import threading
import time

from check import RUN, check, equal, name, until

PARTITIONS = 4


class Record:
    """A record as it is sent and, with an offset, as it comes back."""

    __slots__ = ("partition", "key", "value", "headers", "timestamp", "offset")

    def __init__(self, partition, key, value, headers=(), timestamp=0, offset=-1):
        self.partition, self.key, self.value = partition, key, value
        self.headers, self.timestamp, self.offset = list(headers), timestamp, offset

    def content(self):
        return (self.partition, self.key, self.value, self.headers, self.timestamp)


class Member:
    """One group member, polled in a thread of its own until closed."""

    def __init__(self, client):
        self.client, self.records, self.error = client, [], None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            while not self._stop.is_set():
                batch = self.client.poll()
                if batch:
                    self.records.extend(batch)
                    self.client.commit()
            self.client.close()
        except Exception as error:  # told to the check, which is in another thread
            self.error = error

    def assigned(self):
        if self.error:
            raise self.error
        return set(self.client.assigned())

    def close(self):
        self._stop.set()
        self._thread.join(60)
        if self.error:
            raise self.error


class Adapter:
    """What a client program offers. Calls raise on failure."""

    codecs = ()  # names of the codecs, "none" first
    protocols = ("classic",)  # of groups; "consumer" is KIP-848's
    nulls = True  # whether it can send a null header, and a record with neither key nor value

    def create_topic(self, topic, partitions): ...

    def delete_topic(self, topic): ...

    def produce(self, topic, records, codec, idempotent):
        """Sends to the given partitions, waits for all acks, and returns the offsets in order."""

    def read(self, topic, partition, offset, count):
        """`count` records of a partition from an offset, without a group."""

    def bounds(self, topic, partition):
        """(first offset, end offset)"""

    def offset_at(self, topic, partition, timestamp):
        """The offset of the first record with that time or later; None if there is none."""

    def member(self, group, topic, protocol):
        """An object with poll() -> [Record], commit(), assigned() -> partition numbers, close()."""

    def committed(self, group, topic):
        """{partition: offset} as committed."""

    def groups(self):
        """Names of the groups which the broker lists."""


def records(seed, count, nulls):
    """Records with every shape that a client can send, the same for the same seed."""
    rng = random.Random(seed)
    now = int(time.time() * 1000) - count
    out = []
    for i in range(count):
        key = rng.choice([None, b"", b"key-%d" % i, bytes(rng.randrange(256) for _ in range(20))])
        value = rng.choice([None, b"", b"value %d " % i * rng.randrange(1, 30), rng.randbytes(rng.randrange(1, 3000))])
        headers = rng.choice([[], [("h", b"1")], [("a", b"x"), ("a", b"y"), ("\u017e", rng.randbytes(5)), ("null", None if nulls else b"")]])
        if not nulls and key is None and value is None:
            value = b""
        out.append(Record(i % PARTITIONS, key, value, headers, now + i))
    return out


def plain(prefix, count):
    """Small records with distinct values, spread over all partitions."""
    now = int(time.time() * 1000)
    return [Record(i % PARTITIONS, b"k%d" % i, b"%s-%d" % (prefix.encode(), i), [], now) for i in range(count)]


def values(members):
    return sorted(r.value for m in members for r in m.records)


def register(adapter):
    for codec in adapter.codecs:
        for idempotent in (False, True):
            _round_trip(adapter, codec, idempotent)
    for protocol in adapter.protocols:
        _group(adapter, protocol)
    _lookups(adapter)


def _round_trip(adapter, codec, idempotent):
    @check(f"codec {codec}{', idempotent' if idempotent else ''}: what was produced is read back, in order")
    def round_trip():
        topic = name(f"{codec}-{'idempotent' if idempotent else 'plain'}")
        adapter.create_topic(topic, PARTITIONS)
        sent = records(f"{RUN}-{codec}", 400, adapter.nulls)
        offsets = adapter.produce(topic, sent, codec, idempotent)
        equal(len(offsets), len(sent), "acks")
        for partition in range(PARTITIONS):
            want = [r for r in sent if r.partition == partition]
            equal([o for r, o in zip(sent, offsets) if r.partition == partition], list(range(len(want))), "acked offsets")
            got = adapter.read(topic, partition, 0, len(want))
            equal([r.offset for r in got], list(range(len(want))), f"offsets of partition {partition}")
            for g, w in zip(got, want):
                equal(g.content(), w.content(), f"record {g.offset} of partition {partition}")
            middle = adapter.read(topic, partition, 37, 5)
            equal([r.value for r in middle], [r.value for r in want[37:42]], "a read from the middle of a batch")
        adapter.delete_topic(topic)


def _group(adapter, protocol):
    suffix = ", assigned by the broker" if protocol == "consumer" else ""

    @check(f"group of two{suffix}: join, rebalance, leave, restart from the commit", limit=90)
    def group():
        topic, group_id = name(f"grouped-{protocol}"), name(f"group-{protocol}")
        adapter.create_topic(topic, PARTITIONS)
        everything = set(range(PARTITIONS))

        adapter.produce(topic, plain("one", 400), "none", False)
        a = Member(adapter.member(group_id, topic, protocol))
        until(lambda: len(a.records) >= 400, "the first member reads all", 25)
        equal(values([a]), sorted(r.value for r in plain("one", 400)), "the first member's records")
        equal(a.assigned(), everything, "its partitions")

        b = Member(adapter.member(group_id, topic, protocol))
        until(lambda: len(a.assigned()) == 2 and len(b.assigned()) == 2, "both have two partitions", 25)
        equal(a.assigned() | b.assigned(), everything, "all partitions are held")
        a.records.clear()
        adapter.produce(topic, plain("two", 400), "none", False)
        until(lambda: len(a.records) + len(b.records) >= 400, "both read", 15)
        equal(values([a, b]), sorted(r.value for r in plain("two", 400)), "each record once")
        for member in (a, b):
            equal({r.partition for r in member.records}, member.assigned(), "records come from the member's own partitions")
            for partition in member.assigned():
                offsets = [r.offset for r in member.records if r.partition == partition]
                equal(offsets, list(range(100, 200)), f"order in partition {partition}")

        b.close()
        until(lambda: a.assigned() == everything, "the one that stays takes all", 25)
        a.records.clear()
        adapter.produce(topic, plain("three", 40), "none", False)
        until(lambda: len(a.records) >= 40, "it reads on")
        equal(values([a]), sorted(r.value for r in plain("three", 40)), "its records")
        a.close()
        equal(adapter.committed(group_id, topic), {p: 210 for p in everything}, "committed offsets")
        equal(group_id in adapter.groups(), True, "the group is listed")

        adapter.produce(topic, plain("four", 60), "none", False)
        c = Member(adapter.member(group_id, topic, protocol))
        until(lambda: len(c.records) >= 60, "the new member reads", 25)
        time.sleep(0.3)
        equal(values([c]), sorted(r.value for r in plain("four", 60)), "only what came after the commit")
        c.close()
        adapter.delete_topic(topic)


def _lookups(adapter):
    @check("bounds and offsets by time")
    def lookups():
        topic = name("lookups")
        adapter.create_topic(topic, 1)
        start = int(time.time() * 1000) - 10_000
        sent = [Record(0, None, b"%d" % i, [], start + i * 10) for i in range(100)]
        for i in range(0, 100, 20):  # five batches
            adapter.produce(topic, sent[i : i + 20], "none", False)
        equal(adapter.bounds(topic, 0), (0, 100), "bounds")
        for t, want in ((0, 0), (start, 0), (start + 1, 1), (start + 305, 31), (start + 990, 99)):
            equal(adapter.offset_at(topic, 0, t), want, f"offset at {t - start} ms")
        equal(adapter.offset_at(topic, 0, start + 991), None, "offset after the last record")
        adapter.delete_topic(topic)
