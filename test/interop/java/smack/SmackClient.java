import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.GetResponse;
import java.io.FileInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509TrustManager;
import org.jivesoftware.smack.XMPPException;
import org.jivesoftware.smack.chat2.ChatManager;
import org.jivesoftware.smack.filter.StanzaTypeFilter;
import org.jivesoftware.smack.packet.Message;
import org.jivesoftware.smack.packet.Presence;
import org.jivesoftware.smack.packet.PresenceBuilder;
import org.jivesoftware.smack.packet.StandardExtensionElement;
import org.jivesoftware.smack.packet.StanzaBuilder;
import org.jivesoftware.smack.packet.StanzaError;
import org.jivesoftware.smack.roster.Roster;
import org.jivesoftware.smack.roster.RosterEntry;
import org.jivesoftware.smack.roster.packet.RosterPacket.ItemType;
import org.jivesoftware.smack.sasl.SASLErrorException;
import org.jivesoftware.smack.tcp.XMPPTCPConnection;
import org.jivesoftware.smack.tcp.XMPPTCPConnectionConfiguration;
import org.jivesoftware.smackx.iqlast.LastActivityManager;
import org.jivesoftware.smackx.iqversion.VersionManager;
import org.jivesoftware.smackx.ping.PingManager;
import org.jivesoftware.smackx.pubsub.Item;
import org.jivesoftware.smackx.pubsub.LeafNode;
import org.jivesoftware.smackx.pubsub.PayloadItem;
import org.jivesoftware.smackx.pubsub.PubSubManager;
import org.jivesoftware.smackx.pubsub.SimplePayload;
import org.jxmpp.jid.BareJid;
import org.jxmpp.jid.EntityBareJid;
import org.jxmpp.jid.impl.JidCreate;

/** Smack: signing in, contacts, messages, queues, pubsub, stream management. XMPP_ADDR, HTTP_ADDR and TLS_DIR come from the environment. */
final class SmackClient {
    private static final String XMPP = System.getenv("XMPP_ADDR");
    private static final int PORT = Integer.parseInt(XMPP.substring(XMPP.lastIndexOf(':') + 1));

    /** A client, and the messages that it got. */
    private record Client(XMPPTCPConnection connection, BlockingQueue<Message> got) implements AutoCloseable {
        Message next(String from) throws Exception {
            for (;;) {
                Message m = got.poll(60, TimeUnit.SECONDS);
                if (m == null) {
                    throw new AssertionError("no message from " + from);
                }
                if (m.getFrom().toString().startsWith(from)) {
                    return m;
                }
            }
        }

        Roster roster() {
            return Roster.getInstanceFor(connection);
        }

        BareJid bare() {
            return connection.getUser().asEntityBareJid();
        }

        @Override
        public void close() {
            connection.disconnect();
        }
    }

    private static X509TrustManager trusting() throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null);
        try (FileInputStream in = new FileInputStream(System.getenv("TLS_DIR") + "/ca.pem")) {
            store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(in));
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store);
        return (X509TrustManager) trust.getTrustManagers()[0];
    }

    private static final String RUN = Check.name("").replaceAll(".*\\.", "");

    private static XMPPTCPConnection connection(String user, String password, String resource) throws Exception {
        XMPPTCPConnection c = new XMPPTCPConnection(XMPPTCPConnectionConfiguration.builder().setXmppDomain("localhost").setHost("127.0.0.1").setPort(PORT)
                .setUsernameAndPassword(user, password).setResource(resource).setCustomX509TrustManager(trusting()).build());
        c.setReplyTimeout(60_000);
        return c;
    }

    private static Client client(String user, String resource) throws Exception {
        XMPPTCPConnection c = connection(user, user, resource);
        BlockingQueue<Message> got = new LinkedBlockingQueue<>();
        c.addSyncStanzaListener(s -> got.add((Message) s), StanzaTypeFilter.MESSAGE);
        c.connect().login();
        return new Client(c, got);
    }

    private static void http(String method, String path, String body) throws Exception {
        String auth = Base64.getEncoder().encodeToString("guest:guest".getBytes(StandardCharsets.UTF_8));
        HttpResponse<String> r = HttpClient.newHttpClient().send(HttpRequest.newBuilder(URI.create("http://" + System.getenv("HTTP_ADDR") + "/api/" + path))
                .header("Authorization", "Basic " + auth).header("Content-Type", "application/json").method(method, HttpRequest.BodyPublishers.ofString(body)).build(),
                HttpResponse.BodyHandlers.ofString());
        if (r.statusCode() >= 300) {
            throw new AssertionError(method + " " + path + ": " + r.statusCode() + " " + r.body());
        }
    }

    private static void user(String name) throws Exception {
        http("PUT", "users/" + name, "{\"password\":\"" + name + "\",\"tags\":\"\"}");
        http("PUT", "permissions/%2F/" + name, "{\"configure\":\".*\",\"write\":\".*\",\"read\":\".*\"}");
    }

    private static com.rabbitmq.client.Connection amqp() throws Exception {
        ConnectionFactory f = new ConnectionFactory();
        f.setUri("amqp://guest:guest@" + Check.AMQP);
        return f.newConnection();
    }

    private static ItemType type(Roster roster, BareJid jid) {
        RosterEntry e = roster.getEntry(jid);
        return e == null ? null : e.getType();
    }

    private static Presence presence(Presence.Type type, EntityBareJid to) {
        PresenceBuilder b = StanzaBuilder.buildPresence().ofType(type);
        return b.to(to).build();
    }

    public static void main(String[] args) {
        Check.add("it signs in, and asks", 30, () -> {
            try (Client c = client("guest", "smack")) {
                Check.equal(c.connection.isSecureConnection(), true, "TLS");
                Check.equal(c.connection.getUser().toString(), "guest@localhost/smack", "the address");
                Check.equal(c.connection.isSmEnabled() && c.connection.isSmResumptionPossible(), true, "stream management");
                Check.equal(PingManager.getInstanceFor(c.connection).pingMyServer(), true, "the ping");
                Check.equal(VersionManager.getInstanceFor(c.connection).getVersion(JidCreate.domainBareFrom("localhost")).getName(), "Leveret", "the name");
                LastActivityManager.getInstanceFor(c.connection).getLastActivity(JidCreate.domainBareFrom("localhost"));
                Check.equal(PubSubManager.getPubSubService(c.connection).toString(), "pubsub.localhost", "the service that it finds");
            }
            XMPPTCPConnection wrong = connection("guest", "wrong", "r");
            wrong.connect();
            try {
                wrong.login();
                throw new AssertionError("a wrong password is enough");
            } catch (SASLErrorException e) {
                Check.equal(e.getSASLFailure().getSASLErrorString(), "not-authorized", "the error");
            }
            wrong.disconnect();
        });

        Check.add("contacts, and presence of those who agreed", 40, () -> {
            String annName = "ann-" + RUN;
            String bobName = "bob-" + RUN;
            user(annName);
            user(bobName);
            EntityBareJid annJid = JidCreate.entityBareFrom(annName + "@localhost");
            EntityBareJid bobJid = JidCreate.entityBareFrom(bobName + "@localhost");
            try (Client ann = client(annName, "a")) {
                ann.roster().setSubscriptionMode(Roster.SubscriptionMode.accept_all);
                try (Client bob = client(bobName, "b")) {
                    bob.roster().createItemAndRequestSubscription(annJid, "Ann", new String[] {"friends"});
                    Check.until("the contact", () -> type(bob.roster(), annJid) == ItemType.to);
                    Check.until("her presence", () -> bob.roster().getPresence(annJid).isAvailable());
                    Check.until("bob is subscribed", () -> ann.roster().isSubscribedToMyPresence(bobJid));
                    ann.roster().preApproveAndCreateEntry(bobJid, "Bob", null);
                    ann.roster().sendSubscriptionRequest(bobJid);
                    bob.roster().setSubscriptionMode(Roster.SubscriptionMode.manual);
                    bob.connection.sendStanza(presence(Presence.Type.subscribed, annJid));
                    Check.until("both", () -> type(bob.roster(), annJid) == ItemType.both && type(ann.roster(), bobJid) == ItemType.both);
                    Check.until("his presence", () -> ann.roster().getPresence(bobJid).isAvailable());
                }
                Check.until("that he is gone", () -> !ann.roster().getPresence(bobJid).isAvailable());
                try (Client bob = client(bobName, "again")) {
                    Check.until("the contact, kept", () -> type(bob.roster(), annJid) == ItemType.both);
                    Check.equal(bob.roster().getEntry(annJid).getName(), "Ann", "the name");
                    Check.equal(bob.roster().getGroup("friends").contains(annJid), true, "the group");
                    Check.until("her presence", () -> bob.roster().getPresence(annJid).isAvailable());
                    ann.roster().removeEntry(ann.roster().getEntry(bobJid));
                    Check.until("the end", () -> type(bob.roster(), annJid) == ItemType.none && !bob.roster().getPresence(annJid).isAvailable());
                    ann.roster().createItem(bobJid, "Bob", null);
                    ann.roster().sendSubscriptionRequest(bobJid);
                    bob.roster().setSubscriptionMode(Roster.SubscriptionMode.accept_all);
                    ann.roster().sendSubscriptionRequest(bobJid);
                }
                http("DELETE", "users/" + bobName, "");
                Check.until("a contact who is no user any more", () -> type(ann.roster(), bobJid) == ItemType.none);
            }
            http("DELETE", "users/" + annName, "");
        });

        Check.add("chat, and a queue in both directions", 40, () -> {
            String queue = Check.name("queue").toLowerCase();
            try (Client c = client("guest", "worker"); com.rabbitmq.client.Connection amqp = amqp()) {
                com.rabbitmq.client.Channel channel = amqp.createChannel();
                channel.queueDeclare(queue, true, false, false, null);
                EntityBareJid address = JidCreate.entityBareFrom(queue + "@queues.localhost");
                ChatManager.getInstanceFor(c.connection).chatWith(address).send("grüße & <mehr>");
                GetResponse[] got = new GetResponse[1];
                Check.until("the message", () -> (got[0] = channel.basicGet(queue, true)) != null);
                Check.equal(new String(got[0].getBody(), StandardCharsets.UTF_8), "grüße & <mehr>", "the body");
                c.connection.sendStanza(presence(Presence.Type.available, address));
                for (int i = 0; i < 50; i++) {
                    channel.basicPublish("", queue, new AMQP.BasicProperties(), Integer.toString(i).getBytes(StandardCharsets.UTF_8));
                }
                for (int i = 0; i < 50; i++) {
                    Check.equal(c.next(queue).getBody(), Integer.toString(i), "message " + i);
                }
                Check.until("all are acknowledged", () -> {
                    c.connection.sendSmAcknowledgement();
                    return channel.queueDeclarePassive(queue).getMessageCount() == 0;
                });
                c.connection.sendStanza(presence(Presence.Type.unavailable, address));
                Check.until("the consumer leaves", () -> channel.consumerCount(queue) == 0);
                channel.queueDelete(queue);
            }
        });

        Check.add("pubsub: a node lives its life", 40, () -> {
            String name = Check.name("node");
            try (Client c = client("guest", "pub"); com.rabbitmq.client.Connection amqp = amqp()) {
                PubSubManager pubsub = PubSubManager.getInstanceFor(c.connection);
                LeafNode node = pubsub.createNode(name);
                BlockingQueue<Item> events = new LinkedBlockingQueue<>();
                node.addItemEventListener(e -> e.getItems().forEach(i -> events.add((Item) i)));
                node.subscribe(c.bare());
                Check.equal(pubsub.getSubscriptions().stream().anyMatch(s -> name.equals(s.getNode())), true, "the subscription is listed");
                List<String> ids = new ArrayList<>();
                for (int i = 0; i < 3; i++) {
                    ids.add("id" + i);
                    node.publish(new PayloadItem<>("id" + i, new SimplePayload("<entry xmlns='urn:x'>" + i + "</entry>")));
                }
                for (String id : ids) {
                    Item event = events.poll(60, TimeUnit.SECONDS);
                    Check.equal(event == null ? null : event.getId(), id, "the event");
                }
                Check.equal(node.getItems().stream().map(Item::getId).toList(), ids, "the items");
                Check.equal(node.getItems(1).get(0).getId(), "id2", "the last item");
                com.rabbitmq.client.Channel channel = amqp.createChannel();
                GetResponse got = channel.basicGet(name, true);
                Check.equal(got.getProps().getMessageId(), "id0", "the item as a message");
                channel.basicPublish("", name, new AMQP.BasicProperties.Builder().messageId("fromamqp").contentType("text/plain").build(), "x".getBytes(StandardCharsets.UTF_8));
                Item event = events.poll(60, TimeUnit.SECONDS);
                Check.equal(event == null ? null : event.getId(), "fromamqp", "the message as an event");
                node.unsubscribe(c.bare().toString());
                node.deleteAllItems();
                Check.equal(node.getItems().size(), 0, "items after a purge");
                Check.equal(node.getNodeConfiguration() != null, true, "the configuration");
                Check.equal(pubsub.deleteNode(name), true, "it is deleted");
                try {
                    pubsub.getNode(name);
                    throw new AssertionError("a node that was deleted is there");
                } catch (XMPPException.XMPPErrorException e) {
                    Check.equal(e.getStanzaError().getCondition(), StanzaError.Condition.item_not_found, "the error");
                }
            }
        });

        Check.add("a stream that breaks is resumed, and nothing is lost", 40, () -> {
            String queue = Check.name("resume").toLowerCase();
            try (Client c = client("guest", "resume"); com.rabbitmq.client.Connection amqp = amqp()) {
                com.rabbitmq.client.Channel channel = amqp.createChannel();
                channel.queueDeclare(queue, true, false, false, null);
                c.connection.sendStanza(presence(Presence.Type.available, JidCreate.entityBareFrom(queue + "@queues.localhost")));
                channel.basicPublish("", queue, null, "before".getBytes(StandardCharsets.UTF_8));
                Check.equal(c.next(queue).getBody(), "before", "the message");
                c.connection.instantShutdown();
                channel.basicPublish("", queue, null, "meanwhile".getBytes(StandardCharsets.UTF_8));
                c.connection.connect().login();
                Check.equal(c.connection.streamWasResumed(), true, "resumed");
                Message m = c.next(queue);
                if ("before".equals(m.getBody())) { // it was not acknowledged
                    m = c.next(queue);
                }
                Check.equal(m.getBody(), "meanwhile", "the message");
                channel.queueDelete(queue);
            }
        });
        Check.main();
    }
}
