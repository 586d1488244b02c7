package metrics

import (
	"bufio"
	"net/http"
	"slices"
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
//
// There are three of it: /metrics has one line a family, summed up where the family is of queues, and consumer
// groups; /metrics/per-object has a line for each queue and partition instead; /metrics/detailed only those of
// the families and virtual hosts that are asked for, under names of their own, so that a dashboard can read both.
type page struct {
	c     *Collector
	rest  prometheus.Gatherer // all series but those of queues
	turns chan struct{}
}

// Handler serves the Collector and the series of queues, with the figures of the process
// and of the Go runtime beside them, at /metrics and below.
func (c *Collector) Handler() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(c, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	p := &page{c: c, rest: registry, turns: make(chan struct{}, pagesAtOnce)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", p.serve(p.summed))
	mux.HandleFunc("GET /metrics/per-object", p.serve(p.perObject))
	mux.HandleFunc("GET /metrics/detailed", p.serve(p.detailed))
	return mux
}

// serve has what is asked for written, for a few at a time.
func (p *page) serve(write func(*http.Request, *lines) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case p.turns <- struct{}{}:
			defer func() { <-p.turns }()
		default:
			http.Error(w, "too many read the metrics at a time; try again", http.StatusServiceUnavailable)
			return
		}
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(pageTime)) // what can't do so is a test's
		w.Header().Set("Content-Type", string(expfmt.NewFormat(expfmt.TypeTextPlain)))
		w.Header().Set("Vary", "Accept-Encoding")
		out, end := packed(w, r)
		if write(r, &lines{out: out}) == nil { // else the client is gone
			_ = end()
		}
	}
}

// summed writes /metrics.
func (p *page) summed(_ *http.Request, out *lines) error {
	queues := p.c.Source.QueueStats()
	if err := p.whole(out, queues); err != nil {
		return err
	}
	for _, list := range [...][]queueSerie{perQueue, perRabbitQueue} {
		for i := range list {
			out.family(list[i].serie)
			if v := list[i].all(queues); v >= 0 || !list[i].most {
				out.value(v)
			}
		}
	}
	return writeGroups(out, p.groups())
}

// perObject writes /metrics/per-object.
func (p *page) perObject(_ *http.Request, out *lines) error {
	queues := p.c.Source.QueueStats()
	if err := p.whole(out, queues); err != nil {
		return err
	}
	for _, list := range [...][]queueSerie{perQueue, perRabbitQueue} {
		for i := range list {
			out.family(list[i].serie)
			list[i].write(out, queues)
		}
	}
	var partitions []broker.PartitionStats
	p.c.Source.PartitionStats(func(s broker.PartitionStats) { partitions = append(partitions, s) })
	if err := writePartitions(out, partitions); err != nil {
		return err
	}
	return writeGroups(out, p.groups())
}

// detailed writes /metrics/detailed: ?family= and ?vhost=, each any number of times.
func (p *page) detailed(r *http.Request, out *lines) error {
	asked := r.URL.Query()
	queues := p.c.Source.QueueStats()
	if in := asked["vhost"]; len(in) > 0 {
		queues = slices.DeleteFunc(slices.Clone(queues), func(q broker.QueueStats) bool { return !slices.Contains(in, q.VHost) })
	}
	for _, s := range wantedFamilies(asked["family"]) {
		out.named(s.serie, detailed(s.name))
		s.write(out, queues)
	}
	return out.err
}

// whole writes what is of the whole broker.
func (p *page) whole(out *lines, queues []broker.QueueStats) error {
	families, err := p.rest.Gather()
	if err != nil {
		return err
	}
	text := expfmt.NewEncoder(out.out, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, f := range families {
		if err := text.Encode(f); err != nil {
			return err
		}
	}
	consumers := 0
	for i := range queues {
		consumers += queues[i].Consumers
	}
	out.family(rabbitConsumers)
	out.value(int64(consumers))
	out.family(rabbitGlobalConsumers)
	out.value(int64(consumers), channelProtocol)
	return out.err
}

func (p *page) groups() []broker.GroupStats {
	if p.c.Groups == nil {
		return nil
	}
	return p.c.Groups()
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

// write writes a line for each queue.
func (s *queueSerie) write(out *lines, all []broker.QueueStats) {
	for i := range all {
		if v := s.read(&all[i]); v >= 0 || !s.most {
			out.value(v, all[i].Name, all[i].VHost)
		}
	}
}

// all is the figure of all queues together; negative is none.
func (s *queueSerie) all(queues []broker.QueueStats) (sum int64) {
	if s.most {
		sum = -1
	}
	for i := range queues {
		if v := s.read(&queues[i]); s.most {
			sum = max(sum, v)
		} else {
			sum += v
		}
	}
	return sum
}

// lines writes series in the text format, without an object for each.
type lines struct {
	out  *bufio.Writer
	err  error // the first one; nothing is written behind it
	name string
	tags []string
	line []byte
}

// family begins one.
func (l *lines) family(s *serie) { l.named(s, s.name) }

// named is family under another name.
func (l *lines) named(s *serie, name string) {
	l.name, l.tags = name, s.labels
	l.put(append(l.line[:0], "# HELP "+name+" "+s.help+"\n# TYPE "+name+" "+s.kind+"\n"...))
}

// value writes a line of the family, with the values of its labels or, of a sum, with none.
func (l *lines) value(v int64, labels ...string) {
	line := append(l.line[:0], l.name...)
	for i, label := range labels {
		line = append(line, "{,"[min(i, 1)])
		line = append(append(line, l.tags[i]...), `="`...)
		line = append(appendEscaped(line, label), '"')
	}
	if len(labels) > 0 {
		line = append(line, '}')
	}
	line = strconv.AppendInt(append(line, ' '), v, 10)
	l.put(append(line, '\n'))
}

func (l *lines) put(line []byte) {
	l.line = line
	if l.err == nil {
		_, l.err = l.out.Write(line)
	}
}

// appendEscaped appends a label's value as the text format writes it.
func appendEscaped(dst []byte, value string) []byte {
	if strings.IndexByte(value, '\\') < 0 && strings.IndexByte(value, '"') < 0 && strings.IndexByte(value, '\n') < 0 { // as most are
		return append(dst, value...)
	}
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
