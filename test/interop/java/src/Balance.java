import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** One member of a classic group, in a process that may be killed: py/balance_member.py says what it prints. */
public final class Balance implements ConsumerRebalanceListener {
    private static final Map<String, String> ASSIGNORS = Map.of("range", "Range", "roundrobin", "RoundRobin", "sticky", "Sticky",
        "cooperative-sticky", "CooperativeSticky");
    private static volatile boolean leaving;
    private final KafkaConsumer<byte[], byte[]> consumer;
    private final TreeSet<Integer> held = new TreeSet<>();
    private final Map<TopicPartition, OffsetAndMetadata> ends = new HashMap<>();

    /** GROUP TOPIC BALANCER,BALANCER [INSTANCE] */
    public static void main(String[] args) {
        Map<String, Object> conf = new HashMap<>(Map.of("bootstrap.servers", Check.KAFKA, "group.id", args[0], "auto.offset.reset", "earliest",
            "enable.auto.commit", false, "session.timeout.ms", System.getenv("SESSION_MS"), "heartbeat.interval.ms", 300, "fetch.max.wait.ms", 100));
        conf.put("partition.assignment.strategy", Arrays.stream(args[2].split(","))
            .map(b -> "org.apache.kafka.clients.consumer." + ASSIGNORS.get(b) + "Assignor").collect(Collectors.joining(",")));
        if (args.length > 3 && !args[3].isEmpty()) {
            conf.put("group.instance.id", args[3]);
        }
        if (!Check.SASL.isEmpty()) {
            String[] user = Check.SASL.split(":", 2);
            conf.putAll(Map.of("security.protocol", "SASL_PLAINTEXT", "sasl.mechanism", "PLAIN", "sasl.jaas.config",
                "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"" + user[0] + "\" password=\"" + user[1] + "\";"));
        }
        Thread end = new Thread(() -> {
            try {
                System.in.readAllBytes();
            } catch (IOException e) {
                // is an end as well
            }
            leaving = true;
        });
        end.setDaemon(true);
        end.start();
        new Balance(conf).run(args[1]);
    }

    private Balance(Map<String, Object> conf) {
        consumer = new KafkaConsumer<>(conf, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private void run(String topic) {
        try (consumer) {
            consumer.subscribe(List.of(topic), this);
            while (!leaving) {
                var polled = consumer.poll(Duration.ofMillis(100));
                for (TopicPartition p : polled.partitions()) {
                    List<ConsumerRecord<byte[], byte[]>> records = polled.records(p);
                    long last = records.get(records.size() - 1).offset();
                    say("got " + p.partition() + " " + records.get(0).offset() + " " + last);
                    ends.put(p, new OffsetAndMetadata(last + 1));
                }
                commit();
            }
        }
    }

    private void commit() {
        if (ends.isEmpty()) {
            return;
        }
        try {
            consumer.commitSync(ends);
            ends.forEach((p, end) -> say("done " + p.partition() + " " + end.offset()));
            ends.clear();
        } catch (KafkaException e) { // a rebalance: once more when it is over
            System.err.println("commit: " + e);
        }
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        partitions.forEach(p -> held.add(p.partition()));
        sayHeld();
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        commit();
        onPartitionsLost(partitions);
    }

    @Override
    public void onPartitionsLost(Collection<TopicPartition> partitions) {
        partitions.forEach(p -> held.remove(p.partition()));
        new ArrayList<>(partitions).forEach(ends::remove);
        sayHeld();
    }

    private void sayHeld() {
        say("held " + held.stream().map(String::valueOf).collect(Collectors.joining(" ")));
    }

    private static void say(String line) {
        System.out.println(line);
        System.out.flush();
    }
}
