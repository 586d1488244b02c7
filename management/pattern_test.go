package management_test

import (
	"strings"
	"testing"
)

// A pattern for names in lists is as bounded as those of permissions, and more: it is held against every name.
func TestAPatternOfAListIsBounded(t *testing.T) {
	r := start(t)
	const list = "queues?page=1&use_regex=true&name="
	r.ask("GET", list+"%5Ea.*(b%7Cc)%24", "").want(200)
	r.ask("GET", list+strings.Repeat("(a%7B30%7D)", 100), "").want(400, "more than 1000 steps")
}
