import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import org.springframework.amqp.core.AcknowledgeMode;
import org.springframework.amqp.core.Message;
import org.springframework.amqp.core.QueueBuilder;
import org.springframework.amqp.rabbit.connection.CachingConnectionFactory;
import org.springframework.amqp.rabbit.core.RabbitAdmin;
import org.springframework.amqp.rabbit.core.RabbitTemplate;
import org.springframework.amqp.rabbit.listener.AbstractMessageListenerContainer;
import org.springframework.amqp.rabbit.listener.DirectMessageListenerContainer;
import org.springframework.amqp.rabbit.listener.SimpleMessageListenerContainer;
import org.springframework.amqp.rabbit.listener.api.ChannelAwareMessageListener;

/** Spring AMQP: its connections, admin and template, and the program of both kinds of checks. */
final class Spring implements AutoCloseable {
    final CachingConnectionFactory connections;
    final RabbitAdmin admin;
    final RabbitTemplate template;
    private final List<AbstractMessageListenerContainer> containers = new ArrayList<>();
    private final List<String> queues = new ArrayList<>();

    public static void main(String[] args) {
        SpringTemplate.checks();
        SpringListeners.checks();
        Check.main();
    }

    Spring() {
        this(CachingConnectionFactory.ConfirmType.NONE);
    }

    Spring(CachingConnectionFactory.ConfirmType confirms) {
        connections = new CachingConnectionFactory(Check.AMQP.split(":")[0], Integer.parseInt(Check.AMQP.split(":")[1]));
        connections.setPublisherConfirmType(confirms);
        connections.setPublisherReturns(confirms == CachingConnectionFactory.ConfirmType.CORRELATED);
        template = new RabbitTemplate(connections);
        template.setReplyTimeout(60_000);
        admin = new RabbitAdmin(connections);
    }

    /** A durable queue that is deleted at the end. */
    String queue(String what) {
        return queue(QueueBuilder.durable(Check.name(what)));
    }

    String queue(QueueBuilder builder) {
        queues.add(admin.declareQueue(builder.build()));
        return queues.get(queues.size() - 1);
    }

    /** A container that is stopped at the end. */
    <C extends AbstractMessageListenerContainer> C container(C container) {
        container.setShutdownTimeout(2_000);
        container.setRecoveryInterval(200);
        containers.add(container);
        return container;
    }

    SimpleMessageListenerContainer simple(String queue, Consumer<SimpleMessageListenerContainer> settings, ChannelAwareMessageListener listener) {
        SimpleMessageListenerContainer container = container(new SimpleMessageListenerContainer(connections));
        container.setReceiveTimeout(100);
        return started(container, queue, settings, listener);
    }

    DirectMessageListenerContainer direct(String queue, Consumer<DirectMessageListenerContainer> settings, ChannelAwareMessageListener listener) {
        return started(container(new DirectMessageListenerContainer(connections)), queue, settings, listener);
    }

    private <C extends AbstractMessageListenerContainer> C started(C container, String queue, Consumer<C> settings, ChannelAwareMessageListener listener) {
        container.setQueueNames(queue);
        container.setAcknowledgeMode(AcknowledgeMode.AUTO);
        settings.accept(container);
        container.setMessageListener(listener);
        container.afterPropertiesSet();
        container.start();
        return container;
    }

    static String text(Message message) {
        return new String(message.getBody(), StandardCharsets.UTF_8);
    }

    @Override
    public void close() {
        containers.forEach(AbstractMessageListenerContainer::stop);
        template.stop();
        queues.forEach(admin::deleteQueue);
        connections.destroy();
    }
}
