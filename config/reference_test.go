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

` + "`leveret serve`" + ` needs none of these. A flag wins over its environment variable, which wins over the file of settings,
which wins over the default. ` + "`leveret config`" + ` prints what is in force and where each value comes from.
A value that makes no sense, or a variable ` + "`LEVERET_…`" + ` or a line of the file that does not exist, refuses the start.

The file is the one of ` + "`--config`" + `, or else ` + "`leveret.toml`" + ` in the working directory, or else ` + "`/etc/leveret/leveret.toml`" + `; one only is read,
and one that was not named only if it is the owner's or root's own and not everybody can write it.
It is [TOML](https://toml.io) without tables: one setting a line, called as its flag (` + "`_` for `-`" + ` will do), texts in quotes.

SIGHUP has a running broker read all of it anew: what is marked takes hold at once, of what is not the log says that it needs a restart, and
when anything is wrong the log says where, and nothing is changed.

` + "```toml" + `
data-dir = "/var/lib/leveret"
sync = "group"
max-connections = 20_000
memory-high-watermark = 0.5
` + "```" + `

Sizes take KiB, MiB, GiB (or KB, MB, GB); durations take ms, s, m, h.
Of other brokers' images ` + "`RABBITMQ_DEFAULT_USER`, `RABBITMQ_DEFAULT_PASS`, `RABBITMQ_DEFAULT_VHOST`, `KAFKA_ADVERTISED_LISTENERS`, `KAFKA_LISTENERS`" + `,
` + "`KAFKA_LISTENER_SECURITY_PROTOCOL_MAP` and `KAFKA_CONTROLLER_LISTENER_NAMES`" + ` are read, below ` + "`LEVERET_…`" + ` and above the file. Where Kafka's listeners are
given only as advertised, their ports are listened at, as Kafka's images do; those of controllers are left out.
Go's own ` + "`GOGC`, `GOMEMLIMIT` and `GOMAXPROCS`" + ` are honoured.
`)
	group := ""
	for _, s := range settings(new(Config)) {
		if s.Group != group {
			group = s.Group
			fmt.Fprintf(&b, "\n## %s\n\n| flag | environment | in the file | default | reload | meaning |\n|---|---|---|---|---|---|\n", group)
		}
		def := "`" + s.Default + "`"
		if s.Default == "" {
			def = "(empty)"
		}
		live := ""
		if s.Live {
			live = "yes"
		}
		key := "`" + s.Flag + "`"
		if s.NoFile {
			key = "no"
		}
		fmt.Fprintf(&b, "| `--%s` | `%s` | %s | %s | %s | %s |\n", s.Flag, s.Env(), key, def, live, s.Usage)
	}
	return b.String()
}
