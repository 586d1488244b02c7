import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;

/**
 * What both Java programs share: addresses from the environment (AMQP_ADDR, KAFKA_ADDR, KAFKA_SASL as
 * user:password), named checks with a time limit, and one output line a check:
 * {@code PASS name (seconds)} or {@code FAIL name: reason}.
 */
final class Check {
    static final String AMQP = env("AMQP_ADDR", "127.0.0.1:5672");
    static final String KAFKA = env("KAFKA_ADDR", "127.0.0.1:9092");
    static final String SASL = env("KAFKA_SASL", "");
    static final String SCRAM = env("KAFKA_SCRAM", "");

    /** Limits are what a check takes at most on a machine of its own; one that does other things beside it gives it so many times as long. */
    static final int PATIENCE = 3;

    private static final String RUN = UUID.randomUUID().toString().substring(0, 8);

    interface Body {
        void run() throws Exception;
    }

    private record Item(String title, int seconds, Body body) {}

    private static final List<Item> items = new ArrayList<>();

    private Check() {}

    static String name(String what) {
        return "interop.java." + what + "." + RUN;
    }

    static void add(String title, int seconds, Body body) {
        items.add(new Item(title, seconds * PATIENCE, body));
    }

    static void equal(Object got, Object want, String what) {
        if (!Objects.equals(got, want)) {
            throw new AssertionError(what + ": got " + cut(got) + ", want " + cut(want));
        }
    }

    static void until(String what, Callable<Boolean> condition) throws Exception {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(15 * PATIENCE);
        while (!condition.call()) {
            if (System.nanoTime() > end) {
                throw new AssertionError(what + ": not within " + 15 * PATIENCE + " s");
            }
            Thread.sleep(10);
        }
    }

    /** Runs every check and ends the program: 1 when any failed. */
    static void main() {
        ExecutorService runner = Executors.newCachedThreadPool();
        int failed = 0;
        for (Item item : items) {
            if (!item.title.contains(env("ONLY", ""))) {
                continue;
            }
            long start = System.nanoTime();
            try {
                runner.submit(() -> {
                    item.body.run();
                    return null;
                }).get(item.seconds, TimeUnit.SECONDS);
                System.out.printf("PASS %s (%.1f s)%n", item.title, (System.nanoTime() - start) / 1e9);
            } catch (Exception e) {
                failed++;
                Throwable cause = e.getCause() == null ? e : e.getCause();
                System.out.printf("FAIL %s: %s%n", item.title, cut(cause).replaceAll("\\s+", " "));
                cause.printStackTrace();
            }
        }
        System.out.flush();
        Runtime.getRuntime().halt(failed == 0 ? 0 : 1);
    }

    private static String cut(Object value) {
        String text = String.valueOf(value);
        return text.length() <= 300 ? text : text.substring(0, 300) + "…";
    }

    private static String env(String name, String fallback) {
        String value = System.getenv(name);
        return value == null || value.isEmpty() ? fallback : value;
    }
}
