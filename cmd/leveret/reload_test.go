package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// served is a broker that runs as a process, with its log.
type served struct {
	t      *testing.T
	cmd    *exec.Cmd
	out    *bufio.Reader
	banner string
	file   string // of settings

	mu  sync.Mutex
	log bytes.Buffer // guarded by mu
}

// Write takes what the process logs.
func (s *served) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(b)
}

// logged waits for a line that matches, and returns it; what stands up to it is forgotten.
func (s *served) logged(pattern string) string {
	s.t.Helper()
	re := regexp.MustCompile("(?m)^.*" + pattern + ".*$")
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		s.mu.Lock()
		at := re.FindIndex(s.log.Bytes())
		if at != nil {
			line := string(s.log.Bytes()[at[0]:at[1]])
			s.log.Next(at[1])
			s.mu.Unlock()
			return line
		}
		text := s.log.String()
		s.mu.Unlock()
		if time.Now().After(deadline) {
			s.t.Fatalf("no line %s in\n%s", pattern, text)
		}
	}
}

// serve starts a broker with a file of settings.
func serveFile(t *testing.T, dir, text string, env ...string) *served {
	t.Helper()
	s := &served{t: t, file: filepath.Join(dir, "leveret.toml")}
	s.write("amqp-addr = \"127.0.0.1:0\"\nkafka-addr = \"127.0.0.1:0\"\nmetrics-addr = \"127.0.0.1:0\"\n" + text)
	s.cmd = command("serve", "--config", s.file, "--data-dir", filepath.Join(dir, "data"))
	s.cmd.Env = append(append(s.cmd.Env, "LEVERET_STOMP_ADDR=off", "LEVERET_STOMP_WS_ADDR=off", "LEVERET_XMPP_ADDR=off", "LEVERET_HTTP_ADDR=off"), env...)
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Stderr = s
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.cmd.Process.Kill(); _ = s.cmd.Wait() })
	s.out = bufio.NewReader(out)
	s.banner = until(t, s.out, "Ready after")
	return s
}

func (s *served) write(text string) {
	s.t.Helper()
	if err := os.WriteFile(s.file, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// edit replaces what stands in the file of settings.
func (s *served) edit(old, fresh string) {
	s.t.Helper()
	text, err := os.ReadFile(s.file)
	if err != nil || !bytes.Contains(text, []byte(old)) {
		s.t.Fatalf("%v: no %q in %s", err, old, text)
	}
	s.write(strings.Replace(string(text), old, fresh, 1))
}

func (s *served) signal(signal os.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(signal); err != nil {
		s.t.Fatal(err)
	}
}

// dial connects to it.
func (s *served) dial() *amqp.Connection {
	s.t.Helper()
	at := regexp.MustCompile(`(?m)^  amqp +(\S+)$`).FindStringSubmatch(s.banner)
	conn, err := amqp.Dial("amqp://guest:guest@" + at[1] + "/")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (s *served) stop() {
	s.t.Helper()
	s.signal(syscall.SIGTERM)
	until(s.t, s.out, "Stopped.")
	if err := s.cmd.Wait(); err != nil {
		s.t.Error(err)
	}
}

func TestAHangupReadsTheSettingsAnew(t *testing.T) {
	s := serveFile(t, t.TempDir(), "log-level = \"warn\"\namqp-channel-max = 100\nsync = \"os\"\n")
	s.edit("\"warn\"", "\"info\"")
	s.edit("= 100", "= 50")
	s.edit("\"os\"", "\"group\"")
	s.signal(syscall.SIGHUP)
	s.logged(`level=AUDIT msg=audit act=settings.reload on=\S*leveret.toml from=SIGHUP protocol=process outcome=done`)
	s.logged(`level=WARN msg="setting needs a restart to take hold" setting=sync is="\\"os\\"" would_be="\\"group\\"" origin=\S*leveret.toml:6`)
	s.logged(`level=INFO msg="setting changed" setting=amqp-channel-max was=100 is=50 origin=\S*leveret.toml:5`)
	s.logged(`setting=log-level was="\\"warn\\"" is="\\"info\\""`)
	s.logged(`msg="settings read anew" file=\S*leveret.toml differ=3`)
	if got := s.dial().Config.ChannelMax; got != 50 {
		t.Errorf("%d channels are offered", got)
	}

	s.edit("= 50", "= 70\nkafka-partition = 2")
	s.signal(syscall.SIGHUP)
	s.logged(`level=AUDIT msg=audit act=settings.reload .*outcome=failed reason="\S*leveret.toml:6: \\"kafka-partition\\" is not a setting; did you mean kafka-partitions\?`)
	s.logged(`level=ERROR msg="the settings stay as they were: what was read anew makes no sense" error="\S*leveret.toml:6: `)
	if got := s.dial().Config.ChannelMax; got != 50 {
		t.Errorf("%d channels are offered after a reload that was refused", got)
	}
	for _, bad := range []string{"kafka-partitions = 0", "kafka-partitions = \"2\"", "kafka-partitions ="} {
		s.edit("kafka-partition", "kafka-partition")
		text, _ := os.ReadFile(s.file)
		s.write(regexp.MustCompile(`(?m)^kafka-partition.*$`).ReplaceAllString(string(text), bad))
		s.signal(syscall.SIGHUP)
		s.logged(`settings stay as they were.*leveret.toml:6`)
	}
	if err := os.Remove(s.file); err != nil {
		t.Fatal(err)
	}
	s.signal(syscall.SIGHUP)
	s.logged(`settings stay as they were.*no such file`)
	if got := s.dial().Config.ChannelMax; got != 50 {
		t.Errorf("%d channels are offered", got)
	}
	s.write("log-level = \"info\"\namqp-channel-max = 70\n")
	s.signal(syscall.SIGHUP)
	s.logged(`settings read anew`)
	if got := s.dial().Config.ChannelMax; got != 70 {
		t.Errorf("%d channels are offered", got)
	}
	s.stop()
}

// Settings and definitions are read anew together, or neither.
func TestAHangupAppliesDefinitionsWithTheSettingsOrNeither(t *testing.T) {
	dir := t.TempDir()
	definitions := filepath.Join(dir, "definitions.json")
	put := func(text string) {
		if err := os.WriteFile(definitions, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(`{"vhosts":[{"name":"/"}]}`)
	s := serveFile(t, dir, "amqp-channel-max = 100\ndefinitions = \""+definitions+"\"\n")
	there := func(queue string) bool {
		ch, err := s.dial().Channel()
		if err != nil {
			t.Fatal(err)
		}
		_, err = ch.QueueDeclarePassive(queue, true, false, false, false, nil)
		return err == nil
	}
	const queue = `{"vhosts":[{"name":"/"}],
"queues":[{"name":"q","vhost":"/","durable":true,"auto_delete":false,"arguments":{}}`
	s.edit("= 100", "= 50")
	put(queue + ",\n{\"name\":1}]}")
	s.signal(syscall.SIGHUP)
	s.logged(`settings stay as they were.*definitions.json: line 3`)
	if got := s.dial().Config.ChannelMax; got != 100 || there("q") {
		t.Errorf("%d channels are offered, the queue is there: %v", got, there("q"))
	}
	put(queue + "]}")
	s.edit("= 50", "= 0")
	s.signal(syscall.SIGHUP)
	s.logged(`settings stay as they were.*leveret.toml:4: amqp-channel-max`)
	if there("q") {
		t.Error("definitions are applied although a setting is refused")
	}
	s.edit("= 0", "= 50")
	s.signal(syscall.SIGHUP)
	s.logged(`act=definitions.import .*from=SIGHUP protocol=process outcome=done`)
	s.logged("settings read anew")
	if got := s.dial().Config.ChannelMax; got != 50 || !there("q") {
		t.Errorf("%d channels are offered, the queue is there: %v", got, there("q"))
	}
	s.stop()
}

func TestAHangupOpensTheAuditFileAnew(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "audit.log")
	s := serveFile(t, dir, "audit-log = \""+name+"\"\n")
	s.signal(syscall.SIGHUP)
	s.logged("settings read anew")
	if err := os.Rename(name, name+".1"); err != nil {
		t.Fatal(err)
	}
	s.signal(syscall.SIGHUP)
	s.logged("settings read anew")
	s.signal(syscall.SIGHUP)
	s.logged("settings read anew")
	for file, want := range map[string]int{name + ".1": 1, name: 2} {
		text, err := os.ReadFile(file)
		if got := bytes.Count(text, []byte("act=settings.reload")); err != nil || got != want {
			t.Errorf("%v: %s holds %d lines of audit, want %d:\n%s", err, file, got, want, text)
		}
	}
	s.edit("audit.log", "missing/audit.log")
	s.signal(syscall.SIGHUP)
	s.logged(`settings stay as they were.*leveret.toml:4: audit-log: .*no such file`)
	s.stop()
	if text, _ := os.ReadFile(name); bytes.Count(text, []byte("act=settings.reload")) != 3 {
		t.Errorf("after a reload that was refused the old file does not go on:\n%s", text)
	}
}

func TestASecondSettingForTheStopIsObeyed(t *testing.T) {
	s := serveFile(t, t.TempDir(), "shutdown-grace = \"1h\"\n")
	s.edit("1h", "1s")
	s.signal(syscall.SIGHUP)
	s.logged("settings read anew")
	at := regexp.MustCompile(`(?m)^  kafka +(\S+)$`).FindStringSubmatch(s.banner)
	hanging, err := net.Dial("tcp", at[1]) // half a request, which nobody ends
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = hanging.Close() }()
	begun := time.Now()
	s.stop()
	if took := time.Since(begun); took > 5*time.Minute {
		t.Errorf("the stop took %v", took)
	}
}

func TestSystemdHearsOfEachStep(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.Close() }()
	alive := 0
	next := func(want string) {
		t.Helper()
		buf := make([]byte, 4096)
		for {
			_ = socket.SetReadDeadline(time.Now().Add(time.Minute))
			n, err := socket.Read(buf)
			if err != nil {
				t.Fatalf("%v before %s", err, want)
			}
			if string(buf[:n]) == "WATCHDOG=1" {
				alive++
				if want == "" && alive > 3 {
					return
				}
				continue
			}
			if !regexp.MustCompile("(?s)^" + want).Match(buf[:n]) {
				t.Fatalf("%q, want %s", buf[:n], want)
			}
			return
		}
	}
	s := serveFile(t, dir, "", "NOTIFY_SOCKET="+name, "WATCHDOG_USEC=60000")
	next("READY=1\nSTATUS=Serving amqp ")
	next("") // it is alive
	s.signal(syscall.SIGHUP)
	next("RELOADING=1\nMONOTONIC_USEC=[0-9]+\n")
	next("READY=1\nSTATUS=Serving amqp ")
	s.edit("metrics-addr", "metrics-adr")
	s.signal(syscall.SIGHUP)
	next("RELOADING=1\n")
	next("READY=1\nSTATUS=.*refused")
	s.signal(syscall.SIGTERM)
	next("STOPPING=1\n")
	until(t, s.out, "Stopped.")
}

// What is stored when a stop begins is confirmed before the connection ends: a publisher knows of each
// of its messages whether it is there.
func TestConfirmsUnderWayComeBeforeAStop(t *testing.T) {
	dir := t.TempDir()
	s := serveFile(t, dir, "")
	conn := s.dial()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare("q", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	closed := conn.NotifyClose(make(chan *amqp.Error, 1))
	var confirms []*amqp.DeferredConfirmation
	for n := 0; ; n++ {
		c, err := ch.PublishWithDeferredConfirm("", "q", false, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte(fmt.Sprint(n))})
		if err != nil {
			break // told to go
		}
		confirms = append(confirms, c)
		if n == 1000 {
			confirms[100].Wait()
			s.signal(syscall.SIGTERM)
		}
	}
	if why := <-closed; why == nil || why.Code != 320 {
		t.Errorf("the connection ended with %v", why)
	}
	until(t, s.out, "Stopped.")
	if err := s.cmd.Wait(); err != nil {
		t.Error(err)
	}
	confirmed := 0
	for _, c := range confirms {
		if c.Acked() {
			confirmed++
		}
	}
	again := serveFile(t, dir, "")
	ch, err = again.dial().Channel()
	if err != nil {
		t.Fatal(err)
	}
	q, err := ch.QueueDeclarePassive("q", true, false, false, false, nil)
	if err != nil || q.Messages != confirmed || confirmed < 100 {
		t.Errorf("%v: %d messages are there, %d of %d were confirmed", err, q.Messages, confirmed, len(confirms))
	}
	again.stop()
}

func TestAnswersUnderWayComeBeforeAStop(t *testing.T) {
	dir := t.TempDir()
	s := serveFile(t, dir, "")
	cl := s.kafka(kgo.DisableIdempotentWrite(), kgo.RecordRetries(0), kgo.RequiredAcks(kgo.LeaderAck()), kgo.MaxBufferedRecords(100_000), kgo.RecordDeliveryTimeout(2*time.Second))
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := s.kafka().ProduceSync(ctx, &kgo.Record{Topic: "t", Value: []byte("first")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	acked := 1
	var mu sync.Mutex
	for n := range 50_000 {
		cl.Produce(ctx, &kgo.Record{Topic: "t", Value: []byte(fmt.Sprint(n))}, func(_ *kgo.Record, err error) {
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				acked++
			}
		})
		if n == 25_000 {
			s.signal(syscall.SIGTERM)
		}
	}
	until(t, s.out, "Stopped.")
	if err := s.cmd.Wait(); err != nil {
		t.Error(err)
	}
	_ = cl.Flush(ctx)
	again := serveFile(t, dir, "")
	ends, err := kadm.NewClient(again.kafka()).ListEndOffsets(ctx, "t")
	if err != nil {
		t.Fatal(err)
	}
	end, _ := ends.Lookup("t", 0)
	mu.Lock()
	defer mu.Unlock()
	if end.Err != nil || end.Offset != int64(acked) {
		t.Errorf("%v: %d records are there, %d were acknowledged", end.Err, end.Offset, acked)
	}
	again.stop()
}

// kafka is a Kafka client of it.
func (s *served) kafka(opts ...kgo.Opt) *kgo.Client {
	s.t.Helper()
	at := regexp.MustCompile(`(?m)^  kafka +(\S+)$`).FindStringSubmatch(s.banner)
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(at[1]), kgo.AllowAutoTopicCreation())...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(cl.Close)
	return cl
}

// A hangup while the broker stops does not end it.
func TestAHangupDuringTheStopIsNothing(t *testing.T) {
	s := serveFile(t, t.TempDir(), "shutdown-grace = \"10s\"\n")
	conn := s.dial()
	_ = conn
	s.signal(syscall.SIGTERM)
	until(t, s.out, "Stopping")
	for range 3 {
		_ = s.cmd.Process.Signal(syscall.SIGHUP)
		time.Sleep(time.Millisecond)
	}
	rest, _ := io.ReadAll(s.out)
	if err := s.cmd.Wait(); err != nil || !bytes.Contains(rest, []byte("Stopped.")) {
		t.Errorf("%v: %s", err, rest)
	}
}
