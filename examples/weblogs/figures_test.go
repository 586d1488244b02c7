package main

import (
	"strings"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/examples/internal/demo"
)

func TestMetricsAreReadWithTheirLabels(t *testing.T) {
	s, err := parseMetrics(strings.NewReader(`# HELP x y
# TYPE x counter
x 12
depth{vhost="/",queue="a b"} 3
depth{vhost="/",queue="c"} 4.5e1 1700000000
leveret_build_info{durability="group",goversion="go1.26",version="v1"} 1
`))
	if err != nil {
		t.Fatal(err)
	}
	if got := s.sum("x"); got != 12 {
		t.Errorf("x is %v", got)
	}
	if got := s.sum("depth"); got != 48 {
		t.Errorf("depth is %v", got)
	}
	for label, want := range map[string]string{"durability": "group", "goversion": "go1.26", "version": "v1", "missing": ""} {
		if got := s.label("leveret_build_info", label); got != want {
			t.Errorf("label %s is %q, want %q", label, got, want)
		}
	}
	for _, bad := range []string{"alone", "x{y=\"1\"}", "x one"} {
		if _, err := parseMetrics(strings.NewReader(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestFiguresOfAFewLines(t *testing.T) {
	f := newFigures()
	add := func(key, text string) { f.add([]byte(key), []byte(text)) }
	add("web.info", `1.1.1.1 - - [10/Oct/2000:12:00:00 +0000] "GET /a?x=1 HTTP/1.1" 200 100 "-" "-" 0.010`)
	add("web.info", `1.1.1.1 - - [10/Oct/2000:12:00:00 +0000] "GET /a?x=2 HTTP/1.1" 200 100 "-" "-" 0.020`)
	add("web.error", `1.1.1.1 - - [10/Oct/2000:12:00:09 +0000] "GET /a HTTP/1.1" 500 0 "-" "-" 2.000`)
	add("api.info", `1.1.1.1 - - [10/Oct/2000:12:00:04 +0000] "GET /a HTTP/1.1" 200 7 "-" "-" 0.001`)
	add("web.other", `what is this`)
	if f.Tally.Lines != 5 || f.Unreadable != 1 || f.Body != 207 || f.Timed != 4 || f.Status[200] != 3 || f.Status[500] != 1 {
		t.Errorf("%+v", f)
	}
	if f.Last.Sub(f.First) != 9*time.Second {
		t.Errorf("from %v to %v", f.First, f.Last)
	}
	if at, n := f.peak(); n != 2 || !at.Equal(f.First) {
		t.Errorf("peak of %d at %v", n, at)
	}
	top := f.top(5, func(p *PathFigures) float64 { return float64(p.Count) })
	if len(top) != 2 || top[0].Name != "web /a" || top[0].Count != 3 || top[0].Errors != 1 || top[1].Name != "api /a" {
		t.Fatalf("%+v", top)
	}
	if got := top[0].quantile(0.5); got < 20*time.Millisecond || got > 25*time.Millisecond {
		t.Errorf("median %v", got)
	}
	if got := top[0].quantile(1); got != 2*time.Second {
		t.Errorf("longest %v", got)
	}
}

func TestPathsAreBounded(t *testing.T) {
	f := newFigures()
	for i := range maxPaths + 100 {
		f.path([]byte("web.info"), []byte(strings.Repeat("x", 200)+demo.Grouped(i)))
		f.path([]byte("web.info"), []byte("/"+demo.Grouped(i))).Count++
	}
	if len(f.Paths) > maxPaths+1 {
		t.Errorf("%d paths are held", len(f.Paths))
	}
	if f.Paths["(other paths)"].Count == 0 {
		t.Error("the paths beyond the bound are not counted")
	}
}

func TestQuantilesStayWithinAQuarter(t *testing.T) {
	p := &PathFigures{}
	for i := 1; i <= 1000; i++ {
		p.add(&Line{Took: time.Duration(i) * time.Millisecond, HasTook: true})
	}
	for _, q := range []float64{0.01, 0.5, 0.95, 0.99, 1} {
		want := time.Duration(q*1000) * time.Millisecond
		if got := p.quantile(q); got < want-time.Microsecond || float64(got) > 1.25*float64(want)+1 {
			t.Errorf("quantile %v is %v, want %v to a quarter more", q, got, want)
		}
	}
	for _, d := range []time.Duration{0, -1, 1, time.Hour, 1 << 62} {
		if b := bucketOf(d); b < 0 || b >= tookBuckets {
			t.Errorf("%v is in bucket %d", d, b)
		}
	}
}

func TestTheWorstTenMinutesAreFound(t *testing.T) {
	minutes := map[int64]*Ticks{}
	for m := range int64(60) {
		minutes[1000+m] = &Ticks{All: Tally{Lines: 100}, Errors: Tally{Lines: 1}}
	}
	minutes[1030].Errors.Lines, minutes[1033].Errors.Lines = 50, 60
	from, want := worstTenMinutes(minutes)
	if m := from.Unix() / 60; m != 1024 || want.Errors.Lines != 118 || want.All.Lines != 1000 {
		t.Errorf("from minute %d: %+v", m, want)
	}
	if _, want := worstTenMinutes(nil); want.All.Lines != 0 {
		t.Errorf("of nothing: %+v", want)
	}
}

func TestTalliesTellTheSameLinesFromOthers(t *testing.T) {
	tally := func(lines ...string) (out Tally) {
		for _, l := range lines {
			out.add([]byte(l))
		}
		return out
	}
	if tally("a", "b", "c") != tally("c", "a", "b") {
		t.Error("the order counts")
	}
	if tally("a", "b") == tally("a", "c") || tally("a") == tally("a", "a") {
		t.Error("other lines count as the same")
	}
}

func TestTheReportSaysWhatIsWrong(t *testing.T) {
	full := Tally{Lines: 10, Sum: 5}
	r := &Result{
		Shipped: &Shipped{All: full, Errors: Tally{Lines: 2, Sum: 1}}, Figures: newFigures(), Workers: &Workers{},
		Broker: &demo.Broker{}, Replays: []*Replay{{What: "a replay", Want: full, Got: Tally{Lines: 10, Sum: 6}}},
	}
	r.Figures.Tally = full
	faults := r.Faults()
	if len(faults) != 2 || !strings.Contains(faults[0], "0 lines, want 2") || !strings.Contains(faults[1], "not the same ones") {
		t.Errorf("%q", faults)
	}
	var out strings.Builder
	r.write(&out)
	if !strings.Contains(out.String(), "WRONG: a replay") || strings.Contains(out.String(), "Nothing was lost") {
		t.Errorf("the report says:\n%s", &out)
	}
}
