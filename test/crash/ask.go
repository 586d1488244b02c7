package main

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/test/process"
)

type asker = process.Asker

// said is an answer with an error code that nothing explains.
type said struct {
	what string
	code int16
}

func (s *said) Error() string { return fmt.Sprintf("%s: %v", s.what, kerr.ErrorForCode(s.code)) }

// must is an error unless the code is one of those that are wanted.
func must(what string, code int16, wanted ...*kerr.Error) error {
	if code == 0 && len(wanted) == 0 {
		return nil
	}
	for _, w := range wanted {
		if code == w.Code {
			return nil
		}
	}
	return &said{what, code}
}

// newTopic makes a topic.
func newTopic(a *asker, name string, partitions int32, config map[string]string) (id [16]byte, code int16, err error) {
	q := kmsg.NewPtrCreateTopicsRequest()
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, 1
	for k, v := range config {
		t.Configs = append(t.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: k, Value: kmsg.StringPtr(v)})
	}
	q.Topics, q.TimeoutMillis = append(q.Topics, t), int32(kafkaDeadline.Milliseconds())
	res, err := process.Ask[*kmsg.CreateTopicsResponse](a, q, 7)
	if err != nil {
		return id, 0, err
	}
	return res.Topics[0].TopicID, res.Topics[0].ErrorCode, nil
}

// setConfig sets one setting of a topic or a group.
func setConfig(a *asker, kind kmsg.ConfigResourceType, name, key, value string) (int16, error) {
	q := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kind, name
	r.Configs = append(r.Configs, kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: key, Value: &value})
	q.Resources = append(q.Resources, r)
	res, err := process.Ask[*kmsg.IncrementalAlterConfigsResponse](a, q, 1)
	if err != nil {
		return 0, err
	}
	return res.Resources[0].ErrorCode, nil
}

// part is one thing of Kafka's that is tried. Its methods but declare and verify, which have the broker to themselves, may be called
// from any goroutine.
type part interface {
	// declare makes what the part needs, in the first life.
	declare(a *asker) error
	// verify holds what there is after a start against what was answered.
	verify(a *asker) error
	// load works until the broker dies, as so many goroutines as it needs.
	load(l *life) error
	// finish reads all that is left and holds it against what was answered.
	finish(a *asker) error
	// state is what the part has of watched.
	state() *watched
	summary() string
}

// watched is what a part's goroutines have in common: the first violation, and whether there was an answer in this life.
type watched struct {
	mu    sync.Mutex // guards what the part knows, too
	wrong error
	heard bool
}

func (w *watched) state() *watched { return w }

func (w *watched) finish(*asker) error { return nil }

// violation is the first one.
func (w *watched) violation() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.wrong
}

// life is one life of the broker, as its parts' clients see it.
type life struct {
	h    *harness
	load *load
	addr string
}

// work runs a client of a part until it fails: with the broker, or because something is wrong.
func (l *life) work(w *watched, name string, client func(a *asker) error) error {
	a, err := process.DialKafka(l.addr)
	if err != nil {
		return err
	}
	l.load.others = append(l.load.others, a)
	l.load.wg.Go(func() {
		err := client(a)
		var s *said
		if errors.As(err, &s) || errors.Is(err, process.ErrAnswer) || errors.Is(err, errWrong) {
			w.mu.Lock()
			if w.wrong == nil {
				w.wrong = fmt.Errorf("%s: %w", name, err)
			}
			w.mu.Unlock()
		}
	})
	return nil
}

// errWrong marks a violation that is no answer's code.
var errWrong = errors.New("wrong")

func wrongf(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errWrong, fmt.Sprintf(format, args...))
}

// newParts are all of them.
func newParts() []part {
	return []part{newClassic(), newConsumers(), newShare(), newSequence(), newSums(), newTools()}
}

// each calls a function for all parts at a time, each with a connection of its own.
func (h *harness) each(do func(p part, a *asker) error) error {
	var wg sync.WaitGroup
	errs := make([]error, len(h.parts))
	for i, p := range h.parts {
		wg.Go(func() {
			a, err := process.DialKafka(h.broker.Kafka)
			if err == nil {
				err = do(p, a)
				_ = a.Close()
			}
			errs[i] = err
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// startParts lets the clients of all parts go.
func (l *load) startParts(h *harness) error {
	for _, p := range h.parts {
		w := p.state()
		w.mu.Lock()
		w.heard = false
		w.mu.Unlock()
		if err := p.load(&life{h, l, h.broker.Kafka}); err != nil {
			return err
		}
	}
	return nil
}

// heardAll waits until every part had an answer in this life, or is wrong: a life in which a client came to nothing tries nothing. On a machine
// that has no time for them it does not wait for ever.
func (h *harness) heardAll() {
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		waits := h.txns.answers() == h.txnsBefore
		for _, p := range h.parts {
			w := p.state()
			w.mu.Lock()
			waits = waits || !w.heard && w.wrong == nil
			w.mu.Unlock()
		}
		if !waits {
			return
		}
	}
}
