import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicInteger;

import org.springframework.context.ApplicationEvent;
import org.springframework.messaging.Message;
import org.springframework.messaging.MessageHeaders;
import org.springframework.messaging.simp.SimpMessageType;
import org.springframework.messaging.simp.SimpMessagingTemplate;
import org.springframework.messaging.simp.broker.BrokerAvailabilityEvent;
import org.springframework.messaging.simp.stomp.StompBrokerRelayMessageHandler;
import org.springframework.messaging.simp.stomp.StompCommand;
import org.springframework.messaging.simp.stomp.StompHeaderAccessor;
import org.springframework.messaging.support.ExecutorSubscribableChannel;
import org.springframework.messaging.support.MessageBuilder;
import org.springframework.scheduling.concurrent.ThreadPoolTaskExecutor;

/**
 * Spring's relay to a broker's STOMP port, as an application with WebSocket clients runs it: a system connection of its
 * own and one for each user, between the channels that Spring's WebSocket support would be on the other side of.
 */
public final class SpringRelay {
    private static final String[] ADDRESS = System.getenv().getOrDefault("STOMP_ADDR", "127.0.0.1:61613").split(":");

    private final ExecutorSubscribableChannel in;
    private final ExecutorSubscribableChannel out = new ExecutorSubscribableChannel();
    private final ExecutorSubscribableChannel broker = new ExecutorSubscribableChannel();
    private final Map<String, Queue<Message<?>>> got = new ConcurrentHashMap<>();
    private final AtomicInteger available = new AtomicInteger();
    private final StompBrokerRelayMessageHandler relay;

    private SpringRelay() throws Exception {
        ThreadPoolTaskExecutor one = new ThreadPoolTaskExecutor(); // one thread keeps a user's frames in order
        one.setCorePoolSize(1);
        one.setMaxPoolSize(1);
        one.initialize();
        in = new ExecutorSubscribableChannel(one);
        out.subscribe(m -> {
            String session = StompHeaderAccessor.wrap(m).getSessionId();
            got.computeIfAbsent(session, s -> new ConcurrentLinkedQueue<>()).add(m);
        });
        relay = new StompBrokerRelayMessageHandler(in, out, broker, List.of("/topic", "/queue", "/exchange", "/nowhere"));
        relay.setRelayHost(ADDRESS[0]);
        relay.setRelayPort(Integer.parseInt(ADDRESS[1]));
        relay.setSystemLogin("guest");
        relay.setSystemPasscode("guest");
        relay.setClientLogin("guest");
        relay.setClientPasscode("guest");
        relay.setSystemHeartbeatSendInterval(1000);
        relay.setSystemHeartbeatReceiveInterval(1000);
        relay.setApplicationEventPublisher(event -> {
            if (event instanceof BrokerAvailabilityEvent e) {
                available.addAndGet(e.isBrokerAvailable() ? 1 : -1000);
            }
        });
        relay.start();
        Check.until("the broker is available", () -> available.get() == 1);
    }

    private void send(String session, StompCommand command, Map<String, String> headers, String body) {
        StompHeaderAccessor h = StompHeaderAccessor.create(command);
        h.setSessionId(session);
        h.setSessionAttributes(new HashMap<>());
        headers.forEach(h::addNativeHeader);
        if (headers.containsKey("destination")) {
            h.setDestination(headers.get("destination"));
        }
        if (headers.containsKey("id")) {
            h.setSubscriptionId(headers.get("id"));
        }
        h.setLeaveMutable(true);
        in.send(MessageBuilder.createMessage(body.getBytes(StandardCharsets.UTF_8), h.getMessageHeaders()));
    }

    private String connect() throws Exception {
        String session = UUID.randomUUID().toString();
        send(session, StompCommand.CONNECT, Map.of("accept-version", "1.1,1.2", "heart-beat", "0,0", "host", ADDRESS[0]), "");
        Message<?> m = next(session, SimpMessageType.CONNECT_ACK, SimpMessageType.OTHER);
        Check.equal(StompHeaderAccessor.wrap(m).getCommand(), StompCommand.CONNECTED, "the answer");
        return session;
    }

    private Message<?> next(String session, SimpMessageType... types) throws Exception {
        Queue<Message<?>> queue = got.computeIfAbsent(session, s -> new ConcurrentLinkedQueue<>());
        for (;;) {
            Check.until("a message of " + List.of(types), () -> !queue.isEmpty());
            Message<?> m = queue.poll();
            if (List.of(types).contains(StompHeaderAccessor.wrap(m).getMessageType())) {
                return m;
            }
        }
    }

    private static String text(Message<?> m) {
        return new String((byte[]) m.getPayload(), StandardCharsets.UTF_8);
    }

    private void subscribe(String session, String id, String destination) throws Exception {
        send(session, StompCommand.SUBSCRIBE, Map.of("id", id, "destination", destination, "receipt", "sub-" + id), "");
        Message<?> m = next(session, SimpMessageType.OTHER);
        Check.equal(StompHeaderAccessor.wrap(m).getReceiptId(), "sub-" + id, "receipt of the subscription");
    }

    private void broadcast() throws Exception {
        String topic = "/topic/" + Check.name("news"), one = connect(), two = connect();
        subscribe(one, "1", topic);
        subscribe(two, "2", topic);
        SimpMessagingTemplate template = new SimpMessagingTemplate(broker);
        template.convertAndSend(topic, "grüße".getBytes(StandardCharsets.UTF_8), Map.<String, Object>of("color", "red")); // by the system connection
        for (String session : List.of(one, two)) {
            Message<?> m = next(session, SimpMessageType.MESSAGE);
            StompHeaderAccessor h = StompHeaderAccessor.wrap(m);
            Check.equal(List.of(text(m), h.getDestination(), h.getSubscriptionId(), h.getFirstNativeHeader("color")),
                    List.of("grüße", topic, session == one ? "1" : "2", "red"), "broadcast");
        }
        send(one, StompCommand.SEND, Map.of("destination", topic, "content-type", "text/plain"), "from a user");
        Check.equal(text(next(two, SimpMessageType.MESSAGE)), "from a user", "message of a user");
        send(one, StompCommand.UNSUBSCRIBE, Map.of("id", "1"), "");
        close(one);
        close(two);
    }

    private void close(String session) throws Exception {
        send(session, StompCommand.DISCONNECT, Map.of("receipt", "bye"), "");
        next(session, SimpMessageType.DISCONNECT_ACK, SimpMessageType.OTHER);
    }

    private void errors() throws Exception {
        String good = connect(), bad = connect(), topic = "/topic/" + Check.name("errors");
        subscribe(good, "1", topic);
        send(bad, StompCommand.SUBSCRIBE, Map.of("id", "1", "destination", "/exchange/" + Check.name("none") + "/k"), "");
        Message<?> m = next(bad, SimpMessageType.OTHER);
        StompHeaderAccessor h = StompHeaderAccessor.wrap(m);
        Check.equal(List.of(h.getCommand(), h.getMessage()), List.of(StompCommand.ERROR, "not_found"), "the error");
        send(good, StompCommand.SEND, Map.of("destination", topic), "still here");
        Check.equal(text(next(good, SimpMessageType.MESSAGE)), "still here", "the others go on");
        Check.equal(available.get(), 1, "the system connection has stayed");
        close(good);
    }

    private void many() throws Exception {
        String topic = "/topic/" + Check.name("many"), session = connect();
        subscribe(session, "1", topic);
        SimpMessagingTemplate template = new SimpMessagingTemplate(broker);
        for (int i = 0; i < 1000; i++) {
            template.send(topic, MessageBuilder.withPayload(String.valueOf(i).getBytes(StandardCharsets.UTF_8)).build());
        }
        for (int i = 0; i < 1000; i++) {
            Check.equal(text(next(session, SimpMessageType.MESSAGE)), String.valueOf(i), "message");
        }
        close(session);
    }

    private void beats() throws Exception {
        Thread.sleep(3500);
        Check.equal(available.get(), 1, "with heart-beats of a second the system connection stays");
    }

    public static void main(String[] args) throws Exception {
        SpringRelay r = new SpringRelay();
        Check.add("the relay: users subscribe, the application and users send", 30, r::broadcast);
        Check.add("the relay: an error is one user's", 30, r::errors);
        Check.add("the relay: a thousand messages in order", 40, r::many);
        Check.add("the relay: heart-beats of the system connection", 20, r::beats);
        Check.main();
    }
}
