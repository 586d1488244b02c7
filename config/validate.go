package config

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Validate checks every setting and returns all that is wrong at once, each
// line with the setting's name as its owner wrote it.
func (c *Config) Validate() error {
	var wrong []error
	check := func(flag string, err error) {
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", c.Called(flag), err))
		}
	}
	if c.DataDir == "" {
		check("data-dir", errors.New("is empty"))
	}
	check("sync", oneOf(c.Sync, SyncOS, SyncGroup, SyncAlways))
	check("segment-bytes", between(int64(c.SegmentBytes), 64<<10, 2<<30))
	if c.TopicRetention < time.Second {
		check("topic-retention", fmt.Errorf("%v is less than a second", c.TopicRetention))
	}
	if c.CompactionInterval < 10*time.Millisecond {
		check("compaction-interval", fmt.Errorf("%v is less than 10ms", c.CompactionInterval))
	}
	if d := c.KafkaTransactionTimeout; d < time.Millisecond || d > math.MaxInt32*time.Millisecond {
		check("kafka-transaction-timeout", fmt.Errorf("%v is not between 1ms and %v, which is all that the protocol has room for", d, math.MaxInt32*time.Millisecond))
	}
	if c.KafkaTransactionalIDExpiration < time.Second {
		check("kafka-transactional-id-expiration", fmt.Errorf("%v is less than a second", c.KafkaTransactionalIDExpiration))
	}
	check("compaction-memory", between(int64(c.CompactionMemory), 1<<20, 16<<30))
	check("compaction-share", between(int64(c.CompactionShare), 1, 100))
	check("amqp-addr", address(c.AMQPAddr))
	c.validateKafkaListeners(check)
	check("stomp-addr", address(c.STOMPAddr))
	check("http-addr", address(c.HTTPAddr))
	for _, o := range c.Origins() {
		check("http-cors-origins", origin(o))
	}
	check("xmpp-addr", address(c.XMPPAddr))
	if c.XMPPSAddr != Auto {
		check("xmpps-addr", address(c.XMPPSAddr))
	}
	_, err := c.XMPPDomainList()
	check("xmpp-domain", err)
	check("stomp-ws-addr", address(c.STOMPWSAddr))
	_, err = c.STOMPOrigins()
	check("stomp-ws-origins", err)
	check("metrics-addr", address(c.MetricsAddr))
	check("pprof-addr", address(c.PprofAddr))
	c.validateTLS(check)
	if c.DefaultUser == "" {
		check("default-user", errors.New("is empty"))
	}
	if c.DefaultVHost == "" || len(c.DefaultVHost) > 255 || !utf8.ValidString(c.DefaultVHost) {
		check("default-vhost", errors.New("is not a name of 1 to 255 bytes of UTF-8"))
	}
	check("max-connections", between(int64(c.MaxConnections), 1, 10_000_000))
	check("max-message-bytes", between(int64(c.MaxMessageBytes), 1<<10, 1<<30))
	check("kafka-max-batch-bytes", between(int64(c.KafkaMaxBatchBytes), 1<<10, 256<<20))
	if c.RequestMemory != 0 {
		check("request-memory", between(int64(c.RequestMemory), 16<<20, 1<<50))
	}
	if c.RequestDisk != 0 {
		check("request-disk", between(int64(c.RequestDisk), 1<<20, 1<<50))
	}
	check("amqp-frame-max", between(int64(c.AMQPFrameMax), 8<<10, 256<<10))
	check("amqp-channel-max", between(int64(c.AMQPChannelMax), 1, 65535))
	check("amqp-heartbeat", heartbeat(c.AMQPHeartbeat))
	check("xmpp-max-stanza-bytes", between(int64(c.XMPPMaxStanzaBytes), 10<<10, 64<<20))
	check("xmpp-stanza-rate", between(int64(c.XMPPStanzaRate), 0, 10_000_000))
	check("kafka-partitions", between(int64(c.KafkaPartitions), 1, 10_000))
	check("shutdown-grace", notNegative(c.ShutdownGrace))
	_, err = c.Level()
	check("log-level", err)
	check("log-format", oneOf(c.LogFormat, "text", "json"))
	return errors.Join(wrong...)
}

// Level is LogLevel as slog has it.
func (c *Config) Level() (slog.Level, error) {
	switch c.LogLevel {
	case "debug":
		return slog.LevelDebug, nil
	case "info":
		return slog.LevelInfo, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	}
	return 0, oneOf(c.LogLevel, "debug", "info", "warn", "error")
}

func oneOf(got string, want ...string) error {
	for _, w := range want {
		if got == w {
			return nil
		}
	}
	return fmt.Errorf("%q is none of %s", got, strings.Join(want, ", "))
}

func between(got, low, high int64) error {
	if got < low || got > high {
		return fmt.Errorf("%d is not between %d and %d", got, low, high)
	}
	return nil
}

func notNegative(d time.Duration) error {
	if d < 0 {
		return fmt.Errorf("%v is negative", d)
	}
	return nil
}

// heartbeat holds the bound of the wire: sixteen bits of whole seconds.
func heartbeat(d time.Duration) error {
	if d < 0 || d > 65535*time.Second || d%time.Second != 0 {
		return fmt.Errorf("%v is not a whole number of seconds between 0 and 65535", d)
	}
	return nil
}

// origin accepts what browsers send of a page: scheme://host, with a port where it is not the scheme's.
func origin(o string) error {
	u, err := url.Parse(o)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Scheme+"://"+u.Host != o {
		return fmt.Errorf("%q is not an origin, such as https://console.example.com or http://localhost:3000", o)
	}
	return nil
}

// address accepts host:port with an empty or given host, and off.
func address(a string) error {
	if a == Off {
		return nil
	}
	_, port, err := net.SplitHostPort(a)
	if err != nil {
		return fmt.Errorf("%q is not host:port, :port or off", a)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("%q has the port %q, which is not a number up to 65535", a, port)
	}
	return nil
}
