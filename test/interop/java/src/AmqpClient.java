import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.BuiltinExchangeType;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.DeliverCallback;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.GetResponse;
import com.rabbitmq.client.LongString;
import com.rabbitmq.client.MessageProperties;
import com.rabbitmq.client.ShutdownSignalException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Date;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/** RabbitMQ's Java client: the calls of its Java tutorials. */
public final class AmqpClient {
    private static final Map<String, Object> QUORUM = Map.of("x-queue-type", "quorum");

    public static void main(String[] args) {
        Check.add("tutorial 1, hello world", 20, AmqpClient::hello);
        Check.add("tutorial 2, work queues; a worker dies", 30, AmqpClient::workQueues);
        Check.add("tutorials 3 to 5, fanout, direct, topic", 20, AmqpClient::exchanges);
        Check.add("tutorial 6, remote procedure calls", 20, AmqpClient::rpc);
        Check.add("tutorial 7, publisher confirms", 30, AmqpClient::confirms);
        Check.add("properties and headers come back as sent", 20, AmqpClient::properties);
        Check.add("topology recovery after a lost connection", 30, AmqpClient::recovery);
        Check.add("errors carry RabbitMQ's codes", 20, AmqpClient::errors);
        Check.main();
    }

    private static Connection connect() throws Exception {
        ConnectionFactory factory = new ConnectionFactory();
        factory.setUri("amqp://guest:guest@" + Check.AMQP + "/%2F");
        factory.setNetworkRecoveryInterval(200);
        return factory.newConnection();
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static String text(Delivery delivery) {
        return new String(delivery.getBody(), StandardCharsets.UTF_8);
    }

    private static BlockingQueue<Delivery> consume(Channel channel, String queue, boolean autoAck) throws IOException {
        BlockingQueue<Delivery> got = new LinkedBlockingQueue<>();
        channel.basicConsume(queue, autoAck, (tag, delivery) -> got.add(delivery), tag -> {});
        return got;
    }

    private static Delivery next(BlockingQueue<Delivery> from) throws InterruptedException {
        Delivery delivery = from.poll(60, TimeUnit.SECONDS);
        if (delivery == null) {
            throw new AssertionError("no message within 10 s");
        }
        return delivery;
    }

    private static void hello() throws Exception {
        try (Connection connection = connect(); Channel ch = connection.createChannel()) {
            for (boolean quorum : new boolean[] {false, true}) {
                String queue = Check.name("hello" + quorum);
                ch.queueDeclare(queue, quorum, false, false, quorum ? QUORUM : null);
                ch.basicPublish("", queue, null, bytes("Hello World!"));
                Check.equal(text(next(consume(ch, queue, true))), "Hello World!", "body");
                ch.queueDelete(queue);
            }
        }
    }

    private static void workQueues() throws Exception {
        String queue = Check.name("task_queue");
        try (Connection boss = connect(); Channel ch = boss.createChannel()) {
            ch.queueDeclare(queue, true, false, false, QUORUM);
            List<String> want = new ArrayList<>();
            for (int i = 0; i < 10; i++) {
                ch.basicPublish("", queue, MessageProperties.PERSISTENT_TEXT_PLAIN, bytes("task " + i));
                want.add("task " + i);
            }
            Connection doomed = connect();
            Channel dying = doomed.createChannel();
            dying.basicQos(1);
            next(consume(dying, queue, false));
            doomed.abort();
            Check.until("the task to come back", () -> ch.messageCount(queue) == 10);

            Channel worker = boss.createChannel();
            worker.basicQos(1);
            BlockingQueue<Delivery> tasks = consume(worker, queue, false);
            List<String> done = new ArrayList<>();
            for (int i = 0; i < 10; i++) {
                Delivery task = next(tasks);
                Check.equal(task.getEnvelope().isRedeliver(), i == 0, "redelivered, task " + i);
                done.add(text(task));
                worker.basicAck(task.getEnvelope().getDeliveryTag(), false);
            }
            Check.equal(done, want, "tasks");
            worker.close();
            Check.until("an empty queue", () -> ch.messageCount(queue) == 0);
            ch.queueDelete(queue);
        }
    }

    private static void exchanges() throws Exception {
        try (Connection connection = connect(); Channel ch = connection.createChannel()) {
            routed(ch, BuiltinExchangeType.FANOUT, List.of(""), List.of("", "x"), List.of("", "x"));
            routed(ch, BuiltinExchangeType.DIRECT, List.of("error"), List.of("info", "error"), List.of("error"));
            routed(ch, BuiltinExchangeType.TOPIC, List.of("kern.*", "*.critical"),
                List.of("kern.critical", "a.b.critical", "cron.critical", "kern"), List.of("kern.critical", "cron.critical"));
        }
    }

    private static void routed(Channel ch, BuiltinExchangeType type, List<String> bind, List<String> keys, List<String> want)
            throws Exception {
        String exchange = Check.name(type.getType());
        ch.exchangeDeclare(exchange, type);
        String queue = ch.queueDeclare().getQueue();
        for (String key : bind) {
            ch.queueBind(queue, exchange, key);
        }
        for (String key : keys) {
            ch.basicPublish(exchange, key, null, bytes(key));
        }
        BlockingQueue<Delivery> from = consume(ch, queue, true);
        List<String> got = new ArrayList<>();
        for (int i = 0; i < want.size(); i++) {
            got.add(next(from).getEnvelope().getRoutingKey());
        }
        Check.equal(got, want, type.getType());
        Check.equal(from.poll(50, TimeUnit.MILLISECONDS), null, "one more");
        ch.exchangeDelete(exchange);
    }

    private static void rpc() throws Exception {
        String queue = Check.name("rpc_queue");
        try (Connection connection = connect(); Channel server = connection.createChannel(); Channel client = connection.createChannel()) {
            server.queueDeclare(queue, true, false, false, QUORUM);
            server.basicQos(1);
            DeliverCallback answer = (tag, request) -> {
                int n = Integer.parseInt(text(request));
                AMQP.BasicProperties props = new AMQP.BasicProperties.Builder()
                    .correlationId(request.getProperties().getCorrelationId()).build();
                server.basicPublish("", request.getProperties().getReplyTo(), props, bytes(String.valueOf(n * n)));
                server.basicAck(request.getEnvelope().getDeliveryTag(), false);
            };
            server.basicConsume(queue, false, answer, tag -> {});
            String replies = client.queueDeclare().getQueue();
            BlockingQueue<Delivery> answers = consume(client, replies, true);
            for (int n : new int[] {3, 9}) {
                client.basicPublish("", queue,
                    new AMQP.BasicProperties.Builder().correlationId("c" + n).replyTo(replies).build(), bytes(String.valueOf(n)));
                Delivery got = next(answers);
                Check.equal(got.getProperties().getCorrelationId() + "=" + text(got), "c" + n + "=" + n * n, "answer");
            }
            client.queueDelete(queue);
        }
    }

    private static void confirms() throws Exception {
        String queue = Check.name("confirms");
        try (Connection connection = connect(); Channel ch = connection.createChannel()) {
            ch.queueDeclare(queue, true, false, false, null);
            ch.confirmSelect();
            for (int i = 0; i < 20; i++) {
                ch.basicPublish("", queue, MessageProperties.PERSISTENT_BASIC, bytes("x"));
                ch.waitForConfirmsOrDie(5_000);
            }
            AtomicInteger nacks = new AtomicInteger();
            ch.addConfirmListener((tag, multiple) -> {}, (tag, multiple) -> nacks.incrementAndGet());
            for (int i = 0; i < 1000; i++) {
                ch.basicPublish("", queue, MessageProperties.PERSISTENT_BASIC, bytes("y"));
            }
            ch.waitForConfirmsOrDie(10_000);
            Check.equal(nacks.get(), 0, "nacks");
            Check.equal(ch.messageCount(queue), 1020L, "messages");
            List<Integer> returned = new ArrayList<>();
            ch.addReturnListener(r -> returned.add(r.getReplyCode()));
            ch.basicPublish("", Check.name("nowhere"), true, null, bytes("z"));
            ch.waitForConfirmsOrDie(5_000);
            Check.equal(returned, List.of(312), "returns before the confirm");
            ch.queueDelete(queue);
        }
    }

    private static void properties() throws Exception {
        try (Connection connection = connect(); Channel ch = connection.createChannel()) {
            String queue = ch.queueDeclare().getQueue();
            Map<String, Object> headers = new HashMap<>();
            headers.put("int", 7);
            headers.put("long", 1L << 40);
            headers.put("double", 1.5);
            headers.put("flag", true);
            headers.put("none", null);
            headers.put("list", List.of(1, 2));
            headers.put("table", Map.of("deep", 1));
            headers.put("when", new Date(1700000000000L));
            headers.put("text", "ž");
            AMQP.BasicProperties sent = new AMQP.BasicProperties("a/b", "gzip", headers, 2, 5, "c", "r", "60000", "m",
                new Date(1700000001000L), "t", "guest", "app", null);
            ch.basicPublish("", queue, sent, new byte[300_000]);
            GetResponse[] got = new GetResponse[1];
            Check.until("the message", () -> (got[0] = ch.basicGet(queue, true)) != null);
            Check.equal(got[0].getBody().length, 300_000, "length");
            AMQP.BasicProperties props = got[0].getProps();
            Map<String, Object> back = new HashMap<>(props.getHeaders());
            Check.equal(((LongString) back.get("text")).toString(), "ž", "text header");
            back.put("text", "ž");
            Check.equal(back, headers, "headers");
            Check.equal(props.builder().headers(null).build().toString(), sent.builder().headers(null).build().toString(), "properties");
        }
    }

    /** The client declares everything again after a reconnect: equal declarations must be accepted. */
    private static void recovery() throws Exception {
        String queue = Check.name("recovery");
        try (Connection connection = connect(); Channel ch = connection.createChannel()) {
            ch.exchangeDeclare(Check.name("recovery"), "topic", true);
            ch.queueDeclare(queue, true, false, false, null);
            ch.queueBind(queue, Check.name("recovery"), "a.#");
            String own = ch.queueDeclare().getQueue();
            ch.queueBind(own, Check.name("recovery"), "a.#");
            BlockingQueue<Delivery> got = consume(ch, queue, true);
            ((com.rabbitmq.client.impl.recovery.AutorecoveringConnection) connection).getDelegate()
                .close(320, "interop: lost on purpose", false, new IOException("lost"));
            Check.until("the connection to recover", () -> {
                try {
                    return ch.isOpen() && ch.consumerCount(queue) == 1;
                } catch (IOException | ShutdownSignalException e) {
                    return false;
                }
            });
            ch.basicPublish(Check.name("recovery"), "a.b", null, bytes("after"));
            Check.equal(text(next(got)), "after", "a message after the recovery");
            ch.queueDelete(queue);
            ch.exchangeDelete(Check.name("recovery"));
        }
    }

    private static void errors() throws Exception {
        try (Connection connection = connect()) {
            code(404, connection, ch -> ch.queueDeclarePassive(Check.name("missing")));
            code(403, connection, ch -> ch.queueDeclare("amq.mine", false, false, false, null));
            code(406, connection, ch -> ch.exchangeDeclare("amq.topic", "direct", true));
        }
    }

    private interface Call {
        void on(Channel channel) throws IOException;
    }

    private static void code(int want, Connection connection, Call call) throws IOException {
        try {
            call.on(connection.createChannel());
        } catch (IOException e) {
            ShutdownSignalException signal = (ShutdownSignalException) e.getCause();
            Check.equal(((AMQP.Channel.Close) signal.getReason()).getReplyCode(), want, "reply code");
            return;
        }
        throw new AssertionError("no error " + want);
    }
}
