import com.rabbitmq.client.Channel;
import com.rabbitmq.client.DefaultConsumer;
import com.rabbitmq.client.impl.AMQConnection;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import org.springframework.amqp.AmqpException;
import org.springframework.amqp.AmqpRejectAndDontRequeueException;
import org.springframework.amqp.ImmediateRequeueAmqpException;
import org.springframework.amqp.core.AcknowledgeMode;
import org.springframework.amqp.core.Message;
import org.springframework.amqp.core.QueueBuilder;
import org.springframework.amqp.rabbit.config.RetryInterceptorBuilder;
import org.springframework.amqp.rabbit.listener.AbstractMessageListenerContainer;
import org.springframework.amqp.rabbit.listener.DirectMessageListenerContainer;
import org.springframework.amqp.rabbit.listener.SimpleMessageListenerContainer;
import org.springframework.amqp.rabbit.listener.api.ChannelAwareBatchMessageListener;
import org.springframework.amqp.rabbit.listener.api.ChannelAwareMessageListener;
import org.springframework.amqp.rabbit.retry.MessageRecoverer;
import org.springframework.amqp.rabbit.retry.RejectAndDontRequeueRecoverer;
import org.springframework.amqp.rabbit.retry.RepublishMessageRecoverer;
import org.springframework.amqp.rabbit.transaction.RabbitTransactionManager;

/** Spring AMQP's listener containers of both kinds: acks, retries, dead letters, batches, transactions. */
final class SpringListeners {
    private SpringListeners() {}

    static void checks() {
        for (boolean direct : new boolean[] {false, true}) {
            String kind = direct ? "direct container: " : "simple container: ";
            Check.add(kind + "many consumers, prefetch, stop and start", 30, () -> consumers(direct));
            Check.add(kind + "a listener with retry and dead letters", 30, () -> retries(direct));
            Check.add(kind + "requeued, rejected, acked by hand", 30, () -> verdicts(direct));
            Check.add(kind + "a delivery limit of a quorum queue", 30, () -> deliveryLimit(direct));
            Check.add(kind + "a transactional channel", 30, () -> transactional(direct));
            Check.add(kind + "a lost connection, and a queue that is deleted", 40, () -> lost(direct));
        }
        Check.add("retry by a queue with a time to live, counted in x-death", 30, SpringListeners::retryQueue);
        Check.add("a stateful retry, a recoverer that republishes", 30, SpringListeners::republished);
        Check.add("a batch listener, batches of the consumer", 20, SpringListeners::batch);
        Check.add("priority of consumers, exclusive, single active", 20, SpringListeners::whoseTurn);
        Check.add("annotated listeners", 30, SpringAnnotated::check);
    }

    private interface Settings {
        void on(AbstractMessageListenerContainer container);
    }

    private static AbstractMessageListenerContainer listen(boolean direct, Spring spring, String queue, Settings settings,
            ChannelAwareMessageListener listener) {
        return direct ? spring.direct(queue, settings::on, listener) : spring.simple(queue, settings::on, listener);
    }

    private static void consumers(boolean direct) throws Exception {
        try (Spring spring = new Spring()) {
            String queue = spring.queue("consumers");
            Set<String> got = ConcurrentHashMap.newKeySet();
            Set<String> tags = ConcurrentHashMap.newKeySet();
            ChannelAwareMessageListener listener = (message, channel) -> {
                Thread.sleep(1);
                tags.add(message.getMessageProperties().getConsumerTag());
                got.add(Spring.text(message));
            };
            AbstractMessageListenerContainer container = direct
                ? spring.direct(queue, c -> { c.setConsumersPerQueue(3); c.setPrefetchCount(10); }, listener)
                : spring.simple(queue, c -> { c.setConcurrentConsumers(3); c.setPrefetchCount(10); }, listener);
            Check.until("three consumers", () -> spring.admin.getQueueInfo(queue).getConsumerCount() == 3);
            IntStream.range(0, 300).forEach(i -> spring.template.convertAndSend(queue, "m" + i));
            Check.until("all", () -> got.size() == 300);
            Check.equal(tags.size(), 3, "consumers that worked");
            container.stop();
            Check.equal(spring.admin.getQueueInfo(queue).getConsumerCount(), 0, "consumers");
            spring.template.convertAndSend(queue, "later");
            container.start();
            Check.until("what came in between", () -> got.contains("later"));
            container.stop();
            Check.equal(spring.admin.getQueueInfo(queue).getMessageCount(), 0L, "left");
        }
    }

    /** A work queue whose dead letters go to another. */
    private static String[] withDeadLetters(Spring spring, String what) {
        String dead = spring.queue(what + ".dead");
        return new String[] {spring.queue(QueueBuilder.durable(Check.name(what)).deadLetterExchange("").deadLetterRoutingKey(dead)), dead};
    }

    private static Map<String, ?> death(Message message) {
        return message.getMessageProperties().getXDeathHeader().get(0);
    }

    private static void retries(boolean direct) throws Exception {
        try (Spring spring = new Spring()) {
            String[] queues = withDeadLetters(spring, "retries" + direct);
            Map<String, Integer> tries = new ConcurrentHashMap<>();
            listen(direct, spring, queues[0], container -> container.setAdviceChain(RetryInterceptorBuilder.stateless()
                .maxRetries(2).backOffOptions(20, 2, 100).recoverer(new RejectAndDontRequeueRecoverer()).build()),
                (message, channel) -> {
                    String text = Spring.text(message);
                    if (tries.merge(text, 1, Integer::sum) < (text.equals("twice") ? 2 : 99) && !text.equals("good")) {
                        throw new IllegalStateException("cannot do " + text);
                    }
                });
            for (String text : List.of("good", "twice", "never")) {
                spring.template.convertAndSend(queues[0], text);
            }
            Message dead = spring.template.receive(queues[1], 10_000);
            Check.equal(Spring.text(dead), "never", "dead letter");
            Check.equal(List.of(death(dead).get("reason"), death(dead).get("queue"), death(dead).get("count"), death(dead).get("exchange"),
                death(dead).get("routing-keys")), List.of("rejected", queues[0], 1L, "", List.of(queues[0])), "x-death");
            Check.equal(dead.getMessageProperties().getHeader("x-first-death-reason"), "rejected", "x-first-death-reason");
            Check.equal(tries, Map.of("good", 1, "twice", 2, "never", 3), "tries");
            Check.until("an empty queue", () -> spring.admin.getQueueInfo(queues[0]).getMessageCount() == 0);
        }
    }

    private static void verdicts(boolean direct) throws Exception {
        try (Spring spring = new Spring()) {
            String[] queues = withDeadLetters(spring, "verdicts" + direct);
            List<String> seen = Collections.synchronizedList(new ArrayList<>());
            AbstractMessageListenerContainer container = listen(direct, spring, queues[0], c -> {
                c.setDefaultRequeueRejected(false);
                c.setPrefetchCount(1);
            }, (message, channel) -> {
                boolean again = message.getMessageProperties().isRedelivered();
                String text = Spring.text(message);
                seen.add(text + (again ? " again" : ""));
                if (text.equals("requeue") && !again) {
                    throw new ImmediateRequeueAmqpException("once more");
                }
                if (text.equals("reject")) {
                    throw new AmqpRejectAndDontRequeueException("never");
                }
                if (text.equals("fail")) {
                    throw new IllegalStateException("by default not again");
                }
            });
            for (String text : List.of("requeue", "reject", "fail", "good")) {
                spring.template.convertAndSend(queues[0], text);
            }
            Check.equal(Spring.text(spring.template.receive(queues[1], 10_000)), "reject", "dead letter");
            Check.equal(Spring.text(spring.template.receive(queues[1], 10_000)), "fail", "dead letter");
            Check.until("all", () -> seen.size() == 5);
            Check.equal(new HashSet<>(seen), Set.of("requeue", "requeue again", "reject", "fail", "good"), "seen");
            container.stop();

            Set<String> byHand = ConcurrentHashMap.newKeySet();
            listen(direct, spring, queues[0], c -> {
                c.setAcknowledgeMode(AcknowledgeMode.MANUAL);
                c.setPrefetchCount(5);
            }, (message, channel) -> {
                long tag = message.getMessageProperties().getDeliveryTag();
                byHand.add(Spring.text(message));
                if (Spring.text(message).equals("h4")) {
                    channel.basicAck(tag, true);
                } else if (Spring.text(message).equals("h5")) {
                    channel.basicNack(tag, false, false);
                }
            });
            IntStream.range(0, 6).forEach(i -> spring.template.convertAndSend(queues[0], "h" + i));
            Check.equal(Spring.text(spring.template.receive(queues[1], 10_000)), "h5", "dead letter");
            Check.equal(byHand.size(), 6, "seen");
        }
    }

    private static void deliveryLimit(boolean direct) throws Exception {
        try (Spring spring = new Spring()) {
            String dead = spring.queue("limit.dead" + direct);
            String queue = spring.queue(QueueBuilder.durable(Check.name("limit" + direct)).quorum().deliveryLimit(3)
                .deadLetterExchange("").deadLetterRoutingKey(dead));
            List<Object> counts = Collections.synchronizedList(new ArrayList<>());
            listen(direct, spring, queue, container -> {}, (message, channel) -> {
                counts.add(String.valueOf(message.getMessageProperties().getHeaders().get("x-delivery-count")));
                throw new IllegalStateException("never");
            });
            spring.template.convertAndSend(queue, "poison");
            Message letter = spring.template.receive(dead, 10_000);
            Check.equal(death(letter).get("reason"), "delivery_limit", "reason");
            Check.equal(counts, List.of("null", "1", "2", "3"), "x-delivery-count");
        }
    }

    private static void transactional(boolean direct) throws Exception {
        try (Spring spring = new Spring()) {
            String[] queues = withDeadLetters(spring, "tx" + direct);
            String results = spring.queue("tx.results" + direct);
            spring.template.setChannelTransacted(true);
            AtomicInteger tries = new AtomicInteger();
            listen(direct, spring, queues[0], container -> {
                container.setChannelTransacted(true);
                container.setTransactionManager(new RabbitTransactionManager(spring.connections));
                container.setPrefetchCount(1);
            }, (message, channel) -> {
                spring.template.convertAndSend(results, Spring.text(message) + " " + tries.incrementAndGet()); // on the listener's channel
                if (tries.get() < 3) {
                    throw new IllegalStateException("roll back");
                }
            });
            spring.template.convertAndSend(queues[0], "work");
            Check.equal(spring.template.receiveAndConvert(results, 10_000), "work 3", "the only result that was committed");
            Check.equal(spring.template.receive(results), null, "one more");
            Check.equal(tries.get(), 3, "tries");
            Check.until("the ack", () -> spring.admin.getQueueInfo(queues[0]).getMessageCount() == 0);
        }
    }

    private static void lost(boolean direct) throws Exception {
        try (Spring spring = new Spring()) {
            String queue = Check.name("lost" + direct);
            QueueBuilder builder = QueueBuilder.durable(queue);
            spring.queue(builder);
            spring.admin.setRedeclareManualDeclarations(true);
            Set<String> got = ConcurrentHashMap.newKeySet();
            listen(direct, spring, queue, container -> {
                container.setMissingQueuesFatal(false);
                if (container instanceof SimpleMessageListenerContainer simple) {
                    simple.setFailedDeclarationRetryInterval(200);
                    simple.setDeclarationRetries(1);
                } else if (container instanceof DirectMessageListenerContainer other) {
                    other.setMonitorInterval(200);
                    other.setFailedDeclarationRetryInterval(200);
                }
            }, (message, channel) -> got.add(Spring.text(message)));
            spring.template.convertAndSend(queue, "before");
            Check.until("the first", () -> got.contains("before"));
            // As if the wire were cut: the client library learns of it by an error.
            ((AMQConnection) spring.connections.createConnection().getDelegate())
                .close(320, "interop: lost on purpose", false, new IOException("lost"));
            Check.until("a message after it", () -> {
                try {
                    spring.template.convertAndSend(queue, "after");
                } catch (AmqpException e) {
                    return false;
                }
                return got.contains("after");
            });
            spring.admin.deleteQueue(queue); // which cancels the consumer, by the broker
            Check.until("its end", () -> spring.admin.getQueueInfo(queue) == null);
            spring.queue(builder);
            Check.until("a consumer", () -> spring.admin.getQueueInfo(queue).getConsumerCount() > 0);
            spring.template.convertAndSend(queue, "anew");
            Check.until("a message in the new queue", () -> got.contains("anew"));
        }
    }

    private static void retryQueue() throws Exception {
        try (Spring spring = new Spring()) {
            String work = Check.name("work"), wait = Check.name("wait");
            spring.queue(QueueBuilder.durable(work).deadLetterExchange("").deadLetterRoutingKey(wait));
            spring.queue(QueueBuilder.durable(wait).ttl(100).deadLetterExchange("").deadLetterRoutingKey(work));
            String parked = spring.queue("parked");
            List<Long> counts = Collections.synchronizedList(new ArrayList<>());
            spring.simple(work, container -> container.setDefaultRequeueRejected(false), (message, channel) -> {
                List<Map<String, ?>> deaths = message.getMessageProperties().getXDeathHeader();
                long count = deaths == null ? 0 : deaths.stream().filter(d -> d.get("queue").equals(work)).mapToLong(d -> (Long) d.get("count")).sum();
                counts.add(count);
                if (count < 3) {
                    throw new IllegalStateException("later");
                }
                spring.template.send(parked, message);
            });
            spring.template.convertAndSend(work, "task");
            Message last = spring.template.receive(parked, 10_000);
            Check.equal(counts, List.of(0L, 1L, 2L, 3L), "deaths at each try");
            Check.equal(last.getMessageProperties().getXDeathHeader().stream().map(d -> d.get("queue") + " " + d.get("reason") + " " + d.get("count")).toList(),
                List.of(wait + " expired 3", work + " rejected 3"), "x-death, the newest first");
        }
    }

    private static void republished() throws Exception {
        try (Spring spring = new Spring()) {
            String queue = spring.queue("stateful"), failed = spring.queue("failed");
            List<Boolean> redelivered = Collections.synchronizedList(new ArrayList<>());
            MessageRecoverer recoverer = new RepublishMessageRecoverer(spring.template, "", failed);
            spring.simple(queue, container -> container.setAdviceChain(RetryInterceptorBuilder.stateful().maxRetries(2).recoverer(recoverer).build()),
                (message, channel) -> {
                    redelivered.add(message.getMessageProperties().isRedelivered());
                    throw new IllegalStateException("never");
                });
            spring.template.convertAndSend("", queue, "poison", message -> {
                message.getMessageProperties().setMessageId("poison"); // a stateful retry knows a message by its id
                return message;
            });
            Message letter = spring.template.receive(failed, 10_000);
            Check.equal(letter.getMessageProperties().getHeader("x-original-routingKey"), queue, "where it came from");
            Check.equal(letter.getMessageProperties().getHeader("x-exception-message"), "never", "its exception");
            Check.equal(redelivered, List.of(false, true, true), "each try is a delivery");
        }
    }

    private static void batch() throws Exception {
        try (Spring spring = new Spring()) {
            String queue = spring.queue("batch");
            List<Integer> sizes = Collections.synchronizedList(new ArrayList<>());
            List<String> got = Collections.synchronizedList(new ArrayList<>());
            ChannelAwareBatchMessageListener listener = (List<Message> messages, Channel channel) -> {
                sizes.add(messages.size());
                messages.forEach(message -> got.add(Spring.text(message)));
            };
            IntStream.range(0, 25).forEach(i -> spring.template.convertAndSend(queue, "m" + i));
            Check.until("messages", () -> spring.admin.getQueueInfo(queue).getMessageCount() == 25);
            SimpleMessageListenerContainer container = spring.simple(queue, c -> {
                c.setConsumerBatchEnabled(true);
                c.setBatchSize(10);
                c.setPrefetchCount(10);
                c.setReceiveTimeout(500);
            }, listener);
            Check.until("all", () -> got.size() == 25);
            Check.equal(sizes, List.of(10, 10, 5), "batches");
            Check.equal(got, IntStream.range(0, 25).mapToObj(i -> "m" + i).toList(), "messages");
            container.stop();
            Check.equal(spring.admin.getQueueInfo(queue).getMessageCount(), 0L, "left");
        }
    }

    private static void whoseTurn() throws Exception {
        try (Spring spring = new Spring()) {
            String queue = spring.queue("turns");
            List<String> got = Collections.synchronizedList(new ArrayList<>());
            for (int priority : new int[] {1, 10}) {
                spring.direct(queue, c -> c.setConsumerArguments(Map.of("x-priority", priority)), (message, channel) -> got.add(Spring.text(message) + " at " + priority));
            }
            Check.until("both consumers", () -> spring.admin.getQueueInfo(queue).getConsumerCount() == 2);
            IntStream.range(0, 20).forEach(i -> spring.template.convertAndSend(queue, "m" + i));
            Check.until("all", () -> got.size() == 20);
            Check.equal(got, IntStream.range(0, 20).mapToObj(i -> "m" + i + " at 10").toList(), "who got what");

            String own = spring.queue("own");
            spring.direct(own, c -> c.setExclusive(true), (message, channel) -> got.add("own"));
            Check.until("the consumer", () -> spring.admin.getQueueInfo(own).getConsumerCount() == 1);
            try {
                spring.connections.createConnection().createChannel(false).basicConsume(own, new DefaultConsumer(null));
                throw new AssertionError("consumes beside an exclusive consumer");
            } catch (IOException e) {
                Check.equal(e.getCause().getMessage().contains("ACCESS_REFUSED"), true, e.getCause().getMessage());
            }

            String single = spring.queue(QueueBuilder.durable(Check.name("single")).singleActiveConsumer());
            got.clear();
            AbstractMessageListenerContainer first = spring.direct(single, c -> {}, (message, channel) -> got.add("first"));
            Check.until("the first consumer", () -> spring.admin.getQueueInfo(single).getConsumerCount() == 1);
            spring.direct(single, c -> {}, (message, channel) -> got.add("second"));
            Check.until("both consumers", () -> spring.admin.getQueueInfo(single).getConsumerCount() == 2);
            IntStream.range(0, 5).forEach(i -> spring.template.convertAndSend(single, "m"));
            Check.until("all", () -> got.size() == 5);
            Check.equal(new HashSet<>(got), Set.of("first"), "the active one");
            first.stop();
            spring.template.convertAndSend(single, "m");
            Check.until("the next one", () -> got.contains("second"));
        }
    }
}
