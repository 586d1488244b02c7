package definitions

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/access"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/audit"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/store"
	"github.com/leveret-mq/leveret/store/local"
)

// rig is a broker with users, on files in memory.
type rig struct {
	t      testing.TB
	files  fs.FS
	store  store.Store
	broker *broker.Broker
	access *access.Keeper
	log    bytes.Buffer
	lines  *slog.Logger
}

func start(t testing.TB) *rig {
	t.Helper()
	r := &rig{t: t, files: fs.NewMem(1)}
	r.lines = slog.New(audit.NewHandler("text", slog.LevelError, &r.log, nil))
	r.open()
	t.Cleanup(r.close)
	return r
}

func (r *rig) open() {
	r.t.Helper()
	var err error
	if r.store, err = local.Open(local.Options{Dir: "data", FS: r.files, Mode: store.ModeOS, Logger: r.lines}); err != nil {
		r.t.Fatal(err)
	}
	if r.access, err = access.Open(r.store, access.Options{NoFirst: true, Log: r.lines}); err != nil {
		r.t.Fatal(err)
	}
	if r.broker, err = broker.Open(r.store, broker.Options{Log: r.lines, Policy: r.access.Policy}); err != nil {
		r.t.Fatal(err)
	}
	r.access.Serve(r.broker)
}

func (r *rig) close() {
	r.t.Helper()
	if err := r.broker.Close(); err != nil {
		r.t.Error(err)
	}
	r.access.Close()
	if err := r.store.Close(); err != nil {
		r.t.Error(err)
	}
}

func (r *rig) target() Target {
	return Target{Broker: r.broker, Access: r.access, Name: "file 'test'", Log: r.lines}
}

func (r *rig) importText(text string) (warnings []string, err error) {
	p, warnings, err := Prepare(strings.NewReader(text), r.target())
	if err == nil {
		err = p.Apply(audit.Process("test"))
	}
	return warnings, err
}

func (r *rig) imported(text string) (warnings []string) {
	r.t.Helper()
	warnings, err := r.importText(text)
	if err != nil {
		r.t.Fatal(err)
	}
	return warnings
}

// export writes what the broker has, in memory or in its tables.
func (r *rig) export(vhost string) string {
	r.t.Helper()
	var out bytes.Buffer
	warnings, err := Export(&out, Source{Broker: r.broker.Defined(), Access: r.access.Stored(), VHost: vhost})
	if err != nil || len(warnings) > 0 {
		r.t.Fatal(err, warnings)
	}
	return out.String()
}

func (r *rig) exportStored() string {
	r.t.Helper()
	load := func(name string) func(func(string, []byte) error) error {
		return func(fn func(string, []byte) error) error {
			t, err := r.store.Table(r.t.Context(), name)
			if err != nil {
				return err
			}
			return t.Load(r.t.Context(), func(e store.Entry) error { return fn(e.Key, e.Value) })
		}
	}
	d, err := broker.ReadDefined(load(broker.DefinitionsTable))
	if err != nil {
		r.t.Fatal(err)
	}
	s, err := access.ReadStored(load(access.Table))
	if err != nil {
		r.t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := Export(&out, Source{Broker: d, Access: s}); err != nil {
		r.t.Fatal(err)
	}
	return out.String()
}

func golden(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestWhatRabbitMQExportsIsTaken has a file of the shape that RabbitMQ 4.0's command line writes.
func TestWhatRabbitMQExportsIsTaken(t *testing.T) {
	r := start(t)
	warnings := r.imported(golden(t, "rabbitmq.json"))
	want := []string{"parameters of component 'shovel' are kept and have no effect", "exchange 'amq.custom' is every", "later is not known", "queues[].colour is not known and has no effect (in 2 of them)"}
	for _, w := range want {
		if !strings.Contains(strings.Join(warnings, "\n"), w) {
			t.Errorf("nobody is warned that %s: %q", w, warnings)
		}
	}
	u, err := r.access.User("ann")
	if err != nil || fmt.Sprint(u.Tags) != "[management policymaker]" || u.Limits["max-connections"] != 5 {
		t.Errorf("%+v, %v", u, err)
	}
	v, err := r.broker.VHost("team")
	if err != nil {
		t.Fatal(err)
	}
	if m := v.Meta(); m.Description != "a team" || m.DefaultQueueType != "quorum" || fmt.Sprint(m.Tags) != "[prod eu]" {
		t.Errorf("%+v", m)
	}
	q, err := v.Queue("q.jobs")
	if err != nil {
		t.Fatal(err)
	}
	if a := q.Policies(); a.Policy != "limits" || a.OperatorPolicy != "ops" || q.Settings().MaxLength != 10 || q.Settings().MessageTTL != 60000 {
		t.Errorf("%+v, %+v", a, q.Settings())
	}
	if got := r.export(""); !strings.Contains(got, `"value":[["a",[1,2.5,"null"]]]`) {
		t.Errorf("a global parameter is another:\n%s", got)
	}
}

func TestWhatIsExportedComesBackEqual(t *testing.T) {
	for _, file := range []string{"rabbitmq.json", "leveret.json"} {
		t.Run(file, func(t *testing.T) {
			a := start(t)
			a.imported(golden(t, file))
			text := a.export("")
			b := start(t)
			if w := b.imported(text); len(w) > 1 {
				t.Errorf("warnings of our own file: %q", w)
			}
			if got := b.export(""); got != text {
				t.Errorf("exported again:\n%s\nwas:\n%s", got, text)
			}
			if got := b.exportStored(); got != withoutTransient(text) {
				t.Errorf("exported from the tables:\n%s\nwas:\n%s", got, text)
			}
			b.close()
			b.open()
			if got := b.export(""); got != withoutTransient(text) {
				t.Errorf("exported after a restart:\n%s\nwas:\n%s", got, text)
			}
		})
	}
}

// withoutTransient leaves out the one queue of the files that does not outlive a broker.
func withoutTransient(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.Contains(line, `"transient"`) {
			return strings.Join(append(lines[:i:i], lines[i+1:]...), "\n")
		}
	}
	return text
}

func TestASecondImportChangesAndSaysNothing(t *testing.T) {
	r := start(t)
	text := golden(t, "rabbitmq.json")
	r.imported(text)
	before := r.export("")
	r.log.Reset()
	r.imported(text)
	if got := r.export(""); got != before {
		t.Errorf("it is\n%s\nwas\n%s", got, before)
	}
	if lines := strings.Count(r.log.String(), "AUDIT"); lines != 1 || !strings.Contains(r.log.String(), "act=definitions.import on=\"file 'test'\" from=test protocol=process outcome=done") {
		t.Errorf("%d lines:\n%s", lines, &r.log)
	}
}

func TestWhatIsThereIsLeftAsItIs(t *testing.T) {
	r := start(t)
	r.imported(`{"queues":[{"name":"q","vhost":"/"}],"exchanges":[{"name":"x","vhost":"/","type":"topic"}],"users":[{"name":"u","tags":"a, b"}]}`)
	r.imported(`{"queues":[{"name":"q","vhost":"/","durable":false,"arguments":{"x-max-length":3}}],"exchanges":[{"name":"x","vhost":"/","type":"fanout"}],
		"bindings":[{"source":"x","vhost":"/","destination":"q","destination_type":"queue","routing_key":"a.*","arguments":{}}],"users":[{"name":"u","tags":["c"]}]}`)
	v, _ := r.broker.VHost("/")
	q, err := v.Queue("q")
	if err != nil || !q.Durable || len(q.Args) > 0 {
		t.Errorf("%+v, %v", q, err)
	}
	if x, err := v.Exchange("x"); err != nil || x.Type != "topic" {
		t.Errorf("%+v, %v", x, err)
	}
	if u, err := r.access.User("u"); err != nil || fmt.Sprint(u.Tags) != "[c]" {
		t.Errorf("%+v, %v", u, err)
	}
	r.imported(``)
	r.imported(`{}`)
	r.imported(`{"queues":null}`)
	if _, err := v.Queue("q"); err != nil {
		t.Error("an import deletes something")
	}
}

// TestNothingOfAWrongFileIsApplied has the place and the words of what is wrong.
func TestNothingOfAWrongFileIsApplied(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"not JSON":           {"{\n \"queues\": [\n  {\"name\": \"q\" \"vhost\": \"/\"}]}", `line 3, column 16: queues[0]: failed_to_parse_json: invalid character '"' after object key:value pair`},
		"cut":                {`{"queues":[{"name":"q"`, `queues[0]: failed_to_parse_json: the file ends within a value`},
		"cut between":        {`{"queues":[{"name":"q","vhost":"/"}`, `failed_to_parse_json: the file ends within a value`},
		"a list":             {`[]`, `line 1, column 1: failed_to_parse_json: definitions are an object of lists`},
		"two of them":        {`{} {}`, `something follows the definitions`},
		"no list":            {"{\n\"queues\": {}}", `line 2, column 11: queues: should be a list`},
		"no object":          {`{"queues":[1]}`, `line 1, column 12: queues[0]: should be an object`},
		"no name":            {`{"queues":[{"vhost":"/"}]}`, `queues[0]: "name" is missing`},
		"another type":       {"{\"queues\":[{\"name\":\"q\",\n\"vhost\":\"/\",\"durable\": \"yes\"}]}", `line 2, column 24: queues[0].durable: should be true or false`},
		"an argument":        {"{\"queues\":[{\"name\":\"a\",\"vhost\":\"/\"},\n{\"name\":\"q\",\"vhost\":\"/\",\n \"arguments\":{\"x-expires\":1,\n  \"x-max-length\": -1}}]}", `line 4, column 19: queues[1].arguments.x-max-length: invalid arg 'x-max-length' for queue 'q' in vhost '/': {value_negative,-1}`},
		"a large number":     {`{"queues":[{"name":"q","vhost":"/","arguments":{"x":99999999999999999999}}]}`, `queues[0].arguments.x: is no integer of 64 bits`},
		"no vhost":           {`{"queues":[{"name":"q","vhost":"nowhere"}]}`, `queues[0].vhost: Please create virtual host "nowhere" prior to importing definitions.`},
		"no vhost, rights":   {`{"permissions":[{"user":"u","vhost":"nowhere","configure":"","write":"","read":""}]}`, `permissions[0].vhost: Please create virtual host "nowhere" prior`},
		"no user":            {`{"permissions":[{"user":"nobody","vhost":"/","configure":"","write":"","read":""}]}`, `permissions[0]: no such user 'nobody'`},
		"a pattern":          {`{"users":[{"name":"u"}],"permissions":[{"user":"u","vhost":"/","configure":"(","write":"","read":""}]}`, `permissions[0]: `},
		"a hash":             {`{"users":[{"name":"u","password_hash":"eA==","hashing_algorithm":"rabbit_password_hashing_sha256"}]}`, `users[0]: user 'u': password hash has 1 bytes`},
		"both":               {`{"users":[{"name":"u","password":"x","password_hash":"eA=="}]}`, `users[0]: both_password_and_password_hash_are_provided`},
		"tags":               {`{"users":[{"name":"u","tags":3}]}`, `users[0].tags: should be a list of strings`},
		"limits":             {`{"users":[{"name":"u","limits":{"max-connections":"x"}}]}`, `users[0].limits: should be an object of whole numbers`},
		"a vhost's type":     {`{"vhosts":[{"name":"v","metadata":{"default_queue_type":"odd"}}]}`, `vhosts[0]: odd is not a valid queue type`},
		"a vhost's metadata": {`{"vhosts":[{"name":"v","metadata":{"description":7}}]}`, `vhosts[0].metadata.description: should be a string`},
		"policy key":         {"{\"policies\":[{\"name\":\"p\",\"vhost\":\"/\",\"pattern\":\"\",\n\"definition\":{\"ha-mode\":\"all\"}}]}", `line 2, column 14: policies[0].definition: [{<<"ha-mode">>,<<"all">>}] are not recognised policy settings`},
		"policy pattern":     {`{"policies":[{"name":"p","vhost":"/","pattern":"(","definition":{"max-length":1}}]}`, `policies[0].pattern: pattern should be regular expression but is invalid`},
		"policy apply-to":    {`{"policies":[{"name":"p","vhost":"/","pattern":"","apply-to":"all queues","definition":{"max-length":1}}]}`, `policies[0].apply-to: apply-to 'all queues' unrecognised`},
		"policy priority":    {`{"policies":[{"name":"p","vhost":"/","pattern":"","priority":"high","definition":{"max-length":1}}]}`, `policies[0].priority: priority should be a number, actually was <<"high">>`},
		"operator policy":    {`{"parameters":[{"component":"operator_policy","name":"p","vhost":"/","value":{"pattern":"","definition":[["dead-letter-exchange","x"]]}}]}`, `parameters[0].value.definition: [{<<"dead-letter-exchange">>,<<"x">>}] are not recognised`},
		"exchange type":      {`{"exchanges":[{"name":"x","vhost":"/","type":"odd"}]}`, `exchanges[0]: unknown exchange type 'odd'`},
		"exchange argument":  {`{"exchanges":[{"name":"x","vhost":"/","type":"direct","arguments":{"alternate-exchange":1}}]}`, `exchanges[0].arguments.alternate-exchange: invalid type`},
		"no source":          {`{"bindings":[{"source":"x","vhost":"/","destination":"q","destination_type":"queue","routing_key":""}]}`, `bindings[0].source: resources_missing: no exchange 'x' in vhost '/'`},
		"no destination":     {`{"bindings":[{"source":"amq.direct","vhost":"/","destination":"q","destination_type":"queue","routing_key":""}]}`, `bindings[0].destination: resources_missing: no queue 'q'`},
		"no exchange there":  {`{"bindings":[{"source":"amq.direct","vhost":"/","destination":"x","destination_type":"exchange","routing_key":""}]}`, `bindings[0].destination: resources_missing: no exchange 'x'`},
		"odd destination":    {`{"bindings":[{"source":"amq.direct","vhost":"/","destination":"x","destination_type":"odd","routing_key":""}]}`, `bindings[0].destination_type: 'odd' is neither`},
		"a headers binding":  {`{"queues":[{"name":"q","vhost":"/"}],"bindings":[{"source":"amq.headers","vhost":"/","destination":"q","destination_type":"queue","routing_key":"","arguments":{"x-match":"odd"}}]}`, `bindings[0]`},
		"a queue twice":      {"{\"queues\":[{\"name\":\"q\",\"vhost\":\"/\"},\n{\"name\":\"q\",\"durable\":false}]}", `line 2, column 1: queues[1]: says something else than queues[0], which is of the same name`},
		"a queue's argument": {`{"queues":[{"name":"q","arguments":{"x-max-length":1}},{"name":"q","arguments":{"x-max-length":2}}]}`, `queues[1]: says something else than queues[0]`},
		"an exchange twice":  {`{"exchanges":[{"name":"x","vhost":"/","type":"direct"},{"name":"x","vhost":"/","type":"topic"}]}`, `exchanges[1]: says something else than exchanges[0]`},
		"a user twice":       {`{"users":[{"name":"u","password":"a"},{"name":"v"},{"name":"u","password":"b"}]}`, `users[2]: says something else than users[0]`},
		"a vhost twice":      {`{"vhosts":[{"name":"v"},{"name":"v","description":"x"}]}`, `vhosts[1]: says something else than vhosts[0]`},
		"rights twice":       {`{"users":[{"name":"u"}],"permissions":[{"user":"u","vhost":"/","configure":"","write":"","read":""},{"user":"u","vhost":"/","configure":"","write":".*","read":""}]}`, `permissions[1]: says something else`},
		"topics twice":       {`{"users":[{"name":"u"}],"topic_permissions":[{"user":"u","vhost":"/","exchange":"x","write":"","read":""},{"user":"u","vhost":"/","exchange":"x","write":"a","read":""}]}`, `topic_permissions[1]: says something else`},
		"a policy twice":     {`{"policies":[{"name":"p","vhost":"/","pattern":"","definition":{"max-length":1}},{"name":"p","pattern":"","definition":{"max-length":2}}]}`, `policies[1]: says something else than policies[0]`},
		"a parameter twice":  {`{"parameters":[{"component":"c","name":"n","vhost":"/","value":1},{"component":"c","name":"n","value":2}]}`, `parameters[1]: says something else than parameters[0]`},
		"a global one twice": {`{"global_parameters":[{"name":"n","value":1},{"name":"n","value":2}]}`, `global_parameters[1]: says something else`},
		"limits twice":       {`{"vhosts":[{"name":"v","limits":{"max-queues":1}}],"parameters":[{"component":"vhost-limits","name":"limits","vhost":"v","value":{"max-queues":2}}]}`, `parameters[0].value: limits of vhost 'v' are others than in vhosts[0]`},
		"deep":               {`{"queues":[{"name":"q","vhost":"/","arguments":{"a":` + strings.Repeat(`{"a":`, 60) + `1` + strings.Repeat(`}`, 60) + `}}]}`, `queues[0].arguments`},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			before := r.export("")
			// What comes before the error is right.
			text := c.text
			if strings.HasPrefix(text, `{"`) && !strings.Contains(name, "column") && !strings.Contains(c.want, "line") {
				text = `{"vhosts":[{"name":"new"}],"users":[{"name":"first","password":"x"}],"queues":[{"name":"first","vhost":"new"}],` + text[1:]
			}
			_, err := r.importText(text)
			var e *Error
			if !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) || e.Line == 0 {
				t.Errorf("%v", err)
			}
			if got := r.export(""); got != before {
				t.Errorf("something is applied:\n%s", got)
			}
		})
	}
}

func TestWhatIsSaidTwiceIsTakenOnce(t *testing.T) {
	for name, text := range map[string]string{
		"users":                `"users":[{"name":"u","password_hash":"","tags":"a,b"},{"tags":["a","b"],"name":"u"}]`,
		"virtual hosts":        `"vhosts":[{"name":"v","limits":[["max-queues",1]]},{"name":"v","limits":{"max-queues": 1}}]`,
		"rights":               `"users":[{"name":"u"}],"permissions":[{"user":"u","vhost":"/","configure":"","write":"","read":""},{"user":"u","vhost":"/","configure":"","write":"","read":""}]`,
		"parameters":           `"parameters":[{"component":"c","name":"n","vhost":"/","value":{"a":1,"b":[2]}},{"component":"c","name":"n","value":{"b": [2], "a":1}}]`,
		"limits of a vhost":    `"vhosts":[{"name":"v","limits":{"max-queues":1}}],"parameters":[{"component":"vhost-limits","name":"limits","vhost":"v","value":[["max-queues",1]]},{"component":"vhost-limits","name":"limits","vhost":"v","value":{"max-queues":1}}]`,
		"none and some":        `"vhosts":[{"name":"v","limits":[]}],"parameters":[{"component":"vhost-limits","name":"limits","vhost":"v","value":{"max-queues":1}}]`,
		"policies":             `"policies":[{"name":"p","vhost":"/","pattern":"","definition":{"max-length":1,"expires":5}},{"name":"p","pattern":"","definition":{"expires":5,"max-length":1}}]`,
		"policies of kinds":    `"policies":[{"name":"p","vhost":"/","pattern":"","definition":{"max-length":1}}],"parameters":[{"component":"operator_policy","name":"p","vhost":"/","value":{"pattern":"","definition":{"max-length":2}}}]`,
		"exchanges":            `"exchanges":[{"name":"x","vhost":"/","type":"topic"},{"name":"x","type":"topic","durable":true,"arguments":{}}]`,
		"queues":               `"queues":[{"name":"q","vhost":"/","arguments":{"x-max-length":1,"x-expires":9}},{"name":"q","arguments":{"x-expires":9,"x-max-length":1}}]`,
		"exchanges' arguments": `"exchanges":[{"name":"x","type":"topic","arguments":{"alternate-exchange":"a","x-odd":1}},{"name":"x","type":"topic","arguments":{"x-odd":1,"alternate-exchange":"a"}}]`,
		"global parameters":    `"global_parameters":[{"name":"n","value":{"a":1,"b":2}},{"name":"n","value":{"b":2,"a":1}}]`,
		"queues of two":        `"vhosts":[{"name":"v"}],"queues":[{"name":"q","vhost":"/"},{"name":"q","vhost":"v","durable":false}]`,
		"bindings":             `"queues":[{"name":"q"}],"bindings":[{"source":"amq.direct","destination":"q","routing_key":"k"},{"source":"amq.direct","vhost":"/","destination":"q","routing_key":"k"}]`,
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			r.imported("{" + text + "}")
			if v, err := r.broker.VHost("v"); err == nil && strings.Contains(text, "max-queues") && v.Limits()["max-queues"] != 1 {
				t.Errorf("%+v", v.Limits())
			}
		})
	}
}

func TestAFileOfOneVirtualHost(t *testing.T) {
	a := start(t)
	a.imported(golden(t, "leveret.json"))
	text := a.export("v/1")
	if strings.Contains(text, `"vhost"`) || strings.Contains(text, `"users"`) || strings.Contains(text, `"permissions"`) {
		t.Errorf("it names what is not in it:\n%s", text)
	}
	b := start(t)
	if _, err := b.importText(text); err == nil || !strings.Contains(err.Error(), `Please create virtual host "v/1"`) {
		t.Errorf("into an unknown one: %v", err)
	}
	b.imported(`{"vhosts":[{"name":"v/1","description":"one","tags":["x"],"protected_from_deletion":true}]}`)
	b.imported(text)
	if got := b.export("v/1"); got != text {
		t.Errorf("exported again:\n%s\nwas:\n%s", got, text)
	}
	if _, err := Export(io.Discard, Source{Broker: b.broker.Defined(), VHost: "nowhere"}); err == nil || !strings.Contains(err.Error(), "vhost_not_found") {
		t.Errorf("of an unknown one: %v", err)
	}
}

func TestWhatJSONCantSayIsLeftOutAndTold(t *testing.T) {
	r := start(t)
	r.imported(`{"queues":[{"name":"q","vhost":"/"}]}`)
	v, _ := r.broker.VHost("/")
	if err := v.NewInnerSession().Bind(broker.Binding{Source: "amq.direct", Dest: "q", Key: "\xff"}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	warnings, err := Export(&out, Source{Broker: r.broker.Defined(), Access: r.access.Stored()})
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "binding of exchange 'amq.direct' in vhost '/' is left out") {
		t.Errorf("%q, %v", warnings, err)
	}
}
