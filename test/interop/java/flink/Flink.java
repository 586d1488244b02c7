import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.serialization.SimpleStringSchema;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Flink's source and sink of Kafka, in one Java machine. */
public final class Flink {
    private static final int COUNT = 2000;
    private static final AtomicInteger failures = new AtomicInteger(); // of the job, which runs in this very machine

    public static void main(String[] args) {
        Check.add("a job copies a topic exactly once, although it fails twice and resumes transactions from its checkpoints", 100, Flink::copy);
        Check.main();
    }

    private static Map<String, Object> config(Map<String, Object> more) {
        Map<String, Object> conf = new HashMap<>(more);
        conf.put("bootstrap.servers", Check.KAFKA);
        if (!Check.SASL.isEmpty()) {
            String[] user = Check.SASL.split(":", 2);
            conf.putAll(Map.of("security.protocol", "SASL_PLAINTEXT", "sasl.mechanism", "PLAIN", "sasl.jaas.config",
                "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"" + user[0] + "\" password=\"" + user[1] + "\";"));
        }
        return conf;
    }

    private static void copy() throws Exception {
        String in = Check.name("flink-in"), out = Check.name("flink-out");
        try (Admin admin = Admin.create(config(Map.of()))) {
            admin.createTopics(List.of(new NewTopic(in, 3, (short) 1), new NewTopic(out, 2, (short) 1))).all().get();
        }
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(config(Map.of()), new StringSerializer(), new StringSerializer())) {
            for (int i = 0; i < COUNT; i++) {
                producer.send(new ProducerRecord<>(in, "k" + i, String.valueOf(i)));
            }
        }
        Configuration restart = new Configuration();
        restart.setString("restart-strategy.type", "fixed-delay");
        restart.setString("restart-strategy.fixed-delay.attempts", "5");
        restart.setString("restart-strategy.fixed-delay.delay", "100ms");
        StreamExecutionEnvironment job = StreamExecutionEnvironment.createLocalEnvironment(2, restart);
        job.enableCheckpointing(300);
        Properties login = new Properties();
        login.putAll(config(Map.of()));
        KafkaSource<String> source = KafkaSource.<String>builder().setProperties(login).setTopics(in).setGroupId(in)
            .setStartingOffsets(OffsetsInitializer.earliest()).setBounded(OffsetsInitializer.latest())
            .setValueOnlyDeserializer(new SimpleStringSchema()).build();
        KafkaSink<String> sink = KafkaSink.<String>builder().setKafkaProducerConfig(login).setBootstrapServers(Check.KAFKA)
            .setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE).setTransactionalIdPrefix(out).setProperty("transaction.timeout.ms", "60000")
            .setRecordSerializer(KafkaRecordSerializationSchema.<String>builder().setTopic(out).setValueSerializationSchema(new SimpleStringSchema()).build())
            .build();
        job.fromSource(source, WatermarkStrategy.noWatermarks(), "source").map(value -> {
            Thread.sleep(1);
            int at = Integer.parseInt(value);
            if (at >= COUNT / 2 && failures.compareAndSet(0, 1) || at >= COUNT * 3 / 4 && failures.compareAndSet(1, 2)) {
                throw new IllegalStateException("on purpose");
            }
            return value;
        }).sinkTo(sink);
        job.execute("copy");
        Check.equal(failures.get(), 2, "failures");
        Map<Integer, Integer> times = new TreeMap<>(), want = new TreeMap<>();
        for (int i = 0; i < COUNT; i++) {
            want.put(i, 1);
        }
        TopicPartition[] parts = {new TopicPartition(out, 0), new TopicPartition(out, 1)};
        Map<String, Object> committed = Map.of("isolation.level", "read_committed", "group.id", out);
        try (KafkaConsumer<String, String> reader = new KafkaConsumer<>(config(committed), new StringDeserializer(), new StringDeserializer())) {
            reader.assign(List.of(parts));
            reader.seekToBeginning(List.of(parts));
            Map<TopicPartition, Long> ends = reader.endOffsets(List.of(parts));
            Check.until("all that is committed", () -> {
                for (ConsumerRecord<String, String> r : reader.poll(Duration.ofMillis(200))) {
                    times.merge(Integer.parseInt(r.value()), 1, Integer::sum);
                }
                return ends.entrySet().stream().allMatch(end -> reader.position(end.getKey()) >= end.getValue());
            });
            Check.equal(times, want, "how often each value is there");
        }
    }
}
