package management_test

import (
	"fmt"
	"strings"
	"testing"
)

// The order of very many queues is remembered, and is that of the queues that there are.
func TestManyQueuesAreInOrderWhateverComesAndGoes(t *testing.T) {
	r := start(t)
	_, ch := r.channel()
	declare := func(name string) {
		t.Helper()
		if _, err := ch.QueueDeclare(name, false, false, false, true, nil); err != nil {
			t.Fatal(err)
		}
	}
	names := map[string]bool{}
	for i := range 1200 {
		name := fmt.Sprintf("q-%04d", i*7%1200)
		declare(name)
		names[name] = true
	}
	check := func() {
		t.Helper()
		r.until("queues?columns=name", func(a answer) bool {
			last := ""
			list := a.list()
			for _, q := range list {
				if name := q["name"].(string); name <= last || !names[name] {
					return false
				}
				last = q["name"].(string)
			}
			return len(list) == len(names)
		})
	}
	check()
	check()
	for i := range 5 {
		gone, come := fmt.Sprintf("q-%04d", i*100), fmt.Sprintf("q-%04d-", i*200)
		r.ask("DELETE", "queues/%2F/"+gone, "").want(204)
		declare(come)
		delete(names, gone)
		names[come] = true
		check()
	}
	r.ask("DELETE", "queues/%2F/q-0001", "").want(204)
	r.ask("PUT", "queues/%2F/q-0001", `{"durable":true}`).want(201) // another of the same name
	if a := r.ask("GET", "queues?columns=name,durable", ""); strings.Count(a.body, `"durable":true`) != 1 {
		t.Error("the queue that was deleted is listed")
	}
}
