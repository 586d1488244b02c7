package bench

import (
	"bytes"
	"math"
	"strings"
	"testing"
)

// The values are those of the tables of Mann and Whitney (1947), and of small cases counted by hand.
func TestChanceIsTheExactMannWhitneyProbability(t *testing.T) {
	for _, c := range []struct {
		name string
		a, b []float64
		want float64
	}{
		{"one each, above", []float64{1}, []float64{2}, 0.5},
		{"one each, below", []float64{2}, []float64{1}, 1},
		{"two each, apart", []float64{1, 2}, []float64{3, 4}, 1.0 / 6},
		{"two each, one crossing", []float64{1, 3}, []float64{2, 4}, 2.0 / 6},
		{"three each, apart", []float64{1, 2, 3}, []float64{4, 5, 6}, 0.05},
		{"four each, apart", []float64{1, 2, 3, 4}, []float64{5, 6, 7, 8}, 1.0 / 70},
		{"four and two, U of 7", []float64{1, 2, 3, 5}, []float64{4, 6}, 2.0 / 15},
		{"all equal", []float64{1, 1}, []float64{1, 1}, 4.0 / 6},
	} {
		if got := chance(c.a, c.b); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	low, high := make([]float64, 30), make([]float64, 30)
	for i := range low {
		low[i], high[i] = float64(i), float64(i)+0.5
	}
	if got := chance(low, high); got < 0.3 || got > 0.6 {
		t.Errorf("30 runs that hardly differ: %v", got)
	}
}

func TestGuardFailsOnWhatIsDearerAndNoChance(t *testing.T) {
	g := &guard{options: &options{allow: 1.25}, micros: map[string]*[2][]float64{
		"same":   {{1, 1.1, 0.9, 1.05}, {1.02, 1.1, 0.95, 0.9}},
		"slow":   {{1, 1.1, 0.9, 1.05}, {1.4, 1.5, 1.45, 1.39}},
		"little": {{1, 1.01, 0.99, 1}, {1.1, 1.11, 1.12, 1.1}},
		"noisy":  {{1, 2, 0.9, 1.05}, {1.9, 0.9, 1.8, 1.7}},
		"better": {{2, 2.1, 2.2, 2}, {1, 1, 1, 1}},
	}, order: []string{"same", "slow", "little", "noisy", "better"}}
	for range 2 { // as often as a suspicious row is run again
		for _, m := range g.micros {
			m[base] = append(m[base], m[base][:4]...)
			m[head] = append(m[head], m[head][:4]...)
		}
	}
	var out bytes.Buffer
	err := g.report(&out)
	if err == nil || !strings.Contains(err.Error(), "slow costs the broker 39 % more") || strings.Contains(err.Error(), "\n") {
		t.Fatalf("got %v\n%s", err, &out)
	}
	for _, want := range []string{"REGRESSED", "may be chance", "-51.2 %"} {
		if strings.Count(out.String(), want) != 1 {
			t.Errorf("%q is not there once:\n%s", want, &out)
		}
	}
	delete(g.micros, "slow")
	g.order = []string{"same", "little", "noisy", "better"}
	if err := g.report(&out); err != nil {
		t.Fatal(err)
	}
}
