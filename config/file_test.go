package config

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fileWith writes a file of settings and returns its name.
func fileWith(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "leveret.toml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestAFileSetsEveryKindOfSetting(t *testing.T) {
	name := fileWith(t, `# as an owner writes it
data-dir = "/var/lib/leveret"   # a text
max_connections = 20_000        # a number, and _ for -
kafka-auto-create = false
amqp-heartbeat = "30s"
segment-bytes = 1048576
max-message-bytes = '1MiB'
memory-high-watermark = 0.25
`)
	c, err := load([]string{"--config", name}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.DataDir != "/var/lib/leveret" || c.MaxConnections != 20_000 || c.KafkaAutoCreate || c.AMQPHeartbeat != 30*time.Second ||
		c.SegmentBytes != 1<<20 || c.MaxMessageBytes != 1<<20 || c.MemoryHighWatermark != (Watermark{Part: 0.25}) {
		t.Errorf("%+v", c)
	}
	if c.File() != name || len(c.Warnings()) != 0 {
		t.Errorf("%q %q", c.File(), c.Warnings())
	}
	lists := fileWith(t, "kafka-addr = [\"a://:1\", \"b://:2\"]\nkafka-advertised = []\n")
	if c, err := load([]string{"--config", lists}, nil); err != nil || c.KafkaAddr != "a://:1,b://:2" || c.KafkaAdvertised != "" {
		t.Errorf("%v", err)
	}
	for _, nothing := range []string{"", "# nothing yet\n"} {
		if c, err := load([]string{"--config", fileWith(t, nothing)}, nil); err != nil || c.Sync != SyncGroup {
			t.Errorf("%q: %v", nothing, err)
		}
	}
}

func TestFlagsWinOverTheEnvironmentOverTheFileOverDefaults(t *testing.T) {
	name := fileWith(t, "sync = \"os\"\nlog-level = \"debug\"\nkafka-partitions = 3\n")
	c, err := load([]string{"--sync", "always"}, []string{"LEVERET_CONFIG=" + name, "LEVERET_SYNC=group", "LEVERET_LOG_LEVEL=warn"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Sync != SyncAlways || c.LogLevel != "warn" || c.KafkaPartitions != 3 || c.LogFormat != "text" {
		t.Errorf("%+v", c)
	}
	for flag, want := range map[string]string{
		"sync": "flag --sync", "log-level": "environment variable LEVERET_LOG_LEVEL", "kafka-partitions": name + ":3", "log-format": "default",
		"config": "environment variable LEVERET_CONFIG",
	} {
		if got := c.Origin(flag).String(); got != want {
			t.Errorf("%s comes from %s, want %s", flag, got, want)
		}
	}
	c, err = load([]string{"--config", "none"}, []string{"LEVERET_CONFIG=" + name})
	if err != nil || c.Sync != SyncGroup || c.File() != "" {
		t.Errorf("with none a file was read: %v", err)
	}
}

func TestTheUsualFilesAreReadWhenThereIsOne(t *testing.T) {
	t.Chdir(t.TempDir())
	usual := defaultFiles
	defer func() { defaultFiles = usual }()
	elsewhere := fileWith(t, "kafka-partitions = 7\n")
	defaultFiles = []string{"leveret.toml", elsewhere}
	c, err := load(nil, nil)
	if err != nil || c.KafkaPartitions != 7 || c.File() != elsewhere {
		t.Errorf("%v %q", err, c.File())
	}
	if err := os.WriteFile("leveret.toml", []byte("sync = \"os\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err = load(nil, nil)
	if err != nil || c.KafkaPartitions != 1 || c.Sync != SyncOS || !filepath.IsAbs(c.File()) {
		t.Errorf("%v %q", err, c.File())
	}
	if _, err := load([]string{"--config", "another.toml"}, nil); err == nil {
		t.Error("a file that is named and not there is passed over")
	}
}

func TestAFileIsRefusedWithItsLine(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"unknown key", "\n\namqp-adr = \":1\"\n", []string{":3: ", `"amqp-adr"`, "did you mean amqp-addr?"}},
		{"all unknown ones", "synk = 1\ndata-dir = \"x\"\nlog-lvl = 1\n", []string{":1: ", "did you mean sync?", ":3: ", "did you mean log-level?"}},
		{"number for text", "data-dir = \"x\"\nsync = 1\n", []string{":2: sync: want a text in quotes, not a whole number"}},
		{"text for number", "max-connections = \"1\"\n", []string{":1: max-connections: want a number without quotes"}},
		{"text for truth", "recover = \"true\"\n", []string{":1: recover: want true or false without quotes"}},
		{"fraction for number", "max-connections = 1.5\n", []string{":1: max-connections: want a whole number, not a number with a fraction"}},
		{"number for duration", "amqp-heartbeat = 30\n", []string{":1: amqp-heartbeat: want a duration in quotes such as \"5s\""}},
		{"list", "sync = [\"os\"]\n", []string{":1: sync: want a text in quotes, not a list"}},
		{"list of numbers", "kafka-addr = [9092]\n", []string{":1: kafka-addr: want texts in quotes in the list, not a whole number"}},
		{"date", "sync = 2020-01-01\n", []string{":1: sync: ", "not a date or time"}},
		{"bad size", "segment-bytes = \"big\"\n", []string{":1: segment-bytes: ", "64MiB"}},
		{"a text without quotes", "sync = group\n", []string{":1:8: ", "texts stand in quotes"}},
		{"a length of time in days", "topic-retention = \"7d\"\n", []string{":1: topic-retention: \"7d\" is no length of time such as 5s, 15m or 168h"}},
		{"bad value", "\nsync = \"sometimes\"\n", []string{":2: sync: \"sometimes\" is none of"}},
		{"out of bounds", "max-connections = 0\n", []string{":1: max-connections: 0 is not between"}},
		{"table", "sync = \"os\"\n[amqp]\naddr = \":1\"\n", []string{":2: ", "amqp is a table"}},
		{"tables", "[[kafka]]\naddr = \":1\"\n", []string{":1: ", "kafka is a table"}},
		{"dotted", "amqp.addr = \":1\"\n", []string{":1: ", "amqp is a table"}},
		{"twice", "sync = \"os\"\nsync = \"os\"\n", []string{":2:"}},
		{"twice by other names", "amqp-addr = \":1\"\namqp_addr = \":2\"\n", []string{"amqp", "stands in line", "too"}},
		{"file in a file", "config = \"x\"\n", []string{":1: ", `"config" is not a setting; docs`}},
		{"no TOML", "sync = \"os\"\nlog-level = \n", []string{":2:"}},
		{"no UTF-8", "sync = \"\xff\"\n", []string{":1:"}},
		{"too large", "#" + strings.Repeat("x", MaxFileBytes), []string{"no file of settings"}},
		{"deep", "sync = " + strings.Repeat("[", 20_000) + "\n", []string{":1:"}},
		{"very many", manyKeys(), []string{":1: ", "and 980 more"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			name := fileWith(t, c.text)
			_, err := load([]string{"--config", name}, nil)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v does not say %q", err, want)
				}
			}
			if !strings.HasPrefix(err.Error(), name) && !strings.HasPrefix(err.Error(), "file of settings: "+name) {
				t.Errorf("%v does not name the file", err)
			}
		})
	}
}

func manyKeys() string {
	var b strings.Builder
	for n := range 1000 {
		fmt.Fprintf(&b, "key%d = 1\n", n)
	}
	return b.String()
}

func TestAPasswordThatEverybodyCanReadIsWarnedOf(t *testing.T) {
	name := fileWith(t, "data-dir = \"x\"\ndefault-password = \"hunter2\"\n")
	for mode, want := range map[os.FileMode]int{0o600: 0, 0o640: 0, 0o644: 1} {
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
		c, err := load([]string{"--config", name}, nil)
		if err != nil || len(c.Warnings()) != want {
			t.Fatalf("%v: %v %q", mode, err, c.Warnings())
		}
		if want == 1 && (!strings.Contains(c.Warnings()[0], name+":2: default-password") || strings.Contains(c.Warnings()[0], "hunter2")) {
			t.Error(c.Warnings())
		}
	}
}

func TestAPasswordMayStandInAFileOfItsOwn(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	put := func(text string) {
		if err := os.WriteFile(secret, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for text, want := range map[string]string{"hunter2": "hunter2", "hunter2\n": "hunter2", "hunter2\r\n": "hunter2", " two\nlines\n\n": " two\nlines\n"} {
		put(text)
		c, err := load(nil, []string{"LEVERET_DEFAULT_PASSWORD_FILE=" + secret})
		if err != nil || c.DefaultPassword != want || c.Origin("default-password").Name != "LEVERET_DEFAULT_PASSWORD_FILE" {
			t.Errorf("%q: %v, %q from %v", text, err, c.DefaultPassword, c.Origin("default-password"))
		}
	}
	for mode, want := range map[os.FileMode]int{0o600: 0, 0o640: 0, 0o644: 1} {
		put("hunter2")
		if err := os.Chmod(secret, mode); err != nil {
			t.Fatal(err)
		}
		c, err := load(nil, []string{"LEVERET_DEFAULT_PASSWORD_FILE=" + secret})
		if err != nil || len(c.Warnings()) != want {
			t.Errorf("mode %o: %v, %q", mode, err, c.Warnings())
		}
		for _, w := range c.Warnings() {
			if !strings.HasPrefix(w, "LEVERET_DEFAULT_PASSWORD_FILE: "+secret+" can be read by everybody") || strings.Contains(w, "hunter2") {
				t.Errorf("%q", w)
			}
		}
	}
	c, err := load([]string{"--default-password=flag"}, []string{"LEVERET_DEFAULT_PASSWORD_FILE=" + secret})
	if err != nil || c.DefaultPassword != "flag" {
		t.Errorf("a file of a lower rank wins: %v", err)
	}
	for name, bad := range map[string]string{"empty": "\n", "long": strings.Repeat("x", 5000)} {
		put(bad)
		if _, err := load(nil, []string{"LEVERET_DEFAULT_PASSWORD_FILE=" + secret}); err == nil || !strings.HasPrefix(err.Error(), "LEVERET_DEFAULT_PASSWORD_FILE: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := load([]string{"--default-password-file=" + secret + ".not"}, nil); err == nil || !strings.Contains(err.Error(), "--default-password-file") {
		t.Error(err)
	}
	_, err = load(nil, []string{"LEVERET_DEFAULT_PASSWORD_FILE=" + secret, "LEVERET_DEFAULT_PASSWORD=hunter2"})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("both of one rank: %v", err)
	}
}

func TestWhatIsPrintedIsAFileOfTheSameSettings(t *testing.T) {
	const golden = "testdata/printed.toml"
	name := fileWith(t, "sync = \"os\"\ndata-dir = \"a \\\"b\\\" \\u0007 ä\"\ndefault-password = \"hunter2\"\n")
	c, err := load([]string{"--config", name, "--kafka-partitions=3"}, []string{"LEVERET_MEMORY_HIGH_WATERMARK=2GiB"})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := c.Print(&b); err != nil {
		t.Fatal(err)
	}
	got := strings.ReplaceAll(b.String(), name, "FILE")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || string(want) != got {
		t.Errorf("%v; renew it with go test ./config -update, if this is right:\n%s", err, got)
	}
	if strings.Contains(got, "hunter2") {
		t.Error("a password is printed")
	}
	again, err := load([]string{"--config", fileWith(t, b.String())}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range settings(again) {
		if first := settings(c)[i]; !s.Secret && !s.NoFile && s.literal() != first.literal() {
			t.Errorf("%s is %s, was %s", s.Flag, s.literal(), first.literal())
		}
	}
}

func FuzzFile(f *testing.F) {
	printed, err := os.ReadFile("testdata/printed.toml")
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{string(printed), "sync = 1", "[a]\nb=1", "a.b = [1, {c = 2}]", "recover = true\nrecover = false", "x = '''\n''' # y", "\xff", "amqp_addr = \"\\u0000\""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c := Default()
		found, err := parseFile("f", text)
		if err == nil {
			err = newLoader(c).take("f", found, true)
		}
		if err != nil {
			if !strings.HasPrefix(err.Error(), "f:") {
				t.Fatalf("no place in %v", err)
			}
			return
		}
		var b bytes.Buffer
		if err := c.Print(&b); err != nil {
			t.Fatal(err)
		}
		again := Default()
		if found, err = parseFile("f", b.Bytes()); err != nil {
			t.Fatalf("%v\n%s", err, &b)
		}
		if err := newLoader(again).take("f", found, false); err != nil {
			t.Fatalf("%v\n%s", err, &b)
		}
		for i, s := range settings(again) {
			if first := settings(c)[i]; !s.Secret && !s.NoFile && s.literal() != first.literal() {
				t.Errorf("%s is %s, was %s", s.Flag, s.literal(), first.literal())
			}
		}
	})
}
