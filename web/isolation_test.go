package web_test

import (
	"strings"
	"testing"
)

func TestNobodyIsShownWhatWasMadeForAnother(t *testing.T) {
	b := start(t)
	b.api("PUT", "vhosts/shop", "{}")
	b.api("PUT", "queues/shop/till", "{}")
	b.api("PUT", "users/ann", `{"password":"x","tags":"monitoring"}`)
	b.api("PUT", "permissions/%2F/ann", `{"configure":".*","write":".*","read":".*"}`)
	ann := b.another().signIn("ann", "x")
	b.signIn("guest", "guest")
	live := func(b *browser, path string) seen { return b.ask("GET", path, nil, "X-Live", "1").want(200) }
	for range 2 {
		if live(b, "/queues").want(200, "till"); strings.Contains(live(ann, "/queues").body, "till") {
			t.Fatal("ann is shown a queue of a virtual host that she may not enter")
		}
	}
	b.get("/")
	b.get("/").want(200)
	if n := strings.Count(ann.get("/").want(200).body, "The line grows"); n != 2 {
		t.Errorf("%d charts of ann wait for samples: she is shown those of another", n)
	}
}
