package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

func declareCommand() *cobra.Command {
	c := group("declare", "Make queues, exchanges, users, policies, …", `Makes what is not there. What is there with the same settings stays as it is; a user, permissions, a policy and a virtual
host are changed to what is said.`, "declare",
		declareQueue(), declareExchange(), declareVHost(), declareUser(), declareTags(), declarePermissions(), declareTopicPermissions(),
		declarePolicy("policy", "policies", "a policy: settings for the queues and exchanges whose names match"),
		declarePolicy("operator-policy", "operator-policies", "an operator's policy, which bounds what others may set"), bindAs("binding"))
	c.Aliases = []string{"create", "add", "set", "new"}
	c.Example = `  leveret declare queue jobs
  leveret declare queue jobs --dead-letter-exchange dead --delivery-limit 5
  leveret declare exchange logs --type topic
  leveret declare user ann --tags management
  leveret declare permissions ann --vhost shop --configure '^ann\.'
  leveret declare policy short '^tmp\.' max-length=1000 message-ttl=10m`
	return c
}

// made puts a body at a path and says what became of it.
func made(c *cobra.Command, cl *client, path, what string, body any, again string) error {
	status, err := cl.ask(c.Context(), http.MethodPut, path, body, nil)
	if err != nil {
		return err
	}
	done := "declared"
	if status == http.StatusNoContent {
		done = again
	}
	fmt.Fprintf(c.OutOrStdout(), "%s: %s\n", cleanLine(what), done)
	return nil
}

// What is said of what was there.
const (
	wasThere = "was there, with these settings"
	changed  = "changed"
)

// setting is a flag that is one of a queue's arguments.
type setting struct {
	flag, argument, usage string
	read                  func(string) (any, error)
}

func readNumber(text string) (any, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%q is no whole number", text)
	}
	return n, nil
}

func readText(text string) (any, error) { return text, nil }

func readBool(text string) (any, error) {
	v, err := strconv.ParseBool(text)
	if err != nil {
		return nil, fmt.Errorf("%q is neither true nor false", text)
	}
	return v, nil
}

// readMillis reads a time as 10m or 1h30m, or milliseconds as a number.
func readMillis(text string) (any, error) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, nil
	}
	d, err := parseSpan(text)
	if err != nil {
		return nil, err
	}
	return d.Milliseconds(), nil
}

// readSize reads bytes, as 10MiB or a number.
func readSize(text string) (any, error) {
	for _, unit := range []struct {
		suffix string
		bytes  float64
	}{
		{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"", 1},
	} {
		number, ok := strings.CutSuffix(text, unit.suffix)
		if !ok {
			continue
		}
		f, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || f < 0 || f*unit.bytes > math.MaxInt64/2 {
			return nil, fmt.Errorf("%q is no size; one is written 10MiB or 1000", text)
		}
		return int64(f * unit.bytes), nil
	}
	return nil, nil // the last suffix is in every text
}

var queueSettings = []setting{
	{"type", "x-queue-type", "classic, quorum or stream, default that of the virtual host", readText},
	{"ttl", "x-message-ttl", "messages expire after this time, as 10m or milliseconds", readMillis},
	{"expires", "x-expires", "the queue goes when nobody used it for this time", readMillis},
	{"max-length", "x-max-length", "most messages in it", readNumber},
	{"max-bytes", "x-max-length-bytes", "most bytes in it, as 10MiB", readSize},
	{"overflow", "x-overflow", "what goes when it is full: drop-head, reject-publish or reject-publish-dlx", readText},
	{"dead-letter-exchange", "x-dead-letter-exchange", "exchange for what is rejected, expires or is too much", readText},
	{"dead-letter-key", "x-dead-letter-routing-key", "key for those, default their own", readText},
	{"delivery-limit", "x-delivery-limit", "how often a message may come back before it is a dead letter", readNumber},
	{"max-priority", "x-max-priority", "priorities of messages from 0 to this", readNumber},
	{"single-active-consumer", "x-single-active-consumer", "one consumer at a time: true", readBool},
	{"retention", "x-retention", "how long messages stay for readers although they were worked off, as 7D", readText},
	{"max-age", "x-max-age", "of a stream: how long messages stay, as 7D", readText},
}

// settingFlags gives a command the flags of a table and --argument, and returns what reads the arguments of a declaration from them.
func settingFlags(c *cobra.Command, table []setting) func() (map[string]any, error) {
	values := make([]string, len(table))
	for i, s := range table {
		c.Flags().StringVar(&values[i], s.flag, "", s.usage+" ["+s.argument+"]")
	}
	more := argumentFlag(c, "any other setting, NAME=VALUE; may be given several times")
	return func() (map[string]any, error) {
		said := map[string]any{}
		for i, s := range table {
			if !c.Flags().Changed(s.flag) {
				continue
			}
			v, err := s.read(values[i])
			if err != nil {
				return nil, usagef("--%s: %v", s.flag, err)
			}
			said[s.argument] = v
		}
		return said, more(said)
	}
}

// argumentFlag gives a command --argument, and returns what reads it.
func argumentFlag(c *cobra.Command, usage string) func(map[string]any) error {
	var list []string
	c.Flags().StringArrayVarP(&list, "argument", "a", nil, usage)
	return func(into map[string]any) error { return readPairs("--argument", list, into) }
}

// readPairs reads words NAME=VALUE.
func readPairs(what string, words []string, into map[string]any) error {
	for _, w := range words {
		name, value, ok := strings.Cut(w, "=")
		if !ok || name == "" {
			return usagef("%s: %q should be NAME=VALUE", what, w)
		}
		into[name] = readValue(value)
	}
	return nil
}

// readValue reads what is JSON as that, and all else as text: 10 is a number, "10" and ten are texts.
func readValue(text string) any {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil || v == nil || d.InputOffset() != int64(len(text)) {
		return text
	}
	return v
}

func declareQueue() *cobra.Command {
	c := &cobra.Command{
		Use: "queue NAME", Short: "Make a queue", Args: takes(1, 1, "the name"),
		Long: "Makes a queue, durable unless said otherwise. A queue is a topic, too: Kafka clients find it by its name.\nAll settings are in docs/settings.md; those without a flag are given with --argument.",
		Example: `  leveret declare queue jobs
  leveret declare queue jobs --type quorum --dead-letter-exchange dead --delivery-limit 5
  leveret declare queue events --type stream --max-age 7D
  leveret declare queue cache --ttl 10m --max-length 1000 --durable=false`,
	}
	t := reach(c)
	t.inVHost(c, inOne)
	var durable, autoDelete bool
	c.Flags().BoolVar(&durable, "durable", true, "it outlives the broker")
	c.Flags().BoolVar(&autoDelete, "auto-delete", false, "it goes with its last consumer")
	arguments := settingFlags(c, queueSettings)
	_ = c.RegisterFlagCompletionFunc("type", cobra.FixedCompletions([]string{"classic", "quorum", "stream"}, cobra.ShellCompDirectiveNoFileComp))
	c.RunE = func(c *cobra.Command, args []string) error {
		said, err := arguments()
		if err != nil {
			return err
		}
		cl, err := t.settle(c)
		if err != nil {
			return err
		}
		if args[0] == "" {
			return usagef("the name of the queue is empty")
		}
		body := map[string]any{"durable": durable, "auto_delete": autoDelete, "arguments": said}
		return missing(made(c, cl, at("queues", t.vhost, args[0]), "queue "+args[0], body, wasThere), "virtual host", t.vhost, "", "vhosts")
	}
	return c
}

var exchangeSettings = []setting{
	{"alternate-exchange", "alternate-exchange", "exchange for what no binding takes", readText},
}

func declareExchange() *cobra.Command {
	c := &cobra.Command{
		Use: "exchange NAME", Short: "Make an exchange", Args: takes(1, 1, "the name"),
		Example: `  leveret declare exchange logs --type topic
  leveret declare exchange later --type x-delayed-message -a x-delayed-type=direct`,
	}
	t := reach(c)
	t.inVHost(c, inOne)
	var kind string
	var durable, autoDelete, internal bool
	c.Flags().StringVar(&kind, "type", "direct", "direct, fanout, topic, headers, x-consistent-hash, x-random, x-delayed-message, …")
	c.Flags().BoolVar(&durable, "durable", true, "it outlives the broker")
	c.Flags().BoolVar(&autoDelete, "auto-delete", false, "it goes with its last binding")
	c.Flags().BoolVar(&internal, "internal", false, "only exchanges may publish to it")
	arguments := settingFlags(c, exchangeSettings)
	_ = c.RegisterFlagCompletionFunc("type", cobra.FixedCompletions([]string{"direct", "fanout", "topic", "headers", "x-consistent-hash", "x-random", "x-delayed-message"}, cobra.ShellCompDirectiveNoFileComp))
	c.RunE = func(c *cobra.Command, args []string) error {
		said, err := arguments()
		if err != nil {
			return err
		}
		cl, err := t.settle(c)
		if err != nil {
			return err
		}
		if args[0] == "" {
			return usagef("the default exchange is there by itself; a new one needs a name")
		}
		body := map[string]any{"type": kind, "durable": durable, "auto_delete": autoDelete, "internal": internal, "arguments": said}
		return missing(made(c, cl, at("exchanges", t.vhost, args[0]), "exchange "+args[0], body, wasThere), "virtual host", t.vhost, "", "vhosts")
	}
	return c
}

func declareVHost() *cobra.Command {
	c := &cobra.Command{
		Use: "vhost NAME", Aliases: []string{"virtual-host"}, Short: "Make a virtual host; you may do everything in it", Args: takes(1, 1, "the name"),
		Example: "  leveret declare vhost shop --description 'orders and stock'",
	}
	t := reach(c)
	var description, tags, kind string
	c.Flags().StringVar(&description, "description", "", "what it is for")
	c.Flags().StringVar(&tags, "tags", "", "words to find it by, with commas")
	c.Flags().StringVar(&kind, "default-queue-type", "", "type of queues that are declared without one")
	c.RunE = func(c *cobra.Command, args []string) error {
		cl, err := t.settle(c)
		if err != nil {
			return err
		}
		body := map[string]any{"description": description, "tags": tags}
		if kind != "" {
			body["default_queue_type"] = kind
		}
		return made(c, cl, at("vhosts", args[0]), "virtual host "+args[0], body, changed)
	}
	return c
}

func declareUser() *cobra.Command {
	c := &cobra.Command{
		Use: "user NAME", Short: "Make a user, or give one another password", Args: takes(1, 1, "the name"),
		Long: `Makes a user. The password is asked for on the terminal, or read from a file or standard input. Who has no permissions
may log in and enter no virtual host: leveret declare permissions gives some.`,
		Example: `  leveret declare user ann --tags management
  leveret declare user worker --new-password-file secret.txt
  echo s3cret | leveret declare user ann --new-password-file -`,
	}
	t := reach(c)
	var p newPassword
	var tags string
	p.flags(c)
	c.Flags().StringVar(&tags, "tags", "", "what the user may do beside messages, with commas: management, policymaker, monitoring, administrator")
	c.Flags().BoolVar(&p.none, "no-password", false, "nobody logs in as this user with a password")
	c.RunE = func(c *cobra.Command, args []string) error {
		password, err := p.read(c, args[0])
		if err != nil {
			return err
		}
		cl, err := t.settle(c)
		if err != nil {
			return err
		}
		body := map[string]any{"tags": tags}
		if p.none {
			body["password_hash"] = ""
		} else {
			body["password"] = password
		}
		return made(c, cl, at("users", args[0]), "user "+args[0], body, changed)
	}
	return c
}

// newPassword is where one comes from.
type newPassword struct {
	text, file string
	none       bool
}

func (p *newPassword) flags(c *cobra.Command) {
	c.Flags().StringVar(&p.text, "new-password", "", "the user's password; others on this machine may see it while the command runs")
	c.Flags().StringVar(&p.file, "new-password-file", "", "file whose first line is the password; - is standard input")
}

// read finds the password.
func (p *newPassword) read(c *cobra.Command, user string) (string, error) {
	switch {
	case p.none:
		return "", nil
	case p.text != "":
		return p.text, nil
	case p.file == "-":
		return firstLine(c.InOrStdin())
	case p.file != "":
		f, err := os.Open(p.file)
		if err != nil {
			return "", fmt.Errorf("--new-password-file: %w", err)
		}
		defer f.Close()
		return firstLine(f)
	}
	text, err := askPassword(c, fmt.Sprintf("New password of %s: ", cleanLine(user)))
	if err != nil {
		return "", usagef("the password of user %s is missing: give it with --new-password-file, or - for standard input; --no-password makes a user without one", user)
	}
	again, err := askPassword(c, "Once more: ")
	switch {
	case err != nil:
		return "", err
	case text == "":
		return "", usagef("an empty password is refused")
	case text != again:
		return "", usagef("these are two passwords: nothing was done")
	}
	return text, nil
}

// firstLine is a file's, without its end.
func firstLine(r io.Reader) (string, error) {
	text, err := io.ReadAll(io.LimitReader(r, 64<<10))
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", usagef("the password is empty: it should be the first line")
	}
	return line, nil
}

func declareTags() *cobra.Command {
	c := &cobra.Command{
		Use: "tags USER [TAG…]", Short: "Give a user tags in place of those there are; none takes all away", Args: takes(1, -1, "the name of the user"),
		Example: "  leveret set tags ann management policymaker",
	}
	t := reach(c)
	c.ValidArgsFunction = completeNames("users", "name")
	c.RunE = func(c *cobra.Command, args []string) error {
		cl, err := t.settle(c)
		if err != nil {
			return err
		}
		if err := setTags(c, cl, args[0], args[1:]); err != nil {
			return err
		}
		fmt.Fprintf(c.OutOrStdout(), "user %s: tags are %s\n", cleanLine(args[0]), cleanLine(plain(anyList(args[1:]))))
		return nil
	}
	return c
}

func anyList(words []string) []any {
	out := make([]any, len(words))
	for i, w := range words {
		out[i] = w
	}
	return out
}

// setTags changes the tags of a user and leaves the password.
func setTags(c *cobra.Command, cl *client, user string, tags []string) error {
	var now struct {
		Hash      string `json:"password_hash"`
		Algorithm string `json:"hashing_algorithm"`
	}
	if err := cl.get(c.Context(), at("users", user), &now); err != nil {
		return missing(err, "user", user, "", "users")
	}
	body := map[string]any{"password_hash": now.Hash, "tags": strings.Join(tags, ",")}
	if now.Algorithm != "" {
		body["hashing_algorithm"] = now.Algorithm
	}
	_, err := cl.ask(c.Context(), http.MethodPut, at("users", user), body, nil)
	return err
}

func declarePermissions() *cobra.Command {
	c := &cobra.Command{
		Use: "permissions USER", Aliases: []string{"permission"}, Short: "Say what a user may do in a virtual host", Args: takes(1, 1, "the name of the user"),
		Long: `Says what a user may do in a virtual host: three regular expressions for the names of queues and exchanges. They are not
anchored: ^ann\. is what begins so. An empty one matches no name.`,
		Example: `  leveret declare permissions ann
  leveret declare permissions ann --vhost shop --configure '^ann\.' --write '^(ann\.|amq\.)' --read '.*'`,
	}
	t := reach(c)
	t.inVHost(c, inOne)
	var configure, write, read string
	c.Flags().StringVar(&configure, "configure", ".*", "names that the user may declare and delete")
	c.Flags().StringVar(&write, "write", ".*", "names that the user may publish to")
	c.Flags().StringVar(&read, "read", ".*", "names that the user may consume from")
	c.ValidArgsFunction = completeNames("users", "name")
	c.RunE = func(c *cobra.Command, args []string) error {
		cl, err := t.settle(c)
		if err != nil {
			return err
		}
		body := map[string]any{"configure": configure, "write": write, "read": read}
		return made(c, cl, at("permissions", t.vhost, args[0]), fmt.Sprintf("permissions of %s in %s", args[0], t.vhost), body, changed)
	}
	return c
}

func declareTopicPermissions() *cobra.Command {
	c := &cobra.Command{
		Use: "topic-permissions USER EXCHANGE", Aliases: []string{"topic-permission"}, Short: "Say which keys of a topic exchange a user may use", Args: takes(2, 2, "the name of the user", "the name of the exchange"),
		Example: `  leveret declare topic-permissions ann logs --write '^ann\.' --read '.*'`,
	}
	t := reach(c)
	t.inVHost(c, inOne)
	var write, read string
	c.Flags().StringVar(&write, "write", ".*", "keys that the user may publish with")
	c.Flags().StringVar(&read, "read", ".*", "keys that the user may bind with")
	c.RunE = func(c *cobra.Command, args []string) error {
		cl, err := t.settle(c)
		if err != nil {
			return err
		}
		body := map[string]any{"exchange": args[1], "write": write, "read": read}
		return made(c, cl, at("topic-permissions", t.vhost, args[0]), fmt.Sprintf("topic permissions of %s in %s", args[0], t.vhost), body, changed)
	}
	return c
}

func declarePolicy(name, list, what string) *cobra.Command {
	c := &cobra.Command{
		Use: name + " NAME PATTERN SETTING=VALUE…", Short: "Make " + what, Args: takes(3, -1, "the name", "the pattern", "a setting"),
		Long: "Makes " + what + ".\nThe settings may also be one JSON object, as for rabbitmqctl. Names are those of docs/settings.md without x-.",
		Example: fmt.Sprintf(`  leveret declare %s short '^tmp\.' max-length=1000 message-ttl=600000 --apply-to queues
  leveret declare %s short '^tmp\.' '{"max-length": 1000}' --priority 5`, name, name),
	}
	t := reach(c)
	t.inVHost(c, inOne)
	var priority int
	var applyTo string
	c.Flags().IntVar(&priority, "priority", 0, "of two that match, the one with the higher holds")
	c.Flags().StringVar(&applyTo, "apply-to", "all", "all, queues, classic_queues, quorum_queues, streams or exchanges")
	c.RunE = func(c *cobra.Command, args []string) error {
		definition, err := readDefinition(args[2:])
		if err != nil {
			return err
		}
		cl, err := t.settle(c)
		if err != nil {
			return err
		}
		body := map[string]any{"pattern": args[1], "definition": definition, "priority": priority, "apply-to": applyTo}
		return missing(made(c, cl, at(list, t.vhost, args[0]), name+" "+args[0], body, changed), "virtual host", t.vhost, "", "vhosts")
	}
	return c
}

// readDefinition reads settings of a policy: words NAME=VALUE, or an object.
func readDefinition(words []string) (any, error) {
	if len(words) == 1 && strings.HasPrefix(strings.TrimSpace(words[0]), "{") {
		var raw map[string]json.RawMessage
		if err := json.Unmarshal([]byte(words[0]), &raw); err != nil {
			return nil, usagef("the settings are no JSON object: %v", err)
		}
		return raw, nil
	}
	out := map[string]any{}
	if err := readPairs("settings", words, out); err != nil {
		return nil, err
	}
	for _, name := range []string{"message-ttl", "expires", "delayed-retry-min", "delayed-retry-max"} {
		text, ok := out[name].(string)
		if !ok {
			continue
		}
		ms, err := readMillis(text)
		if err != nil {
			return nil, usagef("%s: %v", name, err)
		}
		out[name] = ms
	}
	return out, nil
}
