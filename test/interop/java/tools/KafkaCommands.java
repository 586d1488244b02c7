import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.kafka.tools.BrokerApiVersionsCommand;
import org.apache.kafka.tools.ClientMetricsCommand;
import org.apache.kafka.tools.ClusterTool;
import org.apache.kafka.tools.ConfigCommand;
import org.apache.kafka.tools.ConsoleProducer;
import org.apache.kafka.tools.ConsumerPerformance;
import org.apache.kafka.tools.DelegationTokenCommand;
import org.apache.kafka.tools.DeleteRecordsCommand;
import org.apache.kafka.tools.EndToEndLatency;
import org.apache.kafka.tools.FeatureCommand;
import org.apache.kafka.tools.GetOffsetShell;
import org.apache.kafka.tools.GroupsCommand;
import org.apache.kafka.tools.LeaderElectionCommand;
import org.apache.kafka.tools.LogDirsCommand;
import org.apache.kafka.tools.MetadataQuorumCommand;
import org.apache.kafka.tools.ProducerPerformance;
import org.apache.kafka.tools.ShareConsumerPerformance;
import org.apache.kafka.tools.StreamsResetter;
import org.apache.kafka.tools.TopicCommand;
import org.apache.kafka.tools.TransactionsCommand;
import org.apache.kafka.tools.consumer.ConsoleConsumer;
import org.apache.kafka.tools.consumer.ConsoleShareConsumer;
import org.apache.kafka.tools.consumer.group.ConsumerGroupCommand;
import org.apache.kafka.tools.consumer.group.ShareGroupCommand;
import org.apache.kafka.tools.reassign.ReassignPartitionsCommand;
import org.apache.kafka.tools.streams.StreamsGroupCommand;

/** What an operator does with Kafka's tools: topics, groups of each kind, offsets, transactions, the cluster; and the producers and consumers that come with them. */
public final class KafkaCommands {
    private static final Tools.Tool TOPICS = TopicCommand::main;
    private static final Tools.Tool CONFIGS = ConfigCommand::main;
    private static final Tools.Tool GROUPS = ConsumerGroupCommand::main;
    private static final Tools.Tool SHARES = ShareGroupCommand::main;
    private static final Tools.Tool CONSUME = ConsoleConsumer::main;
    private static final Tools.Tool TRANSACTIONS = TransactionsCommand::main;

    private static String topic(String what, int partitions, String... more) throws Exception {
        String topic = Check.name(what);
        List<String> args = new ArrayList<>(List.of("--create", "--topic", topic, "--partitions", "" + partitions));
        args.addAll(List.of(more));
        Tools.says(Tools.run(TOPICS, args.toArray(String[]::new)), "exit 0", "Created topic " + topic);
        return topic;
    }

    private static void produce(String topic, int messages) throws Exception {
        StringBuilder lines = new StringBuilder();
        for (int i = 0; i < messages; i++) {
            lines.append("k").append(i).append(":v").append(i).append('\n');
        }
        Tools.says(Tools.feed(lines.toString(), ConsoleProducer::main, "--topic", topic, "--reader-property", "parse.key=true", "--reader-property", "key.separator=:"), "exit 0");
    }

    /** The values that the console consumer prints, in its order. */
    private static List<String> consume(String topic, int messages, String... more) throws Exception {
        List<String> args = new ArrayList<>(List.of("--topic", topic, "--from-beginning", "--max-messages", "" + messages, "--timeout-ms", "60000"));
        args.addAll(List.of(more));
        String said = Tools.run(CONSUME, args.toArray(String[]::new));
        Tools.says(said, "exit 0");
        return said.lines().skip(1).filter(l -> !l.startsWith("Processed a total of") && !l.startsWith("The consumer rebalance protocol")).toList();
    }

    private static void consumed(String group, String topic, int messages, String... more) throws Exception {
        List<String> args = new ArrayList<>(List.of("--group", group));
        args.addAll(List.of(more));
        Check.equal(consume(topic, messages, args.toArray(String[]::new)).size(), messages, "messages");
    }

    private static String group(String text, String in) {
        Matcher found = Pattern.compile(text).matcher(in);
        if (!found.find()) {
            throw new AssertionError("nothing like \"" + text + "\" in " + in);
        }
        return found.group(1);
    }

    private static void topics() {
        Check.add("kafka-topics: created with settings, described, listed, widened, deleted", 60, () -> {
            String topic = topic("made", 3, "--replication-factor", "1", "--config", "retention.ms=3600000", "--config", "cleanup.policy=compact,delete");
            String said = Tools.run(TOPICS, "--describe", "--topic", topic);
            Tools.says(said, "exit 0", "PartitionCount: 3", "ReplicationFactor: 1", "retention.ms=3600000", "cleanup.policy=compact,delete");
            Tools.line(said, "Topic: " + topic, "Partition: 2", "Leader:");
            Tools.says(Tools.run(TOPICS, "--list"), "exit 0", topic);
            Tools.says(Tools.run(TOPICS, "--alter", "--topic", topic, "--partitions", "5"), "exit 0");
            Tools.says(Tools.run(TOPICS, "--describe", "--topic", topic), "PartitionCount: 5");
            Tools.says(Tools.run(TOPICS, "--alter", "--topic", topic, "--partitions", "4"), "exit 1", "5 partition");
            Tools.says(Tools.run(TOPICS, "--create", "--topic", topic), "exit 1", "already exists");
            Tools.says(Tools.run(TOPICS, "--create", "--if-not-exists", "--topic", topic), "exit 0");
            Tools.says(Tools.run(TOPICS, "--describe", "--under-replicated-partitions"), "exit 0\n");
            Tools.says(Tools.run(TOPICS, "--delete", "--topic", topic), "exit 0");
            Tools.says(Tools.run(TOPICS, "--describe", "--topic", topic), "exit 1", "does not exist");
            Tools.says(Tools.run(TOPICS, "--create", "--topic", topic + " x"), "exit 1");
        });
        Check.add("kafka-configs: of brokers and groups", 60, () -> {
            String said = Tools.run(CONFIGS, "--describe", "--all", "--entity-type", "brokers", "--entity-name", broker());
            Tools.says(said, "exit 0", "All configs for broker", "log.retention", "message.max.bytes=");
            Tools.says(Tools.run(CONFIGS, "--describe", "--entity-type", "brokers", "--entity-default"), "exit 0", "Default configs for brokers");
            Tools.says(Tools.run(CONFIGS, "--describe", "--all", "--entity-type", "topics", "--entity-name", topic("all", 1)), "exit 0", "retention.ms=", "max.message.bytes=", "compression.type=producer");
            String group = Check.name("settings");
            Tools.says(Tools.run(CONFIGS, "--alter", "--entity-type", "groups", "--entity-name", group, "--add-config", "share.auto.offset.reset=earliest"), "exit 0", "Completed updating config for group " + group);
            Tools.says(Tools.run(CONFIGS, "--describe", "--entity-type", "groups", "--entity-name", group), "exit 0", "share.auto.offset.reset=earliest");
            Tools.says(Tools.run(CONFIGS, "--alter", "--entity-type", "groups", "--entity-name", group, "--add-config", "share.no.such=1"), "exit 1");
        });
        Check.add("kafka-console-producer and -consumer: keys, headers, partitions, offsets", 60, () -> {
            String topic = topic("console", 1);
            Tools.says(Tools.feed("h1:one,h2:two\tk\tv\nNULL\tk2\t-\n", ConsoleProducer::main, "--topic", topic, "--reader-property", "parse.key=true", "--reader-property", "parse.headers=true",
                "--reader-property", "null.marker=NULL", "--compression-codec", "zstd"), "exit 0");
            List<String> got = consume(topic, 2, "--formatter-property", "print.key=true", "--formatter-property", "print.headers=true", "--formatter-property", "print.partition=true", "--formatter-property", "print.offset=true");
            Check.equal(got, List.of("Partition:0\tOffset:0\th1:one,h2:two\tk\tv", "Partition:0\tOffset:1\tNO_HEADERS\tk2\t-"), "printed");
            Tools.says(Tools.run(CONSUME, "--topic", topic, "--partition", "0", "--offset", "1", "--max-messages", "1", "--timeout-ms", "60000"), "exit 0", "\n-\n");
        });
        Check.add("kafka-get-offsets: start, end, newest time, at a time", 60, () -> {
            String topic = topic("offsets", 2);
            produce(topic, 100);
            long sum = 0;
            for (String line : Tools.run(GetOffsetShell::main, "--topic", topic, "--time", "latest").lines().skip(1).toList()) {
                sum += Long.parseLong(line.substring(line.lastIndexOf(':') + 1));
            }
            Check.equal(sum, 100L, "messages by end offsets");
            Tools.says(Tools.run(GetOffsetShell::main, "--topic-partitions", topic + ":0-2", "--time", "earliest"), "exit 0", topic + ":0:0", topic + ":1:0");
            Tools.says(Tools.run(GetOffsetShell::main, "--topic", topic, "--time", "-3"), "exit 0", topic + ":0:");
            Tools.says(Tools.run(GetOffsetShell::main, "--topic", topic, "--time", "-4"), "exit 0", topic + ":0:0");
            Tools.says(Tools.run(GetOffsetShell::main, "--topic", topic, "--time", "-5"), "exit 0");
            Tools.says(Tools.run(GetOffsetShell::main, "--topic", topic, "--time", "1000"), "exit 0", topic + ":0:0", topic + ":1:0");
        });
        Check.add("kafka-delete-records: the start of a partition moves", 60, () -> {
            String topic = topic("records", 2);
            produce(topic, 200);
            String said = Tools.run(DeleteRecordsCommand::main, "--offset-json-file",
                Tools.file("{\"version\":1,\"partitions\":[{\"topic\":\"" + topic + "\",\"partition\":0,\"offset\":20},{\"topic\":\"" + topic + "\",\"partition\":1,\"offset\":-1}]}"));
            Tools.says(said, "exit 0", "partition: " + topic + "-0", "low_watermark: 20");
            Tools.says(Tools.run(GetOffsetShell::main, "--topic", topic, "--time", "earliest"), topic + ":0:20");
            said = Tools.run(DeleteRecordsCommand::main, "--offset-json-file", Tools.file("{\"version\":1,\"partitions\":[{\"topic\":\"" + topic + "\",\"partition\":0,\"offset\":100000}]}"));
            Tools.says(said, "OffsetOutOfRangeException");
        });
    }

    private static String broker() throws Exception {
        return group("Leader: (\\d+)", Tools.run(TOPICS, "--describe", "--topic", topic("leader" + System.nanoTime(), 1)));
    }

    private static void cluster() {
        Check.add("kafka-broker-api-versions, kafka-cluster: what the broker is", 60, () -> {
            Tools.says(Tools.run(BrokerApiVersionsCommand::main), "exit 0", "Produce(0): 0 to 13", "ShareFetch(78)");
            Tools.says(Tools.plain(ClusterTool::main, "cluster-id", "--bootstrap-server", Check.KAFKA), "exit 0", "Cluster ID: ");
            Tools.line(Tools.plain(ClusterTool::main, "list-endpoints", "--bootstrap-server", Check.KAFKA), broker(), Check.KAFKA.replace(":", " "));
        });
        Check.add("kafka-log-dirs: the bytes of a topic", 60, () -> {
            String topic = topic("dirs", 2);
            produce(topic, 1000);
            String said = Tools.run(LogDirsCommand::main, "--describe", "--topic-list", topic);
            Tools.says(said, "exit 0", "Received log directory information", "\"partition\":\"" + topic + "-0\"", "\"partition\":\"" + topic + "-1\"", "\"error\":null");
            long size = 0;
            for (Matcher m = Pattern.compile("\"size\":(\\d+)").matcher(said); m.find();) {
                size += Long.parseLong(m.group(1));
            }
            if (size < 1000 || size > 10_000_000) {
                throw new AssertionError("bytes: " + size);
            }
        });
        Check.add("kafka-leader-election and kafka-reassign-partitions: on one broker nothing is to be moved", 60, () -> {
            String topic = topic("move", 2);
            String broker = broker();
            Tools.says(Tools.run(LeaderElectionCommand::main, "--election-type", "preferred", "--topic", topic, "--partition", "0"), "exit 0", "Valid replica already elected for partitions " + topic + "-0");
            Tools.says(Tools.run(LeaderElectionCommand::main, "--election-type", "preferred", "--all-topic-partitions"), "exit 0");
            Tools.says(Tools.run(LeaderElectionCommand::main, "--election-type", "preferred", "--topic", topic, "--partition", "9"), "exit 1");
            String said = Tools.run(ReassignPartitionsCommand::main, "--generate", "--broker-list", broker, "--topics-to-move-json-file", Tools.file("{\"version\":1,\"topics\":[{\"topic\":\"" + topic + "\"}]}"));
            Tools.says(said, "exit 0", "Current partition replica assignment", "Proposed partition reassignment configuration");
            String plan = Tools.file(group("Proposed partition reassignment configuration\\s+(\\{.*\\})", said));
            Tools.says(Tools.run(ReassignPartitionsCommand::main, "--execute", "--reassignment-json-file", plan), "exit 0", "Successfully started partition reassignments for " + topic + "-0," + topic + "-1");
            Tools.says(Tools.run(ReassignPartitionsCommand::main, "--verify", "--reassignment-json-file", plan), "exit 0", "Reassignment of partition " + topic + "-0 is completed.");
            Tools.says(Tools.run(ReassignPartitionsCommand::main, "--list"), "exit 0", "No partition reassignments found.");
            String nowhere = Tools.file("{\"version\":1,\"partitions\":[{\"topic\":\"" + topic + "\",\"partition\":0,\"replicas\":[77]}]}");
            Tools.says(Tools.run(ReassignPartitionsCommand::main, "--execute", "--reassignment-json-file", nowhere), "exit 1", "77");
        });
        Check.add("kafka-metadata-quorum: one voter, which leads", 60, () -> {
            String said = Tools.run(MetadataQuorumCommand::main, "describe", "--status");
            Tools.says(said, "exit 0", "ClusterId:", "LeaderId:", "MaxFollowerLag:", "CurrentVoters:");
            String leader = group("LeaderId:\\s+(\\d+)", said);
            Tools.line(Tools.run(MetadataQuorumCommand::main, "describe", "--replication"), leader);
            Tools.says(Tools.run(MetadataQuorumCommand::main, "describe", "--replication", "--human-readable"), "exit 0", "Leader");
        });
        Check.add("kafka-features: what is finalized is told", 60, () -> {
            String said = Tools.run(FeatureCommand::main, "describe");
            Tools.says(said, "exit 0", "Feature: group.version", "Feature: transaction.version", "Feature: share.version");
            Tools.says(Tools.run(FeatureCommand::main, "upgrade", "--feature", "no.such=1"), "exit 1");
        });
        Check.add("kafka-client-metrics, kafka-delegation-tokens: listed, or refused with the reason", 60, () -> {
            Tools.says(Tools.run(ClientMetricsCommand::main, "--list"), "exit 0");
            Tools.says(Tools.run(ClientMetricsCommand::main, "--describe"), "exit 0");
            Tools.says(Tools.run(DelegationTokenCommand::main, "--describe", "--command-config", Tools.file("")), "exit 1", "elegation");
            Tools.says(Tools.run(DelegationTokenCommand::main, "--create", "--max-life-time-period", "-1", "--command-config", Tools.file("")), "exit 1", "elegation");
        });
    }

    private static void groups() {
        Check.add("kafka-consumer-groups: listed, described, offsets moved, deleted", 90, () -> {
            String topic = topic("group", 2);
            String group = Check.name("group");
            produce(topic, 100);
            consumed(group, topic, 100);
            Tools.says(Tools.run(GROUPS, "--list"), "exit 0", group);
            Tools.line(Tools.run(GROUPS, "--list", "--state", "empty"), group, "Empty");
            Tools.line(Tools.run(GROUPS, "--list", "--type", "classic"), group, "Classic");
            Tools.says(Tools.run(GroupsCommand::main, "--list", "--consumer"), "exit 0", group);
            String said = Tools.run(GROUPS, "--describe", "--group", group);
            Tools.says(said, "exit 0", "has no active members");
            int at = 0;
            for (int p = 0; p < 2; p++) {
                at += Integer.parseInt(group("\\Q" + topic + "\\E\\s+" + p + "\\s+(\\d+)\\s+\\d+\\s+0\\s+-", said));
            }
            Check.equal(at, 100, "sum of offsets");
            Tools.line(Tools.run(GROUPS, "--describe", "--group", group, "--state"), group);
            Tools.says(Tools.run(GROUPS, "--reset-offsets", "--group", group, "--topic", topic, "--to-earliest", "--execute"), "exit 0");
            Tools.line(Tools.run(GROUPS, "--describe", "--group", group), topic, "0", "0");
            Tools.says(Tools.run(GROUPS, "--reset-offsets", "--group", group, "--topic", topic + ":1", "--shift-by", "5", "--execute"), "exit 0");
            Tools.line(Tools.run(GROUPS, "--describe", "--group", group), topic, "1", "5");
            Tools.says(Tools.run(GROUPS, "--reset-offsets", "--group", group, "--all-topics", "--to-datetime", "2001-01-01T00:00:00.000", "--dry-run"), "exit 0", topic);
            Tools.says(Tools.run(GROUPS, "--reset-offsets", "--group", group, "--all-topics", "--by-duration", "P1D", "--export", "--dry-run"), "exit 0", "\"" + topic + "\",0,0");
            Tools.says(Tools.run(GROUPS, "--delete-offsets", "--group", group, "--topic", topic + ":1"), "exit 0", "Successful");
            Tools.says(Tools.run(GROUPS, "--delete", "--group", group), "exit 0", "was successful");
            Tools.says(Tools.run(GROUPS, "--describe", "--group", group), "GroupIdNotFoundException");
            Tools.says(Tools.run(GROUPS, "--delete", "--group", group), "GroupIdNotFoundException");
        });
        Check.add("kafka-verifiable-producer and -consumer: a group with members, of both protocols", 90, () -> {
            String topic = topic("verifiable", 4);
            String classic = Check.name("classic");
            String modern = Check.name("modern");
            try (var one = new Tools.Running("VerifiableConsumer", "--bootstrap-server", Check.KAFKA, "--topic", topic, "--group-id", classic, "--reset-policy", "earliest");
                var two = new Tools.Running("VerifiableConsumer", "--bootstrap-server", Check.KAFKA, "--topic", topic, "--group-id", modern, "--group-protocol", "consumer", "--reset-policy", "earliest");
                var from = new Tools.Running("VerifiableProducer", "--bootstrap-server", Check.KAFKA, "--topic", topic, "--max-messages", "2000", "--acks", "-1", "--repeating-keys", "7", "--value-prefix", "1")) {
                String said = from.end();
                Tools.says(said, "exit 0", "\"name\":\"shutdown_complete\"", "\"sent\":2000", "\"acked\":2000");
                for (var consumer : List.of(one, two)) {
                    Check.until("all are consumed and committed", () -> {
                        long sum = 0;
                        for (Matcher m = Pattern.compile("\"name\":\"records_consumed\".*?\"count\":(\\d+)").matcher(consumer.said()); m.find();) {
                            sum += Long.parseLong(m.group(1));
                        }
                        return sum == 2000 && consumer.count("offsets_committed") > 0;
                    });
                    Tools.says(consumer.said(), "\"name\":\"partitions_assigned\"", "\"success\":true");
                }
                Tools.says(Tools.run(GROUPS, "--describe", "--group", modern, "--members", "--verbose"), "exit 0", topic + ":0,1,2,3");
                Tools.line(Tools.run(GROUPS, "--describe", "--group", modern, "--state"), "uniform", "Stable");
                Tools.line(Tools.run(GROUPS, "--describe", "--group", classic, "--state"), "range", "Stable");
                Tools.says(Tools.run(GROUPS, "--describe", "--group", classic, "--members", "--verbose"), "exit 0", topic + ":0,1,2,3");
                Tools.line(Tools.run(GROUPS, "--list", "--type", "consumer", "--state", "stable"), modern, "Consumer", "Stable");
                Tools.says(Tools.run(GROUPS, "--delete", "--group", modern), "GroupNotEmptyException");
                Tools.says(Tools.run(GROUPS, "--reset-offsets", "--group", classic, "--topic", topic, "--to-earliest", "--execute"), "only be reset if the group");
                // As a process: where other groups commit all the time it does not come to an end.
                try (var offsets = new Tools.Running("consumer.ConsoleConsumer", "--bootstrap-server", Check.KAFKA, "--topic", "__consumer_offsets", "--formatter", "org.apache.kafka.tools.consumer.OffsetsMessageFormatter", "--from-beginning")) {
                    Check.until("it prints what both groups have committed", () -> offsets.count(classic) > 0 && offsets.count(modern) > 0);
                }
            }
        });
    }

    private static void shares() {
        Check.add("kafka-console-share-consumer, kafka-share-groups: accepted, released, rejected", 90, () -> {
            String topic = topic("share", 1);
            String group = Check.name("share");
            Tools.says(Tools.run(CONFIGS, "--alter", "--entity-type", "groups", "--entity-name", group, "--add-config", "share.auto.offset.reset=earliest"), "exit 0");
            produce(topic, 10);
            Tools.Tool console = ConsoleShareConsumer::main;
            Tools.says(Tools.run(console, "--topic", topic, "--group", group, "--max-messages", "10", "--release", "--timeout-ms", "60000"), "exit 0", "v0\n", "v9\n");
            Tools.says(Tools.run(console, "--topic", topic, "--group", group, "--max-messages", "4", "--reject", "--timeout-ms", "60000"), "exit 0", "v0\n");
            Tools.says(Tools.run(console, "--topic", topic, "--group", group, "--max-messages", "6", "--timeout-ms", "60000"), "exit 0", "v4\n", "v9\n");
            Tools.says(Tools.run(SHARES, "--list"), "exit 0", group);
            Tools.says(Tools.run(GroupsCommand::main, "--list", "--share"), "exit 0", group);
            Tools.says(Tools.run(SHARES, "--describe", "--group", group, "--state"), "exit 0", "Empty");
            Tools.line(Tools.run(SHARES, "--describe", "--group", group), group, topic, "0");
        });
        Check.add("kafka-share-groups: members, offsets moved and deleted, the group deleted", 90, () -> {
            String topic = topic("shared", 1);
            String group = Check.name("shared");
            Tools.says(Tools.run(CONFIGS, "--alter", "--entity-type", "groups", "--entity-name", group, "--add-config", "share.auto.offset.reset=earliest"), "exit 0");
            try (var share = new Tools.Running("VerifiableShareConsumer", "--bootstrap-server", Check.KAFKA, "--topic", topic, "--group-id", group, "--offset-reset-strategy", "earliest", "--acknowledgement-mode", "sync")) {
                produce(topic, 500);
                Check.until("all are acknowledged", () -> {
                    long sum = 0;
                    for (Matcher m = Pattern.compile("\"name\":\"offsets_acknowledged\".*?\"count\":(\\d+)").matcher(share.said()); m.find();) {
                        sum += Long.parseLong(m.group(1));
                    }
                    return sum == 500;
                });
                Tools.says(Tools.run(SHARES, "--describe", "--group", group, "--members", "--verbose"), "exit 0", topic);
                Tools.says(Tools.run(SHARES, "--delete", "--group", group), "not EMPTY");
                share.process.destroy();
                share.end();
            }
            Tools.says(Tools.run(SHARES, "--reset-offsets", "--group", group, "--topic", topic, "--to-earliest", "--execute"), "exit 0");
            Tools.says(Tools.run(ConsoleShareConsumer::main, "--topic", topic, "--group", group, "--max-messages", "500", "--timeout-ms", "60000"), "exit 0", "v0\n", "v499\n");
            Tools.says(Tools.run(SHARES, "--delete-offsets", "--group", group, "--topic", topic), "exit 0", "Successful");
            Tools.says(Tools.run(SHARES, "--delete", "--group", group), "exit 0", "was successful");
        });
    }

    private static void transactions() {
        Check.add("transactional-message-copier: killed in the middle, and each message is there once", 120, () -> {
            String in = topic("copy-in", 1);
            String out = topic("copy-out", 1);
            String group = Check.name("copier");
            int n = 3000;
            produce(in, n);
            String[] args = {"--broker-list", Check.KAFKA, "--input-topic", in, "--input-partition", "0", "--output-topic", out, "--consumer-group", group, "--max-messages", "" + n,
                "--transaction-size", "100", "--transaction-timeout", "60000", "--transactional-id", Check.name("copier"), "--enable-random-aborts", "--use-group-metadata", "--group-mode"};
            int done = 0;
            for (int kills = 0; kills < 2; kills++) {
                args[11] = "" + (n - done);
                try (var copier = new Tools.Running("TransactionalMessageCopier", args)) {
                    if (kills == 0) {
                        Check.until("it has begun", () -> copier.count("\"consumed\"") > 8 || !copier.process.isAlive());
                        copier.process.destroyForcibly().waitFor();
                        Tools.line(Tools.run(TRANSACTIONS, "list"), Check.name("copier"));
                    } else {
                        Tools.says(copier.end(), "exit 0", "ShutdownComplete", "\"remaining\":0");
                    }
                }
                String said = Tools.run(GROUPS, "--describe", "--group", group);
                done = Integer.parseInt(group("\\Q" + in + "\\E\\s+0\\s+(\\d+)", said));
            }
            Check.equal(done, n, "offset of the group");
            List<String> got = consume(out, n, "--isolation-level", "read_committed");
            Check.equal(got.size(), n, "committed messages");
            Set<String> different = new TreeSet<>(got);
            Check.equal(different.size(), n, "different messages");
            Tools.says(Tools.run(CONSUME, "--topic", out, "--partition", "0", "--offset", "latest", "--isolation-level", "read_committed", "--timeout-ms", "500"), "exit 0");
        });
        Check.add("kafka-transactions: what is open is listed, described and found; what hangs is aborted", 90, () -> {
            String topic = topic("open", 1);
            String id = Check.name("open");
            try (var perf = new Tools.Running("ProducerPerformance", "--bootstrap-server", Check.KAFKA, "--topic", topic, "--num-records", "1000000", "--throughput", "100", "--record-size", "100",
                "--transactional-id", id, "--transaction-duration-ms", "600000", "--reporting-interval", "1000", "--command-property", "transaction.timeout.ms=700000")) {
                Check.until("the transaction is open", () -> Tools.run(TRANSACTIONS, "list").lines().anyMatch(l -> l.startsWith(id) && l.contains("Ongoing")));
                String said = Tools.run(TRANSACTIONS, "describe", "--transactional-id", id);
                Tools.says(said, "exit 0", "Ongoing", topic + "-0");
                String producer = group("\\n\\d+\\s+\\S+\\s+(\\d+)", said);
                Tools.line(Tools.run(TRANSACTIONS, "describe-producers", "--topic", topic, "--partition", "0"), producer);
                Tools.says(Tools.run(TRANSACTIONS, "find-hanging", "--topic", topic, "--max-transaction-timeout", "1"), "exit 0");
                Tools.says(Tools.run(TRANSACTIONS, "forceTerminateTransaction", "--transactionalId", id), "exit 0");
                Check.until("it is aborted", () -> Tools.run(TRANSACTIONS, "list").lines().noneMatch(l -> l.startsWith(id) && l.contains("Ongoing")) || !perf.process.isAlive());
            }
        });
    }

    private static void speed() {
        Check.add("kafka-producer-perf-test, kafka-consumer-perf-test, share-consumer-perf-test, e2e-latency: count what they send", 90, () -> {
            String topic = topic("perf", 2);
            Tools.says(Tools.run(ProducerPerformance::main, "--topic", topic, "--num-records", "20000", "--throughput", "-1", "--record-size", "100", "--command-property", "linger.ms=5"), "exit 0", "20000 records sent");
            Tools.says(Tools.run(ConsumerPerformance::main, "--topic", topic, "--num-records", "20000", "--timeout", "60000"), "exit 0", ", 20000, ");
            String group = Check.name("perf");
            Tools.says(Tools.run(CONFIGS, "--alter", "--entity-type", "groups", "--entity-name", group, "--add-config", "share.auto.offset.reset=earliest"), "exit 0");
            Tools.says(Tools.run(ShareConsumerPerformance::main, "--topic", topic, "--group", group, "--num-records", "20000", "--timeout", "60000"), "exit 0", ", 20000, ");
            Tools.says(Tools.run(ProducerPerformance::main, "--topic", topic, "--num-records", "2000", "--throughput", "-1", "--record-size", "100", "--transactional-id", Check.name("perf"), "--transaction-duration-ms", "50"), "exit 0", "2000 records sent");
            Tools.says(Tools.run(EndToEndLatency::main, "--topic", topic("latency", 1), "--num-records", "50", "--producer-acks", "all", "--record-size", "100"), "exit 0", "Avg latency", "Percentiles");
        });
    }

    private static void streams() {
        Check.add("kafka-streams-application-reset: offsets go back, inner topics go; kafka-streams-groups is refused with the reason", 90, () -> {
            String app = Check.name("app");
            String in = topic("stream-in", 1);
            String inner = app + "-counts-changelog";
            Tools.says(Tools.run(TOPICS, "--create", "--topic", inner, "--config", "cleanup.policy=compact"), "exit 0");
            produce(in, 30);
            consumed(app, in, 30);
            Tools.says(Tools.run(StreamsResetter::main, "--application-id", app, "--input-topics", in, "--internal-topics", inner), "exit 0", inner);
            Tools.line(Tools.run(GROUPS, "--describe", "--group", app), in, "0", "0", "30", "30");
            Tools.says(Tools.run(TOPICS, "--describe", "--topic", inner), "exit 1", "does not exist");
            Tools.says(Tools.run(StreamsGroupCommand::main, "--list"), "exit");
        });
    }

    public static void main(String[] args) {
        topics();
        cluster();
        groups();
        shares();
        transactions();
        speed();
        streams();
        Check.main();
    }
}
