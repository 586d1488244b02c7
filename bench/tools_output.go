package bench

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// toolFigures are what a tool says of its own run.
type toolFigures struct {
	messages    int64 // 0: it does not say
	rate        float64
	percentiles []Percentile // of latency; none where it does not say
}

var producerLine = regexp.MustCompile(`(?m)^(\d+) records sent, ([\d.]+) records/sec \([\d.]+ MB/sec\), [\d.]+ ms avg latency, ([\d.]+) ms max latency, ` +
	`(\d+) ms 50th, (\d+) ms 95th, (\d+) ms 99th, (\d+) ms 99\.9th\.`)

// parseProducerPerformance reads the last line of Kafka's producer tool. The lines before it
// are about a part of the run and have no percentiles.
func parseProducerPerformance(out string) (toolFigures, error) {
	m := producerLine.FindStringSubmatch(out)
	if m == nil {
		return toolFigures{}, errors.New("kafka's producer tool printed no result:\n" + lastLines(out, 5))
	}
	v, err := floats(m[1:])
	if err != nil {
		return toolFigures{}, fmt.Errorf("kafka's producer tool: %w", err)
	}
	return toolFigures{int64(v[0]), v[1], []Percentile{{50, v[3]}, {95, v[4]}, {99, v[5]}, {99.9, v[6]}, {100, v[2]}}}, nil
}

// parseConsumerPerformance reads the line of figures that Kafka's consumer tool prints under
// their names. The rate is that of fetching: joining the group is not part of it.
func parseConsumerPerformance(out string) (toolFigures, error) {
	lines := strings.Split(out, "\n")
	for i, l := range lines {
		if !strings.HasPrefix(l, "start.time, ") {
			continue
		}
		names := strings.Split(l, ", ")
		for _, l := range lines[i+1:] {
			values := strings.Split(strings.TrimSpace(l), ", ")
			if len(values) != len(names) {
				continue // a warning
			}
			return consumerFigures(names, values)
		}
	}
	return toolFigures{}, errors.New("kafka's consumer tool printed no result:\n" + lastLines(out, 5))
}

func consumerFigures(names, values []string) (f toolFigures, err error) {
	for i, name := range names {
		switch name {
		case "data.consumed.in.nMsg":
			f.messages, err = strconv.ParseInt(values[i], 10, 64)
		case "fetch.nMsg.sec":
			f.rate, err = strconv.ParseFloat(values[i], 64)
		}
		if err != nil {
			return f, fmt.Errorf("kafka's consumer tool: %s is %q", name, values[i])
		}
	}
	if f.messages == 0 || f.rate == 0 {
		return f, errors.New("kafka's consumer tool consumed nothing")
	}
	return f, nil
}

var (
	perfTestStopped = regexp.MustCompile(`(?m)^test stopped \((.*)\)`)
	perfTestRate    = regexp.MustCompile(`(?m)^id: \S+, receiving rate avg: ([\d,]+) msg/s`)
	perfTestLatency = regexp.MustCompile(`(?m)^id: \S+, consumer latency min/median/75th/95th/99th (\d+)/(\d+)/(\d+)/(\d+)/(\d+) (\S+)`)
)

// parsePerfTest reads the summary that PerfTest prints at its end. A run that ended for
// anything but its consumer having all messages has failed.
func parsePerfTest(out string) (toolFigures, error) {
	why, rate := perfTestStopped.FindStringSubmatch(out), perfTestRate.FindStringSubmatch(out)
	switch {
	case why == nil || rate == nil:
		return toolFigures{}, errors.New("PerfTest printed no result:\n" + lastLines(out, 5))
	case !strings.Contains(why[1], "Consumer reached message limit"):
		return toolFigures{}, fmt.Errorf("PerfTest ended before it had all messages: %s", why[1])
	}
	v, err := floats([]string{strings.ReplaceAll(rate[1], ",", "")})
	if err != nil {
		return toolFigures{}, fmt.Errorf("PerfTest: %w", err)
	}
	f := toolFigures{rate: v[0]}
	if m := perfTestLatency.FindStringSubmatch(out); m != nil {
		unit := 1e-3 // of a millisecond
		if m[6] == "ms" {
			unit = 1
		}
		if v, err = floats(m[1:6]); err != nil {
			return f, fmt.Errorf("PerfTest: %w", err)
		}
		f.percentiles = []Percentile{{0, round(v[0]*unit, 3)}, {50, round(v[1]*unit, 3)}, {75, round(v[2]*unit, 3)}, {95, round(v[3]*unit, 3)}, {99, round(v[4]*unit, 3)}}
	}
	return f, nil
}

func floats(s []string) ([]float64, error) {
	out := make([]float64, len(s))
	for i, x := range s {
		var err error
		if out[i], err = strconv.ParseFloat(x, 64); err != nil {
			return nil, fmt.Errorf("%q is no figure", x)
		}
	}
	return out, nil
}

// setTool puts what a tool says of latencies into a result.
func (r *Result) setTool(f toolFigures, latency string) {
	if len(f.percentiles) == 0 {
		return
	}
	r.Latency, r.Percentiles = latency, f.percentiles
	for _, p := range f.percentiles {
		switch p.Percent {
		case 50:
			r.P50 = p.Millis
		case 99:
			r.P99 = p.Millis
		case 99.9:
			r.P999 = p.Millis
		case 100:
			r.Max = p.Millis
		}
	}
}
