import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.LoggerContext;
import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.perf.PerfTest;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.slf4j.LoggerFactory;

/** RabbitMQ's PerfTest in its modes, each with the arguments that a shell would give it. */
public final class PerfTestModes {
    private static final String URI = "amqp://guest:guest@" + Check.AMQP;
    private static Connection connection;
    private static Channel ch;

    public static void main(String[] args) throws Exception {
        ((LoggerContext) LoggerFactory.getILoggerFactory()).getLogger("ROOT").setLevel(Level.OFF);
        connect();
        Check.add("defaults", 20, PerfTestModes::defaults);
        Check.add("confirms, persistent, more of everything", 20, PerfTestModes::confirms);
        Check.add("limits: length, time to live, refused", 30, PerfTestModes::limits);
        Check.add("quorum queues", 20, PerfTestModes::quorum);
        Check.add("stream queues, from an offset", 30, PerfTestModes::streams);
        Check.add("predeclared", 20, PerfTestModes::predeclared);
        Check.add("rates", 20, PerfTestModes::rates);
        Check.add("acks: multiple, automatic, prefetch of consumer and channel", 30, PerfTestModes::acks);
        Check.add("nacks: back into the queue, and to dead letters", 20, PerfTestModes::nacks);
        Check.add("exchange types", 20, PerfTestModes::exchanges);
        Check.add("transactions", 20, PerfTestModes::transactions);
        Check.add("polling", 20, PerfTestModes::polling);
        Check.add("mandatory", 20, PerfTestModes::mandatory);
        Check.add("priorities and properties", 20, PerfTestModes::priorities);
        Check.add("exclusive queues, until they are empty", 20, PerfTestModes::exclusive);
        Check.add("bodies: large, JSON, of changing size", 20, PerfTestModes::bodies);
        Check.add("what the broker refuses ends it", 20, PerfTestModes::refused);
        Check.main();
    }

    private static void connect() throws Exception {
        ConnectionFactory factory = new ConnectionFactory();
        factory.setUri(URI + "/%2F");
        connection = factory.newConnection();
        ch = connection.createChannel();
    }

    /** What a run printed, and how it ended. */
    private record Run(int status, String out, String err) {
        Run ended(String reason) {
            Check.equal(status, 0, "exit status of\n" + out + err);
            if (!out.contains(reason)) {
                throw new AssertionError("not ended by \"" + reason + "\": " + out + err);
            }
            return this;
        }

        double rate(String which) {
            Matcher m = Pattern.compile(which + " rate avg: ([0-9.]+) msg/s").matcher(out);
            if (!m.find()) {
                throw new AssertionError("no " + which + " rate: " + out + err);
            }
            return Double.parseDouble(m.group(1));
        }

        /** The largest figure of a column in the lines of each interval. */
        double most(String column) {
            double most = -1;
            for (Matcher m = Pattern.compile(column + ": ([0-9.]+) msg/s").matcher(out); m.find();) {
                most = Math.max(most, Double.parseDouble(m.group(1)));
            }
            return most;
        }
    }

    private static Run run(String... args) {
        List<String> all = new ArrayList<>(List.of("--uri", URI));
        all.addAll(List.of(args));
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        ByteArrayOutputStream err = new ByteArrayOutputStream();
        int[] status = {0};
        PerfTest.main(all.toArray(String[]::new), new PerfTest.PerfTestOptions()
            .setSystemExiter(code -> status[0] = Math.max(status[0], code))
            .setConsoleOut(new PrintStream(out, true, StandardCharsets.UTF_8))
            .setConsoleErr(new PrintStream(err, true, StandardCharsets.UTF_8)));
        return new Run(status[0], out.toString(StandardCharsets.UTF_8), err.toString(StandardCharsets.UTF_8));
    }

    private static final String PRODUCED = "Producer reached message limit";
    private static final String CONSUMED = "Consumer reached message limit";
    private static final String TIME = "Reached time limit";

    private static long ready(String queue) throws Exception {
        return ch.messageCount(queue);
    }

    private static void defaults() {
        Run run = run("--time", "1").ended(TIME);
        if (run.rate("sending") < 100 || run.rate("receiving") < 100) {
            throw new AssertionError(run.out);
        }
    }

    private static void confirms() {
        run("-x", "2", "-y", "3", "-X", "2", "-Y", "2", "-c", "50", "-f", "persistent", "-s", "1000", "-q", "20",
            "-C", "1000", "-D", "500", "-u", Check.name("confirms")).ended(CONSUMED);
        run("-y", "0", "-c", "1", "-C", "100", "-f", "persistent").ended(PRODUCED);
    }

    private static void limits() throws Exception {
        String queue = Check.name("limits");
        run("-u", queue, "-ad", "false", "-y", "0", "-C", "1000", "-c", "100",
            "-qa", "x-max-length=100,x-message-ttl=3600000").ended(PRODUCED);
        Check.equal(ready(queue), 100L, "ready, at most 100");
        ch.queueDelete(queue);
        run("-u", queue, "-ad", "false", "-y", "0", "-C", "500", "-c", "100", "-qa", "x-message-ttl=50").ended(PRODUCED);
        Check.until("all to expire", () -> ready(queue) == 0);
        ch.queueDelete(queue);
        Run run = run("-u", queue, "-ad", "false", "-y", "0", "-c", "100", "-z", "2",
            "-qa", "x-max-length-bytes=1200,x-overflow=reject-publish").ended(TIME);
        Check.equal(ready(queue), 100L, "ready, of 12 bytes each");
        if (run.most("nacked") <= 0) {
            throw new AssertionError("nothing was refused: " + run.out);
        }
        ch.queueDelete(queue);
    }

    private static void quorum() throws Exception {
        String queue = Check.name("quorum");
        run("--quorum-queue", "-u", queue, "-c", "100", "-q", "100", "-C", "2000", "-D", "2000").ended(CONSUMED);
        ch.queueDeclare(queue, true, false, false, Map.of("x-queue-type", "quorum"));
        ch.queueDelete(queue);
        run("-qq", "-qp", queue + "-%d", "-qpf", "1", "-qpt", "5", "-x", "5", "-y", "5", "-C", "200", "-D", "200", "-c", "20").ended(CONSUMED);
        for (int i = 1; i <= 5; i++) {
            ch.queueDelete(queue + "-" + i);
        }
    }

    private static void streams() throws Exception {
        String queue = Check.name("stream");
        run("--stream-queue", "-u", queue, "-c", "100", "-q", "100", "-C", "1000", "-D", "1000", "--max-length-bytes", "100mb",
            "--max-age", "PT1H", "--stream-max-segment-size-bytes", "1mb", "--stream-consumer-offset", "first").ended(CONSUMED);
        ch.queueDeclare(queue, true, false, false, Map.of("x-queue-type", "stream", "x-max-length-bytes", 100_000_000L, "x-max-age", "3600s",
            "x-stream-max-segment-size-bytes", 1_000_000L)); // as PerfTest says it
        // It is all there still, for two more readers at the same time, and from an offset on.
        run("-p", "-u", queue, "-x", "0", "-y", "2", "-q", "50", "-D", "1000", "-sco", "first").ended(CONSUMED);
        run("-p", "-u", queue, "-x", "0", "-q", "50", "-A", "10", "-D", "300", "-sco", "700").ended(CONSUMED);
        run("-p", "-u", queue, "-q", "50", "-C", "100", "-D", "100", "-sco", "next").ended(CONSUMED);
        Run run = run("-p", "-u", queue, "-x", "0", "-q", "50", "-D", "1", "-sco", "next", "-z", "1").ended(TIME);
        Check.equal(run.most("received") > 0, false, "received of what was there before: " + run.out);
        ch.queueDelete(queue);
    }

    private static void predeclared() throws Exception {
        String queue = Check.name("predeclared");
        ch.exchangeDeclare(queue, "topic", true);
        ch.queueDeclare(queue, true, false, false, Map.of("x-max-length", 100_000, "x-expires", 600_000));
        ch.queueBind(queue, queue, "some.#");
        run("--predeclared", "-u", queue, "-e", queue, "-t", "topic", "-k", "some.key", "-C", "500", "-D", "500").ended(CONSUMED);
        ch.queueDelete(queue);
        ch.exchangeDelete(queue);
    }

    private static void rates() {
        Run run = run("--rate", "500", "-z", "2").ended(TIME);
        for (String which : List.of("sent", "received")) { // in a second; PerfTest's own mean begins later than it counts
            if (run.most(which) < 300 || run.most(which) > 700) {
                throw new AssertionError(which + " is not 500 a second: " + run.out);
            }
        }
        run("--publishing-interval", "0.1", "-z", "1", "-b", "5").ended(TIME);
        run("-vr", "100:1", "-vr", "300:1", "-vl", "1000:1", "-R", "200", "-z", "2").ended(TIME);
    }

    private static void acks() throws Exception {
        String queue = Check.name("acks");
        run("-u", queue, "-ad", "false", "--multi-ack-every", "50", "-q", "200", "-C", "1000", "-D", "1000").ended(CONSUMED);
        Check.until("acks", () -> ready(queue) == 0);
        run("-u", queue, "-ad", "false", "--autoack", "-C", "1000", "-D", "1000").ended(CONSUMED);
        run("-u", queue, "-ad", "false", "--global-qos", "10", "-Y", "3", "-C", "1000", "-D", "300").ended(CONSUMED);
        run("-u", queue, "-ad", "false", "-L", "500", "-q", "1", "-D", "50", "-C", "100").ended(CONSUMED);
        ch.queueDelete(queue);
    }

    private static void nacks() throws Exception {
        String queue = Check.name("nacks");
        ch.queueDeclare(queue + ".dead", true, false, false, null);
        run("-u", queue, "-ad", "false", "-na", "-re", "false", "-C", "500", "-D", "500", "-q", "50",
            "-qa", "x-dead-letter-exchange=,x-dead-letter-routing-key=" + queue + ".dead").ended(CONSUMED);
        Check.until("500 dead letters", () -> ready(queue + ".dead") == 500);
        ch.queueDelete(queue + ".dead");
        ch.queueDelete(queue);
        // Nothing is ever done with these: they come again and again.
        run("-u", queue, "-ad", "false", "-na", "-q", "10", "-C", "20", "-D", "1000").ended(CONSUMED);
        Check.until("all to be back", () -> ready(queue) == 20);
        ch.queueDelete(queue);
    }

    private static void exchanges() throws Exception {
        String name = Check.name("exchanges");
        for (String type : List.of("topic", "fanout", "headers", "direct")) {
            run("-t", type, "-e", name + type, "-qp", name + type + "-%d", "-qpf", "1", "-qpt", "3",
                "-x", "3", "-y", "3", "-C", "200", "-D", "200").ended(CONSUMED);
            ch.exchangeDelete(name + type);
        }
        run("-t", "topic", "-e", name, "-u", name, "-ad", "false", "--random-routing-key", "-y", "0", "-C", "100").ended(PRODUCED);
        ch.queueDelete(name);
        ch.exchangeDelete(name);
        ch.exchangeDeclare(name, "x-consistent-hash", true);
        for (int i = 1; i <= 3; i++) {
            ch.queueDeclare(name + "-" + i, true, false, false, null);
            ch.queueBind(name + "-" + i, name, "10");
        }
        run("-e", name, "-t", "x-consistent-hash", "-p", "-K", "-y", "0", "-c", "100", "-C", "3000").ended(PRODUCED);
        long all = 0;
        for (int i = 1; i <= 3; i++) {
            long count = ready(name + "-" + i);
            if (count < 500) {
                throw new AssertionError("queue " + i + " has " + count + " of 3000");
            }
            all += count;
            ch.queueDelete(name + "-" + i);
        }
        Check.equal(all, 3000L, "in all three");
        ch.exchangeDelete(name);
    }

    private static void transactions() throws Exception {
        String queue = Check.name("tx");
        run("-u", queue, "-ad", "false", "-m", "10", "-n", "10", "-C", "500", "-D", "500").ended(CONSUMED);
        Check.until("committed acks", () -> ready(queue) == 0);
        ch.queueDelete(queue);
    }

    private static void polling() {
        run("--polling", "-C", "300", "-D", "300").ended(CONSUMED);
        run("--polling", "-pi", "1", "-a", "-C", "100", "-D", "100").ended(CONSUMED);
    }

    private static void mandatory() throws Exception {
        String exchange = Check.name("mandatory");
        ch.exchangeDeclare(exchange, "direct", true);
        Run run = run("-e", exchange, "-p", "-k", "nobody", "-f", "mandatory", "-c", "100", "-y", "0", "-r", "500", "-z", "2").ended(TIME);
        if (run.most("returned") < 200) {
            throw new AssertionError("few are returned: " + run.out);
        }
        ch.exchangeDelete(exchange);
    }

    private static void priorities() throws Exception {
        String queue = Check.name("priorities");
        run("-u", queue, "-ad", "false", "-y", "0", "-C", "100", "-c", "10", "-qa", "x-max-priority=5",
            "-mp", "priority=5,contentType=text/plain,kind=test", "-f", "persistent").ended(PRODUCED);
        AMQP.BasicProperties props = ch.basicGet(queue, true).getProps();
        Check.equal(props.getPriority() + " " + props.getContentType() + " " + props.getHeaders().get("kind"), "5 text/plain test", "properties");
        run("-u", queue, "-ad", "false", "-f", "persistent", "-x", "0", "-D", "99", "-qa", "x-max-priority=5", "-ca", "x-priority=10").ended(CONSUMED);
        ch.queueDelete(queue);
    }

    private static void exclusive() {
        run("--exclusive", "-x", "1", "-y", "2", "-C", "200", "-D", "200").ended(CONSUMED);
        run("-C", "200", "--exit-when", "empty", "-u", Check.name("empty"), "-ad", "false").ended("reached");
    }

    private static void bodies() {
        run("-s", "300000", "-C", "50", "-D", "50", "-c", "5", "-f", "persistent").ended(CONSUMED);
        run("--json-body", "-s", "4000", "-bc", "20", "-bfc", "100", "-C", "200", "-D", "200").ended(CONSUMED);
        run("-vs", "100:1", "-vs", "20000:1", "-r", "200", "-z", "2").ended(TIME);
        run("-M", "4096", "-s", "20000", "-C", "100", "-D", "100").ended(CONSUMED);
    }

    private static void refused() throws Exception {
        Run run = run("-u", Check.name("refused"), "-qa", "x-max-length=-1", "-C", "1", "-D", "1");
        Check.equal(run.status, 1, "exit status");
        Check.equal(ch.isOpen(), true, "others go on");
    }
}
