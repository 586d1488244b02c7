import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.errors.GroupAuthorizationException;
import org.apache.kafka.common.errors.SaslAuthenticationException;
import org.apache.kafka.common.errors.TopicAuthorizationException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.tools.AclCommand;
import org.apache.kafka.tools.ConfigCommand;
import org.apache.kafka.tools.TopicCommand;

/**
 * kafka-configs, kafka-acls and kafka-topics as they are, by their main methods in one Java machine: a user is made, given
 * rights and a quota, and both are seen, used and taken away.
 */
public final class KafkaTools {
    private static final String USER = Check.name("user");
    private static final String TOPIC = Check.name("topic");
    private static final String GROUP = Check.name("group");

    private static Map<String, Object> login(String password) {
        return Map.of("bootstrap.servers", Check.KAFKA, "security.protocol", "SASL_PLAINTEXT", "sasl.mechanism", "SCRAM-SHA-256",
            "sasl.jaas.config", "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"" + USER + "\" password=\"" + password + "\";",
            "group.id", GROUP, "auto.offset.reset", "earliest", "enable.idempotence", "false", "delivery.timeout.ms", "60000", "request.timeout.ms", "30000");
    }

    private static void produce(String password) throws Exception {
        try (KafkaProducer<byte[], byte[]> p = new KafkaProducer<>(login(password), new ByteArraySerializer(), new ByteArraySerializer())) {
            p.send(new ProducerRecord<>(TOPIC, "m".getBytes(StandardCharsets.UTF_8))).get(60, TimeUnit.SECONDS);
        }
    }

    private static int consume(String password) {
        try (KafkaConsumer<byte[], byte[]> c = new KafkaConsumer<>(login(password), new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            c.subscribe(List.of(TOPIC));
            for (int i = 0; i < 240; i++) {
                int n = c.poll(Duration.ofMillis(250)).count();
                if (n > 0) {
                    return n;
                }
            }
            return 0;
        }
    }

    private static <T extends Throwable> void refused(Class<T> with, Check.Body what) {
        try {
            what.run();
        } catch (Throwable e) {
            for (Throwable cause = e; cause != null; cause = cause.getCause()) {
                if (with.isInstance(cause)) {
                    return;
                }
            }
            throw new AssertionError("refused otherwise: " + e, e);
        }
        throw new AssertionError("it was let");
    }

    public static void main(String[] args) {
        Tools.Tool configs = ConfigCommand::main;
        Tools.Tool acls = AclCommand::main;
        Tools.Tool topics = TopicCommand::main;
        Check.add("kafka-configs: a user is made, and shown", 60, () -> {
            Tools.says(Tools.run(topics, "--create", "--topic", TOPIC, "--partitions", "2"), "exit 0", "Created topic " + TOPIC);
            Tools.says(Tools.run(configs, "--alter", "--entity-type", "users", "--entity-name", USER, "--add-config", "SCRAM-SHA-256=[iterations=8192,password=s3cret]"),
                "exit 0", "Completed updating config for user " + USER);
            Tools.says(Tools.run(configs, "--describe", "--entity-type", "users", "--entity-name", USER), "exit 0", "SCRAM-SHA-256=iterations=8192");
        });
        Check.add("kafka-acls: no more than what is given is allowed", 60, () -> {
            refused(SaslAuthenticationException.class, () -> produce("wrong"));
            Tools.says(Tools.run(acls, "--add", "--allow-principal", "User:" + USER, "--operation", "Write", "--topic", TOPIC), "exit 0", "Adding ACLs for resource");
            produce("s3cret");
            refused(GroupAuthorizationException.class, () -> consume("s3cret"));
            Tools.says(Tools.run(acls, "--add", "--allow-principal", "User:" + USER, "--consumer", "--topic", TOPIC, "--group", GROUP), "exit 0");
            Check.equal(consume("s3cret"), 1, "messages");
        });
        Check.add("kafka-acls: what was given is listed", 60, () -> {
            String said = Tools.run(acls, "--list", "--principal", "User:" + USER);
            Tools.says(said, "exit 0", "resourceType=TOPIC, name=" + TOPIC + ", patternType=LITERAL", "operation=WRITE", "operation=READ",
                "resourceType=GROUP, name=" + GROUP + ", patternType=LITERAL");
        });
        Check.add("kafka-acls: what can't be is refused with the reason", 60, () -> {
            Tools.says(Tools.run(acls, "--add", "--deny-principal", "User:" + USER, "--operation", "Write", "--topic", TOPIC), "exit 1", "Error while executing ACL command");
            Tools.says(Tools.run(acls, "--add", "--allow-principal", "User:" + USER + ".nobody", "--operation", "Read", "--topic", TOPIC), "exit 1");
        });
        Check.add("kafka-acls: what is taken away is not allowed any more", 60, () -> {
            Tools.says(Tools.run(acls, "--remove", "--force", "--allow-principal", "User:" + USER, "--operation", "Write", "--operation", "Describe", "--topic", TOPIC), "exit 0");
            refused(TopicAuthorizationException.class, () -> produce("s3cret"));
        });
        Check.add("kafka-configs: a quota of a user", 60, () -> {
            Tools.says(Tools.run(configs, "--alter", "--entity-type", "users", "--entity-name", USER, "--add-config", "producer_byte_rate=1048576"), "exit 0");
            Tools.says(Tools.run(configs, "--describe", "--entity-type", "users", "--entity-name", USER), "exit 0", "producer_byte_rate=1048576");
            Tools.says(Tools.run(configs, "--alter", "--entity-type", "users", "--entity-name", USER, "--delete-config", "producer_byte_rate"), "exit 0");
        });
        Check.add("kafka-configs: settings of a topic", 60, () -> {
            Tools.says(Tools.run(configs, "--alter", "--entity-type", "topics", "--entity-name", TOPIC, "--add-config", "retention.ms=600000"), "exit 0", "Completed updating config");
            Tools.says(Tools.run(configs, "--describe", "--entity-type", "topics", "--entity-name", TOPIC), "exit 0", "retention.ms=600000");
            Tools.says(Tools.run(configs, "--alter", "--entity-type", "topics", "--entity-name", TOPIC, "--add-config", "retention.ms=soon"), "exit 1");
        });
        Check.add("kafka-configs: a user without its password does not get in", 60, () -> {
            Tools.says(Tools.run(configs, "--alter", "--entity-type", "users", "--entity-name", USER, "--delete-config", "SCRAM-SHA-256"), "exit 0");
            refused(SaslAuthenticationException.class, () -> produce("s3cret"));
            Tools.says(Tools.run(topics, "--delete", "--topic", TOPIC), "exit 0");
        });
        Check.main();
    }
}
