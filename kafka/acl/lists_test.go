package acl

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/access"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/audit"
	"github.com/leveret-mq/leveret/internal/pattern"
	"github.com/leveret-mq/leveret/store"
	"github.com/leveret-mq/leveret/store/local"
)

var tester = audit.Process("test")

// rig is lists over a keeper whose users are root, with every right and the tag, and ann and bob, with none.
type rig struct {
	*Lists
	t testing.TB
	k *access.Keeper
	b *broker.Broker
}

func start(t testing.TB) *rig {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	st, err := local.Open(local.Options{Dir: t.TempDir(), Mode: store.ModeOS, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	k, err := access.Open(st, access.Options{DefaultUser: "root", DefaultPassword: "s3cret", Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	b, err := broker.Open(st, broker.Options{Policy: k.Policy, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	k.Serve(b)
	t.Cleanup(func() {
		b.Close()
		k.Close()
		st.Close()
	})
	r := &rig{New(k), t, k, b}
	for _, name := range []string{"ann", "bob"} {
		if err := k.PutUser(tester, access.NewUser{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func (r *rig) set(user, configure, write, read string) {
	r.t.Helper()
	if err := r.k.SetPermission(tester, access.Permission{VHost: "/", User: user, Configure: configure, Write: write, Read: read}); err != nil {
		r.t.Fatal(err)
	}
}

// has is what is stored of a user.
func (r *rig) has(user string) string {
	p, ok := r.k.Permission("/", user)
	if !ok {
		return "none"
	}
	return p.Configure + " " + p.Write + " " + p.Read
}

// text is an entry in short: "ann Read topic literal t".
func text(b Binding) string {
	return fmt.Sprintf("%s %s %s %s %s", strings.TrimPrefix(b.Principal, "User:"), b.Operation, b.ResourceType, b.PatternType, b.Name)
}

// entry is the way back.
func entry(t testing.TB, s string) Binding {
	t.Helper()
	f := strings.SplitN(s, " ", 5)
	b := Binding{Principal: "User:" + f[0], Name: f[4]}
	for op := kmsg.ACLOperationAny; op <= kmsg.ACLOperationDescribeTokens; op++ {
		if op.String() == f[1] {
			b.Operation = op
		}
	}
	for kind := kmsg.ACLResourceTypeAny; kind <= kmsg.ACLResourceTypeUser; kind++ {
		if kind.String() == f[2] {
			b.ResourceType = kind
		}
	}
	for kind := kmsg.ACLResourcePatternTypeAny; kind <= kmsg.ACLResourcePatternTypePrefixed; kind++ {
		if kind.String() == f[3] {
			b.PatternType = kind
		}
	}
	if b.Operation == 0 || b.ResourceType == 0 || b.PatternType == 0 {
		t.Fatalf("%q is no entry: %+v", s, b)
	}
	return b
}

func texts(list []Binding) []string {
	out := []string{}
	for _, b := range list {
		out = append(out, text(b))
	}
	slices.Sort(out)
	return out
}

var everything = Filter{ResourceType: kmsg.ACLResourceTypeAny, PatternType: kmsg.ACLResourcePatternTypeAny, Operation: kmsg.ACLOperationAny, Permission: kmsg.ACLPermissionTypeAny}

func (r *rig) describe(f Filter) []string {
	r.t.Helper()
	var list []Binding
	if err := r.Describe("/", f, func(b Binding) error { list = append(list, b); return nil }); err != nil {
		r.t.Fatal(err)
	}
	return texts(list)
}

func of(user string, f Filter) Filter {
	principal := "User:" + user
	f.Principal = &principal
	return f
}

func TestListsShowAllThatIsAllowed(t *testing.T) {
	r := start(t)
	r.set("ann", "^new", "^(?:a|b\\.)$|x+", ".*")
	want := []string{}
	for _, name := range []string{"prefixed|new|AC", "literal|a|W", "literal|b.|W", "literal|regex:x+|W", "literal|*|R"} {
		f := strings.Split(name, "|")
		kind, n, right := strings.ToUpper(f[0]), f[1], f[2]
		ops := map[string]string{"AC": "CREATE DELETE ALTER ALTER_CONFIGS", "W": "WRITE", "R": "READ"}[right] + " DESCRIBE DESCRIBE_CONFIGS"
		groupOps := map[string]string{"AC": "DELETE ALTER_CONFIGS ", "W": "", "R": "READ "}[right] + "DESCRIBE DESCRIBE_CONFIGS"
		for _, op := range strings.Fields(ops) {
			want = append(want, "ann "+op+" TOPIC "+kind+" "+n)
		}
		for _, op := range strings.Fields(groupOps) {
			want = append(want, "ann "+op+" GROUP "+kind+" "+n)
		}
	}
	want = append(want, "ann IDEMPOTENT_WRITE CLUSTER LITERAL kafka-cluster")
	slices.Sort(want)
	if got := r.describe(of("ann", everything)); !slices.Equal(got, want) {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
	if _, err := r.b.PutVHost(tester, "other", broker.VHostMeta{}); err != nil {
		t.Fatal(err)
	}
	if err := r.k.SetPermission(tester, access.Permission{VHost: "other", User: "bob", Read: ".*"}); err != nil {
		t.Fatal(err)
	}
	if got := r.describe(of("bob", everything)); len(got) != 0 { // here
		t.Errorf("bob: %v", got)
	}
	all := r.describe(of("root", everything))
	for _, entry := range []string{"root ALL TOPIC LITERAL *", "root ALL GROUP LITERAL *", "root READ TOPIC LITERAL *", "root ALTER CLUSTER LITERAL kafka-cluster", "root DESCRIBE CLUSTER LITERAL kafka-cluster"} {
		if !slices.Contains(all, entry) {
			t.Errorf("no %s in %v", entry, all)
		}
	}
}

func TestAFilterChooses(t *testing.T) {
	r := start(t)
	r.set("ann", "^$", "^orders$|^log|^l.*s$", ".*")
	r.set("bob", "^$", "^orders$", "^$")
	name, star, host, other := func(s string) *string { return &s }, "*", "*", "10.0.0.1"
	write := func(f Filter) Filter {
		f.ResourceType, f.Operation = kmsg.ACLResourceTypeTopic, kmsg.ACLOperationWrite
		return f
	}
	literal := Filter{PatternType: kmsg.ACLResourcePatternTypeLiteral, Permission: kmsg.ACLPermissionTypeAllow}
	for _, c := range []struct {
		name   string
		filter Filter
		want   []string
	}{
		{"all", write(everything), []string{"ann WRITE TOPIC LITERAL orders", "ann WRITE TOPIC LITERAL regex:^l.*s$", "ann WRITE TOPIC PREFIXED log", "bob WRITE TOPIC LITERAL orders", "root WRITE TOPIC LITERAL *"}},
		{"literal", write(literal), []string{"ann WRITE TOPIC LITERAL orders", "ann WRITE TOPIC LITERAL regex:^l.*s$", "bob WRITE TOPIC LITERAL orders", "root WRITE TOPIC LITERAL *"}},
		{"literal, by name", write(Filter{PatternType: literal.PatternType, Name: name("orders"), Permission: literal.Permission}), []string{"ann WRITE TOPIC LITERAL orders", "bob WRITE TOPIC LITERAL orders"}},
		{"literal star", write(Filter{PatternType: literal.PatternType, Name: &star, Permission: literal.Permission}), []string{"root WRITE TOPIC LITERAL *"}},
		{"what matches", write(Filter{PatternType: kmsg.ACLResourcePatternTypeMatch, Name: name("logs"), Permission: literal.Permission}), []string{"ann WRITE TOPIC LITERAL regex:^l.*s$", "ann WRITE TOPIC PREFIXED log", "root WRITE TOPIC LITERAL *"}},
		{"prefixed, by name", write(Filter{PatternType: kmsg.ACLResourcePatternTypePrefixed, Name: name("log"), Permission: literal.Permission}), []string{"ann WRITE TOPIC PREFIXED log"}},
		{"prefixed, by another", write(Filter{PatternType: kmsg.ACLResourcePatternTypePrefixed, Name: name("logs"), Permission: literal.Permission}), []string{}},
		{"a user", of("bob", write(everything)), []string{"bob WRITE TOPIC LITERAL orders"}},
		{"any host", of("bob", write(Filter{PatternType: literal.PatternType, Host: &host, Permission: literal.Permission})), []string{"bob WRITE TOPIC LITERAL orders"}},
		{"another host", of("bob", write(Filter{PatternType: literal.PatternType, Host: &other, Permission: literal.Permission})), []string{}},
		{"denied", of("bob", write(Filter{PatternType: literal.PatternType, Permission: kmsg.ACLPermissionTypeDeny})), []string{}},
	} {
		if got := r.describe(c.filter); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	for _, f := range []Filter{{}, {ResourceType: 1, PatternType: 1, Operation: 1}, {ResourceType: 1, PatternType: 1, Permission: 1}, {ResourceType: 1, Operation: 1, Permission: 1},
		{ResourceType: 8, PatternType: 1, Operation: 1, Permission: 1}, {ResourceType: 1, PatternType: 5, Operation: 1, Permission: 1}, {ResourceType: 1, PatternType: 1, Operation: 99, Permission: 1}, {ResourceType: 1, PatternType: 1, Operation: 1, Permission: 9}} {
		if err := r.Describe("/", f, nil); err == nil {
			t.Errorf("%+v is taken", f)
		}
	}
}

func TestEntriesAreMadeOfPermissions(t *testing.T) {
	for _, c := range []struct {
		name    string
		before  [3]string
		entries []string
		refused map[int]string
		want    string
	}{
		{"a producer, as kafka-acls has it", [3]string{}, []string{"ann WRITE TOPIC LITERAL t", "ann DESCRIBE TOPIC LITERAL t", "ann CREATE TOPIC LITERAL t"}, nil, "^t$ ^t$ ^$"},
		{"a consumer, as kafka-acls has it", [3]string{}, []string{"ann READ TOPIC LITERAL t", "ann DESCRIBE TOPIC LITERAL t", "ann READ GROUP PREFIXED g."}, nil, `^$ ^$ ^t$|^g\.`},
		{"beside what there is", [3]string{"^a$", "x+", ".*"}, []string{"ann READ TOPIC LITERAL t", "ann WRITE TOPIC LITERAL t"}, nil, "^a$ x+|^t$ .*|^t$"},
		{"twice", [3]string{"^$", "^t$", "^$"}, []string{"ann WRITE TOPIC LITERAL t", "ann WRITE TOPIC LITERAL t"}, nil, "^$ ^t$ ^$"},
		{"everything", [3]string{}, []string{"ann ALL TOPIC LITERAL *"}, nil, ".* .* .*"},
		{"a pattern", [3]string{}, []string{"ann READ TOPIC LITERAL regex:^l.*s$|^a$"}, nil, "^$ ^$ (?:^l.*s$|^a$)"},
		{"a name like a pattern", [3]string{}, []string{"ann READ TOPIC PREFIXED a.b+"}, nil, `^$ ^$ ^a\.b\+`},
		{"described ahead of what it comes with", [3]string{}, []string{"ann DESCRIBE TOPIC LITERAL log1", "ann READ TOPIC PREFIXED log"}, nil, "^$ ^$ ^log"},
		{"described only", [3]string{}, []string{"ann DESCRIBE TOPIC LITERAL t"}, map[int]string{0: "DESCRIBE comes with other operations"}, "none"},
		{"idempotent writes, with a write", [3]string{}, []string{"ann IDEMPOTENT_WRITE CLUSTER LITERAL kafka-cluster", "ann WRITE TOPIC LITERAL t"}, nil, "^$ ^t$ ^$"},
		{"idempotent writes without one", [3]string{}, []string{"ann IDEMPOTENT_WRITE CLUSTER LITERAL kafka-cluster"}, map[int]string{0: "comes with any Write on a topic"}, "none"},
		{"the cluster", [3]string{}, []string{"ann ALTER CLUSTER LITERAL kafka-cluster", "ann DESCRIBE CLUSTER LITERAL kafka-cluster", "root ALTER CLUSTER LITERAL kafka-cluster", "ann ALTER CLUSTER LITERAL other"},
			map[int]string{0: "tag administrator", 1: "tags administrator and monitoring", 3: "literally 'kafka-cluster'"}, "none"},
		{"one that is wrong among others", [3]string{}, []string{"nobody READ TOPIC LITERAL t", "ann READ TOPIC LITERAL t", "* READ TOPIC LITERAL t"}, map[int]string{0: "no such user 'nobody'", 2: "all users at once"}, "^$ ^$ ^t$"},
		{"what there is none of", [3]string{}, []string{"ann WRITE TRANSACTIONAL_ID LITERAL t", "ann DESCRIBE DELEGATION_TOKEN LITERAL t", "ann WRITE GROUP LITERAL t", "ann READ ANY LITERAL t", "ann READ TOPIC MATCH t",
			"ann READ TOPIC LITERAL ", "ann READ TOPIC LITERAL regex:(?=a)", "ann READ TOPIC LITERAL regex:^$", "ann READ TOPIC LITERAL " + strings.Repeat("n", 256)},
			map[int]string{0: "who may write to topics of that name may use it", 1: "delegation tokens", 2: "WRITE is no operation on resources of type GROUP", 3: "unknown resource type", 4: "neither literal nor prefixed",
				5: "without a name", 6: "no look-ahead", 7: "is for no name", 8: "longer than the maximum of 255"}, "none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := start(t)
			if c.before != [3]string{} {
				r.set("ann", c.before[0], c.before[1], c.before[2])
			}
			var list []Creation
			for _, e := range c.entries {
				list = append(list, Creation{Binding: entry(t, e), Host: "*", Permission: kmsg.ACLPermissionTypeAllow})
			}
			each, err := r.Create(tester, "/", list)
			if err != nil || len(each) != len(list) {
				t.Fatal(each, err)
			}
			for i, err := range each {
				if want := c.refused[i]; (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
					t.Errorf("%s: %v, want %q", c.entries[i], err, want)
				}
				if !slices.Contains(r.describe(everything), c.entries[i]) && err == nil && !strings.Contains(c.name, "ahead") && !strings.Contains(c.name, "pattern") {
					t.Errorf("%s is not shown: %v", c.entries[i], r.describe(everything))
				}
			}
			if got := r.has("ann"); got != c.want {
				t.Errorf("stored: %s, want %s", got, c.want)
			}
		})
	}
	r := start(t)
	for want, c := range map[string]Creation{
		"no rules that deny":       {Binding: entry(t, "ann READ TOPIC LITERAL t"), Host: "*", Permission: kmsg.ACLPermissionTypeDeny},
		"no rules for hosts":       {Binding: entry(t, "ann READ TOPIC LITERAL t"), Host: "10.0.0.1", Permission: kmsg.ACLPermissionTypeAllow},
		"unknown permission type":  {Binding: entry(t, "ann READ TOPIC LITERAL t"), Host: "*", Permission: kmsg.ACLPermissionTypeAny},
		"'Group:g' is no user":     {Binding: Binding{kmsg.ACLResourceTypeTopic, "t", kmsg.ACLResourcePatternTypeLiteral, "Group:g", kmsg.ACLOperationRead}, Host: "*", Permission: kmsg.ACLPermissionTypeAllow},
		"permission would be too ": {Binding: entry(t, "ann READ TOPIC LITERAL regex:"+strings.Repeat("n", pattern8k)), Host: "*", Permission: kmsg.ACLPermissionTypeAllow},
	} {
		r.set("ann", "", "", "^a$")
		each, err := r.Create(tester, "/", []Creation{c})
		if err != nil || each[0] == nil || !strings.Contains(each[0].Error(), want) {
			t.Errorf("%v %v, want %q", each, err, want)
		}
		if got := r.has("ann"); got != "  ^a$" {
			t.Errorf("%s: stored %s", want, got)
		}
	}
}

const pattern8k = 8<<10 - 1

func TestEntriesAreTakenAway(t *testing.T) {
	literal := func(s string) Filter {
		b := entry(t, s)
		return Filter{b.ResourceType, &b.Name, b.PatternType, &b.Principal, nil, b.Operation, kmsg.ACLPermissionTypeAllow}
	}
	for _, c := range []struct {
		name    string
		filters []Filter
		gone    []string // among others
		refused string
		want    string
	}{
		{"one", []Filter{literal("ann WRITE TOPIC LITERAL a")}, []string{"ann WRITE TOPIC LITERAL a"}, "", "^new ^b$ ^a$|^log"},
		{"all of a name, as kafka-acls has it", []Filter{{kmsg.ACLResourceTypeTopic, ptr("a"), kmsg.ACLResourcePatternTypeLiteral, nil, nil, kmsg.ACLOperationAny, kmsg.ACLPermissionTypeAny}},
			[]string{"ann WRITE TOPIC LITERAL a", "ann READ TOPIC LITERAL a", "ann READ GROUP LITERAL a", "ann DESCRIBE TOPIC LITERAL a"}, "", "^new ^b$ ^log"},
		{"what comes with it", []Filter{literal("ann CREATE TOPIC PREFIXED new")}, []string{"ann DELETE TOPIC PREFIXED new", "ann ALTER_CONFIGS TOPIC PREFIXED new", "ann DELETE GROUP PREFIXED new", "ann DESCRIBE TOPIC PREFIXED new"}, "", "^$ ^a$|^b$ ^a$|^log"},
		{"what comes with others alone", []Filter{literal("ann DESCRIBE TOPIC LITERAL a")}, []string{"ann DESCRIBE TOPIC LITERAL a"}, "", "^new ^a$|^b$ ^a$|^log"},
		{"of nobody", []Filter{literal("bob WRITE TOPIC LITERAL a")}, nil, "", "^new ^a$|^b$ ^a$|^log"},
		{"what holds for a name", []Filter{{kmsg.ACLResourceTypeTopic, ptr("log5"), kmsg.ACLResourcePatternTypeMatch, ptr("User:ann"), nil, kmsg.ACLOperationAny, kmsg.ACLPermissionTypeAny}}, []string{"ann READ TOPIC PREFIXED log"}, "", "^new ^a$|^b$ ^a$"},
		{"all of a user", []Filter{of("ann", everything)}, []string{"ann WRITE TOPIC LITERAL b", "ann IDEMPOTENT_WRITE CLUSTER LITERAL kafka-cluster"}, "", "^$ ^$ ^$"},
		{"one behind the other", []Filter{literal("ann WRITE TOPIC LITERAL a"), literal("ann WRITE TOPIC LITERAL a")}, []string{"ann WRITE TOPIC LITERAL a"}, "", "^new ^b$ ^a$|^log"},
		{"of the cluster", []Filter{literal("ann IDEMPOTENT_WRITE CLUSTER LITERAL kafka-cluster")}, nil, "comes with any Write", "^new ^a$|^b$ ^a$|^log"},
		{"no filter", []Filter{{}}, nil, "unknown resource type", "^new ^a$|^b$ ^a$|^log"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := start(t)
			r.set("ann", "^new", "^a$|^b$", "^a$|^log")
			before := r.describe(of("ann", everything))
			each, err := r.Delete(tester, "/", c.filters)
			if err != nil || len(each) != len(c.filters) {
				t.Fatal(each, err)
			}
			if err := each[0].Err; (err == nil) != (c.refused == "") || err != nil && !strings.Contains(err.Error(), c.refused) {
				t.Errorf("%v, want %q", err, c.refused)
			}
			gone := texts(each[0].Bindings)
			for _, want := range c.gone {
				if !slices.Contains(gone, want) {
					t.Errorf("%s is not among %v", want, gone)
				}
			}
			if c.gone == nil && len(gone) != 0 {
				t.Errorf("gone: %v", gone)
			}
			if got := r.has("ann"); got != c.want {
				t.Errorf("stored: %s, want %s", got, c.want)
			}
			after := r.describe(of("ann", everything))
			for _, b := range before { // what is allowed no more was told
				if !slices.Contains(after, b) && !slices.Contains(gone, b) {
					t.Errorf("%s went without a word", b)
				}
			}
			for _, d := range each[1:] {
				if len(d.Bindings) != 0 || d.Err != nil {
					t.Errorf("a second time: %+v", d)
				}
			}
		})
	}
}

func ptr(s string) *string { return &s }

// What is shown of any pattern can be made anew from it, and is for the same names.
func FuzzEntries(f *testing.F) {
	for _, s := range []string{"", ".*", "^a$|^b", `^\*$`, "regex:a", "^regex:a$", "a|b|", "(?i)^a$", "^(a|b.*|c+)$"} {
		f.Add(s, "a")
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		before := &row{Permission: access.Permission{User: "u", Write: "^$", Read: text, Configure: "^$"}}
		if err := before.valid(); err != nil || len(text) > 500 || len(name) > 100 || name == "" {
			return
		}
		after := &row{Permission: access.Permission{User: "u", Write: "^$", Read: "^$", Configure: "^$"}}
		holds := false
		for _, b := range before.bindings() {
			holds = holds || b.ResourceType == kmsg.ACLResourceTypeTopic && b.isFor(name)
			if b.Operation != kmsg.ACLOperationRead {
				continue
			}
			term, err := termOf(b.Name, b.PatternType)
			if err == nil {
				err = after.grant(read, term)
			}
			if err != nil {
				t.Fatalf("%+v of %q: %v", b, text, err)
			}
		}
		if was, is := before.matches(name), after.matches(name); was != is || was != holds && !strings.Contains(name, "\n") {
			t.Errorf("%q of %q: %v, made anew %q %v, shown %v", text, name, was, after.Read, is, holds)
		}
	})
}

func (r *row) valid() error {
	_, err := pattern.NewNames(r.Read)
	return err
}

func (r *row) matches(name string) bool {
	n, err := pattern.NewNames(r.Read)
	return err == nil && n.Match(name)
}
