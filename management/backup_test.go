package management_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leveret-mq/leveret/config"
	"github.com/leveret-mq/leveret/store/local"
)

// backUp writes a backup to a file, in pieces with a pause between.
func (r *rig) backUp(query string, pause time.Duration) string {
	r.t.Helper()
	req, err := http.NewRequest("GET", "http://"+r.Addr("http")+"/api/backup"+query, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.SetBasicAuth(r.user, r.password)
	a, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer a.Body.Close()
	if a.StatusCode != 200 || a.Header.Get("Content-Type") != "application/x-tar" || !strings.Contains(a.Header.Get("Content-Disposition"), ".tar") {
		r.t.Fatal(a.Status, a.Header)
	}
	name := filepath.Join(r.t.TempDir(), "backup.tar")
	f, err := os.Create(name)
	if err != nil {
		r.t.Fatal(err)
	}
	for {
		_, err := io.CopyN(f, a.Body, 256<<10)
		if err == io.EOF {
			break
		}
		if err != nil {
			r.t.Fatal(err)
		}
		time.Sleep(pause)
	}
	if err := f.Close(); err != nil {
		r.t.Fatal(err)
	}
	return name
}

// restore starts a broker with what a backup holds.
func (r *rig) restore(backup string) *rig {
	r.t.Helper()
	f, err := os.Open(backup)
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	dir := filepath.Join(r.t.TempDir(), "restored")
	if _, err := local.Restore(f, dir); err != nil {
		r.t.Fatal(err)
	}
	return start(r.t, func(c *config.Config) { c.DataDir = dir })
}

// bodies takes all that is in a queue.
func (r *rig) bodies(queue string) map[string]int {
	r.t.Helper()
	_, ch := r.channel()
	out := map[string]int{}
	for {
		d, ok, err := ch.Get(queue, true)
		if err != nil {
			r.t.Fatal(err)
		}
		if !ok {
			return out
		}
		out[string(d.Body)]++
	}
}

// While clients publish to a queue, and others work it off into the next: everything that was confirmed before the backup
// began, and a worker's result of it, is there after a restore.
func TestABackupUnderLoadLosesNothing(t *testing.T) {
	r := start(t)
	r.ask("PUT", "vhosts/shop", "{}").want(201)
	r.ask("PUT", "users/ann", `{"password":"s3cret","tags":"management"}`).want(201)
	r.ask("PUT", "exchanges/%2F/x", `{"type":"topic","durable":true}`).want(201)
	for _, q := range []string{"results", "work"} {
		r.ask("PUT", "queues/%2F/"+q, `{"durable":true}`).want(201)
		r.ask("POST", "bindings/%2F/e/x/q/"+q, `{"routing_key":"`+q+`"}`).want(201)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var mu sync.Mutex
	confirmed := map[string]bool{}
	var load sync.WaitGroup
	pad := strings.Repeat("x", 4000)
	load.Go(func() {
		_, ch := r.channel()
		if err := ch.Confirm(false); err != nil {
			t.Error(err)
			return
		}
		for i := 0; ctx.Err() == nil; i++ {
			body := fmt.Sprint(i, " ", pad)
			c, err := ch.PublishWithDeferredConfirm("x", "work", false, false, amqp.Publishing{Body: []byte(body), DeliveryMode: 2})
			if err != nil {
				t.Error(err)
				return
			}
			if c.Wait() {
				mu.Lock()
				confirmed[body] = true
				mu.Unlock()
			}
		}
	})
	load.Go(func() { // who acks when the result is confirmed
		_, ch := r.channel()
		_ = ch.Confirm(false)
		_ = ch.Qos(50, 0, false)
		in, err := ch.Consume("work", "", false, false, false, false, nil)
		if err != nil {
			t.Error(err)
			return
		}
		for {
			select {
			case <-ctx.Done():
				return
			case d := <-in:
				c, err := ch.PublishWithDeferredConfirm("x", "results", false, false, amqp.Publishing{Body: d.Body, DeliveryMode: 2})
				if err != nil {
					t.Error(err)
					return
				}
				if c.Wait() {
					_ = d.Ack(false)
				}
			}
		}
	})
	for n := 0; n < 300; {
		time.Sleep(5 * time.Millisecond)
		mu.Lock()
		n = len(confirmed)
		mu.Unlock()
	}
	mu.Lock()
	before := make([]string, 0, len(confirmed))
	for body := range confirmed {
		before = append(before, body)
	}
	mu.Unlock()
	backup := r.backUp("", 5*time.Millisecond)
	stop()
	load.Wait()
	again := r.restore(backup)
	results, work := again.bodies("results"), again.bodies("work")
	for _, body := range before {
		if results[body]+work[body] == 0 {
			t.Fatalf("%.10s was confirmed before and is in no queue", body)
		}
	}
	t.Logf("%d before, %d results and %d to do in the backup", len(before), len(results), len(work))
	again.ask("GET", "vhosts/shop", "").want(200)
	again.as("ann", "s3cret").ask("GET", "whoami", "").want(200)
	again.ask("POST", "exchanges/%2F/x/publish", `{"properties":{},"routing_key":"work","payload":"new","payload_encoding":"string"}`).want(200, "true")
}

func TestABackupOfSomeQueuesHasTheirMessages(t *testing.T) {
	r := start(t)
	for _, q := range []string{"a", "b", "c"} {
		r.ask("PUT", "queues/%2F/"+q, `{"durable":true}`).want(201)
		r.send(q, "in "+q)
	}
	again := r.restore(r.backUp("?queue=a&queue=c", 0))
	for q, want := range map[string]int{"a": 1, "b": 0, "c": 1} {
		if got := again.bodies(q); len(got) != want || want > 0 && got["in "+q] != 1 {
			t.Errorf("%s: %v", q, got)
		}
	}
	again.send("b", "more")
	r.ask("GET", "backup?queue=none", "").want(404)
	r.ask("GET", "backup?vhost=none", "").want(404)
	r.ask("GET", "backup?queues=a", "").want(400, "no parameter 'queues'")
	r.ask("GET", "backup?vhost=a&vhost=b", "").want(400, "'vhost'")
	r.ask("GET", "backup", "", "Accept", "application/json").want(406)
}
