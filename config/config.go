package config

import "time"

// Sync modes: what a confirm means. See docs/architecture.md.
const (
	// SyncOS confirms what the operating system holds; flushed every second.
	SyncOS = "os"
	// SyncGroup confirms what is on disk; everything that waits shares a flush.
	SyncGroup = "group"
	// SyncAlways confirms what is on disk, each append by its own flush.
	SyncAlways = "always"
)

// Config is every setting of the broker. Default fills it; the tags are
//
//	flag     name of the flag, and by it of the environment variable
//	default  the value when neither is given
//	usage    one sentence for --help and the reference page
//	group    heading in the reference page
//	secret   "true" when the value must not be printed
//	list     "true" when several values stand in it with commas, in a file as a list
//	nofile   "true" when it can't stand in a file
//	live     "true" when a reload has it take hold; the others need a restart
type Config struct {

	// DataDir is the directory that holds everything the broker stores.
	DataDir string `flag:"data-dir" default:"./data" group:"Storage" usage:"directory for everything the broker stores; made when missing"`
	// Recover opens a data directory from which something is missing.
	Recover bool `flag:"recover" default:"false" group:"Storage" usage:"start although something that was stored is missing, go on with what is there, and say what is lost"`
	// Sync is SyncOS, SyncGroup or SyncAlways.
	Sync string `flag:"sync" default:"group" group:"Storage" usage:"what a confirm means: os = in the page cache, group = on disk, one flush for all who wait, always = on disk, a flush each"`
	// SegmentBytes is the full size of a segment file.
	SegmentBytes Size `flag:"segment-bytes" default:"64MiB" group:"Storage" usage:"full size of a segment file; a log starts with a small one and doubles up to this"`
	// TopicRetention is how long a topic that a Kafka client made keeps messages.
	TopicRetention time.Duration `flag:"topic-retention" default:"168h" group:"Storage" usage:"how long a topic made by a Kafka client keeps its messages when its own retention.ms says nothing"`
	// CompactionInterval is how often compacted topics are looked at.
	CompactionInterval time.Duration `flag:"compaction-interval" default:"15s" group:"Storage" usage:"how often topics with cleanup.policy=compact are looked at, one log at a time is compacted"`
	// CompactionMemory is the most that the keys of the log take that is being compacted.
	CompactionMemory Size `flag:"compaction-memory" default:"64MiB" group:"Storage" usage:"most memory that compaction takes for keys, 23 bytes each; a log with more keys takes several passes"`
	// CompactionShare is how much of one processor's time compaction takes.
	CompactionShare int `flag:"compaction-share" default:"25" group:"Storage" usage:"percent of its time in which compaction works, on one processor; it rests in the others, so that clients wait little for it"`

	// AMQPAddr is where AMQP 0-9-1 clients connect.
	AMQPAddr string `flag:"amqp-addr" default:":5672" group:"Listeners" usage:"address for AMQP 0-9-1 clients, host:port; off switches it off"`
	// KafkaAddr is where Kafka clients connect; KafkaListeners takes it apart.
	KafkaAddr string `flag:"kafka-addr" default:":9092" group:"Listeners" list:"true" usage:"address for Kafka clients, host:port; several with commas, each with a name, as inside://:9092,outside://:9094; off switches it off"`
	// KafkaAdvertised is the address that Kafka clients are told to use.
	KafkaAdvertised string `flag:"kafka-advertised" default:"" group:"Listeners" list:"true" usage:"host:port that Kafka clients are told to connect to; for listeners with names one each, as outside://broker.example.com:9094; empty is the address each client reached us at"`
	// STOMPAddr is where STOMP clients connect.
	STOMPAddr string `flag:"stomp-addr" default:":61613" group:"Listeners" usage:"address for STOMP, host:port; off switches it off"`
	// HTTPAddr serves the management API.
	HTTPAddr string `flag:"http-addr" default:":15672" group:"Listeners" usage:"address for the HTTP management API, host:port; off switches it off"`
	// HTTPCORSOrigins are the other sites whose pages may use it.
	HTTPCORSOrigins string `flag:"http-cors-origins" default:"" group:"Listeners" list:"true" usage:"origins of other sites whose pages may use the management API from a browser, as https://console.example.com; several with commas; empty is none"`
	// XMPPAddr is where XMPP clients connect.
	XMPPAddr string `flag:"xmpp-addr" default:":5222" group:"Listeners" usage:"address for XMPP clients, which begin TLS with STARTTLS or at once, host:port; off switches it off"`
	// XMPPDomains are the domains of XMPP; XMPPDomainList takes them apart.
	XMPPDomains string `flag:"xmpp-domain" default:"localhost" group:"Listeners" list:"true" usage:"domain of XMPP clients' addresses, or several with commas; each may name its virtual host, as in example.com=prod, and is else that of the virtual host called like it, or of --default-vhost"`
	// STOMPWSAddr is where STOMP clients connect over WebSocket.
	STOMPWSAddr string `flag:"stomp-ws-addr" default:":15674" group:"Listeners" usage:"address for STOMP over WebSocket (at /ws), host:port; off switches it off"`
	// STOMPWSOrigins is from where pages may connect there.
	STOMPWSOrigins string `flag:"stomp-ws-origins" default:"" group:"Listeners" list:"true" live:"true" usage:"origins whose pages may connect over WebSocket, as https://app.example.com or https://*.example.com; several with commas; empty is any; clients that are no browsers name none and may always"`
	// MetricsAddr serves /metrics and /health.
	MetricsAddr string `flag:"metrics-addr" default:":15692" group:"Listeners" usage:"address for /metrics (Prometheus) and /health, host:port; off switches it off"`
	// PprofAddr serves Go's profiles.
	PprofAddr string `flag:"pprof-addr" default:"off" group:"Listeners" usage:"address for Go's profiles under /debug/pprof/, host:port; off switches it off"`

	// AMQPSAddr is where AMQP 0-9-1 clients connect with TLS.
	AMQPSAddr string `flag:"amqps-addr" default:"auto" group:"TLS" usage:"address for AMQP 0-9-1 clients with TLS, host:port; off switches it off; auto is :5671 with --tls-cert and off without"`
	// KafkaTLSAddr is where Kafka clients connect with TLS.
	KafkaTLSAddr string `flag:"kafka-tls-addr" default:"auto" group:"TLS" list:"true" usage:"address for Kafka clients with TLS (SSL, SASL_SSL), host:port, or several as in --kafka-addr; off switches it off; auto is :9093 with --tls-cert and off without"`
	// KafkaTLSAdvertised is the address that Kafka clients with TLS are told to use.
	KafkaTLSAdvertised string `flag:"kafka-tls-advertised" default:"" group:"TLS" list:"true" usage:"host:port that Kafka clients with TLS are told to connect to, as in --kafka-advertised; empty is the name that each client asked for, or the address it reached us at"`
	// STOMPTLSAddr is where STOMP clients connect with TLS.
	STOMPTLSAddr string `flag:"stomp-tls-addr" default:"auto" group:"TLS" usage:"address for STOMP with TLS, host:port; off switches it off; auto is :61614 with --tls-cert and off without"`
	// HTTPTLSAddr serves the management API with TLS.
	HTTPTLSAddr string `flag:"http-tls-addr" default:"auto" group:"TLS" usage:"address for the HTTP management API with TLS, host:port; off switches it off; auto is :15671 with --tls-cert and off without"`
	// XMPPSAddr is where XMPP clients connect with TLS from the first byte on.
	XMPPSAddr string `flag:"xmpps-addr" default:"auto" group:"TLS" usage:"address for XMPP clients with TLS from the first byte on, host:port, which --xmpp-addr takes as well; off switches it off; auto is :5223 where --xmpp-addr is :5222, and off elsewhere; without --tls-cert a certificate for each domain is made at the first start, in tls/ of the data directory"`
	// STOMPWSSAddr is where STOMP clients connect over WebSocket with TLS.
	STOMPWSSAddr string `flag:"stomp-wss-addr" default:"auto" group:"TLS" usage:"address for STOMP over WebSocket with TLS (wss), host:port; off switches it off; auto is :15673 with --tls-cert and off without"`
	// MetricsTLSAddr serves /metrics and /health with TLS.
	MetricsTLSAddr string `flag:"metrics-tls-addr" default:"auto" group:"TLS" usage:"address for /metrics and /health with TLS, host:port; off switches it off; auto is :15691 with --tls-cert and off without"`
	// TLSCert is the certificate of all listeners with TLS.
	TLSCert string `flag:"tls-cert" default:"" group:"TLS" usage:"PEM file with the broker's certificate and its chain, its own first; read again on SIGHUP and when the file has changed (leveret cert makes one for development)"`
	// TLSKey is its key.
	TLSKey string `flag:"tls-key" default:"" group:"TLS" usage:"PEM file with the key of that certificate, without a password"`
	// TLSCA is who may sign clients' certificates.
	TLSCA string `flag:"tls-ca" default:"" group:"TLS" live:"true" usage:"PEM file with those who may sign the certificates of clients; empty asks clients for none"`
	// TLSVerify is VerifyNone, VerifyRequest or VerifyRequire.
	TLSVerify string `flag:"tls-verify" default:"request" group:"TLS" live:"true" usage:"what --tls-ca is for: none = clients are asked for no certificate, request = they may have one, which must be good, require = nobody gets in without one"`
	// TLSLoginFrom is what of a client's certificate is a user's name.
	TLSLoginFrom string `flag:"tls-login-from" default:"common_name" group:"TLS" usage:"what of a client's certificate is the name of the user that it logs in, with SASL EXTERNAL on AMQP and XMPP, without SASL on Kafka, without login on STOMP: common_name, distinguished_name, subject_alternative_name, or off"`
	// TLSLoginSANType is the kind of name that TLSLoginFrom means.
	TLSLoginSANType string `flag:"tls-login-san-type" default:"dns" group:"TLS" usage:"which kind of subject alternative name that is: dns, ip, email or uri"`
	// TLSLoginSANIndex is which of these.
	TLSLoginSANIndex int `flag:"tls-login-san-index" default:"0" group:"TLS" usage:"which of these, counted from 0"`

	// DefaultUser is the user that exists when no other does.
	DefaultUser string `flag:"default-user" default:"guest" group:"Users" usage:"name of the user that is made when none is stored, with all permissions"`
	// DefaultPassword is that user's password.
	DefaultPassword string `flag:"default-password" default:"guest" secret:"true" group:"Users" usage:"password of that user; better given in the environment than on the command line"`
	// DefaultPasswordFile is a file that holds that password.
	DefaultPasswordFile string `flag:"default-password-file" default:"" group:"Users" usage:"file that holds that password instead, as containers are given secrets; a line feed at its end does not count"`
	// DefaultVHost is the virtual host that exists when no other does.
	DefaultVHost string `flag:"default-vhost" default:"/" group:"Users" usage:"virtual host that is made when there is none, with all permissions for that user; Kafka clients that name none are in it"`
	// DefaultUserRemote lifts the rule that guest/guest works from this machine only.
	DefaultUserRemote bool `flag:"default-user-remote" default:"false" group:"Users" usage:"let the user guest with the password guest, and Kafka clients without a login, in from other machines too"`
	// Definitions is a file in RabbitMQ's form.
	Definitions string `flag:"definitions" default:"" group:"Users" live:"true" usage:"file of definitions in RabbitMQ's form (users, virtual hosts, permissions, policies, queues, exchanges, bindings), applied at each start before anybody is let in, and at a reload; where it brings users, no other is made at the first start"`

	// MaxConnections bounds the connections of one listener.
	MaxConnections int `flag:"max-connections" default:"65536" group:"Limits" live:"true" usage:"most connections that one listener holds at a time; all together never more than the process may open files for"`
	// MaxMessageBytes bounds the body of one message.
	MaxMessageBytes Size `flag:"max-message-bytes" default:"128MiB" group:"Limits" live:"true" usage:"largest body of a message that is taken"`
	// KafkaMaxBatchBytes bounds one batch of a Kafka producer.
	KafkaMaxBatchBytes Size `flag:"kafka-max-batch-bytes" default:"1048588" group:"Limits" usage:"largest record batch that a Kafka producer may send; the default is Kafka's"`
	// RequestMemory bounds what unfinished requests and answers of all clients take.
	RequestMemory Size `flag:"request-memory" default:"0" group:"Limits" usage:"most memory that requests of all clients take together while they arrive, are worked on and wait to be answered; 0 is a quarter of the memory of the machine or container, from 64MiB to 4GiB"`
	// RequestDisk bounds what unfinished messages take on disk.
	RequestDisk Size `flag:"request-disk" default:"0" group:"Limits" usage:"most disk space that unfinished messages of AMQP and STOMP clients take together, once that memory has no room for them; one client gets a quarter of it; 0 is a quarter of the disk, up to 16GiB"`
	// MemoryHighWatermark is the memory of the process at which publishers wait.
	MemoryHighWatermark Watermark `flag:"memory-high-watermark" default:"0.6" group:"Limits" live:"true" usage:"memory of the process, page cache apart, above which AMQP publishers wait and hear connection.blocked, and Kafka producers are slowed down: a part of the memory of the machine or container such as 0.6, a size such as 2GiB, or off"`
	// KafkaTrustCompressed stores compressed batches unseen.
	KafkaTrustCompressed bool `flag:"kafka-trust-compressed" default:"false" group:"Limits" live:"true" usage:"store compressed batches of Kafka producers without looking into them: saves unpacking each once, but a bad one stops its consumers, and its times are the producer's claim"`
	// KafkaTransactionTimeout is the longest that a transaction of a Kafka producer may be open.
	KafkaTransactionTimeout time.Duration `flag:"kafka-transaction-timeout" default:"15m" group:"Limits" usage:"longest timeout that a Kafka producer may ask for its transactions (Kafka's transaction.max.timeout.ms), and so the longest that one which was left open holds up who reads what is committed"`
	// KafkaTransactionalIDExpiration is how long a transactional id is remembered that nobody uses.
	KafkaTransactionalIDExpiration time.Duration `flag:"kafka-transactional-id-expiration" default:"168h" group:"Limits" usage:"how long a transactional id of Kafka producers is remembered after its last transaction (Kafka's transactional.id.expiration.ms)"`
	// AMQPFrameMax is the largest AMQP frame that is offered.
	AMQPFrameMax Size `flag:"amqp-frame-max" default:"128KiB" group:"Limits" live:"true" usage:"largest AMQP frame that is offered to a client"`
	// AMQPChannelMax is the number of channels offered on a connection.
	AMQPChannelMax int `flag:"amqp-channel-max" default:"2047" group:"Limits" live:"true" usage:"most channels on one AMQP connection"`
	// AMQPHeartbeat is the heartbeat that is offered.
	AMQPHeartbeat time.Duration `flag:"amqp-heartbeat" default:"60s" group:"Limits" live:"true" usage:"heartbeat that is offered to AMQP clients; 0 is none"`
	// XMPPMaxStanzaBytes bounds one stanza.
	XMPPMaxStanzaBytes Size `flag:"xmpp-max-stanza-bytes" default:"256KiB" group:"Limits" usage:"largest stanza that an XMPP client may send"`
	// XMPPStanzaRate bounds the stanzas of one client.
	XMPPStanzaRate int `flag:"xmpp-stanza-rate" default:"0" group:"Limits" usage:"most stanzas a second that one XMPP client may send for longer than a second, more wait; 0 is any number"`
	// KafkaPartitions is the number of partitions of a new topic.
	KafkaPartitions int `flag:"kafka-partitions" default:"1" group:"Limits" live:"true" usage:"partitions of a topic that is made without saying how many"`
	// KafkaAutoCreate makes topics when they are first used.
	KafkaAutoCreate bool `flag:"kafka-auto-create" default:"true" group:"Limits" live:"true" usage:"make a topic when a Kafka client that allows it first names it"`

	// ConfigFile is the file of settings that was asked for.
	ConfigFile string `flag:"config" default:"" group:"Process" nofile:"true" usage:"file of settings, in TOML; empty is leveret.toml in the working directory or else /etc/leveret/leveret.toml, where one is; none reads no file"`
	// ShutdownGrace is how long a stop may take.
	ShutdownGrace time.Duration `flag:"shutdown-grace" default:"5s" group:"Process" live:"true" usage:"how long a stop may take: connections get most of it to end before they are cut, the disk the rest; a second at least"`
	// LogLevel is the least severe level that is printed.
	LogLevel string `flag:"log-level" default:"info" group:"Process" live:"true" usage:"least severe level that is printed: debug, info, warn or error"`
	// AuditLog is a file for the lines of audit.
	AuditLog string `flag:"audit-log" default:"" group:"Process" live:"true" usage:"file to which lines of the level AUDIT (administrative acts, refused logins and rights) are appended, beside standard error, where they always are"`
	// LogFormat is text or json.
	LogFormat string `flag:"log-format" default:"text" group:"Process" usage:"form of the lines on standard error: text or json"`

	// What Load knows of the values.
	origins  map[string]Origin // by flag; one that is missing is the default
	fileRead string
	warnings []string
}

// What is asked of clients' certificates.
const (
	// VerifyNone asks for none.
	VerifyNone = "none"
	// VerifyRequest takes clients without one, and of the others those whose is good.
	VerifyRequest = "request"
	// VerifyRequire takes clients whose certificate is good.
	VerifyRequire = "require"
)

// What of a client's certificate is a user's name, besides Off: as RabbitMQ's ssl_cert_login_from.
const (
	LoginCommonName        = "common_name"
	LoginDistinguishedName = "distinguished_name"
	LoginAlternativeName   = "subject_alternative_name"
)

// Auto is the address of a listener with TLS that is on when there is a certificate.
const Auto = "auto"

// Off is the address that switches a listener off.
const Off = "off"

// EnvPrefix starts the name of every environment variable that is read.
const EnvPrefix = "LEVERET_"
