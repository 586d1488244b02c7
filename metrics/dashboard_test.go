package metrics

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What the dashboards that ship ask for is there, with the labels that they ask for.
func TestTheDashboardsFindWhatTheyAskFor(t *testing.T) {
	boards, err := filepath.Glob("../packaging/grafana/*.json")
	if err != nil || len(boards) != 2 {
		t.Fatalf("%d dashboards, %v", len(boards), err)
	}
	known := map[string][]string{"process_cpu_seconds_total": nil}
	for _, s := range series {
		known[s.name] = s.labels
	}
	name, by := regexp.MustCompile(`\b(?:leveret|rabbitmq|kafka|process)_[a-z_]+`), regexp.MustCompile(`\bby \(([^)]*)\)|\{\{([a-z]+)\}\}`)
	for _, file := range boards {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var board struct {
			Panels []struct {
				Title   string
				Targets []struct{ Expr, LegendFormat string }
			}
		}
		if err := json.Unmarshal(text, &board); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		asked := 0
		for _, p := range board.Panels {
			for _, target := range p.Targets {
				var labels []string
				for _, n := range name.FindAllString(target.Expr, -1) {
					asked++
					has, there := known[strings.TrimSuffix(n, "_bucket")]
					if !there {
						t.Errorf("%s, %s: there is no %s", file, p.Title, n)
					}
					labels = append(labels, has...)
				}
				for _, m := range by.FindAllStringSubmatch(target.Expr+" "+target.LegendFormat, -1) {
					for l := range strings.SplitSeq(m[1]+m[2], ", ") {
						if l != "instance" && l != "le" && !slices.Contains(labels, l) {
							t.Errorf("%s, %s: %q has no label %s", file, p.Title, target.Expr, l)
						}
					}
				}
			}
		}
		if asked < 10 {
			t.Errorf("%s asks for %d figures", file, asked)
		}
	}
}
