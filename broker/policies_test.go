package broker

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/audit"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/store"
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
		"lesser: beside the operator's": {"classic", nil, `{"max-length":5}`, `{"max-length":6,"expires":7}`, "x-max-length", "5", `{"expires":7,"max-length":5}`},
		"the operator's alone":          {"classic", nil, ``, `{"message-ttl":6}`, "x-message-ttl", "6", `{"message-ttl":6}`},
		"ttl":                           {"quorum", []any{"x-message-ttl", 9}, `{"message-ttl":6}`, ``, "x-message-ttl", "6", `{"message-ttl":6}`},
		"expires":                       {"classic", []any{"x-expires", 9}, `{"expires":6}`, ``, "x-expires", "6", `{"expires":6}`},
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

func TestAPolicyCutsALiveQueueAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		definition string
		left       int64
	}{
		"by messages": {`{"max-length":3}`, 3},
		"by bytes":    {`{"max-length-bytes":5}`, 5},
		"to nothing":  {`{"max-length":0}`, 0},
		"refusing":    {`{"max-length":3,"overflow":"reject-publish"}`, 10},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				q := r.queue("q", QueueOptions{Durable: true})
				r.fill("q", strings.Split("0123456789", "")...)
				r.policy("p", "q", c.definition)
				time.Sleep(time.Second) // nobody asks
				if n := r.leftBy()[LengthLimit]; int64(n) != 10-c.left {
					t.Errorf("%d went", n)
				}
				if n := q.Ready(); n != c.left {
					t.Errorf("%d are left, want %d", n, c.left)
				}
				if c.left > 0 {
					if g := r.get("q"); string(g.Body) != fmt.Sprint(10-c.left) {
						t.Errorf("%s is the first", g.Body)
					}
				}
				r.unpolicy("p")
				r.fill("q", strings.Split("abcdefghij", "")...)
				if n := q.Ready(); n != max(c.left-1, 0)+10 {
					t.Errorf("%d without the policy", n)
				}
			})
		})
	}
}

// TestALimitInBytesCountsWhatCameWithoutIt has a limit come, go and come again.
func TestALimitInBytesCountsWhatCameWithoutIt(t *testing.T) {
	r := start(t)
	q := r.queue("q", QueueOptions{Durable: true})
	r.policy("p", "q", `{"max-length-bytes":100}`)
	r.fill("q", "aaaa", "bbbb")
	r.unpolicy("p")
	r.fill("q", "cccc", "dddd")
	r.hold("q").Lease.Requeue(0, 0)
	r.policy("p", "q", `{"max-length-bytes":9}`)
	r.fill("q", "e")
	if n := q.Ready(); n != 3 {
		t.Errorf("%d ready, want c, d and e", n)
	}
}

func TestAPolicysTimeToLiveIsOfWhatIsPublishedFromThenOn(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprint("restart ", restart), func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				again := func() *Queue {
					if restart {
						r.restart()
					}
					q, err := r.v.Queue("q")
					if err != nil {
						t.Fatal(err)
					}
					return q
				}
				r.queue("q", QueueOptions{Durable: true})
				r.put("q", 3, field.NoProperties, time.Now())
				r.policy("p", "q", `{"message-ttl":2000}`)
				again()
				r.put("q", 5, field.NoProperties, time.Now())
				r.policy("p", "q", `{"message-ttl":60000}`)
				again()
				r.put("q", 7, field.NoProperties, time.Now())
				r.unpolicy("p")
				q := again()
				r.put("q", 11, field.NoProperties, time.Now())
				want := func(n int64) {
					t.Helper()
					if got := q.Ready(); got != n {
						t.Errorf("%d ready, want %d", got, n)
					}
				}
				time.Sleep(time.Second)
				want(26)
				time.Sleep(2 * time.Second) // those that live for ever stand before those that are over
				want(26)
				for range 3 {
					if g, err := r.s.Get("q", true); g == nil || err != nil {
						t.Fatal(g, err)
					}
				}
				want(18)
				time.Sleep(time.Minute)
				want(11)
				time.Sleep(time.Hour)
				q = again()
				want(11)
				defs := r.defsWith("t/")
				if restart && len(defs) != 0 {
					t.Errorf("what is passed is written down still: %v", defs)
				}
			})
		})
	}
}

// defsWith are the keys of definitions with a prefix.
func (r *rig) defsWith(prefix string) (keys []string) {
	r.t.Helper()
	err := r.defs.Load(r.t.Context(), func(e store.Entry) error {
		if strings.HasPrefix(e.Key, prefix) && e.Value != nil {
			keys = append(keys, e.Key)
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return keys
}

func TestTheStepsOfADeletedQueueAreNotThoseOfTheNext(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.queue("q", QueueOptions{Durable: true})
		r.put("q", 3, field.NoProperties, time.Now())
		r.policy("p", "q", `{"message-ttl":2000}`)
		if n := len(r.defsWith("t/")); n != 1 {
			t.Fatalf("%d steps written", n)
		}
		if _, err := r.s.DeleteQueue("q", false, false); err != nil {
			t.Fatal(err)
		}
		if n := len(r.defsWith("t/")); n != 0 {
			t.Errorf("%d steps are left", n)
		}
		q := r.queue("q", QueueOptions{Durable: true})
		// As a kill beside a change might leave it: of logs that are gone.
		if err := r.putJSON(defKey(prefixTTL, "/", "q"), ttlDef{VHost: "/", Queue: "q", Logs: []ttlLogSteps{{Log: q.Partitions()[0].log.ID() + "0", Steps: []ttlStep{{100, -1}}}}}); err != nil {
			t.Fatal(err)
		}
		r.restart()
		r.put("q", 3, field.NoProperties, time.Now())
		time.Sleep(3 * time.Second)
		if q, _ := r.v.Queue("q"); q.Ready() != 0 {
			t.Errorf("%d live by the steps of another", q.Ready())
		}
		if n := len(r.defsWith("t/")); n != 0 {
			t.Errorf("%d steps are left", n)
		}
	})
}

func TestAPolicysDeadLettersAndLimitOfReturns(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.queue("dead", QueueOptions{Durable: true})
		q := r.queue("q", QueueOptions{Durable: true, Args: arguments("x-queue-type", "quorum")})
		r.put("q", 2, field.NoProperties, time.Now())
		r.policy("p", "q", `{"dead-letter-exchange":"","dead-letter-routing-key":"dead","delivery-limit":1}`)
		for range 2 {
			g := r.hold("q")
			if err := g.Lease.Fail(g.Offset, g.Offset); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		dead, _ := r.v.Queue("dead")
		if q.Ready() != 1 || dead.Ready() != 1 {
			t.Errorf("%d in the queue, %d dead letters", q.Ready(), dead.Ready())
		}
		r.unpolicy("p")
		g := r.hold("q")
		if err := g.Lease.Reject(g.Offset, g.Offset); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if q.Ready() != 0 || dead.Ready() != 1 {
			t.Errorf("%d in the queue, %d dead letters without the policy", q.Ready(), dead.Ready())
		}
	})
}

func TestAPolicysExpiryDeletesUnusedQueues(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for _, name := range []string{"q1", "q2", "other"} {
			r.queue(name, QueueOptions{Durable: true})
		}
		own := r.lapsing("qown", 20_000)
		time.Sleep(time.Hour)
		r.lapsing("qown", 20_000)
		r.policy("p", "q", `{"expires":5000}`, byOperator)
		time.Sleep(4 * time.Second)
		r.policy("p", "q1", `{"expires":5000}`, byOperator)
		time.Sleep(2 * time.Second)
		if r.there("q1") || !r.there("q2") || !r.there("other") || !r.there("qown") {
			t.Errorf("q1 %v q2 %v other %v qown %v", r.there("q1"), r.there("q2"), r.there("other"), r.there("qown"))
		}
		_ = own
		time.Sleep(time.Minute)
		if !r.there("q2") || r.there("qown") {
			t.Error("a queue goes by a policy that is gone, or stays by it")
		}
	})
}

func TestAPolicysAlternateExchange(t *testing.T) {
	r := start(t)
	r.exchange("x", "direct")
	r.exchange("alt", "fanout")
	r.exchangeWith("own", "direct", "alternate-exchange", "nowhere")
	r.queue("q", QueueOptions{Durable: true})
	r.bind("alt", "q", "")
	p := r.s.NewPublisher()
	routed := func(exchange string) bool {
		t.Helper()
		ok, err := p.Publish(&Inbound{Exchange: []byte(exchange), Key: []byte("k"), Body: []byte("b")})
		if err != nil {
			t.Fatal(err)
		}
		flush(t, p)
		return ok
	}
	if routed("x") || routed("own") {
		t.Fatal("without a policy")
	}
	r.policy("p", ".*", `{"alternate-exchange":"alt"}`)
	if !routed("x") || routed("own") {
		t.Error("with the policy, and with an argument that says otherwise")
	}
	if !routed("amq.direct") || routed("") {
		t.Error("what every virtual host has, and the default exchange")
	}
	r.exchange("later", "direct")
	r.restart()
	p = r.s.NewPublisher()
	if !routed("x") || !routed("later") || !routed("amq.direct") {
		t.Error("after a restart")
	}
	r.unpolicy("p")
	if routed("x") || routed("later") {
		t.Error("without the policy")
	}
}

func TestAPolicysLimitRefusesFromThenOn(t *testing.T) {
	r := start(t)
	r.queue("q", QueueOptions{Durable: true})
	p := r.s.NewPublisher()
	r.refuses(r.offer(p, "", "q", "a", "b"))
	r.policy("p", "q", `{"max-length":3,"overflow":"reject-publish"}`)
	r.refuses(r.offer(p, "", "q", "c", "d"), "d")
	r.policy("p", "q", `{"x-message-deduplication":true}`)
	r.refuses(r.named(p, "", "q", "n", "n"), "n")
	r.unpolicy("p")
	r.refuses(r.offer(p, "", "q", "e"))
	r.refuses(r.named(p, "", "q", "n", "m"))
	r.policy("p", "q", `{"x-message-deduplication":true}`)
	r.refuses(r.named(p, "", "q", "m", "o"), "m")
}

// TestWhatIsStoredBesideAPolicyIsWithinIt has a batch stored that was begun before the policy came.
func TestWhatIsStoredBesideAPolicyIsWithinIt(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		q := r.queue("q", QueueOptions{Durable: true})
		p := r.s.NewPublisher()
		for range 10 {
			if _, err := p.Publish(&Inbound{Key: []byte("q"), Body: []byte("b"), TimestampMs: time.Now().UnixMilli()}); err != nil {
				t.Fatal(err)
			}
		}
		r.policy("p", "q", `{"max-length":3,"message-ttl":5000}`)
		flush(t, p)
		if n := q.Ready(); n != 3 {
			t.Errorf("%d ready", n)
		}
		time.Sleep(6 * time.Second)
		if n := q.Ready(); n != 0 {
			t.Errorf("%d ready after their time", n)
		}
	})
}

func TestAConsumerIsToldOfAnotherTimeout(t *testing.T) {
	r := start(t)
	r.queue("q", QueueOptions{Durable: true})
	told := make(chan time.Duration, 2)
	sub := r.subscribe("q", SubscribeOptions{Timeout: func(d time.Duration) { told <- d }})
	defer sub.Close()
	r.policy("p", "q", `{"consumer-timeout":1500}`)
	if d := <-told; d != 1500*time.Millisecond || sub.Timeout() != d {
		t.Errorf("%v, %v", d, sub.Timeout())
	}
}

// TestPoliciesAreWrittenAsTheyAre keeps the format of the table.
func TestPoliciesSurviveAKill(t *testing.T) {
	r := start(t)
	r.queue("q", QueueOptions{Durable: true})
	r.policy("p", "q", `{"max-length":3}`, priority(4), to("queues"))
	r.policy("o/ü", "q", `{"max-length":2}`, byOperator)
	was := r.v.Policies()
	r.kill()
	if got := r.v.Policies(); fmt.Sprint(got) != fmt.Sprint(was) || len(got) != 2 {
		t.Errorf("%v, were %v", got, was)
	}
	if q, _ := r.v.Queue("q"); q.Settings().MaxLength != 2 {
		t.Errorf("%+v", q.Policies())
	}
}

// TestAChangeOfPoliciesMakesFewSettings has very many queues of few kinds.
func TestAChangeOfPoliciesMakesFewSettings(t *testing.T) {
	r := startWith(t, 0)
	const n = 2000
	for i := range n {
		o := QueueOptions{Durable: true}
		if i%2 == 0 {
			o.Args = arguments("x-max-length", 100)
		}
		r.queue(fmt.Sprintf("q%d", i), o)
	}
	for i := range 400 { // of which more than are kept by key
		r.queue(fmt.Sprintf("odd%d", i), QueueOptions{Durable: true, Args: arguments("x-max-length", 1000+i)})
	}
	made := func() int {
		different := map[*Settings]bool{}
		for _, q := range r.v.Queues() {
			different[q.Settings()] = true
		}
		return len(different)
	}
	before := made()
	r.policy("p", "q", `{"max-length":50}`)
	r.policy("o", "q", `{"message-ttl":50000}`, byOperator)
	if got := made(); got != before {
		t.Errorf("%d settings of %d queues, were %d", got, n, before)
	}
	r.unpolicy("p")
	if err := r.v.DeletePolicy(audit.Process("test"), "o", true); err != nil {
		t.Fatal(err)
	}
	if got := made(); got != before {
		t.Errorf("%d settings afterwards", got)
	}
}

// TestDeclaresAndPoliciesMeet has each queue under the last policy, whoever was first.
func TestDeclaresAndPoliciesMeet(t *testing.T) {
	r := startWith(t, 0)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 300 {
			if _, err := r.s.DeclareQueue(fmt.Sprintf("q%d", i), QueueOptions{Durable: i%3 > 0}); err != nil {
				t.Error(err)
			}
			if _, err := r.s.CreateTopic(fmt.Sprintf("qt-%d", i), 1, nil); err != nil {
				t.Error(err)
			}
		}
	}()
	go func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			if q, err := r.v.Queue("qt-0"); err == nil {
				_ = r.s.SetConfig(q, configs("retention.ms", fmt.Sprint(1000+i)))
			}
		}
	}()
	last := 0
	for running := true; running; last++ {
		select {
		case <-done:
			running = false
		default:
		}
		r.policy("p", "q", fmt.Sprintf(`{"max-length-bytes":%d}`, 1000+last))
	}
	<-done
	for _, q := range r.v.Queues() {
		if v, _ := q.Settings().Value(byArg("x-max-length-bytes")); v != fmt.Sprint(1000+last-1) {
			t.Errorf("%s is under %s", q.Name, v)
		}
	}
}

// TestPoliciesAreExactForWhatIsPublishedAfterThem has publishers run while policies fight: what was confirmed before
// one came keeps its time to live, what is published after it has the new one, and no limit is ever passed.
func TestPoliciesAreExactForWhatIsPublishedAfterThem(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		q := r.queue("q", QueueOptions{Durable: true})
		limited := r.queue("limited", QueueOptions{Durable: true})
		stop := make(chan struct{})
		var running sync.WaitGroup
		var published [3]atomic.Int64
		for i := range published {
			running.Go(func() {
				p := r.s.NewPublisher()
				for {
					select {
					case <-stop:
						return
					default:
					}
					for _, key := range []string{"q", "limited"} {
						in := &Inbound{Key: []byte(key), Body: []byte("b"), Properties: field.NoProperties, TimestampMs: time.Now().UnixMilli(), Persistent: true}
						if _, err := p.Publish(in); err != nil {
							t.Error(err)
						}
					}
					flush(t, p)
					published[i].Add(1)
					time.Sleep(time.Millisecond)
				}
			})
		}
		confirmed := func() (n int64) {
			for i := range published {
				n += published[i].Load()
			}
			return n
		}
		time.Sleep(50 * time.Millisecond)
		least := confirmed()
		r.policy("short", "q", `{"message-ttl":100}`, priority(1))
		for i := range 20 {
			r.policy("l", "limited", fmt.Sprintf(`{"max-length":%d}`, 3+i%5))
			if n := limited.Ready(); n > int64(3+i%5) {
				t.Errorf("%d messages where %d may be", n, 3+i%5)
			}
			time.Sleep(5 * time.Millisecond)
		}
		before := confirmed()
		r.policy("long", "q", `{"message-ttl":100000000}`, priority(2))
		most := confirmed() + int64(len(published))
		time.Sleep(50 * time.Millisecond)
		close(stop)
		running.Wait()
		all := confirmed()
		part := q.Partitions()[0]
		steps := part.ttlSteps()
		if len(steps) != 2 || steps[0].TTL != -1 || steps[1].TTL != 100 {
			t.Fatalf("%+v", steps)
		}
		if at := int64(steps[0].Before); at < least || at > least+int64(len(published)) {
			t.Errorf("the short time is of what came from %d on, %d were there before", at, least)
		}
		if at := int64(steps[1].Before); at < before || at > most {
			t.Errorf("the long time is of what came from %d on, %d to %d were there before", at, before, most)
		}
		time.Sleep(time.Minute)
		got := int64(0)
		for g, err := r.s.Get("q", true); g != nil || err != nil; g, err = r.s.Get("q", true) {
			if err != nil || g.Offset >= steps[0].Before && g.Offset < steps[1].Before {
				t.Fatalf("%d came, %v", g.Offset, err)
			}
			got++
		}
		if want := all - int64(steps[1].Before-steps[0].Before); got != want {
			t.Errorf("%d are left, want %d", got, want)
		}
	})
}

// TestAPolicyThatComesBesideADeclarationApplies has one come when a queue, an exchange and the configs of a topic are
// written and not yet shown.
func TestAPolicyThatComesBesideADeclarationApplies(t *testing.T) {
	r := start(t)
	topic, err := r.s.CreateTopic("topic", 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	beside := func(plan func(c *change) error) {
		t.Helper()
		err := r.v.change(func(c *change) error {
			if err := plan(c); err != nil {
				return err
			}
			prepare := c.prepare
			c.prepare = func() error {
				if prepare != nil {
					if err := prepare(); err != nil {
						return err
					}
				}
				r.policy("p", "", `{"max-length-bytes":77,"alternate-exchange":"a"}`)
				return nil
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	limited := func(name string) bool {
		q, err := r.v.Queue(name)
		return err == nil && q.Policies().Policy == "p"
	}
	beside(func(c *change) error {
		q, err := r.v.declared(r.s, "queue", QueueOptions{Durable: true})
		if err == nil {
			c.create(r.s, q, 1)
		}
		return err
	})
	if !limited("queue") {
		t.Error("a queue")
	}
	r.unpolicy("p")
	beside(func(c *change) error {
		x, err := r.v.newExchange("exchange", ExchangeOptions{Type: "direct"})
		if err == nil {
			c.makeExchange(x)
		}
		return err
	})
	if x, err := r.v.Exchange("exchange"); err != nil || x.Policies().Policy != "p" {
		t.Errorf("an exchange: %v", err)
	}
	r.unpolicy("p")
	beside(func(c *change) error {
		declared, err := topic.Settings().with(configs("retention.ms", "5000"))
		if err != nil {
			return err
		}
		return c.obey(topic, r.v.settingsOf("topic", topic.Settings().kind, declared))
	})
	if !limited("topic") {
		t.Error("a topic's configs")
	}
}
