package lint

import (
	"slices"
	"strings"
	"testing"
)

// imports is the law: what each package may import of this module. A package
// that is missing here, or imports something that is not on its line, fails the
// test; change the line only when the picture in docs/architecture.md changes
// with it. A name that ends in /... stands for the folder and all below it.
var imports = map[string][]string{
	// The program.
	"cmd/leveret":       {"server", "config", "cli", "store/local", "internal/program", "internal/audit", "internal/notify", "internal/devcert"},
	"cli":               {},
	"cmd/leveret-bench": {"bench", "internal/program"},
	"server": {"config", "auth", "access", "broker", "definitions", "store", "store/local", "store/cluster", "amqp", "kafka", "kafka/acl", "stomp", "xmpp", "xmpp/pubsub",
		"admin", "management", "web", "metrics", "message", "internal/fs", "internal/netx", "internal/budget", "internal/audit", "internal/tlsconf", "internal/devcert"},

	// Listeners.
	"amqp":             {"amqp/wire", "broker", "auth", "internal/netx", "internal/budget", "internal/spool", "internal/unacked", "internal/deliver"},
	"amqp/wire":        {"internal/field"},
	"kafka":            {"kafka/wire", "kafka/group", "kafka/txn", "kafka/acl", "broker", "message", "auth", "internal/netx", "internal/batch", "internal/budget"},
	"kafka/wire":       {"internal/batch"},
	"kafka/group":      {"kafka/wire", "internal/pattern"},
	"kafka/txn":        {"kafka/wire", "kafka/group", "internal/pattern"},
	"kafka/acl":        {"access", "internal/audit", "internal/pattern"},
	"stomp":            {"stomp/frame", "broker", "auth", "internal/netx", "internal/websocket", "internal/budget", "internal/spool", "internal/unacked", "internal/deliver", "internal/field"},
	"stomp/frame":      {},
	"xmpp":             {"xmpp/stanza", "broker", "auth", "internal/netx", "internal/budget", "internal/unacked", "internal/field"},
	"xmpp/stanza":      {},
	"xmpp/pubsub":      {"xmpp", "xmpp/stanza", "broker", "message", "auth", "internal/field", "internal/budget"},
	"admin":            {"broker", "metrics", "auth"},
	"management":       {"broker", "access", "auth", "definitions", "message", "internal/netx", "internal/budget", "internal/audit", "internal/field", "internal/pattern"},
	"web":              {},
	"metrics":          {"broker", "internal/budget"},
	"auth":             {},
	"access":           {"auth", "broker", "store", "internal/audit", "internal/pattern"},
	"definitions":      {"access", "broker", "internal/audit", "internal/field"},
	"config":           {},
	"internal/netx":    {"internal/audit", "internal/fault"},
	"internal/audit":   {},
	"internal/notify":  {},
	"internal/tlsconf": {},
	"internal/devcert": {},
	"internal/unacked": {"message"},
	"internal/deliver": {"broker", "internal/netx"},

	// What listeners share of WebSocket.
	"internal/websocket": {},

	// What listeners share of memory.
	"internal/budget": {},
	"internal/spool":  {"internal/budget"},

	// The broker and what it is made of.
	"broker":   {"exchange", "consumer", "store", "message", "auth", "internal/batch", "internal/field", "internal/share", "internal/audit", "internal/pattern"},
	"exchange": {"internal/field"},
	"consumer": {"message"},
	"message":  {"internal/batch", "internal/field"},

	// Storage.
	"store":           {"message", "internal/batch", "internal/fault"},
	"store/local":     {"store", "log", "segment", "message", "internal/fs", "internal/batch", "internal/fault", "internal/share"},
	"store/cluster":   {"store", "message", "internal/batch"},
	"store/storetest": {"store", "message", "internal/batch"},
	"log":             {"segment", "internal/fs", "internal/batch", "internal/fault"},
	"segment":         {"index", "internal/fs", "internal/batch", "internal/fault"},
	"index":           {"internal/fs"},
	"internal/fs":     {},
	"internal/batch":  {},
	"internal/field":  {},
	"internal/fault":  {},
	"internal/share":  {},

	// What people write for names.
	"internal/pattern": {},

	// Tools and tests.
	"bench":              {"internal/batch", "internal/program", "internal/devcert", "internal/netx"},
	"internal/lint":      {},
	"internal/alloc":     {},
	"internal/fakeclock": {},
	"internal/logged":    {},
	"internal/program":   {},
	"internal/testkit":   {"server", "config"},
	"test/crash":         {"test/process", "xmpp/stanza"},
	"test/torture":       {"test/process"},
	"test/weight":        {"config", "test/process", "bench/measure"},
	"test/process":       {"internal/program"},
	"test/interop":       {"internal/testkit"},
}

// treeRules are the lines for folders that hold any number of programs.
var treeRules = map[string][]string{
	"examples/": {"examples/internal/demo", "examples/internal/demotest", "internal/program"},
	"test/":     {"internal/testkit"},
	"bench/":    {"bench", "server", "config", "internal/batch", "internal/netx"},
}

// maxImports bounds how much one package may lean on; server builds everything.
const maxImports = 10

// maxChain bounds how long a chain of imports may get.
const maxChain = 9

func allowed(pkg string) ([]string, bool) {
	if list, ok := imports[pkg]; ok {
		return list, true
	}
	for prefix, list := range treeRules {
		if strings.HasPrefix(pkg, prefix) {
			return list, true
		}
	}
	return nil, false
}

// graph is package → what it imports of this module, tests left out.
func graph(t *testing.T) map[string][]string {
	t.Helper()
	g := map[string][]string{}
	for _, f := range goFiles(t) {
		if f.test {
			continue
		}
		list := g[f.pkg]
		for _, spec := range f.ast.Imports {
			if name, ours := strings.CutPrefix(strings.Trim(spec.Path.Value, `"`), module); ours && !slices.Contains(list, name) {
				list = append(list, name)
			}
		}
		g[f.pkg] = list
	}
	return g
}

func TestImportsFollowTheTable(t *testing.T) {
	for pkg, list := range graph(t) {
		may, known := allowed(pkg)
		if !known {
			t.Errorf("package %s stands in no line of the import table", pkg)
			continue
		}
		for _, name := range list {
			if strings.HasPrefix(pkg, "bench") && strings.HasPrefix(name, "bench/") {
				continue // the parts of one program
			}
			if !slices.Contains(may, name) {
				t.Errorf("package %s imports %s; the table allows it %v", pkg, name, may)
			}
		}
		if len(list) > maxImports && pkg != "server" {
			t.Errorf("package %s imports %d packages of this module, more than %d", pkg, len(list), maxImports)
		}
	}
}

func TestImportChainsAreShort(t *testing.T) {
	g := graph(t)
	memo := map[string][]string{}
	var longest func(string) []string
	longest = func(pkg string) []string {
		if chain, ok := memo[pkg]; ok {
			return chain
		}
		var best []string
		for _, next := range g[pkg] {
			if chain := longest(next); len(chain) > len(best) {
				best = chain
			}
		}
		memo[pkg] = append([]string{pkg}, best...)
		return memo[pkg]
	}
	for pkg := range g {
		if chain := longest(pkg); len(chain) > maxChain {
			t.Errorf("an import chain has %d packages, more than %d: %s", len(chain), maxChain, strings.Join(chain, " > "))
		}
	}
}

// bannedImports is who may not use what of other people's; "" is everybody.
var bannedImports = []struct {
	path, why string
	except    []string // packages, or folders that end in /
}{
	{"log", "our package is called log; write lines with log/slog", nil},
	{"unsafe", "only mappings, system calls and zero-copy conversions need it, and they live in few places", []string{"internal/fs", "internal/fault", "internal/netx", "message", "amqp/wire", "exchange", "segment", "store/local", "bench", "bench/"}},
	{"github.com/twmb/franz-go/pkg/kgo", "only the cluster store, load generators and tests are Kafka clients", []string{"store/cluster", "bench", "examples/", "test/", "bench/"}},
	{"github.com/nats-io/nats.go", "only load generators are NATS clients", []string{"bench", "bench/"}},
	{"github.com/rabbitmq/amqp091-go", "only load generators and tests are AMQP clients", []string{"bench", "examples/", "test/", "bench/"}},
	{"github.com/prometheus/client_golang/prometheus", "figures are plain counters that metrics reads on scrape", []string{"metrics", "admin"}},
	{"golang.org/x/sys/unix", "system calls live in internal/fs", []string{"internal/fs", "bench", "bench/", "server", "metrics", "internal/netx", "internal/notify", "examples/", "test/"}},
}

func TestBannedImports(t *testing.T) {
	for _, f := range goFiles(t) {
		for _, spec := range f.ast.Imports {
			path := strings.Trim(spec.Path.Value, `"`)
			for _, ban := range bannedImports {
				if path == ban.path && !excepted(f, ban.except) {
					t.Errorf("%s imports %s: %s", f.name, path, ban.why)
				}
			}
		}
	}
}

func excepted(f goFile, list []string) bool {
	if list == nil {
		return false
	}
	if f.test {
		return true // a rule with exceptions binds the product, not its tests
	}
	for _, e := range list {
		if f.pkg == e || (strings.HasSuffix(e, "/") && strings.HasPrefix(f.pkg, e)) {
			return true
		}
	}
	return false
}
