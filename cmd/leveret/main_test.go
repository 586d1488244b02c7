package main

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// asProgram makes the test binary run as the program itself, so that exit
// status, signals and output are the real ones.
const asProgram = "RUN_AS_THE_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func command(args ...string) *exec.Cmd {
	c := exec.Command(os.Args[0], args...)
	c.Env = append(os.Environ(), asProgram+"=1")
	return c
}

// serving starts a broker on free ports and returns it with its output.
func serving(t *testing.T, args ...string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	c := command(append([]string{"serve", "--amqp-addr", "127.0.0.1:0", "--kafka-addr", "127.0.0.1:0", "--stomp-addr", "off", "--stomp-ws-addr", "off", "--xmpp-addr", "off", "--http-addr", "off", "--metrics-addr", "127.0.0.1:0"}, args...)...)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	return c, bufio.NewReader(out)
}

// until reads lines up to the first that contains what is waited for.
func until(t *testing.T, out *bufio.Reader, want string) string {
	t.Helper()
	var all strings.Builder
	for {
		line, err := out.ReadString('\n')
		all.WriteString(line)
		if strings.Contains(line, want) {
			return all.String()
		}
		if err != nil {
			t.Fatalf("%v before %q:\n%s", err, want, all.String())
		}
	}
}

func TestServeNeedsNoArgumentButAnswersSignals(t *testing.T) {
	for _, signal := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		dir := filepath.Join(t.TempDir(), "data")
		c, out := serving(t, "--data-dir", dir)
		banner := until(t, out, "Ready after")
		if !strings.Contains(banner, dir) {
			t.Errorf("the banner does not name %s:\n%s", dir, banner)
		}
		if err := c.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		until(t, out, "Stopped.")
		if err := c.Wait(); err != nil {
			t.Errorf("after %v: %v", signal, err)
		}
	}
}

func TestSettingsComeFromTheEnvironment(t *testing.T) {
	c := command("serve", "--kafka-addr", "127.0.0.1:0", "--stomp-addr", "off", "--stomp-ws-addr", "off", "--xmpp-addr", "off", "--http-addr", "off", "--metrics-addr", "off", "--data-dir", t.TempDir())
	c.Env = append(c.Env, "LEVERET_SYNC=os", "LEVERET_AMQP_ADDR=127.0.0.1:0")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Process.Kill(); _ = c.Wait() }()
	if banner := until(t, bufio.NewReader(out), "Ready after"); !strings.Contains(banner, "os: a confirm") || strings.Contains(banner, "metrics") {
		t.Error(banner)
	}
}

func TestSettingsComeFromAFileThatConfigPrintsAgain(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "leveret.toml")
	text := "amqp-addr = \"127.0.0.1:0\"\nkafka-addr = \"off\"\nmetrics-addr = \"off\"\nsync = \"os\"\ndefault-password = \"hunter2\"\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	show := command("config", "--data-dir", "elsewhere")
	show.Dir = dir
	printed, err := show.Output()
	if err != nil || bytes.Contains(printed, []byte("hunter2")) {
		t.Fatalf("%v\n%s", err, printed)
	}
	for _, want := range []string{`sync = "os" +# \S*leveret.toml:4`, `data-dir = "elsewhere" +# flag --data-dir`} {
		if !regexp.MustCompile(want).Match(printed) {
			t.Errorf("no %s in\n%s", want, printed)
		}
	}
	c := command("serve", "--stomp-addr", "off", "--stomp-ws-addr", "off", "--xmpp-addr", "off", "--http-addr", "off")
	c.Dir = dir
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var warned bytes.Buffer
	c.Stderr = &warned
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	banner := until(t, lines, "Ready after")
	if !strings.Contains(banner, "os: a confirm") || !strings.Contains(banner, "leveret.toml") || strings.Contains(banner, "kafka") {
		t.Error(banner)
	}
	_ = c.Process.Signal(syscall.SIGTERM)
	until(t, lines, "Stopped.")
	if err := c.Wait(); err != nil || !strings.Contains(warned.String(), "leveret.toml:5: default-password") {
		t.Errorf("%v: no warning of a password that everybody can read: %s", err, &warned)
	}
}

func TestRefusalsNameWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		env  string
		want []string
	}{
		{"bad mode", []string{"serve", "--sync", "perhaps"}, "", []string{"--sync", `"perhaps"`, "group"}},
		{"unknown flag", []string{"serve", "--port", "1"}, "", []string{"--port"}},
		{"unknown variable", []string{"serve"}, "LEVERET_SINC=os", []string{"LEVERET_SINC", "LEVERET_SYNC"}},
		{"file of settings that is not there", []string{"serve", "--config", "nowhere.toml"}, "", []string{"nowhere.toml"}},
		{"settings that make no sense", []string{"config", "--sync", "perhaps"}, "", []string{"--sync", "group"}},
		{"argument", []string{"serve", "now"}, "", []string{`leveret serve: "now" is one word too many`}},
		{"argument that is missing", []string{"restore"}, "", []string{"leveret restore: FILE is missing"}},
		{"subcommand that there is not", []string{"definitions", "chck"}, "", []string{`no command "chck" of leveret definitions`}},
		{"number that is none", []string{"config", "--max-connections", "many"}, "", []string{`"many" is no whole number`}},
		{"unknown command", []string{"server"}, "", []string{"server", "serve"}},
		{"file that is not there", []string{"inspect", "nowhere"}, "", []string{"nowhere", "no such file"}},
		{"file of something else", []string{"inspect", "main_test.go"}, "", []string{"main_test.go"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := command(c.args...)
			if c.env != "" {
				cmd.Env = append(cmd.Env, c.env)
			}
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			if err := cmd.Run(); err == nil {
				t.Fatal("exit status 0")
			}
			for _, want := range c.want {
				if !strings.Contains(stderr.String(), want) {
					t.Errorf("%q does not say %q", stderr.String(), want)
				}
			}
		})
	}
}

func TestInspectPrintsEveryFileOfADataDirectory(t *testing.T) {
	dir := t.TempDir()
	c, out := serving(t, "--data-dir", dir)
	publishOne(t, until(t, out, "Ready after"))
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	until(t, out, "Stopped.")
	var files []string
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, p)
		}
		return err
	})
	if err != nil || len(files) < 3 {
		t.Fatalf("%v %v", files, err)
	}
	text, err := command(append([]string{"inspect"}, files...)...).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, text)
	}
	for _, f := range files {
		if !bytes.Contains(text, []byte(f)) {
			t.Errorf("nothing is said of %s", f)
		}
	}
}

// publishOne publishes a confirmed message to the broker that printed the banner.
func publishOne(t *testing.T, banner string) {
	t.Helper()
	at := regexp.MustCompile(`(?m)^  amqp +(\S+)$`).FindStringSubmatch(banner)
	if at == nil {
		t.Fatalf("no AMQP address in\n%s", banner)
	}
	conn, err := amqp.Dial("amqp://guest:guest@" + at[1] + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare("inspected", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	confirm, err := ch.PublishWithDeferredConfirm("", "inspected", false, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte("a message")})
	if err != nil || !confirm.Wait() {
		t.Fatalf("not confirmed: %v", err)
	}
}

// What leveret cert makes starts a broker, and is not replaced unasked.
func TestCertificatesForDevelopment(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs")
	out, err := command("cert", "--dir", dir, "--client", "ann", "broker.example").Output()
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	for _, want := range []string{"--tls-cert " + file("server.pem"), "--tls-key " + file("server-key.pem"), "--tls-ca " + file("ca.pem"),
		"broker.example", file("client-ann.pem"), "pika.SSLOptions", "kcat -b localhost:9093", "openssl s_client"} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("%s is not in:\n%s", want, out)
		}
	}
	_, lines := serving(t, "--data-dir", t.TempDir(), "--tls-cert", file("server.pem"), "--tls-key", file("server-key.pem"), "--tls-ca", file("ca.pem"),
		"--amqps-addr", "127.0.0.1:0", "--kafka-tls-addr", "127.0.0.1:0", "--stomp-tls-addr", "off", "--stomp-wss-addr", "off", "--http-tls-addr", "off", "--metrics-tls-addr", "off")
	if banner := until(t, lines, "Ready after"); !strings.Contains(banner, "amqps") || !strings.Contains(banner, "kafka-tls") {
		t.Errorf("the banner shows no listener with TLS:\n%s", banner)
	}
	for _, c := range []struct {
		args []string
		want string // "" is that it works
	}{
		{nil, "--force"}, {[]string{"--client", "ann"}, "--force"}, {[]string{"--client", "bob", "other.example"}, "--force"},
		{[]string{"--client", "bob"}, ""}, {[]string{"--force"}, ""}, {[]string{"--days", "0"}, "--days"}, {[]string{"--force", "no name"}, "no name"},
	} {
		text, err := command(append([]string{"cert", "--dir", dir}, c.args...)...).CombinedOutput()
		if (err == nil) != (c.want == "") || !bytes.Contains(text, []byte(c.want)) {
			t.Errorf("%v: %v\n%s", c.args, err, text)
		}
	}
}

func TestVersionAndCompletion(t *testing.T) {
	for _, args := range [][]string{{"version"}, {"--version"}, {"completion", "bash"}, {"help", "serve"}} {
		out, err := command(args...).Output()
		if err != nil || !bytes.Contains(out, []byte("leveret")) {
			t.Errorf("%v: %v\n%.200s", args, err, out)
		}
	}
}

func TestBrokerThatCanNotBindExitsAtOnce(t *testing.T) {
	c := command("serve", "--data-dir", t.TempDir(), "--amqp-addr", "192.0.2.1:1", "--kafka-addr", "off", "--stomp-addr", "off", "--stomp-ws-addr", "off", "--xmpp-addr", "off", "--http-addr", "off", "--metrics-addr", "off")
	stderr, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(time.Minute, func() { _ = c.Process.Kill() })
	defer kill.Stop()
	text, err := io.ReadAll(stderr)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err == nil || !bytes.Contains(text, []byte("--amqp-addr")) {
		t.Fatalf("%v: %s", err, text)
	}
}

func TestARefusedLoginIsInTheAuditFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit.log")
	_, out := serving(t, "--data-dir", t.TempDir(), "--log-level", "error", "--audit-log", file)
	at := regexp.MustCompile(`(?m)^  amqp +(\S+)$`).FindStringSubmatch(until(t, out, "Ready after"))
	if _, err := amqp.Dial("amqp://guest:wrong-password@" + at[1] + "/"); err == nil {
		t.Fatal("logged in")
	}
	text, err := os.ReadFile(file)
	if err != nil || !bytes.Contains(text, []byte("level=AUDIT msg=audit act=login")) || bytes.Contains(text, []byte("wrong-password")) {
		t.Errorf("%v: %s", err, text)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
}

// TestDefinitionsAreLoadedReloadedAndExported goes through what an operator does with a file of them.
func TestDefinitionsAreLoadedReloadedAndExported(t *testing.T) {
	dir := t.TempDir()
	data, file := filepath.Join(dir, "data"), filepath.Join(dir, "definitions.json")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	first := `{"users":[{"name":"ann","password":"s3cret","tags":"administrator"}],"vhosts":[{"name":"team"}],
		"permissions":[{"user":"ann","vhost":"team","configure":".*","write":".*","read":".*"}],
		"policies":[{"vhost":"team","name":"p","pattern":"^q","definition":{"max-length":2}}],
		"queues":[{"vhost":"team","name":"q1"}]}`
	write(first)
	if out, err := command("definitions", "check", file).CombinedOutput(); err != nil || !strings.Contains(string(out), "1 users, 1 virtual hosts, 1 permissions, 1 policies, 0 exchanges, 1 queues, 0 bindings") {
		t.Fatalf("%s, %v", out, err)
	}
	c, out := serving(t, "--data-dir", data, "--definitions", file)
	addr := regexp.MustCompile(`(?m)^  amqp +(\S+)$`).FindStringSubmatch(until(t, out, "Ready after"))[1]
	conn, err := amqp.Dial("amqp://ann:s3cret@" + addr + "/team")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := amqp.Dial("amqp://guest:guest@" + addr + "/"); err == nil {
		t.Error("there is another user than those of the file")
	}
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	count := func(want int) {
		t.Helper()
		for range 5 {
			d, err := ch.PublishWithDeferredConfirm("", "q1", false, false, amqp.Publishing{Body: []byte("m"), DeliveryMode: amqp.Persistent})
			if err != nil || !d.Wait() {
				t.Fatal("publish", err)
			}
		}
		if q, err := ch.QueueDeclarePassive("q1", true, false, false, false, nil); err != nil || q.Messages != want {
			t.Errorf("%d messages, want %d, %v", q.Messages, want, err)
		}
	}
	count(2)
	write(strings.Replace(first, `"max-length":2`, `"max-length":4`, 1))
	if err := c.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for start := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		text, err := command("export", "--data-dir", data).Output() // of a broker that runs
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), `"max-length":4`) {
			break
		}
		if time.Since(start) > time.Minute {
			t.Fatalf("it was not read anew:\n%s", text)
		}
	}
	count(4)
	text, err := command("export", "--data-dir", data).Output()
	if err != nil {
		t.Fatal(err)
	}
	stop(t, c)
	again, err := command("export", "--data-dir", data).Output() // of one that is stopped
	if err != nil || !bytes.Equal(again, text) {
		t.Errorf("%v: it is\n%s\nwas\n%s", err, again, text)
	}
	one := filepath.Join(dir, "one.json")
	if err := os.WriteFile(one, nil, 0o644); err != nil { // which everybody may read
		t.Fatal(err)
	}
	if out, err := command("export", "--data-dir", data, "--vhost", "team", "--output", one).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%s, %v", out, err)
	}
	if info, err := os.Stat(one); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	write("{\n \"queues\": [{\"name\": 7}]}")
	if out, err := command("serve", "--data-dir", data, "--definitions", file).CombinedOutput(); err == nil || !strings.Contains(string(out), file+": line 2, column 22: queues[0].name: should be a string") {
		t.Errorf("a start with a wrong file: %s, %v", out, err)
	}
	if out, err := command("export", "--data-dir", dir).CombinedOutput(); err == nil || !strings.Contains(string(out), "is no data directory") {
		t.Errorf("%s, %v", out, err)
	}
}

// stop ends a broker as an operator does.
func stop(t *testing.T, c *exec.Cmd) {
	t.Helper()
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
}
