package access

import (
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/store"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestTheFormatIsKept holds keys and values of the table "access".
func TestTheFormatIsKept(t *testing.T) {
	r := start(t)
	r.must(r.PutUser(tester, NewUser{Name: "a/b ü", Hash: rabbitHash, Tags: []string{"monitoring", "x"}, Limits: map[string]int64{broker.MaxConnections: 5, broker.MaxChannels: -1}}))
	r.must(r.SetPermission(tester, Permission{"/", "a/b ü", "^c", "", ".*"}))
	r.must(r.SetTopicPermission(tester, TopicPermission{"/", "a/b ü", "amq.topic", "^w", "r$"}))
	keys := func(size int) []byte { return slices.Repeat([]byte{7}, size) }
	r.must(r.Change(tester, func(d *Draft) error {
		r := &userRecord{Name: "scram", WellKnown: true, Hash: "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}
		r.setSecret(auth.Secret{Hash: r.Hash, Credentials: []auth.Credential{
			{Mechanism: auth.ScramSHA256, Salt: keys(16), Iterations: 4096, StoredKey: keys(32), ServerKey: keys(32)},
		}})
		return d.put(store.Key(prefixUser, r.Name), r)
	}))
	r.must(r.table.Put(t.Context(), store.Entry{Key: keyDecoy, Value: []byte(`"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="`)}))
	r.restart() // it is read again
	var lines []string
	r.must(r.table.Load(t.Context(), func(e store.Entry) error {
		if e.Key != store.Key(prefixUser, "root") {
			lines = append(lines, e.Key+" "+string(e.Value)+"\n")
		}
		return nil
	}))
	slices.Sort(lines)
	got, path := strings.Join(lines, ""), filepath.Join("testdata", "access.txt")
	if *update {
		r.must(os.MkdirAll("testdata", 0o755))
		r.must(os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	r.must(err)
	if got != string(want) {
		t.Errorf("the format changed\ngot\n%s\nwant\n%s", got, want)
	}
}

// What is not understood could let somebody in: it is refused, with its key and without what
// it holds.
func TestDamagedRecordsAreRefusedWithTheirKeys(t *testing.T) {
	const secret = "c2VjcmV0c2VjcmV0"
	for name, c := range map[string]struct{ key, value, want string }{
		"unknown kind":      {"z/odd", `{}`, "z/odd"},
		"not JSON":          {"u/a", `{`, "u/a"},
		"a later field":     {"u/a", `{"name":"a","later":1}`, "later"},
		"another's key":     {"u/a", `{"name":"b"}`, "u/b"},
		"no name":           {"u/", `{"name":""}`, "empty"},
		"no hash":           {"u/a", `{"name":"a","hash":"` + secret + `"}`, "u/a"},
		"no such mechanism": {"u/a", `{"name":"a","scram":[{"mechanism":"X","salt":"","iterations":1,"stored_key":"` + secret + `","server_key":""}]}`, "u/a"},
		"short keys":        {"u/a", `{"name":"a","scram":[{"mechanism":"SCRAM-SHA-256","salt":"AAAAAAAAAAAAAAAA","iterations":4096,"stored_key":"` + secret + `","server_key":""}]}`, "u/a"},
		"a bad pattern":     {"p/%2F/a", `{"vhost":"/","user":"a","configure":"(","write":"","read":""}`, "p/%2F/a"},
		"a topic's pattern": {"t/%2F/a/x", `{"vhost":"/","user":"a","exchange":"x","write":"(","read":""}`, "t/%2F/a/x"},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			r.must(r.table.Put(t.Context(), store.Entry{Key: c.key, Value: []byte(c.value)}))
			_, err := Open(r.store, Options{Log: slog.New(slog.DiscardHandler)})
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), secret) {
				t.Errorf("got %v, want an error that names %s", err, c.want)
			}
		})
	}
}

func FuzzRecords(f *testing.F) {
	f.Add("u/a", []byte(`{"name":"a","hash":"`+auth.RabbitSHA256+`:`+rabbitHash+`"}`))
	f.Add("u/a", []byte(`{"name":"a","scram":[{"mechanism":"SCRAM-SHA-1","salt":"AAAAAAAAAAAAAAAA","iterations":4096,"stored_key":"AA==","server_key":""}],"limits":{"max-channels":1}}`))
	f.Add("p/%2F/a", []byte(`{"vhost":"/","user":"a","configure":".*","write":"","read":""}`))
	f.Add("t/%2F/a/x", []byte(`{"vhost":"/","user":"a","exchange":"x","write":"^{username}","read":""}`))
	f.Add(keyDecoy, []byte(`"AAAA"`))
	f.Add("p/%2F", []byte(nil))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		p := newPicture()
		if err := p.load(store.Entry{Key: key, Value: value}); err != nil || value == nil {
			return
		}
		if err := p.load(store.Entry{Key: key}); err != nil {
			t.Fatalf("taken in, and not out again: %v", err)
		}
		if len(p.users)+len(p.permissions)+len(p.topics) > 0 {
			t.Fatalf("%+v is left", p)
		}
	})
}
