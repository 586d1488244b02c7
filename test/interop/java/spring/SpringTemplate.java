import com.rabbitmq.client.ShutdownSignalException;
import java.util.ArrayList;
import java.util.Date;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.springframework.amqp.AmqpIOException;
import org.springframework.amqp.core.AnonymousQueue;
import org.springframework.amqp.core.Binding;
import org.springframework.amqp.core.BindingBuilder;
import org.springframework.amqp.core.CustomExchange;
import org.springframework.amqp.core.Exchange;
import org.springframework.amqp.core.ExchangeBuilder;
import org.springframework.amqp.core.FanoutExchange;
import org.springframework.amqp.core.HeadersExchange;
import org.springframework.amqp.core.Message;
import org.springframework.amqp.core.MessageBuilder;
import org.springframework.amqp.core.MessageDeliveryMode;
import org.springframework.amqp.core.MessageProperties;
import org.springframework.amqp.core.Queue;
import org.springframework.amqp.core.QueueBuilder;
import org.springframework.amqp.core.ReturnedMessage;
import org.springframework.amqp.core.TopicExchange;
import org.springframework.amqp.rabbit.AsyncRabbitTemplate;
import org.springframework.amqp.rabbit.batch.SimpleBatchingStrategy;
import org.springframework.amqp.rabbit.connection.CachingConnectionFactory.ConfirmType;
import org.springframework.amqp.rabbit.connection.CorrelationData;
import org.springframework.amqp.rabbit.core.BatchingRabbitTemplate;
import org.springframework.amqp.rabbit.core.RabbitAdmin;
import org.springframework.amqp.rabbit.core.RabbitTemplate;
import org.springframework.amqp.rabbit.listener.SimpleMessageListenerContainer;
import org.springframework.amqp.rabbit.transaction.RabbitTransactionManager;
import org.springframework.scheduling.concurrent.ThreadPoolTaskScheduler;
import org.springframework.transaction.support.TransactionTemplate;

/** Spring AMQP's RabbitAdmin and RabbitTemplate: what declares, sends, asks and receives. */
final class SpringTemplate {
    private SpringTemplate() {}

    static void checks() {
        Check.add("admin: queues of every kind", 20, SpringTemplate::queues);
        Check.add("admin: exchanges and bindings of every kind", 20, SpringTemplate::exchanges);
        Check.add("a delayed exchange (RabbitMQ: with its plugin)", 20, SpringTemplate::delayed);
        Check.add("properties and headers come back as sent", 20, SpringTemplate::properties);
        Check.add("correlated confirms and returns", 30, SpringTemplate::correlated);
        Check.add("simple confirms, and one that is refused", 20, SpringTemplate::simpleConfirms);
        Check.add("direct reply-to by convertSendAndReceive", 30, SpringTemplate::directReplyTo);
        Check.add("replies by temporary and by fixed queues; asynchronous", 30, SpringTemplate::otherReplies);
        Check.add("receive and reply, with a time to wait", 20, SpringTemplate::receiveAndReply);
        Check.add("transactions: commit, rollback", 20, SpringTemplate::transactions);
        Check.add("batches of the template", 20, SpringTemplate::batches);
    }

    private static void queues() {
        try (Spring spring = new Spring()) {
            RabbitAdmin admin = spring.admin;
            String name = Check.name("queues");
            Queue classic = QueueBuilder.durable(name).ttl(60_000).expires(600_000).maxLength(10).maxLengthBytes(10_000)
                .overflow(QueueBuilder.Overflow.rejectPublish).deadLetterExchange("").deadLetterRoutingKey("nowhere").maxPriority(5)
                .singleActiveConsumer().lazy().classic().build();
            Queue quorum = QueueBuilder.durable(name + ".quorum").quorum().deliveryLimit(3).maxLength(100)
                .overflow(QueueBuilder.Overflow.dropHead).leaderLocator(QueueBuilder.LeaderLocator.balanced).build();
            Queue anonymous = new AnonymousQueue();
            for (Queue queue : List.of(classic, quorum, anonymous)) {
                Check.equal(admin.declareQueue(queue), queue.getActualName(), "declared");
                admin.declareQueue(queue); // equal: taken
            }
            Queue generated = admin.declareQueue();
            Check.equal(generated.getName().startsWith("amq.gen-"), true, "a name of the broker: " + generated.getName());
            for (int i = 0; i < 3; i++) {
                spring.template.convertAndSend(name, "m" + i);
            }
            await("messages", () -> admin.getQueueInfo(name).getMessageCount() == 3);
            Check.equal(admin.getQueueProperties(name).get(RabbitAdmin.QUEUE_CONSUMER_COUNT), 0, "consumers");
            Check.equal(admin.purgeQueue(name), 3, "purged");
            Check.equal(admin.getQueueInfo(Check.name("missing")), null, "no such queue");
            try {
                admin.declareQueue(QueueBuilder.durable(name).build());
                throw new AssertionError("declared otherwise");
            } catch (AmqpIOException e) {
                if (!(e.getCause().getCause() instanceof ShutdownSignalException)
                    || !e.getCause().getCause().getMessage().contains("inequivalent arg")) {
                    throw e;
                }
            }
            for (Queue queue : List.of(classic, quorum, anonymous, generated)) {
                Check.equal(admin.deleteQueue(queue.getActualName()), true, "deleted");
                Check.equal(admin.getQueueInfo(queue.getActualName()), null, "gone");
            }
        }
    }

    private static void exchanges() {
        try (Spring spring = new Spring()) {
            RabbitAdmin admin = spring.admin;
            String name = Check.name("exchanges");
            FanoutExchange rest = new FanoutExchange(name + ".rest");
            TopicExchange topic = ExchangeBuilder.topicExchange(name + ".topic").alternate(rest.getName()).build();
            HeadersExchange headers = new HeadersExchange(name + ".headers", false, true);
            TopicExchange inner = ExchangeBuilder.topicExchange(name + ".inner").internal().build();
            CustomExchange hash = new CustomExchange(name + ".hash", "x-consistent-hash", true, false);
            List<Exchange> all = List.of(rest, topic, headers, inner, hash);
            all.forEach(admin::declareExchange);
            Map<String, Queue> queues = new HashMap<>();
            for (String which : List.of("rest", "topic", "headers", "inner", "hash")) {
                queues.put(which, QueueBuilder.nonDurable(name + "." + which).exclusive().build());
                admin.declareQueue(queues.get(which));
            }
            Binding unbound = BindingBuilder.bind(queues.get("topic")).to(topic).with("x.y");
            for (Binding binding : List.of(unbound,
                BindingBuilder.bind(queues.get("rest")).to(rest),
                BindingBuilder.bind(queues.get("topic")).to(topic).with("a.*"),
                BindingBuilder.bind(queues.get("headers")).to(headers).whereAll(Map.of("kind", "k", "n", 1)).match(),
                BindingBuilder.bind(inner).to(topic).with("#.z"),
                BindingBuilder.bind(queues.get("inner")).to(inner).with("a.z"),
                BindingBuilder.bind(queues.get("hash")).to(hash).with("1").noargs())) {
                admin.declareBinding(binding);
            }
            admin.removeBinding(unbound);
            RabbitTemplate template = spring.template;
            template.convertAndSend(topic.getName(), "a.z", "both");
            template.convertAndSend(topic.getName(), "x.y", "rest");
            template.convertAndSend(headers.getName(), "", "headers", m -> header(header(m, "kind", "k"), "n", 1));
            template.convertAndSend(headers.getName(), "", "none", m -> header(m, "kind", "k"));
            template.convertAndSend(hash.getName(), "some key", "hash");
            for (Map.Entry<String, String> want : Map.of("topic", "both", "inner", "both", "rest", "rest", "headers", "headers",
                "hash", "hash").entrySet()) {
                Check.equal(template.receiveAndConvert(queues.get(want.getKey()).getName(), 5_000), want.getValue(), want.getKey());
                Check.equal(template.receive(queues.get(want.getKey()).getName()), null, "one more in " + want.getKey());
            }
            for (Exchange exchange : all) {
                Check.equal(admin.deleteExchange(exchange.getName()), true, "deleted");
            }
        }
    }

    private static void delayed() {
        try (Spring spring = new Spring()) {
            TopicExchange later = ExchangeBuilder.topicExchange(Check.name("later")).delayed().build();
            spring.admin.declareExchange(later);
            String queue = spring.queue("later");
            spring.admin.declareBinding(new Binding(queue, Binding.DestinationType.QUEUE, later.getName(), "#", null));
            for (long delay : List.of(600L, 300L)) {
                spring.template.convertAndSend(later.getName(), "any", "after " + delay, m -> {
                    m.getMessageProperties().setDelayLong(delay);
                    return m;
                });
            }
            Check.equal(spring.template.receive(queue), null, "before its time");
            Message first = spring.template.receive(queue, 5_000);
            Check.equal(Spring.text(first) + ", " + first.getMessageProperties().getReceivedDelayLong(), "after 300, 300", "first");
            Check.equal(spring.template.receiveAndConvert(queue, 5_000), "after 600", "second");
            spring.admin.deleteExchange(later.getName());
        }
    }

    private static Message header(Message message, String name, Object value) {
        message.getMessageProperties().setHeader(name, value);
        return message;
    }

    private static void properties() {
        try (Spring spring = new Spring()) {
            String queue = spring.queue("properties");
            Map<String, Object> headers = Map.of("int", 7, "long", 1L << 40, "double", 1.5, "flag", true, "text", "ž",
                "list", List.of(1, 2), "table", Map.of("deep", "er"), "when", new Date(1_700_000_000_000L));
            MessageProperties props = new MessageProperties();
            props.setHeaders(new HashMap<>(headers));
            props.setContentType("a/b");
            props.setContentEncoding("gzip");
            props.setPriority(3);
            props.setCorrelationId("c");
            props.setReplyTo("r");
            props.setExpiration("60000");
            props.setMessageId("m");
            props.setTimestamp(new Date(1_700_000_001_000L));
            props.setType("t");
            props.setUserId("guest");
            props.setAppId("app");
            props.setDeliveryMode(MessageDeliveryMode.PERSISTENT);
            spring.template.send("", queue, new Message(new byte[300_000], props));
            Message got = spring.template.receive(queue, 5_000);
            MessageProperties back = got.getMessageProperties();
            Check.equal(got.getBody().length, 300_000, "length");
            Check.equal(back.getHeaders(), headers, "headers");
            Check.equal(List.of(back.getContentType(), back.getContentEncoding(), back.getPriority(), back.getCorrelationId(), back.getReplyTo(),
                back.getExpiration(), back.getMessageId(), back.getTimestamp(), back.getType(), back.getReceivedUserId(), back.getAppId(),
                back.getReceivedDeliveryMode(), back.getReceivedRoutingKey(), back.getReceivedExchange(), back.isRedelivered()),
                List.of("a/b", "gzip", 3, "c", "r", "60000", "m", new Date(1_700_000_001_000L), "t", "guest", "app",
                    MessageDeliveryMode.PERSISTENT, queue, "", false), "properties");
        }
    }

    private static void correlated() throws Exception {
        try (Spring spring = new Spring(ConfirmType.CORRELATED)) {
            String queue = spring.queue("confirms");
            List<ReturnedMessage> returned = new ArrayList<>();
            spring.template.setMandatory(true);
            spring.template.setReturnsCallback(returned::add);
            List<CorrelationData> sent = new ArrayList<>();
            for (int i = 0; i < 500; i++) {
                CorrelationData data = new CorrelationData("m" + i);
                spring.template.convertAndSend("", i % 100 == 99 ? Check.name("nowhere") : queue, "m" + i, data);
                sent.add(data);
            }
            int nowhere = 0;
            for (CorrelationData data : sent) {
                Check.equal(data.getFuture().get(60, TimeUnit.SECONDS).ack(), true, "ack of " + data.getId());
                if (data.getReturned() != null) { // set before the confirm, or never
                    Check.equal(data.getReturned().getReplyCode(), 312, "code");
                    nowhere++;
                }
            }
            Check.equal(nowhere, 5, "returned");
            await("the callback", () -> returned.size() == 5);
            Check.equal(spring.admin.getQueueInfo(queue).getMessageCount(), 495L, "messages");
            CorrelationData data = new CorrelationData("no exchange");
            spring.template.convertAndSend(Check.name("missing"), "k", "x", data);
            Check.equal(data.getFuture().get(60, TimeUnit.SECONDS).ack(), false, "ack of what went to no exchange");
        }
    }

    private static void simpleConfirms() {
        try (Spring spring = new Spring(ConfirmType.SIMPLE)) {
            String queue = Check.name("full");
            spring.admin.declareQueue(QueueBuilder.nonDurable(queue).exclusive().maxLength(2).overflow(QueueBuilder.Overflow.rejectPublish).build());
            for (int i = 0; i < 3; i++) {
                boolean taken = i < 2;
                Check.equal(spring.template.invoke(operations -> {
                    operations.convertAndSend(queue, "x");
                    return operations.waitForConfirms(10_000);
                }), taken, "message " + i);
            }
        }
    }

    private static SimpleMessageListenerContainer answering(Spring spring, String queue) {
        return spring.simple(queue, container -> container.setConcurrentConsumers(2), (message, channel) -> {
            MessageProperties request = message.getMessageProperties();
            spring.template.send("", request.getReplyTo(), MessageBuilder.withBody(("re: " + Spring.text(message)).getBytes())
                .setContentType("text/plain").setCorrelationId(request.getCorrelationId()).build());
        });
    }

    private static void directReplyTo() throws Exception {
        try (Spring spring = new Spring()) {
            String queue = spring.queue("requests");
            answering(spring, queue);
            Set<String> answers = new HashSet<>();
            List<CompletableFuture<Object>> asked = new ArrayList<>();
            for (int i = 0; i < 50; i++) {
                String text = "m" + i;
                asked.add(CompletableFuture.supplyAsync(() -> spring.template.convertSendAndReceive(queue, (Object) text)));
            }
            int again = 0;
            for (int i = 0; i < 50; i++) {
                Object answer = asked.get(i).get(60, TimeUnit.SECONDS);
                if (answer == null && again++ == 0) { // in one of 2,000 runs the container cancels a consumer right behind a request over it
                    answer = spring.template.convertSendAndReceive(queue, (Object) ("m" + i));
                }
                Check.equal(answer, "re: m" + i, "answer");
            }
            spring.template.setReplyTimeout(200);
            spring.admin.declareQueue(QueueBuilder.nonDurable(queue + ".nobody").exclusive().build());
            Check.equal(spring.template.convertSendAndReceive(queue + ".nobody", (Object) "x"), null, "no answer");
            spring.template.setUseDirectReplyToContainer(false);
            spring.template.setReplyTimeout(60_000);
            Check.equal(spring.template.convertSendAndReceive(queue, (Object) "own"), "re: own", "a consumer for each request");
        }
    }

    private static void otherReplies() throws Exception {
        try (Spring spring = new Spring()) {
            String queue = spring.queue("requests");
            answering(spring, queue);
            RabbitTemplate temporary = new RabbitTemplate(spring.connections);
            temporary.setUseTemporaryReplyQueues(true);
            Check.equal(temporary.convertSendAndReceive(queue, (Object) "temporary"), "re: temporary", "answer");

            RabbitTemplate fixed = new RabbitTemplate(spring.connections);
            fixed.setReplyAddress(spring.queue("replies"));
            SimpleMessageListenerContainer replies = spring.container(new SimpleMessageListenerContainer(spring.connections));
            replies.setQueueNames(Check.name("replies"));
            replies.setMessageListener(fixed);
            replies.start();
            Check.equal(fixed.convertSendAndReceive(queue, (Object) "fixed"), "re: fixed", "answer");

            ThreadPoolTaskScheduler scheduler = new ThreadPoolTaskScheduler();
            scheduler.initialize();
            AsyncRabbitTemplate async = new AsyncRabbitTemplate(spring.template);
            async.setTaskScheduler(scheduler);
            async.start();
            List<CompletableFuture<Object>> asked = new ArrayList<>();
            for (int i = 0; i < 20; i++) {
                asked.add(async.convertSendAndReceive(queue, (Object) ("a" + i)));
            }
            for (int i = 0; i < 20; i++) {
                Check.equal(asked.get(i).get(60, TimeUnit.SECONDS), "re: a" + i, "answer");
            }
            async.stop();
            scheduler.shutdown();
        }
    }

    private static void receiveAndReply() throws Exception {
        try (Spring spring = new Spring()) {
            String queue = spring.queue("asked");
            CompletableFuture<Object> answer = CompletableFuture.supplyAsync(() -> spring.template.convertSendAndReceive(queue, (Object) "question"));
            await("the question", () -> spring.template.<String, String>receiveAndReply(queue, text -> text + "!"));
            Check.equal(answer.get(60, TimeUnit.SECONDS), "question!", "answer");
            long start = System.nanoTime();
            Check.equal(spring.template.receive(queue, 300), null, "nothing");
            Check.equal(System.nanoTime() - start >= 290_000_000L, true, "waited");
        }
    }

    private static void transactions() throws Exception {
        try (Spring spring = new Spring()) {
            String from = spring.queue("from"), to = spring.queue("to");
            RabbitTemplate template = new RabbitTemplate(spring.connections);
            template.setChannelTransacted(true);
            TransactionTemplate transaction = new TransactionTemplate(new RabbitTransactionManager(spring.connections));
            template.convertAndSend(from, "work"); // alone: committed at once
            await("the message", () -> spring.admin.getQueueInfo(from).getMessageCount() == 1);
            transaction.executeWithoutResult(status -> {
                Check.equal(template.receiveAndConvert(from), "work", "received");
                template.convertAndSend(to, "half done");
                Check.equal(spring.template.receive(to), null, "before the commit");
                status.setRollbackOnly();
            });
            Check.equal(spring.admin.getQueueInfo(from).getMessageCount() + " " + spring.admin.getQueueInfo(to).getMessageCount(), "1 0", "rolled back");
            transaction.executeWithoutResult(status -> template.convertAndSend(to, template.receiveAndConvert(from) + " done"));
            Check.equal(spring.admin.getQueueInfo(from).getMessageCount(), 0L, "acked with the commit");
            Check.equal(spring.template.receiveAndConvert(to, 5_000), "work done", "result");
        }
    }

    private static void batches() throws Exception {
        try (Spring spring = new Spring()) {
            String queue = spring.queue("batches");
            ThreadPoolTaskScheduler scheduler = new ThreadPoolTaskScheduler();
            scheduler.initialize();
            BatchingRabbitTemplate template = new BatchingRabbitTemplate(spring.connections, new SimpleBatchingStrategy(10, 100_000, 200), scheduler);
            List<String> got = new ArrayList<>();
            for (int i = 0; i < 25; i++) {
                template.convertAndSend(queue, "m" + i);
            }
            await("three batches", () -> spring.admin.getQueueInfo(queue).getMessageCount() == 3);
            spring.simple(queue, container -> {}, (message, channel) -> got.add(Spring.text(message)));
            await("25 messages", () -> got.size() == 25);
            Check.equal(got.get(24), "m24", "the last");
            scheduler.shutdown();
        }
    }

    private static void await(String what, Callable<Boolean> condition) {
        try {
            Check.until(what, condition);
        } catch (RuntimeException e) {
            throw e;
        } catch (Exception e) {
            throw new AssertionError(e);
        }
    }
}
