import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.springframework.amqp.core.Binding;
import org.springframework.amqp.core.BindingBuilder;
import org.springframework.amqp.core.Declarables;
import org.springframework.amqp.core.Queue;
import org.springframework.amqp.core.QueueBuilder;
import org.springframework.amqp.core.TopicExchange;
import org.springframework.amqp.rabbit.annotation.Argument;
import org.springframework.amqp.rabbit.annotation.EnableRabbit;
import org.springframework.amqp.rabbit.annotation.Exchange;
import org.springframework.amqp.rabbit.annotation.QueueBinding;
import org.springframework.amqp.rabbit.annotation.RabbitListener;
import org.springframework.amqp.rabbit.config.DirectRabbitListenerContainerFactory;
import org.springframework.amqp.rabbit.config.RetryInterceptorBuilder;
import org.springframework.amqp.rabbit.config.SimpleRabbitListenerContainerFactory;
import org.springframework.amqp.rabbit.connection.CachingConnectionFactory;
import org.springframework.amqp.rabbit.connection.ConnectionFactory;
import org.springframework.amqp.rabbit.core.RabbitAdmin;
import org.springframework.amqp.rabbit.core.RabbitTemplate;
import org.springframework.amqp.rabbit.retry.RejectAndDontRequeueRecoverer;
import org.springframework.amqp.support.AmqpHeaders;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.messaging.handler.annotation.Header;
import org.springframework.messaging.handler.annotation.SendTo;

/** An application of annotations: declared by beans and by listeners, started as a context. */
public final class SpringAnnotated {
    static final BlockingQueue<String> got = new LinkedBlockingQueue<>();
    static final Map<String, Integer> tries = new ConcurrentHashMap<>();

    private SpringAnnotated() {}

    /** The names of this run, for annotations. */
    public static final class Names {
        public String of(String what) {
            return Check.name("annotated." + what);
        }
    }

    @Configuration(proxyBeanMethods = false)
    @EnableRabbit
    public static class Config {
        @Bean
        Names names() {
            return new Names();
        }

        @Bean
        CachingConnectionFactory connections() {
            return new CachingConnectionFactory(Check.AMQP.split(":")[0], Integer.parseInt(Check.AMQP.split(":")[1]));
        }

        @Bean
        RabbitAdmin admin(ConnectionFactory connections) {
            return new RabbitAdmin(connections);
        }

        @Bean
        RabbitTemplate template(ConnectionFactory connections) {
            RabbitTemplate template = new RabbitTemplate(connections);
            template.setReplyTimeout(60_000);
            return template;
        }

        @Bean
        Declarables topology(Names names) {
            TopicExchange dead = new TopicExchange(names.of("dlx"));
            Queue graves = QueueBuilder.durable(names.of("graves")).build();
            Binding all = BindingBuilder.bind(graves).to(dead).with("#");
            return new Declarables(dead, graves, all);
        }

        @Bean
        SimpleRabbitListenerContainerFactory rabbitListenerContainerFactory(ConnectionFactory connections) {
            SimpleRabbitListenerContainerFactory factory = new SimpleRabbitListenerContainerFactory();
            factory.setConnectionFactory(connections);
            factory.setReceiveTimeout(100L);
            factory.setAdviceChain(RetryInterceptorBuilder.stateless().maxRetries(2).backOffOptions(10, 2, 50)
                .recoverer(new RejectAndDontRequeueRecoverer()).build());
            return factory;
        }

        @Bean
        DirectRabbitListenerContainerFactory direct(ConnectionFactory connections) {
            DirectRabbitListenerContainerFactory factory = new DirectRabbitListenerContainerFactory();
            factory.setConnectionFactory(connections);
            factory.setConsumersPerQueue(2);
            return factory;
        }

        @Bean
        Listeners listeners() {
            return new Listeners();
        }
    }

    public static class Listeners {
        @RabbitListener(bindings = @QueueBinding(
            value = @org.springframework.amqp.rabbit.annotation.Queue(name = "#{names.of('orders')}", durable = "true", arguments = {
                @Argument(name = "x-dead-letter-exchange", value = "#{names.of('dlx')}"),
                @Argument(name = "x-message-ttl", value = "60000", type = "java.lang.Integer"),
                @Argument(name = "x-queue-type", value = "quorum")}),
            exchange = @Exchange(name = "#{names.of('orders')}", type = "topic"), key = {"order.*", "urgent.#"}))
        void order(String body, @Header(AmqpHeaders.RECEIVED_ROUTING_KEY) String key) {
            tries.merge(body, 1, Integer::sum);
            if (body.startsWith("bad")) {
                throw new IllegalStateException(body);
            }
            got.add(key + "=" + body);
        }

        @RabbitListener(queuesToDeclare = @org.springframework.amqp.rabbit.annotation.Queue(name = "#{names.of('square')}"), containerFactory = "direct")
        String square(String number) {
            return String.valueOf(Integer.parseInt(number) * Integer.parseInt(number));
        }

        @RabbitListener(queuesToDeclare = @org.springframework.amqp.rabbit.annotation.Queue(name = "#{names.of('forward')}"))
        @SendTo("#{names.of('square')}")
        String forward(String number) {
            return number;
        }

        @RabbitListener(bindings = @QueueBinding(value = @org.springframework.amqp.rabbit.annotation.Queue,
            exchange = @Exchange(name = "#{names.of('news')}", type = "fanout")))
        void news(String body) {
            got.add("news " + body);
        }
    }

    static void check() throws Exception {
        try (AnnotationConfigApplicationContext context = new AnnotationConfigApplicationContext(Config.class)) {
            RabbitTemplate template = context.getBean(RabbitTemplate.class);
            RabbitAdmin admin = context.getBean(RabbitAdmin.class);
            Names names = new Names();
            template.convertAndSend(names.of("orders"), "order.made", "fine");
            Check.equal(got.poll(60, TimeUnit.SECONDS), "order.made=fine", "order");
            template.convertAndSend(names.of("orders"), "urgent.a.b", "soon");
            Check.equal(got.poll(60, TimeUnit.SECONDS), "urgent.a.b=soon", "order");
            template.convertAndSend(names.of("orders"), "order.made", "bad one");
            Check.equal(template.receiveAndConvert(names.of("graves"), 10_000), "bad one", "dead letter");
            Check.equal(tries.get("bad one"), 3, "tries");
            template.convertAndSend(names.of("news"), "", "flash");
            Check.equal(got.poll(60, TimeUnit.SECONDS), "news flash", "an anonymous queue");
            Check.equal(template.convertSendAndReceive(names.of("square"), (Object) "12"), "144", "answer");
            for (String queue : List.of("orders", "square", "forward", "graves")) {
                admin.deleteQueue(names.of(queue));
            }
            for (String exchange : List.of("orders", "news", "dlx")) {
                admin.deleteExchange(names.of(exchange));
            }
        }
    }
}
