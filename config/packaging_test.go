package config

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// What is shipped as an example can be used as it stands, and with any of its lines taken in.
func TestThePackagedFileIsOneOfSettings(t *testing.T) {
	const name = "../packaging/leveret.toml"
	c, err := load([]string{"--config", name}, nil)
	if err != nil || c.DataDir != "/var/lib/leveret/data" || len(c.Warnings()) != 0 {
		t.Fatalf("%v %q", err, c.Warnings())
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	all := regexp.MustCompile(`(?m)^# ([a-z-]+ = )`).ReplaceAllString(string(text), "$1")
	all = strings.Replace(all, "/etc/leveret/password", fileWith(t, "hunter2\n"), 1)
	if all == string(text) {
		t.Fatal("there are no lines to take in")
	}
	if _, err := load([]string{"--config", fileWith(t, all)}, nil); err != nil {
		t.Error(err)
	}
}
