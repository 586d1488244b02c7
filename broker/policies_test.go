package broker

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/internal/audit"
)

// policy sets a policy for what begins with a prefix.
func (r *rig) policy(name, prefix, definition string, edit ...func(*SettingPolicy)) {
	r.t.Helper()
	p := SettingPolicy{Name: name, Pattern: "^" + prefix, Definition: json.RawMessage(definition)}
	for _, e := range edit {
		e(&p)
	}
	if err := r.v.PutPolicies(audit.Process("test"), p); err != nil {
		r.t.Fatal(err)
	}
}

func priority(n int64) func(*SettingPolicy) { return func(p *SettingPolicy) { p.Priority = n } }
func to(what string) func(*SettingPolicy)   { return func(p *SettingPolicy) { p.ApplyTo = what } }
func byOperator(p *SettingPolicy)           { p.Operator = true }

func (r *rig) unpolicy(name string) {
	r.t.Helper()
	if err := r.v.DeletePolicy(audit.Process("test"), name, false); err != nil {
		r.t.Fatal(err)
	}
}

// TestWrongPoliciesAreRefusedInRabbitMQsWords has the words as RabbitMQ 4.0 writes them.
func TestWrongPoliciesAreRefusedInRabbitMQsWords(t *testing.T) {
	ok := SettingPolicy{Name: "p", Pattern: "x", Definition: json.RawMessage(`{"max-length":3}`)}
	for name, c := range map[string]struct {
		edit func(*SettingPolicy)
		want string
	}{
		"unknown key":              {func(p *SettingPolicy) { p.Definition = json.RawMessage(`{"bogus":3}`) }, `[{<<"bogus">>,3}] are not recognised policy settings`},
		"two of them":              {func(p *SettingPolicy) { p.Definition = json.RawMessage(`{"ha-mode":"all","a":[1]}`) }, `[{<<"a">>,[1]},{<<"ha-mode">>,<<"all">>}] are not recognised policy settings`},
		"empty key":                {func(p *SettingPolicy) { p.Definition = json.RawMessage(`{"":3}`) }, `[{<<"">>,3}] are not recognised`},
		"negative":                 {func(p *SettingPolicy) { p.Definition = json.RawMessage(`{"max-length":-3}`) }, `-3 is not a valid maximum length`},
		"a number as text":         {func(p *SettingPolicy) { p.Definition = json.RawMessage(`{"max-length":"3"}`) }, `<<"3">> is not a valid maximum length`},
		"a fraction":               {func(p *SettingPolicy) { p.Definition = json.RawMessage(`{"max-length":3.5}`) }, `3.5 is not a valid maximum length`},
		"a number as name":         {func(p *SettingPolicy) { p.Definition = json.RawMessage(`{"dead-letter-exchange":3}`) }, `3 is not a valid dead letter exchange name`},
		"alternate":                {func(p *SettingPolicy) { p.Definition = json.RawMessage(`{"alternate-exchange":true}`) }, `true is not a valid alternate exchange name`},
		"never expires":            {func(p *SettingPolicy) { p.Definition = json.RawMessage(`{"expires":0}`) }, `0 is not a valid queue expiry`},
		"no such word":             {func(p *SettingPolicy) { p.Definition = json.RawMessage(`{"overflow":"drop"}`) }, `<<"drop">> is not a valid overflow value`},
		"an age":                   {func(p *SettingPolicy) { p.Definition = json.RawMessage(`{"max-age":"7"}`) }, `<<"7">> is not a valid max age`},
		"too large a segment":      {func(p *SettingPolicy) { p.Definition = json.RawMessage(`{"stream-max-segment-size-bytes":3000000001}`) }, `3000000001 is not a valid segment size`},
		"a filter":                 {func(p *SettingPolicy) { p.Definition = json.RawMessage(`{"stream-filter-size-bytes":15}`) }, `15 is not a valid filter size. Valid range is 16-255`},
		"a timeout":                {func(p *SettingPolicy) { p.Definition = json.RawMessage(`{"consumer-timeout":-1}`) }, `-1 is not a valid consumer timeout`},
		"a table":                  {func(p *SettingPolicy) { p.Definition = json.RawMessage(`{"max-length":{"a":null}}`) }, `#{<<"a">> => null} is not a valid maximum length`},
		"nothing":                  {func(p *SettingPolicy) { p.Definition = json.RawMessage(`{}`) }, `no policy provided`},
		"no object":                {func(p *SettingPolicy) { p.Definition = json.RawMessage(`[1]`) }, `definition must be a dictionary: [1]`},
		"no JSON":                  {func(p *SettingPolicy) { p.Definition = json.RawMessage(`{`) }, `Could not parse JSON document`},
		"pattern":                  {func(p *SettingPolicy) { p.Pattern = "(x" }, "pattern should be regular expression but is invalid: invalid regular expression \"(x\": missing closing )"},
		"a pattern that RE2 lacks": {func(p *SettingPolicy) { p.Pattern = "^(?!amq)" }, "look"},
		"a long pattern":           {func(p *SettingPolicy) { p.Pattern = strings.Repeat("x", 9000) }, "longer than the maximum of 8192"},
		"apply-to":                 {func(p *SettingPolicy) { p.ApplyTo = "foo" }, `apply-to 'foo' unrecognised; should be one of: 'queues', 'classic_queues',  'quorum_queues', 'streams', 'exchanges', or 'all'`},
		"a long definition": {func(p *SettingPolicy) {
			p.Definition = json.RawMessage(`{"dead-letter-exchange":"` + strings.Repeat("x", 20000) + `"}`)
		}, "definition must not exceed"},
		"no name":                 {func(p *SettingPolicy) { p.Name = "" }, "name must be"},
		"an operator's alternate": {func(p *SettingPolicy) { p.Operator, p.Definition = true, json.RawMessage(`{"alternate-exchange":"a"}`) }, `[{<<"alternate-exchange">>,<<"a">>}] are not recognised`},
		"an operator's exchange": {func(p *SettingPolicy) {
			p.Operator, p.Definition = true, json.RawMessage(`{"dead-letter-exchange":"x"}`)
		}, `[{<<"dead-letter-exchange">>,<<"x">>}] are not recognised policy settings`},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			p := ok
			c.edit(&p)
			err := r.v.PutPolicies(audit.Process("test"), ok, p)
			if KindOf(err) != BadSetting || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
			if err := CheckPolicy(p); err == nil {
				t.Error("the check takes it")
			}
			if n := len(r.v.Policies()); n != 0 {
				t.Errorf("%d policies of a list with a wrong one are set", n)
			}
		})
	}
}

func TestOnePolicyAppliesToEachThing(t *testing.T) {
	r := start(t)
	limit := func(n int) string { return fmt.Sprintf(`{"max-length":%d}`, n) }
	r.policy("low", "q", limit(1), priority(-1))
	r.policy("old", "q", limit(2))
	r.policy("new", "q", limit(3))
	r.policy("other", "other", limit(4), priority(9))
	r.policy("anywhere", ".*x", limit(5), priority(7))
	r.policy("streams only", "q", `{"max-age":"1h"}`, priority(6))
	r.policy("quorum only", "q", `{"delivery-limit":5,"max-length":6}`, priority(5))
	r.policy("exchanges", "q", limit(7), priority(8), to("exchanges"))
	check := func() {
		t.Helper()
		for name, want := range map[string]string{"q1": "new", "aq": "", "qx": "anywhere", "quorum": "quorum only", "qstream": "streams only", "other": "other", "Q": ""} {
			q, err := r.v.Queue(name)
			if err != nil {
				t.Fatal(err)
			}
			if got := q.Policies().Policy; got != want {
				t.Errorf("%q applies to %s, want %q", got, name, want)
			}
		}
		for name, want := range map[string]string{"q": "exchanges", "xx": "anywhere", "": ""} {
			x, _ := r.v.Exchange(name)
			if got := x.Policies().Policy; got != want {
				t.Errorf("%q applies to exchange %s, want %q", got, name, want)
			}
		}
	}
	for _, name := range []string{"q1", "aq", "qx", "other", "Q"} {
		r.queue(name, QueueOptions{Durable: true})
	}
	r.queue("quorum", QueueOptions{Durable: true, Args: arguments("x-queue-type", "quorum")})
	r.stream("qstream")
	r.exchange("q", "fanout")
	r.exchange("xx", "fanout")
	check()
	r.restart()
	check()
	// The older one is the newest once it is another; one that is not is not.
	r.policy("new", "q", limit(3))
	r.policy("old", "q", limit(2))
	check()
	r.policy("old", "q", limit(22))
	if q, _ := r.v.Queue("q1"); q.Policies().Policy != "old" || q.Settings().MaxLength != 22 {
		t.Errorf("%+v", q.Policies())
	}
	r.unpolicy("old")
	check()
	if err := r.v.DeletePolicy(audit.Process("test"), "old", false); KindOf(err) != NotFound {
		t.Errorf("a second time: %v", err)
	}
	if err := r.v.DeletePolicy(audit.Process("test"), "new", true); KindOf(err) != NotFound {
		t.Errorf("an operator's: %v", err)
	}
}

// TestTheFirstPolicyIsTheOneThatTryingAllFinds looks names up in lists of policies whose patterns begin alike, or begin with nothing.
func TestTheFirstPolicyIsTheOneThatTryingAllFinds(t *testing.T) {
	patterns := []string{"", ".*", "^", "^a", "^ab", "^ab$", "^abc", "^abc|b", "^b", "b", "^(ab|b)", "^é", "c$", "^abca"}
	names := []string{"", "a", "ab", "abc", "abca", "b", "bc", "é", "x", "cab"}
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var list []*policyRule
		for i := range random.IntN(12) {
			r, err := newRule(SettingPolicy{Name: fmt.Sprint(i), Operator: random.IntN(3) == 0, Pattern: patterns[random.IntN(len(patterns))],
				ApplyTo: []string{"all", "queues", "exchanges"}[random.IntN(3)], Priority: int64(random.IntN(3)), Definition: json.RawMessage(`{"max-length":1}`)})
			if err != nil {
				t.Fatal(err)
			}
			r.serial = uint64(i)
			list = append(list, r)
		}
		set := (*policySet)(nil).with(list, nil)
		for _, name := range names {
			for kind, got := range map[string]matched{"queue": set.queue(name, classic), "exchange": set.exchange(name)} {
				applies := func(r *policyRule) bool { return r.forQueue(name, classic) }
				if kind == "exchange" {
					applies = func(r *policyRule) bool { return name != "" && r.forExchange(name) }
				}
				first := func(list []*policyRule) *policyRule {
					if i := slices.IndexFunc(list, applies); i >= 0 {
						return list[i]
					}
					return nil
				}
				if want := (matched{first(set.user), first(set.operator)}); got != want {
					t.Fatalf("%s %q: %+v, not %+v", kind, name, got, want)
				}
			}
		}
	}
}

// BenchmarkPolicies finds what applies to a queue among so many policies, each for the queues of one tenant.
func BenchmarkPolicies(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var list []*policyRule
			for i := range n {
				r, err := newRule(SettingPolicy{Name: fmt.Sprint(i), Pattern: fmt.Sprintf(`^tenant%d\.`, i), Definition: json.RawMessage(`{"max-length":1}`)})
				if err != nil {
					b.Fatal(err)
				}
				list = append(list, r)
			}
			set := (*policySet)(nil).with(list, nil)
			for b.Loop() {
				if set.queue("tenant5.orders", classic).user != list[5] || set.queue("orders", classic).user != nil {
					b.Fatal("another policy")
				}
			}
		})
	}
}

func TestApplyToChoosesTypes(t *testing.T) {
	r := start(t)
	all := map[string]func() AppliedPolicies{}
	add := func(name string, q *Queue) { all[name] = q.Policies }
	add("classic", r.queue("qc", QueueOptions{}))
	add("quorum", r.queue("qq", QueueOptions{Durable: true, Args: arguments("x-queue-type", "quorum")}))
	add("stream", r.stream("qs"))
	topic, err := r.s.CreateTopic("qt", 2, nil)
	if err != nil {
		t.Fatal(err)
	}
	add("topic", topic)
	x, err := r.s.DeclareExchange("qx", ExchangeOptions{Type: "direct"})
	if err != nil {
		t.Fatal(err)
	}
	all["exchange"] = x.Policies
	for what, want := range map[string]string{
		"all": "classic exchange quorum stream topic", "queues": "classic quorum stream topic", "classic_queues": "classic",
		"quorum_queues": "quorum", "streams": "stream topic", "exchanges": "exchange", "": "classic exchange quorum stream topic",
	} {
		r.policy("p", "q", `{"max-length-bytes":5}`, to(what))
		var got []string
		for name, applied := range all {
			if applied().Policy != "" {
				got = append(got, name)
			}
		}
		slices.Sort(got)
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%q applies to %s, want %s", what, s, want)
		}
	}
}

// TestPoliciesAreMergedAsRabbitMQDoes goes through the table of docs: declared, policy, operator's.
func TestPoliciesAreMergedAsRabbitMQDoes(t *testing.T) {
	for name, c := range map[string]struct {
		kind             string
		args             []any
		policy, operator string
		setting          string // argument
		want             string
		effective        string
	}{
		"lesser: the argument's":        {"classic", []any{"x-max-length", 3}, `{"max-length":5}`, ``, "x-max-length", "3", `{"max-length":5}`},
		"lesser: the policy's":          {"classic", []any{"x-max-length", 7}, `{"max-length":5}`, ``, "x-max-length", "5", `{"max-length":5}`},
		"lesser: the operator's":        {"classic", []any{"x-max-length", 7}, `{"max-length":5}`, `{"max-length":4}`, "x-max-length", "4", `{"max-length":4}`},
		"lesser: beside the operator's": {"classic", nil, `{"max-length":5}`, `{"max-length":6,"expires":700000}`, "x-max-length", "5", `{"expires":700000,"max-length":5}`},
		"the operator's alone":          {"classic", nil, ``, `{"message-ttl":6}`, "x-message-ttl", "6", `{"message-ttl":6}`},
		"ttl":                           {"quorum", []any{"x-message-ttl", 9}, `{"message-ttl":6}`, ``, "x-message-ttl", "6", `{"message-ttl":6}`},
		"expires":                       {"classic", []any{"x-expires", 900000}, `{"expires":600000}`, ``, "x-expires", "600000", `{"expires":600000}`},
		"no delivery limit declared":    {"quorum", []any{"x-delivery-limit", -1}, `{"delivery-limit":6}`, ``, "x-delivery-limit", "6", `{"delivery-limit":6}`},
		"no delivery limit by policy":   {"quorum", []any{"x-delivery-limit", 4}, `{"delivery-limit":-1}`, ``, "x-delivery-limit", "4", `{"delivery-limit":-1}`},
		"no limit of the operator's":    {"quorum", nil, `{"delivery-limit":6}`, `{"delivery-limit":-1}`, "x-delivery-limit", "6", `{"delivery-limit":6}`},
		"no limit but the operator's":   {"quorum", nil, `{"delivery-limit":-1}`, `{"delivery-limit":8}`, "x-delivery-limit", "8", `{"delivery-limit":8}`},
		"argument: dead letters":        {"classic", []any{"x-dead-letter-exchange", "a"}, `{"dead-letter-exchange":"b"}`, ``, "x-dead-letter-exchange", "Sa", `{"dead-letter-exchange":"b"}`},
		"overflow: the argument's":      {"classic", []any{"x-overflow", "drop-head"}, `{"overflow":"reject-publish"}`, ``, "x-overflow", "drop-head", `{"overflow":"reject-publish"}`},
		"overflow: of a quorum queue":   {"quorum", []any{"x-overflow", "drop-head"}, `{"overflow":"reject-publish"}`, ``, "x-overflow", "reject-publish", `{"overflow":"reject-publish"}`},
		"overflow: the operator's":      {"classic", nil, `{"overflow":"reject-publish"}`, `{"overflow":"drop-head"}`, "x-overflow", "drop-head", `{"overflow":"drop-head"}`},
		"timeout":                       {"classic", []any{"x-consumer-timeout", 5000}, `{"consumer-timeout":3000}`, ``, "x-consumer-timeout", "l3000", `{"consumer-timeout":3000}`},
		"stream: the policy's":          {"stream", []any{"x-max-length-bytes", 3}, `{"max-length-bytes":5}`, ``, "x-max-length-bytes", "5", `{"max-length-bytes":5}`},
		"stream: age":                   {"stream", []any{"x-max-age", "1h"}, `{"max-age":"2h"}`, ``, "x-max-age", "7200000", `{"max-age":"2h"}`},
		"a very long time":              {"classic", nil, `{"message-ttl":999999999999999}`, ``, "x-message-ttl", "315360000000", `{"message-ttl":999999999999999}`},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			args := c.args
			if c.kind != "classic" {
				args = append(args, "x-queue-type", c.kind)
			}
			var before, after *Queue
			before = r.queue("q-before", QueueOptions{Durable: true, Args: arguments(args...)})
			old := before.Settings()
			if c.policy != "" {
				r.policy("p", "q", c.policy)
			}
			if c.operator != "" {
				r.policy("p", "q", c.operator, byOperator)
			}
			after = r.queue("q-after", QueueOptions{Durable: true, Args: arguments(args...)})
			check := func() {
				t.Helper()
				for _, name := range []string{"q-before", "q-after"} {
					q, _ := r.v.Queue(name)
					if v, _ := q.Settings().Value(byArg(c.setting)); v != c.want {
						t.Errorf("%s of %s is %s, want %s", c.setting, name, v, c.want)
					}
					d, _ := compactJSON(q.Policies().Definition)
					if string(d) != c.effective {
						t.Errorf("together they say %s, want %s", d, c.effective)
					}
				}
			}
			check()
			if before.Settings() != after.Settings() {
				t.Error("two queues that declare the same have two settings")
			}
			r.restart()
			check()
			if c.policy != "" {
				r.unpolicy("p")
			}
			if c.operator != "" {
				if err := r.v.DeletePolicy(audit.Process("test"), "p", true); err != nil {
					t.Fatal(err)
				}
			}
			q, _ := r.v.Queue("q-before")
			if v, _ := q.Settings().Value(byArg(c.setting)); v != old.value(byArg(c.setting)) {
				t.Errorf("without them %s is %s, want %s", c.setting, v, old.value(byArg(c.setting)))
			}
			if a := q.Policies(); a.Policy+a.OperatorPolicy != "" || a.Definition != nil {
				t.Errorf("%+v", a)
			}
			if _, err := r.s.DeclareQueue("q-before", QueueOptions{Durable: true, Args: arguments(args...)}); err != nil {
				t.Errorf("a second declaration: %v", err)
			}
		})
	}
}

// TestATopicsConfigsAreDeclared has what a Kafka client sets hold over a policy, but for a narrower limit.
func TestATopicsConfigsAreDeclared(t *testing.T) {
	r := start(t)
	q, err := r.s.CreateTopic("t", 1, configs("retention.ms", "5000", "retention.bytes", "100"))
	if err != nil {
		t.Fatal(err)
	}
	r.policy("p", "t", `{"max-age":"1h","max-length-bytes":50,"stream-max-segment-size-bytes":100000}`)
	check := func(config, want string, from SettingSource) {
		t.Helper()
		q, _ := r.v.Queue("t")
		if v, who := q.Settings().Value(TopicSetting(config)); v != want || who != from {
			t.Errorf("%s is %s from %d, want %s from %d", config, v, who, want, from)
		}
	}
	check("retention.ms", "5000", FromDeclared)
	check("retention.bytes", "50", FromPolicy)
	check("segment.bytes", "100000", FromPolicy)
	if err := r.s.SetConfig(q, map[string]*string{"retention.ms": nil, "retention.bytes": new(string)}); err == nil {
		t.Error("an empty limit is taken")
	}
	if err := r.s.SetConfig(q, map[string]*string{"retention.ms": nil, "segment.bytes": configs("a", "70000")["a"]}); err != nil {
		t.Fatal(err)
	}
	check("retention.ms", "3600000", FromPolicy)
	check("segment.bytes", "70000", FromDeclared)
	r.restart()
	check("retention.ms", "3600000", FromPolicy)
	r.unpolicy("p")
	check("retention.ms", "604800000", FromDefault)
	check("retention.bytes", "100", FromDeclared)
	check("segment.bytes", "70000", FromDeclared)
}
