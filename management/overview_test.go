package management_test

import "testing"

func TestTheClusterHasAName(t *testing.T) {
	r := start(t)
	r.ask("GET", "cluster-name", "").want(200, `"rabbit@`)
	r.ask("PUT", "cluster-name", `{"name":"ours"}`).want(204)
	r.ask("GET", "cluster-name", "").want(200, `{"name":"ours"}`)
	r.ask("PUT", "cluster-name", "{}").want(400, "{key_missing,name}")
	r.ask("PUT", "cluster-name", `{"name":null}`).want(400, "{key_missing,name}")
}

func TestOfWhatThereIsNoneTheListIsEmpty(t *testing.T) {
	r := start(t)
	for _, path := range []string{"shovels", "shovels/%2F", "federation-links", "federation-links/%2F", "extensions"} {
		if list := r.ask("GET", path, "").want(200, "[]").list(); len(list) != 0 {
			t.Errorf("%s: %v", path, list)
		}
	}
}
