package config

import (
	"fmt"
	"strings"
)

// reference prints the page docs/configuration.md.
func reference() string {
	var b strings.Builder
	b.WriteString(`# Settings

<!-- Printed from package config; a test holds this page to it. To renew it: go test ./config -update -->

` + "`leveret serve`" + ` needs none of these. A flag wins over its environment variable, which wins over the default.
A value that makes no sense, or a variable ` + "`LEVERET_…`" + ` that does not exist, refuses the start.
Sizes take KiB, MiB, GiB (or KB, MB, GB); durations take ms, s, m, h.
Go's own ` + "`GOGC`, `GOMEMLIMIT` and `GOMAXPROCS`" + ` are honoured.
`)
	group := ""
	for _, s := range settings(new(Config)) {
		if s.Group != group {
			group = s.Group
			fmt.Fprintf(&b, "\n## %s\n\n| flag | environment | default | meaning |\n|---|---|---|---|\n", group)
		}
		def := "`" + s.Default + "`"
		if s.Default == "" {
			def = "(empty)"
		}
		fmt.Fprintf(&b, "| `--%s` | `%s` | %s | %s |\n", s.Flag, s.Env(), def, s.Usage)
	}
	return b.String()
}
