package broker

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/store"
)

// headerArgs are arguments of a headers binding, in some order.
func headerArgs(rng *rand.Rand) (out []byte) {
	fields := [][]byte{
		field.AppendString(field.AppendName(nil, "x-match"), []byte("all")),
		field.AppendInt(field.AppendName(nil, "a"), 1),
		field.AppendString(field.AppendName(nil, "b"), []byte("two")),
		field.AppendBool(field.AppendName(nil, "c"), true),
	}
	for _, i := range rng.Perm(len(fields)) {
		out = append(out, fields[i]...)
	}
	return out
}

func TestABindingIsTheSameInAnyOrderOfItsArguments(t *testing.T) {
	for _, kind := range []string{"headers", "topic", "direct", "fanout"} {
		t.Run(kind, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			r := start(t)
			r.exchange("x", kind)
			r.queue("q", durable)
			bind := func() {
				t.Helper()
				if err := r.s.Bind(Binding{Source: "x", Dest: "q", Key: "k", Args: headerArgs(rng)}); err != nil {
					t.Fatal(err)
				}
			}
			count := func(want int) {
				t.Helper()
				x, err := r.v.Exchange("x")
				if err != nil {
					t.Fatal(err)
				}
				if n := len(r.v.Bindings(x)); n != want || x.table.Load().Len() != want {
					t.Fatalf("%d bindings, %d in the table, want %d", n, x.table.Load().Len(), want)
				}
			}
			for range 10 {
				bind()
			}
			count(1)
			r.restart()
			bind()
			count(1)
			if err := r.s.Unbind(Binding{Source: "x", Dest: "q", Key: "k", Args: headerArgs(rng)}); err != nil {
				t.Fatal(err)
			}
			count(0)
			r.restart()
			count(0)
		})
	}
}

// TestBindingsThatAnOlderVersionDoubledBecomeOne: their keys had the arguments as
// they were written.
func TestBindingsThatAnOlderVersionDoubledBecomeOne(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	r := start(t)
	r.exchange("x", "headers")
	r.queue("q", durable)
	old := map[string]bool{}
	for len(old) < 5 {
		args := headerArgs(rng)
		value, err := json.Marshal(bindingDef{VHost: "/", Source: "x", Dest: "q", Key: []byte("k"), Args: args})
		if err != nil {
			t.Fatal(err)
		}
		key := store.Key(prefixBinding, "/", "x", "q", "q", "k", string(args))
		old[key] = true
		if err := r.defs.Put(t.Context(), store.Entry{Key: key, Value: value}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		r.restart()
		x, _ := r.v.Exchange("x")
		if n := len(r.v.Bindings(x)); n != 1 {
			t.Fatalf("%d bindings", n)
		}
	}
	kept := 0
	err := r.defs.Load(t.Context(), func(e store.Entry) error {
		if old[e.Key] {
			t.Errorf("%q is still there", e.Key)
		}
		if bytes.HasPrefix([]byte(e.Key), []byte(prefixBinding)) {
			kept++
		}
		return nil
	})
	if err != nil || kept != 1 {
		t.Fatalf("%d definitions of bindings, %v", kept, err)
	}
	if err := r.s.Unbind(Binding{Source: "x", Dest: "q", Key: "k", Args: headerArgs(rng)}); err != nil {
		t.Fatal(err)
	}
	r.restart()
	x, _ := r.v.Exchange("x")
	if n := len(r.v.Bindings(x)); n != 0 {
		t.Fatalf("%d bindings after the unbind", n)
	}
}

func TestArgumentsOfABindingMayBeLongAndDeep(t *testing.T) {
	long := field.AppendString(field.AppendName(nil, "long"), bytes.Repeat([]byte("x"), 100_000))
	deep := []byte{}
	for range 200 {
		deep = field.AppendTable(field.AppendName(nil, "t"), deep)
	}
	r := start(t)
	r.exchange("x", "headers")
	r.queue("q", durable)
	for i, args := range [][]byte{long, deep} {
		if err := r.s.Bind(Binding{Source: "x", Dest: "q", Key: fmt.Sprint(i), Args: args}); err != nil {
			t.Fatal(err)
		}
	}
	r.restart()
	x, _ := r.v.Exchange("x")
	if n := len(r.v.Bindings(x)); n != 2 {
		t.Fatalf("%d bindings after a restart", n)
	}
	tooDeep := field.AppendTable(field.AppendName(nil, "t"), deep)
	for range field.MaxDepth {
		tooDeep = field.AppendTable(field.AppendName(nil, "t"), tooDeep)
	}
	kind(t, r.s.Bind(Binding{Source: "x", Dest: "q", Args: tooDeep}), Precondition)
}
