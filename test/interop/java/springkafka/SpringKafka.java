import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.kafka.annotation.BackOff;
import org.springframework.kafka.annotation.DltHandler;
import org.springframework.kafka.annotation.EnableKafka;
import org.springframework.kafka.annotation.EnableKafkaRetryTopic;
import org.springframework.kafka.annotation.KafkaListener;
import org.springframework.kafka.annotation.RetryableTopic;
import org.springframework.kafka.config.ConcurrentKafkaListenerContainerFactory;
import org.springframework.kafka.config.ShareKafkaListenerContainerFactory;
import org.springframework.kafka.config.TopicBuilder;
import org.springframework.kafka.core.ConsumerFactory;
import org.springframework.kafka.core.DefaultKafkaConsumerFactory;
import org.springframework.kafka.core.DefaultKafkaProducerFactory;
import org.springframework.kafka.core.DefaultShareConsumerFactory;
import org.springframework.kafka.core.KafkaAdmin;
import org.springframework.kafka.core.KafkaTemplate;
import org.springframework.kafka.core.ProducerFactory;
import org.springframework.kafka.core.ShareConsumerFactory;
import org.springframework.kafka.listener.ContainerProperties;
import org.springframework.kafka.listener.DeadLetterPublishingRecoverer;
import org.springframework.kafka.listener.DefaultErrorHandler;
import org.springframework.kafka.requestreply.ReplyingKafkaTemplate;
import org.springframework.kafka.support.Acknowledgment;
import org.springframework.kafka.transaction.KafkaTransactionManager;
import org.springframework.messaging.handler.annotation.SendTo;
import org.springframework.scheduling.TaskScheduler;
import org.springframework.scheduling.concurrent.ThreadPoolTaskScheduler;
import org.springframework.util.backoff.FixedBackOff;

/** An application of Spring for Apache Kafka: topics by beans, listeners, retries, dead letters, replies, transactions, a share group. */
public final class SpringKafka {
    static final Map<String, BlockingQueue<String>> got = new ConcurrentHashMap<>();
    static final Map<String, Integer> tries = new ConcurrentHashMap<>();

    static BlockingQueue<String> at(String where) {
        return got.computeIfAbsent(where, w -> new LinkedBlockingQueue<>());
    }

    static String next(String where) throws InterruptedException {
        return at(where).poll(60, TimeUnit.SECONDS);
    }

    static String topic(String what) {
        return Check.name("springkafka." + what);
    }

    /** The names of this run, for annotations. */
    public static final class Names {
        public String of(String what) {
            return topic(what);
        }
    }

    @Configuration
    @EnableKafka
    @EnableKafkaRetryTopic
    public static class Config {
        @Bean
        Names names() {
            return new Names();
        }

        @Bean
        TaskScheduler scheduler() {
            return new ThreadPoolTaskScheduler();
        }

        private static Map<String, Object> consumer(String isolation) {
            return new HashMap<>(Map.of("bootstrap.servers", Check.KAFKA, "auto.offset.reset", "earliest", "isolation.level", isolation, "key.deserializer", StringDeserializer.class,
                "value.deserializer", StringDeserializer.class));
        }

        private static Map<String, Object> producer() {
            return new HashMap<>(Map.of("bootstrap.servers", Check.KAFKA, "key.serializer", StringSerializer.class, "value.serializer", StringSerializer.class));
        }

        @Bean
        KafkaAdmin admin() {
            KafkaAdmin admin = new KafkaAdmin(Map.of("bootstrap.servers", Check.KAFKA));
            admin.setModifyTopicConfigs(true);
            admin.setFatalIfBrokerNotAvailable(true);
            return admin;
        }

        @Bean
        KafkaAdmin.NewTopics topics() {
            return new KafkaAdmin.NewTopics(of("plain", 3), of("batch", 2), of("failing", 1), of("retried", 1), of("asked", 1), of("answers", 1), of("from", 1), of("to", 1), of("shared", 1));
        }

        @Bean
        NewTopic dead() {
            return TopicBuilder.name(topic("failing") + "-dlt").partitions(1).build();
        }

        private static NewTopic of(String what, int partitions) {
            return TopicBuilder.name(topic(what)).partitions(partitions).replicas(1).config("retention.ms", "3600000").build();
        }

        @Bean
        ProducerFactory<String, String> producers() {
            return new DefaultKafkaProducerFactory<>(producer());
        }

        @Bean
        KafkaTemplate<String, String> kafkaTemplate(ProducerFactory<String, String> producers) {
            return new KafkaTemplate<>(producers);
        }

        @Bean
        ConsumerFactory<String, String> consumers() {
            return new DefaultKafkaConsumerFactory<>(consumer("read_committed"));
        }

        @Bean
        ConcurrentKafkaListenerContainerFactory<String, String> kafkaListenerContainerFactory(ConsumerFactory<String, String> consumers, KafkaTemplate<String, String> kafkaTemplate) {
            var factory = new ConcurrentKafkaListenerContainerFactory<String, String>();
            factory.setConsumerFactory(consumers);
            factory.setReplyTemplate(kafkaTemplate);
            factory.setCommonErrorHandler(new DefaultErrorHandler(new DeadLetterPublishingRecoverer(kafkaTemplate), new FixedBackOff(50, 2)));
            return factory;
        }

        @Bean
        ConcurrentKafkaListenerContainerFactory<String, String> manual(ConsumerFactory<String, String> consumers) {
            var factory = new ConcurrentKafkaListenerContainerFactory<String, String>();
            factory.setConsumerFactory(consumers);
            factory.setConcurrency(3);
            factory.getContainerProperties().setAckMode(ContainerProperties.AckMode.MANUAL_IMMEDIATE);
            return factory;
        }

        @Bean
        ConcurrentKafkaListenerContainerFactory<String, String> modern() {
            Map<String, Object> config = consumer("read_committed");
            config.put("group.protocol", "consumer");
            var factory = new ConcurrentKafkaListenerContainerFactory<String, String>();
            factory.setConsumerFactory(new DefaultKafkaConsumerFactory<>(config));
            factory.setBatchListener(true);
            return factory;
        }

        @Bean
        DefaultKafkaProducerFactory<String, String> transactional() {
            var factory = new DefaultKafkaProducerFactory<String, String>(producer());
            factory.setTransactionIdPrefix(topic("tx-"));
            return factory;
        }

        @Bean
        KafkaTemplate<String, String> transactionalTemplate(DefaultKafkaProducerFactory<String, String> transactional) {
            return new KafkaTemplate<>(transactional);
        }

        @Bean
        ConcurrentKafkaListenerContainerFactory<String, String> exactlyOnce(ConsumerFactory<String, String> consumers, DefaultKafkaProducerFactory<String, String> transactional) {
            var factory = new ConcurrentKafkaListenerContainerFactory<String, String>();
            factory.setConsumerFactory(consumers);
            factory.getContainerProperties().setKafkaAwareTransactionManager(new KafkaTransactionManager<>(transactional));
            return factory;
        }

        @Bean
        ReplyingKafkaTemplate<String, String, String> asking(ProducerFactory<String, String> producers, ConsumerFactory<String, String> consumers) {
            var factory = new ConcurrentKafkaListenerContainerFactory<String, String>();
            factory.setConsumerFactory(consumers);
            var replies = factory.createContainer(topic("answers"));
            replies.getContainerProperties().setGroupId(topic("answers"));
            return new ReplyingKafkaTemplate<>(producers, replies);
        }

        @Bean
        ShareKafkaListenerContainerFactory<String, String> share() {
            Map<String, Object> config = consumer("read_committed");
            config.keySet().removeAll(List.of("auto.offset.reset", "isolation.level"));
            ShareConsumerFactory<String, String> factory = new DefaultShareConsumerFactory<>(config);
            return new ShareKafkaListenerContainerFactory<>(factory);
        }

        @Bean
        Listeners listeners() {
            return new Listeners();
        }
    }

    public static class Listeners {
        @org.springframework.beans.factory.annotation.Autowired
        private KafkaTemplate<String, String> transactionalTemplate;

        @KafkaListener(topics = "#{names.of('plain')}", groupId = "#{names.of('plain')}", containerFactory = "manual")
        void plain(ConsumerRecord<String, String> record, Acknowledgment ack) {
            var header = record.headers().lastHeader("h");
            at("plain").add(record.key() + "=" + record.value() + (header == null ? "" : "," + new String(header.value(), StandardCharsets.UTF_8)));
            ack.acknowledge();
        }

        @KafkaListener(topics = "#{names.of('batch')}", groupId = "#{names.of('batch')}", containerFactory = "modern")
        void batch(List<String> values) {
            at("batch").addAll(values);
        }

        @KafkaListener(topics = "#{names.of('failing')}", groupId = "#{names.of('failing')}")
        void failing(String value) {
            tries.merge(value, 1, Integer::sum);
            if (value.startsWith("poison")) {
                throw new IllegalStateException("not this one");
            }
            at("failing").add(value);
        }

        @KafkaListener(topics = "#{names.of('failing')}-dlt", groupId = "#{names.of('dead')}")
        void dead(ConsumerRecord<String, String> record) {
            at("dead").add(record.value() + " of " + new String(record.headers().lastHeader("kafka_dlt-original-topic").value(), StandardCharsets.UTF_8));
        }

        @RetryableTopic(attempts = "3", backOff = @BackOff(delay = 200, multiplier = 2), kafkaTemplate = "kafkaTemplate")
        @KafkaListener(topics = "#{names.of('retried')}", groupId = "#{names.of('retried')}")
        void retried(String value) {
            int n = tries.merge(value, 1, Integer::sum);
            if (value.equals("never") || value.equals("third") && n < 3) {
                throw new IllegalStateException("later");
            }
            at("retried").add(value);
        }

        @DltHandler
        void gone(String value) {
            at("gone").add(value);
        }

        @KafkaListener(topics = "#{names.of('asked')}", groupId = "#{names.of('asked')}")
        @SendTo
        String answer(String value) {
            return value.toUpperCase(java.util.Locale.ROOT);
        }

        @KafkaListener(topics = "#{names.of('from')}", groupId = "#{names.of('from')}", containerFactory = "exactlyOnce")
        void copy(String value) {
            transactionalTemplate.send(topic("to"), value);
            if (value.equals("12") && tries.merge("copy", 1, Integer::sum) == 1) {
                throw new IllegalStateException("not yet");
            }
        }

        @KafkaListener(topics = "#{names.of('to')}", groupId = "#{names.of('to')}")
        void copied(String value) {
            at("to").add(value);
        }

        @KafkaListener(topics = "#{names.of('shared')}", groupId = "#{names.of('shared')}", containerFactory = "share")
        void shared(String value) {
            at("shared").add(value);
        }
    }

    public static void main(String[] args) {
        var context = new AnnotationConfigApplicationContext[1];
        Check.add("an application starts: topics by beans, and their settings changed", 90, () -> {
            try (var admin = org.apache.kafka.clients.admin.Admin.create(Map.of("bootstrap.servers", Check.KAFKA))) {
                admin.createTopics(List.of(new NewTopic(topic("plain"), 1, (short) 1))).all().get();
                // Where a share group begins: by default at the end.
                var earliest = new org.apache.kafka.clients.admin.AlterConfigOp(new org.apache.kafka.clients.admin.ConfigEntry("share.auto.offset.reset", "earliest"), org.apache.kafka.clients.admin.AlterConfigOp.OpType.SET);
                admin.incrementalAlterConfigs(Map.of(new org.apache.kafka.common.config.ConfigResource(org.apache.kafka.common.config.ConfigResource.Type.GROUP, topic("shared")), List.of(earliest))).all().get();
                context[0] = new AnnotationConfigApplicationContext(Config.class);
                var topics = context[0].getBean(KafkaAdmin.class).describeTopics(topic("plain"), topic("batch"));
                Check.equal(topics.get(topic("plain")).partitions().size(), 3, "partitions of a topic that was there with one");
                Check.equal(topics.get(topic("batch")).partitions().size(), 2, "partitions");
                var resource = new org.apache.kafka.common.config.ConfigResource(org.apache.kafka.common.config.ConfigResource.Type.TOPIC, topic("plain"));
                Check.equal(admin.describeConfigs(List.of(resource)).all().get().get(resource).get("retention.ms").value(), "3600000", "retention.ms");
            }
        });
        Check.add("listeners, three at a time, acked by hand; headers", 60, () -> {
            KafkaTemplate<String, String> template = template(context[0]);
            var record = new ProducerRecord<>(topic("plain"), "k", "first");
            record.headers().add("h", "v".getBytes(StandardCharsets.UTF_8));
            template.send(record).get(60, TimeUnit.SECONDS);
            Check.equal(next("plain"), "k=first,v", "first");
            for (int i = 0; i < 300; i++) {
                template.send(topic("plain"), "k" + i, "v" + i);
            }
            Check.until("all are there", () -> at("plain").size() == 300);
            Check.equal(new java.util.HashSet<>(at("plain")).size(), 300, "different ones");
        });
        Check.add("a batch listener in a group of the new protocol", 60, () -> {
            KafkaTemplate<String, String> template = template(context[0]);
            for (int i = 0; i < 200; i++) {
                template.send(topic("batch"), "" + i);
            }
            Check.until("all are there", () -> at("batch").size() == 200);
        });
        Check.add("an error is tried again, and becomes a dead letter", 60, () -> {
            KafkaTemplate<String, String> template = template(context[0]);
            template.send(topic("failing"), "poison");
            template.send(topic("failing"), "good");
            Check.equal(next("dead"), "poison of " + topic("failing"), "dead letter");
            Check.equal(next("failing"), "good", "the one behind it");
            Check.equal(tries.get("poison"), 3, "tries");
        });
        Check.add("retry topics: later, without holding up others", 60, () -> {
            KafkaTemplate<String, String> template = template(context[0]);
            for (String each : List.of("never", "third", "at once")) {
                template.send(topic("retried"), each);
            }
            Check.equal(next("retried"), "at once", "first");
            Check.equal(next("retried"), "third", "second");
            Check.equal(next("gone"), "never", "the one that never goes");
        });
        Check.add("requests and replies", 60, () -> {
            @SuppressWarnings("unchecked")
            ReplyingKafkaTemplate<String, String, String> asking = context[0].getBean("asking", ReplyingKafkaTemplate.class);
            Check.equal(asking.waitForAssignment(Duration.ofSeconds(60)), true, "the replies' consumer has its partitions");
            for (int i = 0; i < 20; i++) {
                Check.equal(asking.sendAndReceive(new ProducerRecord<>(topic("asked"), "what " + i)).get(60, TimeUnit.SECONDS).value(), "WHAT " + i, "reply");
            }
        });
        Check.add("transactions: what a listener sent before it failed is not seen, and each message is there once", 60, () -> {
            @SuppressWarnings("unchecked")
            KafkaTemplate<String, String> template = context[0].getBean("transactionalTemplate", KafkaTemplate.class);
            template.executeInTransaction(t -> {
                for (int i = 0; i < 20; i++) {
                    t.send(topic("from"), "" + i);
                }
                return null;
            });
            try {
                template.executeInTransaction(t -> {
                    t.send(topic("from"), "aborted");
                    throw new IllegalStateException("no");
                });
            } catch (IllegalStateException e) {
                // as it should be
            }
            template.executeInTransaction(t -> t.send(topic("from"), "last"));
            for (int i = 0; i < 20; i++) {
                Check.equal(next("to"), "" + i, "copied");
            }
            Check.equal(next("to"), "last", "the last one");
            Check.equal(tries.get("copy"), 2, "times at the message that failed once");
        });
        Check.add("a listener in a share group", 60, () -> {
            KafkaTemplate<String, String> template = template(context[0]);
            for (int i = 0; i < 100; i++) {
                template.send(topic("shared"), "" + i);
            }
            Check.until("all are there", () -> at("shared").size() == 100);
            context[0].close();
        });
        Check.main();
    }

    @SuppressWarnings("unchecked")
    private static KafkaTemplate<String, String> template(AnnotationConfigApplicationContext context) {
        return context.getBean("kafkaTemplate", KafkaTemplate.class);
    }
}
