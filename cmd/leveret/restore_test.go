package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// addressIn is where a banner says that a listener is.
func addressIn(t *testing.T, banner, listener string) string {
	t.Helper()
	at := regexp.MustCompile(`(?m)^  ` + listener + ` +(\S+)$`).FindStringSubmatch(banner)
	if at == nil {
		t.Fatalf("no address of %s in\n%s", listener, banner)
	}
	return at[1]
}

func channel(t *testing.T, addr string) *amqp.Channel {
	t.Helper()
	conn, err := amqp.Dial("amqp://guest:guest@" + addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

// publishing publishes to a queue until it is stopped, and tells what was confirmed.
func publishing(t *testing.T, addr, prefix string) (confirmed func() []string, stop func()) {
	t.Helper()
	ch := channel(t, addr)
	if _, err := ch.QueueDeclare("q", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var list []string
	done, over := make(chan struct{}), make(chan struct{})
	pad := strings.Repeat("x", 20_000)
	go func() {
		defer close(over)
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			body := fmt.Sprint(prefix, i, " ", pad)
			c, err := ch.PublishWithDeferredConfirm("", "q", false, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte(body)})
			if err != nil {
				return // it was killed
			}
			select {
			case <-c.Done():
			case <-done:
				return
			}
			if c.Acked() {
				mu.Lock()
				list = append(list, body)
				mu.Unlock()
			}
		}
	}()
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return list[:len(list):len(list)]
	}, sync.OnceFunc(func() { close(done); <-over })
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain for " + what)
		}
	}
}

// lacks counts what of a list is not in the queue.
func lacks(t *testing.T, addr string, list []string) (n int) {
	t.Helper()
	ch := channel(t, addr)
	have := map[string]bool{}
	for {
		d, ok, err := ch.Get("q", true)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		have[string(d.Body)] = true
	}
	for _, body := range list {
		if !have[body] {
			n++
		}
	}
	return n
}

// A backup is taken from a broker that is killed in the middle of it, and then from one that goes on; what comes of it is killed
// as well. All that was confirmed before is there.
func TestABackupSurvivesKills(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	serve := func(dir string) (kill func(), amqpAddr, httpAddr string) {
		c, out := serving(t, "--data-dir", dir, "--http-addr", "127.0.0.1:0", "--sync", "os")
		banner := until(t, out, "Ready after")
		go func() { _, _ = io.Copy(io.Discard, out) }()
		return func() { _ = c.Process.Kill(); _ = c.Wait() }, addressIn(t, banner, "amqp"), addressIn(t, banner, "http")
	}
	backup := func(addr string, to io.Writer) error {
		req, err := http.NewRequest("GET", "http://"+addr+"/api/backup", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("guest", "guest")
		a, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer a.Body.Close()
		_, err = io.Copy(to, a.Body)
		return err
	}
	kill, amqpAddr, httpAddr := serve(dir)
	first, stop := publishing(t, amqpAddr, "first ")
	waitFor(t, "messages", func() bool { return len(first()) > 1000 })
	cut, err := os.Create(filepath.Join(t.TempDir(), "cut.tar"))
	if err != nil {
		t.Fatal(err)
	}
	written := 0
	err = backup(httpAddr, writerFunc(func(p []byte) (int, error) {
		if written += len(p); written > 8<<20 {
			kill()
		}
		return cut.Write(p)
	}))
	_ = cut.Close()
	stop()
	if err == nil {
		t.Fatal("the backup came to its end before the kill")
	}
	said, err := command("restore", cut.Name(), "--data-dir", filepath.Join(t.TempDir(), "new")).CombinedOutput()
	if err == nil || !strings.Contains(string(said), "cut off") {
		t.Errorf("%v: %s", err, said)
	}

	kill, amqpAddr, httpAddr = serve(dir)
	second, stop := publishing(t, amqpAddr, "second ")
	waitFor(t, "messages", func() bool { return len(second()) > 100 })
	before := append(first(), second()...)
	whole, err := os.Create(filepath.Join(t.TempDir(), "whole.tar"))
	if err != nil {
		t.Fatal(err)
	}
	if err := backup(httpAddr, whole); err != nil {
		t.Fatal(err)
	}
	_ = whole.Close()
	kill()
	stop()
	again := filepath.Join(t.TempDir(), "restored")
	if said, err = command("restore", whole.Name(), "--data-dir", again).CombinedOutput(); err != nil || !strings.Contains(string(said), "restored") {
		t.Fatalf("%v: %s", err, said)
	}
	t.Logf("%s", said)
	kill, amqpAddr, _ = serve(again)
	ch := channel(t, amqpAddr)
	if _, ok, err := ch.Get("q", false); err != nil || !ok { // and is not acked
		t.Fatal(ok, err)
	}
	kill()
	kill, amqpAddr, _ = serve(again)
	defer kill()
	if n := lacks(t, amqpAddr, before); n > 0 {
		t.Errorf("%d of %d messages that were confirmed before the backup are not in it", n, len(before))
	}
	if said, err := command("restore", whole.Name(), "--data-dir", again).CombinedOutput(); err == nil || !strings.Contains(string(said), "not empty") {
		t.Errorf("%v: %s", err, said)
	}
	if said, err := command("restore", whole.Name()).CombinedOutput(); err == nil || !strings.Contains(string(said), "--data-dir") {
		t.Errorf("%v: %s", err, said)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// A broker that is killed again and again while dead letters are sent back has each of them: in the one queue, the other, or both.
func TestARedriveSurvivesKills(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	const letters = 1500
	serve := func() (kill func(), ch *amqp.Channel, api func(method, path, body string) string) {
		c, out := serving(t, "--data-dir", dir, "--http-addr", "127.0.0.1:0", "--sync", "os")
		banner := until(t, out, "Ready after")
		go func() { _, _ = io.Copy(io.Discard, out) }()
		address := addressIn(t, banner, "http")
		return func() { _ = c.Process.Kill(); _ = c.Wait() }, channel(t, addressIn(t, banner, "amqp")), func(method, path, body string) string {
			req, err := http.NewRequest(method, "http://"+address+"/api/"+path, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.SetBasicAuth("guest", "guest")
			a, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer a.Body.Close()
			text, err := io.ReadAll(a.Body)
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
	}
	kill, ch, api := serve()
	for name, args := range map[string]amqp.Table{"dead": nil, "q": {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}} {
		if _, err := ch.QueueDeclare(name, true, false, false, false, args); err != nil {
			t.Fatal(err)
		}
	}
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	var last *amqp.DeferredConfirmation
	for i := range letters {
		var err error
		if last, err = ch.PublishWithDeferredConfirm("", "q", false, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: fmt.Append(nil, i)}); err != nil {
			t.Fatal(err)
		}
	}
	last.Wait()
	for range letters {
		d, ok, err := ch.Get("q", false)
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		if err := d.Reject(false); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "dead letters", func() bool {
		q, err := ch.QueueDeclarePassive("dead", true, false, false, false, nil)
		return err == nil && q.Messages == letters
	})
	for round := range 3 {
		api("POST", "queues/%2F/dead/redrive", `{}`)
		time.Sleep(time.Duration(round) * 3 * time.Millisecond)
		kill()
		kill, ch, api = serve()
	}
	defer kill()
	jobs := api("GET", "jobs", "")
	if strings.Contains(jobs, `"state":"running"`) {
		t.Error(jobs)
	}
	if said := api("POST", "queues/%2F/dead/redrive", `{"wait":20}`); !strings.Contains(said, `"state":"done"`) {
		t.Error(said)
	}
	have, twice := map[string]bool{}, 0
	for _, queue := range []string{"q", "dead"} {
		for {
			d, ok, err := ch.Get(queue, true)
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			if have[string(d.Body)] {
				twice++
			}
			have[string(d.Body)] = true
		}
	}
	t.Logf("%d jobs were interrupted, %d letters came twice", strings.Count(jobs, `"state":"interrupted"`), twice)
	if len(have) != letters {
		t.Errorf("%d of %d letters are there", len(have), letters)
	}
}
