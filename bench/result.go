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
// sizes and times carry their unit in the name; a zero figure was not measured, but for
// those of the disk: where Device is set, zero is zero.
type Result struct {
	Row  string    `json:"row"`
	Run  int       `json:"run"`
	Time time.Time `json:"time"`
	// Workload is what the row does, the same word for every broker and protocol, so that
	// rows of different protocols can be set side by side.
	Workload string `json:"workload,omitempty"`
	Protocol string `json:"protocol,omitempty"` // amqp, kafka, amqp+kafka, or a peer's own
	About    string `json:"about,omitempty"`    // one line
	Tool     string `json:"tool,omitempty"`     // the program that made the load, where it was not this one

	Tag      string            `json:"tag"`                // the broker's name in comparisons
	Broker   string            `json:"broker,omitempty"`   // what the broker calls itself, with its version
	Settings map[string]string `json:"settings,omitempty"` // of the broker
	Mode     string            `json:"mode,omitempty"`     // what a confirm means: os, group, always, or the user's words
	Address  string            `json:"address,omitempty"`  // where it was

	// Curve, if set, says that the run is a point of a cost curve of that name, at X of XUnit
	// (queues, bindings, connections, bytes, ...).
	Curve string  `json:"curve,omitempty"`
	X     float64 `json:"x,omitempty"`
	XUnit string  `json:"x_unit,omitempty"`

	OK    bool   `json:"ok"` // nothing lost, repeated or out of order
	Error string `json:"error,omitempty"`

	Messages  int64   `json:"messages"` // delivered, or published where nothing is delivered
	Seconds   float64 `json:"seconds"`
	Rate      float64 `json:"rate"`
	MBs       float64 `json:"mb_s"` // bodies only, 10^6 bytes
	BodyBytes int     `json:"body_bytes"`

	BrokerMicros float64 `json:"broker_us"`             // CPU a message, user and system; the same number is CPU seconds a million messages
	BrokerPerGB  float64 `json:"broker_s_gb,omitempty"` // CPU seconds a GB (10^9 bytes) of bodies
	BrokerUser   float64 `json:"broker_user_s"`
	BrokerSystem float64 `json:"broker_system_s"`
	BrokerCPUs   float64 `json:"broker_cpus"`
	ClientMicros float64 `json:"client_us"`
	// Switches count the broker's threads giving up their processor (voluntary: to wait).
	VoluntarySwitches   int64 `json:"voluntary_switches,omitempty"`
	InvoluntarySwitches int64 `json:"involuntary_switches,omitempty"`

	// What disturbed the run, see disturbances.
	OtherCPUs   float64 `json:"other_cpus"` // busy with neither broker nor load
	StealCPUs   float64 `json:"steal_cpus,omitempty"`
	SwappedMB   float64 `json:"swapped_mb,omitempty"`
	ThrottledMS float64 `json:"throttled_ms,omitempty"`

	P50  float64 `json:"p50_ms,omitempty"`
	P99  float64 `json:"p99_ms,omitempty"`
	P999 float64 `json:"p999_ms,omitempty"`
	Max  float64 `json:"max_ms,omitempty"`
	// Latency says what the four before it and Percentiles are.
	Latency     string       `json:"latency,omitempty"`
	Percentiles []Percentile `json:"percentiles,omitempty"`
	// LateMax is how far a paced publisher was behind its own schedule at worst.
	LateMax     float64 `json:"late_max_ms,omitempty"`
	ConfirmP50  float64 `json:"confirm_p50_ms,omitempty"`
	ConfirmP99  float64 `json:"confirm_p99_ms,omitempty"`
	ConfirmP999 float64 `json:"confirm_p999_ms,omitempty"`

	PeakRSSMB   float64 `json:"peak_rss_mb,omitempty"`  // mapped files included
	PeakAnonMB  float64 `json:"peak_anon_mb,omitempty"` // without them
	RSSBeforeMB float64 `json:"rss_before_mb,omitempty"`

	DiskBytes    int64   `json:"disk_bytes,omitempty"` // growth of the data directory
	DiskPerMsg   float64 `json:"disk_per_msg,omitempty"`
	WrittenBytes int64   `json:"written_bytes,omitempty"` // by the broker's process, towards the disk
	Device       string  `json:"device,omitempty"`        // the data directory's disk
	FileSystem   string  `json:"file_system,omitempty"`
	DeviceBytes  int64   `json:"device_bytes,omitempty"` // written by the disk while the load ran, for whomever
	DiskSyncs    int64   `json:"disk_syncs,omitempty"`   // flushes of the disk's cache in that time, for whomever
	BrokerSyncs  int64   `json:"broker_syncs,omitempty"` // what a Leveret counted itself

	Machine measure.Machine `json:"machine"`
}

// Percentile is a point of a latency curve: Percent of all messages took at most Millis.
type Percentile struct {
	Percent float64 `json:"p"`
	Millis  float64 `json:"ms"`
}

// percents are where latency curves are looked at, closer and closer to 100.
var percents = []float64{0, 10, 25, 50, 75, 90, 95, 97.5, 99, 99.5, 99.75, 99.9, 99.95, 99.99, 99.999, 100}

func percentiles(l *measure.Latencies) []Percentile {
	out := make([]Percentile, 0, len(percents))
	for _, p := range percents {
		out = append(out, Percentile{p, millis(l.Quantile(p / 100))})
	}
	return out
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
		r.Max, r.Latency, r.Percentiles = millis(w.latency.Max()), w.latencyName, percentiles(w.latency)
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
	if bytes := float64(r.Messages) * float64(r.BodyBytes); bytes > 0 {
		r.BrokerPerGB = round(u.CPU.Total().Seconds()*1e9/bytes, 3)
	}
	r.VoluntarySwitches, r.InvoluntarySwitches = u.VoluntarySwitches, u.InvoluntarySwitches
	const mb = 1 << 20
	r.OtherCPUs, r.StealCPUs = round(u.OtherCPUs, 2), round(u.StealCPUs, 3)
	r.SwappedMB, r.ThrottledMS = round(float64(u.SwappedBytes)/mb, 1), millis(u.Throttled)
	r.PeakRSSMB, r.PeakAnonMB = round(float64(u.PeakBytes)/mb, 1), round(float64(u.AnonBytes)/mb, 1)
	r.RSSBeforeMB = round(float64(u.BeforeBytes)/mb, 1)
	r.WrittenBytes = u.WrittenBytes
}

func (r *Result) setDisk(grown int64) {
	r.DiskBytes = grown
	if r.Messages > 0 {
		r.DiskPerMsg = round(float64(grown)/float64(r.Messages), 1)
	}
}

func (r *Result) setDevice(d measure.Device, c measure.DeviceCounters) {
	r.Device, r.FileSystem = d.Name, d.FileSystem
	r.DeviceBytes, r.DiskSyncs = c.WrittenBytes, c.Flushes
}

func millis(d time.Duration) float64 { return round(d.Seconds()*1e3, 3) }

func round(v float64, digits int) float64 {
	p := math.Pow10(digits)
	return math.Round(v*p) / p
}

// Limits above which a run counts as disturbed.
const (
	mostOtherCPUs   = 0.5
	mostStealCPUs   = 0.05
	mostSwappedMB   = 1
	mostThrottledMS = 10
)

// disturbance is something that kept the machine from a run.
type disturbance struct {
	value float64
	what  string // with its unit
}

// String has the value with as many digits as matter.
func (d disturbance) String() string { return fmt.Sprintf("%.2g %s", d.value, d.what) }

// disturbances says what kept the machine from the run, if anything did: such a run is
// left out of medians where there are better ones.
func (r Result) disturbances() (out []disturbance) {
	for _, d := range []struct {
		value, most float64
		what        string
	}{
		{r.OtherCPUs, mostOtherCPUs, "CPUs busy with something else"},
		{r.StealCPUs, mostStealCPUs, "CPUs held back by the hypervisor (steal)"},
		{r.SwappedMB, mostSwappedMB, "MB swapped"},
		{r.ThrottledMS, mostThrottledMS, "ms throttled by a CPU quota"},
	} {
		if d.value > d.most {
			out = append(out, disturbance{d.value, d.what})
		}
	}
	return out
}

func (r Result) disturbed() bool { return len(r.disturbances()) > 0 }

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

func readResultFiles(names []string) (out []Result, err error) {
	for _, name := range names {
		r, err := readResultFile(name)
		if err != nil {
			return nil, err
		}
		out = append(out, r...)
	}
	return out, nil
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
