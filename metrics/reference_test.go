package metrics

import (
	"fmt"
	"strings"
)

// reference prints the page docs/metrics.md.
func reference() string {
	var b strings.Builder
	b.WriteString(`# Metrics

<!-- Printed from package metrics; a test holds this page to it. To renew it: go test ./metrics -update -->

Prometheus reads them at ` + "`http://HOST:15692/metrics`" + `. Beside these come the usual ` + "`process_…` and `go_…`" + ` series.

| series | kind | labels | meaning |
|---|---|---|---|
`)
	for _, s := range series {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", s.name, s.kind, strings.Join(s.labels, ", "), s.help)
	}
	return b.String()
}
