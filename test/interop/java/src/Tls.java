import com.rabbitmq.client.AuthenticationFailureException;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.DefaultSaslConfig;
import com.rabbitmq.client.MessageProperties;
import java.io.ByteArrayInputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLException;
import javax.net.ssl.TrustManagerFactory;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * RabbitMQ's and Kafka's Java clients over TLS, with and without certificates of their own. The environment has
 * AMQPS_ADDR, KAFKA_TLS_ADDR and TLS_DIR, as py/tls.py says.
 */
public final class Tls {
    private static final Path DIR = Path.of(System.getenv("TLS_DIR"));
    private static final byte[] BODY = new byte[900_000];

    static {
        new Random(7).nextBytes(BODY);
    }

    public static void main(String[] args) {
        Check.add("amqp-client: a password", 30, () -> amqpRoundTrip(factory("TLSv1.3", null)));
        Check.add("amqp-client: over TLS 1.2", 30, () -> amqpRoundTrip(factory("TLSv1.2", null)));
        Check.add("amqp-client: SASL EXTERNAL by a client certificate", 30, () -> amqpRoundTrip(external("guest")));
        Check.add("amqp-client: a certificate that names nobody logs nobody in", 30, () -> {
            try {
                external("stranger").newConnection().close();
            } catch (AuthenticationFailureException refused) {
                return;
            }
            throw new AssertionError("it logged in");
        });
        Check.add("amqp-client: a broker that is not trusted is not spoken to", 30, () -> {
            ConnectionFactory f = factory("TLSv1.3", null);
            f.useSslProtocol(SSLContext.getDefault());
            try {
                f.newConnection().close();
            } catch (SSLException refused) {
                return;
            }
            throw new AssertionError("it connected");
        });
        Check.add("kafka-clients: TLS, without a login", 40, () -> kafkaRoundTrip(null, Map.of()));
        Check.add("kafka-clients: a client certificate is the login", 40, () -> kafkaRoundTrip("guest", Map.of()));
        Check.add("kafka-clients: SASL over TLS", 60, () -> {
            kafkaRoundTrip(null, login("PLAIN", "plain.PlainLoginModule"));
            kafkaRoundTrip("stranger", login("SCRAM-SHA-512", "scram.ScramLoginModule"));
        });
        Check.add("kafka-clients: a certificate that names nobody lets nobody in", 40, () -> {
            try {
                kafkaRoundTrip("stranger", Map.of());
            } catch (ExecutionException refused) {
                return;
            }
            throw new AssertionError("it was let in");
        });
        Check.main();
    }

    private static String pem(String name) throws Exception {
        return Files.readString(DIR.resolve(name));
    }

    /** An SSLContext that trusts the broker, and shows the user's certificate unless that is null. */
    private static SSLContext context(String protocol, String user) throws Exception {
        CertificateFactory certificates = CertificateFactory.getInstance("X.509");
        KeyStore trusted = KeyStore.getInstance("PKCS12");
        trusted.load(null, null);
        trusted.setCertificateEntry("ca", certificates.generateCertificate(new ByteArrayInputStream(pem("ca.pem").getBytes())));
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(trusted);
        KeyManagerFactory own = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        if (user != null) {
            String key = pem("client-" + user + "-key.pem").replaceAll("-----[A-Z ]+-----|\\s", "");
            PrivateKey parsed = KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(key)));
            List<Certificate> chain = new ArrayList<>(certificates.generateCertificates(new ByteArrayInputStream(pem("client-" + user + ".pem").getBytes())));
            store.setKeyEntry("own", parsed, new char[0], chain.toArray(new Certificate[0]));
        }
        own.init(store, new char[0]);
        SSLContext context = SSLContext.getInstance(protocol);
        context.init(own.getKeyManagers(), trust.getTrustManagers(), null);
        return context;
    }

    private static ConnectionFactory factory(String protocol, String user) throws Exception {
        String[] at = System.getenv("AMQPS_ADDR").split(":");
        ConnectionFactory f = new ConnectionFactory();
        f.setHost(at[0]);
        f.setPort(Integer.parseInt(at[1]));
        f.useSslProtocol(context(protocol, user));
        f.enableHostnameVerification();
        return f;
    }

    private static ConnectionFactory external(String user) throws Exception {
        ConnectionFactory f = factory("TLSv1.3", user);
        f.setSaslConfig(DefaultSaslConfig.EXTERNAL);
        return f;
    }

    private static void amqpRoundTrip(ConnectionFactory f) throws Exception {
        String queue = Check.name("tls");
        try (Connection connection = f.newConnection(); Channel channel = connection.createChannel()) {
            channel.confirmSelect();
            channel.queueDeclare(queue, true, false, false, null);
            for (int i = 0; i < 200; i++) {
                channel.basicPublish("", queue, MessageProperties.PERSISTENT_BASIC, ("small " + i).getBytes());
            }
            channel.basicPublish("", queue, MessageProperties.PERSISTENT_BASIC, BODY);
            channel.waitForConfirmsOrDie(15_000);
            for (int i = 0; i < 200; i++) {
                Check.equal(new String(channel.basicGet(queue, true).getBody()), "small " + i, "a small message");
            }
            Check.equal(Arrays.equals(channel.basicGet(queue, true).getBody(), BODY), true, "what came back is what was sent");
            channel.queueDelete(queue);
        }
    }

    private static Map<String, Object> login(String mechanism, String module) {
        return Map.of("security.protocol", "SASL_SSL", "sasl.mechanism", mechanism, "sasl.jaas.config",
                "org.apache.kafka.common.security." + module + " required username=\"guest\" password=\"guest\";");
    }

    private static void kafkaRoundTrip(String user, Map<String, Object> more) throws Exception {
        Map<String, Object> conf = new HashMap<>(Map.of("bootstrap.servers", System.getenv("KAFKA_TLS_ADDR"), "security.protocol", "SSL",
                "ssl.truststore.type", "PEM", "ssl.truststore.certificates", pem("ca.pem"), "max.block.ms", 5000));
        if (user != null) {
            conf.putAll(Map.of("ssl.keystore.type", "PEM", "ssl.keystore.certificate.chain", pem("client-" + user + ".pem"),
                    "ssl.keystore.key", pem("client-" + user + "-key.pem")));
        }
        conf.putAll(more);
        String topic = Check.name("tls-" + user + "-" + more.get("sasl.mechanism"));
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(conf, new ByteArraySerializer(), new ByteArraySerializer())) {
            producer.send(new ProducerRecord<>(topic, BODY)).get(60, TimeUnit.SECONDS);
            producer.send(new ProducerRecord<>(topic, "small".getBytes())).get(60, TimeUnit.SECONDS);
        }
        conf.putAll(Map.of("group.id", topic, "auto.offset.reset", "earliest"));
        List<byte[]> got = new ArrayList<>();
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(conf, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.subscribe(List.of(topic));
            Check.until("both records", () -> {
                consumer.poll(Duration.ofMillis(200)).forEach(r -> got.add(r.value()));
                return got.size() >= 2;
            });
        }
        Check.equal(Arrays.equals(got.get(0), BODY) && new String(got.get(1)).equals("small"), true, "what came back is what was sent");
    }
}
