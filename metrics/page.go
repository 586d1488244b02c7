package metrics

import (
	"bufio"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"

	"github.com/leveret-mq/leveret/broker"
)

const (
	pagesAtOnce = 4
	// pageTime bounds how long a page is sent, so that one who does not read it keeps
	// nobody from theirs for ever.
	pageTime = time.Minute
)

// page is what Prometheus reads, in its text format. There may be very many queues, so
// their series are written as they go from one list of figures; the library's way, which
// makes an object of each and sorts them all, takes 10 kB a queue.
type page struct {
	c     *Collector
	rest  prometheus.Gatherer // all series but those of queues
	turns chan struct{}
}

// Handler serves the Collector and the series of queues, with the figures of the process
// and of the Go runtime beside them.
func (c *Collector) Handler() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(c, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return &page{c: c, rest: registry, turns: make(chan struct{}, pagesAtOnce)}
}

func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case p.turns <- struct{}{}:
		defer func() { <-p.turns }()
	default:
		http.Error(w, "too many read the metrics at a time; try again", http.StatusServiceUnavailable)
		return
	}
	families, err := p.rest.Gather()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(pageTime)) // what can't do so is a test's
	form := expfmt.NewFormat(expfmt.TypeTextPlain)
	w.Header().Set("Content-Type", string(form))
	w.Header().Set("Vary", "Accept-Encoding")
	out, end := packed(w, r)
	text := expfmt.NewEncoder(out, form)
	for _, f := range families {
		if err := text.Encode(f); err != nil {
			return // the client is gone
		}
	}
	if writeQueues(out, p.c.Source.QueueStats()) == nil {
		_ = end()
	}
}

// packed is where a page is written: compressed if the client wants that.
func packed(w http.ResponseWriter, r *http.Request) (out *bufio.Writer, end func() error) {
	const size = 32 << 10
	if !acceptsGzip(r) {
		out = bufio.NewWriterSize(w, size)
		return out, out.Flush
	}
	w.Header().Set("Content-Encoding", "gzip")
	z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // an error is one of the level
	out = bufio.NewWriterSize(z, size)
	return out, func() error {
		if err := out.Flush(); err != nil {
			return err
		}
		return z.Close()
	}
}

// acceptsGzip says whether a client takes what is compressed.
func acceptsGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(strings.Join(r.Header.Values("Accept-Encoding"), ","), ",") {
		name, weight, weighed := strings.Cut(part, ";")
		if strings.TrimSpace(name) != "gzip" {
			continue
		}
		q, err := strconv.ParseFloat(strings.TrimPrefix(strings.TrimSpace(weight), "q="), 64)
		return !weighed || err == nil && q > 0
	}
	return false
}

// writeQueues writes the series of queues, family by family.
func writeQueues(out io.Writer, all []broker.QueueStats) error {
	var line []byte
	for _, s := range perQueue {
		line = append(line[:0], "# HELP "+s.name+" "+s.help+"\n# TYPE "+s.name+" "+s.kind+"\n"...)
		for i := range all {
			if _, err := out.Write(s.appendTo(line, &all[i])); err != nil {
				return err
			}
			line = line[:0]
		}
	}
	return nil
}

// appendTo appends a queue's line.
func (s *queueSerie) appendTo(line []byte, q *broker.QueueStats) []byte {
	line = append(line, s.name...)
	line = appendEscaped(append(line, `{queue="`...), q.Name)
	line = appendEscaped(append(line, `",vhost="`...), q.VHost)
	line = strconv.AppendInt(append(line, `"} `...), s.read(q), 10)
	return append(line, '\n')
}

// appendEscaped appends a label's value as the text format writes it.
func appendEscaped(dst []byte, value string) []byte {
	for i := range len(value) {
		switch c := value[i]; c {
		case '\\', '"':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		default:
			dst = append(dst, c)
		}
	}
	return dst
}
