package bench

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"github.com/leveret-mq/leveret/bench/measure"
)

// Result is one run of one row, as it stands in the JSON lines. Rates are per second,
// sizes and times carry their unit in the name; a zero figure was not measured.
type Result struct {
	Row     string    `json:"row"`
	Run     int       `json:"run"`
	Time    time.Time `json:"time"`
	Tag     string    `json:"tag"`               // the broker's name in comparisons
	Broker  string    `json:"broker,omitempty"`  // what the broker calls itself
	Mode    string    `json:"mode,omitempty"`    // what a confirm means: os, group, always, or the user's words
	Address string    `json:"address,omitempty"` // where it was

	OK    bool   `json:"ok"` // nothing lost, repeated or out of order
	Error string `json:"error,omitempty"`

	Messages  int64   `json:"messages"` // delivered, or published where nothing is delivered
	Seconds   float64 `json:"seconds"`
	Rate      float64 `json:"rate"`
	MBs       float64 `json:"mb_s"` // bodies only, 10^6 bytes
	BodyBytes int     `json:"body_bytes"`

	BrokerMicros float64 `json:"broker_us"` // CPU a message, user and system
	BrokerUser   float64 `json:"broker_user_s"`
	BrokerSystem float64 `json:"broker_system_s"`
	BrokerCPUs   float64 `json:"broker_cpus"`
	ClientMicros float64 `json:"client_us"`
	OtherCPUs    float64 `json:"other_cpus"` // busy with neither: above 0.5 the run is spoilt

	P50  float64 `json:"p50_ms,omitempty"`
	P99  float64 `json:"p99_ms,omitempty"`
	P999 float64 `json:"p999_ms,omitempty"`
	Max  float64 `json:"max_ms,omitempty"`
	// Latency says what the four before it are.
	Latency string `json:"latency,omitempty"`
	// LateMax is how far a paced publisher was behind its own schedule at worst.
	LateMax     float64 `json:"late_max_ms,omitempty"`
	ConfirmP50  float64 `json:"confirm_p50_ms,omitempty"`
	ConfirmP99  float64 `json:"confirm_p99_ms,omitempty"`
	ConfirmP999 float64 `json:"confirm_p999_ms,omitempty"`

	PeakRSSMB   float64 `json:"peak_rss_mb,omitempty"`  // mapped files included
	PeakAnonMB  float64 `json:"peak_anon_mb,omitempty"` // without them
	RSSBeforeMB float64 `json:"rss_before_mb,omitempty"`
	DiskBytes   int64   `json:"disk_bytes,omitempty"` // growth of the data directory
	DiskPerMsg  float64 `json:"disk_per_msg,omitempty"`

	Machine measure.Machine `json:"machine"`
}

// work is what the measured part of a row did.
type work struct {
	messages    int64
	bodyBytes   int
	elapsed     time.Duration
	latency     *measure.Latencies
	latencyName string
	confirm     *measure.Latencies
	late        time.Duration
}

func (r *Result) setWork(w work) {
	r.Messages, r.BodyBytes, r.Seconds = w.messages, w.bodyBytes, round(w.elapsed.Seconds(), 4)
	if s := w.elapsed.Seconds(); s > 0 {
		r.Rate = round(float64(w.messages)/s, 1)
		r.MBs = round(float64(w.messages)*float64(w.bodyBytes)/s/1e6, 2)
	}
	if w.latency != nil && w.latency.Count() > 0 {
		r.P50, r.P99, r.P999 = millis(w.latency.Quantile(.5)), millis(w.latency.Quantile(.99)), millis(w.latency.Quantile(.999))
		r.Max, r.Latency = millis(w.latency.Max()), w.latencyName
	}
	if w.confirm != nil && w.confirm.Count() > 0 {
		r.ConfirmP50, r.ConfirmP99 = millis(w.confirm.Quantile(.5)), millis(w.confirm.Quantile(.99))
		r.ConfirmP999 = millis(w.confirm.Quantile(.999))
	}
	r.LateMax = millis(w.late)
}

func (r *Result) setUsage(u measure.Usage, self measure.CPU) {
	r.BrokerUser, r.BrokerSystem = u.CPU.User.Seconds(), u.CPU.System.Seconds()
	if u.Wall > 0 {
		r.BrokerCPUs = round(u.CPU.Total().Seconds()/u.Wall.Seconds(), 2)
	}
	if r.Messages > 0 {
		r.BrokerMicros = round(u.CPU.Total().Seconds()*1e6/float64(r.Messages), 4)
		r.ClientMicros = round(self.Total().Seconds()*1e6/float64(r.Messages), 4)
	}
	r.OtherCPUs = round(u.OtherCPUs, 2)
	const mb = 1 << 20
	r.PeakRSSMB, r.PeakAnonMB = round(float64(u.PeakBytes)/mb, 1), round(float64(u.AnonBytes)/mb, 1)
	r.RSSBeforeMB = round(float64(u.BeforeBytes)/mb, 1)
}

func (r *Result) setDisk(grown int64) {
	r.DiskBytes = grown
	if r.Messages > 0 {
		r.DiskPerMsg = round(float64(grown)/float64(r.Messages), 1)
	}
}

func millis(d time.Duration) float64 { return round(d.Seconds()*1e3, 3) }

func round(v float64, digits int) float64 {
	p := math.Pow10(digits)
	return math.Round(v*p) / p
}

// appendResult adds one line to a file of results.
func appendResult(file string, r Result) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode result: %w", err)
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("open results: %w", err)
	}
	_, err = f.Write(append(b, '\n'))
	return errors.Join(err, f.Close())
}

// readResults reads JSON lines.
func readResults(r io.Reader) ([]Result, error) {
	var out []Result
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for n := 1; s.Scan(); n++ {
		if len(s.Bytes()) == 0 {
			continue
		}
		var x Result
		if err := json.Unmarshal(s.Bytes(), &x); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		out = append(out, x)
	}
	return out, s.Err()
}

func readResultFile(name string) ([]Result, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read results: %w", err)
	}
	defer f.Close()
	out, err := readResults(f)
	if err != nil {
		return nil, fmt.Errorf("read results %s: %w", name, err)
	}
	return out, nil
}
