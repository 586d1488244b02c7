package chart

import (
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// drawn checks that a drawing is well-formed, keeps to its width, and is told in words; it
// returns the texts on it.
func drawn(t *testing.T, svg string) (texts []string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(svg))
	elements := map[string]int{}
	inText := false
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
		switch x := token.(type) {
		case xml.StartElement:
			elements[x.Name.Local]++
			inText = x.Name.Local == "text"
			for _, a := range x.Attr {
				if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") {
					t.Errorf("%s has %s=%q", x.Name.Local, a.Name.Local, a.Value)
				}
			}
		case xml.EndElement:
			inText = false
		case xml.CharData:
			if inText {
				texts = append(texts, string(x))
			}
		}
	}
	if elements["title"] != 1 || elements["desc"] != 1 || !strings.Contains(svg, `role="img"`) || !strings.Contains(svg, `aria-labelledby="id-t id-d"`) {
		t.Errorf("it is not told in words:\n%s", svg)
	}
	for _, m := range regexp.MustCompile(` (?:x|x1|x2|cx)="([^"]*)"`).FindAllStringSubmatch(svg, -1) {
		if v, err := strconv.ParseFloat(m[1], 64); err != nil || v < 0 || v > Width {
			t.Errorf("x is %s, beyond the drawing", m[1])
		}
	}
	return texts
}

func contains(t *testing.T, texts []string, want ...string) {
	t.Helper()
	all := "|" + strings.Join(texts, "|") + "|"
	for _, w := range want {
		if !strings.Contains(all, "|"+w+"|") {
			t.Errorf("%q is not written: %s", w, all)
		}
	}
}

var widths = regexp.MustCompile(`<rect class="bar (s\d)" [^>]*width="([^"]*)"`)

func barWidths(t *testing.T, svg string) (out []float64) {
	t.Helper()
	for _, m := range widths.FindAllStringSubmatch(svg, -1) {
		v, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	return out
}

func TestBarsAreInProportion(t *testing.T) {
	b := Bars{Title: "a & b", Groups: []Group{
		{"first", []Bar{{Series: 0, Name: "x<y", Value: 100, Text: "100/s"}, {Series: 1, Name: "z", Value: 25, Text: "25/s"}}},
		{"second", []Bar{{Series: 0, Name: "x<y", Value: 4, Low: 3, High: 5, Text: "4/s"}, {Series: 1, Name: "z", Value: 2, Text: "2/s"}}},
	}}
	svg := b.SVG("id")
	contains(t, drawn(t, svg), "first", "second", "x<y", "z", "100/s", "25/s", "4/s", "2/s")
	w := barWidths(t, svg)
	near := func(a, b float64) bool { return a > b*0.99 && a < b*1.01 }
	if len(w) != 4 || !near(w[1]*4, w[0]) || !near(w[3]*2, w[2]) || !near(w[2], w[0]*4/5) {
		t.Errorf("own scales: widths are %v", w)
	}
	if n := strings.Count(svg, `class="range"`); n != 3 {
		t.Errorf("%d lines for one range", n)
	}
	if !strings.Contains(svg, "first: x&lt;y 100/s, z 25/s. second:") {
		t.Errorf("the description does not say the values:\n%s", svg)
	}
	b.OneScale = true
	if w := barWidths(t, b.SVG("id")); !near(w[2]*25, w[0]) {
		t.Errorf("one scale: widths are %v", w)
	}
}

func TestLongNamesAreClipped(t *testing.T) {
	long := strings.Repeat("long", 20)
	svg := Bars{Title: "t", Groups: []Group{{"g", []Bar{{Name: long, Value: 1, Text: "1"}, {Name: "n", Value: 2, Text: "2"}}}}}.SVG("id")
	for _, s := range drawn(t, svg) {
		if textWidth(s) > mostName {
			t.Errorf("%q is too long", s)
		}
	}
	if w := barWidths(t, svg); len(w) != 2 || w[1] < 150 {
		t.Errorf("no room is left for bars: %v", w)
	}
	if !strings.Contains(svg, long+" 1") {
		t.Error("the description does not have the whole name")
	}
}

func TestBarsOfNothing(t *testing.T) {
	drawn(t, Bars{Title: "empty"}.SVG("id"))
	drawn(t, Bars{Title: "zero", Groups: []Group{{"g", []Bar{{Name: "n", Text: "0"}}}}}.SVG("id"))
}

func TestLinesOfEveryScale(t *testing.T) {
	points := []Point{{0, 0.2}, {10_000, 0.4}, {100_000_000, 0.1}}
	l := Lines{Title: "t", X: Axis{Name: "things", Scale: Log}, Y: Axis{Name: "cost"}, Right: Axis{Name: "MB"},
		Lines: []Line{{Name: "a", Points: points}, {Name: "b", Series: 1, Right: true, Points: []Point{{0, 100}, {100_000_000, 140}}}}}
	svg := l.SVG("id")
	contains(t, drawn(t, svg), "things", "cost", "MB", "a", "b (right)", "0", "0.4", "150", "1e+08")
	if strings.Count(svg, `class="line s1 dashed"`) != 2 || strings.Count(svg, `class="line s0"`) != 2 {
		t.Errorf("a line and its legend should look alike, and the right one's be dashed:\n%s", svg)
	}
	nines := Lines{Title: "t", X: Axis{Name: "share", Scale: Nines}, Y: Axis{Name: "ms", Scale: Log},
		Lines: []Line{{Name: "a", Points: []Point{{0, 0.05}, {50, 0.1}, {99, 3}, {99.9, 20}, {100, 70}}}}}
	contains(t, drawn(t, nines.SVG("id")), "0", "90", "99", "99.9", "99.99", "100", "0.1", "1", "10", "100")
	drawn(t, Lines{Title: "empty"}.SVG("id"))
	drawn(t, Lines{Title: "one point", X: Axis{Scale: Log}, Y: Axis{Scale: Log}, Lines: []Line{{Points: []Point{{1, 1}}}}}.SVG("id"))
}

func TestAxesPutValuesWhereTheyBelong(t *testing.T) {
	for _, c := range []struct {
		name   string
		axis   Axis
		values []float64
		at     map[float64]float64
	}{
		{"linear begins at zero", Axis{}, []float64{50, 100}, map[float64]float64{0: 0, 50: .5, 100: 1}},
		{"decades", Axis{Scale: Log}, []float64{1, 100}, map[float64]float64{1: 0, 10: .5, 100: 1}},
		{"zero before the decades", Axis{Scale: Log}, []float64{0, 1, 10_000}, map[float64]float64{0: 0, 10_000: 1}},
		{"nines", Axis{Scale: Nines}, []float64{0, 100}, map[float64]float64{0: 0, 90: .2, 99: .4, 99.9: .6, 100: 1}},
	} {
		a := c.axis.fit(c.values)
		for v, want := range c.at {
			if got := a.at(v); got < want-1e-6 || got > want+1e-6 {
				t.Errorf("%s: %v is at %v, it should be at %v", c.name, v, got, want)
			}
		}
	}
	if a := (Axis{Scale: Log}).fit([]float64{0, 1}); a.at(1) <= 0.05 {
		t.Errorf("zero and one are one place: %v", a.at(1))
	}
}

func TestNiceSteps(t *testing.T) {
	for v, want := range map[float64]float64{0: 1, 0.3: 0.5, 1: 1, 1.1: 2, 2.2: 2.5, 3: 5, 7: 10, 12: 20, 0.068: 0.1} {
		if got := niceAbove(v); got < want*0.999 || got > want*1.001 {
			t.Errorf("above %v: got %v, it should be %v", v, got, want)
		}
	}
}
