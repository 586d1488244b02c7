import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.common.utils.internals.Exit;

/** How Kafka's tools are run as they are: by their main methods in this Java machine, or as processes of their own where they are to be killed. */
final class Tools {
    private static final PrintStream OUT = System.out;
    /** What the tool that runs wants done at the end of its Java machine: some send the last messages then. */
    private static final List<Runnable> HOOKS = new ArrayList<>();

    interface Tool {
        void main(String... args) throws Exception;
    }

    private static final class Exited extends RuntimeException {
        final int code;

        Exited(int code) {
            super("exit " + code);
            this.code = code;
        }
    }

    static {
        Exit.setExitProcedure((code, message) -> {
            throw new Exited(code);
        });
        Exit.setShutdownHookAdder((name, hook) -> HOOKS.add(hook));
    }

    private Tools() {}

    /** What a tool prints, and its exit code in the first line. */
    static String run(Tool tool, String... args) throws Exception {
        List<String> all = new ArrayList<>(List.of("--bootstrap-server", Check.KAFKA));
        all.addAll(List.of(args));
        return plain(tool, all.toArray(String[]::new));
    }

    /** The same for a tool that names its broker in another way. */
    static synchronized String plain(Tool tool, String... args) throws Exception {
        ByteArrayOutputStream said = new ByteArrayOutputStream();
        PrintStream to = new PrintStream(said, true, StandardCharsets.UTF_8);
        PrintStream err = System.err;
        int code = 0;
        System.setOut(to);
        System.setErr(to);
        HOOKS.clear();
        try {
            try {
                tool.main(args);
            } catch (Exited e) {
                code = e.code;
            }
            HOOKS.forEach(Runnable::run);
        } finally {
            System.setOut(OUT);
            System.setErr(err);
        }
        return "exit " + code + "\n" + said.toString(StandardCharsets.UTF_8);
    }

    /** A tool that reads lines from its standard input. */
    static String feed(String lines, Tool tool, String... args) throws Exception {
        InputStream in = System.in;
        System.setIn(new java.io.ByteArrayInputStream(lines.getBytes(StandardCharsets.UTF_8)));
        try {
            return run(tool, args);
        } finally {
            System.setIn(in);
        }
    }

    static void says(String said, String... wanted) {
        for (String want : wanted) {
            if (!said.contains(want)) {
                throw new AssertionError("it does not say \"" + want + "\": " + said);
            }
        }
    }

    /** That a line with all of these words, in this order and with blanks between, is among what was said. */
    static void line(String said, String... words) {
        String wanted = String.join(" ", words);
        for (String line : said.split("\n")) {
            if (line.trim().replaceAll("\\s+", " ").contains(wanted)) {
                return;
            }
        }
        throw new AssertionError("no line says \"" + wanted + "\": " + said);
    }

    static String file(String content) throws Exception {
        return Files.writeString(temporary(), content).toString();
    }

    private static Path temporary() throws Exception {
        String dir = System.getenv("TMPDIR");
        return Files.createTempFile(Path.of(dir == null ? System.getProperty("java.io.tmpdir") : dir), "tool", ".txt");
    }

    /** A tool in a process of its own, which is killed when it is closed. */
    static final class Running implements AutoCloseable {
        final Process process;
        final Path output;

        Running(String name, String... args) throws Exception {
            List<String> command = new ArrayList<>(List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=off", "-cp", System.getProperty("java.class.path"), "org.apache.kafka.tools." + name));
            command.addAll(List.of(args));
            output = temporary();
            process = new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(output.toFile()).start();
        }

        String said() throws Exception {
            return Files.readString(output);
        }

        /** How many lines with this text it has printed. */
        long count(String text) throws Exception {
            return said().lines().filter(l -> l.contains(text)).count();
        }

        @Override
        public void close() {
            process.destroyForcibly();
        }

        /** Waits for its end. */
        String end() throws Exception {
            if (!process.waitFor(60, TimeUnit.SECONDS)) {
                throw new AssertionError("it does not end: " + said());
            }
            return "exit " + process.exitValue() + "\n" + said();
        }
    }
}
