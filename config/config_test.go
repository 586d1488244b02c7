package config

import (
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "write docs/configuration.md")

func load(args, environ []string) (*Config, error) {
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	Bind(flags)
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	c, err := Load(flags, environ)
	if err != nil {
		return nil, err
	}
	return c, c.Validate()
}

func TestDefaultsAreValid(t *testing.T) {
	c := Default()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if c.AMQPAddr != ":5672" || c.Sync != SyncGroup || c.SegmentBytes != 64<<20 || c.AMQPHeartbeat != time.Minute {
		t.Fatalf("%+v", c)
	}
}

func TestFlagWinsOverEnvironmentWinsOverDefault(t *testing.T) {
	c, err := load([]string{"--sync", "os"}, []string{
		"LEVERET_SYNC=always", "LEVERET_AMQP_ADDR=127.0.0.1:1", "LEVERET_SEGMENT_BYTES=1MiB", "PATH=/bin",
		"LEVERET_SERVICE_HOST=10.0.0.1", "LEVERET_PORT_5672_TCP_ADDR=10.0.0.1", "LEVERET_PORT=tcp://10.0.0.1:5672",
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.Sync != SyncOS || c.AMQPAddr != "127.0.0.1:1" || c.KafkaAddr != ":9092" || c.SegmentBytes != 1<<20 {
		t.Fatalf("%+v", c)
	}
}

func TestBadSettingsAreRefusedByName(t *testing.T) {
	for _, c := range []struct {
		name    string
		args    []string
		environ []string
		want    []string
	}{
		{"unknown mode", []string{"--sync=sometimes"}, nil, []string{"--sync", "sometimes", "group"}},
		{"a key without its certificate", []string{"--tls-key=k"}, nil, []string{"--tls-cert", "is missing", "--tls-key"}},
		{"a certificate without its key", []string{"--tls-cert=c"}, nil, []string{"--tls-key", "is missing", "--tls-cert"}},
		{"the same from elsewhere", nil, []string{"LEVERET_TLS_KEY=k"}, []string{"--tls-cert", "is missing"}},
		{"an address without a certificate", []string{"--amqps-addr=:1"}, nil, []string{"--amqps-addr", "needs a certificate"}},
		{"Kafka's without a certificate", []string{"--kafka-tls-addr=:1"}, nil, []string{"--kafka-tls-addr", "needs a certificate"}},
		{"an address that is none", []string{"--metrics-tls-addr=x", "--tls-cert=c", "--tls-key=k"}, nil, []string{"--metrics-tls-addr", "host:port", "auto"}},
		{"Kafka's that is none", []string{"--kafka-tls-addr=x", "--tls-cert=c", "--tls-key=k"}, nil, []string{"--kafka-tls-addr", "host:port"}},
		{"clients need what nobody may sign", []string{"--tls-verify=require", "--tls-cert=c", "--tls-key=k"}, nil, []string{"--tls-ca", "is missing"}},
		{"clients' certificates without our own", []string{"--tls-ca=a"}, nil, []string{"--tls-cert", "is missing", "--tls-ca"}},
		{"unknown ways", []string{"--tls-verify=x", "--tls-login-from=y", "--tls-login-san-type=z", "--tls-login-san-index=-1"}, nil, []string{"--tls-verify", "require", "--tls-login-from", "common_name", "--tls-login-san-type", "dns", "--tls-login-san-index"}},
		{"all at once", []string{"--sync=x", "--amqp-addr=5672"}, nil, []string{"--sync", "--amqp-addr", "host:port"}},
		{"no number", []string{"--segment-bytes=big"}, nil, []string{"segment-bytes", "big", "64MiB"}},
		{"too small", []string{"--segment-bytes=1"}, nil, []string{"segment-bytes", "65536"}},
		{"port too high", []string{"--kafka-addr=:70000"}, nil, []string{"kafka-addr", "65535"}},
		{"half an address", []string{"--kafka-advertised=:9092"}, nil, []string{"kafka-advertised"}},
		{"broken heartbeat", []string{"--amqp-heartbeat=1500ms"}, nil, []string{"amqp-heartbeat", "whole number of seconds"}},
		{"unknown variable", nil, []string{"LEVERET_AMPQ_ADDR=:1"}, []string{"LEVERET_AMPQ_ADDR", "did you mean LEVERET_AMQP_ADDR"}},
		{"bad variable", nil, []string{"LEVERET_MAX_CONNECTIONS=many"}, []string{"LEVERET_MAX_CONNECTIONS", "many"}},
		{"no virtual host", []string{"--default-vhost="}, nil, []string{"--default-vhost", "255"}},
		{"long virtual host", []string{"--default-vhost=" + strings.Repeat("x", 256)}, nil, []string{"--default-vhost"}},
		{"watermark", []string{"--memory-high-watermark=2"}, nil, []string{"memory-high-watermark", "0.6"}},
		{"unknown flag", []string{"--sink=os"}, nil, []string{"sink"}},
		{"level", []string{"--log-level=loud"}, nil, []string{"--log-level", "loud", "debug"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := load(c.args, c.environ)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v does not say %q", err, want)
				}
			}
		})
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]Size{"0": 0, "4096": 4096, "1KiB": 1024, "64MiB": 64 << 20, "500MB": 5e8, "3 GiB": 3 << 30, "12B": 12} {
		got, err := parseSize(text)
		if err != nil || got != want {
			t.Errorf("%q: got %d, %v", text, got, err)
		}
		if again, err := parseSize(got.String()); err != nil || again != got {
			t.Errorf("%q does not survive printing: %q", text, got.String())
		}
	}
	for _, text := range []string{"", "-1", "x", "1XiB", "9999999999TiB", "MiB"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%q: accepted as %d", text, got)
		}
	}
}

func TestWatermark(t *testing.T) {
	for text, want := range map[string]Watermark{"0.6": {Part: 0.6}, "1": {Part: 1}, "2GiB": {Bytes: 2 << 30}, "64MiB": {Bytes: 64 << 20}, "off": {}} {
		got, err := parseWatermark(text)
		if err != nil || got != want {
			t.Errorf("%q: got %v, %v", text, got, err)
		}
		if reread, err := parseWatermark(got.String()); err != nil || reread != got {
			t.Errorf("%q does not survive printing: %q", text, got.String())
		}
	}
	for _, text := range []string{"", "0", "-1", "1.5", "NaN", "Inf", "x", "63MiB", "50%"} {
		if got, err := parseWatermark(text); err == nil {
			t.Errorf("%q: accepted as %v", text, got)
		}
	}
	for text, want := range map[string]int64{"0.5": 500, "64MiB": 64 << 20, "off": 0} {
		w, _ := parseWatermark(text)
		if got := w.Of(1000); got != want {
			t.Errorf("%q of 1000 is %d", text, got)
		}
	}
}

func FuzzParseSize(f *testing.F) {
	for _, seed := range []string{"64MiB", "500MB", "4096", "-1", "99999999999999999999"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := parseSize(text)
		if err != nil {
			return
		}
		if again, err := parseSize(n.String()); n < 0 || err != nil || again != n {
			t.Fatalf("%q is %d, printed as %q", text, n, n.String())
		}
	})
}

func TestEverySettingIsDescribed(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range settings(new(Config)) {
		if s.Flag == "" || s.Usage == "" || s.Group == "" || seen[s.Flag] {
			t.Errorf("setting %+v is not fully described, or stands twice", s)
		}
		seen[s.Flag] = true
	}
}

func TestReferencePageIsCurrent(t *testing.T) {
	const page = "../docs/configuration.md"
	want := reference()
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Fatal("docs/configuration.md is not what the settings say; renew it with: go test ./config -update")
	}
}
