package metrics

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/leveret-mq/leveret/broker"
)

// read is the page with a line for each queue as one client gets it.
func read(t *testing.T, h http.Handler, header ...string) (*http.Response, string) {
	t.Helper()
	return readPath(t, h, "/metrics/per-object", header...)
}

func readPath(t *testing.T, h http.Handler, path string, header ...string) (*http.Response, string) {
	t.Helper()
	r := httptest.NewRequest("GET", path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Result(), string(body)
}

// TestPrometheusReadsThePage has its own parser read all series of all queues.
func TestPrometheusReadsThePage(t *testing.T) {
	f, o := busy()
	o.Listeners, o.CertificateEnd = func() []Listener { return []Listener{{Name: "amqps", TLS: true}} }, time.Now
	response, body := read(t, New(o).Handler())
	if kind := response.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/plain; version=0.0.4") {
		t.Errorf("the page is %s", kind)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	for _, s := range series {
		family := families[s.name]
		if family == nil {
			if !strings.HasPrefix(s.name, "leveret_disk") && s != exchangeDelayed && !strings.HasPrefix(s.name, "leveret_request") {
				t.Errorf("%s is missing", s.name)
			}
			continue
		}
		if family.GetHelp() != s.help || !strings.EqualFold(family.GetType().String(), s.kind) {
			t.Errorf("%s is a %s: %s", s.name, family.GetType(), family.GetHelp())
		}
	}
	for _, s := range perQueue {
		if s.most {
			continue // not there for all
		}
		lines := families[s.name].GetMetric()
		if len(lines) != len(f.queues) {
			t.Fatalf("%s has %d lines", s.name, len(lines))
		}
		for i, line := range lines {
			labels := map[string]string{}
			for _, l := range line.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			q := &f.queues[i]
			if len(labels) != 2 || labels["queue"] != q.Name || labels["vhost"] != q.VHost || line.GetGauge().GetValue() != float64(s.read(q)) {
				t.Errorf("%s is %v", s.name, line)
			}
		}
	}
}

func TestPageIsCompressedForWhoWantsThat(t *testing.T) {
	h := New(Options{Source: sample()}).Handler()
	_, plain := read(t, h)
	for header, want := range map[string]bool{"": false, "gzip": true, "deflate, gzip;q=0.5": true, "gzip;q=0": false, "gzip; q=0.0": false,
		"br": false, "x-gzip": false, "gzip;q=x": false} {
		response, body := read(t, h, "Accept-Encoding", header)
		if got := response.Header.Get("Content-Encoding") == "gzip"; got != want {
			t.Errorf("%q: compressed %v", header, got)
			continue
		}
		if want {
			z, err := gzip.NewReader(strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			unpacked, err := io.ReadAll(z)
			if err != nil {
				t.Fatal(err)
			}
			body = string(unpacked)
		}
		const last = `leveret_queue_read_only{queue="odd`
		if !strings.Contains(body, last) || strings.Count(body, "\n") != strings.Count(plain, "\n") {
			t.Errorf("%q: a page of %d bytes, and of %d without", header, len(body), len(plain))
		}
	}
}

// unread is a client that does not read on until it is told to.
type unread struct {
	http.ResponseWriter
	begun, goOn chan struct{}
}

func (u *unread) Write(b []byte) (int, error) {
	u.begun <- struct{}{}
	<-u.goOn
	return len(b), nil
}

func TestFewPagesAreMadeAtATime(t *testing.T) {
	h := New(Options{Source: sample()}).Handler()
	u := &unread{httptest.NewRecorder(), make(chan struct{}), make(chan struct{})}
	done := make(chan struct{})
	for range pagesAtOnce {
		go func() {
			h.ServeHTTP(u, httptest.NewRequest("GET", "/metrics/per-object", nil))
			done <- struct{}{}
		}()
		<-u.begun
	}
	if response, _ := read(t, h); response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one more is answered with %d", response.StatusCode)
	}
	go func() {
		for range u.begun { // whatever else they write
		}
	}()
	close(u.goOn)
	for range pagesAtOnce {
		<-done
	}
	if response, _ := read(t, h); response.StatusCode != http.StatusOK {
		t.Errorf("afterwards it is %d", response.StatusCode)
	}
}

// TestPageOfManyQueuesTakesLittleMemory bounds what the page of a hundred thousand queues
// takes beside the list of their figures.
func TestPageOfManyQueuesTakesLittleMemory(t *testing.T) {
	all := make([]broker.QueueStats, 100_000)
	for i := range all {
		all[i] = broker.QueueStats{VHost: "/", Name: fmt.Sprintf("queue-%08d", i), Ready: int64(i)}
	}
	h := New(Options{Source: &figures{queues: all}}).Handler()
	for _, coding := range []string{"", "gzip"} {
		got := testing.Benchmark(func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest("GET", "/metrics/per-object", nil)
				r.Header.Set("Accept-Encoding", coding)
				h.ServeHTTP(discard{http.Header{}}, r)
			}
		})
		if n := got.AllocedBytesPerOp(); n > 4<<20 {
			t.Errorf("a page with coding %q takes %d bytes", coding, n)
		}
		t.Logf("coding %q: %v a page, %d bytes", coding, got.NsPerOp()/1e6, got.AllocedBytesPerOp())
	}
}

// discard is a client that reads all.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) WriteHeader(int)             {}
func (d discard) Write(b []byte) (int, error) { return len(b), nil }

func TestPerQueueSeriesAreNotTheCollectors(t *testing.T) {
	for _, s := range perQueue {
		if !slices.Contains(series, s.serie) || !slices.Equal(s.labels, []string{"queue", "vhost"}) {
			t.Errorf("%s: %v", s.name, s.labels)
		}
	}
}
