import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.AcknowledgeType;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.InvalidProducerEpochException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.errors.SaslAuthenticationException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Apache Kafka's Java client: produce, read back, groups, commits, admin. */
public final class KafkaClient {
    private static final int PARTITIONS = 4;
    private static Admin admin;

    public static void main(String[] args) {
        admin = Admin.create(config(Map.of()));
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            for (boolean idempotent : new boolean[] {false, true}) {
                Check.add("codec " + codec + (idempotent ? ", idempotent" : "") + ": what was produced is read back, in order", 40,
                    () -> roundTrip(codec, idempotent));
            }
        }
        Check.add("group of two, eager: join, rebalance, leave, restart from the commit", 90,
            () -> group("org.apache.kafka.clients.consumer.RangeAssignor"));
        Check.add("group of two, cooperative: join, rebalance, leave, restart from the commit", 90,
            () -> group("org.apache.kafka.clients.consumer.CooperativeStickyAssignor"));
        Check.add("group of two, assigned by the broker: join, rebalance, leave, restart from the commit", 90, () -> group("consumer"));
        Check.add("share group of two: each record once, released ones again, rejected ones not", 40, KafkaClient::sharing);
        Check.add("transactions: a copy with its offsets, of which some are aborted, arrives once and in order; a zombie is fenced", 60,
            KafkaClient::transactions);
        Check.add("bounds and offsets by time", 30, KafkaClient::lookups);
        Check.add("admin: describe, configure, add partitions, delete records, delete group", 40, KafkaClient::administration);
        for (String mechanism : List.of("SCRAM-SHA-256", "SCRAM-SHA-512")) {
            if (!Check.SCRAM.isEmpty()) { // only a broker that is Leveret has them as it comes
                Check.add(mechanism + ": the right password gets in, a wrong one does not", 40, () -> logins(mechanism));
            }
        }
        Check.main();
    }

    /** What Kafka's own TransactionalMessageCopier does: read, write and commit the offsets, in transactions. */
    private static void transactions() throws Exception {
        String source = Check.name("tx-in"), target = Check.name("tx-out");
        createTopic(source, 1);
        createTopic(target, 1);
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (int i = 0; i < 200; i++) {
            records.add(new ProducerRecord<>(source, String.valueOf(i).getBytes(StandardCharsets.UTF_8)));
        }
        produce(records, "none", true);
        KafkaProducer<byte[], byte[]> producer = transactional(target);
        TopicPartition from = new TopicPartition(source, 0);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of("group.id", target, "isolation.level", "read_committed", "max.poll.records", 20))) {
            consumer.subscribe(List.of(source));
            int copied = 0;
            for (int turn = 1; copied < 200; ) {
                List<ConsumerRecord<byte[], byte[]>> batch = new ArrayList<>();
                consumer.poll(Duration.ofMillis(200)).forEach(batch::add);
                if (batch.isEmpty()) {
                    continue;
                }
                producer.beginTransaction();
                for (ConsumerRecord<byte[], byte[]> r : batch) {
                    producer.send(new ProducerRecord<>(target, r.value()));
                }
                long next = batch.get(batch.size() - 1).offset() + 1;
                producer.sendOffsetsToTransaction(Map.of(from, new OffsetAndMetadata(next)), consumer.groupMetadata());
                if (turn++ % 3 == 0) {
                    producer.abortTransaction();
                    consumer.seek(from, batch.get(0).offset());
                } else {
                    producer.commitTransaction();
                    copied += batch.size();
                }
            }
            Check.equal(consumer.committed(Set.of(from)).get(from).offset(), 200L, "committed");
        }
        List<String> want = new ArrayList<>();
        for (int i = 0; i < 200; i++) {
            want.add(String.valueOf(i));
        }
        Check.equal(committedValues(target, 200), want, "copies");
        producer.beginTransaction();
        producer.send(new ProducerRecord<>(target, "zombie".getBytes(StandardCharsets.UTF_8))).get();
        try (KafkaProducer<byte[], byte[]> heir = transactional(target)) {
            heir.beginTransaction();
            heir.send(new ProducerRecord<>(target, "200".getBytes(StandardCharsets.UTF_8)));
            heir.commitTransaction();
        }
        try {
            producer.commitTransaction();
            Check.equal(false, true, "the zombie commits");
        } catch (KafkaException e) {
            Check.equal(e instanceof ProducerFencedException || e instanceof InvalidProducerEpochException, true, "the zombie is fenced: " + e);
        }
        producer.close(Duration.ZERO);
        want.add("200");
        Check.equal(committedValues(target, 201), want, "behind the copies");
    }

    private static KafkaProducer<byte[], byte[]> transactional(String id) {
        KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(config(Map.of("transactional.id", id, "transaction.timeout.ms", 10_000, "linger.ms", 5)),
            new ByteArraySerializer(), new ByteArraySerializer());
        producer.initTransactions();
        return producer;
    }

    private static List<String> committedValues(String topic, int count) {
        List<String> out = new ArrayList<>();
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of("isolation.level", "read_committed"))) {
            consumer.assign(List.of(new TopicPartition(topic, 0)));
            consumer.seekToBeginning(consumer.assignment());
            while (out.size() < count) {
                consumer.poll(Duration.ofMillis(200)).forEach(r -> out.add(new String(r.value(), StandardCharsets.UTF_8)));
            }
        }
        return out;
    }

    private static void logins(String mechanism) throws Exception {
        String[] user = Check.SCRAM.split(":", 2);
        for (String password : List.of(user[1], "wrong")) {
            Map<String, Object> conf = config(Map.of());
            conf.put("security.protocol", "SASL_PLAINTEXT");
            conf.put("sasl.mechanism", mechanism);
            conf.put("sasl.jaas.config", "org.apache.kafka.common.security.scram.ScramLoginModule required username=\""
                + user[0] + "\" password=\"" + password + "\";");
            try (Admin who = Admin.create(conf)) {
                Check.equal(who.describeCluster().nodes().get().size(), 1, "brokers");
                Check.equal(password, user[1], "the password that gets in");
            } catch (ExecutionException e) {
                Check.equal(e.getCause() instanceof SaslAuthenticationException, true, "the refusal says so: " + e.getCause());
                Check.equal(password, "wrong", "the password that is refused");
            }
        }
    }

    private static Map<String, Object> config(Map<String, Object> more) {
        Map<String, Object> conf = new HashMap<>(more);
        conf.put("bootstrap.servers", Check.KAFKA);
        conf.put("client.id", "interop-java");
        if (!Check.SASL.isEmpty()) {
            String[] user = Check.SASL.split(":", 2);
            conf.put("security.protocol", "SASL_PLAINTEXT");
            conf.put("sasl.mechanism", "PLAIN");
            conf.put("sasl.jaas.config", "org.apache.kafka.common.security.plain.PlainLoginModule required username=\""
                + user[0] + "\" password=\"" + user[1] + "\";");
        }
        return conf;
    }

    private static void createTopic(String topic, int partitions) throws Exception {
        admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1))).all().get();
        Check.until("the topic's partitions", () -> {
            try {
                return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size() == partitions;
            } catch (ExecutionException e) {
                return false;
            }
        });
    }

    private static KafkaProducer<byte[], byte[]> producer(String codec, boolean idempotent) {
        return new KafkaProducer<>(config(Map.of(
            "acks", "all", "compression.type", codec, "enable.idempotence", idempotent, "linger.ms", 5, "batch.size", 8192,
            "max.in.flight.requests.per.connection", idempotent ? 5 : 1)), new ByteArraySerializer(), new ByteArraySerializer());
    }

    private static KafkaConsumer<byte[], byte[]> consumer(Map<String, Object> more) {
        Map<String, Object> conf = new HashMap<>(more);
        conf.put("enable.auto.commit", false);
        conf.put("auto.offset.reset", "earliest");
        conf.put("fetch.max.wait.ms", 100); // closing waits for the fetch under way
        return new KafkaConsumer<>(config(conf), new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private static void produce(List<ProducerRecord<byte[], byte[]>> records, String codec, boolean idempotent) throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = producer(codec, idempotent)) {
            List<Future<RecordMetadata>> acks = new ArrayList<>();
            for (ProducerRecord<byte[], byte[]> record : records) {
                acks.add(producer.send(record));
            }
            for (Future<RecordMetadata> ack : acks) {
                ack.get();
            }
        }
    }

    private static void roundTrip(String codec, boolean idempotent) throws Exception {
        String topic = Check.name(codec + "-" + idempotent);
        createTopic(topic, PARTITIONS);
        List<ProducerRecord<byte[], byte[]>> sent = mixed(topic, 400);
        produce(sent, codec, idempotent);
        for (int p = 0; p < PARTITIONS; p++) {
            int partition = p;
            List<ProducerRecord<byte[], byte[]>> want = sent.stream().filter(r -> r.partition() == partition).toList();
            List<ConsumerRecord<byte[], byte[]>> got = read(new TopicPartition(topic, p), 0, want.size());
            for (int i = 0; i < want.size(); i++) {
                Check.equal(got.get(i).offset(), (long) i, "offset");
                same(got.get(i), want.get(i), "partition " + p + ", record " + i);
            }
            List<ConsumerRecord<byte[], byte[]>> middle = read(new TopicPartition(topic, p), 37, 5);
            same(middle.get(0), want.get(37), "a read from the middle of a batch");
        }
        admin.deleteTopics(List.of(topic)).all().get();
    }

    private static void same(ConsumerRecord<byte[], byte[]> got, ProducerRecord<byte[], byte[]> want, String what) {
        Check.equal(Arrays.toString(got.key()), Arrays.toString(want.key()), what + ", key");
        Check.equal(Arrays.toString(got.value()), Arrays.toString(want.value()), what + ", value");
        Check.equal(got.timestamp(), want.timestamp(), what + ", timestamp");
        Check.equal(headers(got.headers()), headers(want.headers()), what + ", headers");
    }

    private static List<String> headers(Iterable<Header> headers) {
        List<String> out = new ArrayList<>();
        headers.forEach(h -> out.add(h.key() + "=" + Arrays.toString(h.value())));
        return out;
    }

    private static List<ConsumerRecord<byte[], byte[]>> read(TopicPartition from, long offset, int count) {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of())) {
            consumer.assign(List.of(from));
            consumer.seek(from, offset);
            List<ConsumerRecord<byte[], byte[]>> got = new ArrayList<>();
            while (got.size() < count) {
                var polled = consumer.poll(Duration.ofSeconds(60)).records(from);
                if (polled.isEmpty()) {
                    throw new AssertionError(got.size() + " of " + count + " records");
                }
                got.addAll(polled);
            }
            return got;
        }
    }

    /** A group member in a thread of its own, which commits each batch before it polls again. */
    private static final class Member implements ConsumerRebalanceListener {
        final List<ConsumerRecord<byte[], byte[]>> got = new CopyOnWriteArrayList<>();
        final Set<Integer> held = ConcurrentHashMap.newKeySet();
        private final KafkaConsumer<byte[], byte[]> consumer;
        private final Thread thread;
        private volatile boolean stop;
        private volatile RuntimeException error;

        Member(String group, String topic, String assignor) {
            consumer = consumer(assignor.equals("consumer") ? Map.of("group.id", group, "group.protocol", "consumer")
                : Map.of("group.id", group, "session.timeout.ms", 10000, "heartbeat.interval.ms", 500, "partition.assignment.strategy", assignor));
            consumer.subscribe(List.of(topic), this);
            thread = new Thread(this::run);
            thread.setDaemon(true);
            thread.start();
        }

        private void run() {
            try (consumer) {
                while (!stop) {
                    var polled = consumer.poll(Duration.ofMillis(200));
                    if (!polled.isEmpty()) {
                        polled.forEach(got::add);
                        consumer.commitSync();
                    }
                }
            } catch (RuntimeException e) {
                error = e;
            }
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            partitions.forEach(p -> held.add(p.partition()));
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            partitions.forEach(p -> held.remove(p.partition()));
        }

        void wait(String what, int count) throws Exception {
            Check.until(what, () -> {
                if (error != null) {
                    throw error;
                }
                return got.size() >= count;
            });
        }

        List<String> values() {
            return got.stream().map(r -> new String(r.value(), StandardCharsets.UTF_8)).sorted().toList();
        }

        void close() throws Exception {
            stop = true;
            thread.join(20_000);
            if (error != null) {
                throw error;
            }
        }
    }

    /** Two members of a share group take turns; of each ten records one is released once and one is rejected. */
    private static void sharing() throws Exception {
        String topic = Check.name("shared");
        String id = Check.name("share-group");
        createTopic(topic, PARTITIONS);
        admin.incrementalAlterConfigs(Map.of(new ConfigResource(ConfigResource.Type.GROUP, id),
            List.of(new AlterConfigOp(new ConfigEntry("share.auto.offset.reset", "earliest"), AlterConfigOp.OpType.SET)))).all().get();
        List<String> want = plain(topic, "one", 200);
        Map<String, Integer> seen = new java.util.concurrent.ConcurrentHashMap<>();
        Set<String> done = ConcurrentHashMap.newKeySet();
        List<Thread> members = new ArrayList<>();
        List<Throwable> errors = new CopyOnWriteArrayList<>();
        java.util.concurrent.atomic.AtomicBoolean stop = new java.util.concurrent.atomic.AtomicBoolean();
        for (int m = 0; m < 2; m++) {
            Map<String, Object> conf = config(Map.of("group.id", id, "share.acknowledgement.mode", "explicit", "max.poll.records", 7,
                "key.deserializer", ByteArrayDeserializer.class, "value.deserializer", ByteArrayDeserializer.class));
            Thread member = new Thread(() -> {
                try (KafkaShareConsumer<byte[], byte[]> consumer = new KafkaShareConsumer<>(conf)) {
                    consumer.subscribe(List.of(topic));
                    while (!stop.get()) {
                        for (ConsumerRecord<byte[], byte[]> r : consumer.poll(Duration.ofMillis(200))) {
                            String value = new String(r.value(), StandardCharsets.UTF_8);
                            int times = seen.merge(value, 1, Integer::sum);
                            Check.equal((int) r.deliveryCount().get(), times, "deliveries of " + value);
                            if (value.endsWith("3") && times == 1) {
                                consumer.acknowledge(r, AcknowledgeType.RELEASE);
                                continue;
                            }
                            consumer.acknowledge(r, value.endsWith("4") ? AcknowledgeType.REJECT : AcknowledgeType.ACCEPT);
                            done.add(value);
                        }
                        consumer.commitSync().forEach((partition, error) -> error.ifPresent(errors::add));
                    }
                } catch (Throwable e) {
                    errors.add(e);
                }
            });
            member.start();
            members.add(member);
        }
        Check.until("all are settled", () -> done.size() == want.size() || !errors.isEmpty());
        Thread.sleep(300);
        stop.set(true);
        for (Thread member : members) {
            member.join(20_000);
        }
        Check.equal(errors, List.of(), "errors of the members");
        for (String value : want) {
            Check.equal(seen.get(value), value.endsWith("3") ? 2 : 1, "deliveries of " + value);
        }
        admin.deleteShareGroups(List.of(id)).all().get();
        admin.deleteTopics(List.of(topic)).all().get();
    }

    private static void group(String assignor) throws Exception {
        String kind = assignor.contains("Coop") ? "cooperative" : assignor.equals("consumer") ? "assigned" : "eager";
        String topic = Check.name("grouped-" + kind);
        String id = Check.name("group-" + kind);
        createTopic(topic, PARTITIONS);
        List<String> want = plain(topic, "one", 400);
        Member a = new Member(id, topic, assignor);
        a.wait("the first member reads all", 400);
        Check.equal(a.values(), want, "the first member's records");

        Member b = new Member(id, topic, assignor);
        Check.until("both have two partitions", () -> a.held.size() == 2 && b.held.size() == 2);
        Set<Integer> all = new TreeSet<>(a.held);
        all.addAll(b.held);
        Check.equal(all, Set.of(0, 1, 2, 3), "partitions held");
        a.got.clear();
        want = plain(topic, "two", 400);
        a.wait("the first reads its half", 200);
        b.wait("the second reads its half", 200);
        List<String> both = new ArrayList<>(a.values());
        both.addAll(b.values());
        Check.equal(both.stream().sorted().toList(), want, "each record once");
        for (Member m : List.of(a, b)) {
            Map<Integer, Long> next = new HashMap<>();
            for (ConsumerRecord<byte[], byte[]> r : m.got) {
                Check.equal(r.offset(), next.getOrDefault(r.partition(), 100L), "order in partition " + r.partition());
                next.put(r.partition(), r.offset() + 1);
            }
            Check.equal(new HashSet<>(next.keySet()), new HashSet<>(m.held), "records come from the member's own partitions");
        }

        b.close();
        Check.until("the one that stays takes all", () -> a.held.size() == PARTITIONS);
        a.got.clear();
        want = plain(topic, "three", 40);
        a.wait("it reads on", 40);
        Check.equal(a.values(), want, "its records");
        a.close();
        Map<TopicPartition, OffsetAndMetadata> committed = admin.listConsumerGroupOffsets(id).partitionsToOffsetAndMetadata().get();
        for (int p = 0; p < PARTITIONS; p++) {
            Check.equal(committed.get(new TopicPartition(topic, p)).offset(), 210L, "committed");
        }

        want = plain(topic, "four", 60);
        Member last = new Member(id, topic, assignor);
        last.wait("the new member reads", 60);
        Thread.sleep(300);
        Check.equal(last.values(), want, "only what came after the commit");
        last.close();
        admin.deleteTopics(List.of(topic)).all().get();
    }

    private static void lookups() throws Exception {
        String topic = Check.name("lookups");
        createTopic(topic, 1);
        long start = System.currentTimeMillis() - 60_000;
        for (int batch = 0; batch < 5; batch++) {
            List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
            for (int i = 0; i < 20; i++) {
                records.add(new ProducerRecord<>(topic, 0, start + (batch * 20 + i) * 10L, null, new byte[] {1}));
            }
            produce(records, "none", true);
        }
        TopicPartition where = new TopicPartition(topic, 0);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of())) {
            Check.equal(consumer.beginningOffsets(List.of(where)).get(where), 0L, "beginning");
            Check.equal(consumer.endOffsets(List.of(where)).get(where), 100L, "end");
            for (long[] c : new long[][] {{0, 0}, {1, 1}, {305, 31}, {990, 99}}) {
                Check.equal(consumer.offsetsForTimes(Map.of(where, start + c[0])).get(where).offset(), c[1], "offset after " + c[0] + " ms");
            }
            Check.equal(consumer.offsetsForTimes(Map.of(where, start + 991)).get(where), null, "offset after the last record");
        }
        admin.deleteTopics(List.of(topic)).all().get();
    }

    private static void administration() throws Exception {
        String topic = Check.name("admin");
        createTopic(topic, 1);
        try {
            admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all().get();
            throw new AssertionError("a topic can be created twice");
        } catch (ExecutionException e) {
            Check.equal(e.getCause().getClass(), TopicExistsException.class, "error");
        }
        Check.equal(admin.listTopics().names().get().contains(topic), true, "the topic is listed");
        Check.equal(admin.describeCluster().nodes().get().size() >= 1, true, "nodes");
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        var configs = admin.describeConfigs(List.of(resource)).all().get().get(resource);
        for (String key : List.of("retention.ms", "retention.bytes", "segment.bytes", "cleanup.policy", "max.message.bytes")) {
            Check.equal(configs.get(key) != null, true, "config " + key);
        }
        admin.createPartitions(Map.of(topic, org.apache.kafka.clients.admin.NewPartitions.increaseTo(3))).all().get();
        Check.until("three partitions",
            () -> admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size() == 3);
        plainTo(topic, 2);
        TopicPartition where = new TopicPartition(topic, 2);
        admin.deleteRecords(Map.of(where, org.apache.kafka.clients.admin.RecordsToDelete.beforeOffset(5))).all().get();
        String group = Check.name("admin-group");
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of("group.id", group))) {
            Check.equal(consumer.beginningOffsets(List.of(where)).get(where), 5L, "beginning after records were deleted");
            consumer.assign(List.of(where));
            consumer.commitSync(Map.of(where, new OffsetAndMetadata(7, "note")));
        }
        OffsetAndMetadata committed = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(where);
        Check.equal(committed.offset() + " " + committed.metadata(), "7 note", "commit without a subscription");
        Check.until("the group can be deleted", () -> {
            try {
                admin.deleteConsumerGroups(List.of(group)).all().get();
                return true;
            } catch (ExecutionException e) {
                return false;
            }
        });
        admin.deleteTopics(List.of(topic)).all().get();
        Check.until("the topic is gone", () -> !admin.listTopics().names().get().contains(topic));
    }

    private static void plainTo(String topic, int partition) throws Exception {
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (int i = 0; i < 10; i++) {
            records.add(new ProducerRecord<>(topic, partition, null, new byte[] {(byte) i}));
        }
        produce(records, "none", true);
    }

    /** Produces small records with distinct values over all partitions; returns the values, sorted. */
    private static List<String> plain(String topic, String prefix, int count) throws Exception {
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        List<String> values = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            values.add(prefix + "-" + i);
            records.add(new ProducerRecord<>(topic, i % PARTITIONS, null, values.get(i).getBytes(StandardCharsets.UTF_8)));
        }
        produce(records, "none", true);
        return values.stream().sorted().toList();
    }

    private static List<ProducerRecord<byte[], byte[]>> mixed(String topic, int count) {
        Random random = new Random(7);
        long start = System.currentTimeMillis() - count;
        List<ProducerRecord<byte[], byte[]>> out = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            byte[] noise = new byte[1 + random.nextInt(3000)];
            random.nextBytes(noise);
            byte[][] keys = {null, {}, ("key-" + i).getBytes(StandardCharsets.UTF_8), Arrays.copyOf(noise, 20)};
            byte[][] values = {null, {}, ("value " + i + " ").repeat(1 + random.nextInt(30)).getBytes(StandardCharsets.UTF_8), noise};
            var record = new ProducerRecord<>(topic, i % PARTITIONS, start + i, keys[random.nextInt(4)], values[random.nextInt(4)]);
            if (random.nextBoolean()) {
                record.headers().add("a", new byte[] {'x'}).add("a", new byte[] {'y'}).add("ž", new byte[] {0, -1}).add("null", null);
            }
            out.add(record);
        }
        return out;
    }
}
